/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "connstr.h"
#include "ascii.h"
#include "error_internal.h"

#include <stdlib.h>
#include <string.h>

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Behind the value that begins here: at ';' or the end. */
static const char *skip_value(const char *at)
{
    while (is_blank(*at))
        at++;
    if (*at == '{')
        for (at++; *at != '\0'; at++)
            if (*at == '}') {
                if (at[1] != '}')
                    break;
                at++;
            }
    while (*at != '\0' && *at != ';')
        at++;
    return at;
}

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && is_blank(**text)) {
        (*text)++;
        (*size)--;
    }
    while (*size > 0 && is_blank((*text)[*size - 1]))
        (*size)--;
}

int outbox_connstr__next(const char **at, struct outbox_connstr_part *part)
{
    const char *p = *at, *end;

    while (*p == ';' || is_blank(*p))
        p++;
    if (*p == '\0')
        return 0;
    memset(part, 0, sizeof(*part));
    part->text = part->key = p;
    part->key_size = strcspn(p, "=;");
    p += part->key_size;
    if (*p == '=') {
        end = skip_value(p + 1);
        part->value = p + 1;
        part->value_size = (size_t)(end - part->value);
        p = end;
        trim(&part->value, &part->value_size);
    }
    part->size = (size_t)(p - part->text);
    trim(&part->key, &part->key_size);
    *at = p;
    return 1;
}

int outbox_connstr__is(const struct outbox_connstr_part *part, const char *key)
{
    return part->value != NULL && strlen(key) == part->key_size && outbox_ascii__same(part->key, key, part->key_size);
}

static char *unquoted(const struct outbox_connstr_part *part)
{
    char *text = malloc(part->value_size + 1), *out = text;
    const char *p = part->value, *end = p + part->value_size;

    if (text == NULL)
        return NULL;
    if (p < end && *p == '{') {
        for (p++; p < end && !(*p == '}' && (p + 1 == end || p[1] != '}')); p++) {
            *out++ = *p;
            p += *p == '}';
        }
    } else {
        while (p < end)
            *out++ = *p++;
    }
    *out = '\0';
    return text;
}

int outbox_connstr__get(const char *text, const char *key, char **value, outbox_error **err)
{
    struct outbox_connstr_part part;

    *value = NULL;
    while (outbox_connstr__next(&text, &part))
        if (outbox_connstr__is(&part, key)) {
            *value = unquoted(&part);
            return *value != NULL ? OUTBOX_OK : outbox_error__nomem(err);
        }
    return OUTBOX_OK;
}

int outbox_connstr__add(struct outbox_buffer *out, const char *key, const char *value)
{
    int good = outbox_buffer__add(out, key, strlen(key)) && outbox_buffer__add(out, "={", 2);

    for (; *value != '\0' && good; value++)
        good = outbox_buffer__add(out, value, 1) && (*value != '}' || outbox_buffer__add(out, "}", 1));
    return good && outbox_buffer__add(out, "};", 2);
}
