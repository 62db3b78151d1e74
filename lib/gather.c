/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gather: what little waits in several lanes goes as one batch, where the driver can lease, read and settle several lanes by a
 * statement each. A statement costs as much for one message as for fifty, and each commit waits for the disk: with a few
 * messages in each of 64 lanes, a relay that takes one lane after the other does nothing else, and writers wait for the same
 * disk.
 *
 * Each lane, a part of the batch, keeps its token and position, and is settled by what became of its own messages: parts of
 * which all were published by one statement; the others one after the other, as batches of their own (see settle.c), so that
 * what fails in one lane, or a lease that was lost, touches no other. What is out of the ordinary does not get here: such a lane
 * comes alone, or is let go to come alone.
 *
 * How many lanes: one at first, and after a pause, as what comes then is mostly one message, and the look can end with the first
 * lane that is found. When less than half a batch came, as many as there may be, each with its share of the batch; when one has
 * more, half as many the next time, down to one, which may give all and is then kept while its batches are full. One, too, where
 * something failed to be published: a message that hangs keeps the lanes of its batch waiting. */
#include "gather.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t outbox_consumer__gathers(const outbox_consumer *consumer, size_t most)
{
    const outbox_conn *conn = consumer->conn;
    size_t workers = (size_t)outbox_conf__number(consumer->conf, CONF_RELAY_WORKERS);
    size_t share = (size_t)conn->lanes / workers; /* what is left for the others is theirs */

    if (!conn->position || outbox_conn__sql(conn, Q_GATHER) == NULL || outbox_odbc__is_borrowed(conn->odbc) ||
        conn->in_transaction || consumer->by_rows > 0)
        return 0;
    most = least(least(most, consumer->spread), share > 0 ? share : 1);
    most = least(most, (size_t)outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_LANES));
    return least(most, (size_t)outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_SIZE));
}

void outbox_consumer__shrink(outbox_consumer *consumer)
{
    consumer->spread = 1;
}

static void adapt(outbox_consumer *consumer, const outbox_batch *batch, size_t lanes, size_t share, size_t rows)
{
    size_t i, cut = 0, odd = 0;

    for (i = 0; i < batch->part_count; i++) {
        cut += batch->parts[i].rows >= share;
        odd += batch->parts[i].snapshot.type != OUTBOX_T_TEXT || batch->parts[i].unfit;
    }
    if (odd > 0)
        consumer->spread = 1;
    else if (cut > 0)
        consumer->spread = batch->part_count > 1 && lanes > 1 ? lanes / 2 : 1;
    else if (rows * 2 <= lanes * share)
        consumer->spread = OUTBOX_GATHER_MAX;
}

/* ---- Lease and read ---- */

struct gathering {
    outbox_batch *batch;
    struct outbox_packed_batch *packed;
    size_t share;
    int raced; /* a lane with work was not leased, as somebody else had it or changed it meanwhile */
};

static int no_lane(const struct gathering *g, outbox_error **err)
{
    g->batch->consumer->by_rows = OUTBOX_BY_ROWS;
    return outbox_error__set(err, OUTBOX_ERR_DATABASE, "database.error",
                             "cannot lease lanes: the server answered with what are none; does something rewrite its answers?");
}

static int add_part(const struct gathering *g, char *text, size_t size, outbox_error **err)
{
    outbox_batch *batch = g->batch;
    struct outbox_value cells[OUTBOX_PACKED_LANE_CELLS];
    struct outbox_part *part = &batch->parts[batch->part_count];
    size_t i;

    if (batch->part_count == OUTBOX_GATHER_MAX || outbox_packed__lane(text, text + size, cells) != OUTBOX_OK)
        return no_lane(g, err);
    memset(part, 0, sizeof(*part));
    part->lane = (int)cells[OUTBOX_PACKED_LANE].number;
    for (i = 0; i < batch->part_count; i++)
        if (batch->parts[i].lane == part->lane)
            return no_lane(g, err); /* its messages would go twice */
    part->token = cells[OUTBOX_PACKED_TOKEN].number;
    part->pos = cells[OUTBOX_PACKED_POS].number;
    part->low = cells[OUTBOX_PACKED_LOW].number;
    part->suspect = cells[OUTBOX_PACKED_SUSPECT].number;
    part->snap = cells[OUTBOX_PACKED_SNAP].data;
    part->xbound = cells[OUTBOX_PACKED_LANE_XBOUND].data;
    part->snapshot = cells[OUTBOX_PACKED_LANE_SNAPSHOT];
    part->has_deferred = cells[OUTBOX_PACKED_LANE_DEFERRED].type == OUTBOX_T_INT;
    part->text = batch->ahead.packed.count;
    part->last = INT64_MIN;
    batch->part_count++;
    return OUTBOX_OK;
}

static int take_text(void *ctx, const struct outbox_value *row, outbox_error **err)
{
    struct gathering *g = ctx;
    struct outbox_packed_batch *packed = g->packed;
    char *text = (char *)(uintptr_t)row->data;
    struct outbox_part *part;
    int64_t seq;

    if (row->type != OUTBOX_T_TEXT) {
        g->raced = 1;
        return OUTBOX_OK;
    }
    if (row->size > 0 && text[0] == 'L')
        return add_part(g, text, row->size, err);
    if (g->batch->part_count == 0 || packed->count == packed->room)
        return no_lane(g, err);
    part = &g->batch->parts[g->batch->part_count - 1];
    part->unfit |= !outbox_packed__fits(text, text + row->size, &seq) || seq < part->last;
    part->last = seq;
    part->rows++;
    part->cut = seq <= part->pos && part->rows >= g->share;
    packed->texts[packed->count++] = *row;
    return OUTBOX_OK;
}

static int by_lane(const void *a, const void *b)
{
    return ((const struct outbox_part *)a)->lane - ((const struct outbox_part *)b)->lane;
}

static int run(outbox_batch *batch, size_t lanes, struct gathering *g, outbox_error **err)
{
    outbox_consumer *consumer = batch->consumer;
    struct outbox_result result = { "T", &batch->ahead.arena, take_text, g, 0 };
    struct outbox_args args = { .set = 0 };
    int64_t bytes = outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_BYTES);

    memset(g->packed, 0, sizeof(*g->packed));
    g->packed->room = lanes * g->share;
    g->packed->texts = outbox_arena__alloc(&batch->ahead.arena, g->packed->room * sizeof(*g->packed->texts));
    if (batch->parts == NULL)
        batch->parts = malloc(OUTBOX_GATHER_MAX * sizeof(*batch->parts));
    if (g->packed->texts == NULL || batch->parts == NULL)
        return outbox_error__nomem(err);
    outbox_args__text(&args, P_OWNER, consumer->owner);
    outbox_args__int(&args, P_LEASE, outbox_consumer__lease_us(consumer));
    outbox_args__int(&args, P_BATCH, (int64_t)g->share);
    outbox_args__int(&args, P_COUNT, (int64_t)lanes);
    outbox_args__int(&args, P_LIMIT, (int64_t)g->share);
    outbox_args__int(&args, P_BYTES, outbox_batch__share(bytes, lanes * g->share));
    return outbox_conn__run(consumer->conn, Q_GATHER, &args, 0, "lease lanes with work", &result, err);
}

/* One lane is a batch like any other, with its first messages here already. */
static int be_one(outbox_batch *batch, outbox_error **err)
{
    const struct outbox_part part = batch->parts[0];
    struct outbox_packed_batch *packed = &batch->ahead.packed;

    batch->part_count = 0;
    batch->snap = outbox_arena__copy(&batch->lane_arena, part.snap, strlen(part.snap));
    batch->xbound = outbox_arena__copy(&batch->lane_arena, part.xbound, strlen(part.xbound));
    if (batch->snap == NULL || batch->xbound == NULL)
        return outbox_error__nomem(err);
    outbox_batch__leased(batch, part.lane, part.token, part.pos, part.low, part.suspect, part.has_deferred);
    packed->head[OUTBOX_PACKED_SNAPSHOT] = part.snapshot;
    packed->head[OUTBOX_PACKED_DEFERRED] = (struct outbox_value){ OUTBOX_T_NULL_INT, 0, NULL, 0 };
    packed->unfit = part.unfit;
    batch->ahead.there = part.snapshot.type == OUTBOX_T_TEXT;
    return OUTBOX_OK;
}

/* Those that were read as they are stay; the others are let go, and come first, and alone: at the end of the line, where there
 * is always work in all lanes, they would be let go for ever. */
static int keep_ordinary(outbox_batch *batch, outbox_error **err)
{
    size_t i, kept = 0;
    int rc = OUTBOX_OK;

    for (i = 0; i < batch->part_count && rc == OUTBOX_OK; i++) {
        struct outbox_part *part = &batch->parts[i];
        outbox_batch view;

        if (part->snapshot.type == OUTBOX_T_TEXT && !part->unfit) {
            batch->ahead.packed.head[OUTBOX_PACKED_SNAPSHOT] = part->snapshot;
            batch->parts[kept++] = *part;
            continue;
        }
        if (part->unfit)
            batch->consumer->by_rows = OUTBOX_BY_ROWS;
        outbox_batch__view(batch, i, &view);
        view.suspect = (int)part->suspect;
        view.hasten = 1;
        rc = outbox_batch__fence(&view, 0, err);
        if (rc == OUTBOX_ERR_FENCED)
            rc = OUTBOX_OK;
    }
    batch->part_count = kept;
    if (rc == OUTBOX_OK && kept > 0) {
        batch->ahead.packed.head[OUTBOX_PACKED_DEFERRED] = (struct outbox_value){ OUTBOX_T_NULL_INT, 0, NULL, 0 };
        batch->lane = batch->parts[0].lane;
        batch->token = batch->parts[0].token;
        batch->ahead.there = batch->open = 1;
    }
    return rc;
}

static void tell_leases(const outbox_batch *batch)
{
    struct outbox_held held[OUTBOX_GATHER_MAX];
    const outbox_consumer *consumer = batch->consumer;
    size_t i;

    for (i = 0; i < batch->part_count; i++)
        held[i] = (struct outbox_held){ batch->parts[i].lane, batch->parts[i].token };
    if (consumer->leased != NULL)
        consumer->leased(consumer->leased_ctx, held, batch->part_count);
}

int outbox_batch__gather(outbox_batch *batch, size_t lanes, outbox_error **err)
{
    outbox_consumer *consumer = batch->consumer;
    size_t share = (size_t)outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_SIZE) / lanes;
    struct gathering g = { batch, &batch->ahead.packed, share, 0 };
    int rc = run(batch, lanes, &g, err);

    if (rc != OUTBOX_OK)
        return rc;
    /* Lanes that come alone are passed over behind one that somebody has locked. */
    if (batch->part_count == 0) {
        consumer->spread = 1;
        return g.raced ? OUTBOX_GATHER_RACED : OUTBOX_NONE;
    }
    adapt(consumer, batch, lanes, share, g.packed->count);
    batch->limit = share;
    if (batch->part_count == 1) {
        tell_leases(batch);
        return be_one(batch, err);
    }
    qsort(batch->parts, batch->part_count, sizeof(*batch->parts), by_lane);
    rc = keep_ordinary(batch, err);
    tell_leases(batch);
    return rc == OUTBOX_OK && batch->part_count == 0 ? OUTBOX_GATHER_RACED : rc;
}

/* ---- Parts ---- */

static int by_lane_and_seq(const void *a, const void *b)
{
    const outbox_record *x = &((const struct outbox_item *)a)->record, *y = &((const struct outbox_item *)b)->record;

    return x->lane != y->lane ? x->lane - y->lane : (x->seq > y->seq) - (x->seq < y->seq);
}

/* Those from *at on that are of a lane. */
static size_t count_of(const struct outbox_item *items, size_t count, int lane, size_t *at)
{
    size_t n = 0;

    while (*at < count && items[*at].record.lane == lane) {
        ++*at;
        n++;
    }
    return n;
}

void outbox_batch__divide(outbox_batch *batch)
{
    size_t i, item = 0, aside = 0;

    if (batch->aside_count > 1)
        qsort(batch->aside, batch->aside_count, sizeof(*batch->aside), by_lane_and_seq);
    for (i = 0; i < batch->part_count; i++) {
        struct outbox_part *part = &batch->parts[i];

        part->first = item;
        part->aside_first = aside;
        part->count = count_of(batch->items, batch->count, part->lane, &item);
        part->aside_count = count_of(batch->aside, batch->aside_count, part->lane, &aside);
    }
}

void outbox_batch__view(const outbox_batch *batch, size_t index, outbox_batch *view)
{
    const struct outbox_part *part = &batch->parts[index];
    size_t i;

    memset(view, 0, sizeof(*view));
    view->consumer = batch->consumer;
    view->lane = part->lane;
    view->token = part->token;
    view->pos = part->pos;
    view->low = part->low;
    view->read_snap = batch->read_snap;
    view->read = part->rows > 0;
    view->cut = part->cut;
    view->open = 1;
    view->items = batch->items + part->first;
    view->count = view->room = part->count;
    view->aside = batch->aside + part->aside_first;
    view->aside_count = view->aside_room = part->aside_count;
    /* The publisher hangs with some of the batch: those go one at a time, and no others. */
    for (i = 0; i < part->count && batch->suspect > 0; i++)
        view->suspect += view->items[i].unanswered && view->items[i].fate == FATE_NONE;
}

/* ---- Settle ---- */

/* Whether all of it was published, and the position says it. */
static int is_plain(const outbox_batch *batch, const struct outbox_part *part)
{
    size_t i;

    if (part->state != PART_OPEN || part->cut || part->count == 0 || part->aside_count > 0)
        return 0;
    for (i = 0; i < part->count; i++)
        if (batch->items[part->first + i].fate != FATE_PUBLISHED)
            return 0;
    return 1;
}

static int take_settled(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    outbox_batch *batch = ctx;
    size_t i;

    (void)err;
    for (i = 0; i < batch->part_count; i++)
        if (batch->parts[i].lane == cells[0].number)
            batch->parts[i].state = PART_SETTLED;
    return OUTBOX_OK;
}

/* The plain parts, if there are any, by one statement. */
static int settle_at_once(outbox_batch *batch, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct outbox_result result = { "i", NULL, take_settled, batch, 0 };
    int64_t lanes[OUTBOX_GATHER_MAX], tokens[OUTBOX_GATHER_MAX], positions[OUTBOX_GATHER_MAX];
    struct outbox_args args = { .set = 0 };
    size_t count = 0, i;

    if (outbox_conf__number(batch->consumer->conf, CONF_CLEAN_RETENTION) != 0)
        return OUTBOX_OK; /* the journal has to be written with each */
    for (i = 0; i < batch->part_count; i++) {
        const struct outbox_part *part = &batch->parts[i];

        if (!is_plain(batch, part))
            continue;
        lanes[count] = part->lane;
        tokens[count] = part->token;
        positions[count++] = part->last > part->pos ? part->last : part->pos; /* late ones may be all that there was */
    }
    if (count == 0)
        return OUTBOX_OK;
    if (!outbox_args__list(&args, P_LANE, &conn->lists[0], lanes, count) ||
        !outbox_args__list(&args, P_TOKEN, &conn->lists[1], tokens, count) ||
        !outbox_args__list(&args, P_POS, &conn->lists[2], positions, count))
        return outbox_error__nomem(err);
    outbox_args__text(&args, P_SNAP, batch->read_snap);
    outbox_args__int(&args, P_SEQUENCE, conn->numbers.id);
    outbox_args__int(&args, P_FILE, conn->numbers.file);
    return outbox_conn__run(conn, Q_SETTLE_GATHERED, &args, 0, "settle a batch", &result, err);
}

/* As a batch of its own. What its transaction needs of memory is its own, too. */
static int settle_part(outbox_batch *batch, size_t index, outbox_error **err)
{
    outbox_batch view;
    int rc;

    outbox_batch__view(batch, index, &view);
    rc = view.count + view.aside_count > 0 ? outbox_batch__settle_lane(&view, 0, err) : outbox_batch__fence(&view, 0, err);
    outbox_arena__free(&view.arena);
    outbox_arena__free(&view.lane_arena);
    return rc;
}

/* Of a lease that was lost, now or in an earlier try. */
static int tell_lost(const outbox_batch *batch, outbox_error *why, outbox_error **err)
{
    outbox_batch view;
    size_t i = 0;

    while (i < batch->part_count && batch->parts[i].state != PART_LOST)
        i++;
    if (i == batch->part_count)
        return OUTBOX_OK;
    outbox_batch__view(batch, i, &view);
    if (why == NULL)
        return outbox_batch__lost(&view, err);
    outbox_error__pass(err, why);
    return OUTBOX_ERR_FENCED;
}

/* Does it for each part that is open. A lease that was lost keeps no other from being settled. */
static int each_part(outbox_batch *batch, int (*settle)(outbox_batch *, size_t, outbox_error **), outbox_error **err)
{
    outbox_error *lost = NULL;
    size_t i;
    int rc = OUTBOX_OK;

    for (i = 0; i < batch->part_count; i++) {
        outbox_error *why = NULL;

        if (batch->parts[i].state != PART_OPEN)
            continue;
        rc = settle(batch, i, &why);
        if (rc != OUTBOX_OK && rc != OUTBOX_ERR_FENCED) {
            outbox_error_free(lost);
            outbox_error__pass(err, why);
            return rc;
        }
        batch->parts[i].state = rc == OUTBOX_OK ? PART_SETTLED : PART_LOST;
        outbox_error__pass(&lost, why);
    }
    batch->open = 0;
    return tell_lost(batch, lost, err);
}

int outbox_batch__settle_gathered(outbox_batch *batch, outbox_error **err)
{
    int rc = settle_at_once(batch, err);

    return rc == OUTBOX_OK ? each_part(batch, settle_part, err) : rc;
}

static int release_part(outbox_batch *batch, size_t index, outbox_error **err)
{
    outbox_batch view;

    outbox_batch__view(batch, index, &view);
    return outbox_batch__fence(&view, 0, err);
}

int outbox_batch__release_gathered(outbox_batch *batch, outbox_error **err)
{
    return each_part(batch, release_part, err);
}

int outbox_batch__is_small(const outbox_batch *batch)
{
    size_t i;

    for (i = 0; i < batch->part_count; i++)
        if (batch->parts[i].rows >= batch->limit)
            return 0;
    return !batch->full && !batch->single && batch->suspect == 0 && (batch->part_count > 0 || batch->count < batch->limit) &&
           batch->count * 2 < (size_t)outbox_conf__number(batch->consumer->conf, CONF_RELAY_BATCH_SIZE);
}

const char *outbox_batch__lanes(const outbox_batch *batch, char text[OUTBOX_BATCH_LANES])
{
    if (batch->part_count > 1)
        snprintf(text, OUTBOX_BATCH_LANES, "%zu lanes", batch->part_count);
    else
        snprintf(text, OUTBOX_BATCH_LANES, "lane %d", batch->lane);
    return text;
}
