/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What modules share whose publish() runs a delivery on a connection of its own: the messages on their way, the
 * connections that wait for work, the calls that can be cancelled, and the pause between two tries to connect.
 *
 * A call takes a link (a connection, whatever the module means by it) from the pool or makes one, sends what
 * outbox_delivery_ready() gives, answers as acknowledgements come, and puts the link back. When the link breaks, what was
 * on its way is OUTBOX_UNKNOWN, and the link is thrown away with all that the client library has queued, so that nothing
 * is sent again behind the relay's back.
 *
 * Threads: a flight belongs to the thread in publish(); its `cancelled` and `wake` are what others touch. The pool has a
 * lock of its own.
 */
#ifndef OUTBOX_PUBLISHERS_FLIGHT_H
#define OUTBOX_PUBLISHERS_FLIGHT_H

#include "sigpipe.h"

#include <outbox/error.h>
#include <outbox/publisher.h>
#include <outbox/sys/publisher.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* A connection: the first member of the module's own struct. */
struct outbox_link {
    struct outbox_link *next;
};

struct outbox_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;        /* a call was cancelled, or a try to connect is over */
    struct outbox_link *idle;
    struct outbox_flight *flights;
    int failures;                  /* tries to connect that failed in a row */
    int64_t next_try;              /* monotonic ms */
};

struct outbox_flight {
    struct outbox_flight *next;
    struct outbox_pool *pool;
    outbox_delivery *delivery;
    unsigned char *away;           /* by index: sent, and not answered */
    size_t count, in_flight;
    atomic_int cancelled;
    void (*wake)(void *arg);       /* called with the pool's lock held: makes publish() look at `cancelled`; or NULL */
    void *wake_arg;
    struct outbox_sigpipe signals; /* client libraries write to sockets that may be closed */
};

/* Returns 0, or -1 when there is no memory. */
int outbox_pool__init(struct outbox_pool *pool);
void outbox_pool__destroy(struct outbox_pool *pool);
/* An idle link, or NULL. */
struct outbox_link *outbox_pool__take(struct outbox_pool *pool);
void outbox_pool__give(struct outbox_pool *pool, struct outbox_link *link);
/* Waits until a link may be made: at once, or a while after a try that failed. 0: the flight was cancelled meanwhile. */
int outbox_pool__wait(struct outbox_pool *pool, const struct outbox_flight *flight);
/* What came of the try. */
void outbox_pool__tried(struct outbox_pool *pool, int worked);
/* Ends the publish() that has this delivery. */
void outbox_pool__cancel(struct outbox_pool *pool, outbox_delivery *delivery);

/* Returns OUTBOX_OK, or OUTBOX_ERR_NOMEM without having entered. */
int outbox_flight__enter(struct outbox_flight *f, struct outbox_pool *pool, outbox_delivery *delivery,
                         outbox_error **err);
void outbox_flight__leave(struct outbox_flight *f);
/* How this flight is woken; NULL, NULL before what is woken goes. */
void outbox_flight__wake_by(struct outbox_flight *f, void (*wake)(void *), void *arg);
/* The next message to send; it counts as sent from now on. */
const outbox_record *outbox_flight__next(struct outbox_flight *f, size_t *index);
int outbox_flight__is_away(const struct outbox_flight *f, size_t index);
/* Answers a message that is on its way; any other is left alone. */
void outbox_flight__answer(struct outbox_flight *f, size_t index, outbox_verdict verdict, int64_t retry_ms,
                           const char *reason);
/* The same for all that are on their way. */
void outbox_flight__answer_all(struct outbox_flight *f, outbox_verdict verdict, const char *reason);

/* Rejects a message with a payload of more than `limit` bytes, naming the setting; 1 when it did. */
int outbox_flight__too_large(struct outbox_flight *f, size_t index, const outbox_envelope *e, int64_t limit,
                             const char *setting);

/* What a reach() returns that has tried hosts: frees why when one was there, and else hands it over as the error. */
int outbox_flight__reached(int there, outbox_error *why, outbox_error **err);

int64_t outbox_flight__now_ms(void);
/* Makes a text of a server's fit for last_error: control characters and what is no UTF-8 become "?". */
void outbox_flight__clean(char *text);
/* Replaces every occurrence of a secret; a server may repeat what it was told. NULL: none. */
void outbox_flight__hide(char *text, const char *secret);

#endif
