/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Order per key when several of its messages wait for a time of their own or are dead, and much of it waits. */
#include <stdio.h>

#include "batch_internal.h"
#include "suite.h"

static void make_one_due(struct fixture *fx, int seq)
{
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET available_at = 1 WHERE seq = %d", fx->prefix, seq), 0);
}

/* What an administrator's redrive leaves: a head where one was dead or held, due in an hour. */
static void make_head(struct fixture *fx, int seq)
{
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 3, available_at = 4000000000000000 WHERE seq = %d",
                      fx->prefix, seq), 0);
}

/* 1 is scheduled, 2 a head, 3 behind it: 1 comes due first and takes nothing of 2's with it. */
static void scheduled_before(struct fixture *fx, outbox_verdict verdict)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_later(fx, "k", "1", HOUR_MS, 0);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    send_words(fx, "t", "k", "2");
    answer_head(fx, consumer, verdict);
    send_words(fx, "t", "k", "3");
    drained_of(fx, consumer, "k", "");
    make_one_due(fx, 1);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "1");
    send_words(fx, "t", "k", "5");
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 3);
    if (verdict == OUTBOX_REJECT)
        OK(outbox_redrive(fx->conn, NULL, NULL, &fx->err));
    make_due(fx);
    drained_of(fx, consumer, "k", "2 3 4 5");
    CHECK_INT(count_waiting(fx), 0);
}

static void test_scheduled_before_retry(struct fixture *fx)
{
    scheduled_before(fx, OUTBOX_RETRY);
}

static void test_scheduled_before_dead(struct fixture *fx)
{
    scheduled_before(fx, OUTBOX_REJECT);
}

/* In one batch 1 fails and 2 dies: 3 is behind both. */
static void test_dead_behind_retry(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_words(fx, "t", "k", "1 2 3");
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET headers = 'no JSON' WHERE seq = 2", fx->prefix), 0);
    answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 1);
    make_due(fx);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "1");
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 2);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET headers = NULL WHERE seq = 2", fx->prefix), 0);
    OK(outbox_redrive(fx->conn, NULL, NULL, &fx->err));
    drained_of(fx, consumer, "k", "2 3 4");
}

/* 1 is dead and did not block; redriven, it goes before the others, and 3 goes on waiting for 2. */
static void test_redrive_before_retry(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_REJECT);
    answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 1);
    OK(outbox_redrive(fx->conn, NULL, NULL, &fx->err));
    drained_of(fx, consumer, "k", "1");
    make_due(fx);
    drained_of(fx, consumer, "k", "2 3");
    CHECK_INT(count_waiting(fx), 0);
}

/* Two dead ones, redriven at a rate: what comes meanwhile is behind the second, too. */
static void test_redrive_rate_order(struct fixture *fx)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2");
    answer_head(fx, consumer, OUTBOX_REJECT);
    answer_head(fx, consumer, OUTBOX_REJECT);
    filter.rate = 1;
    OK(outbox_redrive(fx->conn, &filter, NULL, &fx->err));
    make_head(fx, 2);
    send_words(fx, "t", "k", "3");
    drained_of(fx, consumer, "k", "1");
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 2);
    make_due(fx);
    drained_of(fx, consumer, "k", "2 3 4");
}

/* 1, 3 and 5 are heads, the even ones behind them. */
static outbox_consumer *three_heads(struct fixture *fx, const char *batch_size)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "relay.batch_size", "10");
    if ((consumer = fixture_consumer(fx, NULL)) == NULL)
        return NULL;
    send_words(fx, "t", "k", "1 2 3 4 5 6");
    answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 5);
    make_head(fx, 3);
    make_head(fx, 5);
    fixture_set(fx, "relay.batch_size", batch_size);
    return fixture_consumer(fx, NULL);
}

/* All are due: they go in one order, wherever a batch ends. */
static void test_heads_in_batch(struct fixture *fx)
{
    static const char *const sizes[] = {"100", "6", "5", "4", "3", "2", "1"};

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct fixture own;
        outbox_consumer *consumer = NULL;

        if (fixture_open(&own, fx->target) == 0 && (consumer = three_heads(&own, sizes[i])) != NULL) {
            send_words(&own, "t", "k", "7 8");
            make_due(&own);
            drained_of(&own, consumer, "k", "1 2 3 4 5 6 7 8");
            CHECK_INT(count_waiting(&own), 0);
        }
        fixture_close(&own);
    }
}

/* Each is due alone, in any order: one goes once all before it have gone, and takes no more than its own with it. */
static void test_heads_apart(struct fixture *fx)
{
    outbox_consumer *consumer = three_heads(fx, "100");

    REQUIRE(consumer != NULL, "no consumer");
    send_later(fx, "k", "7", HOUR_MS, 0);
    drained_of(fx, consumer, "k", "");
    make_one_due(fx, 5);
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 4);
    make_one_due(fx, 1);
    make_one_due(fx, 7);
    send_words(fx, "t", "k", "8");
    drained_of(fx, consumer, "k", "1 2");
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    make_due(fx);
    drained_of(fx, consumer, "k", "3 4 5 6 7 8");
    CHECK_INT(count_waiting(fx), 0);
}

/* The first of several heads is discarded: what was behind it goes, and does not wait for a later head. */
static void test_discard_first_head(struct fixture *fx)
{
    outbox_consumer *consumer = three_heads(fx, "100");
    outbox_filter filter = OUTBOX_FILTER_INIT;

    REQUIRE(consumer != NULL, "no consumer");
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 5, available_at = NULL WHERE seq = 1", fx->prefix), 0);
    filter.state = OUTBOX_DEAD;
    OK(outbox_discard(fx->conn, &filter, NULL, &fx->err));
    drained_of(fx, consumer, "k", "2");
    make_due(fx);
    drained_of(fx, consumer, "k", "3 4 5 6");
}

/* Found to stand behind a head that is discarded before the lane is locked to hold it. */
static void test_parked_without_head(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    char sql[200];

    send_words(fx, "t", "k", "1");
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_later(fx, "k", "2", HOUR_MS, 0);
    drained_of(fx, consumer, "k", "");
    make_one_due(fx, 2);
    snprintf(sql, sizeof sql, "DELETE FROM %sdeferred WHERE seq = 1", fx->prefix);
    at_lane_lock(fx, sql);
    drained_of(fx, consumer, "k", "2");
    at_lane_lock(fx, NULL);
    CHECK_INT(count_waiting(fx), 0);
}

/* A head that dies without blocking lets go what is behind it, though a later one waits. */
static void test_dead_before_retry(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = three_heads(fx, "100")) != NULL, "no consumer");
    make_one_due(fx, 1);
    answer_head(fx, consumer, OUTBOX_REJECT);
    drained_of(fx, consumer, "k", "2");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 2);
    /* The same when relays that let dead ones block had left it so. */
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 5, available_at = NULL WHERE seq = 3", fx->prefix), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    drained_of(fx, consumer, "k", "4");
    make_due(fx);
    drained_of(fx, consumer, "k", "5 6");
}

static void discard_one(struct fixture *fx, outbox_conn *admin, outbox_state state)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    filter.state = state;
    filter.limit = 1;
    OK(outbox_discard(admin, &filter, &count, &fx->err));
    CHECK_INT(count, 1);
}

/* The relay lets dead messages pass, and whoever discards does not know: 3 does not wait behind the dead 1. */
static void test_discard_among_passing(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_REJECT);
    answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 1);
    discard_one(fx, fx->conn, OUTBOX_RETRYING);
    drained_of(fx, consumer, "k", "3");
    CHECK_INT(count_waiting(fx), 1);
}

/* The other way round: what is let go behind the dead 2 is held again, and so is what comes after it. */
static void test_discard_among_blocking(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_conn *admin = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((admin = fixture_connect(fx)) != NULL, "no connection");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_REJECT);
    drained_of(fx, consumer, "k", "");
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 5 WHERE seq = 2", fx->prefix), 0);
    discard_one(fx, admin, OUTBOX_DEAD);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 2);
    discard_one(fx, admin, OUTBOX_DEAD);
    drained_of(fx, consumer, "k", "3 4");
    CHECK_INT(count_waiting(fx), 0);
}

/* More waits than a batch holds, behind a message to retry or a dead one: without order all of it goes. */
static void order_ends(struct fixture *fx, outbox_verdict verdict, const char *words)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_words(fx, "t", "k", "1");
    answer_head(fx, consumer, verdict);
    send_words(fx, "t", "k", "2 3 4 5 6 7 8 9");
    drained_of(fx, consumer, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 8);
    make_due(fx);
    fixture_set(fx, "ordering", "none");
    fixture_set(fx, "relay.batch_size", "3");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    drained_of(fx, consumer, "k", words);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 0);
}

static void test_order_ends(struct fixture *fx)
{
    order_ends(fx, OUTBOX_RETRY, "1 2 3 4 5 6 7 8 9");
}

static void test_order_ends_dead(struct fixture *fx)
{
    order_ends(fx, OUTBOX_REJECT, "2 3 4 5 6 7 8 9");
}

/* Once its relay is told to stop, a consumer reads no further, and takes no lane. */
static void test_stopped(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct outbox_signal signal;
    outbox_batch *batch = NULL;

    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "10");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    outbox_signal__init(&signal);
    consumer->signal = &signal;
    send_words(fx, "t", "k", "1");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    outbox_batch_answer(batch, 0, OUTBOX_RETRY, HOUR_MS, "planted");
    for (int i = 0; i < 100; i++)
        REQUIRE(send_text(fx, "t", "k", "f"), "not sent");
    outbox_signal__stop(&signal);
    EXPECT(outbox_batch_next(batch, &fx->err), OUTBOX_NONE);
    outbox_batch_free(batch);
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 100);
    EXPECT(outbox_consumer_claim(consumer, &batch, &fx->err), OUTBOX_NONE);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 100);
    outbox_signal__destroy(&signal);
}

void suite_heads(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"order: a scheduled message before a head", test_scheduled_before_retry, 0},
        {"order: a scheduled message before a dead head", test_scheduled_before_dead, 0},
        {"order: a dead head behind a waiting one", test_dead_behind_retry, 0},
        {"order: a redriven message before a waiting one", test_redrive_before_retry, 0},
        {"order: messages redriven at a rate", test_redrive_rate_order, 0},
        {"order: several heads in a batch", test_heads_in_batch, 0},
        {"order: several heads, due one by one", test_heads_apart, 0},
        {"order: the first of several heads is discarded", test_discard_first_head, 0},
        {"order: what is held when its head goes", test_parked_without_head, 0},
        {"order: the first of several heads dies", test_dead_before_retry, 0},
        {"order: a discard that does not know that dead ones pass", test_discard_among_passing, 0},
        {"order: a discard that does not know that dead ones block", test_discard_among_blocking, 0},
        {"order: it ends behind a message to retry", test_order_ends, 0},
        {"order: it ends behind a dead message", test_order_ends_dead, 0},
        {"order: a stop in the middle of what is held", test_stopped, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
