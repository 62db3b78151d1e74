/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libpq is given of a connection string of psqlODBC: the values that it says, each whole and in its own word, so
 * that none brings words with it; but for pqopt, which is libpq's own language, comes last and is taken as it is.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "connstr.h"
#include "conninfo.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if OUTBOX_WITH_LIBPQ
#include <libpq-fe.h>
#endif

enum coding { PLAIN, BRACES, PERCENT };

static const struct word {
    const char *word, *keys[2];
    enum coding coding;
} words[] = {
    {"host", {"Servername", "Server"}, PLAIN},   {"port", {"Port", "Port"}, PLAIN},
    {"dbname", {"Database", "Database"}, PLAIN}, {"user", {"Username", "UID"}, PLAIN},
    {"password", {"Password", "PWD"}, PERCENT},  {"sslmode", {"SSLmode", "CA"}, PLAIN},
};

#define WORDS (sizeof words / sizeof *words)

static char *copy_of(const char *text, size_t size)
{
    char *copy = strndup(text, size);

    FUZZ_CHECK(copy != NULL, "out of memory");
    return copy;
}

/* %XX and '+', in a text of its own. */
static char *decoded(const char *text)
{
    char *out = copy_of("", 0);
    size_t size = 0;

    FUZZ_CHECK((out = realloc(out, strlen(text) + 1)) != NULL, "out of memory");
    while (*text != '\0') {
        char hex[3] = { text[0] == '%' ? text[1] : 'x', text[0] == '%' && text[1] != '\0' ? text[2] : 'x', '\0' };

        if (strspn(hex, "0123456789abcdefABCDEF") == 2) {
            out[size++] = (char)strtol(hex, NULL, 16);
            text += 3;
        } else {
            out[size++] = (char)(*text == '+' ? ' ' : *text);
            text++;
        }
    }
    out[size] = '\0';
    return out;
}

/* What the last part of the string with one of two keys says; NULL: there is none. */
static char *said(const char *string, const char *const keys[2], enum coding coding)
{
    struct outbox_connstr_part part, last = { .text = NULL };
    char *value = NULL, *plain;
    const char *key = NULL;

    while (outbox_connstr__next(&string, &part))
        for (int i = 0; i < 2; i++)
            if (outbox_connstr__is(&part, keys[i])) {
                last = part;
                key = keys[i];
            }
    if (last.text == NULL)
        return NULL;
    if (coding == PLAIN)
        return copy_of(last.value, last.value_size);
    FUZZ_CHECK(outbox_connstr__get(last.text, key, &value, NULL) == OUTBOX_OK && value != NULL, "no value of %s", key);
    if (coding == BRACES || last.value[0] == '{')
        return value;
    plain = decoded(value);
    free(value);
    return plain;
}

/* Moves over word='value' and a blank, and gives the value; NULL: another word is there. */
static char *take_word(const char **at, const char *word)
{
    size_t length = strlen(word), size = 0;
    const char *p = *at + length;
    char *value;

    if (strncmp(*at, word, length) != 0 || strncmp(p, "='", 2) != 0)
        return NULL;
    value = copy_of(p, strlen(p));
    for (p += 2; *p != '\0' && *p != '\''; p++) {
        p += *p == '\\' && p[1] != '\0';
        value[size++] = *p;
    }
    value[size] = '\0';
    FUZZ_CHECK(p[0] == '\'' && p[1] == ' ', "%s does not end", word);
    *at = p + 2;
    return value;
}

static void check_sslmode(const char *value, const char *mode)
{
    static const char *const modes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
    size_t i;

    for (i = 0; i < sizeof modes / sizeof *modes && strcmp(mode, modes[i]) != 0; i++)
        continue;
    FUZZ_CHECK(i < sizeof modes / sizeof *modes || (value != NULL && value[0] == 'v' && strcmp(mode, value) == 0),
               "sslmode=%s", mode);
    /* Whoever asked for encryption gets it. */
    FUZZ_CHECK(value == NULL || (value[0] != 'v' && value[0] != 'r') || mode[0] == value[0], "sslmode=%s of %s", mode,
               value);
}

/* libpq itself reads these words, and no others. */
static void check_libpq(const char *conninfo, size_t size, char *const *values)
{
#if OUTBOX_WITH_LIBPQ
    char *copy = copy_of(conninfo, size);
    PQconninfoOption *options = PQconninfoParse(copy, NULL);

    FUZZ_CHECK(options != NULL, "libpq does not understand %s", copy);
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        size_t i;

        for (i = 0; i < WORDS && strcmp(o->keyword, words[i].word) != 0; i++)
            continue;
        FUZZ_CHECK(fuzz_same(o->val, i < WORDS ? values[i] : NULL), "%s is %s", o->keyword,
                   o->val != NULL ? o->val : "not set");
    }
    PQconninfoFree(options);
    free(copy);
#else
    (void)conninfo, (void)size, (void)values;
#endif
}

static void check_conninfo(const char *string, const char *conninfo)
{
    static const char *const rest_keys[2] = {"pqopt", "D5"};
    char *values[WORDS], *rest = said(string, rest_keys, BRACES);
    const char *at = conninfo;

    for (size_t i = 0; i < WORDS; i++) {
        char *want = said(string, words[i].keys, words[i].coding);

        values[i] = take_word(&at, words[i].word);
        if (strcmp(words[i].word, "sslmode") == 0) {
            FUZZ_CHECK(values[i] != NULL, "no sslmode in %s", conninfo);
            check_sslmode(want, values[i]);
        } else {
            FUZZ_CHECK(fuzz_same(values[i], want), "%s is \"%s\" and not \"%s\"", words[i].word,
                       values[i] != NULL ? values[i] : "not set", want != NULL ? want : "not set");
        }
        free(want);
    }
    check_libpq(conninfo, (size_t)(at - conninfo), values);
    FUZZ_CHECK(strcmp(at, rest != NULL && strstr(rest, "://") == NULL ? rest : "") == 0, "the rest is %s", at);
    for (size_t i = 0; i < WORDS; i++)
        free(values[i]);
    free(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *string = fuzz_text(data, size), *conninfo = NULL, *dsn = NULL, *file = NULL;
    outbox_error *err = NULL;
    int rc;

    FUZZ_CHECK(outbox_connstr__get(string, "DSN", &dsn, NULL) == OUTBOX_OK &&
               outbox_connstr__get(string, "FILEDSN", &file, NULL) == OUTBOX_OK, "out of memory");
    if (dsn == NULL) { /* what a DSN says is unixODBC's to read */
        rc = outbox_postgresql__conninfo(string, &conninfo, &err);
        FUZZ_CHECK(rc == OUTBOX_OK, "%s", outbox_status_name(rc));
        fuzz_check_error(rc, err);
        FUZZ_CHECK((conninfo == NULL) == (file != NULL), "%s of %s", conninfo != NULL ? conninfo : "nothing", string);
        if (conninfo != NULL)
            check_conninfo(string, conninfo);
    }
    free(conninfo);
    free(dsn);
    free(file);
    free(string);
    return 0;
}
