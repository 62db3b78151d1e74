/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Relays in processes of their own, and writers, for load.c and load_parts.c. */
#ifndef OUTBOX_BENCH_LOAD_H
#define OUTBOX_BENCH_LOAD_H

#include "bench.h"
#include "pq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* ---- A relay as a process ---- */

struct child {
    pid_t pid;
    int in, out;
};

struct told {
    long published;
    int64_t first_us, last_us; /* of what was published; monotonic, the same for all processes */
    double p50, p99;           /* milliseconds from created to published, of what came since it was last asked */
    double cpu;                /* microseconds a message */
};

/* once: it drains when it is told to go, and ends; else it runs until it is told to end. The publisher waits for so long. */
int child_start(struct child *c, const struct fixture *fx, int once, int batch, long wait_us);
int child_go(const struct child *c);
/* What it did so far. Of one that drains: when it has ended. */
int child_ask(const struct child *c, struct told *told);
int child_end(struct child *c);
/* The process itself. */
int child_main(char **argv);

/* ---- Writers ---- */

struct writer {
    pthread_t thread;
    const struct fixture *fx;
    int transaction;    /* messages in one */
    int64_t pause_us;   /* from one to the next; 0: none */
    atomic_int *stop;
    atomic_long written;
    int failed;
};

int writer_start(struct writer *w);

/* Seconds of a part. */
double seconds_of(double otherwise);

/* The parts. Each returns 0 when it could not measure. */
int load_sustained(PGconn *conn);
int load_held(PGconn *conn);
int load_scale(PGconn *conn);

#endif
