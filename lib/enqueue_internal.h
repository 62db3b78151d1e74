/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What enqueue.c and enqueue_arrays.c share. */
#ifndef OUTBOX_ENQUEUE_INTERNAL_H
#define OUTBOX_ENQUEUE_INTERNAL_H

#include "conn_internal.h"

#include <outbox/message.h>

/* Of one statement, at the most, unless one message alone has more. */
#define OUTBOX_CHUNK_BYTES ((size_t)16 * 1024 * 1024)
#define OUTBOX_ARRAY_ROWS 10000

/* One message ready to bind. */
struct outbox_row {
    outbox_message given;
    const outbox_message *m; /* the same */
    outbox_id id;
    char *headers;     /* JSON, or NULL */
    int lane;
    int64_t available;
};

/* The value of a column, for outbox_args.row; ctx is the first row. */
void outbox_row__bind(const void *ctx, size_t index, int param, struct outbox_value *value);

/* Of payload and headers. */
size_t outbox_row__bytes(const struct outbox_row *row);

/* All of them in one statement, where the driver has Q_INSERT_ARRAYS. */
int outbox_rows__insert_arrays(outbox_conn *conn, const struct outbox_row *rows, size_t count, outbox_error **err);

#endif
