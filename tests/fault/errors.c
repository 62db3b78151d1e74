/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a database can refuse, each really caused while a relay runs: it says what to do, goes on by itself once the
 * cause is gone, and every message arrives. argv[1] chooses by name.
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
};

#define RAISE(state)                                                                                                    \
    "CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted' USING "          \
    "ERRCODE = '" state "'; END $$; CREATE TRIGGER raise_it BEFORE UPDATE ON %slanes FOR EACH ROW EXECUTE FUNCTION "    \
    "raise_it()"
#define RAISED "DROP FUNCTION raise_it() CASCADE"

static const struct trouble troubles[] = {
    {"killed backends", "postgresql", "SELECT 1", "SELECT 1", 1, 0, "the connection is lost: connect again"},
    {"read-only", "postgresql", "ALTER ROLE relay SET default_transaction_read_only = on",
     "ALTER ROLE relay RESET default_transaction_read_only", 1, 0, "once it, or the DSN's other server, takes writes"},
    {"permission", "postgresql", "REVOKE UPDATE ON %slanes FROM relay", "GRANT UPDATE ON %slanes TO relay", 0, 0,
     "permissions.md lists what writers, relays"},
    {"login", "postgresql", "ALTER ROLE relay NOLOGIN", "ALTER ROLE relay LOGIN", 1, 0, "the right to log in"},
    {"too many connections", "postgresql", "ALTER ROLE relay CONNECTION LIMIT 0", "ALTER ROLE relay CONNECTION LIMIT -1", 1,
     0, "open fewer (relays: relay.workers)"},
    {"missing table", "postgresql", "ALTER TABLE %slanes RENAME TO away", "ALTER TABLE away RENAME TO %slanes", 0, 0,
     "run `outboxctl migrate`"},
    {"another version", "postgresql", "UPDATE %smeta SET value = '99' WHERE name = 'version'",
     "UPDATE %smeta SET value = '1' WHERE name = 'version'", 1, 0, "use a newer library"},
    {"lock timeout", "postgresql", RAISE("55P03"), RAISED, 0, 0, "longer than lock_timeout"},
    {"deadlock", "postgresql", RAISE("40P01"), RAISED, 0, 0, "repeat the transaction"},
    {"serialization", "postgresql", RAISE("40001"), RAISED, 0, 0, "repeat the transaction"},
    {"disk full", "postgresql", RAISE("53100"), RAISED, 0, 0, "make room on the server's disk"},
    {"cancelled", "postgresql", RAISE("57014"), RAISED, 0, 0, "by statement_timeout or somebody"},
    {"locked", "sqlite", "BEGIN IMMEDIATE", "", 0, 1, "repeat the transaction"},
    {"missing table", "sqlite", "ALTER TABLE %slanes RENAME TO away", "ALTER TABLE away RENAME TO %slanes", 0, 0,
     "run `outboxctl migrate`"},
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

static void sql(struct db *db, const struct fixture *fx, const char *format)
{
    char text[1000];
    const char *at = strstr(format, "%s");

    if (at != NULL)
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - format), format, fx->prefix, at + 2);
    else
        snprintf(text, sizeof text, "%s", format);
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

static int scene_open(struct scene *s, struct fixture *fx, const char *wanted)
{
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    char dsn[512];

    memset(s, 0, sizeof *s);
    s->fx = fx;
    s->ear.wanted = wanted;
    pthread_mutex_init(&s->ear.lock, NULL);
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "relay.lease", "2s");
    hooks.user = &s->ear;
    hooks.published = on_published;
    outbox_conf_set_log(fx->conf, on_log, &s->ear);
    return CHECK_INT(db_open(&s->admin, fx->dsn, 1), 0) && CHECK_INT(db_open(&s->blocker, fx->dsn, 1), 0) &&
           make_role(s, dsn, sizeof dsn) && OK(outbox_publisher_open("null:", NULL, &s->publisher, &fx->err)) &&
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

static void meet(struct fixture *fx, const struct trouble *t)
{
    struct db *cause;
    struct scene s;
    int heard;

    REQUIRE(scene_open(&s, fx, t->wanted), "no relay");
    cause = t->block ? &s.blocker : &s.admin;
    send_numbered(fx, "t", 10, 50);
    wait_published(&s, 50);
    sql(cause, fx, t->cause);
    if (t->reconnect)
        kill_backends(&s);
    if (!t->block)
        send_numbered(fx, "t", 10, 50);
    WAIT_FOR(ear_get(&s.ear, &s.ear.heard) > 0, heard);
    CHECK(heard, "nobody said \"%s\"; the last line said: %s", t->wanted, s.ear.last);
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

/* The server asks for a password that the DSN has not, or has a wrong one, for a while. */
static void test_password(struct fixture *fx)
{
    struct scene s;
    int heard;

    REQUIRE(scene_open(&s, fx, "the DSN has no password"), "no relay");
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
