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

/* Delivers and cleans five, then lets the numbers begin again. */
static void restart(struct fixture *fx, outbox_consumer *consumer)
{
    send_words(fx, "t", "k", "1 2 3 4 5");
    expect_drained(fx, consumer, "1 2 3 4 5");
    clean_once(fx);
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
    expect_drained(fx, consumer, "6 7 8 9");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "");
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
    expect_drained(fx, consumer, "a b c d e f g h i j");
    clean_once(fx);
    expect_drained(fx, consumer, "");
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
    expect_drained(fx, consumer, "a b");
    clean_once(fx);
    OK(outbox_conn_commit(writer, &fx->err));
    send_words(fx, "t", "k", "c");
    expect_drained(fx, consumer, "open c");
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

/* Whatever a cleaner takes for settled: a message that is there under a number that had been settled stays. */
static void test_cleaner(struct fixture *fx)
{
    outbox_consumer *consumer = begin(fx, "1");
    int raised;

    if (consumer == NULL)
        return;
    send_words(fx, "t", "k", "1 2 3 4 5");
    expect_drained(fx, consumer, "1 2 3 4 5");
    fixture_set(fx, "clean.retention", "1h");
    /* Raises low, but not before every transaction of that time is over, the server's own as well. */
    WAIT_FOR((clean_once(fx), db_int(&fx->db, "SELECT low FROM %slanes WHERE lane = 0", fx->prefix) == 5), raised);
    CHECK(raised, "low was not raised");
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages WHERE seq = 3", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (seq, lane, id, topic, payload) OVERRIDING SYSTEM VALUE "
                               "VALUES (3, 0, gen_random_uuid(), 't', 'x')", fx->prefix), 0);
    /* Behind a savepoint: its xmin is another xid. */
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages WHERE seq = 4", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN PERFORM pg_current_xact_id(); BEGIN INSERT INTO %smessages (seq, lane, id, topic, "
                      "payload) OVERRIDING SYSTEM VALUE VALUES (4, 0, gen_random_uuid(), 't', 'x'); "
                      "EXCEPTION WHEN division_by_zero THEN NULL; END; END $$", fx->prefix), 0);
    fixture_set(fx, "clean.retention", "0");
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 2);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages WHERE seq IN (3, 4)", fx->prefix), 2);
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
            clean_once(&own);
            CHECK_INT(db_exec(&own.db, "TRUNCATE %smessages RESTART IDENTITY", own.prefix), 0);
            send_numbered(&own, "t", 16, counts[i]);
            clean_once(&own); /* this looks, too, and so does the next claim where a settling is refused */
            CHECK_INT(db_int(&own.db, "SELECT count(*) FROM %smessages", own.prefix), counts[i]);
            CHECK(drain_on(&own, consumer, &seen) > 0, "nothing was refused");
            check_first(&seen, 16, counts[i]);
            clean_once(&own);
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
    clean_once(fx);
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
            /* A relay that looks whether numbers began again has the sequence, and wants the table: a deadlock. */
            fx->db.quiet = 1;
            WAIT_FOR(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix) == 0, held);
            fx->db.quiet = 0;
            CHECK(held, "%s", fx->db.error);
            send_words(fx, "t", "k", words);
            WAIT_FOR(came(&a, last), held);
            CHECK(held, "what came after the numbers began again was lost: %s", words);
            /* Not lost: it may come behind those of its key that had new numbers from the beginning. */
            snprintf(words, sizeof words, "a%d", round);
            WAIT_FOR(came(&a, words), held);
            CHECK(held, "%s was lost", words);
            WAIT_FOR(count_waiting(fx) == 0, held);
            CHECK(held, "something is left");
        }
        outbox_relay_stop(a.relay);
        OK(outbox_relay_join(a.relay, &fx->err));
    }
    act_close(fx, &a);
}

/* ---- A logical replica: all tables, but the sequence begins again, as do the xids ---- */

/* Transaction numbers of the origin: above ours, below ours when compared modulo 2^32 as xmin has them, and in our past. */
static const int64_t origins[] = {5000000000, 3000000000, 20};

/* Makes it one: what is there came from an origin whose positions are far away. One is published and kept, two wait; none
 * in our past, where nothing tells them from ours. */
static void become_replica(struct fixture *fx, int64_t origin)
{
    long long tx = (long long)origin;

    CHECK_INT(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %smeta SET value = 'origin/1' WHERE name = 'system'", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET pos = 100, low = 90, cleaned = 90, snap = '%lld:%lld:', xbound = '%lld'",
                      fx->prefix, tx, tx, tx + 1), 0);
    if (origin > 1000)
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (tx, seq, lane, id, topic, partition_key, payload) OVERRIDING "
                          "SYSTEM VALUE SELECT (%lld - 200 + n)::text::xid8, n, 0, gen_random_uuid(), 't', 'k', "
                          "convert_to('o' || n, 'UTF8') FROM unnest(ARRAY[96, 101, 102]) n", fx->prefix, tx), 0);
}

/* How a producer's rows come about: alone, or behind a savepoint, which has an xid of its own. */
static void produce(struct fixture *fx, const char *words, int savepoint)
{
    char list[200], *word, *rest = NULL;

    if (!savepoint) {
        send_words(fx, "t", "k", words);
        return;
    }
    snprintf(list, sizeof list, "%s", words);
    for (word = strtok_r(list, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN PERFORM pg_current_xact_id(); BEGIN PERFORM %senqueue('t', '%s', 'k'); "
                          "EXCEPTION WHEN division_by_zero THEN NULL; END; END $$", fx->prefix, word), 0);
    }
}

static void check_replica(const struct target *target, int64_t origin, int savepoint, int passed)
{
    const char *words = origin > 1000 ? "o101 o102 a b c" : "a b c";
    struct fixture fx;
    outbox_consumer *consumer;

    tap_note("xids from %lld, %s savepoints", (long long)origin, savepoint ? "with" : "without");
    if (fixture_prepare(&fx, target) == 0 && begin(&fx, "1") != NULL) {
        become_replica(&fx, origin);
        produce(&fx, "a b c", savepoint);
        CHECK_INT(db_int(&fx.db, "SELECT count(*) FROM %smessages WHERE seq < 4", fx.prefix), 3);
        if (passed)
            CHECK_INT(db_exec(&fx.db, "DO $$ BEGIN PERFORM setval('%smessages_seq_seq', 200); END $$", fx.prefix), 0);
        REQUIRE((consumer = fixture_consumer(&fx, NULL)) != NULL, "no consumer");
        expect_drained(&fx, consumer, words);
        CHECK_INT(db_int(&fx.db, "SELECT count(*) FROM %sstatus WHERE state <> 'published'", fx.prefix), 0);
        clean_once(&fx);
        CHECK_INT(db_int(&fx.db, "SELECT count(*) FROM %smessages", fx.prefix), 0);
        send_words(&fx, "t", "k", "last");
        expect_drained(&fx, consumer, "last");
    }
    fixture_close(&fx);
}

static void check_replicas(struct fixture *fx, int passed)
{
    if (begin(fx, "1") == NULL)
        return;
    for (size_t i = 0; i < COUNT_OF(origins); i++)
        for (int savepoint = 0; savepoint < 2; savepoint++)
            check_replica(fx->target, origins[i], savepoint, passed);
}

static void test_replica(struct fixture *fx)
{
    check_replicas(fx, 0);
}

/* What was written here has passed the positions before anybody looks. */
static void test_replica_passed(struct fixture *fx)
{
    check_replicas(fx, 1);
}

/* A producer's transaction is open when the replica is taken over. */
static void test_replica_open(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "open");
    outbox_consumer *consumer;
    outbox_conn *writer = NULL;

    if (begin(fx, "1") == NULL)
        return;
    become_replica(fx, origins[0]);
    REQUIRE((writer = fixture_connect(fx)) != NULL && OK(outbox_conn_begin(writer, &fx->err)), "no transaction");
    OK(outbox_enqueue(writer, &m, 1, NULL, &fx->err));
    send_words(fx, "t", "k", "a b");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "o101 o102 a b");
    OK(outbox_conn_commit(writer, &fx->err));
    expect_drained(fx, consumer, "open");
    clean_once(fx);
    expect_drained(fx, consumer, "");
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

/* The cleaner comes first: it removes nothing that was not sent. */
static void test_replica_cleaner(struct fixture *fx)
{
    outbox_consumer *consumer;

    if (begin(fx, "1") == NULL)
        return;
    become_replica(fx, origins[0]);
    send_words(fx, "t", "k", "a b c");
    clean_once(fx);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "o101 o102 a b c");
}

/* Nor is anything left that was kept, whose xids may be larger than any that will ever be here. */
static void test_restored(struct fixture *fx)
{
    outbox_consumer *consumer;

    if (begin(fx, "1") == NULL)
        return;
    become_replica(fx, origins[0]);
    CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN PERFORM setval('%smessages_seq_seq', 200); END $$", fx->prefix), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "o101 o102");
    clean_once(fx);
    expect_drained(fx, consumer, "");
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
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
        {"numbers again: a logical replica", test_replica, 1},
        {"numbers again: a logical replica, an open transaction", test_replica_open, 1},
        {"numbers again: a logical replica, the cleaner comes first", test_replica_cleaner, 1},
        {"numbers again: a logical replica, beyond all positions", test_replica_passed, 1},
        {"numbers again: not after a restore", test_restored, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
