/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the relay's and the cleaner's threads share: a stop flag that waits can be woken by. */
#ifndef OUTBOX_THREAD_H
#define OUTBOX_THREAD_H

#include <outbox/types.h>

#include <pthread.h>

struct outbox_signal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stop;
    uint64_t wakes;
};

void outbox_signal__init(struct outbox_signal *s);
void outbox_signal__destroy(struct outbox_signal *s);
void outbox_signal__stop(struct outbox_signal *s);
void outbox_signal__wake(struct outbox_signal *s);
void outbox_signal__reset(struct outbox_signal *s); /* takes a stop back, once nobody waits */
int outbox_signal__stopped(struct outbox_signal *s);

/* Waits for a stop, a wake after `seen`, or the time; returns the present number of wakes. */
uint64_t outbox_signal__wait(struct outbox_signal *s, int64_t us, uint64_t seen);

/* A joinable thread with all signals blocked. */
int outbox_thread__start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg, outbox_error **err);

#endif
