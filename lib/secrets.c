/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "secrets.h"
#include "ascii.h"
#include "connstr.h"

#include <stdlib.h>
#include <string.h>

/* Where the value of a secret begins, when the text is the end of a secret's key and an equals sign. */
static char *secret_value(char *text)
{
    static const char *const keys[] = { "pwd", "password", "passwd", "secret", "token" };
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *equals = text + strlen(keys[i]);

        if (!outbox_ascii__same(text, keys[i], strlen(keys[i])))
            continue;
        equals += strspn(equals, " \t");
        return *equals == '=' ? equals + 1 + strspn(equals + 1, " \t") : NULL;
    }
    return NULL;
}

/* At the brace that closes; "}}" is one that does not. */
static char *brace_end(char *p)
{
    for (; *p != '\0' && (*p != '}' || p[1] == '}'); p++)
        p += *p == '}';
    return p;
}

/* Whether a place is within {…}. */
static int in_braces(char *text, const char *place)
{
    char *p = text;

    while (p < place) {
        if (*p++ != '{')
            continue;
        p = brace_end(p);
        if (p >= place)
            return 1;
    }
    return 0;
}

/* Past the value: a semicolon ends it, unless it stands in {…}, in which "}}" is one brace, or in libpq's quotes. A brace
 * before the key may be around it or be a part of some value: whichever ends later counts. */
static char *value_end(char *text, char *p)
{
    char *around = in_braces(text, p) ? brace_end(p) : p, *end = p;

    if (*end == '{')
        end = brace_end(end + 1);
    else if (*end == '\'')
        for (end++; *end != '\0' && *end != '\''; end++)
            end += *end == '\\' && end[1] != '\0';
    end += strcspn(end, ";");
    return around > end ? around : end;
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
    char *p = text + strlen(text), *value;

    /* From the end, so that one secret whose end is misread cannot keep the next from being seen. */
    while (p-- > text)
        if (strncmp(p, "://", 3) == 0)
            hide_user(p + 3);
        else if ((value = secret_value(p)) != NULL)
            memset(value, '*', (size_t)(value_end(text, value) - value));
}

static void hide_word(char *text, const char *word, size_t size)
{
    char *p;

    for (p = text; strlen(p) >= size; p++)
        if (memcmp(p, word, size) == 0)
            memset(p, '*', size);
}

/* libpq's words from the first secret on, each alone: which of them is quoted depends on where it stumbled. */
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

    while (outbox_connstr__next(&connection_string, &part)) {
        char *pair = strndup(part.text, part.size), *secret = NULL, *p;

        if (pair == NULL) /* nothing is said rather than too much */
            memset(text, '*', strlen(text));
        for (p = pair; p != NULL && *p != '\0' && secret == NULL; p++)
            secret = secret_value(p);
        if (secret != NULL)
            hide_words(text, secret);
        free(pair);
    }
    outbox_secrets__hide(text);
}

void outbox_secrets__free(char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;

#ifdef HAVE_EXPLICIT_BZERO
    if (size > 0)
        explicit_bzero(text, size);
#else
    volatile char *p = text;

    while (size-- > 0)
        *p++ = '\0';
#endif
    free(text);
}
