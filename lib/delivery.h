/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A delivery: some messages of a batch in a publisher's hands.
 *
 * Threads: the worker makes it, calls publish and waits; answers come from any thread; cancel may come from another, which
 * the worker waits for before it lets go of the delivery (watch.c). No lock is held when the publisher is called.
 * The mutex guards everything that answers change; the publisher's may be held when it is taken. A delivery that was
 * given up lives on, with the batch whose texts it shows, until each message was answered or the publisher is closed. */
#ifndef OUTBOX_DELIVERY_H
#define OUTBOX_DELIVERY_H

#include "batch_internal.h"

#include <outbox/publisher.h>

#include <pthread.h>
#include <stdatomic.h>

/* How long a publisher that was told to end may still answer; microseconds. */
#define OUTBOX_DELIVERY_PATIENCE 500000

struct outbox_publisher {
    outbox_publisher_ops ops;
    void *self;
    outbox_target *target; /* of a module, or NULL */
    pthread_mutex_t lock; /* guards the lists */
    outbox_delivery *abandoned;
    size_t abandoned_count;
    outbox_delivery *spare; /* done with, for their memory */
    size_t spare_count;
};

/* How many deliveries were given up and are kept, as the publisher may still answer. */
size_t outbox_publisher__kept(outbox_publisher *publisher);

/* items: pointers into a batch. NULL when memory is out. */
outbox_delivery *outbox_delivery__new(outbox_publisher *publisher, struct outbox_item **items, size_t count);

enum outbox_outcome {
    DELIVERY_DONE,        /* every message was answered, or passed over behind one that was */
    DELIVERY_FAILED,      /* the call failed as a whole: any of those without an answer may be to blame */
    DELIVERY_UNAVAILABLE, /* the call failed because the broker is away */
    DELIVERY_LATE         /* given up: the publisher has not answered in time, or failed when it was cancelled */
};

/* Publishes, and waits until all is answered, the deadline passed, or *hurry is set. Then each item has the verdict that
 * it was given, or is marked as unanswered, and why says why. */
enum outbox_outcome outbox_delivery__run(outbox_delivery *d, int64_t timeout_us, atomic_int *hurry, char *why,
                                         size_t size);

/* Tells the publisher, once, that nobody will wait much longer. */
void outbox_delivery__warn(outbox_delivery *d);

/* Whether it was told so. For publish() to ask once cancel() can find it: the watcher may have been before that, on a machine
 * that is very busy. */
int outbox_delivery__is_warned(outbox_delivery *d);

/* Since when publish() has neither taken nor answered a message; INT64_MAX when it has returned. Monotonic microseconds. */
int64_t outbox_delivery__stuck_since(outbox_delivery *d);

/* The same as a warning, and from here on answers no longer count. */
void outbox_delivery__cancel(outbox_delivery *d);

/* Frees it; one that was given up, and of which the publisher did not let go, keeps batch until the last answer. Returns 1
 * when the batch is its own now. */
int outbox_delivery__finish(outbox_delivery *d, outbox_batch *batch);

#endif
