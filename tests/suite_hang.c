/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers that hang, answer too late or twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script.h"
#include "suite.h"

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
    fixture_set(fx, "relay.lease", "2s");
    fixture_set(fx, "relay.publish_timeout", "3s");
    REQUIRE(act_open(fx, &a, POISON_HANGS, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    send_words(fx, "t", "a", "1 2");
    send_words(fx, "t", "b", "3 poison 4");
    send_words(fx, "t", "c", "5 6");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.dead) == 1 && script_get(&a.script, &a.script.published) == 6, done);
    CHECK(done, "%d dead, %d published",
          script_get(&a.script, &a.script.dead), script_get(&a.script, &a.script.published));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(a.script.attempts_of_dead, 2);
    CHECK(a.script.cancelled >= 3, "%d", a.script.cancelled); /* the batch, and twice the message alone */
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

/* ---- A publisher that is in the way ---- */

/* Publish waits for the gate, and so does cancel when it is told to. Guarded by lock. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open;          /* publish() may go on */
    int hangs;         /* what is poison is not answered */
    int cancel_waits;  /* and then asks the relay */
    int cancel_opens;  /* the so-manieth cancel; 0: none */
    int inside, sent, cancels, asked;
    struct act *act;
};

static void gate_set(struct gate *g, int *field, int value)
{
    pthread_mutex_lock(&g->lock);
    *field = value;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static int gate_get(struct gate *g, const int *field)
{
    int value;

    pthread_mutex_lock(&g->lock);
    value = *field;
    pthread_mutex_unlock(&g->lock);
    return value;
}

static int gate_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct gate *g = self;
    const outbox_record *record;
    size_t index;

    (void)err;
    pthread_mutex_lock(&g->lock);
    g->inside++;
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    while ((record = outbox_delivery_next(d, &index)) != NULL) {
        if (g->hangs && memcmp(outbox_record_payload(record, NULL), "p", 1) == 0)
            continue;
        g->sent++;
        outbox_delivery_answer(d, index, OUTBOX_PUBLISHED, -1, NULL);
    }
    g->inside--;
    pthread_mutex_unlock(&g->lock);
    return OUTBOX_OK;
}

static void gate_cancel(void *self, outbox_delivery *d)
{
    struct gate *g = self;
    int ask;

    (void)d;
    pthread_mutex_lock(&g->lock);
    g->cancels++;
    if (g->cancels == g->cancel_opens)
        g->open = 1;
    pthread_cond_broadcast(&g->changed);
    while (g->cancel_waits)
        pthread_cond_wait(&g->changed, &g->lock);
    ask = g->sent > 0 && g->asked == 0;
    pthread_mutex_unlock(&g->lock);
    if (ask) {
        stats_of(g->act);
        outbox_relay_wake(g->act->relay);
        gate_set(g, &g->asked, 1);
    }
}

static int act_open_gate(struct fixture *fx, struct act *a, struct gate *g, int with_cancel)
{
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .flags = OUTBOX_PUBLISHER_IN_ORDER,
                                .name = "gate", .publish = gate_publish, .cancel = with_cancel ? gate_cancel : NULL};
    outbox_publisher *publisher = NULL;

    *g = (struct gate){.act = a};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    return act_open(fx, a, FINE, 0) && OK(outbox_publisher_new(&ops, g, &publisher, &fx->err)) &&
           act_swap(fx, a, publisher);
}

/* A cancel that takes its time keeps nobody else up, and may ask the relay what it likes. */
static void test_slow_cancel(struct fixture *fx)
{
    struct act a;
    struct gate g;
    int done;

    fixture_set(fx, "relay.workers", "2");
    fixture_set(fx, "relay.lease", "10s");
    fixture_set(fx, "relay.publish_timeout", "50ms");
    REQUIRE(act_open_gate(fx, &a, &g, 1), "no relay");
    g.open = g.hangs = g.cancel_waits = 1;
    send_words(fx, "t", NULL, "poison");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(gate_get(&g, &g.cancels) == 1, done);
    CHECK(done, "not cancelled");
    gate_set(&g, &g.hangs, 0);
    REQUIRE(send_numbered(fx, "t", 20, 40), "not sent");
    WAIT_FOR(gate_get(&g, &g.sent) > 0, done);
    CHECK(done, "a cancel that waits stops the whole relay");
    gate_set(&g, &g.cancel_waits, 0);
    WAIT_FOR(gate_get(&g, &g.asked) && stats_of(&a).published == 41, done);
    CHECK(done, "%d published", (int)stats_of(&a).published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(stats_of(&a).fenced, 0);
    act_close(fx, &a);
}

/* A publish() that does not return keeps its lane only as long as the lease lasts: another relay takes it over. */
static void test_never_returns(struct fixture *fx)
{
    struct act a, b;
    struct gate g;
    int done;

    REQUIRE(one_lane(fx), "no outbox");
    fixture_set(fx, "relay.lease", "1s");
    fixture_set(fx, "relay.publish_timeout", "50ms");
    REQUIRE(act_open_gate(fx, &a, &g, 0) && act_open(fx, &b, FINE, 0), "no relay");
    send_words(fx, "t", "k", "1 2 3");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(gate_get(&g, &g.inside) == 1, done);
    CHECK(done, "the publisher was not called");
    OK(outbox_relay_start(b.relay, &fx->err));
    WAIT_FOR(script_get(&b.script, &b.script.published) == 3, done);
    CHECK(done, "%d of 3 published by the other relay", script_get(&b.script, &b.script.published));
    WAIT_FOR(script_get(&a.script, &a.script.stuck) == 1, done);
    CHECK(done, "it is not told");
    CHECK_STR(seen_words(&b.script.seen), "1 2 3");
    gate_set(&g, &g.open, 1);
    WAIT_FOR(stats_of(&a).fenced == 1, done);
    CHECK(done, "it was not fenced");
    CHECK_INT(stats_of(&a).published, 0);
    act_close(fx, &b);
    act_close(fx, &a);
}

/* A lane whose row somebody has locked costs other lanes no lease, and publishers are cancelled all the same. */
static void test_locked_lane(struct fixture *fx)
{
    struct act a;
    struct gate g;
    struct db other;
    int64_t lease;
    int done;

    if (!target_is_postgresql(fx->target)) {
        tap_skip("SQLite has one writer: rows are not locked");
        return;
    }
    fixture_set(fx, "schema.lanes", "2");
    fixture_set(fx, "relay.workers", "2");
    fixture_set(fx, "relay.lease", "1s");
    fixture_set(fx, "relay.publish_timeout", "1d");
    REQUIRE(fixture_migrate(fx) == 0 && act_open_gate(fx, &a, &g, 1), "no relay");
    g.cancel_opens = 2;
    REQUIRE(send_numbered(fx, "t", 20, 40) && db_open(&other, fx->dsn, 0) == 0, "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(gate_get(&g, &g.inside) == 2, done);
    CHECK(done, "%d at work", g.inside);
    CHECK_INT(db_exec(&other, "UPDATE %slanes SET lane = lane WHERE lane = 0", fx->prefix), 0);
    lease = db_int(&fx->db, "SELECT lease_until FROM %slanes WHERE lane = 1", fx->prefix);
    WAIT_FOR(db_int(&fx->db, "SELECT lease_until FROM %slanes WHERE lane = 1", fx->prefix) >= lease + 2 * SECOND_US, done);
    CHECK(done, "the lease is not renewed");
    outbox_relay_hurry(a.relay);
    WAIT_FOR(gate_get(&g, &g.cancels) == 2, done);
    CHECK(done, "%d cancelled", g.cancels);
    gate_set(&g, &g.open, 1);
    CHECK_INT(db_rollback(&other), 0);
    OK(outbox_relay_join(a.relay, &fx->err));
    db_close(&other);
    act_close(fx, &a);
}

/* ---- A publisher that owes answers ---- */

enum { OWED_MAX = 1000 };

/* Keeps what it gets, until it is told to answer. Guarded by lock. */
struct debtor {
    pthread_mutex_t lock;
    outbox_delivery *owed[OWED_MAX];
    int count, most, calls, honest;
};

static int debtor_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct debtor *b = self;

    (void)err;
    pthread_mutex_lock(&b->lock);
    b->calls++;
    for (size_t i = 0; i < outbox_delivery_count(d) && b->honest; i++)
        outbox_delivery_answer(d, i, OUTBOX_PUBLISHED, -1, NULL);
    if (!b->honest && b->count < OWED_MAX)
        b->owed[b->count++] = d;
    b->most = b->count > b->most ? b->count : b->most;
    pthread_mutex_unlock(&b->lock);
    return OUTBOX_OK;
}

/* Answers all that it owes; returns how many deliveries that were. */
static int debtor_pay(struct debtor *b)
{
    int count;

    pthread_mutex_lock(&b->lock);
    count = b->count;
    for (int i = 0; i < count; i++) {
        size_t n = outbox_delivery_count(b->owed[i]);

        for (size_t k = 0; k < n; k++)
            outbox_delivery_answer(b->owed[i], k, OUTBOX_UNKNOWN, -1, "at last");
    }
    b->count = 0;
    pthread_mutex_unlock(&b->lock);
    return count;
}

static int debtor_get(struct debtor *b, const int *field)
{
    int value;

    pthread_mutex_lock(&b->lock);
    value = *field;
    pthread_mutex_unlock(&b->lock);
    return value;
}

/* What was given up is kept until it is answered, and is no more than a bounded number of deliveries. */
static void test_debtor(struct fixture *fx)
{
    outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .name = "debtor",
                                .publish = debtor_publish};
    outbox_publisher *publisher = NULL;
    struct debtor *b = calloc(1, sizeof *b);
    struct act a;
    int done;

    REQUIRE(b != NULL && one_lane(fx), "no outbox");
    pthread_mutex_init(&b->lock, NULL);
    fixture_set(fx, "relay.workers", "4");
    fixture_set(fx, "relay.batch_size", "1");
    fixture_set(fx, "relay.publish_timeout", "1ms");
    fixture_set(fx, "retry.max_attempts", "1000000");
    fixture_set(fx, "breaker.threshold", "0");
    REQUIRE(act_open(fx, &a, FINE, 0) && OK(outbox_publisher_new(&ops, b, &publisher, &fx->err)) &&
            act_swap(fx, &a, publisher) && send_numbered(fx, "t", 50, 50), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    for (int round = 1; round <= 3; round++) {
        WAIT_FOR(script_get(&a.script, &a.script.silent) == round, done);
        CHECK(done, "round %d: it goes on with %d unanswered", round, debtor_get(b, &b->count));
        CHECK(debtor_pay(b) >= 64, "too few");
    }
    CHECK(debtor_get(b, &b->most) <= 64 + 3, "%d were unanswered", debtor_get(b, &b->most));
    CHECK(debtor_get(b, &b->calls) >= 3 * 64, "%d calls", debtor_get(b, &b->calls));
    pthread_mutex_lock(&b->lock);
    b->honest = 1;
    pthread_mutex_unlock(&b->lock);
    debtor_pay(b);
    WAIT_FOR(stats_of(&a).published == 50, done);
    CHECK(done, "%d published", (int)stats_of(&a).published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(stats_of(&a).dead, 0);
    act_close(fx, &a);
    free(b);
}

void suite_hang(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"broker: one message hangs it", test_hang, 1},
        {"broker: an answer that comes too late", test_too_late, 0},
        {"broker: answers twice", test_twice, 0},
        {"broker: hangs while the relay stops", test_hang_stop, 0},
        {"broker: a cancel that takes its time", test_slow_cancel, 0},
        {"broker: does not return", test_never_returns, 1},
        {"broker: while a lane is locked", test_locked_lane, 1},
        {"broker: owes answers", test_debtor, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
