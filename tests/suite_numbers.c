/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of messages that begin again, behind positions where all counts as published: by TRUNCATE with RESTART IDENTITY
 * when nobody runs, under a consumer, under a relay and its cleaner, and while an application's transaction is open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "suite.h"

/* An outbox of so many lanes; NULL when there is nothing to test here. */
static outbox_consumer *begin(struct fixture *fx, const char *lanes)
{
    if (!target_is_postgresql(fx->target) || strcmp(fx->target->settle, "position") != 0) {
        tap_skip("no position and sequence that could part");
        return NULL;
    }
    fixture_set(fx, "schema.lanes", lanes);
    return fixture_migrate(fx) == 0 ? fixture_consumer(fx, NULL) : NULL;
}

static void expect(struct fixture *fx, outbox_consumer *consumer, const char *words)
{
    struct seen seen = {0};

    CHECK(drain(fx, consumer, &seen) >= 0, "not drained");
    CHECK_STR(seen_words(&seen), words);
    seen_clear(&seen);
}

static void clean(struct fixture *fx)
{
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
}

/* Delivers and cleans five, then lets the numbers begin again. */
static void restart(struct fixture *fx, outbox_consumer *consumer)
{
    send_words(fx, "t", "k", "1 2 3 4 5");
    expect(fx, consumer, "1 2 3 4 5");
    clean(fx);
    CHECK_INT(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix), 0);
}

static void test_start(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "2");

    if (consumer == NULL)
        return;
    restart(fx, consumer);
    send_words(fx, "t", "k", "6 7 8");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "9");
    expect(fx, consumer, "6 7 8 9");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect(fx, consumer, "");
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sstatus WHERE state <> 'published'", fx->prefix), 0);
}

/* The numbers have passed all positions when somebody looks. */
static void test_passed(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "2");

    if (consumer == NULL)
        return;
    restart(fx, consumer);
    send_words(fx, "t", "k", "a b c d e f g h i j");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect(fx, consumer, "a b c d e f g h i j");
    clean(fx);
    expect(fx, consumer, "");
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

/* A transaction that drew such a number is open while the numbers are set right, and commits after others went. */
static void test_open(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "1");
    outbox_message m = text_message("t", "k", "open");
    outbox_conn *writer = NULL;

    if (consumer == NULL)
        return;
    restart(fx, consumer);
    REQUIRE((writer = fixture_connect(fx)) != NULL && OK(outbox_conn_begin(writer, &fx->err)), "no transaction");
    OK(outbox_enqueue(writer, &m, 1, NULL, &fx->err));
    send_words(fx, "t", "k", "a b");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect(fx, consumer, "a b");
    clean(fx);
    OK(outbox_conn_commit(writer, &fx->err));
    send_words(fx, "t", "k", "c");
    expect(fx, consumer, "open c");
    clean(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

/* Whatever a cleaner takes for settled: a message that is there under a number that had been settled stays. */
static void test_cleaner(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "1");

    if (consumer == NULL)
        return;
    send_words(fx, "t", "k", "1 2 3 4 5");
    expect(fx, consumer, "1 2 3 4 5");
    fixture_set(fx, "clean.retention", "1h");
    clean(fx); /* raises low */
    CHECK_INT(db_int(&fx->db, "SELECT low FROM %slanes WHERE lane = 0", fx->prefix), 5);
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages WHERE seq = 3", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (seq, lane, id, topic, payload) OVERRIDING SYSTEM VALUE "
                               "VALUES (3, 0, gen_random_uuid(), 't', 'x')", fx->prefix), 0);
    fixture_set(fx, "clean.retention", "0");
    clean(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 1);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages WHERE seq = 3", fx->prefix), 1);
}

/* What comes while one consumer lives on: lanes whose position is low move on, and must not pass over the others' messages.
 * A batch that is refused goes again. */
static int drain_on(struct fixture *fx, outbox_consumer *consumer, struct seen *seen)
{
    outbox_batch *batch;
    int rc, refused = 0;

    while ((rc = outbox_consumer_claim(consumer, &batch, &fx->err)) == OUTBOX_OK) {
        seen_batch(seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        rc = outbox_batch_settle(batch, &fx->err);
        outbox_batch_free(batch);
        if (rc == OUTBOX_ERR_FENCED) {
            EXPECT(rc, OUTBOX_ERR_FENCED);
            CHECK_STR(fx->name, "sequence.restarted");
            refused++;
        } else {
            EXPECT(rc, OUTBOX_OK);
        }
    }
    EXPECT(rc, OUTBOX_NONE);
    return refused;
}

/* Each number from 1 to count came, and when it first did, all before it of its key had come. */
static void check_first(const struct seen *seen, int keys, int count)
{
    char *came = calloc((size_t)count + 1, 1);

    REQUIRE(came != NULL, "no memory");
    for (size_t i = 0; i < seen->count; i++) {
        int n = atoi(seen->items[i].text);

        CHECK(n - keys < 1 || came[n] || came[n - keys], "%d came before %d", n, n - keys);
        came[n] = 1;
    }
    for (int n = 1; n <= count; n++)
        CHECK(came[n], "%d was lost", n);
    free(came);
}

static void test_consumer(struct fixture *fx)
{
    static const int counts[] = {5, 40, 41, 60, 300};

    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct fixture own;
        struct seen seen = {0};
        outbox_consumer *consumer = NULL;

        if (fixture_prepare(&own, fx->target) == 0 && (consumer = begin(&own, "8")) != NULL) {
            send_numbered(&own, "t", 16, 40);
            CHECK_INT(drain(&own, consumer, NULL), 40);
            clean(&own);
            CHECK_INT(db_exec(&own.db, "TRUNCATE %smessages RESTART IDENTITY", own.prefix), 0);
            send_numbered(&own, "t", 16, counts[i]);
            clean(&own); /* this looks, too, and so does the next claim where a settling is refused */
            CHECK_INT(db_int(&own.db, "SELECT count(*) FROM %smessages", own.prefix), counts[i]);
            CHECK(drain_on(&own, consumer, &seen) > 0, "nothing was refused");
            check_first(&seen, 16, counts[i]);
            clean(&own);
            CHECK_INT(db_int(&own.db, "SELECT count(*) FROM %smessages", own.prefix), 0);
        }
        seen_clear(&seen);
        fixture_close(&own);
        if (consumer == NULL)
            return;
    }
}

/* Nobody has looked when lanes move on: the statement that settles notices by itself. What was sent until then was sent
 * before what it had passed over; nothing is lost. */
static void test_refused(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "8");
    struct seen seen = {0};

    if (consumer == NULL)
        return;
    send_numbered(fx, "t", 16, 40);
    CHECK_INT(drain(fx, consumer, NULL), 40);
    clean(fx);
    CHECK_INT(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix), 0);
    send_numbered(fx, "t", 16, 100);
    CHECK(drain_on(fx, consumer, &seen) > 0, "nothing was refused");
    check_first(&seen, 100, 100);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sstatus WHERE state <> 'published'", fx->prefix), 0);
    seen_clear(&seen);
}

static int came(struct act *a, const char *word)
{
    int found = 0;

    pthread_mutex_lock(&a->script.lock);
    for (size_t i = 0; i < a->script.seen.count; i++)
        found |= strcmp(a->script.seen.items[i].text, word) == 0;
    pthread_mutex_unlock(&a->script.lock);
    return found;
}

/* A relay goes on by itself, also when there is nothing beyond its positions that it could find. */
static void test_relay(struct fixture *fx)
{
    struct act a;
    int held = 0;

    if (begin(fx, "4") == NULL)
        return;
    fixture_set(fx, "relay.lease", "2s");
    fixture_set(fx, "relay.workers", "2");
    fixture_set(fx, "clean.interval", "50ms");
    if (act_open(fx, &a, FINE, 0) && OK(outbox_relay_start(a.relay, &fx->err))) {
        send_words(fx, "t", "k", "1 2 3 4 5 6 7 8 9");
        WAIT_FOR(came(&a, "9") && count_waiting(fx) == 0, held);
        CHECK(held, "nothing was delivered");
        for (int round = 0; round < 3; round++) {
            char words[40], last[8];

            snprintf(words, sizeof words, "a%d b%d c%d", round, round, round);
            snprintf(last, sizeof last, "c%d", round);
            CHECK_INT(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix), 0);
            send_words(fx, "t", "k", words);
            WAIT_FOR(came(&a, last), held);
            CHECK(held, "what came after the numbers began again was lost: %s", words);
            snprintf(words, sizeof words, "a%d", round);
            CHECK(came(&a, words), "%s was lost", words);
            WAIT_FOR(count_waiting(fx) == 0, held);
            CHECK(held, "something is left");
        }
        outbox_relay_stop(a.relay);
        OK(outbox_relay_join(a.relay, &fx->err));
    }
    act_close(fx, &a);
}

void suite_numbers(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"numbers again: a consumer starts", test_start, 1},
        {"numbers again: beyond all positions before anybody looks", test_passed, 1},
        {"numbers again: an open transaction has such a number", test_open, 1},
        {"numbers again: the cleaner leaves what was not settled", test_cleaner, 1},
        {"numbers again: the cleaner looks, a consumer lives on", test_consumer, 1},
        {"numbers again: nobody looks, a consumer lives on", test_refused, 1},
        {"numbers again: a relay lives on", test_relay, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
