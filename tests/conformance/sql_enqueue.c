/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * outbox_enqueue() in SQL, on PostgreSQL: what it writes is what the library reads, whatever the payload's type and the
 * caller's search_path; what the library refuses it refuses too, with nothing written.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

/* Calls the function; the id, or "" after an error. */
static const char *call(struct fixture *fx, const char *arguments)
{
    static char id[64];
    char *text = db_text(&fx->db, "SELECT %senqueue(%s)", fx->prefix, arguments);

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
    char *rows = db_rows(&fx->db, "SELECT %senqueue('t', 'x') FROM generate_series(1, 200)", fx->prefix), *row, *rest = rows;
    int64_t newest = db_int(&fx->db, "SELECT max(created_at) / 1000 FROM %smessages", fx->prefix);
    int64_t oldest = db_int(&fx->db, "SELECT min(created_at) / 1000 FROM %smessages", fx->prefix);

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

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
