/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads new messages as a text each (packed.h), in the order of a UNION ALL, which servers keep and none promises. One that
 * does not come so, as it has more bytes than its share of the batch or values that no library wrote, sends the whole read to
 * the rows, by a statement of its own: so all of them are bounded without a sum over what comes before each row, which is a
 * fifth of what a read costs the server. Where one was, there are more, so the next reads do not try. */
#include "batch_internal.h"
#include "error_internal.h"
#include "packed.h"

#include <string.h>

#define MOST ((int64_t)16 * 1024 * 1024) /* bytes of a batch that is read so; twice as many characters */

static int no_message(const outbox_batch *batch, outbox_error **err)
{
    return outbox_error__set(err, OUTBOX_ERR_DATABASE, "database.error",
                             "cannot read messages of lane %d: the server answered with what are none; does something "
                             "rewrite its answers?", batch->lane);
}

struct keep {
    outbox_batch *batch;
    struct outbox_packed_batch *packed;
};

/* "T" of Q_READ_PACKED. They are kept until all are there, as the last one may not come so. */
static int keep_text(void *ctx, const struct outbox_value *row, outbox_error **err)
{
    const struct keep *k = ctx;
    struct outbox_packed_batch *packed = k->packed;
    char *text = (char *)(uintptr_t)row->data;

    int64_t last = packed->last;

    if (!packed->has_head) {
        packed->has_head = 1;
        packed->headless = packed->unfit =
            row->type != OUTBOX_T_TEXT || outbox_packed__head(text, text + row->size, packed->head) != OUTBOX_OK;
        return OUTBOX_OK;
    }
    if (packed->count == packed->room)
        return no_message(k->batch, err);
    packed->unfit |= row->type != OUTBOX_T_TEXT || !outbox_packed__fits(text, text + row->size, &packed->last) ||
                     packed->last < last;
    packed->texts[packed->count++] = *row;
    return OUTBOX_OK;
}

/* Runs a statement that answers with at most so many messages. */
static int read_texts(outbox_batch *batch, enum outbox_query query, const struct outbox_args *args, size_t limit,
                      const char *doing, struct outbox_packed_batch *packed, outbox_arena *arena, outbox_error **err)
{
    struct keep k = { batch, packed };
    struct outbox_result result = { "T", arena, keep_text, &k, 0 };
    int rc;

    memset(packed, 0, sizeof(*packed));
    packed->room = limit;
    packed->last = INT64_MIN;
    packed->texts = outbox_arena__alloc(arena, limit * sizeof(*packed->texts));
    if (packed->texts == NULL)
        return outbox_error__nomem(err);
    rc = outbox_conn__run(batch->consumer->conn, query, args, 0, doing, &result, err);
    return rc == OUTBOX_OK && !packed->has_head ? no_message(batch, err) : rc;
}

/* Some of them, which are of the batch's lane. */
static int take_texts(outbox_batch *batch, const struct outbox_packed_batch *packed, const struct outbox_value *texts,
                      size_t count, outbox_row_fn take, void *ctx, outbox_error **err)
{
    struct outbox_value cells[24];
    char id[OUTBOX_PACKED_ID + 1];
    size_t i;
    int rc = OUTBOX_OK;

    for (i = 0; i < count && rc == OUTBOX_OK; i++) {
        char *text = (char *)(uintptr_t)texts[i].data;

        if (outbox_packed__take(text, text + texts[i].size, id, cells) != OUTBOX_OK) {
            batch->consumer->by_rows = OUTBOX_BY_ROWS;
            return no_message(batch, err);
        }
        cells[0] = (struct outbox_value){ OUTBOX_T_INT, batch->lane, NULL, 0 };
        cells[17] = packed->head[OUTBOX_PACKED_SNAPSHOT];
        cells[18] = packed->head[OUTBOX_PACKED_DEFERRED];
        rc = take(ctx, cells, err);
    }
    return rc;
}

/* Of one lane after the other, if there are several. */
static int take_all(outbox_batch *batch, const struct outbox_packed_batch *packed, outbox_row_fn take, void *ctx,
                    outbox_error **err)
{
    size_t i;
    int rc = OUTBOX_OK;

    if (batch->part_count == 0)
        return take_texts(batch, packed, packed->texts, packed->count, take, ctx, err);
    for (i = 0; i < batch->part_count && rc == OUTBOX_OK; i++) {
        const struct outbox_part *part = &batch->parts[i];

        batch->lane = part->lane;
        batch->token = part->token;
        rc = take_texts(batch, packed, packed->texts + part->text, part->rows, take, ctx, err);
    }
    batch->lane = batch->parts[0].lane;
    batch->token = batch->parts[0].token;
    return rc;
}

int64_t outbox_batch__share(int64_t bytes, size_t limit)
{
    return (bytes < MOST ? bytes : MOST) / (int64_t)limit;
}

int outbox_batch__read_packed(outbox_batch *batch, struct outbox_args *args, size_t limit, int64_t bytes,
                              outbox_row_fn take, void *ctx, outbox_error **err)
{
    outbox_consumer *consumer = batch->consumer;
    enum outbox_query query = outbox_conn__form(consumer->conn, Q_READ_PACKED);
    struct outbox_packed_batch packed;
    int rc = OUTBOX_OK;

    if (batch->ahead.there) {
        batch->ahead.there = 0;
        packed = batch->ahead.packed;
    } else if (outbox_conn__sql(consumer->conn, query) == NULL) {
        return OUTBOX_NONE;
    } else if (consumer->by_rows > 0) {
        consumer->by_rows--;
        return OUTBOX_NONE;
    } else {
        outbox_args__int(args, P_BYTES, outbox_batch__share(bytes, limit));
        rc = read_texts(batch, query, args, limit, "read messages", &packed, &batch->arena, err);
    }
    if (rc != OUTBOX_OK)
        return rc;
    if (!packed.unfit)
        return take_all(batch, &packed, take, ctx, err);
    consumer->by_rows = OUTBOX_BY_ROWS;
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

int outbox_batch__read_ahead(outbox_batch *batch, struct outbox_args *args, const char **xbound, outbox_error **err)
{
    const outbox_conf *conf = batch->consumer->conf;
    struct outbox_packed_batch *packed = &batch->ahead.packed;
    const struct outbox_value *moved = &packed->head[OUTBOX_PACKED_XBOUND];
    size_t limit = batch->limit;
    int rc;

    batch->ahead.there = 0;
    outbox_arena__reset(&batch->ahead.arena);
    outbox_args__int(args, P_LOW, batch->low);
    outbox_args__int(args, P_LIMIT, (int64_t)limit);
    outbox_args__int(args, P_BYTES, outbox_batch__share(outbox_conf__number(conf, CONF_RELAY_BATCH_BYTES), limit));
    rc = read_texts(batch, Q_SETTLE_READ, args, limit, "settle a batch, and read the next", packed, &batch->ahead.arena, err);
    if (rc != OUTBOX_OK) {
        batch->consumer->by_rows = OUTBOX_BY_ROWS;
        return rc; /* what came does not count: the commit failed */
    }
    if (packed->headless) {
        batch->consumer->by_rows = OUTBOX_BY_ROWS;
        return no_message(batch, err);
    }
    if (moved->type != OUTBOX_T_TEXT)
        return OUTBOX_OK;
    *xbound = outbox_arena__copy(&batch->lane_arena, moved->data, moved->size);
    batch->ahead.there = *xbound != NULL;
    return *xbound != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}
