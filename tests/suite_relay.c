/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay: threads, hooks, starting and stopping; publishers that answer now, later, or not at all. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* What the publishers of these tests share with their test. Guarded by lock. */
struct stage {
    pthread_mutex_t lock;
    int published, failed, dead, calls, inside, most_inside, doubled;
    int open;         /* callbacks may pass */
    int fail_first;   /* so many calls are answered with OUTBOX_RETRY */
    int cancelled, gave_up;
    outbox_delivery *delivery; /* what the late publisher has not answered yet */
    size_t answered;
    char last[64];
};

static void stage_init(struct stage *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->open = 1;
}

static int stage_get(struct stage *s, const int *field)
{
    int value;

    pthread_mutex_lock(&s->lock);
    value = *field;
    pthread_mutex_unlock(&s->lock);
    return value;
}

static void stage_set(struct stage *s, int *field, int value)
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

static outbox_relay *make_relay(struct fixture *fx, struct stage *s, outbox_publisher *publisher)
{
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    outbox_relay *relay = NULL;

    hooks.user = s;
    hooks.published = on_published;
    hooks.failed = on_failed;
    hooks.dead = on_dead;
    return OK(outbox_relay_new(fx->dsn, fx->conf, publisher, &hooks, &relay, &fx->err)) ? relay : NULL;
}

static outbox_publisher *staged_publisher(struct fixture *fx, struct stage *s)
{
    outbox_publisher *publisher = NULL;

    return OK(outbox_publisher_from_callback(staged, s, &publisher, &fx->err)) ? publisher : NULL;
}

static int64_t lanes_held(struct fixture *fx)
{
    outbox_counts counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    return OK(outbox_count(fx->conn, &counts, &fx->err)) ? counts.lanes_held : -1;
}

/* ---- The ordinary course ---- */

static void test_run(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    int done;

    stage_init(&s);
    fixture_set(fx, "relay.poll_interval", "20ms");
    publisher = staged_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL, "no relay");
    EXPECT(outbox_relay_join(relay, &fx->err), OUTBOX_ERR_STATE);
    REQUIRE(send_numbered(fx, "t", 50, 300), "not sent");
    OK(outbox_relay_start(relay, &fx->err));
    EXPECT(outbox_relay_start(relay, &fx->err), OUTBOX_ERR_STATE);
    REQUIRE(send_numbered(fx, "t", 50, 200), "not sent");
    WAIT_FOR(stage_get(&s, &s.published) == 500, done);
    CHECK(done, "%d of 500 published", stage_get(&s, &s.published));
    outbox_relay_stop(relay);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK_INT(outbox_relay_stats_get(relay, &stats), OUTBOX_OK);
    CHECK_INT(stats.published, 500);
    CHECK_INT(stats.failed + stats.dead + stats.fenced + stats.suspect, 0);
    CHECK(stats.batches >= 5 && stats.claims >= 1 && stats.claims <= stats.batches + 200, "%llu batches, %llu claims",
          (unsigned long long)stats.batches, (unsigned long long)stats.claims);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), 0);
    /* It can run again. */
    send_words(fx, "t", "k", "1 2");
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(stage_get(&s, &s.published), 502);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void test_failures(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_message m = text_message("t", "dies", "x");
    int done;

    stage_init(&s);
    s.fail_first = 12;
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.max_attempts", "50");
    publisher = staged_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL, "no relay");
    REQUIRE(send_numbered(fx, "t", 5, 40), "not sent");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.published) == 40, done);
    CHECK(done, "%d of 40 published", stage_get(&s, &s.published));
    CHECK_INT(stage_get(&s, &s.failed), 12);
    CHECK(strstr(s.last, "planted failure") != NULL, "the reason is %s", s.last);
    stage_set(&s, &s.fail_first, 3);
    m.max_attempts = 3;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    WAIT_FOR(stage_get(&s, &s.dead) == 3, done);
    CHECK(done, "not dead after 3 attempts");
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_waiting(fx), 1);
}

static void test_run_once(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_message later = text_message("t", "k", "later");

    stage_init(&s);
    publisher = staged_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL, "no relay");
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(s.published, 0);
    REQUIRE(send_numbered(fx, "t", 50, 1000) && send_numbered(fx, "t", 0, 200), "not sent");
    later.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &later, 1, NULL, &fx->err));
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(s.published, 1200);
    CHECK_INT(count_waiting(fx), 1);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void test_no_tables(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;

    stage_init(&s);
    publisher = staged_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL, "no relay");
    EXPECT(outbox_relay_start(relay, &fx->err), OUTBOX_ERR_SCHEMA);
    EXPECT(outbox_relay_run_once(relay, &fx->err), OUTBOX_ERR_SCHEMA);
    outbox_relay_free(relay);
    EXPECT(outbox_relay_new(NULL, fx->conf, publisher, NULL, &relay, &fx->err), OUTBOX_ERR_INVALID);
    EXPECT(outbox_relay_new(fx->dsn, fx->conf, NULL, NULL, &relay, &fx->err), OUTBOX_ERR_INVALID);
    outbox_publisher_free(publisher);
}

/* ---- Stopping ---- */

/* Stopped with messages in the publisher's hand: they are settled, and nothing is sent twice. */
static void test_stop_settles(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    struct seen rest = {0};
    int came, calls;

    stage_init(&s);
    s.open = 0;
    publisher = staged_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.inside) > 0, came);
    CHECK(came, "the publisher was not called");
    outbox_relay_stop(relay);
    stage_set(&s, &s.open, 1);
    OK(outbox_relay_join(relay, &fx->err));
    calls = s.calls;
    CHECK(calls >= 1 && calls <= 3, "%d calls", calls);
    CHECK_INT(s.published, calls);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), 3 - calls);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &rest), 3 - calls);
    for (size_t i = 0; i < rest.count; i++)
        CHECK_INT(rest.items[i].attempts, 0);
    seen_clear(&rest);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* ---- A publisher that answers from elsewhere ---- */

static int take_delivery(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct stage *s = self;
    const outbox_record *a, *b;

    (void)err;
    pthread_mutex_lock(&s->lock);
    s->calls++;
    for (size_t i = 0; (a = outbox_delivery_message(delivery, i)) != NULL; i++)
        for (size_t k = 0; k < i; k++) {
            b = outbox_delivery_message(delivery, k);
            s->doubled += strcmp(outbox_record_partition_key(a), outbox_record_partition_key(b)) == 0;
        }
    s->delivery = delivery;
    pthread_mutex_unlock(&s->lock);
    return OUTBOX_OK;
}

static void cancel_delivery(void *self, outbox_delivery *delivery)
{
    struct stage *s = self;

    (void)delivery;
    pthread_mutex_lock(&s->lock);
    s->cancelled++;
    s->delivery = NULL;
    pthread_mutex_unlock(&s->lock);
}

/* Takes the delivery that waits, if there is one. */
static outbox_delivery *taken_delivery(struct stage *s)
{
    outbox_delivery *delivery;

    pthread_mutex_lock(&s->lock);
    delivery = s->delivery;
    s->delivery = NULL;
    pthread_mutex_unlock(&s->lock);
    return delivery;
}

static outbox_publisher *late_publisher(struct fixture *fx, struct stage *s)
{
    outbox_publisher_ops ops = {sizeof ops, OUTBOX_PUBLISHER_ABI, 0, "late", take_delivery, cancel_delivery, NULL};
    outbox_publisher *publisher = NULL;

    return OK(outbox_publisher_new(&ops, s, &publisher, &fx->err)) ? publisher : NULL;
}

/* Answers from the test's thread, backwards, until all is published. Keys come once a delivery. */
static void test_late_answers(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_delivery *delivery;
    int done, failed = 0;

    stage_init(&s);
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.poll_interval", "10ms");
    publisher = late_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_numbered(fx, "t", 30, 90), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    while (stage_get(&s, &s.published) < 90) {
        WAIT_FOR((delivery = taken_delivery(&s)) != NULL || stage_get(&s, &s.published) == 90, done);
        REQUIRE(done, "%d of 90 published", s.published);
        for (size_t i = delivery ? outbox_delivery_count(delivery) : 0; i-- > 0;)
            outbox_delivery_answer(delivery, i, ++failed % 7 ? OUTBOX_PUBLISHED : OUTBOX_UNKNOWN, 0, "planted");
    }
    CHECK_INT(s.doubled, 0);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    CHECK_INT(count_waiting(fx), 0);
}

/* Hurried: the publisher is cancelled, the relay ends, and the messages are sent again later, in order. */
static void test_hurry(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    struct seen seen = {0};
    int came;

    stage_init(&s);
    publisher = late_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.calls) > 0, came);
    CHECK(came, "the publisher was not called");
    outbox_relay_hurry(relay);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK_INT(s.cancelled, 1);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), 3);
    make_due(fx);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &seen), 3);
    CHECK_STR(seen_words(&seen), "1 2 3");
    seen_clear(&seen);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* A publisher that never answers: cancelled after its time, and the relay goes on. */
static void test_publish_timeout(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    int came;

    stage_init(&s);
    fixture_set(fx, "relay.publish_timeout", "50ms");
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.backoff_max", "100ms");
    publisher = late_publisher(fx, &s);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.cancelled) >= 2, came);
    CHECK(came, "cancelled %d times", s.cancelled);
    outbox_relay_hurry(relay);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK(s.failed >= 1, "no failure was told of");
    CHECK_INT(count_waiting(fx), 1);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* Does not return until it is cancelled, as each delivery is here; that can come before this is entered. */
static int block_delivery(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct stage *s = self;
    int calls, done;

    (void)delivery;
    (void)err;
    pthread_mutex_lock(&s->lock);
    calls = ++s->calls;
    pthread_mutex_unlock(&s->lock);
    WAIT_FOR(stage_get(s, &s->cancelled) >= calls, done);
    stage_set(s, &s->gave_up, !done);
    return OUTBOX_OK;
}

/* Hurries its relay in the first delivery, which it answers all the same when it is cancelled; the next one hangs. */
struct hurrying {
    struct stage stage;
    outbox_relay *relay;
};

static int hurry_delivery(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct hurrying *h = self;
    int came;

    if (stage_get(&h->stage, &h->stage.calls) > 0)
        return block_delivery(&h->stage, delivery, err);
    stage_set(&h->stage, &h->stage.calls, 1);
    outbox_relay_hurry(h->relay);
    WAIT_FOR(stage_get(&h->stage, &h->stage.cancelled) > 0, came);
    return outbox_delivery_answer(delivery, 0, OUTBOX_PUBLISHED, 0, came ? NULL : "not cancelled");
}

static void cancel_hurried(void *self, outbox_delivery *delivery)
{
    cancel_delivery(&((struct hurrying *)self)->stage, delivery);
}

static void test_hurry_between_waves(struct fixture *fx)
{
    outbox_publisher_ops ops = {sizeof ops, OUTBOX_PUBLISHER_ABI, 0, "hurries", hurry_delivery, cancel_hurried, NULL};
    struct hurrying h = {.relay = NULL};
    outbox_publisher *publisher = NULL;

    stage_init(&h.stage);
    fixture_set(fx, "relay.lease", "1d");
    fixture_set(fx, "relay.drain_timeout", "1h");
    fixture_set(fx, "relay.publish_timeout", "1d");
    REQUIRE(OK(outbox_publisher_new(&ops, &h, &publisher, &fx->err)), "no publisher");
    REQUIRE((h.relay = make_relay(fx, &h.stage, publisher)) != NULL && send_words(fx, "t", "k", "1 2"), "no relay");
    OK(outbox_relay_start(h.relay, &fx->err));
    OK(outbox_relay_join(h.relay, &fx->err));
    CHECK_INT(h.stage.gave_up, 0);
    CHECK_INT(h.stage.cancelled, 2);
    outbox_relay_free(h.relay);
    outbox_publisher_free(publisher);
}

/* A publisher that hangs: only the keeper can cancel it, long before a lease is due, in time and when the relay is
 * hurried. */
static void test_publisher_hangs(struct fixture *fx)
{
    outbox_publisher_ops ops = {sizeof ops, OUTBOX_PUBLISHER_ABI, 0, "hangs", block_delivery, cancel_delivery, NULL};
    struct stage s;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay;
    int came;

    stage_init(&s);
    fixture_set(fx, "relay.lease", "1d");
    fixture_set(fx, "relay.publish_timeout", "50ms");
    fixture_set(fx, "retry.backoff_max", "100ms");
    REQUIRE(OK(outbox_publisher_new(&ops, &s, &publisher, &fx->err)), "no publisher");
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.cancelled) >= 2, came);
    CHECK(came, "cancelled %d times", s.cancelled);
    outbox_relay_hurry(relay);
    OK(outbox_relay_join(relay, &fx->err));
    outbox_relay_free(relay);
    fixture_set(fx, "relay.publish_timeout", "1h");
    stage_set(&s, &s.calls, 0);
    stage_set(&s, &s.cancelled, 0);
    make_due(fx);
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL, "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.calls) > 0, came);
    CHECK(came, "the publisher was not called");
    outbox_relay_hurry(relay);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK_INT(s.gave_up, 0);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* ---- A publisher that fails as a whole ---- */

static int fail_whole(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct stage *s = self;
    size_t index;

    pthread_mutex_lock(&s->lock);
    s->calls++;
    if (s->fail_first > 0) {
        s->fail_first--;
        pthread_mutex_unlock(&s->lock);
        return outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.down", "the broker is down");
    }
    pthread_mutex_unlock(&s->lock);
    while (outbox_delivery_next(delivery, &index) != NULL)
        outbox_delivery_answer(delivery, index, OUTBOX_PUBLISHED, -1, NULL);
    return OUTBOX_OK;
}

static void test_whole_failure(struct fixture *fx)
{
    struct stage s;
    outbox_publisher_ops ops = {sizeof ops, OUTBOX_PUBLISHER_ABI, OUTBOX_PUBLISHER_IN_ORDER, "down", fail_whole, NULL,
                                NULL};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay;
    int done;

    stage_init(&s);
    s.fail_first = 3;
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.backoff_max", "100ms");
    OK(outbox_publisher_new(&ops, &s, &publisher, &fx->err));
    REQUIRE((relay = make_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3 4"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.published) == 4, done);
    CHECK(done, "%d of 4 published", stage_get(&s, &s.published));
    CHECK(strstr(s.last, "the broker is down") != NULL, "the reason is %s", s.last);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    CHECK_INT(count_waiting(fx), 0);
}

/* Two relays in one process, each with its outbox, never meet. */
static void test_two_relays(struct fixture *fx)
{
    struct stage one, two;
    outbox_publisher *p1, *p2;
    outbox_relay *r1, *r2;
    outbox_conn *conn;
    char prefix[40];
    int done;

    stage_init(&one);
    stage_init(&two);
    fixture_set(fx, "relay.poll_interval", "10ms");
    p1 = staged_publisher(fx, &one);
    p2 = staged_publisher(fx, &two);
    REQUIRE((r1 = make_relay(fx, &one, p1)) != NULL, "no relay");
    snprintf(prefix, sizeof prefix, "%ssecond_", fx->prefix);
    fixture_set(fx, "schema.prefix", prefix);
    REQUIRE((conn = fixture_connect(fx)) != NULL && OK(outbox_migrate(conn, NULL, &fx->err)), "no outbox");
    REQUIRE((r2 = make_relay(fx, &two, p2)) != NULL, "no relay");
    OK(outbox_relay_start(r1, &fx->err));
    OK(outbox_relay_start(r2, &fx->err));
    REQUIRE(send_numbered(fx, "t", 9, 100), "not sent");
    fx->conn = conn;
    REQUIRE(send_numbered(fx, "t", 9, 70), "not sent");
    WAIT_FOR(stage_get(&one, &one.published) == 100 && stage_get(&two, &two.published) == 70, done);
    CHECK(done, "%d and %d published", stage_get(&one, &one.published), stage_get(&two, &two.published));
    outbox_relay_free(r1);
    outbox_relay_free(r2);
    outbox_publisher_free(p1);
    outbox_publisher_free(p2);
}

void suite_relay(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"relay: publishes what is there and what comes", test_run, 0},
        {"relay: failures are retried, limits kept", test_failures, 0},
        {"relay: run_once drains what is ready", test_run_once, 0},
        {"relay: refuses without tables", test_no_tables, 1},
        {"relay: stop settles what is in hand", test_stop_settles, 0},
        {"relay: hurry leaves what is in hand", test_hurry, 0},
        {"relay: late answers from another thread", test_late_answers, 0},
        {"relay: a publisher that does not answer", test_publish_timeout, 0},
        {"relay: a publisher that hangs", test_publisher_hangs, 0},
        {"relay: hurried between two waves", test_hurry_between_waves, 0},
        {"relay: a publisher that fails as a whole", test_whole_failure, 0},
        {"relay: two of them never meet", test_two_relays, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
