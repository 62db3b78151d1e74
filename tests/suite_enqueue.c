/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Enqueue: how many, in which order, in whose transaction; what is refused. */
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "suite.h"

/* ---- Numbers and order ---- */

/* Compares the ids in the table, in seq order, with those that enqueue returned. */
static void check_stored_order(struct fixture *fx, const outbox_id *ids, int count)
{
    char *rows = db_rows(&fx->db, "SELECT id FROM %smessages ORDER BY seq", fx->prefix);
    char *row, *rest = rows;
    int i = 0;

    REQUIRE(rows != NULL, "no rows");
    while ((row = strsep(&rest, "\n")) != NULL && *row) {
        if (i < count && !CHECK(strcasecmp(row, ids[i].text) == 0, "message %d of %d is %s, not %s", i, count, row,
                                ids[i].text))
            break;
        i++;
    }
    CHECK_INT(i, count);
    free(rows);
}

static void enqueue_count(struct fixture *fx, int count)
{
    outbox_message *messages = calloc((size_t)count, sizeof *messages);
    outbox_id *ids = calloc((size_t)count, sizeof *ids);
    char (*texts)[16] = calloc((size_t)count, sizeof *texts);

    for (int i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        messages[i] = text_message("orders", "one", texts[i]);
    }
    if (OK(outbox_enqueue(fx->conn, messages, (size_t)count, ids, &fx->err)))
        check_stored_order(fx, ids, count);
    free(texts);
    free(ids);
    free(messages);
}

/* The sizes lie around those in which statements are prepared, which are powers of two up to 512, and above. */
static void test_counts(struct fixture *fx)
{
    static const int counts[] = {1, 2, 3, 7, 8, 9, 63, 64, 65, 100, 511, 513, 1300, 1};
    outbox_consumer *consumer = NULL;

    fixture_set(fx, "relay.batch_size", "10000");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(counts) && !tap_failed(); i++) {
        struct seen seen = {0};
        int out_of_order = 0;

        enqueue_count(fx, counts[i]);
        CHECK_INT(drain(fx, consumer, &seen), counts[i]);
        for (size_t k = 0; k < seen.count; k++)
            out_of_order += atoi(seen.items[k].text) != (int)k;
        CHECK_INT(out_of_order, 0);
        seen_clear(&seen);
        OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
        CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages", fx->prefix), 0);
    }
}

static void test_ids(struct fixture *fx)
{
    outbox_message messages[100];
    outbox_id ids[100];

    for (size_t i = 0; i < COUNT_OF(messages); i++)
        messages[i] = text_message("t", NULL, "x");
    MUST(outbox_enqueue(fx->conn, messages, COUNT_OF(messages), ids, &fx->err));
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        const char *id = ids[i].text;

        CHECK_INT(strlen(id), 36);
        CHECK(id[14] == '7' && strchr("89ab", id[19]) != NULL, "%s is no UUIDv7", id);
        for (const char *c = id; *c; c++)
            CHECK(*c == '-' || isdigit((unsigned char)*c) || (*c >= 'a' && *c <= 'f'), "%s is not lower case", id);
        if (i > 0)
            CHECK(strcmp(ids[i - 1].text, id) < 0, "%s does not come before %s", ids[i - 1].text, id);
    }
}

/* ---- Transactions ---- */

/* A connection of the application's, with autocommit off. */
static outbox_conn *borrow(struct fixture *fx, struct db *db)
{
    outbox_conn *conn = NULL;

    if (CHECK_INT(db_open(db, fx->dsn, 0), 0) && OK(outbox_conn_borrow(db->dbc, fx->conf, &conn, &fx->err)))
        return conn;
    return NULL;
}

static void test_transaction(struct fixture *fx)
{
    struct db db = {0};
    outbox_conn *conn = borrow(fx, &db);
    outbox_message m[3] = {text_message("t", "k", "1"), text_message("t", "k", "2"), text_message("t", NULL, "3")};
    SQLUINTEGER autocommit = 77;

    if (conn != NULL && OK(outbox_enqueue(conn, m, 3, NULL, &fx->err))) {
        SQLGetConnectAttr(db.dbc, SQL_ATTR_AUTOCOMMIT, &autocommit, 0, NULL);
        CHECK_INT(autocommit, SQL_AUTOCOMMIT_OFF);
        CHECK_INT(count_waiting(fx), 0);
        CHECK_INT(db_rollback(&db), 0);
        CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
        OK(outbox_enqueue(conn, m, 3, NULL, &fx->err));
        CHECK_INT(count_waiting(fx), 0);
        CHECK_INT(db_commit(&db), 0);
        CHECK_INT(count_waiting(fx), 3);
    }
    outbox_conn_close(conn);
    db_close(&db);
}

/* The business change and the message are one. */
static void test_with_business_row(struct fixture *fx)
{
    struct db db = {0};
    outbox_conn *conn = NULL;
    outbox_message m = text_message("t", "k", "1");

    CHECK_INT(db_exec(&fx->db, "CREATE TABLE %sbusiness (n INTEGER)", fx->prefix), 0);
    if ((conn = borrow(fx, &db)) != NULL) {
        for (int commit = 0; commit < 2; commit++) {
            CHECK_INT(db_exec(&db, "INSERT INTO %sbusiness VALUES (%d)", fx->prefix, commit), 0);
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            CHECK_INT(commit ? db_commit(&db) : db_rollback(&db), 0);
            CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sbusiness", fx->prefix), commit);
            CHECK_INT(count_waiting(fx), commit);
        }
    }
    outbox_conn_close(conn);
    db_close(&db);
}

/* The connection goes on working after what the library refused, and after what the database refused. */
static void test_transaction_after_error(struct fixture *fx)
{
    struct db db = {0};
    outbox_conn *conn = borrow(fx, &db);
    outbox_message good = text_message("t", "k", "1"), bad = text_message("", "k", "2");

    if (conn != NULL) {
        OK(outbox_enqueue(conn, &good, 1, NULL, &fx->err));
        EXPECT(outbox_enqueue(conn, &bad, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
        CHECK_INT(db_commit(&db), 0);
        CHECK_INT(count_waiting(fx), 1);
        good.dedup_key = "d";
        OK(outbox_enqueue(conn, &good, 1, NULL, &fx->err));
        EXPECT(outbox_enqueue(conn, &good, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
        CHECK_INT(db_rollback(&db), 0);
        OK(outbox_enqueue(conn, &good, 1, NULL, &fx->err));
        CHECK_INT(db_commit(&db), 0);
        CHECK_INT(count_waiting(fx), 2);
    }
    outbox_conn_close(conn);
    db_close(&db);
}

static void test_own_transaction(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");

    MUST(outbox_conn_begin(fx->conn, &fx->err));
    EXPECT(outbox_conn_begin(fx->conn, &fx->err), OUTBOX_ERR_STATE);
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    OK(outbox_conn_rollback(fx->conn, &fx->err));
    EXPECT(outbox_conn_rollback(fx->conn, &fx->err), OUTBOX_ERR_STATE);
    CHECK_INT(count_waiting(fx), 0);
    OK(outbox_conn_begin(fx->conn, &fx->err));
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    OK(outbox_conn_commit(fx->conn, &fx->err));
    EXPECT(outbox_conn_commit(fx->conn, &fx->err), OUTBOX_ERR_STATE);
    CHECK_INT(count_waiting(fx), 1);
}

/* A connection in autocommit mode, the library's own or the application's. */
static outbox_conn *autocommitting(struct fixture *fx, struct db *db, int own)
{
    outbox_conn *conn = NULL;

    if (own ? OK(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err))
            : CHECK_INT(db_open(db, fx->dsn, 1), 0) && OK(outbox_conn_borrow(db->dbc, fx->conf, &conn, &fx->err)))
        return conn;
    return NULL;
}

/* The table of messages; on Firebird, which renames none, it takes nothing. */
static void take_away(struct fixture *fx, int away)
{
    const char *p = fx->prefix;

    if (target_is_firebird(fx->target))
        CHECK_INT(away ? db_exec(&fx->db, "ALTER TABLE %smessages ADD CONSTRAINT %snobody CHECK (topic = 'nothing')", p, p)
                       : db_exec(&fx->db, "ALTER TABLE %smessages DROP CONSTRAINT %snobody", p, p), 0);
    else
        CHECK_INT(away ? db_exec(&fx->db, "ALTER TABLE %smessages RENAME TO %saway", p, p)
                       : db_exec(&fx->db, "ALTER TABLE %saway RENAME TO %smessages", p, p), 0);
}

/* Without a transaction a message that failed after its dedup_key was written would be refused for ever. */
static void test_alone_dedup(struct fixture *fx)
{
    for (int own = 0; own < 2; own++) {
        struct db db = {0};
        outbox_conn *conn = autocommitting(fx, &db, own);
        outbox_message m = text_message("t", "k", "1");
        int rc;

        m.dedup_key = own ? "own" : "borrowed";
        if (conn != NULL) {
            take_away(fx, 1);
            rc = outbox_enqueue(conn, &m, 1, NULL, NULL);
            CHECK(rc < 0, "enqueued without a table: %s", outbox_status_name(rc));
            take_away(fx, 0);
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
            CHECK_INT(count_waiting(fx), own + 1);
        }
        outbox_conn_close(conn);
        db_close(&db);
    }
}

/* A call of several statements is one all the same. */
static void test_alone_many(struct fixture *fx)
{
    outbox_message m[600];

    for (size_t i = 0; i < COUNT_OF(m); i++)
        m[i] = text_message("t", "k", "x");
    m[599].dedup_key = "used";
    OK(outbox_enqueue(fx->conn, &m[599], 1, NULL, &fx->err));
    for (int own = 0; own < 2; own++) {
        struct db db = {0};
        outbox_conn *conn = autocommitting(fx, &db, own);

        if (conn != NULL) {
            EXPECT(outbox_enqueue(conn, m, COUNT_OF(m), NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
            CHECK_INT(count_waiting(fx), 1 + own * 599);
            OK(outbox_enqueue(conn, m, COUNT_OF(m) - 1, NULL, &fx->err));
            CHECK_INT(count_waiting(fx), 1 + (own + 1) * 599);
        }
        outbox_conn_close(conn);
        db_close(&db);
    }
}

/* A transaction that the application began by SQL stays its own, although autocommit is on. */
static void test_begun_by_sql(struct fixture *fx)
{
    struct db db = {0};
    outbox_conn *conn = NULL;
    outbox_message m = text_message("t", "k", "1");

    if (skip_on_firebird(fx, "Firebird begins no transaction by SQL"))
        return;
    conn = autocommitting(fx, &db, 0);
    if (conn != NULL) {
        for (int commit = 0; commit < 2; commit++) {
            m.dedup_key = "by SQL";
            CHECK_INT(db_exec(&db, "BEGIN"), 0);
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            m.dedup_key = "again";
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            CHECK_INT(count_waiting(fx), 0);
            CHECK_INT(db_exec(&db, commit ? "COMMIT" : "ROLLBACK"), 0);
            CHECK_INT(count_waiting(fx), commit * 2);
        }
        CHECK_INT(db_exec(&db, "BEGIN"), 0);
        EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
        CHECK_INT(db_exec(&db, "ROLLBACK"), 0);
    }
    outbox_conn_close(conn);
    db_close(&db);
}

/* A commit after an error must not say that all is well. */
static void test_doomed_transaction(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    int rc;

    m.dedup_key = "twice";
    MUST(outbox_conn_begin(fx->conn, &fx->err));
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    rc = outbox_conn_commit(fx->conn, &fx->err);
    CHECK(rc < 0, "COMMIT of a doomed transaction returned %s", outbox_status_name(rc));
    outbox_error_free(fx->err);
    fx->err = NULL;
    outbox_conn_rollback(fx->conn, NULL);
    CHECK_INT(count_waiting(fx), 0);
    CHECK(send_text(fx, "t", "k", "2"), "the connection is of no more use");
}

/* ---- Deduplication ---- */

static void refuse_again(struct fixture *fx, outbox_message *m)
{
    m->payload = "1";
    m->payload_size = 1;
    OK(outbox_enqueue(fx->conn, m, 1, NULL, &fx->err));
    EXPECT(outbox_enqueue(fx->conn, m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 1);
}

static void test_dedup_id(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    outbox_id id;

    m.id = "01890a5d-ac96-774b-bcce-b302099a8057";
    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    CHECK_STR(id.text, m.id);
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    m.id = "01890A5D-AC96-774B-BCCE-B302099A8057";
    m.topic = "another topic";
    m.partition_key = "another lane";
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 1);
}

static void test_dedup_key(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");

    m.dedup_key = "request 4711";
    refuse_again(fx, &m);
    m.partition_key = NULL;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    m.dedup_key = "request 4712";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    m.dedup_key = NULL;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 4);
}

/* A repeated request is refused although the first one was published, and cleaned away. */
static void test_dedup_published(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m = text_message("t", "k", "1"), n = text_message("t", "l", "2");

    REQUIRE(consumer != NULL, "no consumer");
    m.dedup_key = "once";
    n.id = "01890a5d-ac96-774b-bcce-b302099a8057";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    OK(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err));
    CHECK_INT(drain(fx, consumer, NULL), 2);
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    EXPECT(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 0);
}

/* The same while it waits for a retry, in another table. */
static void test_dedup_deferred(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m = text_message("t", "k", "1"), n = text_message("t", "l", "2");

    REQUIRE(consumer != NULL, "no consumer");
    m.dedup_key = "once";
    n.id = "01890a5d-ac96-774b-bcce-b302099a8057";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
    OK(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err));
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    EXPECT(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
}

static void test_dedup_one_call(struct fixture *fx)
{
    outbox_message m[2] = {text_message("t", "k", "1"), text_message("t", "k", "2")};
    int rc;

    m[0].dedup_key = m[1].dedup_key = "both";
    rc = outbox_enqueue(fx->conn, m, 2, NULL, &fx->err);
    CHECK(rc == OUTBOX_ERR_DUPLICATE || rc == OUTBOX_ERR_INVALID, "%s", outbox_status_name(rc));
    outbox_error_free(fx->err);
    fx->err = NULL;
    CHECK_INT(count_waiting(fx), 0);
}

/* ---- Codec ---- */

static int encode_number(void *user, const void *value, outbox_buffer *payload, outbox_error **err)
{
    char text[32];

    (void)user;
    if (*(const int *)value < 0)
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "test.negative", "negative numbers are not for sale");
    snprintf(text, sizeof text, "{\"n\":%d", *(const int *)value);
    outbox_buffer_append(payload, text, strlen(text));
    return outbox_buffer_append(payload, "}", 1);
}

static int take_content(void *user, const outbox_record *record)
{
    size_t size;
    const char *payload = outbox_record_payload(record, &size);

    snprintf(user, 200, "%s|%s|%.*s", outbox_record_content_type(record), outbox_record_message_type(record),
             (int)size, payload);
    return 0;
}

static void test_codec(struct fixture *fx)
{
    outbox_codec codec = {sizeof codec, "application/json", "number.chosen", encode_number, NULL};
    outbox_message m = OUTBOX_MESSAGE_INIT;
    outbox_id id;
    char text[200] = "";
    int number = 42;

    m.topic = "numbers";
    MUST(outbox_enqueue_value(fx->conn, &codec, &m, &number, &id, &fx->err));
    OK(outbox_get(fx->conn, id.text, take_content, text, &fx->err));
    CHECK_STR(text, "application/json|number.chosen|{\"n\":42}");
    m.message_type = "mine";
    MUST(outbox_enqueue_value(fx->conn, &codec, &m, &number, &id, &fx->err));
    OK(outbox_get(fx->conn, id.text, take_content, text, &fx->err));
    CHECK_STR(text, "application/json|mine|{\"n\":42}");
    number = -1;
    EXPECT(outbox_enqueue_value(fx->conn, &codec, &m, &number, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "test.negative");
    CHECK_INT(count_waiting(fx), 2);
}

/* What the compiler adds behind the last member does not count, and a later header may have more. */
static void test_sizes(struct fixture *fx)
{
    struct {
        outbox_message m;
        char later[24];
    } larger[2] = {{text_message("t", "k", "1"), "later"}, {text_message("t", "k", "2"), "later"}};
    outbox_message m = text_message("t", "k", "3");

    larger[0].m.size = larger[1].m.size = sizeof larger[0];
    OK(outbox_enqueue(fx->conn, &larger[0].m, 2, NULL, &fx->err));
    m.size = offsetof(outbox_message, max_attempts) + sizeof m.max_attempts;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 3);
    m.size--;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "enqueue.bad_size");
}

/* Keyless messages go everywhere, keyed ones where their key belongs. */
static void test_lanes(struct fixture *fx)
{
    char *rows;

    REQUIRE(send_numbered(fx, "t", 0, 640), "not sent");
    CHECK(db_int(&fx->db, "SELECT count(DISTINCT lane) FROM %smessages", fx->prefix) > target_lanes(fx->target) / 2,
          "keyless: %lld lanes",
          (long long)db_int(&fx->db, "SELECT count(DISTINCT lane) FROM %smessages", fx->prefix));
    CHECK_INT(db_exec(&fx->db, "DELETE FROM %smessages", fx->prefix), 0);
    REQUIRE(send_words(fx, "t", "hello", "1 2 3"), "not sent");
    REQUIRE(send_words(fx, "other topic", "hello", "1"), "not sent");
    rows = db_rows(&fx->db, "SELECT DISTINCT lane FROM %smessages", fx->prefix);
    CHECK_STR(rows, target_lanes(fx->target) == 64 ? "58\n" : "10\n"); /* 2cf24dba modulo the lanes */
    free(rows);
}

void suite_enqueue(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"enqueue: 1 … 1300 messages keep their order", test_counts, 0},
        {"enqueue: ids are UUIDv7 and ascend", test_ids, 0},
        {"enqueue: rollback leaves nothing, commit all", test_transaction, 0},
        {"enqueue: one with the business row", test_with_business_row, 0},
        {"enqueue: borrowed connection after errors", test_transaction_after_error, 0},
        {"enqueue: own transaction", test_own_transaction, 0},
        {"enqueue: alone, with a dedup_key", test_alone_dedup, 0},
        {"enqueue: alone, in several statements", test_alone_many, 0},
        {"enqueue: in a transaction begun by SQL", test_begun_by_sql, 0},
        {"enqueue: commit of a doomed transaction fails", test_doomed_transaction, 0},
        {"dedup: own id", test_dedup_id, 0},
        {"dedup: dedup_key", test_dedup_key, 0},
        {"dedup: after publishing and cleaning", test_dedup_published, 0},
        {"dedup: while deferred", test_dedup_deferred, 0},
        {"dedup: twice in one call", test_dedup_one_call, 0},
        {"codec", test_codec, 0},
        {"enqueue: structs of other sizes", test_sizes, 0},
        {"lanes of keys and of keyless messages", test_lanes, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
