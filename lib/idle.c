/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where workers wait for work; idle.h says how. */
#include "idle.h"
#include "backoff.h"
#include "thread.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void outbox_idle__init(struct outbox_idle *idle, int workers, int64_t interval)
{
    pthread_condattr_t attr;

    memset(idle, 0, sizeof(*idle));
    pthread_mutex_init(&idle->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&idle->changed, &attr);
    pthread_condattr_destroy(&attr);
    idle->interval = interval;
    idle->workers = workers;
    outbox_idle__reset(idle);
}

void outbox_idle__destroy(struct outbox_idle *idle)
{
    pthread_cond_destroy(&idle->changed);
    pthread_mutex_destroy(&idle->lock);
}

void outbox_idle__watch(struct outbox_idle *idle, void (*poke)(void *ctx), void *ctx)
{
    idle->poke = poke;
    idle->poke_ctx = ctx;
}

/* With the lock. */
static void look_often(struct outbox_idle *idle)
{
    idle->wait = idle->interval < OUTBOX_IDLE_FIRST_US ? idle->interval : OUTBOX_IDLE_FIRST_US;
    idle->in_phase = 0;
}

/* With the lock. */
static void look_later(struct outbox_idle *idle, int64_t wait)
{
    int64_t now = outbox_thread__clock();

    idle->next_look = now + wait;
    if (idle->due <= now)
        idle->due = INT64_MAX;
    if (idle->next_look > idle->due)
        idle->next_look = idle->due;
}

/* With the lock. Whether to poke: the mood was told as one that lasts. */
static int unsettled(struct outbox_idle *idle)
{
    int asked = idle->asked;

    idle->asked = 0;
    return asked && idle->poke != NULL;
}

void outbox_idle__stop(struct outbox_idle *idle)
{
    pthread_mutex_lock(&idle->lock);
    idle->stop = 1;
    pthread_cond_broadcast(&idle->changed);
    pthread_mutex_unlock(&idle->lock);
}

void outbox_idle__reset(struct outbox_idle *idle)
{
    pthread_mutex_lock(&idle->lock);
    idle->stop = 0;
    idle->wanted = 0;
    idle->covered = 0;
    idle->due = INT64_MAX;
    idle->busy_at = idle->found_at = outbox_thread__clock();
    look_often(idle);
    pthread_mutex_unlock(&idle->lock);
}

void outbox_idle__wake(struct outbox_idle *idle, int sure)
{
    pthread_mutex_lock(&idle->lock);
    if (idle->wanted < idle->workers)
        idle->wanted++;
    if (!sure)
        look_often(idle);
    pthread_cond_signal(&idle->changed);
    pthread_mutex_unlock(&idle->lock);
}

int outbox_idle__state(struct outbox_idle *idle)
{
    int state;

    pthread_mutex_lock(&idle->lock);
    state = idle->state;
    pthread_mutex_unlock(&idle->lock);
    return state;
}

void outbox_idle__why(struct outbox_idle *idle, char why[OUTBOX_IDLE_WHY])
{
    pthread_mutex_lock(&idle->lock);
    memcpy(why, idle->why, sizeof(idle->why));
    pthread_mutex_unlock(&idle->lock);
}

void outbox_idle__cover(struct outbox_idle *idle, int covered, int state, const char *why)
{
    pthread_mutex_lock(&idle->lock);
    idle->state = state;
    snprintf(idle->why, sizeof(idle->why), "%s", why);
    if (idle->covered != covered) {
        idle->covered = covered;
        look_often(idle);
        idle->next_look = 0;
        pthread_cond_broadcast(&idle->changed);
    }
    pthread_mutex_unlock(&idle->lock);
}

void outbox_idle__found(struct outbox_idle *idle, int more)
{
    int64_t now = outbox_thread__clock();

    pthread_mutex_lock(&idle->lock);
    idle->found_at = now;
    if (!idle->covered)
        look_often(idle);
    if (more && idle->waiting > 0 && idle->wanted == 0) {
        idle->wanted = 1;
        pthread_cond_signal(&idle->changed);
    } else if (idle->waiting > 0 && idle->next_look > now + OUTBOX_IDLE_HELP_US) {
        idle->next_look = now + OUTBOX_IDLE_HELP_US;
        pthread_cond_broadcast(&idle->changed);
    }
    pthread_mutex_unlock(&idle->lock);
}

/* With the lock. The next wait, so that relays do not look in step: each is a little shorter, at random, and the first of
 * a whole interval is any part of it. Those after it are whole, so that an idle relay looks once an interval. */
static int64_t wait_at_random(struct outbox_idle *idle)
{
    int64_t wait = idle->wait;

    if (wait < idle->interval)
        return wait - wait / 8 + outbox_backoff__random(wait / 8);
    if (!idle->in_phase)
        wait = outbox_backoff__random(wait);
    idle->in_phase = 1;
    return wait;
}

void outbox_idle__nothing(struct outbox_idle *idle)
{
    pthread_mutex_lock(&idle->lock);
    look_later(idle, wait_at_random(idle));
    idle->wait = idle->wait > idle->interval / 2 ? idle->interval : idle->wait * 2;
    pthread_mutex_unlock(&idle->lock);
}

void outbox_idle__due(struct outbox_idle *idle, int64_t us)
{
    int64_t now = outbox_thread__clock();

    pthread_mutex_lock(&idle->lock);
    if (idle->due <= now || us < idle->due - now)
        idle->due = now + us;
    if (idle->next_look > idle->due) {
        idle->next_look = idle->due;
        pthread_cond_broadcast(&idle->changed);
    }
    pthread_mutex_unlock(&idle->lock);
}

static void wait_until(struct outbox_idle *idle, int64_t until)
{
    struct timespec at = { (time_t)(until / 1000000), (long)(until % 1000000) * 1000 };

    pthread_cond_timedwait(&idle->changed, &idle->lock, &at);
}

int outbox_idle__wait(struct outbox_idle *idle)
{
    int poke, woken;

    pthread_mutex_lock(&idle->lock);
    poke = idle->waiting++ == 0 && unsettled(idle);
    pthread_mutex_unlock(&idle->lock);
    if (poke)
        idle->poke(idle->poke_ctx);
    pthread_mutex_lock(&idle->lock);
    while (!idle->stop && idle->wanted == 0 && outbox_thread__clock() < idle->next_look)
        wait_until(idle, idle->next_look);
    woken = idle->wanted > 0;
    if (woken)
        idle->wanted--;
    else
        look_later(idle, idle->wait); /* the others need not look as well */
    if (--idle->waiting == 0)
        idle->busy_at = outbox_thread__clock();
    poke = idle->waiting == 0 && unsettled(idle);
    pthread_mutex_unlock(&idle->lock);
    if (poke)
        idle->poke(idle->poke_ctx);
    return woken;
}

enum outbox_mood outbox_idle__mood(struct outbox_idle *idle, int64_t *again)
{
    int64_t now = outbox_thread__clock(), at;
    enum outbox_mood mood;

    pthread_mutex_lock(&idle->lock);
    mood = idle->waiting > 0 ? OUTBOX_MOOD_QUIET : OUTBOX_MOOD_BUSY;
    at = idle->waiting > 0 ? idle->found_at + OUTBOX_IDLE_QUIET_US : idle->busy_at + OUTBOX_IDLE_BUSY_US;
    if (idle->covered && idle->waiting > 0)
        at = now; /* asked for already: nothing to wait for */
    idle->asked = at <= now;
    *again = at <= now ? INT64_MAX : at;
    pthread_mutex_unlock(&idle->lock);
    return at <= now ? mood : OUTBOX_MOOD_BETWEEN;
}
