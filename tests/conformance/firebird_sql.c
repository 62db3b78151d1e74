/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firebird's own SQL: the installed files run in isql, the lane that the database computes is the library's, and what
 * outbox_enqueue() writes there is what the library reads; what the library refuses it refuses too, with nothing written.
 */
#include "golden.h"
#include "lib-test.h"
#include "stage.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

/* The lanes of one line of the golden file, by the database, and as a row whose key is plain SQL's. */
static int check_lanes(struct fixture *fx, char *line)
{
    static const int counts[] = {1, 2, 3, 7, 16, 64, 100, 1000, 1023, 1024};
    char *key = strsep(&line, "\t"), *lane, *hex = malloc(strlen(key) * 2 + 1), *got;
    char sql[1000] = "", *end = sql;
    int good = 1;

    for (size_t i = 0; i < strlen(key); i++)
        sprintf(hex + 2 * i, "%02X", (unsigned char)key[i]);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        end += sprintf(end, "%s %slane(k, %d)", i > 0 ? " || '\t' ||" : "", fx->prefix, counts[i]);
    got = db_text(&fx->db, "SELECT CAST(%s AS VARCHAR(200)) FROM (SELECT _UTF8 x'%s' AS k FROM RDB$DATABASE)", sql, hex);
    good = CHECK(got != NULL && strcmp(got, line) == 0, "\"%.40s\": %s instead of %s", key, got ? got : "nothing", line);
    for (int i = 0; i < 6; i++)
        lane = strsep(&line, "\t");
    good = CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('g', '', _UTF8 x'%s')", fx->prefix, hex), 0) && good;
    good = CHECK_INT(db_int(&fx->db, "SELECT lane FROM %smessages WHERE seq = (SELECT MAX(seq) FROM %smessages)",
                            fx->prefix, fx->prefix), atoi(lane)) && good;
    free(got);
    free(hex);
    return good;
}

static void test_lanes(struct fixture *fx)
{
    char *text = golden_read("lanes.tsv"), *rest = text, *line;
    int lines = 0;

    REQUIRE(text != NULL, "no golden file");
    while ((line = strsep(&rest, "\n")) != NULL && (lines < 100))
        if (line[0] != '#' && line[0] != '\0' && strncmp(line, "key\t", 4) != 0) {
            lines++;
            if (!check_lanes(fx, line))
                break;
        }
    CHECK(lines > 50, "%d keys", lines);
    free(text);
}

static int take_record(void *user, const outbox_record *r)
{
    size_t size, headers;
    const char *payload = outbox_record_payload(r, &size), *type = outbox_record_content_type(r);
    const char *key = outbox_record_partition_key(r);

    outbox_record_headers(r, &headers);
    snprintf(user, 1000, "%s|%s|%s|%zu|%d|%.*s", outbox_record_topic(r), key ? key : "-", type ? type : "-", headers,
             outbox_record_max_attempts(r), (int)size, payload);
    return 0;
}

static void test_arguments(struct fixture *fx)
{
    char got[1000] = "", *id;
    int64_t wait;

    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', 'é😀', 'k', '{\"a\":\"b\",\"c\":\"\"}', 'c/t', '', NULL, 7, "
                      "'01890A5D-AC96-774B-BCCE-B302099A8057', 'd', 3600.5)", fx->prefix), 0);
    OK(outbox_get(fx->conn, UUID, take_record, got, &fx->err));
    CHECK_STR(got, "t|k|c/t|2|7|é😀");
    wait = db_int(&fx->db, "SELECT available_at - created_at FROM %smessages", fx->prefix);
    CHECK(wait > 3590 * SECOND_US && wait <= 3600 * SECOND_US + SECOND_US / 2, "a delay of %lld us", (long long)wait);
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('at', x'00FF', '', NULL, '', NULL, "
                      "TIMESTAMP '2100-01-01 00:00:00.001')", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT available_at FROM %smessages WHERE topic = 'at' AND partition_key IS NULL AND "
                     "content_type IS NULL AND payload = x'00FF'", fx->prefix), INT64_C(4102444800001000));
    id = db_text(&fx->db, "SELECT id FROM %smessages WHERE topic = 'at'", fx->prefix);
    CHECK(id != NULL && strlen(id) == 36 && !isupper((unsigned char)id[0]), "an id %s", id ? id : "NULL");
    free(id);
}

static void test_refused(struct fixture *fx)
{
    static const struct {
        const char *arguments, *said;
    } cases[] = {
        {"NULL, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "topic is required"},
        {"'', 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "topic is required"},
        {"'t', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "payload is NULL"},
        {"LPAD('', 256, 'x'), 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "expected length 255"},
        {"'t' || ASCII_CHAR(10), 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "topic has a control character"},
        {"'t' || ASCII_CHAR(127), 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n'", "topic has a control character"},
        {"'t', 'x', NULL, NULL, ASCII_CHAR(13), NULL, NULL, NULL, NULL, 'n'", "content_type has a control"},
        {"'t', 'x', NULL, NULL, NULL, ASCII_CHAR(1), NULL, NULL, NULL, 'n'", "message_type has a control"},
        {"'t', 'x', NULL, '[1]', NULL, NULL, NULL, NULL, NULL, 'n'", "headers must be a JSON object"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, 0, NULL, 'n'", "max_attempts must be at least 1"},
        {"'t', 'x', NULL, NULL, NULL, NULL, TIMESTAMP '1969-12-31 00:00:00', NULL, NULL, 'n'", "before 1970"},
        {"'t', 'x', NULL, NULL, NULL, NULL, TIMESTAMP '2100-01-01 00:00:00', NULL, NULL, 'n', 1", "exclude each other"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'n', -1", "delay must not be negative"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, 'no', 'n'", "id is not a UUID"},
        {"'t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, REPLACE('" UUID "', 'a', 'g'), 'n'", "id is not a UUID"},
    };

    fx->db.quiet = 1;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fx->db.error[0] = '\0';
        CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue(%s)", fx->prefix, cases[i].arguments), -1);
        CHECK(strstr(fx->db.error, cases[i].said) != NULL, "%s: %s", cases[i].arguments, fx->db.error);
    }
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %smessages", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 0);
}

/* Ids and dedup_keys are one set, whoever enqueues; a call is all or nothing. */
static void test_dedup(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1"), n = m;

    m.dedup_key = "c first";
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, '" UUID "', "
                      "'sql first')", fx->prefix), 0);
    fx->db.quiet = 1;
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, "
                      "'11890a5d-ac96-774b-bcce-b302099a8057', 'c first')", fx->prefix), -1);
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', 'x', NULL, NULL, NULL, NULL, NULL, NULL, '" UUID "', 'new')",
                      fx->prefix), -1);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdedup", fx->prefix), 3);
    m.dedup_key = "sql first";
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    n.id = UUID;
    EXPECT(outbox_enqueue(fx->conn, &n, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_waiting(fx), 2);
}

/* A relay delivers it, in its order. */
static void test_delivered(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;

    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', '1', 'k', '{\"a\":\"b\"}', 'c/t')", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', '2', 'k')", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', '3', 'k')", fx->prefix), 0);
    expect_drained(fx, fixture_consumer(fx, NULL), "1 2 3");
    CHECK_INT(db_exec(&fx->db, "EXECUTE PROCEDURE %senqueue('t', 'by a relay')", fx->prefix), 0);
    stage_init(&s);
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(stage_get(&s, &s.published), 1);
    CHECK_INT(count_waiting(fx), 0);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* isql, with the installed files. */
static void test_installed(struct fixture *fx)
{
    const char *database = strstr(fx->dsn, "Database=");
    outbox_conf *conf = NULL;
    char command[2048];
    int applied = -1;

    REQUIRE(database != NULL, "no database in %s", fx->dsn);
    database += strlen("Database=");
    snprintf(command, sizeof command, "for f in '%s'/migrations/rendered/firebird/*.sql; do isql-fb -q -bail -ch UTF8 -user outbox "
             "-password outbox '%.*s' -i \"$f\" || exit 1; done", build_folder(), (int)strcspn(database, ";"), database);
    CHECK_INT(system(command), 0);
    MUST(outbox_conf_new(&conf, &fx->err));
    outbox_conf_free(fx->conf);
    fx->conf = conf;
    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    MUST(outbox_migrate(fx->conn, &applied, &fx->err));
    CHECK_INT(applied, 0);
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    OK(outbox_conn_execute(fx->conn, "EXECUTE PROCEDURE outbox_enqueue('t', 'x')", &fx->err));
    CHECK_INT(count_waiting(fx), 2);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"sql: the golden lanes", test_lanes, 0},
        {"sql: arguments", test_arguments, 0},
        {"sql: what is refused", test_refused, 0},
        {"sql: dedup, with the library", test_dedup, 0},
        {"sql: a relay delivers it", test_delivered, 0},
        {"sql: installed files make an outbox", test_installed, 1},
    };

    if (getenv("OUTBOX_TEST_FIREBIRD") == NULL)
        return tap_skip_all("no Firebird: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("firebird/delete"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
