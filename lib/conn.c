/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections: choosing the driver, opening and closing, transactions, the outbox's own facts. */
#include "conn_internal.h"
#include "dsn.h"
#include "error_internal.h"
#include "translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The generic driver speaks to a server that has a dialect with that dialect's expressions, in tables of its own, and
 * not with its statements; but what is a trait of the server holds for both. */
static void choose(outbox_conn *conn, const struct outbox_driver *driver, const struct outbox_driver *native)
{
    conn->driver = *driver;
    if (driver != &outbox_driver__generic || native == &outbox_driver__generic)
        return;
    conn->driver = *native;
    conn->driver.name = driver->name;
    conn->driver.dialect = driver->dialect;
    conn->driver.flags = driver->flags | (native->flags & (OUTBOX_DRIVER_BEGIN_TELLS | OUTBOX_DRIVER_INDEX_SCHEMA));
    conn->driver.wake_module = NULL;
    memcpy(conn->driver.sql, driver->sql, sizeof(conn->driver.sql));
    conn->driver.sql[Q_TOUCH] = native->sql[Q_TOUCH];
    conn->driver.sql[Q_CHARSET] = native->sql[Q_CHARSET];
    conn->driver.sql[Q_PACKET] = native->sql[Q_PACKET];
    conn->driver.sql[Q_LOCK_LANE] = native->sql[Q_LOCK_LANE];
    if (native->sql[Q_TAKE] != NULL)
        conn->driver.sql[Q_TAKE] = native->sql[Q_TAKE]; /* waits for no lock, where a timeout is not heeded */
    conn->driver.sql[Q_MARK] = native->sql[Q_MARK];
    conn->driver.sql[Q_MARKED] = native->sql[Q_MARKED];
}

static int speak(outbox_conn *conn, const struct outbox_driver *driver, outbox_error **err)
{
    outbox_names__free(conn->name_text);
    choose(conn, driver, conn->native);
    outbox_odbc__set_errors(conn->odbc, conn->driver.errors);
    outbox_odbc__set_bindings(conn->odbc, &conn->driver.bindings);
    return outbox_names__make(conn->conf, &conn->driver, conn->names, conn->name_text, err);
}

static int choose_by_name(outbox_conn *conn, outbox_error **err)
{
    int64_t choice = outbox_conf__number(conn->conf, CONF_DRIVER);
    const struct outbox_driver *wanted = choice > 0 ? outbox_driver__at((size_t)choice - 1) : NULL, *native;
    char dbms[128] = "";
    int rc = outbox_odbc__dbms(conn->odbc, dbms, sizeof(dbms), err);

    if (rc != OUTBOX_OK)
        return rc;
    native = conn->native = outbox_driver__of_dbms(dbms);
    if (wanted != NULL && native != &outbox_driver__generic && wanted != native &&
        (wanted != &outbox_driver__generic || (native->flags & OUTBOX_DRIVER_NOT_GENERIC) != 0))
        return outbox_error__set(err, OUTBOX_ERR_CONF, "driver.mismatch",
                                 "driver is %s, but this connection leads to %s: leave the setting at auto", wanted->name,
                                 dbms);
    return speak(conn, wanted != NULL ? wanted : native, err);
}

/* What a native driver proves of its server holds for that server alone. */
static int be_relative(outbox_conn *conn, outbox_error **err)
{
    if (strcmp(conn->driver.dialect, conn->native->dialect) != 0)
        return OUTBOX_OK;
    if (outbox_conf__number(conn->conf, CONF_DRIVER) > 0)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.relative",
                                 "driver is %s, but this server is %s, on which that driver could lose messages: set driver "
                                 "to generic, or to auto", conn->native->name, conn->relative);
    outbox_stmt__free(conn->cache[Q_META][0].stmt);
    outbox_sqltext__free(&conn->cache[Q_META][0].text);
    memset(&conn->cache[Q_META][0], 0, sizeof(conn->cache[Q_META][0]));
    return speak(conn, &outbox_driver__generic, err);
}

static void take_name(outbox_conn *conn, const char *product)
{
    conn->known = 1;
    if (conn->native->relative == NULL || !conn->native->relative(product, conn->relative, sizeof(conn->relative)))
        conn->relative[0] = '\0';
}

static int take_product(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    take_name(ctx, cells[0].data != NULL ? cells[0].data : "");
    return OUTBOX_OK;
}

int outbox_conn__identify(outbox_conn *conn, outbox_error **err)
{
    outbox_arena arena = { NULL };
    struct outbox_result result = { "t", &arena, take_product, conn, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (conn->known || conn->native->product == NULL)
        return OUTBOX_OK;
    rc = outbox_conn__run_once(conn, conn->native->product, &args, "ask the server what it is", &result, err);
    outbox_arena__free(&arena);
    return rc == OUTBOX_OK && conn->relative[0] != '\0' ? be_relative(conn, err) : rc;
}

static int conn_new(const outbox_conf *conf, outbox_conn **out, outbox_error **err)
{
    outbox_conn *conn = calloc(1, sizeof(*conn));
    int rc;

    *out = NULL;
    if (conn == NULL)
        return outbox_error__nomem(err);
    rc = outbox_conf__copy(conf, &conn->conf, err);
    if (rc != OUTBOX_OK) {
        free(conn);
        return rc;
    }
    *out = conn;
    return OUTBOX_OK;
}

int outbox_conn_borrow(void *hdbc, const outbox_conf *conf, outbox_conn **out, outbox_error **err)
{
    outbox_conn *conn;
    int rc;

    if (out == NULL || hdbc == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.null", "outbox_conn_borrow() needs a connected SQLHDBC");
    rc = conn_new(conf, &conn, err);
    *out = NULL;
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_odbc__borrow(hdbc, &conn->odbc, err);
    if (rc == OUTBOX_OK)
        rc = choose_by_name(conn, err);
    if (rc != OUTBOX_OK) {
        outbox_conn_close(conn);
        return rc;
    }
    *out = conn;
    return OUTBOX_OK;
}

/* A relative may not have all of these settings, and does without. */
static int set_up(outbox_conn *conn, outbox_error **err)
{
    const char *const *sql;
    int rc = OUTBOX_OK;

    for (sql = conn->driver.setup; sql != NULL && *sql != NULL && rc == OUTBOX_OK; sql++) {
        outbox_error *why = NULL;

        rc = outbox_odbc__direct(conn->odbc, *sql, &why);
        if (rc == OUTBOX_ERR_DATABASE && conn->relative[0] != '\0')
            rc = OUTBOX_OK;
        outbox_error__pass(rc != OUTBOX_OK ? err : NULL, why);
    }
    return rc;
}

int outbox_conn_open(const char *dsn, const outbox_conf *conf, outbox_conn **out, outbox_error **err)
{
    outbox_conn *conn;
    char *text;
    int rc;

    if (out == NULL || dsn == NULL || dsn[0] == '\0')
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.no_dsn",
                                 "no database was named: give a DSN, an ODBC connection string, or sqlite:PATH");
    *out = NULL;
    rc = conn_new(conf, &conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_dsn__expand(dsn, conn->conf, &text, err);
    if (rc == OUTBOX_OK)
        rc = outbox_odbc__open(text, &conn->odbc, err);
    free(text);
    if (rc == OUTBOX_OK)
        rc = choose_by_name(conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__identify(conn, err);
    if (rc == OUTBOX_OK)
        rc = set_up(conn, err);
    if (rc != OUTBOX_OK) {
        outbox_conn_close(conn);
        return rc;
    }
    *out = conn;
    return OUTBOX_OK;
}

int outbox_conn__be_impatient(outbox_conn *conn, outbox_error **err)
{
    if (conn->driver.impatience != NULL)
        return outbox_odbc__direct(conn->odbc, conn->driver.impatience, err);
    outbox_odbc__timeout(conn->odbc, 1);
    return OUTBOX_OK;
}

void outbox_conn_close(outbox_conn *conn)
{
    int q, s;

    if (conn == NULL)
        return;
    for (q = 0; q < Q__COUNT; q++)
        for (s = 0; s < OUTBOX_SIZES; s++) {
            outbox_stmt__free(conn->cache[q][s].stmt);
            outbox_sqltext__free(&conn->cache[q][s].text);
        }
    if (conn->in_transaction)
        outbox_conn__rollback(conn);
    outbox_odbc__close(conn->odbc);
    outbox_names__free(conn->name_text);
    outbox_conf_free(conn->conf);
    for (q = 0; q < OUTBOX_LISTS; q++)
        outbox_buffer__free(&conn->lists[q]);
    free(conn);
}

const char *outbox_conn_driver(const outbox_conn *conn)
{
    return conn->driver.name;
}

/* Without a look at whether a transaction is open: where none is, the server says so, and nobody listens. */
static int roll_back(outbox_conn *conn)
{
    int rc;

    if (conn->driver.rollback != NULL)
        return outbox_odbc__direct(conn->odbc, conn->driver.rollback, NULL);
    rc = outbox_odbc__end(conn->odbc, 0, NULL);
    /* Switching it on would commit what was not rolled back. */
    return rc == OUTBOX_OK ? outbox_odbc__autocommit(conn->odbc, 1, NULL) : rc;
}

int outbox_conn__check(const outbox_conn *conn, outbox_error **err)
{
    if (!conn->stuck)
        return OUTBOX_OK;
    return outbox_error__set(err, OUTBOX_ERR_LOST, "database.lost",
                             "a transaction on this connection could not be rolled back and may still be open: nothing "
                             "more is done on it; connect again");
}

int outbox_conn__begin(outbox_conn *conn, outbox_error **err)
{
    int rc;

    if (conn->in_transaction)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "conn.transaction_open",
                                 "a transaction is open on this connection already");
    rc = outbox_conn__check(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = conn->driver.begin != NULL ? outbox_odbc__direct(conn->odbc, conn->driver.begin, err)
                                    : outbox_odbc__autocommit(conn->odbc, 0, err);
    /* It may have begun all the same, and would swallow what is written after it. */
    if (rc != OUTBOX_OK)
        roll_back(conn);
    conn->in_transaction = rc == OUTBOX_OK;
    conn->doomed = 0;
    return rc;
}

static int take_open(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int *)ctx = cells[0].number != 0;
    return OUTBOX_OK;
}

/* Whether the application has begun a transaction by SQL, where that can be asked. */
static int is_marked(outbox_conn *conn, int *open, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_open, open, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__run(conn, Q_MARK, &args, 0, "ask whether a transaction is open", NULL, err);

    return rc != OUTBOX_OK ? rc
                           : outbox_conn__run(conn, Q_MARKED, &args, 0, "ask whether a transaction is open", &result, err);
}

/* Where the attempt to begin one tells: it leaves the application's alone. */
static int begin_tells(outbox_conn *conn, int *open, outbox_error **err)
{
    outbox_error *why = NULL;
    int rc = outbox_odbc__direct(conn->odbc, conn->driver.begin, &why);

    *open = rc == OUTBOX_ERR_STATE;
    conn->in_transaction = rc == OUTBOX_OK;
    conn->doomed = 0;
    if (rc < 0 && !*open && err != NULL)
        *err = why;
    else
        outbox_error_free(why);
    return *open ? OUTBOX_OK : rc;
}

int outbox_conn__begin_unless_open(outbox_conn *conn, outbox_error **err)
{
    int open = conn->in_transaction, rc = outbox_conn__check(conn, err);

    if (rc != OUTBOX_OK || open)
        return rc;
    if (!outbox_odbc__is_borrowed(conn->odbc))
        return outbox_conn__begin(conn, err);
    rc = outbox_odbc__is_autocommit(conn->odbc, &open, err);
    if (rc != OUTBOX_OK || !open)
        return rc;
    if ((conn->driver.flags & OUTBOX_DRIVER_BEGIN_TELLS) != 0)
        return begin_tells(conn, &open, err);
    if (outbox_conn__sql(conn, Q_MARK) == NULL)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "enqueue.autocommit",
                                 "autocommit is on, but this call takes several statements, which belong together: "
                                 "switch it off, and commit after the call; nothing was written");
    open = 0;
    rc = is_marked(conn, &open, err);
    return rc != OUTBOX_OK || open ? rc : outbox_conn__begin(conn, err);
}

void outbox_conn__rollback(outbox_conn *conn)
{
    if (!conn->in_transaction)
        return;
    conn->in_transaction = 0;
    conn->stuck = roll_back(conn) != OUTBOX_OK;
}

int outbox_conn__commit(outbox_conn *conn, outbox_error **err)
{
    int rc;

    if (conn->doomed) {
        outbox_conn__rollback(conn);
        return outbox_error__set(err, OUTBOX_ERR_CONFLICT, "conn.doomed",
                                 "nothing was committed: a statement of this transaction failed before, so it was "
                                 "rolled back; repeat the whole transaction");
    }
    if (conn->driver.commit != NULL) {
        rc = outbox_odbc__direct(conn->odbc, conn->driver.commit, err);
    } else {
        rc = outbox_odbc__end(conn->odbc, 1, err);
        if (rc == OUTBOX_OK)
            rc = outbox_odbc__autocommit(conn->odbc, 1, err);
    }
    if (rc != OUTBOX_OK)
        outbox_conn__rollback(conn);
    conn->in_transaction = 0;
    return rc;
}

static int check_own(outbox_conn *conn, int in_transaction, outbox_error **err)
{
    if (outbox_odbc__is_borrowed(conn->odbc))
        return outbox_error__set(err, OUTBOX_ERR_STATE, "conn.borrowed",
                                 "this connection is the application's: begin, commit and execute there");
    if (conn->in_transaction != in_transaction && in_transaction)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "conn.no_transaction",
                                 "no transaction is open on this connection: call outbox_conn_begin() first");
    return OUTBOX_OK;
}

int outbox_conn_begin(outbox_conn *conn, outbox_error **err)
{
    int rc = check_own(conn, 0, err);

    return rc != OUTBOX_OK ? rc : outbox_conn__begin(conn, err);
}

int outbox_conn_commit(outbox_conn *conn, outbox_error **err)
{
    int rc = check_own(conn, 1, err);

    return rc != OUTBOX_OK ? rc : outbox_conn__commit(conn, err);
}

int outbox_conn_rollback(outbox_conn *conn, outbox_error **err)
{
    int rc = check_own(conn, 1, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_conn__rollback(conn);
    return outbox_conn__check(conn, err);
}

int outbox_conn_execute(outbox_conn *conn, const char *sql, outbox_error **err)
{
    int rc = check_own(conn, conn->in_transaction, err);

    if (rc == OUTBOX_OK)
        rc = outbox_conn__check(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_odbc__direct(conn->odbc, sql, err);
    if (rc != OUTBOX_OK)
        conn->doomed = 1;
    return rc;
}

static int take_number(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int64_t *)ctx = cells[0].number;
    return OUTBOX_OK;
}

static int take_meta(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    outbox_conn *conn = ctx;
    const char *name = cells[0].data != NULL ? cells[0].data : "", *value = cells[1].data != NULL ? cells[1].data : "";

    (void)err;
    if (strcmp(name, "version") == 0)
        conn->version = atoi(value);
    else if (strcmp(name, "lanes") == 0)
        conn->lanes = atoi(value);
    else if (strcmp(name, "settle") == 0)
        conn->position = strcmp(value, "position") == 0;
    else if (strcmp(name, "dialect") == 0)
        snprintf(conn->dialect, sizeof(conn->dialect), "%s", value);
    else if (strcmp(name, "system") == 0)
        snprintf(conn->system, sizeof(conn->system), "%s", value);
    else if (strcmp(name, "product") == 0)
        take_name(conn, value);
    return OUTBOX_OK;
}

int outbox_conn__check_settle(const struct outbox_driver *driver, int position, outbox_error **err)
{
    if (!position || (driver->flags & OUTBOX_DRIVER_POSITION) != 0)
        return OUTBOX_OK;
    return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.no_position",
                             "the driver \"%s\" cannot settle by position: set driver to auto, or create the outbox with "
                             "schema.settle=delete", driver->name);
}

static int check_facts(outbox_conn *conn, outbox_error **err)
{
    int64_t settle = outbox_conf__number(conn->conf, CONF_SCHEMA_SETTLE);

    if (conn->version != OUTBOX_SCHEMA_VERSION || conn->lanes < 1)
        return outbox_error__set(err, OUTBOX_ERR_SCHEMA, "schema.version",
                                 "the outbox's tables are of version %d, this library needs %d: %s", conn->version,
                                 OUTBOX_SCHEMA_VERSION,
                                 conn->version > OUTBOX_SCHEMA_VERSION ? _("use a newer library")
                                                                       : _("run `outboxctl migrate`"));
    if (conn->relative[0] != '\0' && strcmp(conn->dialect, conn->native->dialect) == 0)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.relative",
                                 "this outbox was made by the driver \"%s\", and this server is %s, on which that driver could "
                                 "lose messages: make another outbox with driver=generic, and another schema.prefix",
                                 conn->dialect, conn->relative);
    if (conn->dialect[0] != '\0' && strcmp(conn->dialect, conn->driver.dialect) != 0)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.other_dialect",
                                 "this outbox was made by the driver \"%s\", and \"%s\" was going to use it: set driver "
                                 "to %s", conn->dialect, conn->driver.name, conn->dialect);
    if (settle != SETTLE_AUTO && (settle == SETTLE_POSITION) != conn->position)
        return outbox_error__set(err, OUTBOX_ERR_CONF, "conf.settle_differs",
                                 "schema.settle is %s, but this outbox was created to settle by %s; leave the setting at "
                                 "auto, or create another outbox",
                                 settle == SETTLE_POSITION ? "position" : "delete", conn->position ? "position" : "delete");
    return outbox_conn__check_settle(&conn->driver, conn->position, err);
}

static int take_charset(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    const char *charset = cells[0].data != NULL ? cells[0].data : "";

    (void)ctx;
    if (strncmp(charset, "utf8", 4) == 0 || strcmp(charset, "\xe2\x82\xac") == 0)
        return OUTBOX_OK;
    return outbox_error__set(err, OUTBOX_ERR_INVALID, "conn.charset",
                             "this connection's text is not UTF-8, but %.40s (its character set, or how it shows a euro "
                             "sign), so the outbox's text would be taken for other letters: connect with "
                             "CHARSET=utf8mb4 on MariaDB, with ConnSettings={SET client_encoding = 'UTF8'} on PostgreSQL; "
                             "outbox_errors(7) has the others", charset);
}

/* What the server and the connection are set to. */
static int check_session(outbox_conn *conn, outbox_error **err)
{
    outbox_arena arena = { NULL };
    struct outbox_result charset = { "t", &arena, take_charset, NULL, 0 };
    struct outbox_result packet = { "i", NULL, take_number, &conn->packet, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = OUTBOX_OK;

    if (outbox_conn__sql(conn, Q_CHARSET) != NULL)
        rc = outbox_conn__run(conn, Q_CHARSET, &args, 0, "ask for the character set", &charset, err);
    if (rc == OUTBOX_OK && outbox_conn__sql(conn, Q_PACKET) != NULL)
        rc = outbox_conn__run(conn, Q_PACKET, &args, 0, "ask how long a statement may be", &packet, err);
    outbox_arena__free(&arena);
    return rc;
}

int outbox_conn__load(outbox_conn *conn, outbox_error **err)
{
    outbox_arena arena = { NULL };
    struct outbox_result result = { "tt", &arena, take_meta, conn, 0 };
    struct outbox_args args = { .set = 0 };
    int rc;

    if (conn->lanes > 0)
        return OUTBOX_OK;
    conn->version = 0;
    conn->dialect[0] = '\0';
    if (outbox_conn__sql(conn, Q_TOUCH) != NULL && outbox_odbc__is_borrowed(conn->odbc)) {
        rc = outbox_conn__run(conn, Q_TOUCH, &args, 0, "read what the outbox is", NULL, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
    rc = outbox_conn__run(conn, Q_META, &args, 0, "read what the outbox is", &result, err);
    outbox_arena__free(&arena);
    if (rc == OUTBOX_OK && conn->relative[0] != '\0')
        rc = be_relative(conn, err);
    if (rc == OUTBOX_OK)
        rc = check_facts(conn, err);
    if (rc == OUTBOX_OK)
        rc = check_session(conn, err);
    if (rc != OUTBOX_OK)
        conn->lanes = 0;
    return rc;
}

int outbox_conn__now(outbox_conn *conn, int64_t *now, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_number, now, 0 };
    struct outbox_args args = { .set = 0 };

    return outbox_conn__run(conn, Q_CLOCK, &args, 0, "ask the database for the time", &result, err);
}
