/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration that looks at a part: what waits, up to a number of rows, and who holds the lanes. */
#include "admin_internal.h"
#include "backlog.h"
#include "error_internal.h"
#include "record.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 100
#define ROWS_DEFAULT 2000

struct peek {
    outbox_filter filter;
    outbox_record_fn fn;
    void *user;
    outbox_arena arena;
    int64_t now;
    size_t given;
    int stopped;
};

static int is_same(const char *wanted, const char *text)
{
    return wanted == NULL || (text != NULL && strcmp(wanted, text) == 0);
}

/* In the order of the cheapest. What a database takes for equal is not asked: the filter means exactly. */
static int lets_through(const struct peek *p, const outbox_record *r)
{
    const outbox_filter *f = &p->filter;

    return (f->state == 0 || r->state == f->state) && is_same(f->id, r->id.text) && is_same(f->topic, r->topic) &&
           is_same(f->partition_key, r->partition_key) &&
           (f->older_than_us == 0 || r->created_at <= p->now - f->older_than_us);
}

static int take_record(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct peek *p = ctx;
    outbox_record record;

    if (outbox_record__fill(&record, cells, &p->arena) < 0)
        return outbox_error__nomem(err);
    if (lets_through(p, &record)) {
        p->given++;
        p->stopped = p->fn(p->user, &record) != 0 || p->given >= p->filter.limit;
    }
    outbox_arena__reset(&p->arena);
    return p->stopped ? OUTBOX_NONE : OUTBOX_OK;
}

/* Looks at up to so many rows; *complete is cleared when there may be more. */
static int look(outbox_conn *conn, enum outbox_query query, struct outbox_args *args, size_t rows, struct peek *p,
                int *complete, outbox_error **err)
{
    struct outbox_result result = { OUTBOX_RECORD_TYPES, &p->arena, take_record, p, 0 };
    int rc;

    outbox_args__int(args, P_LIMIT, rows < INT32_MAX ? (int64_t)rows + 1 : INT32_MAX);
    rc = outbox_conn__run(conn, query, args, 0, "look at what waits", &result, err);
    if (p->stopped || (uint64_t)result.rows > rows)
        *complete = 0;
    return rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}

/* The lanes that have messages share the rows. */
static int look_at_pending(outbox_conn *conn, int lane, size_t rows, struct peek *p, int *complete, outbox_error **err)
{
    struct outbox_lane_rows lanes = { .rows = NULL };
    size_t count = 0;
    int i, rc = outbox_backlog__lanes(conn, &lanes, err);

    p->now = lanes.now;
    for (i = 0; i < lanes.count; i++)
        count += lanes.rows[i].last > lanes.rows[i].pos && (lane < 0 || lanes.rows[i].lane == lane);
    for (i = 0; i < lanes.count && rc == OUTBOX_OK && !p->stopped; i++) {
        const struct outbox_lane_row *row = &lanes.rows[i];
        struct outbox_args args = { .set = 0 };

        if (row->last <= row->pos || (lane >= 0 && row->lane != lane))
            continue;
        outbox_args__int(&args, P_LANE, row->lane);
        outbox_args__int(&args, P_POS, row->pos);
        rc = look(conn, Q_PEEK_PENDING, &args, rows / count > 0 ? rows / count : 1, p, complete, err);
    }
    free(lanes.rows);
    return rc;
}

static int look_at_deferred(outbox_conn *conn, int lane, size_t rows, struct peek *p, int *complete, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };

    outbox_args__int(&args, P_LANE, lane >= 0 ? lane : 0);
    outbox_args__int(&args, P_BOUND, lane >= 0 ? lane : INT16_MAX);
    return look(conn, Q_PEEK_DEFERRED, &args, rows, p, complete, err);
}

int outbox_peek(outbox_conn *conn, const outbox_filter *given, size_t rows, outbox_record_fn fn, void *user, int *complete,
                outbox_error **err)
{
    struct peek p = { .fn = fn, .user = user };
    outbox_id id;
    int lane = -1, all = 1, rc = outbox_filter__take(given, &p.filter, &id, err);

    if (rc == OUTBOX_OK && (conn == NULL || fn == NULL))
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "list.incomplete", "a connection and a callback are needed");
    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (p.filter.limit == 0)
        p.filter.limit = LIMIT_DEFAULT;
    if (p.filter.partition_key != NULL && p.filter.partition_key[0] != '\0')
        lane = outbox_lane__known_lane(conn->lane_memo, p.filter.partition_key, conn->lanes);
    if (rows == 0)
        rows = ROWS_DEFAULT;
    /* The deferred are fewer, and what is looked for. */
    if (p.filter.state != OUTBOX_PENDING) {
        if (p.filter.older_than_us > 0)
            rc = outbox_conn__now(conn, &p.now, err);
        if (rc == OUTBOX_OK)
            rc = look_at_deferred(conn, lane, rows, &p, &all, err);
    }
    if (rc == OUTBOX_OK && !p.stopped && p.filter.state <= OUTBOX_SCHEDULED)
        rc = look_at_pending(conn, lane, rows, &p, &all, err);
    outbox_arena__free(&p.arena);
    if (complete != NULL)
        *complete = all;
    return rc;
}

/* ---- lanes ---- */

struct owners {
    outbox_arena arena;
    outbox_lane_fn fn;
    void *user;
};

static int take_owner(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct owners *o = ctx;
    outbox_lane_info lane = { .size = sizeof(lane), .lane = (int)cells[0].number };
    int stop;

    (void)err;
    if (cells[1].type == OUTBOX_T_TEXT) {
        lane.owner = cells[1].data;
        lane.lease_us = cells[2].number;
    }
    lane.suspect = cells[3].number != 0;
    stop = o->fn(o->user, &lane);
    outbox_arena__reset(&o->arena);
    return stop != 0 ? OUTBOX_NONE : OUTBOX_OK;
}

int outbox_lanes(outbox_conn *conn, outbox_lane_fn fn, void *user, outbox_error **err)
{
    struct owners o = { .fn = fn, .user = user };
    struct outbox_result result = { "itii", &o.arena, take_owner, &o, 0 };
    struct outbox_args none = { .set = 0 };
    int rc;

    if (conn == NULL || fn == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "list.incomplete", "a connection and a callback are needed");
    rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_OWNERS, &none, 0, "look at the lanes", &result, err);
    outbox_arena__free(&o.arena);
    return rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}
