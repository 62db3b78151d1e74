/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Positions that no longer mean what they did: after a restore into another cluster, or when the numbers of messages
 * began again behind them. ARCHITECTURE.md, Dump and restore. */
#include "conn_internal.h"
#include "error_internal.h"
#include "log.h"

#include <outbox/types.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_AGAIN "the numbers of messages began again behind what is published (%s): they go on beyond it now"

/* How far a transaction's own xids, which its savepoints have, lie apart at the most, where nothing else tells. */
#define NEAR_XIDS 100000

/* Rows that were written before a restore carry xids of another cluster. What is behind each lane's position is settled
 * but for late rows, which are moved aside to go as retries, in seq order and without a key: what came after them may
 * have gone long ago. From here on, low stands for all of them. */
struct rebase {
    outbox_conn *conn;
    outbox_arena *arena;
    struct outbox_value lanes[1024][6];
    size_t count;
    int foreign, restarted; /* it is another cluster; its numbers began again */
};

static int take_lane(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct rebase *r = ctx;

    (void)err;
    if (r->count < 1024)
        memcpy(r->lanes[r->count++], cells, sizeof(r->lanes[0]));
    return OUTBOX_OK;
}

struct seqs {
    int64_t list[512];
    size_t count;
};

static int take_seq(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct seqs *s = ctx;

    (void)err;
    if (s->count < 512)
        s->list[s->count++] = cells[0].number;
    return OUTBOX_OK;
}

static void lane_args(struct outbox_args *args, const struct outbox_value *lane)
{
    outbox_args__int(args, P_LANE, lane[0].number);
    outbox_args__int(args, P_POS, lane[1].number);
    outbox_args__text(args, P_SNAP, lane[2].data);
    outbox_args__text(args, P_XBOUND, lane[3].data);
    outbox_args__int(args, P_LOW, lane[4].number);
}

static int rebase_lane(outbox_conn *conn, const struct outbox_value *lane, int restarted, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct seqs seqs;
    int rc;

    lane_args(&args, lane);
    outbox_args__int(&args, P_LIMIT, 512);
    outbox_args__int(&args, P_STATE, OUTBOX_RETRYING);
    outbox_args__int(&args, P_ATTEMPTS, 0);
    outbox_args__int(&args, P_DELAY, 0);
    outbox_args__text(&args, P_ERROR, NULL);
    outbox_args__int(&args, P_KEY_HASH, 0);
    do {
        struct outbox_result result = { "i", NULL, take_seq, &seqs, 0 };

        seqs.count = 0;
        rc = outbox_conn__run(conn, Q_REBASE_LATE, &args, 0, "look for late messages after a restore", &result, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__run_list(conn, Q_DEFER, &args, seqs.list, seqs.count, "set late messages aside", NULL, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__run_list(conn, Q_DELETE, &args, seqs.list, seqs.count, "set late messages aside", NULL, err);
    } while (rc == OUTBOX_OK && seqs.count == 512);
    if (rc == OUTBOX_OK && !restarted)
        rc = outbox_conn__run(conn, Q_REBASE_LANE, &args, 0, "note a restore", NULL, err);
    if (rc == OUTBOX_OK && !restarted)
        rc = outbox_conn__run(conn, Q_REBASE_NEW, &args, 0, "note a restore", NULL, err);
    return rc;
}

static int take_flag(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int *)ctx = cells[0].number != 0;
    return OUTBOX_OK;
}

/* Whether the rows are of another cluster: it has another name, or their xids were not given out here yet. */
static int is_foreign(outbox_conn *conn, const char *system, int *foreign, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_flag, foreign, 0 };
    struct outbox_args args = { .set = 0 };

    *foreign = strcmp(conn->system, system) != 0;
    return *foreign ? OUTBOX_OK : outbox_conn__run(conn, Q_FUTURE, &args, 0, "look for a restore", &result, err);
}

/* What Q_SEQUENCE says. */
struct sequence {
    int behind;           /* the numbers to come lie behind a position */
    int64_t last, id, file;
};

static int take_sequence(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct sequence *s = ctx;

    (void)err;
    *s = (struct sequence){ cells[0].number != 0, cells[1].number, cells[2].number, cells[3].number };
    return OUTBOX_OK;
}

static int look_at_sequence(outbox_conn *conn, struct sequence *s, outbox_error **err)
{
    struct outbox_result result = { "iiii", NULL, take_sequence, s, 0 };
    struct outbox_args args = { .set = 0 };

    memset(s, 0, sizeof(*s));
    return outbox_conn__run(conn, Q_SEQUENCE, &args, 0, "look whether numbers began again", &result, err);
}

/* Where the tables have the same oid and the xids are possible, it may be the same cluster, upgraded. */
static int may_be_upgraded(const outbox_conn *conn, const char *system)
{
    const char *was = strrchr(conn->system, '/'), *is = strrchr(system, '/');

    return strcmp(conn->system, system) != 0 && was != NULL && is != NULL && strcmp(was, is) == 0;
}

/* A logical replica has no numbers of its origin's sequence: what was written here until now lies behind positions. */
static int look_at_numbers(struct rebase *r, const char *system, struct sequence *s, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_flag, &r->restarted, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = look_at_sequence(r->conn, s, err);

    r->restarted = s->behind;
    if (rc == OUTBOX_OK && !s->behind && s->last >= 0 && !may_be_upgraded(r->conn, system))
        rc = outbox_conn__run(r->conn, Q_REBASE_PASSED, &args, 0, "look whether numbers began again", &result, err);
    /* Who may not look may not do this, and is told so. */
    if (rc == OUTBOX_OK && (r->restarted || s->last < 0))
        rc = outbox_conn__run(r->conn, Q_ADVANCE, &args, 0, "let numbers go on beyond all positions", NULL, err);
    return rc;
}

/* Late rows first, as the numbers of the old cluster tell which they are. */
static int rebase_lanes(struct rebase *r, const char *system, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct outbox_result result = { "iittii", r->arena, take_lane, r, 0 };
    struct sequence s;
    size_t i;
    int rc = outbox_conn__run(r->conn, Q_LOCK_LANES, &args, 0, "note a restore", NULL, err);

    if (rc == OUTBOX_OK)
        rc = look_at_numbers(r, system, &s, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(r->conn, Q_LANES, &args, 0, "read the lanes", &result, err);
    for (i = 0; i < r->count && rc == OUTBOX_OK; i++)
        rc = rebase_lane(r->conn, r->lanes[i], r->restarted, err);
    if (rc == OUTBOX_OK && r->restarted) {
        outbox_args__int(&args, P_COUNT, s.last);
        outbox_args__int(&args, P_NEAR, s.behind ? INT32_MAX : NEAR_XIDS);
        rc = outbox_conn__run(r->conn, Q_REBASE_NUMBERS, &args, 0, "number messages anew", NULL, err);
    }
    return rc;
}

static int rebase_all(struct rebase *r, const char *system, outbox_error **err)
{
    outbox_conn *conn = r->conn;
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    /* The cleaner's lane is locked first: whoever does this at the same time waits here, and finds it done. */
    outbox_args__int(&args, P_LANE, -1);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "note a restore", NULL, err);
    conn->lanes = 0;
    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = is_foreign(conn, system, &r->foreign, err);
    if (rc == OUTBOX_OK && r->foreign)
        rc = rebase_lanes(r, system, err);
    outbox_args__text(&args, P_NAME, "system");
    outbox_args__text(&args, P_VALUE, system);
    if (rc == OUTBOX_OK && r->foreign)
        rc = outbox_conn__run(conn, Q_META_SET, &args, 0, "note a restore", NULL, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__commit(conn, err);
    else
        outbox_conn__rollback(conn);
    if (rc == OUTBOX_OK)
        snprintf(conn->system, sizeof(conn->system), "%s", system);
    return rc;
}

static void tell(const struct rebase *r)
{
    if (r->foreign)
        outbox_log__write(r->conn->conf, OUTBOX_LOG_WARNING,
                          "this database was restored from another cluster: positions were taken over");
    if (r->foreign && r->restarted)
        outbox_log__write(r->conn->conf, OUTBOX_LOG_WARNING, NUMBERS_AGAIN,
                          "as a logical replica has none of its origin");
}

static int take_system(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    snprintf(ctx, 80, "%s", cells[0].data != NULL ? (const char *)cells[0].data : "");
    return OUTBOX_OK;
}

static int check_system(outbox_conn *conn, outbox_error **err)
{
    outbox_arena arena = { NULL };
    char system[80] = "";
    struct outbox_result result = { "t", &arena, take_system, system, 0 };
    struct outbox_args args = { .set = 0 };
    struct rebase *r;
    int foreign = 0, rc;

    if (!conn->position || outbox_conn__sql(conn, Q_SYSTEM) == NULL)
        return OUTBOX_OK;
    rc = outbox_conn__run(conn, Q_SYSTEM, &args, 0, "ask which database cluster this is", &result, err);
    if (rc == OUTBOX_OK)
        rc = is_foreign(conn, system, &foreign, err);
    if (rc == OUTBOX_OK && foreign) {
        r = calloc(1, sizeof(*r));
        if (r != NULL) {
            r->conn = conn;
            r->arena = &arena;
        }
        rc = r != NULL ? rebase_all(r, system, err) : outbox_error__nomem(err);
        if (rc == OUTBOX_OK)
            tell(r);
        free(r);
    }
    outbox_arena__free(&arena);
    return rc;
}

/* ---- numbers that began again ---- */

static int is_behind(outbox_conn *conn, int *behind, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_flag, behind, 0 };
    struct outbox_args args = { .set = 0 };

    return outbox_conn__run(conn, Q_BEHIND, &args, 0, "look whether numbers began again", &result, err);
}

static int renumber(outbox_conn *conn, const struct sequence *s, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__run(conn, Q_LOCK_LANES, &args, 0, "number messages anew", NULL, err);

    outbox_args__int(&args, P_COUNT, s->last);
    return rc == OUTBOX_OK ? outbox_conn__run(conn, Q_RENUMBER, &args, 0, "number messages anew", NULL, err) : rc;
}

/* Numbers that lie behind a position would pass for published. Whoever does this at the same time waits for the cleaner's
 * lane and finds it done. */
static int advance(outbox_conn *conn, int changed, struct sequence *s, int *behind, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, -1);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "let numbers go on", NULL, err);
    if (rc == OUTBOX_OK)
        rc = look_at_sequence(conn, s, err);
    if (rc == OUTBOX_OK)
        rc = is_behind(conn, behind, err);
    if (rc == OUTBOX_OK && (s->behind || s->last < 0)) /* who may not look may not do this, and is told so */
        rc = outbox_conn__run(conn, Q_ADVANCE, &args, 0, "let numbers go on beyond all positions", NULL, err);
    if (rc == OUTBOX_OK && (s->behind || *behind || changed))
        rc = renumber(conn, s, err);
    *behind |= s->behind;
    if (rc == OUTBOX_OK)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

static int check_numbers(outbox_conn *conn, outbox_error **err)
{
    struct sequence s;
    int behind = 0, changed, rc;

    if (!conn->position || outbox_conn__sql(conn, Q_SEQUENCE) == NULL)
        return OUTBOX_OK;
    rc = look_at_sequence(conn, &s, err);
    if (rc != OUTBOX_OK)
        return rc;
    changed = conn->numbers.file != 0 && (s.id != conn->numbers.id || s.file != conn->numbers.file);
    if (conn->numbers.file == 0)
        rc = is_behind(conn, &behind, err);
    if (rc == OUTBOX_OK && (s.behind || behind || changed))
        rc = advance(conn, changed, &s, &behind, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (behind)
        outbox_log__write(conn->conf, OUTBOX_LOG_WARNING, NUMBERS_AGAIN,
                          "by TRUNCATE with RESTART IDENTITY or a partial restore");
    /* What was read before all that: a file that came later is noticed the next time. */
    conn->numbers.id = s.id;
    conn->numbers.file = s.file;
    conn->numbers.doubted = 0;
    return OUTBOX_OK;
}

int outbox_conn__check_restore(outbox_conn *conn, outbox_error **err)
{
    int rc = check_system(conn, err);

    return rc == OUTBOX_OK ? check_numbers(conn, err) : rc;
}

/* The numbers of a restored outbox cannot be compared with anything before it is taken over. */
int outbox_conn__check_numbers(outbox_conn *conn, outbox_error **err)
{
    return conn->numbers.file == 0 ? outbox_conn__check_restore(conn, err) : check_numbers(conn, err);
}
