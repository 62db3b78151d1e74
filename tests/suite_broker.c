/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A broker in trouble: a publisher that follows a script. It fails as a whole, is down, hangs, answers late or twice. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

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
    int calls, inside, most_inside, largest, cancelled, opened, closed;
    int calls_down, seen_down; /* calls and messages while it was down */
    int twice;        /* answers each message a second time, the other way round */
    int published, failed, dead, attempts_of_dead;
    struct seen seen; /* what was accepted, in order */
    outbox_delivery *hung;
    size_t hung_at;
};

static void script_init(struct script *s, enum trouble trouble)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->trouble = trouble;
}

static int script_get(struct script *s, const int *field)
{
    int value;

    pthread_mutex_lock(&s->lock);
    value = *field;
    pthread_mutex_unlock(&s->lock);
    return value;
}

static void script_set(struct script *s, enum trouble trouble)
{
    pthread_mutex_lock(&s->lock);
    s->trouble = trouble;
    pthread_mutex_unlock(&s->lock);
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
    s->closed += strstr(message, "gets messages through again") != NULL;
    pthread_mutex_unlock(&s->lock);
}

struct act {
    struct script script;
    outbox_publisher *publisher;
    outbox_relay *relay;
};

/* Quick settings, so that a test does not wait for the defaults. */
static int act_open(struct fixture *fx, struct act *a, enum trouble trouble, uint32_t flags)
{
    outbox_publisher_ops ops = {sizeof ops, OUTBOX_PUBLISHER_ABI, flags, "script", script_publish, script_cancel, NULL};
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

static void act_close(struct fixture *fx, struct act *a)
{
    outbox_relay_free(a->relay);
    outbox_publisher_free(a->publisher);
    outbox_conf_set_log(fx->conf, NULL, NULL);
    seen_clear(&a->script.seen);
}

static outbox_relay_stats stats_of(struct act *a)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;

    CHECK_INT(outbox_relay_stats_get(a->relay, &stats), OUTBOX_OK);
    return stats;
}

/* No message was seen with an attempt, but those that start with "poison". */
static void check_uncharged(struct act *a)
{
    for (size_t i = 0; i < a->script.seen.count; i++)
        if (strncmp(a->script.seen.items[i].text, "poison", 6) != 0 && a->script.seen.items[i].attempts != 0) {
            CHECK(0, "\"%s\" was charged %d attempts", a->script.seen.items[i].text, a->script.seen.items[i].attempts);
            return;
        }
}

/* The numbers of each key came in order. keys as in send_numbered(). */
static void check_order(struct act *a, int keys)
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

static int one_lane(struct fixture *fx)
{
    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "1000");
    fixture_set(fx, "relay.workers", "1");
    return fixture_migrate(fx) == 0;
}

/* ---- A call that fails as a whole ---- */

/* One among a thousand: found in 21 calls, wherever it is; it alone is charged. */
static void find_poison(struct fixture *fx, int before, int after, uint32_t flags)
{
    struct act a;
    outbox_message m = text_message("t", "poisoned", "poison");
    int done;

    m.max_attempts = 1;
    REQUIRE(one_lane(fx) && act_open(fx, &a, POISON_FAILS, flags), "no relay");
    REQUIRE(send_numbered(fx, "t", 37, before) && OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err)) &&
            send_numbered(fx, "t", 0, after), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.published) == before + after && script_get(&a.script, &a.script.dead) == 1,
             done);
    CHECK(done, "%d published, %d dead", a.script.published, a.script.dead);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    if (flags & OUTBOX_PUBLISHER_IN_ORDER)
        CHECK(a.script.calls <= 21, "%d calls", a.script.calls);
    CHECK_INT(a.script.attempts_of_dead, 1);
    CHECK_INT(a.script.failed, 0);
    CHECK_INT(stats_of(&a).outages, 0);
    check_uncharged(&a);
    if (before > 0)
        check_order(&a, 37);
    CHECK_INT(count_waiting(fx), 1);
    act_close(fx, &a);
}

static void test_find_first(struct fixture *fx)
{
    find_poison(fx, 0, 999, OUTBOX_PUBLISHER_IN_ORDER);
}

static void test_find_middle(struct fixture *fx)
{
    find_poison(fx, 617, 382, OUTBOX_PUBLISHER_IN_ORDER);
}

static void test_find_last(struct fixture *fx)
{
    find_poison(fx, 999, 0, OUTBOX_PUBLISHER_IN_ORDER);
}

static void test_find_waves(struct fixture *fx)
{
    find_poison(fx, 500, 0, 0);
}

/* Retried, in order, and the later ones of its key wait for it; those of others do not. */
static void test_whole_retry(struct fixture *fx)
{
    struct act a;
    int done;

    REQUIRE(one_lane(fx), "no outbox");
    fixture_set(fx, "retry.max_attempts", "1000000");
    REQUIRE(act_open(fx, &a, POISON_FAILS, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    send_words(fx, "t", "a", "a1 poison2 a3 a4");
    send_words(fx, "t", "b", "b1 b2 b3");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.failed) >= 3 && script_get(&a.script, &a.script.published) == 4, done);
    CHECK(done, "%d failures, %d published", a.script.failed, a.script.published);
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 7, done);
    CHECK(done, "%d published", a.script.published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_STR(seen_words_of(&a.script.seen, "a"), "a1 poison2 a3 a4");
    CHECK_STR(seen_words_of(&a.script.seen, "b"), "b1 b2 b3");
    check_uncharged(&a);
    CHECK_INT(stats_of(&a).outages, 0);
    act_close(fx, &a);
}

/* A poison message alone, with nothing beside it to compare with, reaches its limit. */
static void test_poison_alone(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "7");
    REQUIRE(act_open(fx, &a, POISON_FAILS, 0), "no relay");
    send_words(fx, "t", "k", "poison1");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.dead) == 1, done);
    CHECK(done, "it is not dead after %d calls", a.script.calls);
    CHECK_INT(a.script.attempts_of_dead, 7);
    CHECK_INT(stats_of(&a).outages, 0);
    act_close(fx, &a);
}

/* More of them than the breaker's threshold, among others: each dies of its own, and the others are not charged. */
static void poison_crowd(struct fixture *fx, enum trouble trouble)
{
    struct act a;
    int done;

    REQUIRE(one_lane(fx), "no outbox");
    fixture_set(fx, "retry.max_attempts", "2");
    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE(act_open(fx, &a, trouble, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    for (int i = 0; i < 12; i++)
        send_text(fx, "t", NULL, "poison");
    REQUIRE(send_numbered(fx, "t", 5, 150), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.published) == 150, done);
    CHECK(done, "%d of 150 published", a.script.published);
    /* Without anything else that passes they would look like an outage: so something passes. */
    for (int i = 0; i < 2000 && script_get(&a.script, &a.script.dead) < 12; i++) {
        int sent = script_get(&a.script, &a.script.published);

        send_text(fx, "t", NULL, "fine");
        WAIT_FOR(script_get(&a.script, &a.script.published) > sent, done);
    }
    CHECK_INT(script_get(&a.script, &a.script.dead), 12);
    CHECK_INT(a.script.attempts_of_dead, 2);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    check_uncharged(&a);
    check_order(&a, 5);
    act_close(fx, &a);
}

static void test_crowd_opaque(struct fixture *fx)
{
    poison_crowd(fx, POISON_FAILS);
}

static void test_crowd_connect(struct fixture *fx)
{
    poison_crowd(fx, POISON_CONNECT);
}

/* ---- The broker is down ---- */

/* Nothing gets through for many tries, then all of it does: nothing is dead; what was charged, was so before it was
 * clear. One call at a time with one message once it is. */
static void outage(struct fixture *fx, enum trouble trouble, int may_charge)
{
    struct act a;
    outbox_relay_stats stats;
    uint64_t probes;
    int done, charged = 0, calls;

    fixture_set(fx, "retry.max_attempts", may_charge ? "1000" : "1");
    fixture_set(fx, "relay.workers", "3");
    REQUIRE(act_open(fx, &a, trouble, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    REQUIRE(send_numbered(fx, "t", 40, 400), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).broker_down == 1, done);
    CHECK(done, "the breaker did not open in %d calls", a.script.calls);
    /* Those that were under way when it opened may still end. */
    WAIT_FOR(stats_of(&a).probes >= 3, done);
    CHECK(done, "no probes");
    pthread_mutex_lock(&a.script.lock);
    a.script.largest = a.script.most_inside = 0;
    calls = a.script.calls;
    pthread_mutex_unlock(&a.script.lock);
    probes = stats_of(&a).probes;
    WAIT_FOR(stats_of(&a).probes >= probes + 25, done);
    CHECK(done, "%d probes", (int)stats_of(&a).probes);
    stats = stats_of(&a);
    CHECK_INT(stats.broker_down, 1);
    CHECK_INT(stats.outages, 1);
    CHECK_INT(script_get(&a.script, &a.script.largest), 1);
    CHECK_INT(script_get(&a.script, &a.script.most_inside), 1);
    CHECK(script_get(&a.script, &a.script.calls) - calls <= (int)(stats.probes - probes) + 2, "%d calls for %d probes",
          script_get(&a.script, &a.script.calls) - calls, (int)(stats.probes - probes));
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 400, done);
    CHECK(done, "%d of 400 published", a.script.published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(stats_of(&a).broker_down, 0);
    CHECK_INT(a.script.opened, 1);
    CHECK_INT(a.script.closed, 1);
    CHECK_INT(a.script.dead, 0);
    for (size_t i = 0; i < a.script.seen.count; i++)
        charged += a.script.seen.items[i].attempts > 0;
    CHECK(charged <= may_charge, "%d messages were charged", charged);
    check_order(&a, 40);
    CHECK_INT(count_waiting(fx), 0);
    act_close(fx, &a);
}

static void test_down_connect(struct fixture *fx)
{
    outage(fx, DOWN_CONNECT, 0);
}

static void test_down_unavailable(struct fixture *fx)
{
    outage(fx, DOWN_UNAVAILABLE, 0);
}

/* Until five different ones failed, it could be them: those of batches that ended before are charged. */
static void test_down_opaque(struct fixture *fx)
{
    outage(fx, DOWN_OPAQUE, 4);
}

static void test_down_retry(struct fixture *fx)
{
    outage(fx, DOWN_RETRY, 4);
}

/* A single message, and the publisher says that it is the broker: it waits as long as it takes. */
static void test_down_single(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(act_open(fx, &a, DOWN_UNAVAILABLE, 0), "no relay");
    send_words(fx, "t", "k", "1 2");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 10, done);
    CHECK(done, "no probes");
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 2, done);
    CHECK(done, "%d published", a.script.published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_STR(seen_words(&a.script.seen), "1 2");
    check_uncharged(&a);
    act_close(fx, &a);
}

/* The lane of a relay that crashed goes one at a time, with the attempt written first: an outage gives it back. */
static void test_down_suspect(struct fixture *fx)
{
    struct act a;
    outbox_consumer *crashed;
    outbox_batch *batch = NULL;
    int done;

    REQUIRE(one_lane(fx), "no outbox");
    fixture_set(fx, "retry.max_attempts", "3");
    REQUIRE((crashed = fixture_consumer(fx, "crashed")) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    MUST(outbox_consumer_claim(crashed, &batch, &fx->err));
    outbox_batch_free(batch);
    expire_leases(fx);
    REQUIRE(act_open(fx, &a, DOWN_CONNECT, 0), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 10, done);
    CHECK(done, "no probes");
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 3, done);
    CHECK(done, "%d published, %d dead", a.script.published, a.script.dead);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_STR(seen_words(&a.script.seen), "1 2 3");
    for (size_t i = 0; i < a.script.seen.count; i++)
        CHECK_INT(a.script.seen.items[i].attempts, 1); /* the one that is written before it is sent */
    act_close(fx, &a);
}

/* Stopped while the broker is down: at once, and everything is there. run_once says why it ended. */
static void test_down_stop(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "relay.drain_timeout", "1h");
    REQUIRE(act_open(fx, &a, DOWN_CONNECT, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    REQUIRE(send_numbered(fx, "t", 40, 100), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 2, done);
    CHECK(done, "no probes");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 100);
    act_close(fx, &a);
    fixture_set(fx, "breaker.wait_min", "1h");
    REQUIRE(act_open(fx, &a, DOWN_CONNECT, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    EXPECT(outbox_relay_run_once(a.relay, &fx->err), OUTBOX_ERR_PUBLISH);
    CHECK_STR(fx->name, "publisher.down");
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 100);
    act_close(fx, &a);
}

/* ---- A publisher that hangs ---- */

/* One message hangs the publisher, with others in the same batch: it alone is charged, and dies. The lease is kept for
 * longer than it lasts without renewal, so nobody takes the lane meanwhile. */
static void test_hang(struct fixture *fx)
{
    struct act a;
    int done;

    REQUIRE(one_lane(fx), "no outbox");
    fixture_set(fx, "retry.max_attempts", "2");
    fixture_set(fx, "ordering.dead", "continue");
    fixture_set(fx, "relay.lease", "1s");
    fixture_set(fx, "relay.publish_timeout", "1500ms");
    REQUIRE(act_open(fx, &a, POISON_HANGS, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    send_words(fx, "t", "a", "1 2");
    send_words(fx, "t", "b", "3 poison 4");
    send_words(fx, "t", "c", "5 6");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.dead) == 1 && script_get(&a.script, &a.script.published) == 6, done);
    CHECK(done, "%d dead, %d published", a.script.dead, a.script.published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(a.script.attempts_of_dead, 2);
    CHECK_INT(a.script.cancelled, 3); /* the batch, and twice the message alone */
    CHECK_INT(stats_of(&a).fenced, 0);
    CHECK_STR(seen_words_of(&a.script.seen, "b"), "3 4");
    CHECK_STR(seen_words_of(&a.script.seen, "c"), "5 6");
    act_close(fx, &a);
}

/* Answers that come after the delivery was given up, from another thread, are told that they do not count. */
static void test_too_late(struct fixture *fx)
{
    struct act a;
    outbox_delivery *hung;
    size_t at;
    int done;

    fixture_set(fx, "retry.max_attempts", "1");
    fixture_set(fx, "relay.publish_timeout", "50ms");
    REQUIRE(act_open(fx, &a, POISON_HANGS, 0), "no relay");
    send_words(fx, "t", "k", "poison");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.dead) == 1, done);
    CHECK(done, "it is not dead");
    pthread_mutex_lock(&a.script.lock);
    hung = a.script.hung;
    at = a.script.hung_at;
    pthread_mutex_unlock(&a.script.lock);
    REQUIRE(hung != NULL, "nothing hung");
    /* It is there still, with all of its message. */
    CHECK_STR(outbox_record_topic(outbox_delivery_message(hung, at)), "t");
    CHECK_INT(outbox_delivery_answer(hung, at, OUTBOX_PUBLISHED, -1, NULL), OUTBOX_NONE);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(a.script.published, 0);
    act_close(fx, &a);
}

/* The first of two answers counts. */
static void test_twice(struct fixture *fx)
{
    struct act a;

    REQUIRE(act_open(fx, &a, FINE, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    a.script.twice = 1;
    REQUIRE(send_numbered(fx, "t", 7, 100), "not sent");
    OK(outbox_relay_run_once(a.relay, &fx->err));
    CHECK_INT(a.script.published, 100);
    CHECK_INT(a.script.dead, 0);
    CHECK_INT(count_waiting(fx), 0);
    act_close(fx, &a);
}

/* A stop does not wait for publish_timeout, and what it leaves behind is charged nothing. */
static void test_hang_stop(struct fixture *fx)
{
    struct act a;
    struct seen rest = {0};
    int done;

    fixture_set(fx, "relay.drain_timeout", "50ms");
    fixture_set(fx, "relay.publish_timeout", "1d");
    REQUIRE(act_open(fx, &a, POISON_HANGS, 0), "no relay");
    send_words(fx, "t", "k", "poison 2 3");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.calls) == 1, done);
    CHECK(done, "the publisher was not called");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(a.script.cancelled, 1);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &rest), 3);
    CHECK_STR(seen_words(&rest), "poison 2 3");
    for (size_t i = 0; i < rest.count; i++)
        CHECK_INT(rest.items[i].attempts, 0);
    seen_clear(&rest);
    act_close(fx, &a);
}

/* ---- The publishers that are built in ---- */

static int act_open_url(struct fixture *fx, struct act *a, const char *url)
{
    if (!act_open(fx, a, FINE, 0))
        return 0;
    outbox_relay_free(a->relay);
    outbox_publisher_free(a->publisher);
    a->relay = NULL;
    a->publisher = NULL;
    return OK(outbox_publisher_open(url, NULL, &a->publisher, &fx->err)) &&
           OK(outbox_relay_new(fx->dsn, fx->conf, a->publisher, NULL, &a->relay, &fx->err));
}

static int64_t attempts_charged(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT COALESCE(SUM(attempts), 0) FROM %sdeferred", fx->prefix);
}

/* A command that ends before it reads anything is broken, whatever it was sent: one message alone is not charged. */
static void test_exec_broken(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(act_open_url(fx, &a, "exec:exit 3"), "no relay");
    send_words(fx, "t", "k", "1");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 4, done);
    CHECK(done, "no probes");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
    CHECK_INT(attempts_charged(fx), 0);
    CHECK_INT(count_waiting(fx), 1);
    act_close(fx, &a);
}

/* One that ends because of what it read: that is charged, and dies; the others arrive. */
static void test_exec_poison(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "2");
    REQUIRE(act_open_url(fx, &a, "exec:while read -r line; do case $line in *cG9pc29u*|*poison*) exit 4;; esac; echo ok; done"),
            "no relay");
    send_words(fx, "t", "k", "poison");
    REQUIRE(send_numbered(fx, "t", 5, 20), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).dead == 1 && stats_of(&a).published == 20, done);
    CHECK(done, "%d dead, %d published", (int)stats_of(&a).dead, (int)stats_of(&a).published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
    act_close(fx, &a);
}

/* The reader of the standard output is gone: nothing is charged, and what was not read by it is there. */
static void test_stdout_closed(struct fixture *fx)
{
    struct act a;
    int ends[2], saved, done;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(send_numbered(fx, "t", 5, 20) && act_open_url(fx, &a, "stdout:"), "no relay");
    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    REQUIRE(saved >= 0 && pipe(ends) == 0, "no pipe");
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    outbox_relay_start(a.relay, NULL);
    WAIT_FOR(stats_of(&a).probes >= 5, done);
    outbox_relay_stop(a.relay);
    outbox_relay_join(a.relay, NULL);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    CHECK(done, "no probes");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
    CHECK_INT(attempts_charged(fx), 0);
    CHECK_INT(count_waiting(fx), 20);
    act_close(fx, &a);
}

void suite_broker(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"broker: 1 in 1000 fails the call, the first", test_find_first, 1},
        {"broker: 1 in 1000 fails the call, in the middle", test_find_middle, 1},
        {"broker: 1 in 1000 fails the call, the last", test_find_last, 1},
        {"broker: 1 fails the call, in waves", test_find_waves, 1},
        {"broker: what fails the call is retried in order", test_whole_retry, 1},
        {"broker: poison alone reaches its limit", test_poison_alone, 0},
        {"broker: much poison, opaque", test_crowd_opaque, 1},
        {"broker: much poison that looks like an outage", test_crowd_connect, 1},
        {"broker: down, calls say so", test_down_connect, 0},
        {"broker: down, verdicts say so", test_down_unavailable, 0},
        {"broker: down, calls fail", test_down_opaque, 0},
        {"broker: down, verdicts are retry", test_down_retry, 0},
        {"broker: down, a single message", test_down_single, 0},
        {"broker: down, a suspect lane", test_down_suspect, 1},
        {"broker: down, and stopped", test_down_stop, 0},
        {"broker: one message hangs it", test_hang, 1},
        {"broker: an answer that comes too late", test_too_late, 0},
        {"broker: answers twice", test_twice, 0},
        {"broker: hangs while the relay stops", test_hang_stop, 0},
        {"broker: exec:, a command that is broken", test_exec_broken, 0},
        {"broker: exec:, a message that kills it", test_exec_poison, 0},
        {"broker: stdout:, nobody reads", test_stdout_closed, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
