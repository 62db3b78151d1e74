/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Enqueue any number of rows by one statement that is prepared once: each column is an array, as PostgreSQL writes
 * them, and the payloads are one value, which the statement cuts. */
#include "enqueue_internal.h"
#include "buffer.h"
#include "error_internal.h"

#include <stdio.h>
#include <string.h>

static const enum outbox_param columns[] = { P_LANE, P_ID, P_TOPIC, P_KEY, P_HEADERS, P_CONTENT_TYPE, P_MESSAGE_TYPE,
                                             P_MAX_ATTEMPTS, P_AVAILABLE };
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

struct arrays {
    struct outbox_buffer columns[COLUMNS], starts, sizes, payloads;
};

static int add_number(struct outbox_buffer *out, char before, int64_t number)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%c%lld", before, (long long)number);

    return outbox_buffer__add(out, text, (size_t)n);
}

/* In quotes, with a backslash before quotes and backslashes. */
static int add_text(struct outbox_buffer *out, char before, const char *text, size_t size)
{
    const char head[2] = { before, '"' };
    size_t at = 0, n;

    if (!outbox_buffer__add(out, head, 2))
        return 0;
    while (at < size) {
        n = strcspn(text + at, "\"\\");
        if (!outbox_buffer__add(out, text + at, n))
            return 0;
        at += n;
        if (at < size && (!outbox_buffer__add(out, "\\", 1) || !outbox_buffer__add(out, text + at++, 1)))
            return 0;
    }
    return outbox_buffer__add(out, "\"", 1);
}

static int add_null(struct outbox_buffer *out, char before)
{
    return outbox_buffer__add(out, &before, 1) && outbox_buffer__add(out, "NULL", 4);
}

static int add_value(struct outbox_buffer *out, char before, const struct outbox_value *value)
{
    if (value->type == OUTBOX_T_INT)
        return add_number(out, before, value->number);
    return value->type == OUTBOX_T_TEXT ? add_text(out, before, value->data, value->size) : add_null(out, before);
}

/* A column in which nothing is has no array at all. */
static int add_column(struct outbox_buffer *out, const struct outbox_row *rows, size_t count, enum outbox_param param)
{
    struct outbox_value value;
    int any = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        outbox_row__bind(rows, i, param, &value);
        any |= value.type == OUTBOX_T_INT || value.type == OUTBOX_T_TEXT;
        if (!add_value(out, i == 0 ? '{' : ',', &value))
            return 0;
    }
    if (!any)
        outbox_buffer__free(out);
    return !any || outbox_buffer__add(out, "}", 1);
}

static int add_payloads(struct arrays *a, const struct outbox_row *rows, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        const outbox_message *m = rows[i].m;

        if (!add_number(&a->starts, i == 0 ? '{' : ',', (int64_t)a->payloads.size + 1) ||
            !add_number(&a->sizes, i == 0 ? '{' : ',', (int64_t)m->payload_size) ||
            !outbox_buffer__add(&a->payloads, m->payload, m->payload_size))
            return 0;
    }
    return outbox_buffer__add(&a->starts, "}", 1) && outbox_buffer__add(&a->sizes, "}", 1);
}

static int fill(struct arrays *a, const struct outbox_row *rows, size_t count)
{
    size_t i;

    for (i = 0; i < COLUMNS; i++)
        if (!add_column(&a->columns[i], rows, count, columns[i]))
            return 0;
    return add_payloads(a, rows, count);
}

static void set(struct outbox_args *args, enum outbox_param param, const struct outbox_buffer *text)
{
    args->v[param] = (struct outbox_value){ text->data != NULL ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT, 0, text->data,
                                            text->size };
    args->set |= (uint64_t)1 << param;
}

int outbox_rows__insert_arrays(outbox_conn *conn, const struct outbox_row *rows, size_t count, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct arrays a;
    size_t i;
    int rc;

    memset(&a, 0, sizeof(a));
    if (fill(&a, rows, count)) {
        for (i = 0; i < COLUMNS; i++)
            set(&args, columns[i], &a.columns[i]);
        set(&args, P_STARTS, &a.starts);
        set(&args, P_SIZES, &a.sizes);
        set(&args, P_PAYLOAD, &a.payloads);
        args.v[P_PAYLOAD].type = OUTBOX_T_BYTES;
        rc = outbox_conn__run(conn, Q_INSERT_ARRAYS, &args, 0, "enqueue messages", NULL, err);
    } else {
        rc = outbox_error__nomem(err);
    }
    for (i = 0; i < COLUMNS; i++)
        outbox_buffer__free(&a.columns[i]);
    outbox_buffer__free(&a.starts);
    outbox_buffer__free(&a.sizes);
    outbox_buffer__free(&a.payloads);
    return rc;
}
