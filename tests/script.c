/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void script_init(struct script *s, enum trouble trouble)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->trouble = trouble;
}

int script_get(struct script *s, const int *field)
{
    int value;

    pthread_mutex_lock(&s->lock);
    value = *field;
    pthread_mutex_unlock(&s->lock);
    return value;
}

void script_set(struct script *s, enum trouble trouble)
{
    pthread_mutex_lock(&s->lock);
    s->trouble = trouble;
    pthread_mutex_unlock(&s->lock);
}

enum trouble script_trouble(struct script *s)
{
    enum trouble trouble;

    pthread_mutex_lock(&s->lock);
    trouble = s->trouble;
    pthread_mutex_unlock(&s->lock);
    return trouble;
}

static int is_poison(const outbox_record *record)
{
    size_t size = 0;
    const char *payload = outbox_record_payload(record, &size);

    return size >= 6 && memcmp(payload, "poison", 6) == 0;
}

static int has_poison(outbox_delivery *d)
{
    for (size_t i = 0; i < outbox_delivery_count(d); i++)
        if (is_poison(outbox_delivery_message(d, i)))
            return 1;
    return 0;
}

/* Answers one after the other, until the script says otherwise. Called with the lock held. */
static void send_all(struct script *s, outbox_delivery *d)
{
    const outbox_record *record;
    size_t index;

    while ((record = outbox_delivery_next(d, &index)) != NULL) {
        if (s->trouble == POISON_HANGS && is_poison(record)) {
            s->hung = d;
            s->hung_at = index;
            return;
        }
        if (s->trouble == DOWN_RETRY) {
            outbox_delivery_answer(d, index, OUTBOX_RETRY, -1, "not connected");
        } else if (s->trouble == DOWN_UNAVAILABLE) {
            outbox_delivery_answer(d, index, OUTBOX_UNAVAILABLE, -1, "not connected");
        } else {
            seen_add(&s->seen, record);
            outbox_delivery_answer(d, index, OUTBOX_PUBLISHED, -1, NULL);
            if (s->twice)
                outbox_delivery_answer(d, index, OUTBOX_REJECT, -1, "second thoughts");
        }
    }
}

static int script_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct script *s = self;
    int rc = OUTBOX_OK, count = (int)outbox_delivery_count(d);

    pthread_mutex_lock(&s->lock);
    s->calls++;
    s->inside++;
    s->most_inside = s->inside > s->most_inside ? s->inside : s->most_inside;
    s->largest = count > s->largest ? count : s->largest;
    if (s->trouble >= DOWN_CONNECT) {
        s->calls_down++;
        s->seen_down += count;
    }
    if (s->trouble == DOWN_CONNECT || (s->trouble == POISON_CONNECT && has_poison(d)))
        rc = outbox_error_new(err, OUTBOX_ERR_CONNECT, "test.away", "no connection to the broker");
    else if (s->trouble == DOWN_OPAQUE || (s->trouble == POISON_FAILS && has_poison(d)))
        rc = outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.broken", "something is broken");
    else
        send_all(s, d);
    s->inside--;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void script_cancel(void *self, outbox_delivery *d)
{
    struct script *s = self;

    (void)d;
    pthread_mutex_lock(&s->lock);
    s->cancelled++;
    pthread_mutex_unlock(&s->lock);
}

static void on_published(void *user, const outbox_record *record)
{
    struct script *s = user;

    (void)record;
    pthread_mutex_lock(&s->lock);
    s->published++;
    pthread_mutex_unlock(&s->lock);
}

static void on_failed(void *user, const outbox_record *record, int attempts, int64_t retry_ms, const char *reason)
{
    struct script *s = user;

    (void)record, (void)attempts, (void)retry_ms, (void)reason;
    pthread_mutex_lock(&s->lock);
    s->failed++;
    pthread_mutex_unlock(&s->lock);
}

static void on_dead(void *user, const outbox_record *record, int attempts, const char *reason)
{
    struct script *s = user;

    (void)record, (void)reason;
    pthread_mutex_lock(&s->lock);
    s->dead++;
    s->attempts_of_dead = attempts;
    pthread_mutex_unlock(&s->lock);
}

static void on_log(void *user, outbox_log_level level, const char *message)
{
    struct script *s = user;

    (void)level;
    pthread_mutex_lock(&s->lock);
    s->opened += strstr(message, "gets no message through") != NULL;
    s->silent += strstr(message, "nothing more is sent until it does") != NULL;
    s->stuck += strstr(message, "has not returned for") != NULL;
    s->closed += strstr(message, "gets messages through again") != NULL;
    pthread_mutex_unlock(&s->lock);
}

int act_open(struct fixture *fx, struct act *a, enum trouble trouble, uint32_t flags)
{
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .flags = flags, .name = "script",
                                .publish = script_publish, .cancel = script_cancel};
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;

    memset(a, 0, sizeof *a);
    script_init(&a->script, trouble);
    hooks.user = &a->script;
    hooks.published = on_published;
    hooks.failed = on_failed;
    hooks.dead = on_dead;
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.backoff_min", "1ms");
    fixture_set(fx, "retry.backoff_max", "5ms");
    fixture_set(fx, "breaker.wait_min", "5ms");
    fixture_set(fx, "breaker.wait_max", "20ms");
    outbox_conf_set_log(fx->conf, on_log, &a->script);
    return OK(outbox_publisher_new(&ops, &a->script, &a->publisher, &fx->err)) &&
           OK(outbox_relay_new(fx->dsn, fx->conf, a->publisher, &hooks, &a->relay, &fx->err));
}

int act_swap(struct fixture *fx, struct act *a, outbox_publisher *publisher)
{
    outbox_relay_free(a->relay);
    outbox_publisher_free(a->publisher);
    a->relay = NULL;
    a->publisher = publisher;
    return OK(outbox_relay_new(fx->dsn, fx->conf, a->publisher, NULL, &a->relay, &fx->err));
}

void act_close(struct fixture *fx, struct act *a)
{
    outbox_relay_free(a->relay);
    outbox_publisher_free(a->publisher);
    outbox_conf_set_log(fx->conf, NULL, NULL);
    seen_clear(&a->script.seen);
}

outbox_relay_stats stats_of(struct act *a)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;

    CHECK_INT(outbox_relay_stats_get(a->relay, &stats), OUTBOX_OK);
    return stats;
}

void check_uncharged(struct act *a)
{
    for (size_t i = 0; i < a->script.seen.count; i++)
        if (strncmp(a->script.seen.items[i].text, "poison", 6) != 0 && a->script.seen.items[i].attempts != 0) {
            CHECK(0, "\"%s\" was charged %d attempts", a->script.seen.items[i].text, a->script.seen.items[i].attempts);
            return;
        }
}

void check_order(struct act *a, int keys)
{
    long last[64] = {0};

    for (size_t i = 0; i < a->script.seen.count; i++) {
        const struct seen_one *one = &a->script.seen.items[i];
        long number = strtol(one->text, NULL, 10), key = one->has_key ? strtol(one->key + 1, NULL, 10) : keys;

        if (number == 0 || key >= keys)
            continue;
        if (!CHECK(number > last[key], "%ld came after %ld of key %ld", number, last[key], key))
            return;
        last[key] = number;
    }
}

int one_lane(struct fixture *fx)
{
    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "1000");
    fixture_set(fx, "relay.workers", "1");
    return fixture_migrate(fx) == 0;
}
