/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clean: remove what is past retention, in bounded batches, one cleaner per outbox at a time: whoever leases lane -1.
 *
 * With position settling, what lies behind a position is removed: the present one, or with a retention the one that the
 * journal of positions gives for that long ago. */
#include "batch_internal.h"
#include "clean.h"
#include "error_internal.h"
#include "uuid.h"

#include <outbox/relay.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLEANER_LEASE (INT64_C(60) * 1000000)
#define BATCH_MAX 100000

struct cleaning {
    outbox_conn *conn;
    int64_t batch, retention, dead_retention, dedup, removed;
    char owner[64];
    struct outbox_signal *signal; /* NULL: nobody stops it */
    outbox_arena arena;
};

struct position {
    int64_t lane, pos, low, cleaned, at;
    const char *snap, *xbound;
    int found;
    int due; /* something may have to be removed behind it */
};

struct positions {
    struct position *list;
    size_t count;
};

static int run(struct cleaning *c, enum outbox_query query, const struct outbox_args *args, struct outbox_result *result,
               outbox_error **err)
{
    return outbox_conn__run(c->conn, query, args, 0, "clean the outbox", result, err);
}

static int stopped(const struct cleaning *c)
{
    return c->signal != NULL && outbox_signal__stopped(c->signal);
}

/* Taken at the start and again between batches, as a lease that is renewed. OUTBOX_NONE: another one has it. */
static int take(struct cleaning *c, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    outbox_args__text(&args, P_OWNER, c->owner);
    outbox_args__int(&args, P_LEASE, CLEANER_LEASE);
    rc = run(c, Q_CLEANER_TAKE, &args, &result, err);
    return rc == OUTBOX_OK && result.rows == 0 ? OUTBOX_NONE : rc;
}

static int take_position(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    struct positions *p = ctx;

    (void)err;
    if (p->count < 1024)
        p->list[p->count++] =
            (struct position){ v[0].number, v[1].number, v[4].number, v[5].number, 0, v[2].data, v[3].data, 1, 0 };
    return OUTBOX_OK;
}

static int take_due(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    struct positions *p = ctx;
    size_t i;

    (void)err;
    for (i = 0; i < p->count; i++)
        p->list[i].due |= p->list[i].lane == v[0].number;
    return OUTBOX_OK;
}

static int take_journal(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    struct position *p = ctx;

    (void)err;
    if (!p->found) {
        p->pos = v[0].number;
        p->snap = v[1].data;
        p->low = v[2].number;
        p->at = v[3].number;
        p->found = 1;
    }
    return OUTBOX_OK;
}

/* Removes what is settled at or below a position. */
static int clean_behind(struct cleaning *c, const struct position *p, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc;

    outbox_args__int(&args, P_LANE, p->lane);
    outbox_args__int(&args, P_POS, p->pos);
    outbox_args__int(&args, P_LOW, p->low);
    outbox_args__int(&args, P_CLEANED, p->cleaned);
    outbox_args__text(&args, P_SNAP, p->snap);
    outbox_args__text(&args, P_XBOUND, p->xbound);
    outbox_args__int(&args, P_LIMIT, c->batch);
    for (;;) {
        struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };

        rc = run(c, Q_CLEAN, &args, &result, err);
        c->removed += result.rows;
        if (rc != OUTBOX_OK || result.rows < c->batch || stopped(c))
            return rc;
        rc = take(c, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
}

static int take_flag(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    (void)err;
    *(int64_t *)ctx = v[0].number;
    return OUTBOX_OK;
}

/* Notes how far a lane is done with for good, so that the next pass need not look there again: when nothing can appear
 * at or below the position any more, what was there has been removed, or is kept. */
static int raise_low(struct cleaning *c, const struct position *p, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int asks = outbox_conn__sql(c->conn, Q_LOW) != NULL;
    int64_t quiet = p->pos == p->low || !asks, low, cleaned;
    struct outbox_result result = { "i", NULL, take_flag, &quiet, 0 };
    int rc = OUTBOX_OK;

    outbox_args__int(&args, P_LANE, p->lane);
    outbox_args__int(&args, P_POS, p->pos);
    outbox_args__int(&args, P_LOW, p->low);
    outbox_args__text(&args, P_SNAP, p->snap);
    outbox_args__text(&args, P_XBOUND, p->xbound);
    outbox_args__int(&args, P_LIMIT, 1);
    if (!quiet)
        rc = run(c, Q_LOW, &args, &result, err);
    low = quiet && asks ? p->pos : p->low;
    cleaned = c->retention != 0 ? 0 : quiet ? p->pos : p->low;
    if (rc != OUTBOX_OK || (low == p->low && cleaned <= p->cleaned))
        return rc;
    outbox_args__int(&args, P_LOW, low);
    outbox_args__int(&args, P_CLEANED, cleaned);
    outbox_args__int(&args, P_BOUND, p->low); /* it goes down only when numbers began again */
    return run(c, Q_LOW_SET, &args, NULL, err);
}

static int clean_lane(struct cleaning *c, const struct position *p, outbox_error **err)
{
    struct position old = *p;
    struct outbox_result result = { "itii", &c->arena, take_journal, &old, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (c->retention == 0) {
        rc = clean_behind(c, p, err);
        old.at = INT64_MAX; /* journal rows of a time when there was a retention go too */
    } else {
        old.found = 0;
        outbox_args__int(&args, P_LANE, p->lane);
        outbox_args__int(&args, P_AGE, c->retention);
        outbox_args__int(&args, P_LIMIT, 1);
        rc = run(c, Q_JOURNAL_BEFORE, &args, &result, err);
        if (rc == OUTBOX_OK && old.found)
            rc = clean_behind(c, &old, err);
    }
    if (rc == OUTBOX_OK && old.found && !stopped(c)) {
        outbox_args__int(&args, P_LANE, p->lane);
        outbox_args__int(&args, P_AVAILABLE, old.at);
        rc = run(c, Q_JOURNAL_DELETE, &args, NULL, err);
    }
    return rc;
}

/* Which lanes are worth a look: asked once, and not of each. */
static int find_due(struct cleaning *c, struct positions *p, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_due, p, 0 };
    struct outbox_args args = { .set = 0 };
    size_t i;

    for (i = 0; i < p->count; i++)
        p->list[i].due = c->retention == 0 && p->list[i].cleaned < p->list[i].pos;
    outbox_args__int(&args, P_AGE, c->retention);
    return c->retention == 0 ? OUTBOX_OK : run(c, Q_JOURNAL_DUE, &args, &result, err);
}

static int clean_positions(struct cleaning *c, outbox_error **err)
{
    struct positions p = { calloc(1024, sizeof(*p.list)), 0 };
    struct outbox_result result = { "iittii", &c->arena, take_position, &p, 0 };
    struct outbox_args args = { .set = 0 };
    size_t i;
    int rc = p.list != NULL ? outbox_conn__check_numbers(c->conn, err) : outbox_error__nomem(err);

    if (rc == OUTBOX_OK)
        rc = run(c, Q_LANES, &args, &result, err);
    if (rc == OUTBOX_OK)
        rc = find_due(c, &p, err);
    for (i = 0; i < p.count && rc == OUTBOX_OK && !stopped(c); i++) {
        if (p.list[i].due)
            rc = clean_lane(c, &p.list[i], err);
        /* A pass that was stopped in the middle has left rows where the next one must look again. */
        if (rc == OUTBOX_OK && !stopped(c))
            rc = raise_low(c, &p.list[i], err);
    }
    free(p.list);
    return rc;
}

struct rows {
    int64_t *list; /* lane, seq, key_hash: three numbers a row */
    size_t count;
    int wide;
};

static int take_row(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    struct rows *r = ctx;

    (void)err;
    r->list[r->count * 3] = v[0].number;
    r->list[r->count * 3 + 1] = v[1].number;
    r->list[r->count * 3 + 2] = r->wide ? v[2].number : 0;
    r->count++;
    return OUTBOX_OK;
}

/* The rows of one lane from a place on; returns how many, with their seqs in a row. */
static size_t same_lane(const struct rows *r, size_t from, int64_t *seqs)
{
    size_t n = 0;

    while (from + n < r->count && r->list[(from + n) * 3] == r->list[from * 3]) {
        seqs[n] = r->list[(from + n) * 3 + 1];
        n++;
    }
    return n;
}

static int remove_archived(struct cleaning *c, int64_t lane, const int64_t *seqs, size_t n, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    outbox_args__int(&args, P_LANE, lane);
    rc = outbox_conn__run_list(c->conn, Q_ARCHIVE_DELETE, &args, seqs, n, "clean the outbox", &result, err);
    c->removed += result.rows;
    return rc;
}

int outbox_conn__remove_deferred(outbox_conn *conn, enum outbox_query query, const struct outbox_args *given, int lane,
                                 const int64_t *seqs, const int64_t *keys, size_t stride, size_t n, const char *audit,
                                 int64_t *removed, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = *given;
    int64_t *list = malloc((n + 1) * sizeof(*list));
    size_t i, count = 0;
    int rc = list != NULL ? outbox_conn__begin(conn, err) : outbox_error__nomem(err);

    if (rc != OUTBOX_OK) {
        free(list);
        return rc;
    }
    outbox_args__int(&args, P_LANE, lane);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "lock a lane", NULL, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run_list(conn, query, &args, seqs, n, "remove messages", &result, err);
    for (i = 0; i < n; i++)
        if (keys[i * stride] != 0)
            list[count++] = keys[i * stride];
    if (rc == OUTBOX_OK)
        rc = outbox_conn__promote(conn, lane, list, count, 0, err);
    if (rc == OUTBOX_OK && audit != NULL)
        rc = outbox_conn__audit_add(conn, audit, result.rows, err);
    free(list);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__commit(conn, err);
    else
        outbox_conn__rollback(conn);
    if (rc == OUTBOX_OK)
        *removed += result.rows;
    return rc;
}

/* Selects what is old, then removes it lane by lane. */
static int clean_old(struct cleaning *c, enum outbox_query query, int64_t age, outbox_error **err)
{
    struct rows r = { calloc((size_t)c->batch * 3, sizeof(int64_t)), 0, query == Q_DEAD_OLD };
    int64_t *seqs = calloc((size_t)c->batch, sizeof(*seqs));
    struct outbox_args args = { .set = 0 };
    size_t i, n;
    int rc = r.list != NULL && seqs != NULL ? OUTBOX_OK : outbox_error__nomem(err);

    outbox_args__int(&args, P_AGE, age);
    outbox_args__int(&args, P_LIMIT, c->batch);
    do {
        struct outbox_result result = { query == Q_DEAD_OLD ? "iii" : "ii", NULL, take_row, &r, 0 };

        r.count = 0;
        if (rc == OUTBOX_OK)
            rc = run(c, query, &args, &result, err);
        for (i = 0; i < r.count && rc == OUTBOX_OK; i += n) {
            n = same_lane(&r, i, seqs);
            if (query == Q_DEAD_OLD)
                rc = outbox_conn__remove_deferred(c->conn, Q_DEAD_DELETE, &args, (int)r.list[i * 3], seqs,
                                                  &r.list[i * 3 + 2], 3, n, NULL, &c->removed, err);
            else
                rc = remove_archived(c, r.list[i * 3], seqs, n, err);
        }
        if (rc == OUTBOX_OK && (int64_t)r.count == c->batch)
            rc = take(c, err);
    } while (rc == OUTBOX_OK && (int64_t)r.count == c->batch && !stopped(c));
    free(r.list);
    free(seqs);
    return rc;
}

struct texts {
    const char *list[512];
    size_t count;
};

static int take_text(void *ctx, const struct outbox_value *v, outbox_error **err)
{
    struct texts *t = ctx;

    (void)err;
    if (t->count < 512)
        t->list[t->count++] = v[0].data;
    return OUTBOX_OK;
}

static void bind_text(const void *ctx, size_t row, int param, struct outbox_value *value)
{
    const char *text = ((const char *const *)ctx)[row];

    (void)param;
    *value = (struct outbox_value){ OUTBOX_T_TEXT, 0, text, strlen(text) };
}

static int clean_dedup(struct cleaning *c, outbox_error **err)
{
    struct outbox_args look = { .set = 0 }, args = { .set = 0, .row = bind_text };
    struct texts t = { .count = 0 };
    size_t at, n;
    int rc;

    outbox_args__int(&look, P_AGE, c->dedup);
    outbox_args__int(&look, P_LIMIT, 512);
    do {
        struct outbox_result result = { "t", &c->arena, take_text, &t, 0 };

        t.count = 0;
        rc = run(c, Q_DEDUP_OLD, &look, &result, err);
        for (at = 0; at < t.count && rc == OUTBOX_OK; at += n) {
            n = outbox_conn__chunk(t.count - at);
            args.ctx = t.list + at;
            rc = outbox_conn__run(c->conn, Q_DEDUP_DELETE, &args, n, "clean the outbox", NULL, err);
        }
        outbox_arena__reset(&c->arena);
    } while (rc == OUTBOX_OK && t.count == 512 && !stopped(c));
    return rc;
}

static int clean_all(struct cleaning *c, outbox_error **err)
{
    int rc = OUTBOX_OK;

    if (c->retention != CONF_FOREVER && c->conn->position)
        rc = clean_positions(c, err);
    if (rc == OUTBOX_OK && c->retention != CONF_FOREVER)
        rc = clean_old(c, Q_ARCHIVE_OLD, c->retention, err);
    if (rc == OUTBOX_OK && c->dead_retention != CONF_FOREVER && !stopped(c))
        rc = clean_old(c, Q_DEAD_OLD, c->dead_retention, err);
    if (rc == OUTBOX_OK && c->dedup != CONF_FOREVER && !stopped(c))
        rc = clean_dedup(c, err);
    return rc;
}

int outbox_clean__pass(outbox_conn *conn, const struct outbox_clean_limits *limits, struct outbox_signal *signal,
                       int64_t *removed, outbox_error **err)
{
    struct cleaning c = { .conn = conn, .batch = limits->batch, .retention = limits->retention,
                          .dead_retention = limits->dead_retention, .dedup = limits->dedup,
                          .signal = signal };
    struct outbox_args args = { .set = 0 };
    outbox_id id;
    int rc = outbox_conn__load(conn, err);

    if (rc == OUTBOX_OK)
        rc = outbox_uuid__make(&id, 1, err);
    if (rc != OUTBOX_OK)
        return rc;
    snprintf(c.owner, sizeof(c.owner), "cleaner:%s", id.text);
    rc = take(&c, err);
    if (rc == OUTBOX_OK) {
        rc = clean_all(&c, err);
        outbox_args__text(&args, P_OWNER, c.owner);
        run(&c, Q_CLEANER_RELEASE, &args, NULL, NULL);
    }
    outbox_arena__free(&c.arena);
    if (removed != NULL)
        *removed = c.removed;
    return rc;
}

void outbox_clean__limits(const outbox_conf *conf, struct outbox_clean_limits *limits)
{
    limits->batch = outbox_conf__number(conf, CONF_CLEAN_BATCH);
    limits->retention = outbox_conf__number(conf, CONF_CLEAN_RETENTION);
    limits->dead_retention = outbox_conf__number(conf, CONF_CLEAN_DEAD_RETENTION);
    limits->dedup = outbox_conf__number(conf, CONF_DEDUP_WINDOW);
}

int outbox_clean(outbox_conn *conn, const outbox_conf *conf, int64_t *removed, outbox_error **err)
{
    struct outbox_clean_limits limits;

    outbox_clean__limits(conf != NULL ? conf : conn->conf, &limits);
    return outbox_clean__pass(conn, &limits, NULL, removed, err);
}
