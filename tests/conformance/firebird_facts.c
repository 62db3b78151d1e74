/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Firebird says when something goes wrong, and what the library makes of it: each is caused on the server. Twice,
 * as drivers either tell the server's SQLSTATE or call everything HY000.
 */
#include "lib-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char blind[400], isolation[200];
};

static int take_finding(void *user, const outbox_finding *f)
{
    struct findings *all = user;

    if (f->severity != OUTBOX_FACT && all->wrong[0] == '\0')
        snprintf(all->wrong, sizeof all->wrong, "%s", f->name);
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
    struct findings all = {"", "", ""};
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
    CHECK(strstr(all.blind, "rights") != NULL && strstr(all.blind, "indexes") != NULL &&
          strstr(all.blind, "the time zone") != NULL && strstr(all.blind, "firebird") != NULL, "what is not asked? %s",
          all.blind);
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

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"connecting", test_connecting}, {"statements", test_statements}, {"the doctor", test_doctor},
                 {"a server that is gone", test_gone}};
    const char *server = getenv("OUTBOX_TEST_FIREBIRD");

    if (server == NULL)
        return tap_skip_all("no Firebird: run it through tests/run-test");
    for (int hidden = 0; hidden < 2; hidden++)
        for (size_t i = 0; i < COUNT_OF(tests); i++) {
            snprintf(dsn, sizeof dsn, "%s;LockTimeout=1%s", server, hidden ? ";States=HY000" : "");
            tap_begin("%s%s", tests[i].name, hidden ? ", with HY000 for all" : "");
            tests[i].run();
            tap_end();
        }
    return tap_finish();
}
