/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settle: what became of a batch, in one transaction that begins with the fence: the lane's row, if the token is still
 * ours. Where everything was published and the position says it all, that one statement is the whole of it. */
#include "backoff.h"
#include "batch_internal.h"
#include "error_internal.h"
#include "gather.h"
#include "keys.h"
#include "log.h"
#include "usdt.h"

#include <string.h>

#define HOUR_US INT64_C(3600000000)
#define IN_DELIVERY "the relay crashed or lost its lease while this message was in delivery"

/* Where the position may go. */
struct move {
    int moves;
    int64_t pos;
};

struct seqs {
    int64_t *list;
    size_t count;
};

int outbox_batch__lost(const outbox_batch *batch, outbox_error **err)
{
    return outbox_error__set(err, OUTBOX_ERR_FENCED, "lease.lost",
                             "the lease of lane %d was lost to another relay (token %lld): nothing was written, and the "
                             "messages go again from there", batch->lane, (long long)batch->token);
}

static void fence_args(const outbox_batch *batch, int keep, struct outbox_args *args)
{
    outbox_args__int(args, P_LANE, batch->lane);
    outbox_args__int(args, P_TOKEN, batch->token);
    outbox_args__text(args, P_OWNER, keep ? batch->consumer->owner : NULL);
    outbox_args__int(args, P_LEASE, keep ? outbox_consumer__lease_us(batch->consumer) : batch->hasten ? -HOUR_US : 0);
    outbox_args__int(args, P_SUSPECT, batch->suspect);
}

/* The lane's row is found sooner by where it is, which fails when somebody else changed it meanwhile, be it the keeper that
 * renews the lease: then nothing was written, and it is looked for by its key. */
static int write_lane(outbox_conn *conn, enum outbox_query query, enum outbox_query newest,
                      const struct outbox_args *args, const char *doing, struct outbox_result *result, outbox_error **err)
{
    int rc = OUTBOX_OK;

    if (outbox_conn__sql(conn, newest) != NULL)
        rc = outbox_conn__run(conn, newest, args, 0, doing, result, err);
    return rc == OUTBOX_OK && result->rows == 0 ? outbox_conn__run(conn, query, args, 0, doing, result, err) : rc;
}

static int write_position(outbox_conn *conn, const struct outbox_args *args, struct outbox_result *result, outbox_error **err)
{
    return write_lane(conn, Q_SETTLE_POSITION, Q_SETTLE_NEWEST_POSITION, args, "settle a batch", result, err);
}

int outbox_batch__fence(outbox_batch *batch, int keep, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (batch->part_count > 0)
        return outbox_batch__release_gathered(batch, err);
    fence_args(batch, keep, &args);
    rc = write_lane(batch->consumer->conn, Q_SETTLE, Q_SETTLE_NEWEST, &args, keep ? "keep a lane" : "release a lane",
                    &result, err);
    if (rc == OUTBOX_OK && result.rows != 1) {
        batch->open = 0;
        return outbox_batch__lost(batch, err);
    }
    if (rc == OUTBOX_OK && !keep && !batch->consumer->conn->in_transaction)
        batch->open = 0;
    return rc;
}

static int take_xbound(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(const char **)ctx = cells[0].data;
    return OUTBOX_OK;
}

/* The position alone, or with what follows read at the same time. What cannot be read must not keep what was published from
 * being settled: then the position goes alone, once more if need be, as that changes nothing the second time. */
static int move_position(outbox_batch *batch, struct outbox_args *args, int ahead, struct outbox_result *result,
                         outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    const char **xbound = result->ctx;
    outbox_error *why = NULL;
    int rc;

    if (!ahead)
        return write_position(conn, args, result, err);
    rc = outbox_batch__read_ahead(batch, args, xbound, &why);
    if (rc == OUTBOX_OK && *xbound == NULL)
        return outbox_conn__run(conn, Q_SETTLE_POSITION, args, 0, "settle a batch", result, err); /* as write_lane() */
    if (rc == OUTBOX_OK || rc == OUTBOX_ERR_LOST || rc == OUTBOX_ERR_CONNECT || rc == OUTBOX_ERR_CONFLICT) {
        result->rows = *xbound != NULL;
        outbox_error__pass(err, why);
        return rc;
    }
    outbox_log__write(batch->consumer->conf, OUTBOX_LOG_DEBUG, "not read ahead: %s", outbox_error_message(why));
    outbox_error_free(why);
    *xbound = NULL;
    return write_position(conn, args, result, err);
}

/* The fence, and the position with it. ahead: what follows is read at the same time. */
static int fence_and_move(outbox_batch *batch, int keep, const struct move *move, int ahead, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    int returns = (conn->driver.flags & OUTBOX_DRIVER_SETTLE_RETURNS) != 0;
    const char *xbound = NULL;
    struct outbox_result result = { returns ? "t" : NULL, &batch->lane_arena, take_xbound, &xbound, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (!move->moves)
        return outbox_batch__fence(batch, keep, err);
    fence_args(batch, keep, &args);
    outbox_args__int(&args, P_POS, move->pos);
    outbox_args__text(&args, P_SNAP, batch->read_snap);
    outbox_args__int(&args, P_SEQUENCE, conn->numbers.id);
    outbox_args__int(&args, P_FILE, conn->numbers.file);
    rc = move_position(batch, &args, ahead, &result, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (result.rows != 1) {
        batch->refused = 1;
        return OUTBOX_ERR_FENCED; /* see why_refused() */
    }
    batch->pos = move->pos;
    if (returns) {
        size_t size = strlen(batch->read_snap);

        batch->xbound = (char *)(uintptr_t)xbound;
        batch->snap = outbox_arena__copy(&batch->lane_arena, batch->read_snap, size);
        if (batch->snap == NULL)
            return outbox_error__nomem(err);
    }
    return OUTBOX_OK;
}

/* ---- what becomes of each item ---- */

static int failed(const outbox_batch *batch, const struct outbox_item *item)
{
    if (item->fate == FATE_REJECT || item->dead)
        return outbox_consumer__dead_blocks(batch->consumer);
    return item->fate == FATE_RETRY || item->fate == FATE_UNKNOWN || item->fate == FATE_HELD;
}

/* What was not answered behind one of its key that failed is held with it. */
static int hold_followers(outbox_batch *batch, outbox_error **err)
{
    struct outbox_keys stopped = { NULL, 0, 0 };
    int rc = OUTBOX_OK;
    size_t i;

    for (i = 0; i < batch->count && rc == OUTBOX_OK; i++) {
        struct outbox_item *item = &batch->items[i];

        if (item->fate == FATE_NONE && outbox_keys__has(&stopped, item->key_hash)) {
            item->fate = FATE_HELD;
        } else if (item->key_hash != 0 && failed(batch, item)) {
            if (stopped.slots == NULL && !outbox_keys__make(&stopped, batch->count))
                rc = outbox_error__nomem(err);
            else
                outbox_keys__add(&stopped, item->key_hash, 0);
        }
    }
    outbox_keys__free(&stopped);
    return rc;
}

static void decide(outbox_batch *batch, struct outbox_item *item)
{
    const outbox_conf *conf = batch->consumer->conf;

    item->attempts = item->record.attempts;
    item->dead = item->fate == FATE_REJECT;
    if (item->fate != FATE_RETRY && item->fate != FATE_UNKNOWN && item->fate != FATE_REJECT)
        return;
    if (item->spared) {
        item->attempts--; /* was recorded beforehand */
        item->wait = 0;
        return;
    }
    if (!item->charged)
        item->attempts++;
    if (item->attempts >= outbox_batch__max_attempts(batch, &item->record))
        item->dead = 1;
    item->wait = item->delay >= 0 ? item->delay : outbox_backoff__delay(conf, item->attempts);
}

static int decide_all(outbox_batch *batch, outbox_error **err)
{
    size_t i;

    for (i = 0; i < batch->count; i++)
        decide(batch, &batch->items[i]);
    for (i = 0; i < batch->aside_count; i++) {
        struct outbox_item *item = &batch->aside[i];

        item->attempts = item->record.attempts;
        item->dead = item->fate == FATE_REJECT;
    }
    return hold_followers(batch, err);
}

/* The position goes as far as everything is settled; it stays when a late message is not, or more late ones may be
 * there than were read. */
static struct move where_to(const outbox_batch *batch)
{
    struct move move = { batch->consumer->conn->position && batch->read && !batch->cut, batch->pos };
    int64_t stop = INT64_MAX;
    size_t i;

    for (i = 0; i < batch->count; i++)
        if (!batch->items[i].deferred && batch->items[i].fate == FATE_NONE && batch->items[i].record.seq < stop)
            stop = batch->items[i].record.seq;
    if (stop <= batch->pos)
        move.moves = 0;
    for (i = 0; i < batch->count; i++)
        if (!batch->items[i].deferred && !batch->items[i].charged && batch->items[i].record.seq < stop &&
            batch->items[i].record.seq > move.pos)
            move.pos = batch->items[i].record.seq;
    for (i = 0; i < batch->aside_count; i++)
        if (!batch->aside[i].deferred && batch->aside[i].record.seq < stop && batch->aside[i].record.seq > move.pos)
            move.pos = batch->aside[i].record.seq;
    return move;
}

/* ---- writing ---- */

typedef int (*wanted_fn)(const outbox_batch *batch, const struct outbox_item *item, const struct move *move);

static int published_message(const outbox_batch *batch, const struct outbox_item *item, const struct move *move)
{
    (void)batch;
    return !item->deferred && item->fate == FATE_PUBLISHED && !(move->moves && item->record.seq <= move->pos);
}

static int published_deferred(const outbox_batch *batch, const struct outbox_item *item, const struct move *move)
{
    (void)batch;
    (void)move;
    return item->deferred && item->fate == FATE_PUBLISHED;
}

static int moved(const outbox_batch *batch, const struct outbox_item *item, const struct move *move)
{
    (void)batch;
    (void)move;
    return !item->deferred && item->fate != FATE_NONE && item->fate != FATE_PUBLISHED;
}

static int parked(const outbox_batch *batch, const struct outbox_item *item, const struct move *move)
{
    (void)batch;
    (void)move;
    return item->deferred && item->fate == FATE_HELD && !item->was_held;
}

static struct outbox_item *nth(const outbox_batch *batch, size_t i)
{
    return i < batch->count ? &batch->items[i] : &batch->aside[i - batch->count];
}

static size_t total(const outbox_batch *batch)
{
    return batch->count + batch->aside_count;
}

static void collect(const outbox_batch *batch, wanted_fn wanted, const struct move *move, struct seqs *out)
{
    size_t i;

    out->count = 0;
    for (i = 0; i < total(batch); i++)
        if (wanted(batch, nth(batch, i), move))
            out->list[out->count++] = nth(batch, i)->record.seq;
}

static int write_list(outbox_batch *batch, enum outbox_query query, const struct outbox_args *more, const struct seqs *seqs,
                      outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (more != NULL)
        args = *more;
    outbox_args__int(&args, P_LANE, batch->lane);
    rc = outbox_conn__run_list(conn, query, &args, seqs->list, seqs->count, "settle a batch", &result, err);
    if (rc != OUTBOX_OK || query != Q_DELETE || result.rows >= (int64_t)seqs->count ||
        outbox_conn__sql(conn, Q_DELETE_MOVED) == NULL)
        return rc;
    return outbox_conn__run_list(conn, Q_DELETE_MOVED, &args, seqs->list, seqs->count, "settle a batch", NULL, err);
}

static struct outbox_value number(int64_t n, int null)
{
    return (struct outbox_value){ null ? OUTBOX_T_NULL_INT : OUTBOX_T_INT, n, NULL, 0 };
}

static int is_failure(const struct outbox_item *item)
{
    return item->fate == FATE_RETRY || item->fate == FATE_UNKNOWN || item->fate == FATE_REJECT;
}

static outbox_state state_after(const struct outbox_item *item)
{
    if (item->dead)
        return OUTBOX_DEAD;
    return item->fate == FATE_HELD ? OUTBOX_HELD : item->fate == FATE_SCHEDULED ? OUTBOX_SCHEDULED : OUTBOX_RETRYING;
}

static void bind_outcome(const void *ctx, size_t row, int param, struct outbox_value *value)
{
    const struct outbox_item *item = ((struct outbox_item *const *)ctx)[row];
    const char *reason = is_failure(item) ? item->reason : NULL;

    if (param == P_SEQ)
        *value = number(item->record.seq, 0);
    else if (param == P_STATE)
        *value = number(state_after(item), 0);
    else if (param == P_ATTEMPTS)
        *value = number(item->attempts, 0);
    else if (param == P_DELAY)
        *value = number(item->wait, item->dead || !is_failure(item));
    else if (param == P_KEY_HASH)
        *value = number(item->key_hash, 0);
    else
        *value = (struct outbox_value){ reason != NULL ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT, 0, reason,
                                        reason != NULL ? strlen(reason) : 0 };
}

/* What is deferred changes when it failed; a message becomes deferred when it must wait, too. */
static int has_outcome(const struct outbox_item *item, int deferred)
{
    return item->deferred == deferred &&
           (is_failure(item) || (!deferred && (item->fate == FATE_HELD || item->fate == FATE_SCHEDULED)));
}

/* Many of them are a few statements, whatever became of each. */
static int write_outcomes(outbox_batch *batch, int deferred, outbox_error **err)
{
    struct outbox_item **list = outbox_arena__alloc(&batch->arena, total(batch) * sizeof(struct outbox_item *));
    struct outbox_args args = { .set = 0, .row = bind_outcome };
    enum outbox_query query = deferred ? Q_FAIL_DEFERRED : Q_FAIL;
    size_t count = 0, i, n;
    int rc = list != NULL ? OUTBOX_OK : outbox_error__nomem(err);

    for (i = 0; i < total(batch) && rc == OUTBOX_OK; i++)
        if (has_outcome(nth(batch, i), deferred))
            list[count++] = nth(batch, i);
    outbox_args__int(&args, P_LANE, batch->lane);
    for (i = 0; i < count && rc == OUTBOX_OK; i += n) {
        n = outbox_sqltext__repeats(outbox_conn__sql(batch->consumer->conn, query))
                ? outbox_conn__chunk(batch->consumer->conn, query, count - i) : 1;
        args.ctx = list + i;
        rc = outbox_conn__run(batch->consumer->conn, query, &args, n, "settle a batch", NULL,
                              err);
    }
    return rc;
}

static int write_waiting(outbox_batch *batch, outbox_error **err)
{
    int rc = write_outcomes(batch, 0, err);

    return rc == OUTBOX_OK ? write_outcomes(batch, 1, err) : rc;
}

int outbox_conn__promote(outbox_conn *conn, int lane, const int64_t *keys, size_t count, int dead_blocks,
                         outbox_error **err)
{
    struct outbox_args args = { .set = 0 };

    outbox_args__int(&args, P_LANE, lane);
    outbox_args__int(&args, P_DEAD, dead_blocks ? OUTBOX_DEAD : OUTBOX_RETRYING);
    return outbox_conn__run_list(conn, Q_PROMOTE, &args, keys, count, "let the next messages of keys go", NULL, err);
}

/* Under the lane's lock, so that nobody took the head away meanwhile: no held message is left without one. */
static int promote_all(outbox_batch *batch, struct seqs *keys, outbox_error **err)
{
    size_t i;

    keys->count = 0;
    for (i = 0; i < total(batch); i++) {
        const struct outbox_item *item = nth(batch, i);

        int64_t key = item->deferred ? item->followed : item->key_hash;

        if (key != 0 && (item->fate == FATE_HELD || item->dead || (item->deferred && item->fate == FATE_PUBLISHED)))
            keys->list[keys->count++] = key;
    }
    return outbox_conn__promote(batch->consumer->conn, batch->lane, keys->list, keys->count,
                                outbox_consumer__dead_blocks(batch->consumer), err);
}

static int write_published(outbox_batch *batch, const struct move *move, int retain, struct seqs *seqs, outbox_error **err)
{
    int rc = OUTBOX_OK;

    collect(batch, published_message, move, seqs);
    if (retain)
        rc = write_list(batch, Q_ARCHIVE, NULL, seqs, err);
    if (rc == OUTBOX_OK)
        rc = write_list(batch, Q_DELETE, NULL, seqs, err);
    collect(batch, published_deferred, move, seqs);
    if (rc == OUTBOX_OK && retain)
        rc = write_list(batch, Q_ARCHIVE_DEFERRED, NULL, seqs, err);
    if (rc == OUTBOX_OK)
        rc = write_list(batch, Q_DEFERRED_DELETE, NULL, seqs, err);
    return rc;
}

static int write_all(outbox_batch *batch, int keep, const struct move *move, int retain, struct seqs *seqs,
                     outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc = fence_and_move(batch, keep, move, 0, err);

    if (rc == OUTBOX_OK)
        rc = write_published(batch, move, retain, seqs, err);
    if (rc == OUTBOX_OK)
        rc = write_waiting(batch, err);
    if (rc == OUTBOX_OK) {
        collect(batch, moved, move, seqs);
        rc = write_list(batch, Q_DELETE, NULL, seqs, err);
    }
    if (rc == OUTBOX_OK) {
        collect(batch, parked, move, seqs);
        rc = write_list(batch, Q_DEFERRED_PARK, NULL, seqs, err);
    }
    if (rc == OUTBOX_OK)
        rc = promote_all(batch, seqs, err);
    outbox_args__int(&args, P_LANE, batch->lane);
    if (rc == OUTBOX_OK && retain && move->moves)
        rc = outbox_conn__run(batch->consumer->conn, Q_JOURNAL, &args, 0, "settle a batch", NULL, err);
    return rc;
}

/* Nothing to write but the lane's row. */
static int is_plain(const outbox_batch *batch, const struct move *move, int retain)
{
    size_t i;

    if (!move->moves || retain || batch->aside_count > 0)
        return 0;
    for (i = 0; i < batch->count; i++)
        if (batch->items[i].deferred || batch->items[i].fate != FATE_PUBLISHED)
            return 0;
    return 1;
}

static int settle_in_transaction(outbox_batch *batch, int keep, const struct move *move, int retain, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct seqs seqs = { outbox_arena__alloc(&batch->arena, total(batch) * sizeof(int64_t)), 0 };
    int64_t pos = batch->pos;
    int rc = seqs.list != NULL ? outbox_conn__begin(conn, err) : outbox_error__nomem(err);

    if (rc == OUTBOX_OK) {
        rc = write_all(batch, keep, move, retain, &seqs, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__commit(conn, err);
        else
            outbox_conn__rollback(conn);
    }
    if (rc != OUTBOX_OK)
        batch->pos = pos;
    return rc;
}

/* The position did not move: the lane is another relay's, or else numbers began again since this connection looked at
 * them, and it might pass over messages. Then the lane is let go, and the next claim looks. */
static int why_refused(outbox_batch *batch, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    int rc;

    batch->refused = 0;
    if (conn->numbers.file == 0) {
        batch->open = 0;
        return outbox_batch__lost(batch, err);
    }
    rc = outbox_batch__fence(batch, 0, err);
    if (rc != OUTBOX_OK)
        return rc;
    conn->numbers.doubted = 1;
    return outbox_error__set(err, OUTBOX_ERR_FENCED, "sequence.restarted",
                             "the numbers of messages began again (TRUNCATE with RESTART IDENTITY) while a batch of lane %d was "
                             "in delivery: nothing was written, messages get new numbers where they need them, and those of "
                             "the batch that are left go again", batch->lane);
}

int outbox_batch__settle_lane(outbox_batch *batch, int keep, outbox_error **err)
{
    int retain = outbox_conf__number(batch->consumer->conf, CONF_CLEAN_RETENTION) != 0;
    struct move move;
    size_t i;
    int rc = decide_all(batch, err);

    if (rc != OUTBOX_OK)
        return rc;
    move = where_to(batch);
    if (is_plain(batch, &move, retain))
        rc = fence_and_move(batch, keep, &move, keep && outbox_batch__may_read_ahead(batch), err);
    else
        rc = settle_in_transaction(batch, keep, &move, retain, err);
    if (rc != OUTBOX_OK)
        return batch->refused ? why_refused(batch, err) : rc;
    batch->open = keep;
    for (i = 0; i < total(batch); i++)
        if (nth(batch, i)->fate != FATE_PUBLISHED && nth(batch, i)->fate != FATE_NONE)
            batch->has_deferred = 1;
    return OUTBOX_OK;
}

int outbox_batch__settle(outbox_batch *batch, int keep, outbox_error **err)
{
    size_t i, published = 0;
    int rc;

    PROBE3(settle__start, batch->lane, batch->token, total(batch));
    rc = batch->part_count > 0 ? outbox_batch__settle_gathered(batch, err) : outbox_batch__settle_lane(batch, keep, err);
    for (i = 0; i < batch->count; i++)
        published += batch->items[i].fate == FATE_PUBLISHED;
    PROBE5(settle__done, batch->lane, batch->token, total(batch), published, rc);
    return rc;
}

int outbox_batch__charge(outbox_batch *batch, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct outbox_item *item = &batch->items[0];
    struct seqs one = { &item->record.seq, 1 };
    int fresh = !item->deferred, rc;

    item->fate = FATE_RETRY;
    item->delay = -1;
    item->reason = IN_DELIVERY;
    decide(batch, item);
    item->dead = 0; /* the last attempt is still to come */
    batch->suspect--;
    batch->single = 1;
    rc = outbox_conn__begin(conn, err);
    if (rc == OUTBOX_OK) {
        rc = outbox_batch__fence(batch, 1, err);
        if (rc == OUTBOX_OK)
            rc = write_outcomes(batch, !fresh, err);
        if (rc == OUTBOX_OK && fresh)
            rc = write_list(batch, Q_DELETE, NULL, &one, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__commit(conn, err);
        else
            outbox_conn__rollback(conn);
    }
    item->record.attempts = item->attempts;
    item->deferred = item->charged = batch->has_deferred = 1;
    item->fate = FATE_NONE;
    item->reason = NULL;
    if (fresh)
        batch->read = 0; /* what was read has been moved: the position has nothing to say of it */
    return rc;
}
