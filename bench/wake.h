/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of the benchmark of wake-ups (wake.c says what it measures). Writers use libpq, the least that can write. */
#ifndef OUTBOX_BENCH_WAKE_H
#define OUTBOX_BENCH_WAKE_H

#include "bench.h"
#include "pq.h"

/* What happens at an insert. */
enum trigger { NO_TRIGGER, OURS, ALWAYS, TRIGGERS };

/* An outbox with a trigger, on a channel of its own, and perhaps a relay. */
struct outbox {
    struct fixture fx;
    enum trigger trigger;
    char channel[32];
    outbox_publisher *publisher;
    outbox_relay *relay;
};

extern const char *const trigger_names[TRIGGERS];

/* 0, or -1 after a failed check. */
int outbox_make(struct outbox *o, enum trigger trigger);
void outbox_close(struct outbox *o);
/* A relay with two workers and no cleaner, which hears notifications where there are any. */
int outbox_run(struct outbox *o, outbox_publisher *publisher);
void outbox_end(struct outbox *o);
/* Until a relay that is idle is on watch. */
void outbox_wait_for_watch(struct outbox *o, PGconn *conn);

long rounds(void);

/* The parts. Each returns 0 when it could not measure. */
int bench_commits(PGconn *conn);
int bench_latency(PGconn *conn);
int bench_idle(PGconn *conn);
int bench_forms(PGconn *conn);
/* This program again, as a relay that waits for the end of its input. */
int idle_process(const char *dsn, const char *prefix, const char *listen);

#endif
