/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "thread.h"
#include "error_internal.h"

#include <signal.h>
#include <string.h>
#include <time.h>

void outbox_signal__init(struct outbox_signal *s)
{
    pthread_condattr_t attr;

    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void outbox_signal__destroy(struct outbox_signal *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

void outbox_signal__stop(struct outbox_signal *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void outbox_signal__poke(struct outbox_signal *s)
{
    pthread_mutex_lock(&s->lock);
    s->poked = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void outbox_signal__reset(struct outbox_signal *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop = s->poked = 0;
    pthread_mutex_unlock(&s->lock);
}

int outbox_signal__stopped(struct outbox_signal *s)
{
    int stop;

    pthread_mutex_lock(&s->lock);
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static struct timespec after(int64_t us)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(us / 1000000);
    until.tv_nsec += (long)(us % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

void outbox_signal__wait(struct outbox_signal *s, int64_t us)
{
    struct timespec until = after(us);

    pthread_mutex_lock(&s->lock);
    while (!s->stop && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&s->lock);
}

void outbox_signal__await(struct outbox_signal *s, int64_t us)
{
    struct timespec until = after(us);

    pthread_mutex_lock(&s->lock);
    while (!s->stop && !s->poked && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        ;
    s->poked = 0;
    pthread_mutex_unlock(&s->lock);
}

int64_t outbox_thread__clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int outbox_thread__start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg, outbox_error **err)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "thread.refused", "cannot start the thread %s: %s", name,
                                 strerror(rc));
#ifdef __linux__
    pthread_setname_np(*thread, name);
#endif
    return OUTBOX_OK;
}
