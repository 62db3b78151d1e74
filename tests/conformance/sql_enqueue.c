/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * outbox_enqueue() in SQL, on PostgreSQL and MariaDB: what it writes is what the library reads, whatever the payload's type
 * and the caller's search_path; what the library refuses it refuses too, with nothing written.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

/* Of MariaDB's arguments: what comes between payload and dedup_key, and delay. */
#define NULLS ", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "

/* Calls the function, or the procedure; the id, or "" after an error. */
static const char *call(struct fixture *fx, const char *arguments)
{
    static char id[64];
    char *text = NULL;

    if (target_is_postgresql(fx->target))
        text = db_text(&fx->db, "SELECT %senqueue(%s)", fx->prefix, arguments);
    else if (db_exec(&fx->db, "CALL %senqueue(%s)", fx->prefix, arguments) == 0)
        text = db_text(&fx->db, "SELECT @outbox_id");
    snprintf(id, sizeof id, "%s", text != NULL ? text : "");
    free(text);
    for (char *c = id; *c; c++) /* psqlODBC has upper case */
        *c = (char)tolower((unsigned char)*c);
    return id;
}

static int take_record(void *user, const outbox_record *r)
{
    size_t size, headers;
    const char *payload = outbox_record_payload(r, &size), *type = outbox_record_content_type(r);
    const char *key = outbox_record_partition_key(r);

    outbox_record_headers(r, &headers);
    snprintf(user, 1000, "%s|%s|%s|%s|%zu|%d|%.*s", outbox_record_topic(r), key ? key : "-", type ? type : "-",
             outbox_record_message_type(r) ? outbox_record_message_type(r) : "-", headers, outbox_record_max_attempts(r),
             (int)size, payload);
    return 0;
}

static void check_record(struct fixture *fx, const char *arguments, const char *want)
{
    char got[1000] = "";
    const char *id = call(fx, arguments);

    CHECK(id[0] != '\0', "%s was refused", arguments);
    OK(outbox_get(fx->conn, id, take_record, got, &fx->err));
    CHECK_STR(got, want);
}

static void test_payloads(struct fixture *fx)
{
    check_record(fx, "'t', '{\"path\":\"C:\\\\dir\"}'", "t|-|-|-|0|0|{\"path\":\"C:\\\\dir\"}");
    check_record(fx, "'t', '{\"text\":\"line\\nline\"}'", "t|-|-|-|0|0|{\"text\":\"line\\nline\"}");
    check_record(fx, "'t', '\\x41'", "t|-|-|-|0|0|\\x41");
    check_record(fx, "'t', '\\x41'::bytea", "t|-|-|-|0|0|A");
    check_record(fx, "'t', 'é'::varchar", "t|-|-|-|0|0|é");
    check_record(fx, "'t', ''", "t|-|-|-|0|0|");
    check_record(fx, "'t', '{\"a\":1}'::jsonb", "t|-|application/json|-|0|0|{\"a\": 1}");
    check_record(fx, "'t', to_json('x'::text)", "t|-|application/json|-|0|0|\"x\"");
    check_record(fx, "'t', '{}'::jsonb, content_type => 'a/b'", "t|-|a/b|-|0|0|{}");
}

static void test_arguments(struct fixture *fx)
{
    char long_topic[600] = "", arguments[700], want[700];
    int64_t lane, wait;

    for (int i = 0; i < 255; i++)
        strcat(long_topic, "é");
    snprintf(arguments, sizeof arguments, "'%s', ''", long_topic);
    snprintf(want, sizeof want, "%s|-|-|-|0|0|", long_topic);
    check_record(fx, arguments, want);
    check_record(fx, "'t', 'x', '', '{}', '', '', NULL, NULL, NULL, ''", "t|-|-|-|0|0|x");
    check_record(fx, "'t', 'x', E'k\\n', '{\"a\":\"b\",\"c\":\"\"}', 'c/t', 'm.t', max_attempts => 7",
                 "t|k\n|c/t|m.t|2|7|x");
    CHECK_STR(call(fx, "'t', 'x', id => '" UUID "', partition_key => 'hello', delay => '1 hour'"), UUID);
    lane = db_int(&fx->db, "SELECT lane FROM %smessages WHERE id = '" UUID "'", fx->prefix);
    CHECK_INT(lane, outbox_lane_of_key("hello", 64));
    wait = db_int(&fx->db, "SELECT available_at - created_at FROM %smessages WHERE id = '" UUID "'", fx->prefix);
    CHECK(wait > 3590 * SECOND_US && wait <= 3600 * SECOND_US, "a delay of %lld us", (long long)wait);
    call(fx, "'at', 'x', available_at => '2100-01-01 00:00:00+00'");
    CHECK_INT(db_int(&fx->db, "SELECT available_at FROM %smessages WHERE topic = 'at'", fx->prefix),
              INT64_C(4102444800) * SECOND_US);
}

static void test_ids(struct fixture *fx)
{
    char *rows, *row, *rest;
    int64_t newest, oldest;

    for (int i = 0; i < 200; i++)
        call(fx, target_is_postgresql(fx->target) ? "'t', 'x'" : "'t', 'x'" NULLS "NULL, NULL");
    newest = db_int(&fx->db, "SELECT max(created_at) / 1000 FROM %smessages", fx->prefix);
    oldest = db_int(&fx->db, "SELECT min(created_at) / 1000 FROM %smessages", fx->prefix);
    rest = rows = db_rows(&fx->db, "SELECT id FROM %smessages", fx->prefix);
    REQUIRE(rows != NULL, "no ids");
    CHECK_INT(db_int(&fx->db, "SELECT count(DISTINCT id) FROM %smessages", fx->prefix), 200);
    while ((row = strsep(&rest, "\n")) != NULL && *row) {
        char hex[13];
        int64_t ms;

        CHECK(strlen(row) == 36 && row[14] == '7' && strchr("89abAB", row[19]) != NULL, "%s is no UUIDv7", row);
        snprintf(hex, sizeof hex, "%.8s%.4s", row, row + 9);
        ms = strtoll(hex, NULL, 16);
        CHECK(ms >= oldest - 1000 && ms <= newest, "%s is of another time", row);
    }
    free(rows);
}

static void test_refused(struct fixture *fx)
{
    static const struct {
        const char *arguments, *said;
    } cases[] = {
        {"NULL, 'x'", "topic is required"},
        {"'', 'x'", "topic is required"},
        {"'t', NULL", "payload is NULL"},
        {"'t', NULL::bytea", "payload is NULL"},
        {"'t', NULL::jsonb", "payload is NULL"},
        {"repeat('é', 256), 'x'", "topic has 256 characters, 255 are allowed"},
        {"E'a\\nb', 'x'", "topic has a control character"},
        {"E'a\\x7f', 'x'", "topic has a control character"},
        {"E'a\\x01', 'x'", "topic has a control character"},
        {"'t', 'x', repeat('k', 256)", "partition_key has 256 characters"},
        {"'t', 'x', content_type => repeat('k', 256)", "content_type has 256 characters"},
        {"'t', 'x', content_type => E'a\\r\\nb'", "content_type has a control character"},
        {"'t', 'x', message_type => E'a\\tb'", "message_type has a control character"},
        {"'t', 'x', message_type => repeat('k', 256)", "message_type has 256 characters"},
        {"'t', 'x', dedup_key => repeat('k', 201)", "dedup_key has 201 characters, 200 are allowed"},
        {"'t', 'x', headers => '[1,2]'", "headers must be a JSON object"},
        {"'t', 'x', headers => 'null'", "headers must be a JSON object"},
        {"'t', 'x', headers => '\"a\"'", "headers must be a JSON object"},
        {"'t', 'x', headers => '{\"ok\":\"1\",\"n\":{\"q\":1}}'", "header \"n\" must be a string"},
        {"'t', 'x', headers => '{\"n\":1}'", "header \"n\" must be a string"},
        {"'t', 'x', headers => '{\"n\":null}'", "header \"n\" must be a string"},
        {"'t', 'x', headers => '{\"\":\"a\"}'", "a header has no name"},
        {"'t', 'x', headers => '{\"n\":\"a\\nb\"}'", "a header has a control character"},
        {"'t', 'x', headers => '{\"a\\u0001\":\"b\"}'", "a header has a control character"},
        {"'t', 'x', max_attempts => 0", "max_attempts must be at least 1"},
        {"'t', 'x', max_attempts => -1", "max_attempts must be at least 1"},
        {"'t', 'x', delay => '-1 second'", "delay must not be negative"},
        {"'t', 'x', available_at => 'infinity'", "available_at must not be infinite"},
        {"'t', 'x', available_at => '-infinity'", "available_at must not be infinite"},
        {"'t', 'x', available_at => '1969-01-01'", "before 1970"},
        {"'t', 'x', available_at => now(), delay => '1 second'", "exclude each other"},
    };
    char with_key[400];

    fx->db.quiet = 1;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(with_key, sizeof with_key, "%s%s", cases[i].arguments,
                 strstr(cases[i].arguments, "dedup_key") == NULL ? ", dedup_key => 'never'" : "");
        fx->db.error[0] = '\0';
        CHECK(call(fx, with_key)[0] == '\0', "%s was accepted", with_key);
        CHECK(strncmp(fx->db.error, "22023", 5) == 0 && strstr(fx->db.error, cases[i].said) != NULL, "%s: %s", with_key,
              fx->db.error);
    }
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sdedup", fx->prefix), 0);
}

/* Ids and dedup_keys are one set, whoever enqueues. */
static void test_dedup(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1"), n = m;

    m.dedup_key = "c first";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK(call(fx, "'t', 'x', dedup_key => 'sql first'")[0] != '\0', "refused");
    CHECK_STR(call(fx, "'t', 'x', id => '" UUID "'"), UUID);
    fx->db.quiet = 1;
    CHECK_STR(call(fx, "'t', 'x', dedup_key => 'c first'"), "");
    CHECK(strncmp(fx->db.error, "23505", 5) == 0 && strstr(fx->db.error, "key:c first") != NULL, "it says: %s", fx->db.error);
    CHECK_STR(call(fx, "'t', 'x', id => '" UUID "', dedup_key => 'never'"), "");
    CHECK(strncmp(fx->db.error, "23505", 5) == 0 && strstr(fx->db.error, UUID) != NULL, "it says: %s", fx->db.error);
    m.dedup_key = "sql first";
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    n.id = UUID;
    EXPECT(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 3);
    CHECK(call(fx, "'t', 'x', dedup_key => 'never'")[0] != '\0', "what was refused was noted");
}

/* Other tables and functions of these names stand before the outbox's in the path, or nothing does. */
static void test_search_path(struct fixture *fx)
{
    static const char *const paths[] = {"''", "trap, public", "pg_catalog", "trap, pg_catalog"};
    char *id;

    CHECK_INT(db_exec(&fx->db, "DROP SCHEMA IF EXISTS trap CASCADE; CREATE SCHEMA trap"), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE trap.%smessages (x integer)", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE FUNCTION trap.%slane(text, integer) RETURNS smallint LANGUAGE sql AS 'SELECT -7::smallint'",
                      fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE FUNCTION trap.char_length(text) RETURNS integer LANGUAGE sql AS 'SELECT 9999'"), 0);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        CHECK_INT(db_exec(&fx->db, "SET search_path = %s", paths[i]), 0);
        id = db_text(&fx->db, "SELECT public.%senqueue('t', 'x', partition_key => 'hello')", fx->prefix);
        CHECK(id != NULL, "search_path = %s: %s", paths[i], fx->db.error);
        free(id);
    }
    CHECK_INT(db_exec(&fx->db, "RESET search_path"), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages WHERE lane = 58", fx->prefix), (int)COUNT_OF(paths));
    CHECK_INT(db_exec(&fx->db, "DROP SCHEMA trap CASCADE"), 0);
}

/* In a schema of its own, which is in nobody's path, called from a trigger of the application's. */
static void test_schema(struct fixture *fx)
{
    outbox_conn *conn = NULL;

    fixture_set(fx, "schema.name", "Sales");
    fixture_set(fx, "schema.prefix", "Ev_");
    MUST(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err));
    OK(outbox_migrate(conn, NULL, &fx->err));
    outbox_conn_close(conn);
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE bought (n integer)"), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE FUNCTION say_bought() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "PERFORM \"Sales\".\"Ev_enqueue\"('bought', to_jsonb(NEW), NEW.n::text); RETURN NULL; END $$"), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE TRIGGER say AFTER INSERT ON bought FOR EACH ROW EXECUTE FUNCTION say_bought()"), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO bought VALUES (1), (2)"), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM \"Sales\".\"Ev_messages\" WHERE topic = 'bought' AND payload = "
                     "convert_to('{\"n\": ' || partition_key || '}', 'UTF8')"), 2);
    CHECK_INT(db_exec(&fx->db, "DROP TABLE bought; DROP FUNCTION say_bought(); DROP SCHEMA \"Sales\" CASCADE"), 0);
}

/* ---- MariaDB ---- */

static void test_mariadb_arguments(struct fixture *fx)
{
    char long_key[600] = "", arguments[700], want[700];
    int64_t wait;

    for (int i = 0; i < 255; i++)
        strcat(long_key, "é");
    snprintf(arguments, sizeof arguments, "'t', '', '%s', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL", long_key);
    snprintf(want, sizeof want, "t|%s|-|-|0|0|", long_key);
    check_record(fx, arguments, want);
    check_record(fx, "'t', X'41', '', '{}', '', '', NULL, NULL, NULL, '', NULL", "t|-|-|-|0|0|A");
    check_record(fx, "'t', 'é', 'k\n', '{\"a\":\"b\", \"c\":\"\"}', 'c/t', 'm.t', NULL, 7, NULL, 'd', NULL",
                 "t|k\n|c/t|m.t|2|7|é");
    CHECK_STR(call(fx, "'t', 'x', 'hello', NULL, NULL, NULL, NULL, NULL, UPPER('" UUID "'), NULL, 3600.5"), UUID);
    CHECK_INT(db_int(&fx->db, "SELECT lane FROM %smessages WHERE id = '" UUID "'", fx->prefix),
              outbox_lane_of_key("hello", 64));
    wait = db_int(&fx->db, "SELECT available_at - created_at FROM %smessages WHERE id = '" UUID "'", fx->prefix);
    CHECK(wait > 3590 * SECOND_US && wait <= 3600 * SECOND_US + SECOND_US / 2, "a delay of %lld us", (long long)wait);
    CHECK_INT(db_exec(&fx->db, "SET time_zone = '-05:00'"), 0);
    call(fx, "'at', 'x', NULL, NULL, NULL, NULL, '2100-01-01 00:00:00.000001', NULL, NULL, NULL, NULL");
    CHECK_INT(db_int(&fx->db, "SELECT available_at FROM %smessages WHERE topic = 'at'", fx->prefix),
              INT64_C(4102444800) * SECOND_US + 1);
}

static void test_mariadb_refused(struct fixture *fx)
{
    static const struct {
        const char *arguments, *said;
    } cases[] = {
        {"NULL, 'x'" NULLS "'n', NULL", "topic is required"},
        {"'', 'x'" NULLS "'n', NULL", "topic is required"},
        {"'t', NULL" NULLS "'n', NULL", "payload is NULL"},
        {"REPEAT('é', 256), 'x'" NULLS "'n', NULL", "topic has 256 characters, 255 are allowed"},
        {"'a\nb', 'x'" NULLS "'n', NULL", "topic has a control character"},
        {"CONCAT('a', CHAR(127)), 'x'" NULLS "'n', NULL", "topic has a control character"},
        {"CONCAT('a', CHAR(0)), 'x'" NULLS "'n', NULL", "topic has a control character"},
        {"'t', 'x', REPEAT('k', 256), NULL, NULL, NULL, NULL, NULL, NULL, 'n', NULL", "partition_key has 256 characters"},
        {"'t', 'x', CONCAT('k', CHAR(0)), NULL, NULL, NULL, NULL, NULL, NULL, 'n', NULL", "partition_key has a NUL"},
        {"'t', 'x', NULL, NULL, REPEAT('k', 256), NULL, NULL, NULL, NULL, 'n', NULL", "content_type has 256 characters"},
        {"'t', 'x', NULL, NULL, 'a\r\nb', NULL, NULL, NULL, NULL, 'n', NULL", "content_type has a control character"},
        {"'t', 'x', NULL, NULL, NULL, 'a\tb', NULL, NULL, NULL, 'n', NULL", "message_type has a control character"},
        {"'t', 'x', NULL, NULL, NULL, REPEAT('k', 256), NULL, NULL, NULL, 'n', NULL", "message_type has 256 characters"},
        {"'t', 'x'" NULLS "REPEAT('k', 201), NULL", "dedup_key has 201 characters, 200 are allowed"},
        {"'t', 'x', NULL, '{', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "headers must be a JSON object"},
        {"'t', 'x', NULL, '', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "headers must be a JSON object"},
        {"'t', 'x', NULL, '[1,2]', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "headers must be a JSON object"},
        {"'t', 'x', NULL, 'null', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "headers must be a JSON object"},
        {"'t', 'x', NULL, '{\"ok\":\"1\",\"n\":{\"q\":\"1\"}}', NULL, NULL, NULL, NULL, NULL, 'n', NULL",
         "header \"n\" must be a string"},
        {"'t', 'x', NULL, '{\"n\":1}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "header \"n\" must be a string"},
        {"'t', 'x', NULL, '{\"n\":null}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "header \"n\" must be a string"},
        {"'t', 'x', NULL, '{\"\":\"a\"}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "a header has no name"},
        {"'t', 'x', NULL, '{\"n\":\"a\\\\nb\"}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "a header has a control character"},
        {"'t', 'x', NULL, '{\"a\\\\u0001\":\"b\"}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "a header has a control character"},
        {"'t', 'x', NULL, '{\"a\":\"1\",\"a\":\"2\"}', NULL, NULL, NULL, NULL, NULL, 'n', NULL", "a header is there twice"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, 0, NULL, 'n', NULL", "max_attempts must be at least 1"},
        {"'t', 'x'" NULLS "'n', -0.5", "delay must not be negative"},
        {"'t', 'x', NULL, NULL, NULL, NULL, '1969-12-31', NULL, NULL, 'n', NULL", "before 1970"},
        {"'t', 'x', NULL, NULL, NULL, NULL, '2100-01-01', NULL, NULL, 'n', 1", "exclude each other"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, 'no', 'n', NULL", "id is not a UUID"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, REPLACE('" UUID "', 'a', 'g'), 'n', NULL", "id is not a UUID"},
    };

    fx->db.quiet = 1;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fx->db.error[0] = '\0';
        CHECK(call(fx, cases[i].arguments)[0] == '\0', "%s was accepted", cases[i].arguments);
        CHECK(strncmp(fx->db.error, "22023", 5) == 0 && strstr(fx->db.error, cases[i].said) != NULL, "%s: %s",
              cases[i].arguments, fx->db.error);
    }
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 0);
}

/* Ids and dedup_keys are one set, whoever enqueues. */
static void test_mariadb_dedup(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1"), n = m;

    m.dedup_key = "c first";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK(call(fx, "'t', 'x'" NULLS "'sql first', NULL")[0] != '\0', "refused");
    CHECK_STR(call(fx, "'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, '" UUID "', NULL, NULL"), UUID);
    fx->db.quiet = 1;
    CHECK_STR(call(fx, "'t', 'x'" NULLS "'c first', NULL"), "");
    CHECK(strncmp(fx->db.error, "23000", 5) == 0 && strstr(fx->db.error, "key:c first") != NULL, "it says: %s", fx->db.error);
    CHECK_STR(call(fx, "'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, '" UUID "', 'never', NULL"), "");
    CHECK(strncmp(fx->db.error, "23000", 5) == 0 && strstr(fx->db.error, UUID) != NULL, "it says: %s", fx->db.error);
    m.dedup_key = "sql first";
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    n.id = UUID;
    EXPECT(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 3);
    CHECK(call(fx, "'t', 'x'" NULLS "'never', NULL")[0] != '\0', "what was refused was noted");
}

/* The rows of a dedup_key and of its message are there together or not at all, in autocommit too, and what else the
 * transaction did is left to the caller. */
static void test_mariadb_transactions(struct fixture *fx)
{
    struct db other;

    REQUIRE(db_open(&other, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&other, "CALL %senqueue('t', 'x'" NULLS "'first', NULL)", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages", fx->prefix), 0);
    db_rollback(&other);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 0);
    CHECK(call(fx, "'t', 'x'" NULLS "'first', NULL")[0] != '\0', "refused");
    CHECK_INT(db_int(&fx->db, "SELECT @@in_transaction"), 0);
    CHECK_INT(db_int(&other, "SELECT COUNT(*) FROM %smessages", fx->prefix), 1);
    other.quiet = fx->db.quiet = 1;
    CHECK_INT(db_exec(&other, "CALL %senqueue('t', 'x'" NULLS "'second', NULL)", fx->prefix), 0);
    CHECK_INT(db_exec(&other, "CALL %senqueue('t', 'x'" NULLS "'first', NULL)", fx->prefix), -1);
    db_commit(&other);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages", fx->prefix), 2);
    CHECK_INT(db_exec(&fx->db, "CREATE TRIGGER %sfull BEFORE INSERT ON %smessages FOR EACH ROW SIGNAL SQLSTATE '45000'",
                      fx->prefix, fx->prefix), 0);
    CHECK_STR(call(fx, "'t', 'x'" NULLS "'third', NULL"), "");
    CHECK(strncmp(fx->db.error, "45000", 5) == 0, "it says: %s", fx->db.error);
    CHECK_INT(db_exec(&other, "CALL %senqueue('t', 'x'" NULLS "'third', NULL)", fx->prefix), -1);
    CHECK(strncmp(other.error, "45000", 5) == 0, "it says: %s", other.error);
    db_commit(&other);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 2);
    db_close(&other);
}

static void test_mariadb_trigger(struct fixture *fx)
{
    CHECK_INT(db_exec(&fx->db, "CREATE TABLE %sbought (n INTEGER)", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "CREATE TRIGGER %ssay AFTER INSERT ON %sbought FOR EACH ROW CALL %senqueue('bought', "
                      "JSON_OBJECT('n', NEW.n), NEW.n, NULL, NULL, NULL, NULL, NULL, NULL, CONCAT('n', NEW.n), NULL)",
                      fx->prefix, fx->prefix, fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO %sbought VALUES (1), (2)", fx->prefix), 0);
    fx->db.quiet = 1;
    CHECK_INT(db_exec(&fx->db, "INSERT INTO %sbought VALUES (3), (2)", fx->prefix), -1);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sbought", fx->prefix), 2);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages WHERE payload = CONCAT('{\"n\": ', partition_key, '}')",
                     fx->prefix), 2);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 2);
}

struct rival {
    struct db db;
    const char *prefix;
    int result;
};

static void *enqueue_a(void *arg)
{
    struct rival *r = arg;

    r->result = db_exec(&r->db, "CALL %senqueue('a', 'x'" NULLS "'a', NULL)", r->prefix);
    return NULL;
}

/* Two that note the same keys in different order: one is told, with everything that it did undone, and may repeat it. */
static void test_mariadb_deadlock(struct fixture *fx)
{
    struct rival r = {.prefix = fx->prefix};
    struct db other;
    pthread_t thread;
    int waits, result;

    REQUIRE(db_open_quietly(&r.db, fx->dsn, 0) == 0 && db_open_quietly(&other, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&r.db, "CALL %senqueue('b', 'x'" NULLS "'b', NULL)", fx->prefix), 0);
    CHECK_INT(db_exec(&other, "CALL %senqueue('a', 'x'" NULLS "'a', NULL)", fx->prefix), 0);
    REQUIRE(pthread_create(&thread, NULL, enqueue_a, &r) == 0, "no thread");
    /* Not by innodb_trx: it shows what it showed before to who asks again within a tenth of a second. */
    WAIT_FOR(db_int(&fx->db, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
                             "'Innodb_row_lock_current_waits'") == 1, waits);
    CHECK(waits, "nobody waits");
    result = db_exec(&other, "CALL %senqueue('b', 'x'" NULLS "'b', NULL)", fx->prefix);
    if (result != 0)
        db_commit(&other); /* the other one goes on when this one is gone, which it is */
    pthread_join(thread, NULL);
    CHECK_INT((result != 0) + (r.result != 0), 1);
    CHECK(strncmp(result != 0 ? other.error : r.db.error, "40001", 5) == 0, "it says: %s",
          result != 0 ? other.error : r.db.error);
    db_commit(&other);
    db_commit(&r.db);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages", fx->prefix), 2);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 2);
    db_close(&other);
    db_close(&r.db);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"sql: payloads of each type", test_payloads, 0},
        {"sql: arguments", test_arguments, 0},
        {"sql: ids are UUIDv7", test_ids, 0},
        {"sql: what is refused", test_refused, 0},
        {"sql: dedup, with the library", test_dedup, 0},
        {"sql: any search_path", test_search_path, 0},
        {"sql: another schema, in a trigger", test_schema, 0},
    };

    static const struct test mariadb[] = {
        {"sql: arguments", test_mariadb_arguments, 0},
        {"sql: ids are UUIDv7", test_ids, 0},
        {"sql: what is refused", test_mariadb_refused, 0},
        {"sql: dedup, with the library", test_mariadb_dedup, 0},
        {"sql: in a transaction, and without one", test_mariadb_transactions, 0},
        {"sql: in a trigger", test_mariadb_trigger, 0},
        {"sql: a deadlock", test_mariadb_deadlock, 0},
    };

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    if (!target_missing(target_find("mariadb/delete")))
        suite_run(mariadb, COUNT_OF(mariadb), target_find("mariadb/delete"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
