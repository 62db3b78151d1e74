/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay's shared state.
 *
 * Threads: N workers (each with a connection and a consumer of its own), one keeper (a connection of its own; renews the
 * leases that workers hold), one waker (see waker.h), one cleaner (see cleaner.c). `lock` guards stats, failure and each
 * worker's owner, held and delivery; the signals and the idle state have locks of their own. No two of them are ever held
 * together. Nothing of ODBC crosses a thread. */
#ifndef OUTBOX_RELAY_INTERNAL_H
#define OUTBOX_RELAY_INTERNAL_H

#include "batch_internal.h"
#include "breaker.h"
#include "delivery.h"
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
    unsigned generation;    /* a new name for each connection, so that an old one's leases are not renewed */
    char owner[160];
    int holds;              /* a lane is leased under owner */
    int streak;             /* so many looks in a row found something */
    int probe;              /* let in to try one message; the worker's own */
    int in_trouble;         /* see trouble.h; the worker's own */
    outbox_delivery *delivery; /* in the publisher's hands now */
    int64_t deadline;       /* of the delivery, monotonic microseconds */
    outbox_conn *conn;
    outbox_consumer *consumer;
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
    struct outbox_signal keeping;  /* stop and pokes, for the keeper: it ends after the workers */
    pthread_mutex_t lock;
    outbox_relay_stats stats;
    outbox_error *failure;
    char base[100];
    struct outbox_worker *workers;
    int count, running, once, cleaning;
    atomic_int hurry;              /* read by waits that hold other locks */
    int64_t stop_at;               /* when the drain ends; 0: not stopping */
    int64_t keeper_until;          /* the keeper looks at deliveries again; before that it must be poked */
    pthread_t keeper;
    int keeper_started;
};

void outbox_relay__count(outbox_relay *relay, size_t offset, uint64_t n);
#define COUNT(relay, field, n) outbox_relay__count(relay, offsetof(outbox_relay_stats, field), n)

/* Publishes a batch's messages. Those that could not be tried keep FATE_NONE. Returns 1 when the publisher still has some. */
int outbox_relay__publish(struct outbox_worker *worker, outbox_batch *batch, outbox_delivery **given_up);

void *outbox_relay__worker(void *arg);
void *outbox_relay__keeper(void *arg);

#endif
