/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay's shared state.
 *
 * Threads: N workers (each with a connection and a consumer of its own), one keeper (a connection of its own; renews the
 * leases that workers hold), one watcher (no connection; see watch.c), one waker (see waker.h), one cleaner (see cleaner.c).
 * `lock` guards stats, the histograms, failure, up, silent and each worker's owner, what it holds, and what stands from lane
 * to pinned; the signals, the idle state, the breaker and deliveries have locks of their own. None of them is taken under
 * another, and none is held when the publisher or a hook is called. Nothing of ODBC crosses a thread. */
#ifndef OUTBOX_RELAY_INTERNAL_H
#define OUTBOX_RELAY_INTERNAL_H

#include "batch_internal.h"
#include "breaker.h"
#include "clean.h"
#include "delivery.h"
#include "gather.h"
#include "histogram.h"
#include "idle.h"
#include "log.h"
#include "thread.h"
#include "trouble.h"
#include "waker.h"

#include <outbox/relay.h>

#include <stdatomic.h>

struct outbox_worker {
    outbox_relay *relay;
    pthread_t thread;
    int index, started;
    unsigned generation;    /* a new name for each connection, so that what an old one leased can be let go */
    char owner[160];
    size_t holds;           /* so many lanes are leased: these */
    struct outbox_held held[OUTBOX_GATHER_MAX];
    int streak;             /* so many looks in a row found something */
    unsigned slow;          /* so many batches in a row took their time for each message: lanes are not to wait for each other */
    int restarts;           /* of the relay's, those that this worker knows of */
    int probe;              /* let in to try one message; the worker's own */
    int in_trouble;         /* see trouble.h; the worker's own */
    int locked, tried;      /* the keeper's own: a row of its lanes was locked the last time; it had its turn this time */
    size_t turn;            /* the keeper's own: the lane that it begins with */
    char lanes[OUTBOX_BATCH_LANES]; /* of the delivery */
    outbox_delivery *delivery; /* in the publisher's hands now */
    int64_t clock_offset, clock_at; /* the database's clock less the monotonic one, as it was then; 0: not asked */
    int64_t deadline;       /* when the watcher looks at it, monotonic microseconds */
    int warned;             /* the watcher has told the publisher */
    int stuck;              /* publish() does not return: the lease is not renewed */
    int pinned;             /* the watcher has the delivery: it must stay */
    outbox_conn *conn;
    outbox_consumer *consumer;
    struct outbox_course *course; /* publish.c's memory; NULL until it publishes */
};

struct outbox_relay {
    char *dsn;
    outbox_conf *conf;
    outbox_publisher *publisher;
    struct outbox_breaker breaker;
    struct outbox_trouble trouble; /* with the database; its threads are the workers and the keeper */
    outbox_hooks hooks;
    outbox_cleaner *cleaner;
    struct outbox_signal signal;   /* stop, for workers that wait for something else than work */
    struct outbox_idle idle;       /* where they wait for work */
    struct outbox_waker *waker;    /* or NULL */
    struct outbox_signal keeping;  /* stop, for the keeper: it ends after the workers */
    struct outbox_signal watching; /* stop and pokes, for the watcher: likewise */
    pthread_mutex_t lock;
    pthread_cond_t unpinned;       /* of a worker; with lock */
    outbox_relay_stats stats;
    struct outbox_histogram publish_time, latency; /* of a delivery; of a message from created to published */
    outbox_error *failure;
    char base[100];
    struct outbox_worker *workers;
    int count, running, once, cleaning;
    atomic_int hurry;              /* read by waits that hold other locks */
    atomic_int restarts;           /* so many times numbers began again, as the keeper saw it */
    int64_t stop_at;               /* when the drain ends; 0: not stopping */
    int up;                        /* started and not joined, for threads that may not look at `running` */
    int silent;                    /* the publisher keeps too much without an answer */
    int64_t watch_until;           /* the watcher looks at deliveries again; before that it must be poked */
    pthread_t keeper, watcher;
    int keeper_started, watcher_started;
};

void outbox_relay__count(outbox_relay *relay, size_t offset, uint64_t n);
#define COUNT(relay, field, n) outbox_relay__count(relay, offsetof(outbox_relay_stats, field), n)

/* What metrics show beside the stats. */
struct outbox_relay_view {
    struct outbox_histogram publish_time, latency;
    int up, workers, lanes_held, stopping, silent, stuck, in_trouble;
    struct outbox_cleaner_progress cleaner;
    char no_wakes[OUTBOX_IDLE_WHY]; /* why a source of wake-ups does not work */
};
void outbox_relay__view(outbox_relay *relay, struct outbox_relay_view *view);

/* Publishes a batch's messages. Those that could not be tried keep FATE_NONE. given_up: what the publisher still has.
 * OUTBOX_ERR_NOMEM: what was answered before stands, and is to be settled. */
int outbox_relay__publish(struct outbox_worker *worker, outbox_batch *batch, outbox_delivery **given_up);

void outbox_relay__forget_course(struct outbox_worker *worker);

/* The worker's new consumer stops with the relay, and says what it leases. */
void outbox_relay__engage(struct outbox_worker *worker);

void *outbox_relay__worker(void *arg);
void *outbox_relay__keeper(void *arg);
void *outbox_relay__watcher(void *arg);

/* The worker's delivery is going to the publisher, and has so much time; it is back, and the worker's again. */
#define OUTBOX_WATCH_MAX INT64_C(3600000000)
void outbox_relay__watch(struct outbox_worker *worker, outbox_delivery *d, const outbox_batch *batch, int64_t timeout);
void outbox_relay__unwatch(struct outbox_worker *worker);

#endif
