/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sqltext.h"
#include "buffer.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const param_names[] = {
#define PARAM_NAME_(symbol, name) name,
    OUTBOX_PARAMS(PARAM_NAME_)
#undef PARAM_NAME_
};

struct render {
    const struct outbox_sqlname *names;
    struct outbox_buffer sql;
    struct outbox_sqlparam *params;
    size_t count, room;
    const char *bad; /* what could not be replaced */
};

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

static size_t word_size(const char *p)
{
    size_t n = 0;

    while (is_word(p[n]))
        n++;
    return n;
}

static int add_param(struct render *r, const char *word, size_t size, size_t row)
{
    int i;

    for (i = 0; i < P__COUNT; i++)
        if (strlen(param_names[i]) == size && memcmp(param_names[i], word, size) == 0)
            break;
    if (i == P__COUNT) {
        r->bad = word;
        return 0;
    }
    if (r->count == r->room) {
        size_t room = r->room * 2 + 16;
        struct outbox_sqlparam *grown = realloc(r->params, room * sizeof(*grown));

        if (grown == NULL)
            return 0;
        r->params = grown;
        r->room = room;
    }
    r->params[r->count].param = (unsigned short)i;
    r->params[r->count].row = (unsigned short)row;
    r->count++;
    return outbox_buffer__add(&r->sql, "?", 1);
}

static int expand(struct render *r, const char *text, size_t size, size_t row);

static int add_name(struct render *r, const char *word, size_t size, size_t row)
{
    const struct outbox_sqlname *n;

    if (size == 3 && memcmp(word, "row", 3) == 0) {
        char number[24];
        int digits = snprintf(number, sizeof(number), "%zu", row);

        return outbox_buffer__add(&r->sql, number, (size_t)digits);
    }
    for (n = r->names; n->name != NULL; n++)
        if (strlen(n->name) == size && memcmp(n->name, word, size) == 0)
            return expand(r, n->value, strlen(n->value), row); /* an expression may have names of its own */
    r->bad = word;
    return 0;
}

/* Handles what starts at text: a name, a parameter, or plain text; returns how far it got, 0 on failure. */
static size_t expand_one(struct render *r, const char *text, size_t left, size_t row)
{
    size_t n;

    if (text[0] == '{') {
        n = word_size(text + 1);
        if (n == 0 || text[n + 1] != '}') {
            r->bad = text;
            return 0;
        }
        return add_name(r, text + 1, n, row) ? n + 2 : 0;
    }
    if (text[0] == ':' && left > 1 && text[1] == ':')
        return outbox_buffer__add(&r->sql, "::", 2) ? 2 : 0;
    if (text[0] == ':' && left > 1 && is_word(text[1])) {
        n = word_size(text + 1);
        return add_param(r, text + 1, n, row) ? n + 1 : 0;
    }
    for (n = 1; n < left && text[n] != '{' && text[n] != ':'; n++)
        ;
    return outbox_buffer__add(&r->sql, text, n) ? n : 0;
}

static int expand(struct render *r, const char *text, size_t size, size_t row)
{
    while (size > 0) {
        size_t n = expand_one(r, text, size, row);

        if (n == 0)
            return 0;
        text += n;
        size -= n;
    }
    return 1;
}

int outbox_sqltext__repeats(const char *template_text)
{
    return strstr(template_text, "[[") != NULL;
}

int outbox_sqltext__is_single(const char *template_text)
{
    return strstr(template_text, "= [[") != NULL;
}

static int expand_all(struct render *r, const char *text, size_t nrows)
{
    const char *open = strstr(text, "[["), *close = open != NULL ? strstr(open, "]]") : NULL;
    const char *end = close, *between = ", ", *between_at;
    size_t row, between_size = 2;

    if (!outbox_buffer__add(&r->sql, "", 0)) /* an empty template is an empty text */
        return 0;
    if (open == NULL || close == NULL)
        return expand(r, text, strlen(text), 0);
    between_at = strstr(open, "][");
    if (between_at != NULL && between_at < close) {
        end = between_at;
        between = end + 2;
        between_size = (size_t)(close - between);
    }
    if (!expand(r, text, (size_t)(open - text), 0))
        return 0;
    for (row = 0; row < nrows; row++)
        if ((row > 0 && !expand(r, between, between_size, row)) ||
            !expand(r, open + 2, (size_t)(end - open - 2), row))
            return 0;
    return expand(r, close + 2, strlen(close + 2), 0);
}

int outbox_sqltext__render(const char *template_text, const struct outbox_sqlname *names, size_t nrows,
                           struct outbox_sqltext *out, outbox_error **err)
{
    struct render r = { names, { NULL, 0, 0 }, NULL, 0, 0, NULL };

    memset(out, 0, sizeof(*out));
    if (expand_all(&r, template_text, nrows)) {
        out->sql = r.sql.data;
        out->params = r.params;
        out->count = r.count;
        return OUTBOX_OK;
    }
    outbox_buffer__free(&r.sql);
    free(r.params);
    if (r.bad == NULL)
        return outbox_error__nomem(err);
    return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.bad_template",
                             "a statement of the driver has a name that does not exist, at \"%.40s\"", r.bad);
}

void outbox_sqltext__free(struct outbox_sqltext *text)
{
    free(text->sql);
    free(text->params);
    memset(text, 0, sizeof(*text));
}
