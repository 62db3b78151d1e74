/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stage.h"

#include <stdio.h>
#include <string.h>

void stage_init(struct stage *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->open = 1;
}

int stage_get(struct stage *s, const int *field)
{
    int value;

    pthread_mutex_lock(&s->lock);
    value = *field;
    pthread_mutex_unlock(&s->lock);
    return value;
}

void stage_set(struct stage *s, int *field, int value)
{
    pthread_mutex_lock(&s->lock);
    *field = value;
    pthread_mutex_unlock(&s->lock);
}

static outbox_verdict staged(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    struct stage *s = user;
    outbox_verdict verdict = OUTBOX_PUBLISHED;
    int passed;

    (void)message;
    pthread_mutex_lock(&s->lock);
    s->calls++;
    if (++s->inside > s->most_inside)
        s->most_inside = s->inside;
    pthread_mutex_unlock(&s->lock);
    WAIT_FOR(stage_get(s, &s->open), passed);
    (void)passed;
    pthread_mutex_lock(&s->lock);
    s->inside--;
    if (s->fail_first > 0) {
        s->fail_first--;
        verdict = OUTBOX_RETRY;
        *retry_ms = 1;
        outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.planted", "planted failure");
    }
    pthread_mutex_unlock(&s->lock);
    return verdict;
}

static void on_published(void *user, const outbox_record *message)
{
    struct stage *s = user;

    (void)message;
    pthread_mutex_lock(&s->lock);
    s->published++;
    pthread_mutex_unlock(&s->lock);
}

static void on_failed(void *user, const outbox_record *message, int attempts, int64_t retry_ms, const char *reason)
{
    struct stage *s = user;

    (void)message;
    (void)attempts;
    (void)retry_ms;
    pthread_mutex_lock(&s->lock);
    s->failed++;
    snprintf(s->last, sizeof s->last, "%s", reason ? reason : "-");
    pthread_mutex_unlock(&s->lock);
}

static void on_dead(void *user, const outbox_record *message, int attempts, const char *reason)
{
    struct stage *s = user;

    (void)message;
    (void)reason;
    pthread_mutex_lock(&s->lock);
    s->dead += attempts;
    pthread_mutex_unlock(&s->lock);
}

outbox_relay *stage_relay(struct fixture *fx, struct stage *s, outbox_publisher *publisher)
{
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    outbox_relay *relay = NULL;

    hooks.user = s;
    hooks.published = on_published;
    hooks.failed = on_failed;
    hooks.dead = on_dead;
    return OK(outbox_relay_new(fx->dsn, fx->conf, publisher, &hooks, &relay, &fx->err)) ? relay : NULL;
}

outbox_publisher *stage_publisher(struct fixture *fx, struct stage *s)
{
    outbox_publisher *publisher = NULL;

    return OK(outbox_publisher_from_callback(staged, s, &publisher, &fx->err)) ? publisher : NULL;
}

int64_t lanes_held(struct fixture *fx)
{
    outbox_counts counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    return OK(outbox_count(fx->conn, &counts, &fx->err)) ? counts.lanes_held : -1;
}
