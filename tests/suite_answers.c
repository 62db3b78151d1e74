/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers that answer from another thread, late, not at all, or not with success; and a relay that is in a hurry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"
#include "suite.h"

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
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .name = "late",
                                .publish = take_delivery, .cancel = cancel_delivery};
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
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_numbered(fx, "t", 30, 90), "no relay");
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
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3"), "no relay");
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
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1"), "no relay");
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

/* Hurries its relay in the first delivery, which it answers all the same when it is cancelled; the next one would hang. */
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
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .name = "hurries",
                                .publish = hurry_delivery, .cancel = cancel_hurried};
    struct hurrying h = {.relay = NULL};
    outbox_publisher *publisher = NULL;

    stage_init(&h.stage);
    fixture_set(fx, "relay.lease", "1d");
    fixture_set(fx, "relay.drain_timeout", "1h");
    fixture_set(fx, "relay.publish_timeout", "1d");
    REQUIRE(OK(outbox_publisher_new(&ops, &h, &publisher, &fx->err)), "no publisher");
    REQUIRE((h.relay = stage_relay(fx, &h.stage, publisher)) != NULL && send_words(fx, "t", "k", "1 2"), "no relay");
    OK(outbox_relay_start(h.relay, &fx->err));
    OK(outbox_relay_join(h.relay, &fx->err));
    CHECK_INT(h.stage.gave_up, 0);
    CHECK_INT(h.stage.cancelled, 1);
    CHECK_INT(h.stage.calls, 1);
    CHECK_INT(count_waiting(fx), 1);
    outbox_relay_free(h.relay);
    outbox_publisher_free(publisher);
}

/* A publisher that hangs: only the keeper can cancel it, long before a lease is due, in time and when the relay is
 * hurried. */
static void test_publisher_hangs(struct fixture *fx)
{
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .name = "hangs",
                                .publish = block_delivery, .cancel = cancel_delivery};
    struct stage s;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay;
    int came;

    stage_init(&s);
    fixture_set(fx, "relay.lease", "1d");
    fixture_set(fx, "relay.publish_timeout", "50ms");
    fixture_set(fx, "retry.backoff_max", "100ms");
    REQUIRE(OK(outbox_publisher_new(&ops, &s, &publisher, &fx->err)), "no publisher");
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1"), "no relay");
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
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
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
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .flags = OUTBOX_PUBLISHER_IN_ORDER,
                                .name = "down", .publish = fail_whole};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay;
    int done;

    stage_init(&s);
    s.fail_first = 3;
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.backoff_max", "100ms");
    OK(outbox_publisher_new(&ops, &s, &publisher, &fx->err));
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3 4"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.published) == 4, done);
    CHECK(done, "%d of 4 published", stage_get(&s, &s.published));
    CHECK(strstr(s.last, "the broker is down") != NULL, "the reason is %s", s.last);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    CHECK_INT(count_waiting(fx), 0);
}

void suite_answers(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"relay: hurry leaves what is in hand", test_hurry, 0},
        {"relay: late answers from another thread", test_late_answers, 0},
        {"relay: a publisher that does not answer", test_publish_timeout, 0},
        {"relay: a publisher that hangs", test_publisher_hangs, 0},
        {"relay: hurried between two waves", test_hurry_between_waves, 0},
        {"relay: a publisher that fails as a whole", test_whole_failure, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
