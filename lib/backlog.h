/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much waits in an outbox, for metrics: at a cost that does not grow with it.
 *
 * outbox_count() looks at every row. Here:
 *   - Pending messages are counted lane by lane, up to OUTBOX_BACKLOG_SAMPLE each. A lane with more is estimated: its
 *     first messages say how densely they lie among the numbers, its last one how many numbers there are. A lane in
 *     which messages came at another rate than the others, and that rate changed, is estimated badly.
 *   - Of the deferred, OUTBOX_BACKLOG_ROWS are counted each time, from the lane on where the last time ended. What is
 *     known of the other lanes stays, so that all is counted after a few times; until then it is multiplied up.
 *   - Rows of transactions that committed late are not counted, nor are those that nobody knows to be scheduled as they
 *     have not been read yet: these are pending. */
#ifndef OUTBOX_BACKLOG_H
#define OUTBOX_BACKLOG_H

#include "conn_internal.h"

#include <outbox/admin.h>

#define OUTBOX_BACKLOG_SAMPLE 100
#define OUTBOX_BACKLOG_ROWS 10000

/* A lane, where its position is, and the first and last number beyond that; 0 without one. */
struct outbox_lane_row {
    int64_t lane, pos, first, last;
};

/* All lanes, in any order. Zero-initialise; free rows. */
struct outbox_lane_rows {
    struct outbox_lane_row *rows;
    int count, room, held;
    int64_t now;
};

int outbox_backlog__lanes(outbox_conn *conn, struct outbox_lane_rows *lanes, outbox_error **err);

struct outbox_backlog_lane {
    int64_t by_state[OUTBOX_STATE_COUNT]; /* of the deferred */
    int64_t blocked;                      /* keys of which messages are held */
    int known;
};

struct outbox_backlog {
    outbox_counts counts;     /* but for those delivered, which are not counted */
    int64_t blocked;
    int exact;                /* nothing was estimated */
    int cursor;               /* the lane to go on with */
    struct outbox_backlog_lane *lane;
    int lanes;
};

/* Zero-initialise. What it found before stays when it fails. */
int outbox_backlog__look(outbox_conn *conn, struct outbox_backlog *b, outbox_error **err);
void outbox_backlog__free(struct outbox_backlog *b);

#endif
