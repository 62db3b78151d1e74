/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Firebird says when something goes wrong, and what the library makes of it: each is caused on the server. Twice,
 * as drivers either tell the server's SQLSTATE or call everything HY000.
 */
#include "lib-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char dsn[600];

static outbox_conn *connect_as(const char *string, const char *prefix, outbox_error **err)
{
    outbox_conn *conn = NULL;
    outbox_conf *conf = NULL;

    outbox_conf_new(&conf, NULL);
    outbox_conf_set(conf, "schema.prefix", prefix, NULL);
    outbox_conn_open(string, conf, &conn, err);
    outbox_conf_free(conf);
    return conn;
}

static void refused(const char *string, const char *name)
{
    outbox_error *err = NULL;
    outbox_conn *conn = connect_as(string, "f_", &err);

    CHECK(conn == NULL && outbox_error_status(err) == OUTBOX_ERR_CONNECT, "connected with %s", string);
    CHECK_STR(outbox_error_name(err), name);
    tap_note("%s", outbox_error_message(err));
    outbox_error_free(err);
    outbox_conn_close(conn);
}

static void test_connecting(void)
{
    char text[700], *at;

    snprintf(text, sizeof text, "%s;PWD=wrong", dsn);
    at = strstr(text, "PWD=outbox");
    memcpy(at, "XXX=outbox", 10);
    refused(text, "database.password");
    snprintf(text, sizeof text, "%s", dsn);
    at = strstr(text, "test.fdb");
    memcpy(at, "none.fdb", 8);
    refused(text, "database.unknown");
    refused("Driver={Firebird};Database=127.0.0.1/1:x;UID=u;PWD=p", "database.connect");
}

/* An error of a statement on conn: its status and name. */
static void fails(outbox_conn *conn, const char *sql, int status, const char *name)
{
    outbox_error *err = NULL;

    CHECK_INT(outbox_conn_execute(conn, sql, &err), status);
    CHECK_STR(outbox_error_name(err), name);
    tap_note("%s", outbox_error_message(err));
    outbox_error_free(err);
}

static void test_statements(void)
{
    outbox_conn *a = connect_as(dsn, "f_", NULL), *b = connect_as(dsn, "f_", NULL), *none = connect_as(dsn, "no_", NULL);
    outbox_message m = OUTBOX_MESSAGE_INIT;
    outbox_error *err = NULL;

    REQUIRE(a != NULL && b != NULL && none != NULL && outbox_migrate(a, NULL, NULL) == OUTBOX_OK, "no outbox");
    m.topic = "t";
    m.payload = "1";
    m.payload_size = 1;
    CHECK_INT(outbox_enqueue(none, &m, 1, NULL, &err), OUTBOX_ERR_SCHEMA);
    outbox_error_free(err);
    outbox_conn_execute(a, "DELETE FROM f_dedup", NULL);
    m.dedup_key = "x";
    CHECK_INT(outbox_enqueue(a, &m, 1, NULL, NULL), OUTBOX_OK);
    m.dedup_key = "x ";
    CHECK_INT(outbox_enqueue(a, &m, 1, NULL, NULL), OUTBOX_OK);
    err = NULL;
    CHECK_INT(outbox_enqueue(a, &m, 1, NULL, &err), OUTBOX_ERR_DUPLICATE);
    CHECK(strstr(outbox_error_message(err), "enqueued before") != NULL, "%s", outbox_error_message(err));
    outbox_error_free(err);
    fails(a, "SELECT nothing FROM f_meta", OUTBOX_ERR_SCHEMA, "schema.missing");
    fails(a, "INSERT INTO f_lanes (lane) VALUES (0)", OUTBOX_ERR_DUPLICATE, "database.duplicate");
    /* What was waited for in vain is told as a conflict. */
    CHECK_INT(outbox_conn_begin(a, NULL) || outbox_conn_begin(b, NULL), OUTBOX_OK);
    CHECK_INT(outbox_conn_execute(a, "UPDATE f_lanes SET pos = 0 WHERE lane = 1", NULL), OUTBOX_OK);
    fails(b, "UPDATE f_lanes SET pos = 0 WHERE lane = 1", OUTBOX_ERR_CONFLICT, "database.conflict");
    CHECK_INT(outbox_conn_commit(b, NULL), OUTBOX_ERR_CONFLICT);
    CHECK_INT(outbox_conn_rollback(a, NULL), OUTBOX_OK);
    outbox_conn_close(a);
    outbox_conn_close(b);
    outbox_conn_close(none);
}

/* The server is gone in the middle. */
static void test_gone(void)
{
    char command[300];
    outbox_conn *a = connect_as(dsn, "f_", NULL);

    REQUIRE(a != NULL, "no connection");
    snprintf(command, sizeof command, "%s kill && %s start", getenv("OUTBOX_TEST_FIREBIRD_CTL"),
             getenv("OUTBOX_TEST_FIREBIRD_CTL"));
    REQUIRE(system(command) == 0, "the server does not start again");
    fails(a, "UPDATE f_lanes SET pos = 0 WHERE lane = 1", OUTBOX_ERR_LOST, "database.lost");
    outbox_conn_close(a);
    a = connect_as(dsn, "f_", NULL);
    CHECK(a != NULL && outbox_conn_execute(a, "UPDATE f_lanes SET pos = 0 WHERE lane = 1", NULL) == OUTBOX_OK,
          "it does not work again");
    outbox_conn_close(a);
}

/* ---- The doctor ---- */

struct findings {
    char wrong[200]; /* the first that is no fact */
    char blind[400], isolation[200], advice[300];
};

static int take_finding(void *user, const outbox_finding *f)
{
    struct findings *all = user;

    if (f->severity != OUTBOX_FACT && all->wrong[0] == '\0') {
        snprintf(all->wrong, sizeof all->wrong, "%s", f->name);
        snprintf(all->advice, sizeof all->advice, "%s", f->advice != NULL ? f->advice : "");
    }
    if (f->severity != OUTBOX_FACT)
        tap_note("%s: %s", f->name, f->text);
    if (strcmp(f->name, "doctor.blind") == 0)
        snprintf(all->blind, sizeof all->blind, "%s", f->text);
    if (strcmp(f->name, "server.isolation") == 0)
        snprintf(all->isolation, sizeof all->isolation, "%s", f->text);
    return 0;
}

static struct findings ask_doctor(void)
{
    struct findings all = {"", "", "", ""};
    outbox_conf *conf = NULL;

    outbox_conf_new(&conf, NULL);
    outbox_conf_set(conf, "schema.prefix", "f_", NULL);
    CHECK_INT(outbox_diagnose(dsn, conf, NULL, take_finding, &all, NULL), OUTBOX_OK);
    outbox_conf_free(conf);
    return all;
}

static void set_mode(const char *mode)
{
    char command[900], *at = strstr(dsn, "Database=");

    REQUIRE(at != NULL, "no database in %s", dsn);
    at += strlen("Database=");
    snprintf(command, sizeof command, "PATH=$PATH:/opt/firebird/bin gfix -user outbox -password outbox -mode %s '%.*s' 2>&1",
             mode, (int)strcspn(at, ";"), at);
    CHECK(system(command) == 0, "%s failed", command);
}

/* What it does not ask there it says, and a database that takes no writes it finds. */
static void test_doctor(void)
{
    struct findings all;
    outbox_conn *conn = connect_as(dsn, "f_", NULL);

    REQUIRE(conn != NULL && outbox_migrate(conn, NULL, NULL) == OUTBOX_OK, "no outbox");
    outbox_conn_close(conn);
    all = ask_doctor();
    CHECK_STR(all.wrong, "");
    CHECK_STR(all.blind, "missing indexes, long transactions, the time zone: not asked of the dialect firebird, so look yourself");
    /* Where the dialect has no question, the ODBC driver answers; or the doctor says that nobody does. */
    CHECK_STR(all.isolation, strstr(dsn, "States=HY000") == NULL
                                 ? "transactions of applications are read committed, as the ODBC driver says"
                                 : "the ODBC driver does not say which isolation level transactions of applications get");
    set_mode("read_only");
    all = ask_doctor();
    CHECK_STR(all.wrong, "server.readonly");
    set_mode("read_write");
    all = ask_doctor();
    CHECK_STR(all.wrong, "");
}

/* ---- Rights ---- */

struct missing {
    char commands[40][120];
    size_t count;
    int others; /* findings that are no facts, and not about rights */
};

static int take_missing(void *user, const outbox_finding *f)
{
    struct missing *all = user;

    if (f->severity != OUTBOX_FACT)
        tap_note("%s: %s", f->name, f->text);
    if (strcmp(f->name, "permission.missing") == 0 && f->command != NULL && all->count < COUNT_OF(all->commands))
        snprintf(all->commands[all->count++], sizeof all->commands[0], "%s", f->command);
    else if (f->severity != OUTBOX_FACT)
        all->others++;
    return 0;
}

static struct missing ask_for_rights(const char *string, unsigned roles)
{
    outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;
    struct missing all = {.count = 0};
    outbox_conf *conf = NULL;

    options.roles = roles;
    outbox_conf_new(&conf, NULL);
    outbox_conf_set(conf, "schema.prefix", "f_", NULL);
    CHECK_INT(outbox_diagnose(string, conf, &options, take_missing, &all, NULL), OUTBOX_OK);
    outbox_conf_free(conf);
    return all;
}

/* What the doctor names, granted as it says, is what a user needs who has nothing: no more is missing, and he enqueues. */
static void test_rights(void)
{
    char string[600], *at;
    outbox_conn *owner = connect_as(dsn, "f_", NULL), *poor;
    outbox_message m = OUTBOX_MESSAGE_INIT;
    struct missing all;

    REQUIRE(owner != NULL && outbox_migrate(owner, NULL, NULL) == OUTBOX_OK, "no outbox");
    snprintf(string, sizeof string, "%s", dsn);
    at = strstr(string, "UID=outbox;PWD=outbox");
    REQUIRE(at != NULL, "who is it? %s", string);
    memcpy(at, "UID=poor;PWD=poor;;;;", 21);
    CHECK_INT(outbox_conn_execute(owner, "GRANT SELECT ON f_meta TO poor", NULL), OUTBOX_OK);
    all = ask_for_rights(string, OUTBOX_ROLE_WRITER);
    CHECK_INT(all.count, 3); /* the function, and two tables to insert into */
    CHECK(strcmp(all.commands[0], "GRANT EXECUTE ON FUNCTION f_now TO \"POOR\"") == 0, "what is missing? %s", all.commands[0]);
    for (size_t i = 0; i < all.count; i++)
        CHECK_INT(outbox_conn_execute(owner, all.commands[i], NULL), OUTBOX_OK);
    all = ask_for_rights(string, OUTBOX_ROLE_WRITER);
    CHECK_INT(all.count + (size_t)all.others, 0);
    poor = connect_as(string, "f_", NULL);
    m.topic = "t";
    m.payload = "1";
    m.payload_size = 1;
    m.dedup_key = "rights";
    CHECK(poor != NULL && outbox_enqueue(poor, &m, 1, NULL, NULL) == OUTBOX_OK, "a writer cannot write");
    outbox_conn_close(poor);
    all = ask_for_rights(string, 0);
    CHECK(all.count > 10, "%zu are missing", all.count);
    for (size_t i = 0; i < all.count; i++)
        CHECK_INT(outbox_conn_execute(owner, all.commands[i], NULL), OUTBOX_OK);
    all = ask_for_rights(string, 0);
    CHECK_INT(all.count + (size_t)all.others, 0);
    CHECK_INT(outbox_conn_execute(owner, "REVOKE ALL ON ALL FROM poor", NULL), OUTBOX_OK);
    CHECK(outbox_conn_execute(owner, "DELETE FROM f_messages", NULL) == OUTBOX_OK &&
          outbox_conn_execute(owner, "DELETE FROM f_dedup", NULL) == OUTBOX_OK, "it is still there");
    outbox_conn_close(owner);
}

/* ---- Time zones ---- */

static void restart_in(const char *zone)
{
    const struct target *target = target_find("firebird/delete");

    setenv("OUTBOX_TEST_FIREBIRD_ZONE", zone, 1);
    CHECK(target_control(target, "kill") && target_control(target, "start"), "the server does not start in %s", zone);
    unsetenv("OUTBOX_TEST_FIREBIRD_ZONE");
}

/* A server of version 3 that does not run in UTC tells another time, which no time service mends. */
static void test_server_zone(void)
{
    outbox_conn *conn = connect_as(dsn, "f_", NULL);
    struct findings all;
    struct db db;
    char *version = NULL;

    REQUIRE(conn != NULL && outbox_migrate(conn, NULL, NULL) == OUTBOX_OK, "no outbox");
    outbox_conn_close(conn);
    if (CHECK_INT(db_open(&db, dsn, 1), 0))
        version = db_text(&db, "SELECT RDB$GET_CONTEXT('SYSTEM', 'ENGINE_VERSION') FROM RDB$DATABASE");
    db_close(&db);
    restart_in("XXX-5:45");
    all = ask_doctor();
    if (version != NULL && version[0] == '3') {
        CHECK_STR(all.wrong, "clock.skew");
        CHECK(strstr(all.advice, "TZ=UTC") != NULL, "what to do? %s", all.advice);
    } else {
        CHECK_STR(all.wrong, "");
    }
    restart_in("UTC");
    all = ask_doctor();
    CHECK_STR(all.wrong, "");
    free(version);
}

/* The application's own is nobody's business: times come and go as they are, by the library and by plain SQL. */
static void test_own_zone(void)
{
    outbox_conn *conn;
    outbox_message m = OUTBOX_MESSAGE_INIT;
    struct db db;
    char *rows;

    setenv("TZ", "XXX-5:45", 1);
    tzset();
    conn = connect_as(dsn, "f_", NULL);
    REQUIRE(conn != NULL && outbox_migrate(conn, NULL, NULL) == OUTBOX_OK, "no outbox");
    m.topic = "zone";
    m.payload = "1";
    m.payload_size = 1;
    m.available_at = INT64_C(4102444800001000);
    CHECK_INT(outbox_enqueue(conn, &m, 1, NULL, NULL), OUTBOX_OK);
    CHECK_INT(outbox_conn_execute(conn, "EXECUTE PROCEDURE f_enqueue('zone', '2', NULL, NULL, NULL, NULL, "
                                  "TIMESTAMP '2100-01-01 00:00:00.001')", NULL), OUTBOX_OK);
    if (CHECK_INT(db_open(&db, dsn, 1), 0)) {
        rows = db_rows(&db, "SELECT CAST(available_at AS VARCHAR(20)) || ' ' || CAST(CASE WHEN ABS(created_at - %lld) < "
                       "%lld THEN 1 ELSE 0 END AS VARCHAR(2)) FROM f_messages WHERE topic = 'zone' ORDER BY seq",
                       (long long)time(NULL) * 1000000, (long long)HOUR_MS * 1000 / 2);
        CHECK_STR(rows, "4102444800001000 1\n4102444800001000 1\n");
        free(rows);
        CHECK_INT(db_exec(&db, "DELETE FROM f_messages"), 0);
    }
    db_close(&db);
    outbox_conn_close(conn);
    unsetenv("TZ");
    tzset();
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
        int once; /* errors have nothing to do with it */
    } tests[] = {{"connecting", test_connecting, 0}, {"statements", test_statements, 0}, {"the doctor", test_doctor, 0},
                 {"rights", test_rights, 0}, {"a server in another time zone", test_server_zone, 1},
                 {"an application in another one", test_own_zone, 1}, {"a server that is gone", test_gone, 0}};
    const char *server = getenv("OUTBOX_TEST_FIREBIRD");

    if (server == NULL)
        return tap_skip_all("no Firebird: run it through tests/run-test");
    for (int hidden = 0; hidden < 2; hidden++)
        for (size_t i = 0; i < COUNT_OF(tests); i++) {
            if (hidden && tests[i].once)
                continue;
            snprintf(dsn, sizeof dsn, "%s;LockTimeout=1%s", server, hidden ? ";States=HY000" : "");
            tap_begin("%s%s", tests[i].name, hidden ? ", with HY000 for all" : "");
            tests[i].run();
            tap_end();
        }
    return tap_finish();
}
