/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of the benchmark of speed (speed.c says what it measures). */
#ifndef OUTBOX_BENCH_SPEED_H
#define OUTBOX_BENCH_SPEED_H

#include "bench.h"
#include "pq.h"
#include "report.h"

enum { KEYS = 1000, PAYLOAD = 256, LANES = 64 };

struct speed {
    int quick, alone;
    long rounds, messages; /* of a drain */
    PGconn *conn;
    struct fixture ours, theirs; /* two outboxes that settle by position: the library's, and one that libpq drains */
};

/* ---- What a slice of work cost ---- */

struct cost {
    int64_t start_us, client_ns, server_ns, wal;
    int servers[32], server_count; /* processes that serve whom is measured */
};

/* Processor time of a server's processes that have ended, and of those that it has. */
int64_t server_cpu_ns(void);
void cost_begin(struct cost *cost, PGconn *conn);
/* All but the rows that were written. Connections that were there at the beginning are closed now. */
void cost_end(const struct cost *cost, PGconn *conn, long messages, struct sample *sample);
/* Nothing but our own connection is left, so that what others cost is known. */
void wait_for_others(PGconn *conn);

/* ---- Draining over libpq ---- */

struct drain;

/* A worker's share, on its own connection: prepares, waits at the gate, and takes until there is nothing. */
struct drain {
    const char *name;
    const char *table;   /* %s: the prefix of `theirs` */
    void (*make)(struct speed *s);
    void (*load)(struct speed *s, long messages);
    void (*prepare)(PGconn *conn, const struct speed *s, int workers);
    /* One batch; 0: nothing is left. */
    long (*take)(PGconn *conn, const struct speed *s, int batch, void *state);
    double goal_100, goal_1000;
    long most;           /* so many messages are drained at most: where it takes too long */
    const char *why;     /* why the library is not better beside it, in a line; NULL: it is */
};

extern const struct drain drains[];
extern const size_t drain_count;

/* State of a worker between batches, for those that need one. */
struct lane_state {
    char owner[16], snap[2000], xbound[32];
    int32_t lane;
    int64_t token, pos;
    int kept;
};

/* Makes the library's tables ready for another run, with so many messages pending. */
void load_outbox(struct speed *s, const struct fixture *fx, long messages);

/* The parts. Each returns 0 when it could not measure. */
int speed_drain(struct speed *s);
int speed_enqueue(struct speed *s);
int speed_wal(struct speed *s);

#endif
