/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the MariaDB driver relies on, or protects from: deadlocks, locks that are waited for, the longest statement,
 * time zones, collations, character sets, and tables that are made without a transaction.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

/* A row is locked by one transaction, and wanted by others. */
static int make_rows(struct fixture *fx)
{
    return CHECK_INT(db_exec(&fx->db, "CREATE TABLE %srows (k INTEGER PRIMARY KEY, n INTEGER NOT NULL)", fx->prefix),
                     0) &&
           CHECK_INT(db_exec(&fx->db, "INSERT INTO %srows VALUES (1, 0), (2, 0), (3, 0), (4, 0)", fx->prefix), 0);
}

static int64_t server_number(struct fixture *fx, const char *name)
{
    return db_int(&fx->db, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '%s'", name);
}

struct waiter {
    struct db db;
    const char *prefix;
    int result;
};

static void *wait_for_row(void *arg)
{
    struct waiter *w = arg;

    w->result = db_exec(&w->db, "UPDATE %srows SET n = 2 WHERE k = 1", w->prefix);
    return NULL;
}

static int execute(struct fixture *fx, const char *format)
{
    char sql[200];

    snprintf(sql, sizeof sql, format, fx->prefix);
    return outbox_conn_execute(fx->conn, sql, &fx->err);
}

/* The victim's statement says so, and its commit writes nothing, although the server would take it. */
static void test_deadlock(struct fixture *fx)
{
    struct waiter w = {.prefix = fx->prefix};
    outbox_message m = text_message("t", "k", "1");
    int64_t before = server_number(fx, "INNODB_DEADLOCKS");
    pthread_t thread;
    int waits;

    REQUIRE(make_rows(fx) && db_open(&w.db, fx->dsn, 0) == 0, "no rows");
    CHECK_INT(db_exec(&w.db, "UPDATE %srows SET n = 2 WHERE k > 1", fx->prefix), 0); /* it has done more: no victim */
    MUST(outbox_conn_begin(fx->conn, &fx->err));
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    OK(execute(fx, "UPDATE %srows SET n = 1 WHERE k = 1"));
    REQUIRE(pthread_create(&thread, NULL, wait_for_row, &w) == 0, "no thread");
    /* Not asked of innodb_trx, which stays as it is while it is read again and again. */
    WAIT_FOR(server_number(fx, "INNODB_ROW_LOCK_CURRENT_WAITS") == 1, waits);
    CHECK(waits, "nobody waits");
    EXPECT(execute(fx, "UPDATE %srows SET n = 1 WHERE k = 2"), OUTBOX_ERR_CONFLICT);
    EXPECT(outbox_conn_commit(fx->conn, &fx->err), OUTBOX_ERR_CONFLICT);
    pthread_join(thread, NULL);
    CHECK_INT(w.result, 0);
    CHECK_INT(db_commit(&w.db), 0);
    db_close(&w.db);
    CHECK_INT(db_int(&fx->db, "SELECT sum(n) FROM %srows", fx->prefix), 8);
    CHECK_INT(count_waiting(fx), 0);
    CHECK_INT(server_number(fx, "INNODB_DEADLOCKS") - before, 1);
    CHECK(send_text(fx, "t", "k", "2"), "the connection is of no use any more");
}

/* Only the statement is rolled back; the transaction must not be committed without it. */
static void test_lock_timeout(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    struct db other;

    REQUIRE(make_rows(fx) && db_open(&other, fx->dsn, 0) == 0, "no rows");
    CHECK_INT(db_exec(&other, "UPDATE %srows SET n = 2 WHERE k = 1", fx->prefix), 0);
    OK(outbox_conn_execute(fx->conn, "SET SESSION innodb_lock_wait_timeout = 1", &fx->err));
    MUST(outbox_conn_begin(fx->conn, &fx->err));
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    EXPECT(execute(fx, "UPDATE %srows SET n = 1 WHERE k = 1"), OUTBOX_ERR_CONFLICT);
    CHECK_STR(fx->name, "database.lock_timeout");
    EXPECT(outbox_conn_commit(fx->conn, &fx->err), OUTBOX_ERR_CONFLICT);
    db_close(&other);
    CHECK_INT(count_waiting(fx), 0);
}

/* The server ends the connection of whoever sends more: it is told before, and the transaction goes on. */
static void test_packet(struct fixture *fx)
{
    enum { PACKET = 1024 * 1024, MANY = 64 };
    char *large = calloc(1, 2 * PACKET);
    outbox_message m = text_message("t", "k", "1"), many[MANY];
    outbox_consumer *consumer;
    outbox_conn *conn;

    CHECK_INT(db_exec(&fx->db, "SET GLOBAL max_allowed_packet = %d", PACKET), 0);
    REQUIRE(large != NULL && (conn = fixture_connect(fx)) != NULL, "no connection");
    MUST(outbox_conn_begin(conn, &fx->err));
    OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    m.payload = large;
    m.payload_size = 2 * PACKET;
    EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "enqueue.payload_too_large");
    CHECK(strstr(fx->message, "max_allowed_packet") != NULL, "no setting in: %s", fx->message);
    /* What is just allowed is sent, and what is not too large by itself is not too large together. */
    m.payload_size = PACKET - 8 * 1024;
    OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    for (int i = 0; i < MANY; i++) {
        many[i] = m;
        many[i].payload_size = 100 * 1000;
    }
    OK(outbox_enqueue(conn, many, MANY, NULL, &fx->err));
    OK(outbox_conn_commit(conn, &fx->err));
    CHECK_INT(db_exec(&fx->db, "SET GLOBAL max_allowed_packet = DEFAULT"), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    CHECK_INT(drain(fx, consumer, NULL), 2 + MANY);
    free(large);
}

/* A session far away, where it is another day. */
static void test_time_zone(struct fixture *fx)
{
    int64_t now, there;

    OK(outbox_conn_execute(fx->conn, "SET SESSION time_zone = '-11:30'", &fx->err));
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    now = db_int(&fx->db, "SELECT unix_timestamp() * 1000000");
    there = db_int(&fx->db, "SELECT created_at FROM %smessages", fx->prefix);
    CHECK(llabs(now - there) < 600 * SECOND_US, "created at %lld, now is %lld", (long long)there, (long long)now);
}

/* The database's own collation takes these for one. */
static void test_collation(struct fixture *fx)
{
    static const char *const keys[] = {"a", "A", "a ", "ä", "Ä"};
    outbox_message m = text_message("t", "k", "1");

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        m.dedup_key = keys[i];
        OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        m.dedup_key = keys[i];
        EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    }
    CHECK_INT(count_waiting(fx), COUNT_OF(keys));
}

/* What such a connection sends would be taken for other letters. */
static void test_charset(struct fixture *fx)
{
    outbox_message m = text_message("t", "ключ", "1");
    outbox_conn *conn = NULL;
    char dsn[600];
    struct db db;

    snprintf(dsn, sizeof dsn, "%s;CHARSET=latin1", fx->dsn);
    REQUIRE_INT(db_open(&db, dsn, 1), 0);
    MUST(outbox_conn_borrow(db.dbc, fx->conf, &conn, &fx->err));
    EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "conn.charset");
    CHECK(strstr(fx->message, "latin1") != NULL, "it says: %s", fx->message);
    outbox_conn_close(conn);
    db_close(&db);
    CHECK_INT(count_waiting(fx), 0);
}

/* On a borrowed connection of which '' is NULL, batches do not come as texts: there is nothing to be seen of it. */
static void test_empty_is_null(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_conn *conn = NULL;
    struct seen seen = {0};
    struct db db;

    CHECK(send_text(fx, "t", "k", "1") && send_text(fx, "t", "k", "2") && send_text(fx, "t", "other", "3"), "not sent");
    REQUIRE_INT(db_open(&db, fx->dsn, 1), 0);
    CHECK_INT(db_exec(&db, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',EMPTY_STRING_IS_NULL')"), 0);
    MUST(outbox_conn_borrow(db.dbc, fx->conf, &conn, &fx->err));
    MUST(outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err));
    CHECK_INT(drain(fx, consumer, &seen), 3);
    outbox_consumer_free(consumer);
    outbox_conn_close(conn);
    db_close(&db);
    seen_clear(&seen);
}

/* What makes tables commits at once, so an attempt that failed leaves some: the next one takes them over. */
static void test_half_migrated(struct fixture *fx)
{
    outbox_conn *conn;
    int applied = 0;

    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    CHECK_INT(db_exec(&fx->db, "DROP TABLE %smeta", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "DROP TABLE %sdedup", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %slanes WHERE lane > 10", fx->prefix), 0);
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    OK(outbox_migrate(conn, &applied, &fx->err));
    CHECK_INT(applied, 1);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %slanes", fx->prefix), 65);
    CHECK_INT(count_waiting(fx), 1);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"a deadlock is a conflict, and nothing is committed", test_deadlock, 0},
        {"a lock that is waited for too long is a conflict", test_lock_timeout, 0},
        {"statements stay below max_allowed_packet", test_packet, 0},
        {"times do not depend on the session's zone", test_time_zone, 0},
        {"keys differ by case, accents and blanks", test_collation, 0},
        {"a connection in another character set is refused", test_charset, 0},
        {"a connection on which an empty string is NULL", test_empty_is_null, 0},
        {"a migration that failed halfway is taken up", test_half_migrated, 0},
    };
    const struct target *target = target_find("mariadb/delete");

    if (target_missing(target))
        return tap_skip_all("no MariaDB: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target, argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
