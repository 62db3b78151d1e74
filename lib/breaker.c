/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "breaker.h"
#include "backoff.h"

#include <string.h>

void outbox_breaker__init(struct outbox_breaker *b, const outbox_conf *conf)
{
    memset(b, 0, sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    b->conf = conf;
}

void outbox_breaker__destroy(struct outbox_breaker *b)
{
    pthread_mutex_destroy(&b->lock);
}

static int is_in(const int64_t *list, size_t count, int64_t seq)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (list[i] == seq)
            return 1;
    return 0;
}

static void add(int64_t *list, size_t *count, int64_t seq)
{
    if (*count < OUTBOX_BREAKER_MAX && !is_in(list, *count, seq))
        list[(*count)++] = seq;
}

/* Half of the wait is random: relays that lost one broker together do not come back together. */
static void wait_for_probe(struct outbox_breaker *b, int64_t now)
{
    int64_t wait = outbox_conf__number(b->conf, CONF_BREAKER_WAIT_MIN);
    int64_t max = outbox_conf__number(b->conf, CONF_BREAKER_WAIT_MAX);
    int i;

    for (i = 0; i < b->tries && wait < max; i++)
        wait *= 2;
    if (wait > max)
        wait = max;
    b->tries++;
    b->probing = 0;
    b->until = now + wait / 2 + outbox_backoff__random(wait / 2);
}

static void open_it(struct outbox_breaker *b, int64_t now)
{
    b->open = 1;
    b->tries = 0;
    b->epoch++;
    b->opened++;
    b->since = now;
    memcpy(b->accused, b->streak, sizeof(b->accused));
    b->accused_count = b->streak_count;
    b->streak_count = 0;
    wait_for_probe(b, now);
}

int64_t outbox_breaker__enter(struct outbox_breaker *b, int64_t now, int *probe)
{
    int64_t wait = 0;

    *probe = 0;
    pthread_mutex_lock(&b->lock);
    if (b->open && b->probing) {
        wait = outbox_conf__number(b->conf, CONF_BREAKER_WAIT_MIN);
    } else if (b->open && now < b->until) {
        wait = b->until - now;
    } else if (b->open) {
        b->probing = *probe = 1;
    }
    pthread_mutex_unlock(&b->lock);
    return wait;
}

void outbox_breaker__leave(struct outbox_breaker *b, int *probe)
{
    if (!*probe)
        return;
    pthread_mutex_lock(&b->lock);
    b->probing = 0;
    pthread_mutex_unlock(&b->lock);
    *probe = 0;
}

uint64_t outbox_breaker__turn(struct outbox_breaker *b)
{
    uint64_t turn;

    pthread_mutex_lock(&b->lock);
    turn = ++b->probes;
    pthread_mutex_unlock(&b->lock);
    return turn;
}

int outbox_breaker__is_open(struct outbox_breaker *b, uint64_t *epoch)
{
    int open;

    pthread_mutex_lock(&b->lock);
    open = b->open;
    if (epoch != NULL)
        *epoch = b->epoch;
    pthread_mutex_unlock(&b->lock);
    return open;
}

void outbox_breaker__look(struct outbox_breaker *b, uint64_t *open, uint64_t *opened, uint64_t *probes)
{
    pthread_mutex_lock(&b->lock);
    *open = (uint64_t)b->open;
    *opened = b->opened;
    *probes = b->probes;
    pthread_mutex_unlock(&b->lock);
}

enum outbox_breaker_change outbox_breaker__passed(struct outbox_breaker *b, uint64_t epoch, int *probe, int64_t now,
                                                  int64_t *us)
{
    enum outbox_breaker_change change = BREAKER_SAME;

    pthread_mutex_lock(&b->lock);
    if (!b->open) {
        b->streak_count = 0;
    } else if (epoch == b->epoch) {
        b->open = b->probing = *probe = 0;
        b->streak_count = 0;
        *us = now - b->since;
        change = BREAKER_CLOSED;
    }
    pthread_mutex_unlock(&b->lock);
    return change;
}

/* Called with the lock held: it is open already, and a probe that fails makes the next one wait longer. */
static enum outbox_breaker_change stay_open(struct outbox_breaker *b, int *probe, int64_t now)
{
    if (*probe)
        wait_for_probe(b, now);
    *probe = 0;
    return BREAKER_STAYS_OPEN;
}

enum outbox_breaker_change outbox_breaker__failed(struct outbox_breaker *b, int64_t seq, int *probe, int64_t now)
{
    int64_t threshold = outbox_conf__number(b->conf, CONF_BREAKER_THRESHOLD);
    enum outbox_breaker_change change = BREAKER_SAME;

    pthread_mutex_lock(&b->lock);
    if (b->open) {
        change = stay_open(b, probe, now);
    } else if (is_in(b->accused, b->accused_count, seq)) {
        change = BREAKER_ACCUSED;
    } else if (threshold > 0) {
        add(b->streak, &b->streak_count, seq);
        if ((int64_t)b->streak_count >= threshold) {
            open_it(b, now);
            change = BREAKER_OPENED;
        }
    }
    pthread_mutex_unlock(&b->lock);
    return change;
}

enum outbox_breaker_change outbox_breaker__unavailable(struct outbox_breaker *b, const int64_t *seqs, size_t count,
                                                       int *probe, int64_t now)
{
    enum outbox_breaker_change change = BREAKER_ACCUSED;
    size_t i;

    pthread_mutex_lock(&b->lock);
    if (b->open) {
        change = stay_open(b, probe, now);
    } else {
        for (i = 0; i < count && !is_in(b->accused, b->accused_count, seqs[i]); i++)
            ;
        if (i == count) {
            b->streak_count = 0;
            for (i = 0; i < count; i++)
                add(b->streak, &b->streak_count, seqs[i]);
            open_it(b, now);
            change = BREAKER_OPENED;
        }
    }
    pthread_mutex_unlock(&b->lock);
    return change;
}
