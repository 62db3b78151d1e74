/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A broker in trouble: calls that fail as a whole, and outages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "suite.h"

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
    CHECK(done, "%d published, %d dead",
          script_get(&a.script, &a.script.published), script_get(&a.script, &a.script.dead));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    if (flags & OUTBOX_PUBLISHER_IN_ORDER)
        CHECK(a.script.calls <= 21, "%d calls", a.script.calls);
    CHECK_INT(a.script.attempts_of_dead, 1);
    CHECK_INT(a.script.failed, 0);
    CHECK_INT(a.script.cancelled, 0); /* what a call that failed let go of is not to be cancelled */
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
    CHECK(done, "%d failures, %d published",
          script_get(&a.script, &a.script.failed), script_get(&a.script, &a.script.published));
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 7, done);
    CHECK(done, "%d published", script_get(&a.script, &a.script.published));
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
    CHECK(done, "it is not dead after %d calls", script_get(&a.script, &a.script.calls));
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
    CHECK(done, "%d of 150 published", script_get(&a.script, &a.script.published));
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
    CHECK(done, "the breaker did not open in %d calls", script_get(&a.script, &a.script.calls));
    /* Those that were under way when it opened may still end. */
    WAIT_FOR(stats_of(&a).probes >= 10, done);
    CHECK(done, "no probes");
    probes = stats_of(&a).probes; /* before the calls are read, and after it at the end: there may be more of them */
    pthread_mutex_lock(&a.script.lock);
    a.script.largest = a.script.most_inside = 0;
    calls = a.script.calls;
    pthread_mutex_unlock(&a.script.lock);
    WAIT_FOR(stats_of(&a).probes >= probes + 25, done);
    CHECK(done, "%d probes", (int)stats_of(&a).probes);
    calls = script_get(&a.script, &a.script.calls) - calls;
    stats = stats_of(&a);
    CHECK_INT(stats.broker_down, 1);
    CHECK_INT(stats.outages, 1);
    CHECK_INT(script_get(&a.script, &a.script.largest), 1);
    CHECK_INT(script_get(&a.script, &a.script.most_inside), 1);
    CHECK(calls <= (int)(stats.probes - probes) + 2, "%d calls for %d probes", calls, (int)(stats.probes - probes));
    script_set(&a.script, FINE);
    WAIT_FOR(script_get(&a.script, &a.script.published) == 400, done);
    CHECK(done, "%d of 400 published", script_get(&a.script, &a.script.published));
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

/* Two messages, and the publisher says that it is the broker: they wait as long as it takes. */
static void test_down_two(struct fixture *fx)
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
    CHECK(done, "%d published", script_get(&a.script, &a.script.published));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_STR(seen_words(&a.script.seen), "1 2");
    check_uncharged(&a);
    act_close(fx, &a);
}

/* Fewer than breaker.threshold, and nobody says that it is the broker: it could be them, so they pay and die. */
static void test_down_few(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "3");
    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE(act_open(fx, &a, DOWN_RETRY, 0), "no relay");
    send_words(fx, "t", "a", "1");
    send_words(fx, "t", "b", "2");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.dead) == 2, done);
    CHECK(done, "%d dead", script_get(&a.script, &a.script.dead));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(a.script.attempts_of_dead, 3);
    CHECK_INT(stats_of(&a).outages, 0);
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
    CHECK(done, "%d published, %d dead",
          script_get(&a.script, &a.script.published), script_get(&a.script, &a.script.dead));
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

/* Much that only has to be set aside, behind a message that waits: a stop does not wait for all of it. */
static void test_stop_setting_aside(struct fixture *fx)
{
    enum { MANY = 3000 };
    outbox_consumer *consumer = NULL;
    struct act a;
    int came;

    REQUIRE(one_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    fixture_set(fx, "relay.batch_size", "1");
    send_words(fx, "t", "k0", "first");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET available_at = available_at + %lld", fx->prefix,
                      (long long)(3600 * SECOND_US)), 0);
    REQUIRE(send_numbered(fx, "t", 1, MANY) && act_open(fx, &a, FINE, 0), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(count_state(fx, OUTBOX_HELD) > 1, came);
    CHECK(came, "nothing is held");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK(count_state(fx, OUTBOX_HELD) < MANY, "all of them were set aside before it stopped");
    CHECK_INT(count_waiting(fx), MANY + 1);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %slanes WHERE owner IS NOT NULL AND lane >= 0", fx->prefix), 0);
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
        {"broker: down, two messages", test_down_two, 0},
        {"broker: down, two messages, and nobody says so", test_down_few, 0},
        {"broker: down, a suspect lane", test_down_suspect, 1},
        {"broker: down, and stopped", test_down_stop, 0},
        {"broker: stopped while much is set aside", test_stop_setting_aside, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
