/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows as no library of ours writes them: by a foreign producer, or by hand. Whatever is wrong with one, it is
 * delivered, dead or waiting alone; the others of its lane flow, and the lane is not claimed for it again and again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

enum where { BOTH, SQLITE };
enum outcome { DELIVERED, DEAD, WAITS, GONE /* nobody looks there */ };

struct corruption {
    const char *set; /* the assignment */
    enum where where;
    enum outcome outcome;
};

/* Everything can be listed and written as JSON meanwhile. */
static int list_one(void *user, const outbox_record *record)
{
    struct fixture *fx = user;
    char *json = NULL;

    if (OK(outbox_record_to_json(record, &json, &fx->err)))
        CHECK(strpbrk(json, "\n\r\t") == NULL, "more than a line: %.200s", json);
    outbox_free(json);
    return 0;
}

static void look_at_all(struct fixture *fx)
{
    outbox_counts counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    OK(outbox_count(fx->conn, &counts, &fx->err));
    CHECK(counts.oldest_pending_us >= 0, "the oldest is %lld old", (long long)counts.oldest_pending_us);
    OK(outbox_list(fx->conn, NULL, list_one, fx, &fx->err));
}

static int64_t tokens(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT SUM(token) FROM %slanes", fx->prefix);
}

static void check_outcome(struct fixture *fx, outbox_consumer *consumer, const struct corruption *c)
{
    struct seen seen = {0};
    int64_t before, good = 0, bad = 0;

    look_at_all(fx);
    CHECK(drain(fx, consumer, &seen) >= 0, "%.80s: not drained", c->set);
    for (size_t i = 0; i < seen.count; i++)
        *(strcmp(seen.items[i].topic, "good") == 0 ? &good : &bad) += 1;
    CHECK(good == 2, "%.80s: %lld of 2 others came", c->set, (long long)good);
    CHECK(bad == (c->outcome == DELIVERED), "%.80s: delivered %lld times", c->set, (long long)bad);
    CHECK(count_state(fx, OUTBOX_DEAD) == (c->outcome == DEAD), "%.80s: dead %lld", c->set,
          (long long)count_state(fx, OUTBOX_DEAD));
    if (c->outcome != GONE)
        CHECK(count_waiting(fx) == (c->outcome != DELIVERED), "%.80s: %lld wait", c->set, (long long)count_waiting(fx));
    look_at_all(fx);
    before = tokens(fx);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    CHECK(tokens(fx) == before, "%.80s: its lane is claimed again and again", c->set);
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %sdeferred", fx->prefix), 0);
    seen_clear(&seen);
}

static int applies(const struct fixture *fx, const struct corruption *c)
{
    return c->where == BOTH || target_is_sqlite(fx->target);
}

/* The same key: one lane, but for their topics they do not order each other. */
static int send_three(struct fixture *fx)
{
    return send_text(fx, "good", "same", "1") && send_text(fx, "bad", "same", "x") &&
           send_text(fx, "good", "same", "2");
}

static void test_new(struct fixture *fx)
{
    static const struct corruption corruptions[] = {
        /* Sizes that are wrong in two places, and right in all; first, as such a row has the next ones read by columns. */
        {"id = id || CHAR(10) || CHAR(10), topic = 'ab' || CHAR(0) || 'c'", SQLITE, DELIVERED},
        {"max_attempts = '5,', headers = 'x', content_type = 'c'", SQLITE, DEAD},
        {"max_attempts = 2147483647", BOTH, DELIVERED},
        {"max_attempts = 9223372036854775807", SQLITE, DELIVERED},
        {"max_attempts = 'many'", SQLITE, DELIVERED},
        {"available_at = -5", BOTH, DELIVERED},
        {"available_at = 9223372036854775807", BOTH, WAITS},
        {"available_at = 'tomorrow'", SQLITE, WAITS},
        {"created_at = -9223372036854775807", BOTH, DELIVERED},
        {"created_at = 9223372036854775807", BOTH, DELIVERED},
        {"created_at = 'long ago'", SQLITE, DELIVERED},
        {"id = 'this is no uuid, and longer than one is'", SQLITE, DELIVERED},
        {"id = CAST(X'FF80' AS TEXT)", SQLITE, DELIVERED},
        {"topic = ''", BOTH, DEAD},
        {"topic = 'a\r\nb'", BOTH, DEAD},
        {"topic = CAST(X'FF' AS TEXT)", SQLITE, DEAD},
        {"topic = 'a' || CHAR(0) || 'b'", SQLITE, DELIVERED},
        {"partition_key = CAST(X'EDA080' AS TEXT)", SQLITE, DEAD},
        {"content_type = 'text/plain\r\nX-Header: 1'", BOTH, DEAD},
        {"content_type = CAST(X'C0AF' AS TEXT)", SQLITE, DEAD},
        {"message_type = 'a\tb'", BOTH, DEAD},
        {"message_type = CAST(X'E282' AS TEXT)", SQLITE, DEAD},
        {"headers = '{\"a\\r\\nb\":\"c\"}'", BOTH, DEAD},
        {"headers = '{\"a\":\"b\\r\\nc\"}'", BOTH, DEAD},
        {"headers = '{\"\":\"b\"}'", BOTH, DEAD},
        {"headers = '{\"a\":\"b\",\"a\":\"c\"}'", BOTH, DEAD},
        {"headers = ''", BOTH, DELIVERED},
        {"headers = CAST(X'7B2261223A22FF227D' AS TEXT)", SQLITE, DEAD},
    };
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    REQUIRE(consumer != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(corruptions); i++) {
        if (!applies(fx, &corruptions[i]))
            continue;
        REQUIRE(send_three(fx), "not sent");
        REQUIRE_INT(db_exec(&fx->db, "UPDATE %smessages SET %s WHERE topic = 'bad'", fx->prefix,
                            corruptions[i].set), 0);
        check_outcome(fx, consumer, &corruptions[i]);
    }
}

static void test_deferred(struct fixture *fx)
{
    static const struct corruption corruptions[] = {
        {"state = 77", BOTH, DELIVERED},
        {"state = 0", BOTH, DELIVERED},
        {"state = -1", BOTH, DELIVERED},
        {"state = 6", BOTH, DELIVERED},
        {"state = 4294967299", SQLITE, DELIVERED},
        {"attempts = -2147483648", BOTH, DELIVERED},
        {"attempts = 2147483647", BOTH, DEAD},
        {"attempts = 9223372036854775807", SQLITE, DEAD},
        {"max_attempts = 0", BOTH, DELIVERED},
        {"max_attempts = -1", BOTH, DELIVERED},
        {"max_attempts = 4294967297", SQLITE, DELIVERED},
        {"available_at = -9223372036854775807", BOTH, DELIVERED},
        {"key_hash = 42", BOTH, DELIVERED},
        {"key_hash = -1", BOTH, DELIVERED},
        {"key_hash = 0", BOTH, DELIVERED},
        {"created_at = -9223372036854775807", BOTH, DELIVERED},
        {"deferred_at = 9223372036854775807", BOTH, DELIVERED},
        {"topic = ''", BOTH, DEAD},
        {"topic = 'a\nb'", BOTH, DEAD},
        {"topic = CAST(X'FF' AS TEXT)", SQLITE, DEAD},
        {"headers = '{'", BOTH, DEAD},
        {"headers = '[]'", BOTH, DEAD},
        {"last_error = CAST(X'FF' AS TEXT)", SQLITE, DELIVERED},
        {"id = 'no uuid'", SQLITE, DELIVERED},
        {"lane = 9999", BOTH, GONE},
    };
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    REQUIRE(consumer != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(corruptions); i++) {
        if (!applies(fx, &corruptions[i]))
            continue;
        REQUIRE(send_three(fx), "not sent");
        CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 3);
        make_due(fx);
        REQUIRE_INT(db_exec(&fx->db, "UPDATE %sdeferred SET %s WHERE topic = 'bad'", fx->prefix,
                            corruptions[i].set), 0);
        check_outcome(fx, consumer, &corruptions[i]);
    }
}

/* One of an unknown state that is due, behind a dead one of its key, waits like any other, and goes after it. */
static void test_unknown_behind_dead(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter filter = OUTBOX_FILTER_INIT;
    struct seen seen = {0};
    int64_t before, count;

    REQUIRE(consumer != NULL && send_words(fx, "t", "k", "1"), "not sent");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    REQUIRE(send_words(fx, "t", "k", "2") && send_words(fx, "other", "k", "3"), "not sent");
    CHECK_INT(drain(fx, consumer, &seen), 1);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET state = 77, available_at = 1 WHERE state = 4", fx->prefix), 0);
    CHECK_INT(drain(fx, consumer, &seen), 0);
    before = tokens(fx);
    CHECK_INT(drain(fx, consumer, &seen), 0);
    CHECK(tokens(fx) == before, "the lane is claimed again and again");
    filter.state = OUTBOX_DEAD;
    OK(outbox_discard(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(drain(fx, consumer, &seen), 1);
    CHECK_STR(seen_words(&seen), "3 2");
    seen_clear(&seen);
}

/* Numbers of a lane's row that nobody wrote: its owner is gone, and it is taken over all the same. */
static void test_lane_numbers(struct fixture *fx)
{
    static const struct corruption corruptions[] = {
        {"batch = 0", BOTH, DELIVERED},          {"batch = -1", BOTH, DELIVERED},
        {"batch = 2147483647", BOTH, DELIVERED}, {"batch = 2147483648", SQLITE, DELIVERED},
        {"suspect = -2147483647", BOTH, DELIVERED}, {"suspect = 2147483647", BOTH, DELIVERED},
        {"suspect = -9223372036854775807", SQLITE, DELIVERED},
    };
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    REQUIRE(consumer != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(corruptions); i++) {
        if (!applies(fx, &corruptions[i]))
            continue;
        REQUIRE(send_three(fx), "not sent");
        REQUIRE_INT(db_exec(&fx->db, "UPDATE %slanes SET owner = %s, lease_until = 1, %s WHERE lane >= 0", fx->prefix,
                            corruptions[i].set[0] == 'b' ? "'crashed'" : "NULL", corruptions[i].set), 0);
        check_outcome(fx, consumer, &corruptions[i]);
    }
}

struct stored {
    char text[64];
};

static int store(void *user, const outbox_record *record)
{
    size_t size = 0;
    const char *payload = outbox_record_payload(record, &size);

    snprintf(((struct stored *)user)->text, sizeof(struct stored), "%zu:%.40s", size, payload);
    return 0;
}

/* SQLite keeps whatever type it is given: a payload that was written as text or as a number comes as its text. */
static void test_loose_types(struct fixture *fx)
{
    static const struct {
        const char *value, *want;
    } payloads[] = {{"'{\"n\":1}'", "7:{\"n\":1}"}, {"'0a0b'", "4:0a0b"}, {"'ключ'", "8:ключ"},
                    {"12345", "5:12345"},
                    {"X'30'", "1:0"}, {"''", "0:"}};
    outbox_message m = text_message("t", "k", "x");
    struct stored stored;
    outbox_id id;

    if (target_is_postgresql(fx->target)) {
        tap_skip("PostgreSQL has types");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(payloads); i++) {
        MUST(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
        CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET payload = %s", fx->prefix, payloads[i].value), 0);
        stored.text[0] = '\0';
        OK(outbox_get(fx->conn, id.text, store, &stored, &fx->err));
        CHECK_STR(stored.text, payloads[i].want);
        CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages", fx->prefix), 0);
    }
}

/* What can never be sent safely is refused where it is written: a subject or a header that breaks a line. */
static void test_refuse_controls(struct fixture *fx)
{
    static const char *const bad[] = {"a\nb", "a\r\nb: c", "\x1b[2J", "a\tb", "\x7f"};
    struct fixture *f = fx;

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        outbox_message m[3] = {text_message("t", "k", "x"), text_message("t", "k", "x"), text_message("t", "k", "x")};

        m[1].topic = bad[i];
        EXPECT(outbox_enqueue(f->conn, m, 3, NULL, &f->err), OUTBOX_ERR_INVALID);
        CHECK(strstr(f->message, "message 1: topic") != NULL, "it says: %s", f->message);
        m[1].topic = "t";
        m[1].content_type = bad[i];
        EXPECT(outbox_enqueue(f->conn, m, 3, NULL, &f->err), OUTBOX_ERR_INVALID);
        CHECK(strstr(f->message, "message 1: content_type") != NULL, "it says: %s", f->message);
        m[1].content_type = NULL;
        m[1].message_type = bad[i];
        EXPECT(outbox_enqueue(f->conn, m, 3, NULL, &f->err), OUTBOX_ERR_INVALID);
        CHECK(strstr(f->message, "message 1: message_type") != NULL, "it says: %s", f->message);
        CHECK_INT(count_waiting(f), 0);
        /* A key is data: it only chooses the lane and the order. */
        m[1].message_type = NULL;
        m[1].partition_key = m[1].dedup_key = bad[i];
        OK(outbox_enqueue(f->conn, m, 3, NULL, &f->err));
        CHECK_INT(db_exec(&f->db, "DELETE FROM %smessages", f->prefix), 0);
    }
}

/* Many headers are checked in reasonable time, and one that is there twice is found among them. */
static void test_many_headers(struct fixture *fx)
{
    enum { MANY = 100000 };
    outbox_header *headers = calloc(MANY, sizeof *headers);
    char (*names)[12] = calloc(MANY, sizeof *names);
    outbox_message m = text_message("t", "k", "x");

    REQUIRE(headers != NULL && names != NULL, "out of memory");
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "h%d", i);
        headers[i] = (outbox_header){names[i], "v"};
    }
    headers[MANY - 1].name = names[MANY / 2];
    m.headers = headers;
    m.header_count = MANY;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK(strstr(fx->message, "\"h50000\"") != NULL, "it says: %s", fx->message);
    CHECK_INT(count_waiting(fx), 0);
    m.header_count = MANY - 1;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(settle_one(fx, fixture_consumer(fx, NULL), OUTBOX_PUBLISHED, NULL), 1);
    free(headers);
    free(names);
}

/* No payload at all is a size, too. */
static void test_no_payloads(struct fixture *fx)
{
    outbox_message m[2] = {text_message("t", "k", ""), text_message("t", "k", "1")};
    outbox_conn *conn;

    fixture_set(fx, "enqueue.max_payload", "0");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_enqueue(conn, m, 2, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "enqueue.payload_too_large");
    CHECK_INT(count_waiting(fx), 0);
    OK(outbox_enqueue(conn, m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
}

/* The longest names that settings take, both at once. */
static void test_longest_names(struct fixture *fx)
{
    char schema[64], prefix[41];
    struct fixture *f = fx;
    outbox_conn *conn;

    if (skip_on_firebird(fx, "names of Firebird 3 have 31 characters"))
        return;
    memset(schema, 'S', sizeof schema - 1);
    memset(prefix, 'p', sizeof prefix - 1);
    schema[sizeof schema - 1] = prefix[sizeof prefix - 1] = '\0';
    fixture_set(f, "schema.prefix", prefix);
    if (!target_is_sqlite(f->target))
        fixture_set(f, "schema.name", schema);
    REQUIRE((conn = fixture_connect(f)) != NULL, "no connection");
    if (!target_is_sqlite(f->target) && strcmp(f->target->driver, "generic") == 0)
        CHECK_INT(db_open(&f->db, f->dsn, 1) == 0 && db_exec(&f->db, target_is_mariadb(f->target) ? "CREATE SCHEMA `%s`"
                                                                                           : "CREATE SCHEMA \"%s\"", schema), 0);
    MUST(outbox_migrate(conn, NULL, &f->err));
    f->conn = conn;
    CHECK(send_text(f, "t", "k", "1"), "not sent");
    CHECK_INT(settle_one(f, fixture_consumer(f, NULL), OUTBOX_RETRY, NULL), 1);
    OK(outbox_clean(conn, f->conf, NULL, &f->err));
    CHECK_INT(count_waiting(f), 1);
    if (!target_is_sqlite(f->target)) {
        db_close(&f->db);
        if (CHECK_INT(db_open(&f->db, f->dsn, 1), 0))
            CHECK_INT(db_exec(&f->db, target_is_mariadb(f->target) ? "DROP SCHEMA `%s`" : "DROP SCHEMA \"%s\" CASCADE",
                              schema), 0);
    }
}

/* Connection strings that lead nowhere, or would bring something with them: an error, and no secret in it. */
static void test_connection_strings(struct fixture *fx)
{
    static const char *const nowhere[] = {"sqlite:/nonexistent/x;Driver=/nonexistent/y.so", "sqlite:{/nonexistent/x}",
                                          "sqlite:/nonexistent/\nx", "sqlite:/nonexistent/x;Database=:memory:"};
    outbox_conn *conn = NULL;
    char *large = malloc(100001);

    REQUIRE(large != NULL, "out of memory");
    EXPECT(outbox_conn_open("sqlite:", fx->conf, &conn, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "conn.bad_path");
    for (size_t i = 0; i < COUNT_OF(nowhere); i++) {
        EXPECT(outbox_conn_open(nowhere[i], fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
        CHECK(strstr(fx->message, "SQLite") != NULL, "not SQLite says: %s", fx->message);
    }
    memset(large, 'x', 100000);
    large[100000] = '\0';
    EXPECT(outbox_conn_open(large, fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    memcpy(large, "PWD=s3cr3t;Driver=", 18);
    EXPECT(outbox_conn_open(large, fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    CHECK(strstr(fx->message, "s3cr3t") == NULL, "a password in: %s", fx->message);
    CHECK(conn == NULL, "a connection");
    free(large);
}

void suite_hostile(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"hostile: new rows", test_new, 0},
        {"hostile: deferred rows", test_deferred, 0},
        {"hostile: an unknown state behind a dead message", test_unknown_behind_dead, 0},
        {"hostile: rows of lanes", test_lane_numbers, 0},
        {"hostile: loose types", test_loose_types, 0},
        {"hostile: control characters are refused", test_refuse_controls, 0},
        {"hostile: 100,000 headers", test_many_headers, 0},
        {"hostile: payloads of 0 bytes only", test_no_payloads, 0},
        {"hostile: the longest names", test_longest_names, 1},
        {"hostile: connection strings", test_connection_strings, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
