/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads new messages as one text (packed.h). A message with more bytes than its share of the batch sends the whole read to
 * the rows, by a statement of its own: so the text is bounded without a sum over what comes before each row, which is a
 * fifth of what a read costs the server. Where one was, there are more, so the next reads do not try. */
#include "batch_internal.h"
#include "error_internal.h"
#include "packed.h"

#include <string.h>

#define MOST ((int64_t)16 * 1024 * 1024) /* bytes of a batch that is read so; twice as many characters */
#define BY_ROWS 16

struct packed {
    outbox_batch *batch;
    int64_t share;
    outbox_row_fn take;
    void *ctx;
    int too_large;
};

/* "tiiT" of Q_READ_PACKED. */
static int take_text(void *ctx, const struct outbox_value *row, outbox_error **err)
{
    struct packed *p = ctx;
    struct outbox_value cells[24];
    char id[OUTBOX_PACKED_ID + 1], *at = (char *)(uintptr_t)row[3].data;
    char *end = at + row[3].size;
    int rc = OUTBOX_OK;

    p->too_large = row[2].number > p->share;
    while (!p->too_large && at < end && rc == OUTBOX_OK) {
        if (outbox_packed__take(&at, end, id, cells) != OUTBOX_OK)
            return outbox_error__set(err, OUTBOX_ERR_DATABASE, "database.error",
                                     "cannot read messages of lane %d: the server answered with what are none, %zu bytes "
                                     "before the end of %zu; does something rewrite its answers?",
                                     p->batch->lane, (size_t)(end - at), row[3].size);
        cells[0] = (struct outbox_value){ OUTBOX_T_INT, p->batch->lane, NULL, 0 };
        cells[17] = row[0];
        cells[18] = row[1];
        rc = p->take(p->ctx, cells, err);
    }
    return rc;
}

/* Bytes of a message that is read so. */
static int64_t share(int64_t bytes, size_t limit)
{
    return (bytes < MOST ? bytes : MOST) / (int64_t)limit;
}

int outbox_batch__read_packed(outbox_batch *batch, struct outbox_args *args, size_t limit, int64_t bytes,
                              outbox_row_fn take, void *ctx, outbox_error **err)
{
    outbox_consumer *consumer = batch->consumer;
    enum outbox_query query = outbox_conn__form(consumer->conn, Q_READ_PACKED);
    struct packed p = { batch, share(bytes, limit), take, ctx, 0 };
    struct outbox_result result = { "tiiT", &batch->arena, take_text, &p, 0 };
    int rc;

    if (batch->ahead.there) {
        batch->ahead.there = 0;
        rc = take_text(&p, batch->ahead.row, err);
    } else if (outbox_conn__sql(consumer->conn, query) == NULL) {
        return OUTBOX_NONE;
    } else if (consumer->by_rows > 0) {
        consumer->by_rows--;
        return OUTBOX_NONE;
    } else {
        outbox_args__int(args, P_BYTES, p.share);
        rc = outbox_conn__run(consumer->conn, query, args, 0, "read messages", &result, err);
    }
    if (rc != OUTBOX_OK || !p.too_large)
        return rc;
    consumer->by_rows = BY_ROWS;
    return OUTBOX_NONE;
}

/* ---- Ahead ---- */

/* Whether the next read is one of new messages alone, as many as a batch has. */
int outbox_batch__may_read_ahead(const outbox_batch *batch)
{
    const outbox_consumer *consumer = batch->consumer;
    const outbox_conn *conn = consumer->conn;

    return conn->position && outbox_conn__sql(conn, Q_SETTLE_READ) != NULL && !batch->has_deferred && batch->suspect == 0 &&
           consumer->by_rows == 0 && !conn->in_transaction && !outbox_odbc__is_borrowed(conn->odbc) &&
           !outbox_consumer__stopped(consumer);
}

struct ahead {
    outbox_batch *batch;
    const char **xbound;
};

static int keep_row(void *ctx, const struct outbox_value *row, outbox_error **err)
{
    const struct ahead *a = ctx;
    outbox_batch *batch = a->batch;

    if (row[0].type != OUTBOX_T_TEXT)
        return OUTBOX_OK;
    *a->xbound = outbox_arena__copy(&batch->lane_arena, row[0].data, row[0].size);
    if (*a->xbound == NULL)
        return outbox_error__nomem(err);
    memcpy(batch->ahead.row, row + 1, sizeof(batch->ahead.row));
    batch->ahead.there = 1;
    return OUTBOX_OK;
}

int outbox_batch__read_ahead(outbox_batch *batch, struct outbox_args *args, const char **xbound, outbox_error **err)
{
    const outbox_conf *conf = batch->consumer->conf;
    struct ahead a = { batch, xbound };
    struct outbox_result result = { "ttiiT", &batch->ahead.arena, keep_row, &a, 0 };
    size_t limit = (size_t)outbox_conf__number(conf, CONF_RELAY_BATCH_SIZE);
    int rc;

    batch->ahead.there = 0;
    outbox_arena__reset(&batch->ahead.arena);
    outbox_args__int(args, P_LOW, batch->low);
    outbox_args__int(args, P_LIMIT, (int64_t)limit);
    outbox_args__int(args, P_BYTES, share(outbox_conf__number(conf, CONF_RELAY_BATCH_BYTES), limit));
    rc = outbox_conn__run(batch->consumer->conn, Q_SETTLE_READ, args, 0, "settle a batch, and read the next", &result, err);
    if (rc != OUTBOX_OK) {
        batch->ahead.there = 0; /* it came, but the commit failed */
        batch->consumer->by_rows = BY_ROWS;
    }
    return rc;
}
