/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions that commit after later numbers were delivered: their messages come the moment they commit, once, and
 * no cleaner takes them for delivered before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* A transaction of the application's that is open. */
struct open_tx {
    struct db db;
    outbox_conn *conn;
};

static int tx_open(struct fixture *fx, struct open_tx *tx)
{
    memset(tx, 0, sizeof *tx);
    return db_open(&tx->db, fx->dsn, 0) == 0 && OK(outbox_conn_borrow(tx->db.dbc, fx->conf, &tx->conn, &fx->err));
}

static void tx_send(struct fixture *fx, struct open_tx *tx, const char *key, const char *word)
{
    outbox_message m = text_message("t", key, word);

    OK(outbox_enqueue(tx->conn, &m, 1, NULL, &fx->err));
}

static void tx_close(struct open_tx *tx)
{
    outbox_conn_close(tx->conn);
    db_close(&tx->db);
}

static int skip_on_sqlite(struct fixture *fx)
{
    if (target_is_sqlite(fx->target))
        tap_skip("SQLite has one writer: what is written first commits first");
    return target_is_sqlite(fx->target);
}

static void test_late(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct open_tx a, b;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a) && tx_open(fx, &b), "no connection");
    tx_send(fx, &a, "k", "a1");
    tx_send(fx, &b, "k", "b1");
    send_words(fx, "t", "k", "1");
    expect_drained(fx, consumer, "1");
    clean_once(fx);
    tx_send(fx, &a, "k", "a2");
    send_words(fx, "t", "k", "2");
    expect_drained(fx, consumer, "2");
    CHECK_INT(db_commit(&a.db), 0);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 2);
    clean_once(fx);
    expect_drained(fx, consumer, "a1 a2");
    expect_drained(fx, consumer, "");
    CHECK_INT(db_commit(&b.db), 0);
    clean_once(fx);
    clean_once(fx);
    expect_drained(fx, consumer, "b1");
    CHECK_INT(count_waiting(fx), 0);
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
    tx_close(&a);
    tx_close(&b);
}

/* The same with everything kept: nothing comes twice. */
static void test_late_kept(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct open_tx a;

    if (skip_on_sqlite(fx))
        return;
    fixture_set(fx, "clean.retention", "forever");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && tx_open(fx, &a), "no connection");
    for (int round = 0; round < 5; round++) {
        tx_send(fx, &a, "k", "late");
        send_words(fx, "t", "k", "1 2 3");
        expect_drained(fx, consumer, "1 2 3");
        CHECK_INT(round % 2 ? db_rollback(&a.db) : db_commit(&a.db), 0);
        expect_drained(fx, consumer, round % 2 ? "" : "late");
        send_words(fx, "t", "k", "4");
        expect_drained(fx, consumer, "4");
        clean_once(fx);
    }
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 5 * 4 + 3);
    CHECK_INT(count_waiting(fx), 0);
    tx_close(&a);
}

/* More late messages than a batch holds, while others go on coming. */
static void test_late_bulk(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct open_tx a;
    struct seen seen = {0};
    int wrong = 0;

    if (skip_on_sqlite(fx))
        return;
    fixture_set(fx, "relay.batch_size", "10");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && tx_open(fx, &a), "no connection");
    for (int i = 0; i < 95; i++) {
        char word[16];

        snprintf(word, sizeof word, "%d", i);
        tx_send(fx, &a, "k", word);
    }
    send_words(fx, "t", "k", "x y z");
    expect_drained(fx, consumer, "x y z");
    CHECK_INT(db_commit(&a.db), 0);
    for (int i = 0; i < 12; i++) {
        CHECK(settle_one(fx, consumer, OUTBOX_PUBLISHED, &seen) > 0, "nothing in round %d", i);
        send_words(fx, "t", "other", "o");
        clean_once(fx);
    }
    drain(fx, consumer, &seen);
    CHECK_INT(seen.count, 95 + 12);
    for (size_t i = 0, next = 0; i < seen.count; i++)
        if (strcmp(seen.items[i].key, "k") == 0)
            wrong += atoi(seen.items[i].text) != (int)next++;
    CHECK_INT(wrong, 0);
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
    tx_close(&a);
}

/* It commits between the read and the settling of a batch that did not see it. */
static void test_between(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;
    struct open_tx a, b;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a) && tx_open(fx, &b), "no connection");
    tx_send(fx, &a, "k", "a");
    send_words(fx, "t", "k", "1");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_count(batch), 1);
    tx_send(fx, &b, "k", "b");
    CHECK_INT(db_commit(&a.db), 0);
    CHECK_INT(db_commit(&b.db), 0);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    clean_once(fx);
    expect_drained(fx, consumer, "a b");
    tx_close(&a);
    tx_close(&b);
}

/* The same where a batch is settled and the next one read in one statement: what commits before it and after it comes, in the
 * order of its key, and what is behind the position by then, too. */
static void test_read_ahead(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;
    struct seen seen = {0};
    struct open_tx a, b, c;

    if (skip_on_sqlite(fx))
        return;
    fixture_set(fx, "relay.batch_size", "2");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && tx_open(fx, &a) && tx_open(fx, &b) && tx_open(fx, &c),
            "no connection");
    tx_send(fx, &a, "k", "a");
    tx_send(fx, &b, "k", "b");
    send_words(fx, "t", "k", "1 2 3 4");
    tx_send(fx, &c, "k", "c");
    send_words(fx, "t", "k", "5 6");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err)); /* 1 2 */
    seen_batch(&seen, batch);
    CHECK_INT(db_commit(&a.db), 0);
    answer_all(batch, OUTBOX_PUBLISHED);
    MUST(outbox_batch_next(batch, &fx->err)); /* a 3 */
    CHECK_INT(db_commit(&b.db), 0);
    CHECK_INT(db_commit(&c.db), 0);
    seen_batch(&seen, batch);
    answer_all(batch, OUTBOX_PUBLISHED);
    clean_once(fx);
    for (int rc = OUTBOX_OK; rc == OUTBOX_OK;) {
        rc = outbox_batch_next(batch, &fx->err);
        if (rc == OUTBOX_OK)
            seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        clean_once(fx);
    }
    outbox_batch_free(batch);
    drain(fx, consumer, &seen);
    CHECK_STR(seen_words(&seen), "1 2 a 3 b 4 c 5 6");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
    tx_close(&a);
    tx_close(&b);
    tx_close(&c);
}

/* Claims 1 and 2 of five, on a connection of the caller's. */
static outbox_batch *claim_two(struct fixture *fx, outbox_consumer *consumer, struct seen *seen)
{
    outbox_batch *batch = NULL;

    send_words(fx, "t", "k", "1 2 3 4 5");
    OK(outbox_consumer_claim(consumer, &batch, &fx->err));
    if (batch != NULL) {
        seen_batch(seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
    }
    return batch;
}

/* What follows cannot be read: what was published is settled all the same. */
static void test_not_read(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch;
    struct seen seen = {0};

    if (!target_is_postgresql(fx->target) || strstr(fx->target->name, "/position") == NULL) {
        tap_skip("what follows is not read ahead");
        return;
    }
    fixture_set(fx, "relay.batch_size", "2");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    batch = claim_two(fx, consumer, &seen);
    REQUIRE(batch != NULL, "nothing was claimed");
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %smessages RENAME TO gone", fx->prefix), 0);
    EXPECT(outbox_batch_next(batch, &fx->err), OUTBOX_ERR_SCHEMA);
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE gone RENAME TO %smessages", fx->prefix), 0);
    outbox_batch_free(batch);
    expire_leases(fx);
    CHECK(drain(fx, consumer, &seen) >= 0, "not drained");
    CHECK_STR(seen_words(&seen), "1 2 3 4 5");
    seen_clear(&seen);
}

static void drain_by_two(struct fixture *fx, outbox_conn *conn)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch;
    struct seen seen = {0};
    int rc = OUTBOX_OK;

    MUST(outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err));
    batch = claim_two(fx, consumer, &seen);
    while (batch != NULL && (rc = outbox_batch_next(batch, &fx->err)) == OUTBOX_OK) {
        seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
    }
    EXPECT(rc, OUTBOX_NONE);
    CHECK_STR(seen_words(&seen), "1 2 3 4 5");
    seen_clear(&seen);
    outbox_batch_free(batch);
    outbox_consumer_free(consumer);
}

/* With this attribute psqlODBC would make a cursor of each statement that begins with WITH, which the server refuses where
 * that changes something. */
static void test_cursors(struct fixture *fx)
{
    outbox_conn *conn = NULL;
    char dsn[1024];
    struct db db;

    if (!target_is_postgresql(fx->target)) {
        tap_skip("a matter of psqlODBC");
        return;
    }
    fixture_set(fx, "relay.batch_size", "2");
    snprintf(dsn, sizeof(dsn), "UseDeclareFetch=1;%s", fx->dsn);
    MUST(outbox_conn_open(dsn, fx->conf, &conn, &fx->err));
    drain_by_two(fx, conn);
    outbox_conn_close(conn);
    /* On a connection of the caller's they stay. */
    REQUIRE(db_open(&db, dsn, 1) == 0, "no connection");
    MUST(outbox_conn_borrow(db.dbc, fx->conf, &conn, &fx->err));
    drain_by_two(fx, conn);
    outbox_conn_close(conn);
    db_close(&db);
}

/* Numbers of subtransactions are not those of their transaction. */
static void test_savepoints(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct open_tx a;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a), "no connection");
    CHECK_INT(db_exec(&a.db, "SAVEPOINT s1"), 0);
    tx_send(fx, &a, "k", "a1");
    CHECK_INT(db_exec(&a.db, "SAVEPOINT s2"), 0);
    tx_send(fx, &a, "k", "undone");
    CHECK_INT(db_exec(&a.db, "ROLLBACK TO SAVEPOINT s2"), 0);
    tx_send(fx, &a, "k", "a2");
    CHECK_INT(db_exec(&a.db, "RELEASE SAVEPOINT s1"), 0);
    send_words(fx, "t", "k", "1");
    expect_drained(fx, consumer, "1");
    clean_once(fx);
    CHECK_INT(db_commit(&a.db), 0);
    expect_drained(fx, consumer, "a1 a2");
    CHECK_INT(count_waiting(fx), 0);
    tx_close(&a);
}

/* A late one fails, and one is discarded. */
static void test_late_fails(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter filter = OUTBOX_FILTER_INIT;
    struct open_tx a;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a), "no connection");
    tx_send(fx, &a, "k", "a1");
    tx_send(fx, &a, "l", "gone");
    send_words(fx, "t", "k", "1");
    send_words(fx, "t", "l", "2");
    CHECK_INT(drain(fx, consumer, NULL), 2);
    CHECK_INT(db_commit(&a.db), 0);
    filter.state = OUTBOX_PENDING;
    filter.partition_key = "l";
    OK(outbox_discard(fx->conn, &filter, NULL, &fx->err));
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
    send_words(fx, "t", "k", "2");
    make_due(fx);
    expect_drained(fx, consumer, "a1 2");
    CHECK_INT(count_waiting(fx), 0);
    tx_close(&a);
}

/* A crash, and a release, with late ones in the batch. */
static void test_late_crash(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, "x");
    outbox_batch *batch = NULL;
    struct open_tx a;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a), "no connection");
    tx_send(fx, &a, "k", "a1");
    tx_send(fx, &a, "k", "a2");
    send_words(fx, "t", "k", "1");
    expect_drained(fx, consumer, "1");
    CHECK_INT(db_commit(&a.db), 0);
    send_words(fx, "t", "k", "2");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_count(batch), 3);
    OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
    clean_once(fx);
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    outbox_batch_free(batch);
    expire_leases(fx);
    clean_once(fx);
    expect_drained(fx, consumer, "a1 a2 2");
    CHECK_INT(count_waiting(fx), 0);
    tx_close(&a);
}

/* A late one that brings down its relay is counted among those that it had in hand, also when there is nothing else. */
static void test_late_suspect(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, "x");
    outbox_batch *batch = NULL;
    struct open_tx a;

    if (skip_on_sqlite(fx))
        return;
    REQUIRE(tx_open(fx, &a), "no connection");
    tx_send(fx, &a, "k", "a");
    send_words(fx, "t", "k", "1");
    expect_drained(fx, consumer, "1");
    CHECK_INT(db_commit(&a.db), 0);
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_suspect(batch), 0);
    outbox_batch_free(batch);
    expire_leases(fx);
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_suspect(batch), 1);
    CHECK_INT(db_int(&fx->db, "SELECT attempts FROM %sdeferred", fx->prefix), 1);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    expect_drained(fx, consumer, "");
    CHECK_INT(count_waiting(fx), 0);
    tx_close(&a);
}

/* Random interleavings of open transactions, claims and cleaning, each message once. */
static void test_random(struct fixture *fx)
{
    enum { OPEN = 5, ROUNDS = 400 };
    struct open_tx tx[OPEN];
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};
    unsigned random = 4711, sent = 0;
    int in_tx[OPEN] = {0}, committed = 0;
    unsigned char *count;

    if (skip_on_sqlite(fx))
        return;
    fixture_set(fx, "schema.lanes", "2");
    fixture_set(fx, "relay.batch_size", "3");
    REQUIRE((count = calloc(ROUNDS + 1, 1)) != NULL && fixture_migrate(fx) == 0 &&
            (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    for (int i = 0; i < OPEN; i++)
        REQUIRE(tx_open(fx, &tx[i]), "no connection");
    for (int round = 0; round < ROUNDS; round++) {
        int i, what;
        char word[16];

        random = random * 1664525u + 1013904223u;
        i = (int)(random >> 9) % OPEN;
        what = (int)(random >> 20) % 10;
        if (what < 4) {
            snprintf(word, sizeof word, "%u", sent++);
            tx_send(fx, &tx[i], NULL, word);
            in_tx[i]++;
        } else if (what < 6) {
            committed += what == 4 ? in_tx[i] : 0;
            CHECK_INT(what == 4 ? db_commit(&tx[i].db) : db_rollback(&tx[i].db), 0);
            in_tx[i] = 0;
        } else if (what < 9) {
            settle_one(fx, consumer, OUTBOX_PUBLISHED, &seen);
        } else {
            clean_once(fx);
        }
    }
    for (int i = 0; i < OPEN; i++) {
        CHECK_INT(db_rollback(&tx[i].db), 0);
        tx_close(&tx[i]);
    }
    drain(fx, consumer, &seen);
    CHECK_INT(seen.count, committed);
    for (size_t i = 0; i < seen.count; i++)
        CHECK(count[atoi(seen.items[i].text)]++ == 0, "message %s came twice", seen.items[i].text);
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
    seen_clear(&seen);
    free(count);
}

/* As after a restore into a copy of the same cluster, where all names are equal: only the xids tell. */
static void test_future(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct open_tx a;

    if (skip_on_sqlite(fx) || strcmp(fx->target->settle, "position") != 0) {
        tap_skip("only positions have xids");
        return;
    }
    fixture_set(fx, "clean.retention", "forever");
    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", "k", "1 2 3");
    expect_drained(fx, consumer, "1 2 3");
    send_words(fx, "t", "k", "4 5 6");
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET tx = (tx::text::bigint + 40)::text::xid8", fx->prefix), 0);
    /* The first as one that had been late there. */
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET snap = (SELECT (min(tx::text)||':'||min(tx::text)||':')::pg_snapshot "
                               "FROM %smessages), xbound = (SELECT (min(tx::text)::bigint + 1)::text::xid8 FROM %smessages)",
                      fx->prefix, fx->prefix, fx->prefix), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "1 4 5 6");
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sstatus WHERE state <> 'published'", fx->prefix), 0);
    /* This cluster's xids pass those of the rows: nothing comes twice, and no open transaction is passed over. */
    REQUIRE(tx_open(fx, &a), "no connection");
    tx_send(fx, &a, "k", "late");
    for (int i = 0; i < 60; i++) {
        send_words(fx, "t", "k", "n");
        if (i % 10 == 0)
            REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
        expect_drained(fx, consumer, "n");
    }
    CHECK_INT(db_commit(&a.db), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "late");
    expect_drained(fx, consumer, "");
    tx_close(&a);
}

void suite_late(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"late: delivered the moment it commits", test_late, 0},
        {"late: with everything kept", test_late_kept, 0},
        {"late: more than a batch", test_late_bulk, 0},
        {"late: between read and settle", test_between, 0},
        {"late: settled and read ahead", test_read_ahead, 0},
        {"late: settled though what follows cannot be read", test_not_read, 0},
        {"late: no cursors", test_cursors, 0},
        {"late: savepoints", test_savepoints, 0},
        {"late: failing and discarded", test_late_fails, 0},
        {"late: crash and release", test_late_crash, 0},
        {"late: xids of the future", test_future, 1},
        {"late: a crash with nothing else", test_late_suspect, 0},
        {"late: random interleavings", test_random, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
