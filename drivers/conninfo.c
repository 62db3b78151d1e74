/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what psqlODBC connects with to what libpq connects with: the same server, user and encryption. */
#include "conninfo.h"
#include "connstr.h"
#include "error_internal.h"
#include "odbc.h"

#include <stdlib.h>
#include <string.h>

/* What a value is written like: as it is, even in braces; with braces that do not count; and, where there are none,
 * percent-encoded. */
enum coding { PLAIN, BRACES, PERCENT };

static const struct {
    const char *word;             /* libpq's */
    const char *keys[4];          /* psqlODBC's: of a DSN only the first, of a string the last that is there */
    enum coding coding;
} words[] = {
    { "host", { "Servername", "Server", NULL }, PLAIN },
    { "port", { "Port", NULL }, PLAIN },
    { "dbname", { "Database", NULL }, PLAIN },
    { "user", { "Username", "UID", NULL }, PLAIN },
    { "password", { "Password", "PWD", NULL }, PERCENT },
};

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-encoded, with '+' for a blank. */
static void decode(char *text)
{
    char *out = text;

    for (; *text != '\0'; text++) {
        if (*text == '%' && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
            *out++ = (char)(hex(text[1]) * 16 + hex(text[2]));
            text += 2;
        } else {
            *out++ = *text == '+' ? ' ' : *text;
        }
    }
    *out = '\0';
}

/* The value of the last part of the string with one of some keys; *value stays NULL without any. */
static int in_string(const char *string, const char *const *keys, enum coding coding, char **value, outbox_error **err)
{
    struct outbox_connstr_part part;
    const char *const *key;
    int rc = OUTBOX_OK;

    while (rc == OUTBOX_OK && outbox_connstr__next(&string, &part))
        for (key = keys; *key != NULL && rc == OUTBOX_OK; key++)
            if (outbox_connstr__is(&part, *key)) {
                free(*value);
                *value = coding == PLAIN ? strndup(part.value, part.value_size) : NULL;
                if (*value == NULL)
                    rc = outbox_connstr__get(part.text, *key, value, err);
                if (rc == OUTBOX_OK && coding == PERCENT && part.value[0] != '{')
                    decode(*value);
            }
    return rc;
}

/* What the string says, else the DSN; *value is NULL when neither does. Free it. */
static int look_up(const char *string, const char *dsn, const char *const *keys, enum coding coding, char **value,
                   outbox_error **err)
{
    int rc;

    *value = NULL;
    rc = in_string(string, keys, coding, value, err);
    if (rc != OUTBOX_OK || *value != NULL || dsn == NULL)
        return rc;
    rc = outbox_odbc__profile(dsn, keys[0], "odbc.ini", value, err);
    if (rc == OUTBOX_OK && *value != NULL && coding == PERCENT)
        decode(*value);
    return rc;
}

/* word='value', in which a backslash escapes. */
static int add_word(struct outbox_buffer *out, const char *word, const char *value)
{
    int good = outbox_buffer__add(out, word, strlen(word)) && outbox_buffer__add(out, "='", 2);

    for (; *value != '\0' && good; value++)
        good = ((*value != '\'' && *value != '\\') || outbox_buffer__add(out, "\\", 1)) && outbox_buffer__add(out, value, 1);
    return good && outbox_buffer__add(out, "' ", 2);
}

/* psqlODBC goes by the first letter, a small one, and encrypts nothing unless told. */
static const char *sslmode(const char *value)
{
    static const char *const modes[] = { "allow", "prefer", "require", "disable" };
    size_t i;

    if (value != NULL && value[0] == 'v')
        return value[1] == 'c' ? "verify-ca" : value[1] == 'f' ? "verify-full" : value;
    for (i = 0; value != NULL && i < 3; i++)
        if (value[0] == modes[i][0])
            return modes[i];
    return modes[3];
}

static int add_encryption(struct outbox_buffer *out, const char *string, const char *dsn, outbox_error **err)
{
    static const char *const keys[] = { "SSLmode", "CA", NULL };
    char *value;
    int rc = look_up(string, dsn, keys, PLAIN, &value, err);

    if (rc == OUTBOX_OK && !add_word(out, "sslmode", sslmode(value)))
        rc = outbox_error__nomem(err);
    free(value);
    return rc;
}

/* pqopt is libpq's own language; it comes last, as the last of a word counts. */
static int add_rest(struct outbox_buffer *out, const char *string, const char *dsn, outbox_error **err)
{
    static const char *const keys[] = { "pqopt", "D5", NULL };
    char *value;
    int rc = look_up(string, dsn, keys, BRACES, &value, err);

    if (rc == OUTBOX_OK && value != NULL && strstr(value, "://") == NULL &&
        !outbox_buffer__add(out, value, strlen(value)))
        rc = outbox_error__nomem(err);
    free(value);
    return rc;
}

int outbox_postgresql__conninfo(const char *string, char **conninfo, outbox_error **err)
{
    struct outbox_buffer out = { NULL, 0, 0 };
    char *dsn = NULL, *value = NULL;
    size_t i;
    int rc = outbox_connstr__get(string, "DSN", &dsn, err);

    *conninfo = NULL;
    if (rc == OUTBOX_OK)
        rc = outbox_connstr__get(string, "FILEDSN", &value, err);
    if (rc != OUTBOX_OK || value != NULL) { /* the driver manager reads that file by rules of its own */
        free(value);
        free(dsn);
        return rc;
    }
    for (i = 0; i < sizeof(words) / sizeof(words[0]) && rc == OUTBOX_OK; i++) {
        rc = look_up(string, dsn, words[i].keys, words[i].coding, &value, err);
        if (rc == OUTBOX_OK && value != NULL && !add_word(&out, words[i].word, value))
            rc = outbox_error__nomem(err);
        free(value);
    }
    if (rc == OUTBOX_OK)
        rc = add_encryption(&out, string, dsn, err);
    if (rc == OUTBOX_OK)
        rc = add_rest(&out, string, dsn, err);
    free(dsn);
    if (rc == OUTBOX_OK)
        *conninfo = out.data;
    else
        outbox_buffer__free(&out);
    return rc;
}
