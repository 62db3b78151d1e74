/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A publisher that follows a script: it fails as a whole, is down, hangs, answers late or twice; and a relay for it. */
#ifndef OUTBOX_TESTS_SCRIPT_H
#define OUTBOX_TESTS_SCRIPT_H

#include <pthread.h>

#include "lib-test.h"

enum trouble {
    FINE,
    POISON_FAILS,     /* a call with a payload that starts with "poison" fails as a whole; so it does alone */
    POISON_CONNECT,   /* the same, and it looks as if the broker were away */
    POISON_HANGS,     /* it is never answered, nor what comes behind it */
    DOWN_CONNECT,     /* every call fails: no connection */
    DOWN_OPAQUE,      /* every call fails: no reason */
    DOWN_RETRY,       /* every message is answered with OUTBOX_RETRY */
    DOWN_UNAVAILABLE, /* the first message is answered with OUTBOX_UNAVAILABLE, and the rest is passed over */
};

/* Guarded by lock. */
struct script {
    pthread_mutex_t lock;
    enum trouble trouble;
    int calls, inside, most_inside, largest, cancelled, opened, closed, stuck, silent;
    int calls_down, seen_down; /* calls and messages while it was down */
    int twice;        /* answers each message a second time, the other way round */
    int published, failed, dead, attempts_of_dead;
    struct seen seen; /* what was accepted, in order */
    outbox_delivery *hung;
    size_t hung_at;
};

struct act {
    struct script script;
    outbox_publisher *publisher;
    outbox_relay *relay;
};

int script_get(struct script *s, const int *field);
enum trouble script_trouble(struct script *s);
void script_set(struct script *s, enum trouble trouble);

/* Quick settings, so that a test does not wait for the defaults. */
int act_open(struct fixture *fx, struct act *a, enum trouble trouble, uint32_t flags);
/* A relay of another publisher, with what act_open() sets; takes the publisher. */
int act_swap(struct fixture *fx, struct act *a, outbox_publisher *publisher);
void act_close(struct fixture *fx, struct act *a);
outbox_relay_stats stats_of(struct act *a);
/* No message was seen with an attempt, but those that start with "poison". */
void check_uncharged(struct act *a);
/* The numbers of each key came in order. keys as in send_numbered(). */
void check_order(struct act *a, int keys);
/* An outbox of one lane, with one worker and large batches. */
int one_lane(struct fixture *fx);

#endif
