/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a DSN becomes: a path or a name cannot bring attributes of its own, and no password is left in a text that
 * quotes a connection string.
 */
#include "dsn.h"
#include "fuzz/fuzz.h"
#include "secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* KEY=VALUE; as ODBC reads it: blanks around the key do not count, a value in braces ends at its brace. */
struct attribute {
    const char *key, *value, *next;
    size_t key_size, value_size;
};

static int take_attribute(const char *text, struct attribute *a)
{
    const char *equals = text + strcspn(text, "=;"), *end;

    if (*equals != '=')
        return 0;
    a->key = text + strspn(text, " \t");
    a->key_size = (size_t)(equals - a->key);
    while (a->key_size > 0 && strchr(" \t", a->key[a->key_size - 1]) != NULL)
        a->key_size--;
    a->value = end = equals + 1;
    a->value += strspn(a->value, " \t");
    if (*a->value == '{')
        for (end = a->value + 1; *end != '\0' && (*end != '}' || end[1] == '}'); end++)
            end += *end == '}';
    end += strcspn(end, ";");
    a->value_size = (size_t)(end - a->value);
    a->next = *end == ';' ? end + 1 : end;
    return 1;
}

static int is_secret(const struct attribute *a)
{
    static const char *const keys[] = {"pwd", "password", "sslpassword", "access_token"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (a->key_size == strlen(keys[i]) && strncasecmp(a->key, keys[i], a->key_size) == 0)
            return 1;
    return 0;
}

/* Of each secret nothing is left but its length. */
static void check_hidden(const char *text)
{
    char *hidden = strdup(text);
    struct attribute a;

    FUZZ_CHECK(hidden != NULL, "out of memory");
    outbox_secrets__hide(hidden);
    FUZZ_CHECK(strlen(hidden) == strlen(text), "the length changed");
    for (const char *at = text; *at != '\0'; at = a.next) {
        if (!take_attribute(at, &a)) {
            a.next = at + strcspn(at, ";");
            a.next += *a.next == ';';
            continue;
        }
        if (!is_secret(&a))
            continue;
        for (size_t i = 0; i < a.value_size; i++)
            FUZZ_CHECK(strchr("*{}' ", hidden[a.value - text + (ptrdiff_t)i]) != NULL, "visible in %s", hidden);
    }
    free(hidden);
}

/* The path as it is, or as a URI in which some bytes are written as %XX. */
static int is_this_path(const struct attribute *a, const char *path)
{
    const char *p = a->value, *end = p + a->value_size;
    int uri = strncmp(path, "file:", 5) != 0 && a->value_size >= 5 && memcmp(p, "file:", 5) == 0;

    for (p += uri ? 5 : 0; p < end; path++) {
        unsigned byte = (unsigned char)*p;

        if (uri && *p == '%') {
            if (sscanf(p, "%%%2X", &byte) != 1)
                return 0;
            p += 2;
        }
        p++;
        if ((unsigned char)*path != byte)
            return 0;
    }
    return *path == '\0';
}

/* The string leads where the text says, and only there. */
static void check_string(const char *dsn, const char *text)
{
    int is_path = strncmp(dsn, "sqlite:", 7) == 0;
    struct attribute a;
    size_t count = 0;

    if (!is_path && strchr(dsn, '=') != NULL) {
        FUZZ_CHECK(strcmp(dsn, text) == 0, "%s became %s", dsn, text);
        return;
    }
    for (const char *at = text; take_attribute(at, &a); at = a.next) {
        const char *want = !is_path ? "dsn" : count == 0 ? "driver" : count == 1 ? "database" : NULL;

        FUZZ_CHECK(want == NULL || (a.key_size == strlen(want) && strncasecmp(a.key, want, a.key_size) == 0),
                   "%s", text);
        if (is_path && count == 1)
            FUZZ_CHECK(is_this_path(&a, dsn + 7), "%s", text);
        count++;
    }
    FUZZ_CHECK(count == (is_path ? 6 : 1), "%zu attributes in %s", count, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *dsn = fuzz_text(data, size), *text = NULL;
    outbox_error *err = NULL;
    struct outbox_buffer plain = { NULL, 0, 0 };
    int rc = outbox_dsn__plain(dsn, &plain, &err);

    text = plain.data;

    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_INVALID, "%s", outbox_status_name(rc));
    FUZZ_CHECK((rc == OUTBOX_OK) == (text != NULL), "%s", outbox_status_name(rc));
    fuzz_check_error(rc, err);
    if (text != NULL)
        check_string(dsn, text);
    check_hidden(dsn);
    free(text);
    free(dsn);
    return 0;
}
