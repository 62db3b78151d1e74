/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backlog.h"

#include "error_internal.h"

#include <stdlib.h>
#include <string.h>

struct look {
    struct outbox_lane_rows lanes;
    int64_t oldest; /* INT64_MAX: none */
    int64_t pending;
    int exact;
};

static int take_lane(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct outbox_lane_rows *l = ctx;
    struct outbox_lane_row *row;

    if (l->count == l->room) {
        int room = l->room * 2 + 64;
        struct outbox_lane_row *grown = realloc(l->rows, (size_t)room * sizeof(*grown));

        if (grown == NULL)
            return outbox_error__nomem(err);
        l->rows = grown;
        l->room = room;
    }
    row = &l->rows[l->count++];
    row->lane = cells[0].number;
    row->pos = cells[1].number;
    l->held += cells[2].number != 0;
    l->now = cells[3].number;
    row->first = cells[4].number;
    row->last = cells[5].number;
    return OUTBOX_OK;
}

int outbox_backlog__lanes(outbox_conn *conn, struct outbox_lane_rows *lanes, outbox_error **err)
{
    struct outbox_args none = { .set = 0 };
    struct outbox_result result = { "iiiiii", NULL, take_lane, lanes, 0 };

    return outbox_conn__run(conn, Q_BACKLOG_LANES, &none, 0, "estimate the backlog", &result, err);
}

static int take_three(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    int64_t *three = ctx;

    (void)err;
    three[0] = cells[0].number;
    three[1] = cells[1].number;
    three[2] = cells[2].number;
    return OUTBOX_OK;
}

/* A full sample spans some numbers; the rest of the lane is taken to be as dense. */
static int64_t extrapolate(const struct outbox_lane_row *row, int64_t count, int64_t end)
{
    double density;

    if (end <= row->first || row->last <= end)
        return count;
    density = (double)(count - 1) / (double)(end - row->first);
    return count + (int64_t)(density * (double)(row->last - end) + 0.5);
}

static int look_at_lane(outbox_conn *conn, struct look *l, const struct outbox_lane_row *row, outbox_error **err)
{
    int64_t three[3] = { 0, 0, 0 }; /* count, oldest, last number */
    struct outbox_result result = { "iii", NULL, take_three, three, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    outbox_args__int(&args, P_LANE, row->lane);
    outbox_args__int(&args, P_POS, row->pos);
    outbox_args__int(&args, P_LIMIT, OUTBOX_BACKLOG_SAMPLE);
    rc = outbox_conn__run(conn, Q_BACKLOG_LANE, &args, 0, "estimate the backlog", &result, err);
    if (rc != OUTBOX_OK || three[0] == 0)
        return rc;
    if (three[1] < l->oldest)
        l->oldest = three[1];
    if (three[0] < OUTBOX_BACKLOG_SAMPLE) {
        l->pending += three[0];
    } else {
        l->pending += extrapolate(row, three[0], three[2]);
        l->exact = 0;
    }
    return OUTBOX_OK;
}

static int look_at_pending(outbox_conn *conn, struct look *l, outbox_error **err)
{
    int i, rc = outbox_backlog__lanes(conn, &l->lanes, err);

    for (i = 0; i < l->lanes.count && rc == OUTBOX_OK; i++)
        if (l->lanes.rows[i].last > l->lanes.rows[i].pos)
            rc = look_at_lane(conn, l, &l->lanes.rows[i], err);
    return rc;
}

/* ---- the deferred ---- */

struct deferred {
    struct outbox_backlog_lane *lane;
    int lanes, last;
    int64_t rows;
};

static int take_deferred(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct deferred *d = ctx;
    int64_t lane = cells[0].number, state = cells[1].number;

    (void)err;
    if (lane < 0 || lane >= d->lanes || state <= 0 || state >= OUTBOX_STATE_COUNT)
        return OUTBOX_OK;
    d->lane[lane].by_state[state] += cells[2].number;
    if (state == OUTBOX_HELD)
        d->lane[lane].blocked += cells[3].number;
    d->rows += cells[2].number;
    if (lane > d->last)
        d->last = (int)lane;
    return OUTBOX_OK;
}

/* The lanes from the cursor to where the rows ended. A lane that is larger than that alone is known as far as it goes. */
static int look_at_deferred(outbox_conn *conn, struct outbox_backlog *b, outbox_error **err)
{
    struct deferred d = { NULL, b->lanes, -1, 0 };
    struct outbox_result result = { "iiii", NULL, take_deferred, &d, 0 };
    struct outbox_args args = { .set = 0 };
    int lane, end, rc;

    d.lane = calloc((size_t)b->lanes, sizeof(*d.lane));
    if (d.lane == NULL)
        return outbox_error__nomem(err);
    outbox_args__int(&args, P_LANE, b->cursor);
    outbox_args__int(&args, P_LIMIT, OUTBOX_BACKLOG_ROWS);
    rc = outbox_conn__run(conn, Q_BACKLOG_DEFERRED, &args, 0, "count the deferred", &result, err);
    if (rc == OUTBOX_OK) {
        end = d.rows < OUTBOX_BACKLOG_ROWS ? b->lanes : d.last > b->cursor ? d.last : b->cursor + 1;
        for (lane = b->cursor; lane < end; lane++) {
            b->lane[lane] = d.lane[lane];
            b->lane[lane].known = 1 + (d.rows >= OUTBOX_BACKLOG_ROWS && d.last == lane);
        }
        b->cursor = end < b->lanes ? end : 0;
    }
    free(d.lane);
    return rc;
}

static void sum_deferred(struct outbox_backlog *b, outbox_counts *counts)
{
    int64_t known = 0;
    int lane, state;

    b->blocked = 0;
    for (lane = 0; lane < b->lanes; lane++) {
        known += b->lane[lane].known != 0;
        b->exact = b->exact && b->lane[lane].known == 1;
        b->blocked += b->lane[lane].blocked;
        for (state = 0; state < OUTBOX_STATE_COUNT; state++)
            counts->by_state[state] += b->lane[lane].by_state[state];
    }
    if (known == 0 || known == b->lanes)
        return;
    b->blocked = b->blocked * b->lanes / known;
    for (state = 0; state < OUTBOX_STATE_COUNT; state++)
        counts->by_state[state] = counts->by_state[state] * b->lanes / known;
}

static int set_lanes(struct outbox_backlog *b, int lanes, outbox_error **err)
{
    if (lanes == b->lanes && b->lane != NULL)
        return OUTBOX_OK;
    outbox_backlog__free(b);
    b->lane = calloc(lanes > 0 ? (size_t)lanes : 1, sizeof(*b->lane));
    if (b->lane == NULL)
        return outbox_error__nomem(err);
    b->lanes = lanes;
    return OUTBOX_OK;
}

int outbox_backlog__look(outbox_conn *conn, struct outbox_backlog *b, outbox_error **err)
{
    struct look l = { .oldest = INT64_MAX, .exact = 1 };
    outbox_counts counts;
    int rc = outbox_conn__load(conn, err);

    memset(&counts, 0, sizeof(counts));
    counts.size = sizeof(counts);
    if (rc == OUTBOX_OK)
        rc = look_at_pending(conn, &l, err);
    if (rc == OUTBOX_OK)
        rc = set_lanes(b, l.lanes.count, err);
    if (rc == OUTBOX_OK && l.lanes.count > 0)
        rc = look_at_deferred(conn, b, err);
    if (rc == OUTBOX_OK) {
        b->exact = l.exact;
        sum_deferred(b, &counts);
        counts.by_state[OUTBOX_PENDING] = l.pending;
        counts.oldest_pending_us = l.oldest < l.lanes.now ? l.lanes.now - l.oldest : 0;
        counts.lanes = l.lanes.count;
        counts.lanes_held = l.lanes.held;
        b->counts = counts;
    }
    free(l.lanes.rows);
    return rc;
}

void outbox_backlog__free(struct outbox_backlog *b)
{
    free(b->lane);
    b->lane = NULL;
    b->lanes = b->cursor = 0;
}
