/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Defects 7 to 11: one bad message, cancelling, undecodable rows, what the database has to write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "defects.h"

/* ---- Counting statements: this program's own SQLExecute stands before the driver manager's ---- */

static long executed;

long statements_executed(void)
{
    return __atomic_load_n(&executed, __ATOMIC_SEQ_CST);
}

SQLRETURN SQL_API SQLExecute(SQLHSTMT stmt)
{
    static SQLRETURN (*next)(SQLHSTMT);

    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "SQLExecute");
    __atomic_add_fetch(&executed, 1, __ATOMIC_SEQ_CST);
    return next(stmt);
}

SQLRETURN SQL_API SQLExecDirect(SQLHSTMT stmt, SQLCHAR *text, SQLINTEGER size)
{
    static SQLRETURN (*next)(SQLHSTMT, SQLCHAR *, SQLINTEGER);

    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "SQLExecDirect");
    __atomic_add_fetch(&executed, 1, __ATOMIC_SEQ_CST);
    return next(stmt, text, size);
}

/* ---- 7 ---- */

/* 7. One bad message charged an attempt to the whole batch. */
static void test_bad_alone(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;
    struct seen seen = {0};

    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    REQUIRE(send_numbered(fx, "t", 20, 100), "not sent");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_count(batch), 100);
    outbox_batch_answer(batch, 50, OUTBOX_RETRY, 0, "the bad one");
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(drain(fx, consumer, &seen), 100);
    for (size_t i = 0; i < seen.count; i++)
        CHECK(seen.items[i].attempts == (strcmp(seen.items[i].text, "51") == 0), "message %s has %d attempts",
              seen.items[i].text, seen.items[i].attempts);
    seen_clear(&seen);
}

/* 7. Failures were marked one statement a row. */
static void test_failures_in_bulk(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;
    long before, one;

    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "600");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", NULL, "x");
    before = statements_executed();
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    one = statements_executed() - before;
    CHECK(one > 0, "statements are not counted");
    REQUIRE(send_numbered(fx, "t", 0, 600), "not sent");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_count(batch), 600);
    answer_all(batch, OUTBOX_REJECT);
    before = statements_executed();
    OK(outbox_batch_settle(batch, &fx->err));
    tap_note("settling 600 failures took %ld statements, claiming and settling one %ld", statements_executed() - before,
             one);
    CHECK(statements_executed() - before <= one + 60, "600 failures took %ld statements", statements_executed() - before);
    outbox_batch_free(batch);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 601);
}

/* 7. What waits behind failed ones was set aside one statement a key. */
static void test_held_in_bulk(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    long before, took;

    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "600");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    REQUIRE(send_numbered(fx, "t", 600, 600), "not sent");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 600);
    for (int i = 0; i < 2; i++)
        REQUIRE(send_numbered(fx, "t", 600, 600), "not sent");
    before = statements_executed();
    CHECK_INT(drain(fx, consumer, NULL), 0);
    took = statements_executed() - before;
    tap_note("setting 1200 messages of 600 keys aside took %ld statements", took);
    CHECK(took <= 150, "1200 messages of 600 keys took %ld statements", took);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 1200);
}

/* ---- 8 ---- */

struct gate {
    int inside, open, published;
};

static outbox_verdict wait_at_gate(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    struct gate *gate = user;
    int opened;

    (void)message;
    (void)retry_ms;
    (void)err;
    __atomic_store_n(&gate->inside, 1, __ATOMIC_SEQ_CST);
    WAIT_FOR(__atomic_load_n(&gate->open, __ATOMIC_SEQ_CST), opened);
    __atomic_add_fetch(&gate->published, 1, __ATOMIC_SEQ_CST);
    return opened ? OUTBOX_PUBLISHED : OUTBOX_UNKNOWN;
}

/* 8. Cancelling cancelled the publish and the marks: what the broker had acknowledged was sent again. */
static void test_stop_keeps_acknowledged(struct fixture *fx)
{
    struct gate gate = {0, 0, 0};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int came;

    send_words(fx, "t", "k", "1 2 3 4 5");
    OK(outbox_publisher_from_callback(wait_at_gate, &gate, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(__atomic_load_n(&gate.inside, __ATOMIC_SEQ_CST), came);
    CHECK(came, "the publisher was not called");
    outbox_relay_stop(relay);
    __atomic_store_n(&gate.open, 1, __ATOMIC_SEQ_CST);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK(gate.published >= 1, "nothing was published");
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), NULL), 5 - gate.published);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* ---- 9 ---- */

static outbox_verdict accept_all(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)message;
    (void)retry_ms;
    (void)err;
    __atomic_add_fetch((int *)user, 1, __ATOMIC_SEQ_CST);
    return OUTBOX_PUBLISHED;
}

/* 9. One undecodable header stalled the outbox. */
static void test_undecodable(struct fixture *fx)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int published = 0;

    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0 && send_numbered(fx, "t", 10, 200), "not sent");
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET headers = 'not json' WHERE seq = (SELECT min(seq) FROM "
                      "%smessages)", fx->prefix, fx->prefix), 0);
    OK(outbox_publisher_from_callback(accept_all, &published, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    OK(outbox_relay_run_once(relay, &fx->err));
    /* The dead one's 19 followers wait; everything else went out. */
    CHECK_INT(published, 180);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 19);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* ---- 10 ---- */

static int64_t table_counter(struct fixture *fx, const char *counter, const char *table)
{
    return db_int(&fx->db, "SELECT %s FROM pg_stat_user_tables WHERE relname = '%s%s'", counter, fx->prefix, table);
}

/* The statistics of a connection reach the server's tables when it ends; this one waits until all of them have. */
static void wait_for_statistics(struct fixture *fx, int64_t inserted)
{
    int there;

    WAIT_FOR(db_int(&fx->db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = "
                    "current_database() AND pid <> pg_backend_pid()") == 0, there);
    CHECK(there, "others are still connected");
    WAIT_FOR(table_counter(fx, "n_tup_ins", "messages") >= inserted, there);
    CHECK(there, "no statistics");
}

/* 10. Every update touched partial indexes: no HOT updates, two dead tuples a message. Here no message is updated. */
static void test_rows_written_once(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int position = strcmp(fx->target->settle, "position") == 0;
    char *before, *after;

    fixture_set(fx, "clean.retention", position ? "forever" : "0");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 50, 2000), "not sent");
    before = db_rows(&fx->db, "SELECT id FROM %smessages ORDER BY seq LIMIT 500", fx->prefix);
    CHECK_INT(drain(fx, consumer, NULL), 2000);
    after = db_rows(&fx->db, "SELECT id FROM %smessages ORDER BY seq LIMIT 500", fx->prefix);
    CHECK_INT(strcmp(before, after) == 0, position);
    free(before);
    free(after);
    if (!target_is_postgresql(fx->target))
        return;
    /* Their sessions have to end before the server counts all that they did. */
    fixture_disconnect(fx);
    REQUIRE_INT(db_open(&fx->db, fx->dsn, 1), 0);
    wait_for_statistics(fx, 2000);
    CHECK_INT(table_counter(fx, "n_tup_upd", "messages"), 0);
    CHECK_INT(table_counter(fx, "n_tup_del", "messages"), position ? 0 : 2000);
    CHECK_INT(table_counter(fx, "n_tup_ins", "deferred"), 0);
    CHECK(table_counter(fx, "n_tup_upd", "lanes") <= 400, "%lld lane updates for 2000 messages",
          (long long)table_counter(fx, "n_tup_upd", "lanes"));
}

/* Leases change no indexed column, so that their updates are HOT. */
static void test_hot_leases(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int64_t updates, hot;

    if (!target_is_postgresql(fx->target)) {
        tap_skip("a matter of PostgreSQL's");
        return;
    }
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (int i = 0; i < 300; i++) {
        REQUIRE(send_text(fx, "t", "k", "x"), "not sent");
        CHECK_INT(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL), 1);
    }
    fixture_disconnect(fx);
    REQUIRE_INT(db_open(&fx->db, fx->dsn, 1), 0);
    wait_for_statistics(fx, 300);
    updates = table_counter(fx, "n_tup_upd", "lanes");
    hot = table_counter(fx, "n_tup_hot_upd", "lanes");
    CHECK(updates >= 300 && hot * 10 >= updates * 7, "%lld of %lld lane updates were HOT", (long long)hot,
          (long long)updates);
}

/* ---- 11 ---- */

/* A session that listens, and does not read, keeps whatever is notified in the queue. */
static int listen_without_reading(struct db *listener, const struct fixture *fx)
{
    return db_open(listener, fx->dsn, 1) == 0 && db_exec(listener, "LISTEN anything") == 0 &&
           db_exec(listener, "BEGIN") == 0 && db_int(listener, "SELECT 1") == 1;
}

static int64_t notifications(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT (pg_notification_queue_usage() * 1000000000)::bigint");
}

/* 11. NOTIFY fired on every insert, even when nobody needed it: a lock that all commits queue for. */
static void test_silent_commits(struct fixture *fx)
{
    struct db listener = {0};
    int64_t before;

    if (!target_is_postgresql(fx->target)) {
        tap_skip("a matter of PostgreSQL's");
        return;
    }
    if (CHECK(listen_without_reading(&listener, fx), "not listening")) {
        before = notifications(fx); /* what relays of other cases left */
        for (int i = 0; i < 400 && !tap_failed(); i++)
            CHECK(send_text(fx, "t", "k", "x"), "not sent");
        CHECK_INT(notifications(fx), before);
        /* The probe finds what is there to find. */
        CHECK_INT(db_exec(&fx->db, "SELECT pg_notify('anything', i::text || repeat('x', 1000)) FROM "
                          "generate_series(1, 400) i"), 0);
        CHECK(notifications(fx) > before, "the probe is blind");
    }
    db_close(&listener);
}

void defects_cost(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"defect 7: one bad message charges its batch", test_bad_alone, 1},
        {"defect 7: failures are marked row by row", test_failures_in_bulk, 1},
        {"defect 7: held messages are written key by key", test_held_in_bulk, 1},
        {"defect 8: cancelling repeats what was acknowledged", test_stop_keeps_acknowledged, 0},
        {"defect 9: an undecodable header stalls the outbox", test_undecodable, 1},
        {"defect 10: rows are updated again and again", test_rows_written_once, 0},
        {"defect 10: updates that are not HOT", test_hot_leases, 0},
        {"defect 11: every commit notifies", test_silent_commits, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
