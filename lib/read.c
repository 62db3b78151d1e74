/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Read: what is due among the deferred, then new messages, both in seq order.
 *
 * The order of a key rests on one invariant, which holds after each transaction (ARCHITECTURE.md, The deferred):
 *
 *   Every held message has a head of its key before it, by seq: one in retry, or a dead one when dead ones block.
 *
 * A key can have several heads. What is held belongs to the nearest before it: followers lie between a head and the next.
 *   - A due message is taken when all heads before it are, with all their followers. It looks at the nearest one only,
 *     as that was taken under the same condition. Else it is parked: held itself, behind that head.
 *   - With a head go its own followers, not those of a later head, which may not be due, or dead.
 *   - When a batch is full, nothing more of any key is taken, so what was cut off is not overtaken.
 *   - A new message stays in the batch only when the last of its key's heads is in it, with all that it has. Else it is
 *     set aside, to be held, which is written with the batch's outcome.
 * The reads have no lock, and administration may change what they saw. Whoever makes a message held, or takes a head
 * away, does so under the lane's lock and then promotes: the first held message with no head before it becomes one. */
#include "batch_internal.h"
#include "error_internal.h"
#include "gather.h"
#include "keys.h"
#include "lane.h"
#include "text.h"
#include "usdt.h"

#include <stdlib.h>
#include <string.h>

#define UNREADABLE "the headers of this message are not a JSON object of strings"
#define CRASHED "given up: this message was in delivery each time when its relay crashed"

struct set {
    int64_t *list;
    size_t count, room;
};

/* The columns of Q_DUE; the last five are 0 for none. */
enum due { SEQ, KEY, BYTES, STATE, RETRY_BEFORE, DEAD_BEFORE, RETRY_BEHIND, DEAD_BEHIND, HELD_BEHIND, DUE_COLUMNS };

struct reader {
    outbox_batch *batch;
    size_t limit;
    int64_t bytes, used;
    struct set planned;   /* seqs of deferred messages to read */
    struct set park;      /* due ones that have to wait behind another */
    struct set park_keys; /* their keys */
    struct set due;       /* the columns of Q_DUE, enum due, row by row */
    struct outbox_keys taken;     /* planned, to look up */
    struct outbox_keys exhausted; /* keys of which all that waits is planned */
    struct outbox_keys waiting;   /* keys with a head among the deferred */
    struct outbox_keys blocked;   /* keys of which a message of this read is dead */
    int64_t last_seq;     /* of the new messages */
    size_t rows;
    int any_deferred;     /* as the read of the new ones saw it */
};

static int set_add(struct set *set, int64_t number, outbox_error **err)
{
    if (set->count == set->room) {
        size_t room = set->room * 2 + 32;
        int64_t *grown = realloc(set->list, room * sizeof(*grown));

        if (grown == NULL)
            return outbox_error__nomem(err);
        set->list = grown;
        set->room = room;
    }
    set->list[set->count++] = number;
    return OUTBOX_OK;
}

static void reader_free(struct reader *r)
{
    struct set *const sets[] = { &r->planned, &r->park, &r->park_keys, &r->due };
    size_t i;

    for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        free(sets[i]->list);
    outbox_keys__free(&r->taken);
    outbox_keys__free(&r->exhausted);
    outbox_keys__free(&r->waiting);
    outbox_keys__free(&r->blocked);
}

static struct outbox_item *item_new(struct outbox_item **items, size_t *count, size_t *room)
{
    if (*count == *room) {
        size_t wider = *room * 2 + 32;
        struct outbox_item *grown = realloc(*items, wider * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        *items = grown;
        *room = wider;
    }
    return memset(&(*items)[(*count)++], 0, sizeof(**items));
}

static int put(outbox_batch *batch, const struct outbox_item *item, enum fate fate, const char *reason, outbox_error **err)
{
    struct outbox_item *place = fate == FATE_NONE ? item_new(&batch->items, &batch->count, &batch->room)
                                                  : item_new(&batch->aside, &batch->aside_count, &batch->aside_room);

    if (place == NULL)
        return outbox_error__nomem(err);
    *place = *item;
    place->fate = fate;
    place->reason = reason;
    place->delay = -1;
    return OUTBOX_OK;
}

/* What no library of ours writes, and no publisher could send safely: why, or NULL. It is dead, and dies alone. */
static const char *unfit(const outbox_record *r, int filled)
{
    const struct {
        const char *text, *reason;
        int one_line; /* it may stand in a header or a subject */
    } texts[] = {
        { r->topic, "the topic of this message is not UTF-8 without control characters", 1 },
        { r->partition_key, "the key of this message is not UTF-8", 0 },
        { r->content_type, "the content type of this message is not UTF-8 without control characters", 1 },
        { r->message_type, "the type of this message is not UTF-8 without control characters", 1 },
    };
    size_t i;

    if (filled == OUTBOX_NONE)
        return UNREADABLE;
    if (r->topic[0] == '\0')
        return "this message has no topic";
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t size = texts[i].text != NULL ? strlen(texts[i].text) : 0;

        if (outbox_text__length(texts[i].text, size) < 0 ||
            (texts[i].one_line && outbox_text__has_control(texts[i].text, size)))
            return texts[i].reason;
    }
    return NULL;
}

/* ---- deferred ---- */

static int take_due(void *ctx, const struct outbox_value *c, outbox_error **err)
{
    struct reader *r = ctx;
    int i, rc = OUTBOX_OK;

    for (i = 0; i < DUE_COLUMNS && rc == OUTBOX_OK; i++)
        rc = set_add(&r->due, c[i].type == OUTBOX_T_NULL_INT ? 0 : c[i].number, err);
    return rc;
}

static int plan(struct reader *r, int64_t seq, int64_t bytes, outbox_error **err)
{
    r->used += bytes;
    outbox_keys__add(&r->taken, seq, 0);
    return set_add(&r->planned, seq, err);
}

static int has_room(const struct reader *r)
{
    return r->planned.count < r->limit && r->used < r->bytes;
}

struct followers {
    struct reader *reader;
    size_t taken;
    int full;
};

static int take_follower(void *ctx, const struct outbox_value *c, outbox_error **err)
{
    struct followers *f = ctx;

    if (!has_room(f->reader)) {
        f->full = 1;
        return OUTBOX_NONE;
    }
    f->taken++;
    return plan(f->reader, c[0].number, c[1].number, err);
}

/* The followers of a head go with it, as far as there is room. next: the head behind it, or INT64_MAX. */
static int plan_followers(struct reader *r, const int64_t *head, int64_t next, outbox_error **err)
{
    struct followers f = { r, 0, 0 };
    struct outbox_result result = { "ii", NULL, take_follower, &f, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = OUTBOX_OK;

    if (head[HELD_BEHIND] != 0 && head[HELD_BEHIND] < next) {
        /* One more than there is room for, to know whether that was all. */
        outbox_args__int(&args, P_LANE, r->batch->lane);
        outbox_args__int(&args, P_KEY_HASH, head[KEY]);
        outbox_args__int(&args, P_SEQ, head[SEQ]);
        outbox_args__int(&args, P_BOUND, next);
        outbox_args__int(&args, P_LIMIT, (int64_t)(r->limit - r->planned.count + 1));
        rc = outbox_conn__run(r->batch->consumer->conn, Q_FOLLOWERS, &args, 0, "read what waits behind a message", &result,
                              err);
    }
    if (rc == OUTBOX_OK && !f.full && next == INT64_MAX)
        outbox_keys__add(&r->exhausted, head[KEY], 0);
    return rc;
}

static int by_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* The nearest head before a due message, 0 for none. */
static int64_t head_before(const int64_t *due, int dead_blocks)
{
    return dead_blocks && due[DEAD_BEFORE] > due[RETRY_BEFORE] ? due[DEAD_BEFORE] : due[RETRY_BEFORE];
}

static int64_t head_behind(const int64_t *due, int dead_blocks)
{
    int64_t retry = due[RETRY_BEHIND] != 0 ? due[RETRY_BEHIND] : INT64_MAX;
    int64_t dead = dead_blocks && due[DEAD_BEHIND] != 0 ? due[DEAD_BEHIND] : INT64_MAX;

    return retry < dead ? retry : dead;
}

/* In the order of seq, so that what is before was planned before. */
static int plan_one(struct reader *r, const int64_t *due, outbox_error **err)
{
    const outbox_consumer *consumer = r->batch->consumer;
    int dead_blocks = outbox_consumer__dead_blocks(consumer);
    int64_t before = outbox_consumer__ordered(consumer) ? head_before(due, dead_blocks) : 0;
    int rc;

    if (before != 0 && !outbox_keys__has(&r->taken, before)) {
        rc = set_add(&r->park, due[SEQ], err);
        return rc == OUTBOX_OK ? set_add(&r->park_keys, due[KEY], err) : rc;
    }
    if (!has_room(r))
        return OUTBOX_OK;
    rc = plan(r, due[SEQ], due[BYTES], err);
    /* By the invariant, only heads have followers. */
    if (rc == OUTBOX_OK && due[KEY] != 0 && due[STATE] == OUTBOX_RETRYING)
        rc = plan_followers(r, due, head_behind(due, dead_blocks), err);
    return rc;
}

static int take_deferred(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct reader *r = ctx;
    outbox_batch *batch = r->batch;
    struct outbox_item item = { .deferred = 1 };
    int rc = outbox_record__fill(&item.record, cells, &batch->arena);
    const char *reason;

    if (rc < 0)
        return outbox_error__nomem(err);
    item.record.token = batch->token;
    reason = unfit(&item.record, rc);
    item.was_held = item.record.state == OUTBOX_HELD;
    item.followed = outbox_lane__known_key_hash(batch->consumer->memo, item.record.topic, item.record.partition_key);
    if (outbox_consumer__ordered(batch->consumer))
        item.key_hash = item.followed;
    if (reason == NULL && item.record.attempts >= outbox_batch__max_attempts(batch, &item.record))
        reason = CRASHED;
    return put(batch, &item, reason != NULL ? FATE_REJECT : FATE_NONE, reason, err);
}

static int by_seq(const void *a, const void *b)
{
    return by_first(&((const struct outbox_item *)a)->record.seq, &((const struct outbox_item *)b)->record.seq);
}

/* A due message that must wait behind another of its key is held from now on, or it would be looked at each time. Only
 * now that the lane is locked it is certain whether the head is still there. */
static int park(struct reader *r, outbox_error **err)
{
    outbox_conn *conn = r->batch->consumer->conn;
    struct outbox_args args = { .set = 0 };
    int rc;

    if (r->park.count == 0)
        return OUTBOX_OK;
    rc = outbox_conn__begin(conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_batch__fence(r->batch, 1, err);
    outbox_args__int(&args, P_LANE, r->batch->lane);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run_list(conn, Q_DEFERRED_PARK, &args, r->park.list, r->park.count,
                                   "hold messages behind an earlier one", NULL, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__promote(conn, r->batch->lane, r->park_keys.list, r->park_keys.count,
                                  outbox_consumer__dead_blocks(r->batch->consumer), err);
    if (rc == OUTBOX_OK)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

static int read_deferred(struct reader *r, outbox_error **err)
{
    outbox_batch *batch = r->batch;
    outbox_conn *conn = batch->consumer->conn;
    struct outbox_result look = { "iiiiiiiii", NULL, take_due, r, 0 };
    struct outbox_result rows = { OUTBOX_RECORD_TYPES, &batch->arena, take_deferred, r, 0 };
    struct outbox_args args = { .set = 0 };
    size_t i;
    int rc;

    if (!outbox_keys__make(&r->taken, r->limit) || !outbox_keys__make(&r->exhausted, r->limit))
        return outbox_error__nomem(err);
    outbox_args__int(&args, P_LANE, batch->lane);
    outbox_args__int(&args, P_LIMIT, (int64_t)r->limit);
    rc = outbox_conn__run(conn, Q_DUE, &args, 0, "look for messages that are due", &look, err);
    if (r->due.count > 0)
        qsort(r->due.list, r->due.count / DUE_COLUMNS, DUE_COLUMNS * sizeof(int64_t), by_first);
    for (i = 0; i < r->due.count && rc == OUTBOX_OK; i += DUE_COLUMNS)
        rc = plan_one(r, &r->due.list[i], err);
    if (rc == OUTBOX_OK)
        rc = park(r, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run_list(conn, Q_DEFERRED_READ, &args, r->planned.list, r->planned.count,
                                   "read messages that are due", &rows, err);
    if (rc == OUTBOX_OK && batch->count > 1)
        qsort(batch->items, batch->count, sizeof(*batch->items), by_seq);
    return rc;
}

/* ---- new messages ---- */

static int take_new(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct reader *r = ctx;
    outbox_batch *batch = r->batch;
    struct outbox_item item = { .deferred = 0 };
    int rc = outbox_record__fill(&item.record, cells, &batch->arena);
    const char *reason;

    if (rc < 0)
        return outbox_error__nomem(err);
    item.record.token = batch->token;
    reason = unfit(&item.record, rc);
    r->last_seq = item.record.seq;
    r->used += (int64_t)(cells[5].size + cells[6].size); /* payload and headers */
    r->rows++;
    batch->read_snap = (char *)(uintptr_t)cells[17].data;
    r->any_deferred = cells[18].type == OUTBOX_T_INT;
    batch->read = 1;
    if (outbox_consumer__ordered(batch->consumer))
        item.key_hash = outbox_lane__known_key_hash(batch->consumer->memo, item.record.topic, item.record.partition_key);
    if (reason != NULL)
        return put(batch, &item, FATE_REJECT, reason, err);
    if (item.record.state == OUTBOX_SCHEDULED)
        return put(batch, &item, FATE_SCHEDULED, NULL, err);
    return put(batch, &item, FATE_NONE, NULL, err);
}

struct bound {
    int64_t seq, used, bytes;
    size_t rows;
};

static int take_size(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct bound *b = ctx;

    (void)err;
    if (b->rows > 0 && b->used >= b->bytes)
        return OUTBOX_NONE;
    b->rows++;
    b->seq = cells[0].number;
    b->used += cells[1].number;
    return OUTBOX_OK;
}

static int read_rows(struct reader *r, enum outbox_query query, struct outbox_args *args, outbox_error **err)
{
    outbox_conn *conn = r->batch->consumer->conn;
    struct outbox_result rows = { OUTBOX_RECORD_TYPES "ti", &r->batch->arena, take_new, r, 0 };
    struct bound bound = { 0, 0, r->bytes - r->used, 0 };
    struct outbox_result sizes = { "ii", NULL, take_size, &bound, 0 };
    int rc;

    outbox_args__int(args, P_BYTES, r->bytes - r->used);
    if (strstr(outbox_conn__sql(conn, query), ":bytes") == NULL) { /* else the statement itself bounds the bytes */
        rc = outbox_conn__run(conn, Q_SIZES, args, 0, "look at the size of messages", &sizes, err);
        if (rc != OUTBOX_OK || bound.rows == 0)
            return rc;
        outbox_args__int(args, P_SEQ, bound.seq);
        outbox_args__int(args, P_LIMIT, (int64_t)bound.rows);
    }
    return outbox_conn__run(conn, query, args, 0, "read messages", &rows, err);
}

static int read_new(struct reader *r, outbox_error **err)
{
    outbox_batch *batch = r->batch;
    struct outbox_args args = { .set = 0 };
    size_t limit = r->limit - batch->count;
    int rc;

    outbox_args__int(&args, P_LANE, batch->lane);
    outbox_args__int(&args, P_POS, batch->pos);
    outbox_args__int(&args, P_LOW, batch->low);
    outbox_args__text(&args, P_SNAP, batch->snap);
    outbox_args__text(&args, P_XBOUND, batch->xbound);
    outbox_args__int(&args, P_LIMIT, (int64_t)limit);
    rc = outbox_batch__read_packed(batch, &args, limit, r->bytes - r->used, take_new, r, err);
    if (rc == OUTBOX_NONE)
        rc = read_rows(r, outbox_conn__form(batch->consumer->conn, Q_READ), &args, err);
    batch->cut = r->rows > 0 && r->last_seq <= batch->pos && (r->rows >= limit || r->used >= r->bytes);
    return rc;
}

static int take_waiting(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    outbox_keys__add(ctx, cells[0].number, 0);
    return OUTBOX_OK;
}

static int find_waiting(struct reader *r, outbox_error **err)
{
    outbox_batch *batch = r->batch;
    struct outbox_result result = { "i", NULL, take_waiting, &r->waiting, 0 };
    struct outbox_args args = { .set = 0 };
    struct set keys = { NULL, 0, 0 };
    int rc = OUTBOX_OK;
    size_t i;

    for (i = 0; i < batch->count + batch->aside_count && rc == OUTBOX_OK; i++) {
        const struct outbox_item *item = i < batch->count ? &batch->items[i] : &batch->aside[i - batch->count];

        if (!item->deferred && item->key_hash != 0)
            rc = set_add(&keys, item->key_hash, err);
    }
    if (rc == OUTBOX_OK && !outbox_keys__make(&r->waiting, keys.count))
        rc = outbox_error__nomem(err);
    outbox_args__int(&args, P_LANE, batch->lane);
    outbox_args__int(&args, P_DEAD, outbox_consumer__dead_blocks(batch->consumer) ? OUTBOX_DEAD : OUTBOX_RETRYING);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run_list(batch->consumer->conn, Q_WAITING, &args, keys.list, keys.count,
                                   "look for keys that wait", &result, err);
    free(keys.list);
    return rc;
}

/* Something of its key waits that is not in this batch. */
static int is_behind(const struct reader *r, int64_t key)
{
    return outbox_keys__has(&r->waiting, key) && !outbox_keys__has(&r->exhausted, key);
}

/* What is dead blocks its key, but for what cannot be sent and takes its turn like any other: it is held then. */
static int find_blocked(struct reader *r, outbox_error **err)
{
    outbox_batch *batch = r->batch;
    size_t i;

    if (batch->aside_count == 0 || !outbox_consumer__dead_blocks(batch->consumer))
        return OUTBOX_OK;
    if (!outbox_keys__make(&r->blocked, batch->aside_count))
        return outbox_error__nomem(err);
    for (i = 0; i < batch->aside_count; i++) {
        struct outbox_item *dead = &batch->aside[i];

        if (dead->fate != FATE_REJECT || dead->key_hash == 0)
            continue;
        if (!dead->deferred && (outbox_keys__has(&r->blocked, dead->key_hash) || is_behind(r, dead->key_hash))) {
            dead->fate = FATE_HELD;
            dead->reason = NULL;
        } else {
            outbox_keys__add(&r->blocked, dead->key_hash, dead->record.seq);
        }
    }
    return OUTBOX_OK;
}

/* Takes out of the batch what must wait behind something of its key. */
static int hold_back(struct reader *r, outbox_error **err)
{
    outbox_batch *batch = r->batch;
    size_t i, kept = 0;
    int rc = find_blocked(r, err);

    for (i = 0; i < batch->count && rc == OUTBOX_OK; i++) {
        const struct outbox_item *item = &batch->items[i];
        if ((!item->deferred && is_behind(r, item->key_hash)) ||
            outbox_keys__before(&r->blocked, item->key_hash, item->record.seq))
            rc = put(batch, item, FATE_HELD, NULL, err);
        else
            batch->items[kept++] = *item;
    }
    if (rc == OUTBOX_OK)
        batch->count = kept;
    return rc;
}

static int count_row(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    size_t *left = ctx;

    (void)cells;
    (void)err;
    if (*left == 0)
        return OUTBOX_NONE;
    --*left;
    return OUTBOX_OK;
}

/* How many messages the crashed owner can have had in hand: no more than its batch, and no more than there are. */
static int count_suspects(outbox_batch *batch, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    size_t most = (size_t)-batch->suspect, left = most;
    struct outbox_result due = { "i", NULL, count_row, &left, 0 };
    struct outbox_result fresh = { "i", NULL, count_row, &left, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    outbox_args__int(&args, P_LANE, batch->lane);
    outbox_args__int(&args, P_POS, conn->position ? batch->pos : 0);
    outbox_args__int(&args, P_LOW, batch->low);
    outbox_args__text(&args, P_SNAP, batch->snap);
    outbox_args__text(&args, P_XBOUND, batch->xbound);
    outbox_args__int(&args, P_LIMIT, (int64_t)most);
    rc = outbox_conn__run(conn, Q_DUE, &args, 0, "look at what a crashed relay had", &due, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_SUSPECTS, &args, 0, "look at what a crashed relay had", &fresh, err);
    if (rc == OUTBOX_OK)
        batch->suspect = (int)(most - left);
    return rc;
}

static int read_some(outbox_batch *batch, int *again, outbox_error **err)
{
    const outbox_conf *conf = batch->consumer->conf;
    struct reader r = { .batch = batch };
    int rc = OUTBOX_OK;

    *again = 0;
    if (batch->ahead.there) {
        outbox_arena arena = batch->arena;

        batch->arena = batch->ahead.arena;
        batch->ahead.arena = arena;
    } else {
        outbox_arena__reset(&batch->arena);
    }
    batch->count = batch->aside_count = 0;
    batch->read_snap = NULL;
    batch->read = batch->cut = batch->single = 0;
    if (batch->suspect < 0)
        rc = count_suspects(batch, err);
    if (rc != OUTBOX_OK)
        return rc;
    PROBE3(read__start, batch->lane, batch->token, batch->pos);
    r.limit = batch->suspect > 0 ? 1 : batch->limit;
    r.bytes = outbox_conf__number(conf, CONF_RELAY_BATCH_BYTES);
    if (batch->has_deferred)
        rc = read_deferred(&r, err);
    if (rc == OUTBOX_OK && batch->count < r.limit && r.used < r.bytes)
        rc = read_new(&r, err);
    /* What was read of one lane among several is its share, and says little; a read of its own takes all. */
    batch->full = batch->part_count == 0 && batch->limit == (size_t)outbox_conf__number(conf, CONF_RELAY_BATCH_SIZE) &&
                  (r.planned.count + r.rows >= r.limit || r.used >= r.bytes);
    *again = rc == OUTBOX_OK && !batch->has_deferred && r.any_deferred;
    batch->has_deferred |= r.any_deferred;
    if (rc == OUTBOX_OK && batch->has_deferred && !*again)
        rc = find_waiting(&r, err);
    if (rc == OUTBOX_OK && !*again)
        rc = hold_back(&r, err);
    if (rc == OUTBOX_OK)
        outbox_batch__divide(batch);
    reader_free(&r);
    PROBE5(read__done, batch->lane, batch->token, batch->count, r.used, rc);
    return rc;
}

/* The claim said whether anything is deferred, by its own snapshot: since then others may have held the lane, and have
 * deferred what goes before the new messages. */
static int read_once(outbox_batch *batch, outbox_error **err)
{
    int again, rc = read_some(batch, &again, err);

    return again ? read_some(batch, &again, err) : rc;
}

int outbox_batch__read(outbox_batch *batch, outbox_error **err)
{
    for (;;) {
        int rc = outbox_consumer__stopped(batch->consumer) ? OUTBOX_NONE : read_once(batch, err);

        if (rc != OUTBOX_OK)
            return rc;
        if (batch->count + batch->aside_count == 0)
            return OUTBOX_NONE;
        if (batch->count > 0 || batch->part_count > 0)
            return batch->suspect > 0 ? outbox_batch__charge(batch, err) : OUTBOX_OK;
        /* Only things to set aside: that is written, and more is read. */
        rc = outbox_batch__settle(batch, 1, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
}
