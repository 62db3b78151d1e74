/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trouble with the database, told once: when it begins, when it turns into another kind, and when it is over. What comes
 * in between is for those who want to see everything. */
#ifndef OUTBOX_TROUBLE_H
#define OUTBOX_TROUBLE_H

#include <outbox/types.h>

#include <pthread.h>

#define OUTBOX_TROUBLE_KINDS 4

/* Shared by threads that use one database. */
struct outbox_trouble {
    pthread_mutex_t lock; /* guards the rest */
    const outbox_conf *conf;
    const char *again;    /* what is told when it is over */
    int threads;          /* so many are in trouble */
    int64_t since;        /* monotonic microseconds */
    char told[OUTBOX_TROUBLE_KINDS][48];
    int kinds;
};

/* again: what is told when it is over; a literal. */
void outbox_trouble__init(struct outbox_trouble *t, const outbox_conf *conf, const char *again);
void outbox_trouble__destroy(struct outbox_trouble *t);

/* A thread met it. `in` is the thread's own, 0 at first; `what` failed, and `next` says when it is tried again. */
void outbox_trouble__met(struct outbox_trouble *t, int *in, const char *what, const outbox_error *err, const char *next);

/* Something worked. Tells the end, once that is so for every thread. */
void outbox_trouble__over(struct outbox_trouble *t, int *in);

#endif
