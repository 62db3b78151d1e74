/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Order per key: what a failing message holds back, and what it does not; redrive, discard, schedule. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* Answers the first message of a key in the first batch that has one; everything else there stays without a verdict. */
void answer_head(struct fixture *fx, outbox_consumer *consumer, outbox_verdict verdict)
{
    outbox_batch *batch = NULL;

    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_answer(batch, 0, verdict, HOUR_MS, "planted"), OUTBOX_OK);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
}

/* Drains and compares what came of key k. */
void drained_of(struct fixture *fx, outbox_consumer *consumer, const char *key, const char *words)
{
    struct seen seen = {0};

    CHECK(drain(fx, consumer, &seen) >= 0, "not drained");
    CHECK_STR(seen_words_of(&seen, key), words);
    seen_clear(&seen);
}

static int single_lane(struct fixture *fx)
{
    fixture_set(fx, "schema.lanes", "1");
    return fixture_migrate(fx) == 0;
}

static void test_followers(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};

    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_words(fx, "t", "k", "4 5");
    send_words(fx, "t", "other", "o1 o2");
    send_words(fx, "t", NULL, "n1 n2");
    send_words(fx, "u", "k", "u1 u2");
    CHECK_INT(drain(fx, consumer, &seen), 6);
    CHECK_STR(seen_words_of(&seen, "other"), "o1 o2");
    CHECK_STR(seen_words_of(&seen, "k"), "u1 u2");
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 4);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 0);
    send_words(fx, "t", "k", "6");
    make_due(fx);
    drained_of(fx, consumer, "k", "1 2 3 4 5 6");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* The head fails again and again while followers of several batches pile up. */
static void test_followers_many(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};
    int wrong = 0;

    fixture_set(fx, "relay.batch_size", "10");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_numbered(fx, "t", 1, 95);
    for (int i = 0; i < 5; i++) {
        answer_head(fx, consumer, OUTBOX_RETRY);
        CHECK_INT(drain(fx, consumer, NULL), 0);
        send_numbered(fx, "t", 1, 5);
        make_due(fx);
    }
    CHECK_INT(drain(fx, consumer, &seen), 120);
    for (size_t i = 1; i < seen.count; i++)
        wrong += seen.items[i].seq <= seen.items[i - 1].seq;
    CHECK_INT(wrong, 0);
    seen_clear(&seen);
}

/* A follower fails in its turn, after the head went through. */
static void test_follower_fails(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;

    send_words(fx, "t", "k", "1 2 3 4");
    answer_head(fx, consumer, OUTBOX_RETRY);
    make_due(fx);
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_STR((const char *)outbox_record_payload(outbox_batch_message(batch, 0), NULL), "1");
    outbox_batch_answer(batch, 0, OUTBOX_PUBLISHED, -1, NULL);
    if (outbox_batch_count(batch) > 1)
        outbox_batch_answer(batch, 1, OUTBOX_RETRY, HOUR_MS, "planted");
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    send_words(fx, "t", "k", "5");
    if (count_state(fx, OUTBOX_RETRYING) == 0)
        answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    make_due(fx);
    drained_of(fx, consumer, "k", "2 3 4 5");
}

/* Others go on while a lane is full of followers. */
static void test_head_of_line(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};

    fixture_set(fx, "relay.batch_size", "10");
    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_text(fx, "t", "blocked", "head");
    answer_head(fx, consumer, OUTBOX_RETRY);
    for (int i = 0; i < 200; i++)
        REQUIRE(send_text(fx, "t", "blocked", "f"), "not sent");
    send_words(fx, "t", "free", "1 2 3");
    CHECK_INT(drain(fx, consumer, &seen), 3);
    CHECK_STR(seen_words(&seen), "1 2 3");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 200);
    seen_clear(&seen);
}

/* ---- Dead heads ---- */

static void test_dead_blocks(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    int64_t count = 0;

    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_REJECT);
    send_words(fx, "t", "k", "4");
    CHECK_INT(drain(fx, consumer, NULL), 0);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    OK(outbox_redrive(fx->conn, NULL, &count, &fx->err));
    CHECK_INT(count, 1);
    drained_of(fx, consumer, "k", "1 2 3 4");
    CHECK_INT(count_waiting(fx), 0);
    EXPECT(outbox_redrive(fx->conn, NULL, &count, &fx->err), OUTBOX_NONE);
}

static void test_dead_continues(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_REJECT);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "2 3 4");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_waiting(fx), 1);
    OK(outbox_redrive(fx->conn, NULL, NULL, &fx->err));
    drained_of(fx, consumer, "k", "1");
    CHECK_INT(count_waiting(fx), 0);
}

/* A head that waited, with followers held, and then dies: with "continue" they must not stay held. */
static void test_dead_late(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering.dead", "continue");
    fixture_set(fx, "retry.max_attempts", "2");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_words(fx, "t", "k", "4");
    CHECK_INT(drain(fx, consumer, NULL), 0);
    make_due(fx);
    answer_head(fx, consumer, OUTBOX_RETRY);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    drained_of(fx, consumer, "k", "2 3 4");
    CHECK_INT(count_waiting(fx), 1);
}

static void test_discard_releases(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter filter = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    send_words(fx, "t", "k", "1 2 3");
    send_words(fx, "u", "k", "u1 u2");
    answer_head(fx, consumer, OUTBOX_REJECT);
    drain(fx, consumer, NULL);
    EXPECT(outbox_discard(fx->conn, NULL, NULL, &fx->err), OUTBOX_ERR_INVALID);
    EXPECT(outbox_discard(fx->conn, &filter, NULL, &fx->err), OUTBOX_ERR_INVALID);
    filter.topic = "nothing of that";
    EXPECT(outbox_discard(fx->conn, &filter, &count, &fx->err), OUTBOX_NONE);
    filter.topic = "t";
    filter.partition_key = "k";
    OK(outbox_discard(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, 1);
    drained_of(fx, consumer, "k", "2 3");
    CHECK_INT(count_waiting(fx), 0);
}

/* Two of a key are dead ("continue"); redriven together they go in their order, before later ones. */
static void test_redrive_order(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_filter filter = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    for (int i = 0; i < 3; i++)
        answer_head(fx, consumer, OUTBOX_REJECT);
    send_words(fx, "other", "k", "o1");
    answer_head(fx, consumer, OUTBOX_REJECT);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 4);
    send_words(fx, "t", "k", "4 5");
    filter.topic = "t";
    OK(outbox_redrive(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, 3);
    drained_of(fx, consumer, "k", "1 2 3 4 5");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
}

/* Redrive starts the count again, and a limit bounds it to the oldest. */
static void test_redrive_attempts(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_filter filter = OUTBOX_FILTER_INIT;
    struct seen seen = {0};
    int64_t count = 0;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", NULL, "1 2 3");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 3);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 3);
    filter.limit = 2;
    OK(outbox_redrive(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, 2);
    CHECK_INT(drain(fx, consumer, &seen), 2);
    CHECK_STR(seen_words(&seen), "1 2");
    CHECK_INT(seen.count ? seen.items[0].attempts : -1, 0);
    seen_clear(&seen);
}

/* ---- Without order ---- */

static void test_ordering_none(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "ordering", "none");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "2 3 4");
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(count_waiting(fx), 1);
    make_due(fx);
    drained_of(fx, consumer, "k", "1");
    CHECK_INT(count_waiting(fx), 0);
}

/* Messages without a key hold nothing back. */
static void test_keyless(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", NULL, "1 2 3");
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_words(fx, "t", NULL, "4");
    drained_of(fx, consumer, NULL, "2 3 4");
    CHECK_INT(count_waiting(fx), 1);
}

/* ---- Scheduled ---- */

void send_later(struct fixture *fx, const char *key, const char *word, int64_t delay_ms, int64_t at)
{
    outbox_message m = text_message("t", key, word);

    m.delay_ms = delay_ms;
    m.available_at = at;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
}

/* One that waits for its time holds nothing back, and takes its place in its key's order when it is due. */
static void test_scheduled(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_words(fx, "t", "k", "1");
    send_later(fx, "k", "2", HOUR_MS, 0);
    send_later(fx, "k", "3", 0, INT64_C(4000000000000000));
    send_later(fx, NULL, "n", HOUR_MS, 0);
    send_words(fx, "t", "k", "4");
    drained_of(fx, consumer, "k", "1 4");
    CHECK_INT(count_state(fx, OUTBOX_SCHEDULED), 3);
    CHECK_INT(count_waiting(fx), 3);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    send_words(fx, "t", "k", "5");
    make_due(fx);
    drained_of(fx, consumer, "k", "2 3 5");
    CHECK_INT(count_waiting(fx), 0);
}

/* A time in the past is now. */
static void test_scheduled_past(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_later(fx, "k", "1", 0, 1);
    send_words(fx, "t", "k", "2");
    drained_of(fx, consumer, "k", "1 2");
}

/* In real time, by the database's clock. */
static void test_scheduled_due(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    long got = 0;
    int came;

    send_later(fx, "k", "1", 300, 0);
    CHECK_INT(count_waiting(fx), 1);
    WAIT_FOR((got = drain(fx, consumer, NULL)) != 0, came);
    CHECK(came && got == 1, "%ld came", got);
    CHECK_INT(count_waiting(fx), 0);
}

/* A due one that fails holds its key back like any other. */
static void test_scheduled_fails(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_later(fx, "k", "1", HOUR_MS, 0);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    make_due(fx);
    answer_head(fx, consumer, OUTBOX_RETRY);
    send_words(fx, "t", "k", "2");
    CHECK_INT(drain(fx, consumer, NULL), 0);
    make_due(fx);
    drained_of(fx, consumer, "k", "1 2");
}

/* The setting is changed by a restart: a consumer with another one. */
static void test_dead_switched(struct fixture *fx)
{
    outbox_consumer *blocking = NULL, *going = NULL;

    REQUIRE(single_lane(fx) && (blocking = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", "k", "1 2 3");
    answer_head(fx, blocking, OUTBOX_REJECT);
    send_words(fx, "t", "k", "4");
    send_words(fx, "t", "j", "j1");
    answer_head(fx, blocking, OUTBOX_REJECT);
    drained_of(fx, blocking, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 3);
    send_words(fx, "t", "k", "5");
    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((going = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    drained_of(fx, going, "k", "2 3 4 5");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 2);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 0);
    /* And back: one in retry behind the dead one is held, and all of it goes in order once that is redriven. */
    send_words(fx, "t", "k", "6 7");
    answer_head(fx, going, OUTBOX_RETRY);
    fixture_set(fx, "ordering.dead", "block");
    REQUIRE((blocking = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    make_due(fx);
    send_words(fx, "t", "k", "8");
    drained_of(fx, blocking, "k", "");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 3);
    OK(outbox_redrive(fx->conn, &(outbox_filter){.size = sizeof(outbox_filter), .partition_key = "k"}, NULL, &fx->err));
    drained_of(fx, blocking, "k", "1 6 7 8");
    CHECK_INT(count_waiting(fx), 1);
}

/* More keys than are looked for at once, on several lanes. */
static void test_dead_switched_many(struct fixture *fx)
{
    enum { MANY = 1300 };
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "schema.lanes", "3");
    REQUIRE(fixture_migrate(fx) == 0 && send_numbered(fx, "t", MANY, 2 * MANY), "not sent");
    fixture_set(fx, "relay.batch_size", "5000");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (int lanes = 0; lanes < 3; lanes++)
        settle_one(fx, consumer, OUTBOX_REJECT, NULL);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 4, available_at = NULL WHERE seq > %d", fx->prefix, MANY), 0);
    CHECK_INT(count_state(fx, OUTBOX_HELD), MANY);
    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    CHECK_INT(count_state(fx, OUTBOX_HELD), 0);
    CHECK_INT(drain(fx, consumer, NULL), MANY);
}

/* More of them in one lane than are looked at together, and a limit that is none of the pages'. */
static void test_redrive_many(struct fixture *fx)
{
    enum { MANY = 9000, LIMIT = 4500 };
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_consumer *consumer = NULL;
    int64_t count = 0;

    fixture_set(fx, "schema.lanes", "2");
    fixture_set(fx, "relay.batch_size", "10000");
    REQUIRE(fixture_migrate(fx) == 0 && send_numbered(fx, "t", MANY, MANY), "not sent");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (int lanes = 0; lanes < 2; lanes++)
        settle_one(fx, consumer, OUTBOX_REJECT, NULL);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), MANY);
    filter.limit = LIMIT;
    OK(outbox_redrive(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, LIMIT);
    CHECK_INT(db_int(&fx->db, "SELECT MAX(seq) FROM %sdeferred WHERE state = 3", fx->prefix), LIMIT);
    filter = (outbox_filter)OUTBOX_FILTER_INIT;
    filter.state = OUTBOX_RETRYING;
    OK(outbox_discard(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, LIMIT);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET lane = 1", fx->prefix), 0);
    OK(outbox_redrive(fx->conn, NULL, &count, &fx->err));
    CHECK_INT(count, MANY - LIMIT);
    CHECK_INT(db_int(&fx->db, "SELECT messages FROM %saudit WHERE done_at = (SELECT MAX(done_at) FROM %saudit)",
                     fx->prefix, fx->prefix), MANY - LIMIT);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
}

void suite_order(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"order: followers of a failing key are held, others pass", test_followers, 1},
        {"order: many followers, many failures", test_followers_many, 0},
        {"order: a follower fails in its turn", test_follower_fails, 0},
        {"order: a blocked key does not block its lane", test_head_of_line, 1},
        {"order: a dead head blocks until redrive", test_dead_blocks, 0},
        {"order: ordering.dead=continue", test_dead_continues, 0},
        {"order: ordering.dead is switched, and back", test_dead_switched, 1},
        {"order: ordering.dead is switched with many keys", test_dead_switched_many, 1},
        {"order: a waiting head dies under ordering.dead=continue", test_dead_late, 0},
        {"order: discard releases followers", test_discard_releases, 0},
        {"order: redrive keeps the order", test_redrive_order, 0},
        {"order: redrive starts attempts again", test_redrive_attempts, 1},
        {"order: redrive of more than a page", test_redrive_many, 1},
        {"order: ordering=none", test_ordering_none, 0},
        {"order: keyless messages", test_keyless, 1},
        {"scheduled: holds nothing back, takes its place when due", test_scheduled, 0},
        {"scheduled: in the past", test_scheduled_past, 0},
        {"scheduled: due by the clock", test_scheduled_due, 0},
        {"scheduled: fails when due", test_scheduled_fails, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
