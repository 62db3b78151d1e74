/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What threads share: a stop flag that ends waits, and pokes. */
#ifndef OUTBOX_THREAD_H
#define OUTBOX_THREAD_H

#include <outbox/types.h>

#include <pthread.h>

struct outbox_signal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stop, poked;
};

void outbox_signal__init(struct outbox_signal *s);
void outbox_signal__destroy(struct outbox_signal *s);
void outbox_signal__stop(struct outbox_signal *s);
void outbox_signal__reset(struct outbox_signal *s); /* takes a stop back, once nobody waits */
int outbox_signal__stopped(struct outbox_signal *s);

/* Waits for a stop, or the time in microseconds. */
void outbox_signal__wait(struct outbox_signal *s, int64_t us);

/* The same, but a poke ends it too: one that comes now, or came since the last time. For one thread. */
void outbox_signal__await(struct outbox_signal *s, int64_t us);
void outbox_signal__poke(struct outbox_signal *s);

/* Monotonic microseconds. */
int64_t outbox_thread__clock(void);

/* A joinable thread with all signals blocked. */
int outbox_thread__start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg, outbox_error **err);

#endif
