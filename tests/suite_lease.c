/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases: claim, renew, settle, next, release; fencing; what follows a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch_internal.h"
#include "suite.h"

static outbox_batch *claim(struct fixture *fx, outbox_consumer *consumer)
{
    outbox_batch *batch = NULL;

    return consumer != NULL && OK(outbox_consumer_claim(consumer, &batch, &fx->err)) ? batch : NULL;
}

static void expect_nothing(struct fixture *fx, outbox_consumer *consumer)
{
    outbox_batch *batch = (outbox_batch *)&batch;

    EXPECT(outbox_consumer_claim(consumer, &batch, &fx->err), OUTBOX_NONE);
    CHECK(batch == NULL, "OUTBOX_NONE with a batch");
}

/* An outbox of one lane: everything meets in it. */
static int single_lane(struct fixture *fx)
{
    fixture_set(fx, "schema.lanes", "1");
    return fixture_migrate(fx) == 0;
}

static int64_t lane_column(struct fixture *fx, const char *column, int lane)
{
    return db_int(&fx->db, "SELECT %s FROM %slanes WHERE lane = %d", column, fx->prefix, lane);
}

/* ---- The ordinary course ---- */

static void test_claim(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, NULL);
    outbox_batch *batch;
    int lane = outbox_lane_of_key("k", target_lanes(fx->target));

    REQUIRE(a != NULL && b != NULL, "no consumer");
    CHECK(strncmp(outbox_consumer_owner(a), "a", 1) == 0, "owner %s", outbox_consumer_owner(a));
    CHECK(strcmp(outbox_consumer_owner(b), outbox_consumer_owner(a)) != 0, "owners are the same");
    expect_nothing(fx, a);
    send_words(fx, "t", "k", "1 2 3");
    REQUIRE((batch = claim(fx, a)) != NULL, "no batch");
    CHECK_INT(outbox_batch_count(batch), 3);
    CHECK_INT(outbox_batch_lane(batch), lane);
    CHECK(outbox_batch_token(batch) > 0, "no token");
    CHECK_INT(outbox_batch_suspect(batch), 0);
    CHECK_INT(outbox_record_token(outbox_batch_message(batch, 2)), outbox_batch_token(batch));
    CHECK_INT(outbox_record_lane(outbox_batch_message(batch, 1)), lane);
    CHECK(outbox_batch_message(batch, 3) == NULL, "a message past the end");
    CHECK_INT(outbox_batch_answer(batch, 3, OUTBOX_PUBLISHED, -1, NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_batch_answer(batch, 0, (outbox_verdict)9, -1, NULL), OUTBOX_ERR_INVALID);
    expect_nothing(fx, b);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    expect_nothing(fx, b);
    expect_nothing(fx, a);
    CHECK_INT(count_waiting(fx), 0);
}

/* For how many milliseconds somebody has waited for a row, where the server can tell. */
static int64_t lock_waits(struct fixture *fx)
{
    return !target_is_mariadb(fx->target) ? 0
                                          : db_int(&fx->db, "SELECT CAST(variable_value AS SIGNED) FROM "
                                                   "information_schema.global_status WHERE variable_name = "
                                                   "'INNODB_ROW_LOCK_TIME'");
}

/* The row of a lane with work is locked by somebody: a worker that takes one after the other takes the other, and waits for
 * none when there is none. */
static void test_locked(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch;
    struct db locker;
    int64_t waited = 0;

    if (target_is_sqlite(fx->target)) {
        tap_skip("SQLite locks no rows");
        return;
    }
    fixture_set(fx, "schema.lanes", "2");
    REQUIRE(fixture_migrate(fx) == 0 && send_numbered(fx, "t", 20, 40), "not sent");
    consumer = fixture_consumer(fx, NULL);
    REQUIRE(consumer != NULL && db_open(&locker, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&locker, "UPDATE %slanes SET cleaned = cleaned + 1 WHERE lane = 0", fx->prefix), 0);
    waited = lock_waits(fx);
    if ((batch = claim(fx, consumer)) != NULL) {
        CHECK_INT(outbox_batch_lane(batch), 1);
        expect_nothing(fx, consumer);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    expect_nothing(fx, consumer);
    CHECK_INT(lock_waits(fx), waited);
    CHECK_INT(db_rollback(&locker), 0);
    CHECK(drain(fx, consumer, NULL) > 0, "it is not delivered once it is free");
    CHECK_INT(count_waiting(fx), 0);
    db_close(&locker);
}

static void test_next(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch;
    struct seen seen = {0};

    fixture_set(fx, "relay.batch_size", "2");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3 4 5");
    REQUIRE((batch = claim(fx, consumer)) != NULL, "no batch");
    for (int i = 0; i < 3; i++) {
        CHECK_INT(outbox_batch_count(batch), i < 2 ? 2 : 1);
        seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        EXPECT(outbox_batch_next(batch, &fx->err), i < 2 ? OUTBOX_OK : OUTBOX_NONE);
    }
    outbox_batch_free(batch);
    CHECK_STR(seen_words(&seen), "1 2 3 4 5");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* What arrives while a lane is held is found by next, and by whoever claims after a settle. */
static void test_arrivals(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch;
    struct seen seen = {0};

    send_words(fx, "t", "k", "1");
    REQUIRE((batch = claim(fx, consumer)) != NULL, "no batch");
    send_words(fx, "t", "k", "2 3");
    seen_batch(&seen, batch);
    answer_all(batch, OUTBOX_PUBLISHED);
    EXPECT(outbox_batch_next(batch, &fx->err), OUTBOX_OK);
    seen_batch(&seen, batch);
    send_words(fx, "t", "k", "4");
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(drain(fx, consumer, &seen), 1);
    CHECK_STR(seen_words(&seen), "1 2 3 4");
    seen_clear(&seen);
}

static void test_release(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, "b");
    outbox_batch *batch;
    struct seen seen = {0};
    int64_t token;

    send_words(fx, "t", "k", "1 2 3");
    REQUIRE((batch = claim(fx, a)) != NULL && b != NULL, "no batch");
    token = outbox_batch_token(batch);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
    REQUIRE((batch = claim(fx, b)) != NULL, "nothing after a release");
    CHECK_INT(outbox_batch_suspect(batch), 0);
    CHECK(outbox_batch_token(batch) > token, "the token did not grow");
    seen_batch(&seen, batch);
    CHECK_STR(seen_words(&seen), "1 2 3");
    CHECK_INT(seen.items[0].attempts, 0);
    OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
    seen_clear(&seen);
}

/* A batch that is thrown away keeps its lane until the lease runs out, here in real time. */
static void test_real_lease(struct fixture *fx)
{
    outbox_consumer *a, *b;
    outbox_batch *batch;
    int taken, rc = OUTBOX_NONE;

    fixture_set(fx, "relay.lease", "1s");
    a = fixture_consumer(fx, "a");
    b = fixture_consumer(fx, "b");
    send_words(fx, "t", "k", "1");
    REQUIRE((batch = claim(fx, a)) != NULL && b != NULL, "no batch");
    outbox_batch_free(batch);
    batch = NULL;
    WAIT_FOR((rc = outbox_consumer_claim(b, &batch, &fx->err)) != OUTBOX_NONE, taken);
    CHECK(taken, "the lease did not run out");
    if (OK(rc)) {
        CHECK_INT(outbox_batch_suspect(batch), 1);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
    }
    outbox_batch_free(batch);
}

static void test_renew(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, "b"), *a2 = fixture_consumer(fx, "a");
    outbox_batch *one, *two, *other;
    size_t lanes = 77;

    REQUIRE(a != NULL && b != NULL && a2 != NULL, "no consumer");
    OK(outbox_consumer_renew(a, &lanes, &fx->err));
    CHECK_INT(lanes, 0);
    send_text(fx, "t", "hello", "1");
    send_text(fx, "t", "a", "2");
    send_text(fx, "t", "order-1", "3");
    one = claim(fx, a);
    two = claim(fx, a);
    other = claim(fx, b);
    REQUIRE(one && two && other, "no batch");
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET lease_until = lease_until - 20000000 WHERE owner IS NOT NULL",
                      fx->prefix), 0);
    int64_t before_one = lane_column(fx, "lease_until", outbox_batch_lane(one));
    int64_t before_other = lane_column(fx, "lease_until", outbox_batch_lane(other));
    OK(outbox_consumer_renew(a2, &lanes, &fx->err));
    CHECK_INT(lanes, 2);
    CHECK(lane_column(fx, "lease_until", outbox_batch_lane(one)) > before_one, "not renewed");
    CHECK_INT(lane_column(fx, "lease_until", outbox_batch_lane(other)), before_other);
    OK(outbox_batch_renew(other, &fx->err));
    CHECK(lane_column(fx, "lease_until", outbox_batch_lane(other)) > before_other, "not renewed");
    OK(outbox_batch_release(one, &fx->err));
    OK(outbox_batch_release(two, &fx->err));
    OK(outbox_batch_release(other, &fx->err));
    OK(outbox_consumer_renew(a, &lanes, &fx->err));
    CHECK_INT(lanes, 0);
    outbox_batch_free(one);
    outbox_batch_free(two);
    outbox_batch_free(other);
}

/* ---- Fencing ---- */

enum late { LATE_SETTLE, LATE_NEXT, LATE_RENEW, LATE_RELEASE };

static int late_call(struct fixture *fx, outbox_batch *batch, enum late what)
{
    switch (what) {
    case LATE_SETTLE:
        return outbox_batch_settle(batch, &fx->err);
    case LATE_NEXT:
        return outbox_batch_next(batch, &fx->err);
    case LATE_RENEW:
        return outbox_batch_renew(batch, &fx->err);
    default:
        return outbox_batch_release(batch, &fx->err);
    }
}

/* Leases, and what was set aside, as text to compare. */
static char *table_state(struct fixture *fx)
{
    return db_rows(&fx->db, "SELECT line FROM (SELECT 'l' || lane || ' ' || token AS line FROM %slanes UNION ALL SELECT 'd' "
                   "|| seq || ' ' || state || ' ' || attempts FROM %sdeferred UNION ALL SELECT 'm' || seq FROM %smessages) "
                   "AS everything ORDER BY line", fx->prefix, fx->prefix, fx->prefix);
}

/* Whatever the old holder calls, and whatever it found out, changes nothing. */
static void fence(struct fixture *fx, outbox_consumer *a, outbox_consumer *b, enum late what, outbox_verdict verdict)
{
    outbox_batch *old, *taken = NULL;
    char *before, *after;

    send_words(fx, "t", "k", "1 2");
    REQUIRE((old = claim(fx, a)) != NULL, "no batch");
    answer_all(old, verdict);
    expire_leases(fx);
    if ((taken = claim(fx, b)) != NULL) {
        CHECK(outbox_batch_token(taken) > outbox_batch_token(old), "the token did not grow");
        before = table_state(fx);
        EXPECT(late_call(fx, old, what), OUTBOX_ERR_FENCED);
        after = table_state(fx);
        CHECK_STR(after, before);
        CHECK_INT(count_waiting(fx), 2);
        CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
        free(before);
        free(after);
        answer_all(taken, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(taken, &fx->err));
    }
    outbox_batch_free(old);
    outbox_batch_free(taken);
    CHECK(drain(fx, b, NULL) >= 0, "not drained");
    CHECK_INT(count_waiting(fx), 0);
}

static void test_fencing(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, "b");

    REQUIRE(a != NULL && b != NULL, "no consumer");
    fence(fx, a, b, LATE_SETTLE, OUTBOX_PUBLISHED);
    fence(fx, a, b, LATE_SETTLE, OUTBOX_RETRY);
    fence(fx, a, b, LATE_SETTLE, OUTBOX_REJECT);
    fence(fx, a, b, LATE_NEXT, OUTBOX_PUBLISHED);
    fence(fx, a, b, LATE_NEXT, OUTBOX_RETRY);
    fence(fx, a, b, LATE_RENEW, OUTBOX_PUBLISHED);
    fence(fx, a, b, LATE_RELEASE, OUTBOX_PUBLISHED);
}

/* The same after the new holder has finished, and when the old one bears the same name. */
static void test_fenced_after(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "same"), *b = fixture_consumer(fx, "same");
    outbox_batch *old;

    send_words(fx, "t", "k", "1 2");
    REQUIRE((old = claim(fx, a)) != NULL && b != NULL, "no batch");
    answer_all(old, OUTBOX_RETRY);
    expire_leases(fx);
    CHECK_INT(drain(fx, b, NULL), 2);
    EXPECT(outbox_batch_settle(old, &fx->err), OUTBOX_ERR_FENCED);
    CHECK_INT(count_waiting(fx), 0);
    outbox_batch_free(old);
    send_words(fx, "t", "k", "3");
    CHECK_INT(drain(fx, a, NULL), 1);
}

/* ---- After a crash ---- */

static void test_suspect(struct fixture *fx)
{
    outbox_consumer *a, *b;
    outbox_batch *batch;
    struct seen seen = {0};
    int singles = 0;

    REQUIRE(single_lane(fx), "no outbox");
    fixture_set(fx, "relay.batch_size", "3");
    a = fixture_consumer(fx, "a");
    b = fixture_consumer(fx, "b");
    send_words(fx, "t", "k", "1 2 3 4 5 6 7");
    REQUIRE((batch = claim(fx, a)) != NULL && b != NULL, "no batch");
    outbox_batch_free(batch);
    expire_leases(fx);
    while (outbox_consumer_claim(b, &batch, &fx->err) == OUTBOX_OK) {
        if (outbox_batch_suspect(batch)) {
            CHECK_INT(outbox_batch_count(batch), 1);
            singles++;
        }
        seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK_STR(seen_words(&seen), "1 2 3 4 5 6 7");
    CHECK_INT(singles, 3);
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* One crash of a publisher; returns 0 when nothing was left. */
static int crash_or_publish(struct fixture *fx, outbox_consumer *consumer, struct seen *published)
{
    outbox_batch *batch = NULL;
    int crashed = 0;

    if (outbox_consumer_claim(consumer, &batch, &fx->err) != OUTBOX_OK)
        return 0;
    for (size_t i = 0; i < outbox_batch_count(batch) && !crashed; i++) {
        struct seen one = {0};

        seen_add(&one, outbox_batch_message(batch, i));
        crashed = strcmp(one.items[0].text, "poison") == 0;
        seen_clear(&one);
    }
    if (!crashed) {
        seen_batch(published, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
    }
    outbox_batch_free(batch);
    if (crashed)
        expire_leases(fx);
    return 1;
}

static void test_poison(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen published = {0};
    int rounds = 0;

    REQUIRE(single_lane(fx), "no outbox");
    fixture_set(fx, "retry.max_attempts", "3");
    REQUIRE((consumer = fixture_consumer(fx, "a")) != NULL, "no consumer");
    send_words(fx, "t", NULL, "1 2 poison 3 4");
    do {
        make_due(fx);
        rounds++;
    } while (crash_or_publish(fx, consumer, &published) && rounds < 40);
    CHECK(rounds < 40, "still not done after %d rounds", rounds);
    CHECK_STR(seen_words(&published), "1 2 3 4");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_waiting(fx), 1);
    CHECK_INT(db_int(&fx->db, "SELECT attempts FROM %sdeferred WHERE state = 5", fx->prefix), 3);
    /* And the lane is as good as any other again. */
    send_words(fx, "t", NULL, "5 6");
    CHECK_INT(drain(fx, consumer, NULL), 2);
    send_words(fx, "t", NULL, "7 8");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL), 2);
    seen_clear(&published);
}

/* The attempt of a suspect is on record while it is in hand. */
static void test_suspect_recorded(struct fixture *fx)
{
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, "b");
    outbox_batch *batch;

    send_words(fx, "t", "k", "1");
    REQUIRE((batch = claim(fx, a)) != NULL && b != NULL, "no batch");
    outbox_batch_free(batch);
    expire_leases(fx);
    REQUIRE((batch = claim(fx, b)) != NULL, "no batch");
    CHECK_INT(outbox_batch_suspect(batch), 1);
    CHECK_INT(db_int(&fx->db, "SELECT attempts FROM %sdeferred", fx->prefix), 1);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(count_waiting(fx), 0);
}

/* ---- What changed between the claim and the read ---- */

/* Whoever claims, and stands still before it reads, sees what was deferred meanwhile: a key's order holds. */
static void test_paused(struct fixture *fx)
{
    outbox_consumer *a = NULL, *b = NULL;
    outbox_batch *batch;
    struct seen seen = {0};

    fixture_set(fx, "relay.batch_size", "1");
    REQUIRE((a = fixture_consumer(fx, "a")) != NULL && (b = fixture_consumer(fx, "b")) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2");
    MUST(outbox_consumer__lease(a, &batch, &fx->err));
    expire_leases(fx);
    CHECK_INT(settle_one(fx, b, OUTBOX_RETRY, NULL), 1);
    if (outbox_batch__read(batch, NULL) == OUTBOX_OK)
        seen_batch(&seen, batch);
    CHECK(strncmp(seen_words(&seen), "2", 1) != 0, "2 is sent before 1, which waits for its retry");
    outbox_batch_free(batch);
    seen_clear(&seen);
}

/* ---- Bounds ---- */

static void test_batch_size(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch;
    struct seen seen = {0};
    long batches = 0;

    REQUIRE(single_lane(fx), "no outbox");
    fixture_set(fx, "relay.batch_size", "7");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 5, 50), "not sent");
    while (outbox_consumer_claim(consumer, &batch, &fx->err) == OUTBOX_OK) {
        CHECK(outbox_batch_count(batch) <= 7, "a batch of %zu", outbox_batch_count(batch));
        batches++;
        seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK_INT(batches, 8);
    CHECK_INT(seen.count, 50);
    for (size_t i = 0; i < seen.count; i++)
        CHECK_INT(atoi(seen.items[i].text), i + 1);
    seen_clear(&seen);
}

/* A batch ends with the message that reaches the bytes. */
static void check_bytes(const outbox_batch *batch, size_t most, size_t *messages)
{
    size_t sum = 0, size = 0;

    for (size_t i = 0; i < outbox_batch_count(batch); i++) {
        CHECK(sum < most, "%zu bytes before message %zu of a batch", sum, i);
        outbox_record_payload(outbox_batch_message(batch, i), &size);
        sum += size;
    }
    *messages += outbox_batch_count(batch);
}

static void test_batch_bytes(struct fixture *fx)
{
    static const size_t sizes[] = {400000, 400000, 400000, 3000000, 10, 400000, 700000, 700000, 1048576, 1, 1, 1};
    outbox_consumer *consumer = NULL;
    outbox_message m[COUNT_OF(sizes)];
    outbox_batch *batch;
    char *bytes = calloc(1, 3000000);
    size_t messages = 0;

    fixture_set(fx, "relay.batch_bytes", "1MiB");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && bytes != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        m[i] = text_message("t", "k", "");
        m[i].payload = bytes;
        m[i].payload_size = sizes[i];
    }
    OK(outbox_enqueue(fx->conn, m, COUNT_OF(m), NULL, &fx->err));
    while (outbox_consumer_claim(consumer, &batch, &fx->err) == OUTBOX_OK) {
        check_bytes(batch, 1 << 20, &messages);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK_INT(messages, COUNT_OF(m));
    CHECK_INT(count_waiting(fx), 0);
    free(bytes);
}

/* Headers are bytes, too: of new messages, of deferred ones that are due, and of those behind them. */
static void test_batch_header_bytes(struct fixture *fx)
{
    enum { SIZE = 400000, MESSAGES = 9 };
    outbox_consumer *consumer = NULL;
    outbox_message m[MESSAGES];
    outbox_batch *batch;
    char *text = malloc(SIZE + 1);
    outbox_header header = {"h", text};
    size_t fates[] = {0, 0, 0};

    fixture_set(fx, "relay.batch_bytes", "1MiB");
    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL && text != NULL, "no consumer");
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        m[i] = text_message("t", i < 5 ? "k" : NULL, "x");
        m[i].headers = &header;
        m[i].header_count = 1;
    }
    OK(outbox_enqueue(fx->conn, m, COUNT_OF(m), NULL, &fx->err));
    for (size_t round = 0; round < COUNT_OF(fates); round++) {
        while (outbox_consumer_claim(consumer, &batch, &fx->err) == OUTBOX_OK) {
            fates[round] += outbox_batch_count(batch);
            CHECK(outbox_batch_count(batch) <= 3, "%zu messages of 400 kB in a batch", outbox_batch_count(batch));
            for (size_t i = 0; i < outbox_batch_count(batch); i++)
                outbox_batch_answer(batch, i, round == 0 ? OUTBOX_RETRY : OUTBOX_PUBLISHED, 3600000, "x");
            OK(outbox_batch_settle(batch, &fx->err));
            outbox_batch_free(batch);
        }
        CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET available_at = 0 WHERE available_at > 0", fx->prefix), 0);
    }
    CHECK(fates[0] > 0 && fates[1] > 0, "%zu and %zu messages were claimed", fates[0], fates[1]);
    CHECK_INT(count_waiting(fx), 0);
    free(text);
}

/* Several hands, each with lanes of its own, until nothing is left. */
static void test_lanes_apart(struct fixture *fx)
{
    outbox_consumer *consumers[4];
    outbox_batch *batches[4 * 16];
    size_t held = 0, messages = 0;

    for (size_t i = 0; i < COUNT_OF(consumers); i++)
        REQUIRE((consumers[i] = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    REQUIRE(send_numbered(fx, "t", 200, 400), "not sent");
    for (size_t i = 0; i < COUNT_OF(batches); i++)
        if (outbox_consumer_claim(consumers[i % 4], &batches[held], &fx->err) == OUTBOX_OK)
            held++;
    for (size_t i = 0; i < held; i++) {
        for (size_t k = 0; k < i; k++)
            CHECK(outbox_batch_lane(batches[i]) != outbox_batch_lane(batches[k]), "lane %d is held twice",
                  outbox_batch_lane(batches[i]));
        messages += outbox_batch_count(batches[i]);
    }
    CHECK_INT(messages, 400);
    for (size_t i = 0; i < held; i++) {
        answer_all(batches[i], OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batches[i], &fx->err));
        outbox_batch_free(batches[i]);
    }
    CHECK_INT(count_waiting(fx), 0);
}

/* An idle relay asks often: it must neither wait for an application that writes, nor keep it waiting. */
static void test_idle_claim(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;
    struct db writer = {0};
    int sqlite = target_is_sqlite(fx->target); /* whose ODBC driver begins without the lock */

    REQUIRE(consumer != NULL && db_open(&writer, fx->dsn, sqlite) == 0, "no connection");
    if (sqlite)
        CHECK_INT(db_exec(&writer, "BEGIN IMMEDIATE"), 0);
    CHECK_INT(db_exec(&writer, "UPDATE %smeta SET name = name", fx->prefix), 0);
    CHECK_INT(outbox_consumer_claim(consumer, &batch, &fx->err), OUTBOX_NONE);
    CHECK_INT(sqlite ? db_exec(&writer, "ROLLBACK") : db_rollback(&writer), 0);
    db_close(&writer);
    REQUIRE(send_text(fx, "t", "k", "x"), "not sent");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL), 1);
}

void suite_lease(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"lease: claim and settle", test_claim, 0},
        {"lease: a lane is locked", test_locked, 1},
        {"lease: next keeps the lane", test_next, 0},
        {"lease: arrivals while a lane is held", test_arrivals, 0},
        {"lease: release hands over at once", test_release, 0},
        {"lease: runs out by itself", test_real_lease, 0},
        {"lease: renewed by owner and by batch", test_renew, 0},
        {"fencing: late calls change nothing", test_fencing, 0},
        {"fencing: after the lane was let go, under the same name", test_fenced_after, 0},
        {"suspect: one at a time after a crash", test_suspect, 1},
        {"suspect: a poison message dies alone", test_poison, 1},
        {"suspect: the attempt is recorded beforehand", test_suspect_recorded, 0},
        {"claim: paused before it reads", test_paused, 0},
        {"batch: size", test_batch_size, 1},
        {"claim: idle, beside a writer", test_idle_claim, 0},
        {"batch: bytes", test_batch_bytes, 0},
        {"batch: bytes of headers", test_batch_header_bytes, 1},
        {"batch: no lane in two hands", test_lanes_apart, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
