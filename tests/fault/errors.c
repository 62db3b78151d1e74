/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a database can refuse while a relay runs: it says what to do, goes on by itself once the cause is gone, and every
 * message arrives. Each is really caused, by other sessions where it takes some, and the server's log shows it; but for what
 * is named "planted": no test fills a server's disk, and under READ COMMITTED, which relays ask for, nothing fails to
 * serialize on one server. Those a trigger raises. argv[1] chooses by name.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib-test.h"

/* Guarded by lock. */
struct ear {
    pthread_mutex_t lock;
    const char *wanted;
    int heard, published;
    char last[1200];
};

struct scene {
    struct fixture *fx;
    struct ear ear;
    struct db admin;   /* a superuser's connection that lives through it */
    struct db blocker; /* holds locks */
    outbox_publisher *publisher;
    outbox_relay *relay;
};

struct trouble {
    const char *name;
    const char *database;     /* "postgresql" or "sqlite" */
    const char *cause, *cure; /* SQL; %s is the tables' prefix */
    int reconnect;            /* it meets new connections only */
    int block;                /* cause is run in a transaction that stays open until the cure */
    const char *wanted;       /* part of the log line that tells people what to do */
    const char *hold;         /* of another session, in a transaction that takes LOCK and stays open until the cure */
    const char *prod;         /* repeated until it was heard */
    const char *logged;       /* what the server says */
};

#define RAISE(state)                                                                                                    \
    "CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted' USING "          \
    "ERRCODE = '" state "'; END $$; CREATE TRIGGER raise_it BEFORE UPDATE ON %slanes FOR EACH ROW EXECUTE FUNCTION "    \
    "raise_it()"
#define RAISED "DROP FUNCTION raise_it() CASCADE"

/* Whoever has taken a lane does something more in the same transaction, as the triggers of an application may. */
#define TRIGGER(set, declare, what)                                                                                     \
    "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql " set " AS $$ DECLARE " declare " BEGIN " what             \
    " RETURN NULL; END $$; CREATE TRIGGER trap AFTER UPDATE ON %slanes FOR EACH ROW WHEN (NEW.lane >= 0) EXECUTE "      \
    "FUNCTION trap()"
#define TRAP_GONE "DROP FUNCTION trap() CASCADE"
#define LOCK "PERFORM pg_advisory_xact_lock(4711, 1); "
#define HOLDER "pg_locks WHERE locktype = 'advisory' AND classid = 4711 AND objid = 1 AND granted"
#define TRAPPED "pg_locks WHERE locktype = 'advisory' AND classid = 4711 AND objid = 2 AND granted"

/* The relay has a lane and wants the lock, the other session has the lock and wants the lane. Each waits for the other to be
 * that far; the other one does not look for deadlocks, so that it is always the relay that has to give way. */
#define DEADLOCK                                                                                                        \
    TRIGGER("", "other integer;", "PERFORM pg_advisory_xact_lock_shared(4711, 2); LOOP SELECT pid INTO other FROM "     \
            HOLDER "; EXIT WHEN other IS NULL OR EXISTS (SELECT FROM pg_locks WHERE pid = other AND NOT granted); "     \
            "PERFORM pg_sleep(0.01); END LOOP; IF other IS NOT NULL THEN " LOCK "END IF;")
#define DEADLOCK_OTHER                                                                                                  \
    "SET LOCAL deadlock_timeout = '1h'; DO $$ BEGIN " LOCK "WHILE NOT EXISTS (SELECT FROM " TRAPPED ") LOOP "           \
    "PERFORM pg_sleep(0.01); END LOOP; PERFORM 1 FROM %slanes WHERE lane >= 0 ORDER BY lane FOR UPDATE; END $$"

#define ALONE NULL, NULL, NULL /* no other session has a part in it */

static const struct trouble troubles[] = {
    {"killed backends", "postgresql", "SELECT 1", "SELECT 1", 1, 0, "the connection is lost: connect again", ALONE},
    {"read-only", "postgresql", "ALTER ROLE relay SET default_transaction_read_only = on",
     "ALTER ROLE relay RESET default_transaction_read_only", 1, 0, "once it, or the DSN's other server, takes writes",
     ALONE},
    {"permission", "postgresql", "REVOKE UPDATE ON %slanes FROM relay", "GRANT UPDATE ON %slanes TO relay", 0, 0,
     "permissions.md lists what writers, relays", ALONE},
    {"login", "postgresql", "ALTER ROLE relay NOLOGIN", "ALTER ROLE relay LOGIN", 1, 0, "the right to log in", ALONE},
    {"too many connections", "postgresql", "ALTER ROLE relay CONNECTION LIMIT 0", "ALTER ROLE relay CONNECTION LIMIT -1", 1,
     0, "open fewer (relays: relay.workers)", ALONE},
    {"missing table", "postgresql", "ALTER TABLE %slanes RENAME TO away", "ALTER TABLE away RENAME TO %slanes", 0, 0,
     "run `outboxctl migrate`", ALONE},
    {"another version", "postgresql", "UPDATE %smeta SET value = '99' WHERE name = 'version'",
     "UPDATE %smeta SET value = '1' WHERE name = 'version'", 1, 0, "use a newer library", ALONE},
    {"lock timeout", "postgresql", TRIGGER("SET lock_timeout = '20ms'", "", LOCK), TRAP_GONE, 0, 0,
     "longer than lock_timeout", "DO $$ BEGIN " LOCK "END $$", NULL, "canceling statement due to lock timeout"},
    {"deadlock", "postgresql", DEADLOCK, TRAP_GONE, 0, 0, "repeat the transaction", DEADLOCK_OTHER, NULL,
     "deadlock detected"},
    {"cancelled", "postgresql", TRIGGER("", "", "PERFORM pg_sleep(2);"), TRAP_GONE, 0, 0,
     "by statement_timeout or somebody", NULL,
     "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'relay' AND wait_event = 'PgSleep'",
     "canceling statement due to user request"},
    {"serialization, planted", "postgresql", RAISE("40001"), RAISED, 0, 0, "repeat the transaction", ALONE},
    {"disk full, planted", "postgresql", RAISE("53100"), RAISED, 0, 0, "make room on the server's disk", ALONE},
    {"locked", "sqlite", "BEGIN IMMEDIATE", "", 0, 1, "repeat the transaction", ALONE},
    {"missing table", "sqlite", "ALTER TABLE %slanes RENAME TO away", "ALTER TABLE away RENAME TO %slanes", 0, 0,
     "run `outboxctl migrate`", ALONE},
};

static void on_log(void *user, outbox_log_level level, const char *message)
{
    struct ear *ear = user;

    (void)level;
    pthread_mutex_lock(&ear->lock);
    if (ear->wanted != NULL && strstr(message, ear->wanted) != NULL)
        ear->heard++;
    else
        snprintf(ear->last, sizeof ear->last, "%s", message);
    pthread_mutex_unlock(&ear->lock);
}

static void on_published(void *user, const outbox_record *record)
{
    struct ear *ear = user;

    (void)record;
    pthread_mutex_lock(&ear->lock);
    ear->published++;
    pthread_mutex_unlock(&ear->lock);
}

static int ear_get(struct ear *ear, const int *field)
{
    int value;

    pthread_mutex_lock(&ear->lock);
    value = *field;
    pthread_mutex_unlock(&ear->lock);
    return value;
}

static void fill_in(char *text, size_t size, const struct fixture *fx, const char *format)
{
    const char *at = strstr(format, "%s");

    if (at != NULL)
        snprintf(text, size, "%.*s%s%s", (int)(at - format), format, fx->prefix, at + 2);
    else
        snprintf(text, size, "%s", format);
}

static void sql(struct db *db, const struct fixture *fx, const char *format)
{
    char text[1000];

    fill_in(text, sizeof text, fx, format);
    CHECK_INT(db_exec(db, "%s", text), 0);
}

static void kill_backends(struct scene *s)
{
    if (target_is_postgresql(s->fx->target))
        sql(&s->admin, s->fx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relay'");
}

/* The relay's own role has the rights that it needs, and not more. */
static int make_role(struct scene *s, char *dsn, size_t size)
{
    const struct fixture *fx = s->fx;
    char rest[512], *user, *end;

    snprintf(dsn, size, "%s", fx->dsn);
    if (!target_is_postgresql(fx->target)) {
        snprintf(dsn, size, "Driver=SQLite3;Database=%s;Timeout=50;JournalMode=WAL;SyncPragma=NORMAL;FKSupport=1",
                 fx->dsn + strlen("sqlite:"));
        return 1;
    }
    if (db_int(&s->admin, "SELECT count(*) FROM pg_roles WHERE rolname = 'relay'") == 0)
        sql(&s->admin, fx, "CREATE ROLE relay LOGIN");
    sql(&s->admin, fx, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO relay");
    sql(&s->admin, fx, "GRANT EXECUTE ON FUNCTION pg_control_system() TO relay");
    user = strcasestr(dsn, "UID=");
    if (user == NULL)
        user = strcasestr(dsn, "Username=");
    if (!CHECK(user != NULL, "no user in %s", dsn))
        return 0;
    user = strchr(user, '=') + 1;
    end = strchrnul(user, ';');
    snprintf(rest, sizeof rest, "%s", end);
    snprintf(user, size - (size_t)(user - dsn), "relay%s", rest);
    return 1;
}

static int scene_open(struct scene *s, struct fixture *fx, const char *wanted, const char *more)
{
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    char dsn[600];

    memset(s, 0, sizeof *s);
    s->fx = fx;
    s->ear.wanted = wanted;
    pthread_mutex_init(&s->ear.lock, NULL);
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "relay.lease", "2s");
    fixture_set(fx, "relay.workers", "1");
    hooks.user = &s->ear;
    hooks.published = on_published;
    outbox_conf_set_log(fx->conf, on_log, &s->ear);
    return CHECK_INT(db_open(&s->admin, fx->dsn, 1), 0) && CHECK_INT(db_open(&s->blocker, fx->dsn, 1), 0) &&
           make_role(s, dsn, sizeof dsn) && strncat(dsn, more, sizeof dsn - strlen(dsn) - 1) != NULL &&
           OK(outbox_publisher_open("null:", NULL, &s->publisher, &fx->err)) &&
           OK(outbox_relay_new(dsn, fx->conf, s->publisher, &hooks, &s->relay, &fx->err)) &&
           OK(outbox_relay_start(s->relay, &fx->err));
}

static void scene_close(struct scene *s)
{
    outbox_relay_free(s->relay);
    outbox_publisher_free(s->publisher);
    outbox_conf_set_log(s->fx->conf, NULL, NULL);
    db_close(&s->admin);
    db_close(&s->blocker);
}

static void wait_published(struct scene *s, int count)
{
    int done;

    WAIT_FOR(ear_get(&s->ear, &s->ear.published) >= count, done);
    CHECK(done, "%d of %d published; the last line said: %s", s->ear.published, count, s->ear.last);
}

/* ---- The other session, which may have to wait for the relay ---- */

struct other {
    pthread_t thread;
    struct scene *scene;
    char sql[1000];
    int failed;
};

static void *hold(void *user)
{
    struct other *o = user;

    o->failed = db_exec(&o->scene->blocker, "BEGIN") != 0 || db_exec(&o->scene->blocker, "%s", o->sql) != 0;
    return NULL;
}

static void start_holding(struct other *o, struct scene *s, const char *format)
{
    int held;

    o->scene = s;
    fill_in(o->sql, sizeof o->sql, s->fx, format);
    CHECK_INT(pthread_create(&o->thread, NULL, hold, o), 0);
    WAIT_FOR(db_int(&s->admin, "SELECT count(*) FROM " HOLDER) == 1, held);
    CHECK(held, "the other session does not begin");
}

static void end_holding(struct other *o)
{
    pthread_join(o->thread, NULL);
    CHECK_INT(o->failed, 0);
    sql(&o->scene->blocker, o->scene->fx, "ROLLBACK");
}

static int is_heard(struct scene *s, const struct trouble *t)
{
    if (t->prod != NULL)
        sql(&s->admin, s->fx, t->prod);
    return ear_get(&s->ear, &s->ear.heard) > 0;
}

static void meet(struct fixture *fx, const struct trouble *t)
{
    struct other other = {0};
    struct db *cause;
    struct scene s;
    int heard, logged = t->logged != NULL ? server_logged(t->logged, "") : 0;

    REQUIRE(scene_open(&s, fx, t->wanted, ""), "no relay");
    cause = t->block ? &s.blocker : &s.admin;
    send_numbered(fx, "t", 10, 50);
    wait_published(&s, 50);
    sql(cause, fx, t->cause);
    if (t->reconnect)
        kill_backends(&s);
    if (t->hold != NULL)
        start_holding(&other, &s, t->hold);
    if (!t->block)
        send_numbered(fx, "t", 10, 50);
    WAIT_FOR(is_heard(&s, t), heard);
    CHECK(heard, "nobody said \"%s\"; the last line said: %s", t->wanted, s.ear.last);
    CHECK(t->logged == NULL || server_logged(t->logged, "") > logged, "the server did not say \"%s\"", t->logged);
    if (t->hold != NULL)
        end_holding(&other);
    if (t->block)
        sql(cause, fx, "ROLLBACK");
    else
        sql(cause, fx, t->cure);
    if (t->block)
        send_numbered(fx, "t", 10, 50);
    wait_published(&s, 100);
    outbox_relay_stop(s.relay);
    OK(outbox_relay_join(s.relay, &fx->err));
    CHECK_INT(s.ear.published, 100);
    CHECK_INT(count_waiting(fx), 0);
    scene_close(&s);
}

/* ---- Without a relay ---- */

/* A connection that cannot be made says why, and what to do. */
static void test_connect(struct fixture *fx)
{
    char path[200], junk[160];
    outbox_conn *conn = NULL;
    FILE *file;

    snprintf(junk, sizeof junk, "%s/junk", fx->directory);
    snprintf(path, sizeof path, "sqlite:%s", junk);
    REQUIRE((file = fopen(junk, "w")) != NULL, "no file");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    if (outbox_conn_open(path, fx->conf, &conn, &fx->err) == OUTBOX_OK)
        CHECK(outbox_migrate(conn, NULL, &fx->err) < 0, "junk was migrated");
    CHECK(strstr(outbox_error_message(fx->err), "the file is no SQLite database") != NULL, "the error says: %s",
          outbox_error_message(fx->err));
    outbox_error_free(fx->err);
    fx->err = NULL;
    outbox_conn_close(conn);
    conn = NULL;
    EXPECT(outbox_conn_open("no_such_dsn_anywhere", fx->conf, &conn, &fx->err), OUTBOX_ERR_CONNECT);
    CHECK_STR(fx->name, "database.no_dsn");
}

/* A file that may not grow: nothing is half written, and it works again once it may. */
static void test_sqlite_full(struct fixture *fx)
{
    static char big[200000];
    outbox_message m = text_message("t", "k", "");
    outbox_conn *conn = fixture_connect(fx);
    int tries, rc = OUTBOX_OK;

    memset(big, 'x', sizeof big);
    m.payload = big;
    m.payload_size = sizeof big;
    REQUIRE(conn != NULL, "no connection");
    OK(outbox_conn_execute(conn, "PRAGMA max_page_count = 100", &fx->err));
    for (tries = 0; tries < 10 && rc == OUTBOX_OK; tries++)
        rc = outbox_enqueue(conn, &m, 1, NULL, &fx->err);
    EXPECT(rc, OUTBOX_ERR_DATABASE);
    CHECK_STR(fx->name, "database.full");
    CHECK(strstr(fx->message, "make room on the disk") != NULL, "the error says: %s", fx->message);
    OK(outbox_conn_execute(conn, "PRAGMA max_page_count = 1000000", &fx->err));
    OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), tries);
}

/* A file that cannot be opened, and one that takes no writes for a while. */
static void test_sqlite_file(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    outbox_conn *conn = NULL;
    int rc = outbox_conn_open("sqlite:/no/such/folder/db", fx->conf, &conn, &fx->err);

    if (rc == OUTBOX_OK)
        rc = outbox_migrate(conn, NULL, &fx->err);
    CHECK(rc == OUTBOX_ERR_CONNECT || rc == OUTBOX_ERR_LOST, "it was opened: %s", outbox_status_name(rc));
    CHECK(fx->err != NULL && strstr(outbox_error_message(fx->err), "its folder must exist") != NULL, "the error says: %s",
          outbox_error_message(fx->err));
    outbox_error_free(fx->err);
    fx->err = NULL;
    outbox_conn_close(conn);
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    OK(outbox_conn_execute(conn, "PRAGMA query_only = 1", &fx->err));
    EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_READONLY);
    CHECK_STR(fx->name, "database.readonly");
    OK(outbox_conn_execute(conn, "PRAGMA query_only = 0", &fx->err));
    OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
}

/* Puts a line before all others of pg_hba.conf, or takes it away again. */
static int want_password(struct scene *s, int wanted)
{
    static char text[65536];
    char path[500];
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "%s/pg_hba.conf", getenv("PGDATA") != NULL ? getenv("PGDATA") : "");
    if (!CHECK((file = fopen(path, "r+")) != NULL, "cannot open %s", path))
        return 0;
    if (wanted) {
        size = fread(text, 1, sizeof text - 1, file);
        text[size] = '\0';
        rewind(file);
        fprintf(file, "local all relay scram-sha-256\nhost all relay all scram-sha-256\n%s", text);
    } else {
        CHECK_INT(ftruncate(fileno(file), 0), 0);
        fputs(text, file);
    }
    fclose(file);
    sql(&s->admin, s->fx, "SELECT pg_reload_conf()");
    return 1;
}

static void set_password(struct scene *s, const char *password)
{
    sql(&s->admin, s->fx, "SET password_encryption = 'scram-sha-256'"); /* before PostgreSQL 14 it was another one */
    CHECK_INT(db_exec(&s->admin, "ALTER ROLE relay PASSWORD %s", password), 0);
}

/* Somebody changes the password under a relay that has logged in with it. */
static void test_wrong_password(struct fixture *fx)
{
    struct scene s;
    int heard;

    REQUIRE(scene_open(&s, fx, "correct the user or the password in the DSN", ";PWD=right"), "no relay");
    set_password(&s, "'right'");
    REQUIRE(want_password(&s, 1), "the server was not told");
    kill_backends(&s);
    send_numbered(fx, "t", 10, 50);
    wait_published(&s, 50); /* it logs in with it */
    CHECK_INT(ear_get(&s.ear, &s.ear.heard), 0);
    set_password(&s, "'another'");
    kill_backends(&s);
    send_numbered(fx, "t", 10, 50);
    WAIT_FOR(ear_get(&s.ear, &s.ear.heard) > 0, heard);
    CHECK(heard, "the last line said: %s", s.ear.last);
    CHECK(server_logged("password authentication failed", "relay") > 0, "the server refused nothing");
    set_password(&s, "'right'");
    wait_published(&s, 100);
    outbox_relay_stop(s.relay);
    OK(outbox_relay_join(s.relay, &fx->err));
    CHECK_INT(s.ear.published, 100);
    CHECK_INT(count_waiting(fx), 0);
    want_password(&s, 0);
    set_password(&s, "NULL");
    scene_close(&s);
}

/* The server asks for a password that the DSN has not, for a while. */
static void test_password(struct fixture *fx)
{
    struct scene s;
    int heard;

    REQUIRE(scene_open(&s, fx, "the DSN has no password", ""), "no relay");
    send_numbered(fx, "t", 10, 50);
    wait_published(&s, 50);
    REQUIRE(want_password(&s, 1), "the server was not told");
    kill_backends(&s);
    send_numbered(fx, "t", 10, 50);
    WAIT_FOR(ear_get(&s.ear, &s.ear.heard) > 0, heard);
    CHECK(heard, "the last line said: %s", s.ear.last);
    want_password(&s, 0);
    wait_published(&s, 100);
    outbox_relay_stop(s.relay);
    OK(outbox_relay_join(s.relay, &fx->err));
    CHECK_INT(count_waiting(fx), 0);
    scene_close(&s);
}

int main(int argc, char **argv)
{
    static const struct test served[] = {
        {"errors: a password is wanted", test_password, 0},
        {"errors: the password is wrong for a while", test_wrong_password, 0},
    };
    static const struct test direct[] = {
        {"errors: no connection", test_connect, 1},
        {"errors: SQLite, a full file", test_sqlite_full, 0},
        {"errors: SQLite, files", test_sqlite_file, 0},
    };
    const struct target *sqlite = target_find("sqlite/delete"), *postgresql = target_find("postgresql/position");
    struct fixture fx;

    suite_run(direct, COUNT_OF(direct), sqlite, argc > 1 ? argv[1] : NULL);
    if (postgresql_dsn() != NULL)
        suite_run(served, COUNT_OF(served), postgresql, argc > 1 ? argv[1] : NULL);
    for (size_t i = 0; i < COUNT_OF(troubles); i++) {
        const struct trouble *t = &troubles[i];
        const struct target *target = strcmp(t->database, "sqlite") == 0 ? sqlite : postgresql;

        if (argc > 1 && strstr(t->name, argv[1]) == NULL)
            continue;
        tap_begin("errors: %s, %s", t->database, t->name);
        if (target == postgresql && postgresql_dsn() == NULL)
            tap_skip("no PostgreSQL");
        else if (fixture_open(&fx, target) == 0)
            meet(&fx, t);
        if (target == sqlite || postgresql_dsn() != NULL)
            fixture_close(&fx);
        tap_end();
    }
    return tap_finish();
}
