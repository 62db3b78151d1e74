/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "secrets.h"
#include "connstr.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const keys[] = { "pwd", "password", "passwd" };

#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* Behind the '=' of a key that begins here, or NULL. */
static char *behind_key(char *p)
{
    size_t k;

    for (k = 0; k < KEYS; k++)
        if (strncasecmp(p, keys[k], strlen(keys[k])) == 0) {
            char *end = p + strlen(keys[k]);

            end += strspn(end, " \t");
            if (*end == '=')
                return end + 1 + strspn(end + 1, " \t");
        }
    return NULL;
}

/* Up to the brace that closes; "}}" is one that does not. */
static char *hide_to_brace(char *p)
{
    for (; *p != '\0' && (*p != '}' || p[1] == '}'); p++) {
        if (*p == '}')
            *p++ = '*';
        *p = '*';
    }
    return p;
}

static char *hide_value(char *p, int in_braces)
{
    if (in_braces)
        return hide_to_brace(p);
    if (*p == '{')
        p = hide_to_brace(p + 1);
    for (; *p != '\0' && *p != ';'; p++)
        *p = '*';
    return p;
}

/* user:secret@ of a URI. */
static void hide_user(char *p)
{
    char *at = p + strcspn(p, "@ /?;}"), *colon = memchr(p, ':', (size_t)(at - p));

    if (*at == '@' && colon != NULL)
        memset(colon + 1, '*', (size_t)(at - colon - 1));
}

void outbox_secrets__hide(char *text)
{
    int in_braces = 0;
    char *p, *value;

    for (p = text; *p != '\0'; p++) {
        if (!in_braces && *p == '{') {
            in_braces = 1;
        } else if (in_braces && *p == '}') {
            if (p[1] == '}')
                p++;
            else
                in_braces = 0;
        } else if (strncmp(p, "://", 3) == 0) {
            hide_user(p + 3);
        } else if ((value = behind_key(p)) != NULL) {
            p = hide_value(value, in_braces) - 1;
        }
    }
}

static void hide_word(char *text, const char *word, size_t size)
{
    char *p;

    for (p = text; strlen(p) >= size; p++)
        if (memcmp(p, word, size) == 0)
            memset(p, '*', size);
}

/* libpq's words from the first password on, each alone: which of them is quoted depends on where it stumbled. */
static void hide_words(char *text, const char *words)
{
    while (*words != '\0') {
        size_t size = strcspn(words, " \t='\\;{}\"");

        if (size >= 3)
            hide_word(text, words, size);
        words += size + (words[size] != '\0');
    }
}

void outbox_secrets__hide_known(char *text, const char *connection_string)
{
    struct outbox_connstr_part part;
    size_t k;

    while (outbox_connstr__next(&connection_string, &part)) {
        char *value = part.value_size > 0 ? strndup(part.value, part.value_size) : NULL, *secret = NULL, *p;
        int named = 0;

        if (value == NULL && part.value_size > 0) /* no memory: nothing is said rather than too much */
            memset(text, '*', strlen(text));
        for (k = 0; k < KEYS; k++)
            named |= outbox_connstr__is(&part, keys[k]);
        for (p = value; p != NULL && *p != '\0' && secret == NULL; p++)
            secret = behind_key(p);
        if (value != NULL && named)
            hide_words(text, value);
        if (secret != NULL)
            hide_words(text, secret);
        free(value);
    }
    outbox_secrets__hide(text);
}
