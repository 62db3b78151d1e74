/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "lib-test.h"

#include "driver.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* "DRIVER/SETTLE" or "generic/DATABASE"; databases are named like their drivers. */
static int target_make(struct target *target, const char *name)
{
    const char *slash = strchr(name, '/');
    int generic = strncmp(name, "generic/", 8) == 0;

    if (slash == NULL || (target->driver = strndup(name, (size_t)(slash - name))) == NULL)
        return 0;
    target->name = name;
    target->database = generic ? slash + 1 : target->driver;
    target->settle = generic ? "auto" : slash + 1;
    return outbox_driver__find(target->driver) != NULL && outbox_driver__find(target->database) != NULL &&
           (generic || strcmp(target->settle, "position") == 0 || strcmp(target->settle, "delete") == 0);
}

const struct target *target_find(const char *name)
{
    static struct target made[20];
    size_t i = 0;

    while (i < COUNT_OF(made) && made[i].name != NULL && strcmp(made[i].name, name) != 0)
        i++;
    if (i < COUNT_OF(made) && (made[i].name != NULL || target_make(&made[i], name)))
        return &made[i];
    fprintf(stderr, "no target \"%s\"\n", name);
    exit(2);
}

int target_is_postgresql(const struct target *target)
{
    return strcmp(target->database, "postgresql") == 0;
}

int target_is_sqlite(const struct target *target)
{
    return strcmp(target->database, "sqlite") == 0;
}

int target_lanes(const struct target *target)
{
    return target_is_sqlite(target) ? 16 : 64;
}

int target_is_mariadb(const struct target *target)
{
    return strcmp(target->database, "mariadb") == 0;
}

int target_is_firebird(const struct target *target)
{
    return strcmp(target->database, "firebird") == 0;
}

int skip_on_firebird(const struct fixture *fx, const char *why)
{
    if (target_is_firebird(fx->target))
        tap_skip("%s", why);
    return target_is_firebird(fx->target);
}

const char *postgresql_dsn(void)
{
    return getenv("OUTBOX_TEST_PG");
}

int server_logged(const char *word, const char *other)
{
    FILE *log = fopen(getenv("OUTBOX_TEST_PGLOG"), "r");
    char line[8192];
    int count = 0;

    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        count += strstr(line, word) != NULL && strstr(line, other) != NULL;
    if (log != NULL)
        fclose(log);
    return count;
}

/* What tests/with-DATABASE says of the server. */
static const char *server_says(const struct target *target, const char *of_postgresql, const char *tail)
{
    char variable[60];

    if (target_is_postgresql(target))
        return getenv(of_postgresql);
    snprintf(variable, sizeof variable, "OUTBOX_TEST_%s%s", target->database, tail);
    for (size_t i = strlen("OUTBOX_TEST_"); variable[i] != '\0'; i++)
        variable[i] = (char)toupper((unsigned char)variable[i]);
    return getenv(variable);
}

const char *target_server(const struct target *target)
{
    return server_says(target, "OUTBOX_TEST_PG", "");
}

int target_missing(const struct target *target)
{
    return !target_is_sqlite(target) && target_server(target) == NULL;
}

int target_control(const struct target *target, const char *what)
{
    const char *script = server_says(target, "OUTBOX_TEST_PGCTL", "_CTL");
    char command[512];

    snprintf(command, sizeof command, "\"%s\" %s", script != NULL ? script : "no script for this server", what);
    return system(command) == 0;
}

int target_is_for(const struct target *target, const char *program)
{
    const char *slash = strrchr(program, '/'), *database = strrchr(slash != NULL ? slash : program, '_');

    if (database == NULL)
        return target_is_postgresql(target) || target_is_sqlite(target);
    return strcmp(target->database, database + 1) == 0;
}

/* ---- Waiting ---- */

int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

long env_number(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

int test_long(void)
{
    return env_number("OUTBOX_TEST_LONG", 0) != 0;
}

int test_all(void)
{
    return test_long() || env_number("OUTBOX_TEST_ALL", 0) != 0;
}

void patience_start(struct patience *p)
{
    p->until_us = monotonic_us() + env_number("OUTBOX_TEST_PATIENCE", 240) * SECOND_US;
}

int patience_wait(const struct patience *p)
{
    if (monotonic_us() > p->until_us)
        return 0;
    poll(NULL, 0, 5);
    return 1;
}

/* ---- A fresh outbox ---- */

int status_check(const char *file, int line, struct fixture *fx, int got, int want, const char *what)
{
    fx->name[0] = fx->message[0] = '\0';
    if (fx->err != NULL) {
        snprintf(fx->name, sizeof fx->name, "%s", outbox_error_name(fx->err));
        snprintf(fx->message, sizeof fx->message, "%s", outbox_error_message(fx->err));
        tap_check(file, line, got < 0, "%s returned %s and set an error: %s", what, outbox_status_name(got),
                  fx->message);
        tap_check(file, line, outbox_error_status(fx->err) == got, "%s returned %s, its error says %s", what,
                  outbox_status_name(got), outbox_status_name(outbox_error_status(fx->err)));
        outbox_error_free(fx->err);
        fx->err = NULL;
    }
    return tap_check(file, line, got == want, "%s returned %s%s%s, not %s", what, outbox_status_name(got),
                     fx->message[0] ? ": " : "", fx->message, outbox_status_name(want));
}

/* A conf with one more key; a wrong key is a failed check. */
static void set(struct fixture *fx, outbox_conf *conf, const char *key, const char *value)
{
    OK(outbox_conf_set(conf, key, value, &fx->err));
}

void fixture_set(struct fixture *fx, const char *key, const char *value)
{
    set(fx, fx->conf, key, value);
}

static void log_line(void *user, outbox_log_level level, const char *message)
{
    (void)user;
    if ((long)level <= env_number("OUTBOX_TEST_LOG", OUTBOX_LOG_ERROR))
        fprintf(stderr, "# log %d: %s\n", (int)level, message);
}

outbox_conf *fixture_conf(const struct fixture *fx)
{
    struct fixture scratch = *fx;
    outbox_conf *conf = NULL;

    if (outbox_conf_new(&conf, NULL) != OUTBOX_OK)
        return NULL;
    set(&scratch, conf, "driver", fx->target->driver);
    set(&scratch, conf, "schema.settle", fx->target->settle);
    set(&scratch, conf, "schema.prefix", fx->prefix);
    outbox_conf_set_log(conf, log_line, NULL);
    return conf;
}

int fixture_prepare(struct fixture *fx, const struct target *target)
{
    static int number;

    memset(fx, 0, sizeof *fx);
    fx->target = target;
    if (!target_is_sqlite(target)) {
        snprintf(fx->dsn, sizeof fx->dsn, "%s", target_server(target));
        snprintf(fx->prefix, sizeof fx->prefix, "t%d_", ++number);
    } else {
        snprintf(fx->directory, sizeof fx->directory, "/tmp/outbox-test-XXXXXX");
        if (!CHECK(mkdtemp(fx->directory) != NULL, "mkdtemp"))
            return -1;
        snprintf(fx->dsn, sizeof fx->dsn, "sqlite:%s/db", fx->directory);
        snprintf(fx->prefix, sizeof fx->prefix, "outbox_");
    }
    fx->conf = fixture_conf(fx);
    return CHECK(fx->conf != NULL, "no conf") ? 0 : -1;
}

int fixture_migrate(struct fixture *fx)
{
    if ((fx->conn = fixture_connect(fx)) == NULL || !OK(outbox_migrate(fx->conn, NULL, &fx->err)))
        return -1;
    if (!CHECK_INT(db_open(&fx->db, fx->dsn, 1), 0))
        return -1;
    /* So that || and "names" in the tests mean what they mean elsewhere. */
    return !target_is_mariadb(fx->target) ||
           CHECK_INT(db_exec(&fx->db, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,ANSI_QUOTES')"), 0)
               ? 0 : -1;
}

int fixture_open(struct fixture *fx, const struct target *target)
{
    return fixture_prepare(fx, target) == 0 ? fixture_migrate(fx) : -1;
}

static void remove_directory(const char *directory)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    if (system(command) != 0)
        tap_note("could not remove %s", directory);
}

void fixture_disconnect(struct fixture *fx)
{
    for (size_t i = 0; i < fx->consumer_count; i++)
        outbox_consumer_free(fx->consumers[i]);
    for (size_t i = 0; i < fx->conn_count; i++)
        outbox_conn_close(fx->conns[i]);
    fx->consumer_count = fx->conn_count = 0;
    fx->conn = NULL;
    db_close(&fx->db);
}

void fixture_close(struct fixture *fx)
{
    fixture_disconnect(fx);
    outbox_conf_free(fx->conf);
    outbox_error_free(fx->err);
    if (fx->directory[0] && !getenv("OUTBOX_TEST_KEEP"))
        remove_directory(fx->directory);
}

outbox_conn *fixture_connect(struct fixture *fx)
{
    outbox_conn *conn = NULL;

    if (!CHECK(fx->conn_count < FIXTURE_CONNS, "too many connections in a test"))
        return NULL;
    if (!OK(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err)))
        return NULL;
    return fx->conns[fx->conn_count++] = conn;
}

outbox_consumer *fixture_consumer(struct fixture *fx, const char *owner)
{
    outbox_conn *conn = fixture_connect(fx);
    outbox_consumer *consumer = NULL;

    if (conn == NULL || !OK(outbox_consumer_new(conn, fx->conf, owner, &consumer, &fx->err)))
        return NULL;
    return fx->consumers[fx->consumer_count++] = consumer;
}

void expire_leases(struct fixture *fx)
{
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET lease_until = 1 WHERE owner IS NOT NULL AND lease_until > 0",
                      fx->prefix), 0);
}

void make_due(struct fixture *fx)
{
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET available_at = 1 WHERE available_at > 1 AND state IN (2, 3)",
                      fx->prefix), 0);
}

void at_lane_lock(struct fixture *fx, const char *sql)
{
    const char *p = fx->prefix;
    int on_postgresql = target_is_postgresql(fx->target), rc;

    if (sql == NULL)
        rc = on_postgresql ? db_exec(&fx->db, "DROP TRIGGER lock_trigger ON %slanes", p)
                           : db_exec(&fx->db, "DROP TRIGGER lock_trigger");
    else if (on_postgresql)
        rc = db_exec(&fx->db, "CREATE OR REPLACE FUNCTION %slock_fn() RETURNS trigger LANGUAGE plpgsql AS "
                     "'BEGIN %s; RETURN NULL; END'", p, sql) ||
             db_exec(&fx->db, "CREATE TRIGGER lock_trigger AFTER UPDATE ON %slanes FOR EACH ROW WHEN (new.lane >= 0 AND "
                     "new.token = old.token) EXECUTE FUNCTION %slock_fn()", p, p);
    else if (target_is_firebird(fx->target))
        rc = db_exec(&fx->db, "CREATE TRIGGER lock_trigger FOR %slanes AFTER UPDATE AS BEGIN IF (new.lane >= 0 AND "
                     "new.token = old.token) THEN BEGIN %s; END END", p, sql);
    else if (target_is_mariadb(fx->target))
        rc = db_exec(&fx->db, "CREATE TRIGGER lock_trigger AFTER UPDATE ON %slanes FOR EACH ROW BEGIN IF new.lane >= 0 AND "
                     "new.token = old.token THEN %s; END IF; END", p, sql);
    else
        rc = db_exec(&fx->db, "CREATE TRIGGER lock_trigger AFTER UPDATE ON %slanes WHEN new.lane >= 0 AND "
                     "new.token = old.token BEGIN %s; END", p, sql);
    CHECK_INT(rc, 0);
}

int64_t count_state(struct fixture *fx, outbox_state state)
{
    outbox_counts counts;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    return OK(outbox_count(fx->conn, &counts, &fx->err)) ? counts.by_state[state] : -1;
}

int64_t count_waiting(struct fixture *fx)
{
    outbox_counts counts;
    int64_t sum = 0;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    if (!OK(outbox_count(fx->conn, &counts, &fx->err)))
        return -1;
    for (int state = OUTBOX_PENDING; state <= OUTBOX_DEAD; state++)
        sum += counts.by_state[state];
    return sum;
}

static int note_state(void *user, const outbox_record *record)
{
    *(outbox_state *)user = outbox_record_state(record);
    return 0;
}

outbox_state state_of(struct fixture *fx, const char *id)
{
    outbox_state state = (outbox_state)0;
    int rc = outbox_get(fx->conn, id, note_state, &state, &fx->err);

    return rc == OUTBOX_NONE || OK(rc) ? state : (outbox_state)-1;
}

/* ---- A suite ---- */

static void run_one(const struct test *test, const struct target *target)
{
    struct fixture fx;

    tap_begin("%s: %s", target->name, test->name);
    if ((test->unprepared ? fixture_prepare(&fx, target) : fixture_open(&fx, target)) == 0)
        test->run(&fx);
    fixture_close(&fx);
    tap_end();
}

void suite_run(const struct test *tests, size_t count, const struct target *target, const char *only)
{
    for (size_t i = 0; i < count; i++)
        if (only == NULL || strstr(tests[i].name, only) != NULL)
            run_one(&tests[i], target);
}
