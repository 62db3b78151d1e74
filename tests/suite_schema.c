/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables: made once, by whoever comes first; named as told; never mixed up. And the contract of lanes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

static int is_generic(const struct fixture *fx)
{
    return strcmp(fx->target->driver, "generic") == 0;
}

static int migration_total(struct fixture *fx, outbox_conn *conn, int *applied)
{
    outbox_migration m;
    int total = 0;

    *applied = 0;
    memset(&m, 0, sizeof m);
    m.size = sizeof m;
    while (outbox_migration_get(conn, (size_t)total, &m, &fx->err) == OUTBOX_OK) {
        CHECK_INT(m.number, total + 1);
        CHECK(m.name != NULL && m.name[0] != '\0', "migration %d has no name", m.number);
        *applied += m.applied;
        total++;
    }
    return total;
}

static void test_migrate(struct fixture *fx)
{
    int applied = 77, total;

    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    total = migration_total(fx, fx->conn, &applied);
    CHECK(total > 0, "no migrations");
    CHECK_INT(applied, 0);
    OK(outbox_migrate(fx->conn, &applied, &fx->err));
    CHECK_INT(applied, total);
    OK(outbox_migrate(fx->conn, &applied, &fx->err));
    CHECK_INT(applied, 0);
    CHECK_INT(migration_total(fx, fx->conn, &applied), total);
    CHECK_INT(applied, total);
    CHECK_STR(outbox_conn_driver(fx->conn), fx->target->driver);
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    /* Nothing is lost by migrating again. */
    OK(outbox_migrate(fx->conn, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
}

/* What a process of test_migrate_together() exits with: the migrations that it applied, or 100. */
static int migrate_once(const struct fixture *fx, int go)
{
    outbox_conf *conf = fixture_conf(fx);
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    int applied = 0, rc;
    char byte;

    rc = outbox_conn_open(fx->dsn, conf, &conn, &err);
    if (read(go, &byte, 1) != 0)
        return 101;
    if (rc == OUTBOX_OK)
        rc = outbox_migrate(conn, &applied, &err);
    if (rc != OUTBOX_OK)
        printf("# %s: %s\n", outbox_status_name(rc), err ? outbox_error_message(err) : "");
    outbox_error_free(err);
    outbox_conn_close(conn);
    outbox_conf_free(conf);
    return rc == OUTBOX_OK ? applied : 100;
}

/* All connect, then all start at the same moment. */
static void test_migrate_together(struct fixture *fx)
{
    enum { PROCESSES = 4 };
    pid_t pids[PROCESSES];
    int go[2], status, sum = 0, total, applied;

    if (skip_on_firebird(fx, "Firebird 3.0 lets two connections make one index, and then finds too many keys in it"))
        return;
    REQUIRE(pipe(go) == 0, "no pipe");
    fflush(stdout);
    for (int i = 0; i < PROCESSES; i++)
        if ((pids[i] = fork()) == 0) {
            close(go[1]);
            status = migrate_once(fx, go[0]);
            fflush(stdout);
            _exit(status);
        }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < PROCESSES; i++) {
        CHECK(waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) && WEXITSTATUS(status) < 100,
              "process %d ended with %x", i, (unsigned)status);
        sum += WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    }
    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    total = migration_total(fx, fx->conn, &applied);
    CHECK_INT(applied, total);
    CHECK_INT(sum, total);
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    CHECK_INT(count_waiting(fx), 1);
}

/* One table of the outbox was dropped: migrating must not say that all is well. */
static void test_incomplete(struct fixture *fx)
{
    static const char *const tables[] = {"messages", "lanes", "deferred", "published", "positions", "dedup", "audit"};
    char name[64];

    if (skip_on_firebird(fx, "Firebird renames no tables"))
        return;
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        snprintf(name, sizeof name, "%s%s", fx->prefix, tables[i]);
        CHECK_INT(db_exec(&fx->db, "ALTER TABLE %s RENAME TO away", name), 0);
        EXPECT(outbox_migrate(fx->conn, NULL, &fx->err), OUTBOX_ERR_SCHEMA);
        CHECK_STR(fx->name, "schema.incomplete");
        CHECK(strstr(fx->message, name) != NULL, "%s is not named in: %s", name, fx->message);
        CHECK_INT(db_exec(&fx->db, "ALTER TABLE away RENAME TO %s", name), 0);
        OK(outbox_migrate(fx->conn, NULL, &fx->err));
    }
}

static void test_missing(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    outbox_consumer *consumer = NULL;
    outbox_counts counts;

    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_SCHEMA);
    CHECK(strstr(fx->message, "outboxctl migrate") != NULL, "no advice in: %s", fx->message);
    EXPECT(outbox_consumer_new(fx->conn, fx->conf, NULL, &consumer, &fx->err), OUTBOX_ERR_SCHEMA);
    CHECK(strstr(fx->message, "outboxctl migrate") != NULL, "no advice in: %s", fx->message);
    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    EXPECT(outbox_count(fx->conn, &counts, &fx->err), OUTBOX_ERR_SCHEMA);
    EXPECT(outbox_clean(fx->conn, fx->conf, NULL, &fx->err), OUTBOX_ERR_SCHEMA);
    /* And the connection is none the worse for it. */
    OK(outbox_migrate(fx->conn, NULL, &fx->err));
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
}

/* The setting contradicts what the outbox was made with. */
static void test_wrong_settle(struct fixture *fx)
{
    int deletes = is_generic(fx) || strcmp(fx->target->settle, "delete") == 0;
    outbox_conn *conn = NULL;
    outbox_consumer *consumer = NULL;
    int rc;

    fixture_set(fx, "schema.settle", deletes ? "position" : "delete");
    rc = outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err);
    if (rc == OUTBOX_OK)
        rc = outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err);
    EXPECT(rc, OUTBOX_ERR_CONF);
    CHECK(strstr(fx->message, "settle") != NULL, "no setting in: %s", fx->message);
    outbox_consumer_free(consumer);
    outbox_conn_close(conn);
    fixture_set(fx, "schema.settle", "auto");
    CHECK((consumer = fixture_consumer(fx, NULL)) != NULL, "\"auto\" does not take what is there");
}

/* Tables that another driver made are not the ones that this driver's statements are for: it says whose they are. */
static void test_other_dialect(struct fixture *fx)
{
    const char *other = is_generic(fx) ? "auto" : "generic";
    outbox_message m = text_message("t", "k", "1");
    outbox_consumer *consumer = NULL;
    outbox_conn *conn;

    if (skip_on_firebird(fx, "the generic statements do not run on Firebird"))
        return;
    CHECK(send_text(fx, "t", "k", "1"), "not sent");
    fixture_set(fx, "driver", other);
    fixture_set(fx, "schema.settle", "auto");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    CHECK_STR(fx->name, "driver.other_dialect");
    CHECK(strstr(fx->message, fx->target->driver) != NULL, "no driver in: %s", fx->message);
    EXPECT(outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    EXPECT(outbox_migrate(conn, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    CHECK_INT(count_waiting(fx), 1);
}

/* A driver that cannot settle by position neither makes such an outbox nor works on one. */
static void test_no_position(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_conn *conn;
    char *sql = NULL;

    if (!is_generic(fx))
        return;
    fixture_set(fx, "schema.settle", "position");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_migrate(conn, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    EXPECT(outbox_migrations_print("generic", fx->conf, &sql, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    fixture_set(fx, "driver", "auto");
    fixture_set(fx, "schema.settle", "auto");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    MUST(outbox_migrate(conn, NULL, &fx->err));
    fixture_set(fx, "driver", "generic");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    CHECK(strstr(fx->message, "driver") != NULL, "no setting in: %s", fx->message);
}

static void test_hostile_names(struct fixture *fx)
{
    static const char *const names[] = {"x\"; DROP TABLE y; --", "a b", "1a", "a-b", "a.b", "a'b", "ä", "a\nb", "{messages}",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        EXPECT(outbox_conf_set(fx->conf, "schema.prefix", names[i], &fx->err), OUTBOX_ERR_CONF);
        CHECK(strstr(fx->message, "schema.prefix") != NULL, "no key in: %s", fx->message);
        EXPECT(outbox_conf_set(fx->conf, "schema.name", names[i], &fx->err), OUTBOX_ERR_CONF);
    }
    CHECK_STR(outbox_conf_get(fx->conf, "schema.prefix"), fx->prefix);
}

/* Names that are words of SQL, in upper case, or as long as they may be. */
static void test_odd_names(struct fixture *fx)
{
    static const char *const names[] = {"select", "Order_", "A23456789012345678901234567890123456789_"};

    if (skip_on_firebird(fx, "names of Firebird 3 have 31 characters"))
        return;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        outbox_conn *conn;
        outbox_consumer *consumer;
        outbox_message m = text_message("t", "k", "1");

        fixture_set(fx, "schema.prefix", names[i]);
        REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
        OK(outbox_migrate(conn, NULL, &fx->err));
        OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
        m.dedup_key = "d";
        OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
        EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
        REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
        CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 2);
        OK(outbox_clean(conn, fx->conf, NULL, &fx->err));
    }
}

/* Two outboxes side by side: what is in one is not in the other, also for one connection. */
static void check_apart(struct fixture *fx, const char *key, const char *first, const char *second)
{
    outbox_conn *a, *b;
    outbox_consumer *ca, *cb;
    outbox_message m = text_message("t", "k", "1");
    struct seen seen = {0};

    fixture_set(fx, key, first);
    REQUIRE((a = fixture_connect(fx)) != NULL && OK(outbox_migrate(a, NULL, &fx->err)), "no outbox");
    REQUIRE((ca = fixture_consumer(fx, "same name")) != NULL, "no consumer");
    fixture_set(fx, key, second);
    REQUIRE((b = fixture_connect(fx)) != NULL && OK(outbox_migrate(b, NULL, &fx->err)), "no outbox");
    REQUIRE((cb = fixture_consumer(fx, "same name")) != NULL, "no consumer");
    m.dedup_key = "the same in both";
    OK(outbox_enqueue(a, &m, 1, NULL, &fx->err));
    CHECK_INT(drain(fx, cb, &seen), 0);
    m.payload = "2";
    OK(outbox_enqueue(b, &m, 1, NULL, &fx->err));
    CHECK_INT(drain(fx, ca, &seen), 1);
    CHECK_INT(drain(fx, cb, &seen), 1);
    CHECK_STR(seen_words(&seen), "1 2");
    seen_clear(&seen);
}

static void test_two_prefixes(struct fixture *fx)
{
    char one[40], two[40];

    snprintf(one, sizeof one, "%sone_", fx->prefix);
    snprintf(two, sizeof two, "%stwo_", fx->prefix);
    check_apart(fx, "schema.prefix", one, two);
}

static void test_two_schemas(struct fixture *fx)
{
    struct db db;

    const char *create = target_is_mariadb(fx->target) ? "CREATE SCHEMA IF NOT EXISTS `%s%s`"
                                                       : "CREATE SCHEMA IF NOT EXISTS \"%s%s\"";

    if (target_is_sqlite(fx->target) || target_is_firebird(fx->target)) {
        tap_skip("there are no schemas to create");
        return;
    }
    REQUIRE_INT(db_open(&db, fx->dsn, 1), 0);
    CHECK_INT(db_exec(&db, create, fx->prefix, "One"), 0);
    CHECK_INT(db_exec(&db, create, fx->prefix, "two"), 0);
    db_close(&db);
    {
        char one[40], two[40];

        snprintf(one, sizeof one, "%sOne", fx->prefix);
        snprintf(two, sizeof two, "%stwo", fx->prefix);
        check_apart(fx, "schema.name", one, two);
    }
}

/* The number of lanes is the database's, whatever the setting says later. */
static void test_lanes(struct fixture *fx)
{
    outbox_counts counts;
    outbox_conn *conn;

    fixture_set(fx, "schema.lanes", "7");
    REQUIRE(fixture_migrate(fx) == 0, "no outbox");
    fixture_set(fx, "schema.lanes", "64");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    OK(outbox_count(conn, &counts, &fx->err));
    CHECK_INT(counts.lanes, 7);
    fx->conn = conn;
    send_text(fx, "t", "order-1", "1");
    CHECK_INT(db_int(&fx->db, "SELECT lane FROM %smessages", fx->prefix), 3);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %slanes WHERE lane >= 0", fx->prefix), 7);
}

/* First four bytes of SHA-256, big-endian, modulo: computed once, elsewhere, and never to change. */
static const struct {
    const char *key;
    int of16, of64, of7, of1024;
} golden[] = {
    {"hello", 10, 58, 0, 442}, {"order-1", 1, 33, 3, 545}, {"ключ", 2, 50, 5, 562},
    {"😀", 4, 52, 2, 564},     {"a", 2, 18, 2, 274},        {"customer:42", 13, 61, 4, 1021},
};

static int64_t procedure_lane(struct fixture *fx, const char *key, int lanes)
{
    return db_exec(&fx->db, "CALL %slane('%s', %d, @lane)", fx->prefix, key, lanes) == 0
               ? db_int(&fx->db, "SELECT @lane") : -1;
}

static void test_golden(struct fixture *fx)
{
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        CHECK_INT(outbox_lane_of_key(golden[i].key, 1), 0);
        CHECK_INT(outbox_lane_of_key(golden[i].key, 16), golden[i].of16);
        CHECK_INT(outbox_lane_of_key(golden[i].key, 64), golden[i].of64);
        CHECK_INT(outbox_lane_of_key(golden[i].key, 7), golden[i].of7);
        CHECK_INT(outbox_lane_of_key(golden[i].key, 1024), golden[i].of1024);
    }
    CHECK_INT(outbox_lane_of_key("", 64), -1);
    CHECK_INT(outbox_lane_of_key(NULL, 64), -1);
    for (size_t i = 0; i < COUNT_OF(golden) && strcmp(fx->target->driver, "mariadb") == 0; i++) {
        CHECK_INT(procedure_lane(fx, golden[i].key, 64), golden[i].of64);
        CHECK_INT(procedure_lane(fx, golden[i].key, 7), golden[i].of7);
        CHECK_INT(procedure_lane(fx, golden[i].key, 1024), golden[i].of1024);
    }
    if (strcmp(fx->target->driver, "postgresql") != 0)
        return;
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        CHECK_INT(db_int(&fx->db, "SELECT %slane('%s', 64)", fx->prefix, golden[i].key), golden[i].of64);
        CHECK_INT(db_int(&fx->db, "SELECT %slane('%s', 7)", fx->prefix, golden[i].key), golden[i].of7);
        CHECK_INT(db_int(&fx->db, "SELECT %slane('%s', 1024)", fx->prefix, golden[i].key), golden[i].of1024);
    }
}

static void test_print(struct fixture *fx)
{
    static const char *const dialects[] = {"postgresql", "sqlite", "generic", "mariadb"};
    char *sql = NULL;

    fixture_set(fx, "schema.settle", "auto");
    for (size_t i = 0; i < COUNT_OF(dialects); i++) {
        OK(outbox_migrations_print(dialects[i], fx->conf, &sql, &fx->err));
        CHECK(sql != NULL && strstr(sql, fx->prefix) != NULL && strstr(sql, "CREATE TABLE") != NULL, "%s: %.200s",
              dialects[i], sql ? sql : "NULL");
        CHECK(sql != NULL && strchr(sql, '{') == NULL, "%s: a placeholder is left", dialects[i]);
        outbox_free(sql);
        sql = NULL;
    }
    EXPECT(outbox_migrations_print("dbase", fx->conf, &sql, &fx->err), OUTBOX_ERR_UNSUPPORTED);
}

/* Without the setting, the connection says what it is. */
static void test_auto(struct fixture *fx)
{
    outbox_conn *conn;

    fixture_set(fx, "driver", "auto");
    fixture_set(fx, "schema.settle", "auto");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    CHECK_STR(outbox_conn_driver(conn), fx->target->database);
}

static void test_no_connection(struct fixture *fx)
{
    outbox_conn *conn = NULL;

    if (target_is_postgresql(fx->target))
        EXPECT(outbox_conn_open("Driver={PostgreSQL Unicode};Servername=/nonexistent;Database=x;UID=u;PWD=s3cr3t;Password=s3cr3t",
                                fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    else if (target_is_mariadb(fx->target))
        EXPECT(outbox_conn_open("Driver={MariaDB};Socket=/nonexistent;Database=x;UID=u;PWD=s3cr3t;Password=s3cr3t",
                                fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    else if (target_is_firebird(fx->target))
        EXPECT(outbox_conn_open("Driver={Firebird};Database=127.0.0.1/1:x;UID=u;PWD=s3cr3t", fx->conf, &conn, &fx->err),
               OUTBOX_ERR_CONNECT);
    else
        EXPECT(outbox_conn_open("sqlite:/nonexistent/s3cr3t/../db", fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    CHECK(!target_is_sqlite(fx->target) ? strstr(fx->message, "s3cr3t") == NULL : 1, "a password in: %s", fx->message);
    CHECK(conn == NULL, "an error with a connection");
    EXPECT(outbox_conn_open("no_such_dsn", fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
}

/* A message in a lane that nobody claims would never be seen: it is refused when it is written. */
static void test_lane_exists(struct fixture *fx)
{
    static const int bad[] = {-1, 3, 64};

    fixture_set(fx, "schema.lanes", "3");
    REQUIRE(fixture_migrate(fx) == 0, "no outbox");
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(db_exec(&fx->db, "INSERT INTO %smessages (lane, id, topic, payload) VALUES (%d, "
                      "'01890a5d-ac96-774b-bcce-b302099a8057', 't', %s)", fx->prefix, bad[i],
                      target_is_postgresql(fx->target) ? "'\\x32'" : "x'32'") != 0, "lane %d was taken", bad[i]);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (lane, id, topic, payload) VALUES (2, "
                      "'01890a5d-ac96-774b-bcce-b302099a8057', 't', %s)", fx->prefix,
                      target_is_postgresql(fx->target) ? "'\\x32'" : "x'32'"), 0);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), NULL), 1);
}

void suite_schema(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"schema: migrate, and migrate again", test_migrate, 1},
        {"schema: four processes migrate at once", test_migrate_together, 1},
        {"schema: a lane that does not exist", test_lane_exists, 1},
        {"schema: missing tables", test_missing, 1},
        {"schema: one table is gone", test_incomplete, 0},
        {"schema: settings that contradict the outbox", test_wrong_settle, 0},
        {"schema: tables that another driver made", test_other_dialect, 0},
        {"schema: position settling asks for a driver that can", test_no_position, 1},
        {"schema: hostile names are refused", test_hostile_names, 1},
        {"schema: odd names work", test_odd_names, 1},
        {"schema: two prefixes", test_two_prefixes, 1},
        {"schema: two schemas", test_two_schemas, 1},
        {"schema: lanes are chosen once", test_lanes, 1},
        {"schema: lanes of known keys", test_golden, 0},
        {"schema: printed without a database", test_print, 1},
        {"connect: driver found by itself", test_auto, 1},
        {"connect: refused without a word of the password", test_no_connection, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
