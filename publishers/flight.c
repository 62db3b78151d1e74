/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages on their way, and the connections that carry them. */
#include "flight.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_FIRST_MS 50
/* The relay waits between two tries, too, and longer. */
#define BACKOFF_LAST_MS 1000

int64_t outbox_flight__now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int outbox_pool__init(struct outbox_pool *pool)
{
    pthread_condattr_t attributes;

    memset(pool, 0, sizeof(*pool));
    if (pthread_condattr_init(&attributes) != 0)
        return -1;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (pthread_cond_init(&pool->changed, &attributes) != 0) {
        pthread_condattr_destroy(&attributes);
        return -1;
    }
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&pool->lock, NULL);
    return 0;
}

void outbox_pool__destroy(struct outbox_pool *pool)
{
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
}

struct outbox_link *outbox_pool__take(struct outbox_pool *pool)
{
    struct outbox_link *link;

    pthread_mutex_lock(&pool->lock);
    link = pool->idle;
    if (link != NULL)
        pool->idle = link->next;
    pthread_mutex_unlock(&pool->lock);
    return link;
}

void outbox_pool__give(struct outbox_pool *pool, struct outbox_link *link)
{
    pthread_mutex_lock(&pool->lock);
    link->next = pool->idle;
    pool->idle = link;
    pthread_mutex_unlock(&pool->lock);
}

int outbox_pool__wait(struct outbox_pool *pool, const struct outbox_flight *flight)
{
    struct timespec until;

    pthread_mutex_lock(&pool->lock);
    while (!flight->cancelled && outbox_flight__now_ms() < pool->next_try) {
        until.tv_sec = (time_t)(pool->next_try / 1000);
        until.tv_nsec = (long)(pool->next_try % 1000) * 1000000;
        pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
    }
    pthread_mutex_unlock(&pool->lock);
    return !flight->cancelled;
}

void outbox_pool__tried(struct outbox_pool *pool, int worked)
{
    int64_t wait;

    pthread_mutex_lock(&pool->lock);
    pool->failures = worked ? 0 : pool->failures + 1;
    wait = BACKOFF_FIRST_MS << (pool->failures < 6 ? pool->failures : 6) >> 1;
    pool->next_try = worked ? 0 : outbox_flight__now_ms() + (wait < BACKOFF_LAST_MS ? wait : BACKOFF_LAST_MS);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

void outbox_pool__cancel(struct outbox_pool *pool, outbox_delivery *delivery)
{
    struct outbox_flight *f;

    pthread_mutex_lock(&pool->lock);
    for (f = pool->flights; f != NULL; f = f->next) {
        if (f->delivery != delivery)
            continue;
        f->cancelled = 1;
        if (f->wake != NULL)
            f->wake(f->wake_arg);
    }
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

int outbox_flight__enter(struct outbox_flight *f, struct outbox_pool *pool, outbox_delivery *delivery,
                         outbox_error **err)
{
    memset(f, 0, sizeof(*f));
    f->pool = pool;
    f->delivery = delivery;
    f->count = outbox_delivery_count(delivery);
    f->away = calloc(f->count, 1);
    if (f->away == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory while messages were sent");
    outbox_sigpipe__hold(&f->signals);
    pthread_mutex_lock(&pool->lock);
    f->next = pool->flights;
    pool->flights = f;
    pthread_mutex_unlock(&pool->lock);
    return OUTBOX_OK;
}

void outbox_flight__leave(struct outbox_flight *f)
{
    struct outbox_flight **at;

    pthread_mutex_lock(&f->pool->lock);
    for (at = &f->pool->flights; *at != f; at = &(*at)->next)
        continue;
    *at = f->next;
    pthread_mutex_unlock(&f->pool->lock);
    outbox_sigpipe__release(&f->signals);
    free(f->away);
}

void outbox_flight__wake_by(struct outbox_flight *f, void (*wake)(void *), void *arg)
{
    pthread_mutex_lock(&f->pool->lock);
    f->wake = wake;
    f->wake_arg = arg;
    pthread_mutex_unlock(&f->pool->lock);
}

const outbox_record *outbox_flight__next(struct outbox_flight *f, size_t *index)
{
    const outbox_record *record = f->cancelled ? NULL : outbox_delivery_ready(f->delivery, index);

    if (record != NULL) {
        f->away[*index] = 1;
        f->in_flight++;
    }
    return record;
}

int outbox_flight__is_away(const struct outbox_flight *f, size_t index)
{
    return index < f->count && f->away[index];
}

void outbox_flight__answer(struct outbox_flight *f, size_t index, outbox_verdict verdict, int64_t retry_ms,
                           const char *reason)
{
    if (!outbox_flight__is_away(f, index))
        return;
    f->away[index] = 0;
    f->in_flight--;
    outbox_delivery_answer(f->delivery, index, verdict, retry_ms, reason);
}

void outbox_flight__answer_all(struct outbox_flight *f, outbox_verdict verdict, const char *reason)
{
    size_t i;

    for (i = 0; i < f->count; i++)
        outbox_flight__answer(f, i, verdict, -1, reason);
}

int outbox_flight__too_large(struct outbox_flight *f, size_t index, const outbox_envelope *e, int64_t limit,
                             const char *setting)
{
    char why[120];
    size_t size;

    outbox_envelope_payload(e, &size);
    if (size <= (size_t)limit)
        return 0;
    snprintf(why, sizeof(why), "the payload has %zu bytes, and %s is %lld", size, setting, (long long)limit);
    outbox_flight__answer(f, index, OUTBOX_REJECT, -1, why);
    return 1;
}

int outbox_flight__reached(int there, outbox_error *why, outbox_error **err)
{
    int rc = there ? OUTBOX_OK : why != NULL ? outbox_error_status(why) : OUTBOX_ERR_NOMEM;

    if (!there && err != NULL && *err == NULL)
        *err = why;
    else
        outbox_error_free(why);
    return rc;
}

void outbox_flight__clean(char *text)
{
    unsigned char *p = (unsigned char *)text;

    outbox_text__repair(text);
    for (; *p != '\0'; p++)
        if (p[0] < 0x20 || p[0] == 0x7f)
            p[0] = strchr("\n\r\t", p[0]) != NULL ? ' ' : '?';
        else if (p[0] == 0xc2 && p[1] < 0xa0) /* the control characters of ISO 8859 */
            p[0] = p[1] = '?';
}

void outbox_flight__hide(char *text, const char *secret)
{
    size_t length = secret == NULL ? 0 : strlen(secret);

    if (length == 0)
        return;
    while ((text = strstr(text, secret)) != NULL) {
        memset(text, '*', length);
        text += length;
    }
}
