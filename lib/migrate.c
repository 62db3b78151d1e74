/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema: one transaction from nothing to what this library needs. Two processes that migrate at once: the second
 * waits for the first, fails on a table that is there, and finds that all is done. */
#include "buffer.h"
#include "conn_internal.h"
#include "error_internal.h"
#include "migrate_data.h"

#include <outbox/admin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATOR "-- statement\n"
#define DIALECT_(name) " " #name
#define DIALECTS OUTBOX_DRIVERS(DIALECT_)

/* Lines around a statement with semicolons within, which only the database's own client reads: mariadb's, isql's and db2's. */
static void leave_out_delimiters(const char **text, size_t *size)
{
    static const char *const around[][2] = { { "DELIMITER //\n", "//\nDELIMITER ;\n" },
                                             { "SET TERM ^ ;\n", "^\nSET TERM ; ^\n" },
                                             { "COMMIT;\nSET TERM ^ ;\n", "^\nSET TERM ; ^\nCOMMIT;\n" },
                                             { "--#SET TERMINATOR @\n", "@\n--#SET TERMINATOR ;\n" } };
    size_t i;

    for (i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        size_t first = strlen(around[i][0]), last = strlen(around[i][1]);

        if (*size < first + last || strncmp(*text, around[i][0], first) != 0 ||
            strncmp(*text + *size - last, around[i][1], last) != 0)
            continue;
        *text += first;
        *size -= first + last;
    }
}

static int run_statement(outbox_conn *conn, const char *text, size_t size, outbox_error **err)
{
    struct outbox_sqltext sql;
    char *copy;
    int rc;

    leave_out_delimiters(&text, &size);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ';' || text[size - 1] == ' '))
        size--;
    copy = strndup(text, size);
    if (copy == NULL)
        return outbox_error__nomem(err);
    rc = outbox_sqltext__render(copy, conn->names, 0, &sql, err);
    if (rc == OUTBOX_OK) {
        rc = outbox_odbc__direct(conn->odbc, sql.sql, err);
        outbox_sqltext__free(&sql);
    }
    free(copy);
    return rc;
}

/* Where a table that was made cannot be filled in the same transaction, each statement is one of its own. */
static int in_steps(const outbox_conn *conn)
{
    return (conn->driver.flags & OUTBOX_DRIVER_DDL_COMMITS) != 0;
}

/* What stands before the first separator is a comment on the whole; a comment behind a statement belongs to the next. *last is
 * 1 when the last statement, which says that the outbox is there, was this one's to run. */
static int run_script(outbox_conn *conn, const char *script, int *last, outbox_error **err)
{
    const char *at = strstr(script, SEPARATOR), *next;
    outbox_error *why = NULL;
    int rc = OUTBOX_OK;

    for (; at != NULL && rc == OUTBOX_OK; at = next) {
        const char *end;

        at += strlen(SEPARATOR);
        next = strstr(at, SEPARATOR);
        end = next != NULL ? next : at + strlen(at);
        while (next != NULL && end > at) {
            const char *line = end - 1;

            while (line > at && line[-1] != '\n')
                line--;
            if (strncmp(line, "-- ", 3) != 0)
                break;
            end = line;
        }
        rc = run_statement(conn, at, (size_t)(end - at), in_steps(conn) ? &why : err);
        *last = rc == OUTBOX_OK;
        if (rc == OUTBOX_ERR_DUPLICATE && in_steps(conn))
            rc = OUTBOX_OK; /* left behind by an attempt that failed, or made by another one meanwhile */
        if (rc != OUTBOX_OK && in_steps(conn) && err != NULL && *err == NULL) {
            *err = why;
            return rc;
        }
        outbox_error_free(why);
        why = NULL;
    }
    return rc;
}

static int apply_all(outbox_conn *conn, int *applied, outbox_error **err)
{
    const struct outbox__migration *m;
    const char *schema = outbox_conf__text(conn->conf, CONF_SCHEMA_NAME);
    int last = 0, rc = in_steps(conn) ? outbox_conn__check(conn, err) : outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    if (conn->driver.migrate_lock != NULL)
        rc = outbox_odbc__direct(conn->odbc, conn->driver.migrate_lock, err);
    if (rc == OUTBOX_OK && conn->driver.create_schema != NULL && schema[0] != '\0')
        rc = run_statement(conn, conn->driver.create_schema, strlen(conn->driver.create_schema), err);
    for (m = outbox__migrations; m->dialect != NULL && rc == OUTBOX_OK; m++)
        if (strcmp(m->dialect, conn->driver.dialect) == 0 && m->number > conn->version) {
            rc = run_script(conn, m->sql, &last, err);
            *applied += last;
        }
    if (rc == OUTBOX_OK && conn->in_transaction)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

/* What the meta table says was made may have been dropped since. */
static int check_complete(outbox_conn *conn, outbox_error **err)
{
    static const struct {
        const char *name, *sql;
    } tables[] = {
        { "messages", "SELECT lane FROM {messages} WHERE 1 = 0" },   { "lanes", "SELECT lane FROM {lanes} WHERE 1 = 0" },
        { "deferred", "SELECT lane FROM {deferred} WHERE 1 = 0" },   { "published", "SELECT lane FROM {published} WHERE 1 = 0" },
        { "positions", "SELECT lane FROM {positions} WHERE 1 = 0" }, { "dedup", "SELECT dedup_key FROM {dedup} WHERE 1 = 0" },
        { "audit", "SELECT id FROM {audit} WHERE 1 = 0" },
    };
    struct outbox_args args = { .set = 0 };
    outbox_error *why = NULL;
    size_t i;
    int rc = OUTBOX_OK;

    for (i = 0; i < sizeof(tables) / sizeof(tables[0]) && rc == OUTBOX_OK; i++)
        rc = outbox_conn__run_once(conn, tables[i].sql, &args, "look for the outbox's tables", NULL, &why);
    if (rc == OUTBOX_ERR_SCHEMA)
        outbox_error__set(err, rc, "schema.incomplete",
                          "the outbox is of version %d, as its meta table says, but its table %s%s is gone: restore it "
                          "from a backup, or drop what is left of the outbox and migrate again", conn->version,
                          outbox_conf__text(conn->conf, CONF_SCHEMA_PREFIX), tables[i - 1].name);
    else if (rc != OUTBOX_OK && err != NULL && *err == NULL) {
        *err = why;
        return rc;
    }
    outbox_error_free(why);
    return rc;
}

static int wants_position(const outbox_conf *conf)
{
    return outbox_conf__number(conf, CONF_SCHEMA_SETTLE) == SETTLE_POSITION;
}

/* A generic outbox on a server with position settling must say so when it is made: names.c decides by the driver. */
int outbox_migrate(outbox_conn *conn, int *applied, outbox_error **err)
{
    outbox_error *first = NULL;
    int count = 0, rc;

    if (applied != NULL)
        *applied = 0;
    rc = outbox_conn__load(conn, &first);
    if (rc == OUTBOX_OK)
        return check_complete(conn, err);
    if (rc != OUTBOX_ERR_SCHEMA || conn->version > OUTBOX_SCHEMA_VERSION) {
        outbox_error__pass(err, first);
        return rc;
    }
    outbox_error_free(first);
    first = NULL;
    rc = outbox_conn__identify(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_conn__check_settle(&conn->driver, wants_position(conn->conf), err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = apply_all(conn, &count, &first);
    if (rc != OUTBOX_OK && outbox_conn__load(conn, NULL) == OUTBOX_OK) {
        rc = OUTBOX_OK; /* another process did it while we waited */
        count = 0;
    }
    if (rc == OUTBOX_OK) {
        outbox_error_free(first);
        if (applied != NULL)
            *applied = count;
        return outbox_conn__load(conn, err);
    }
    outbox_error__pass(err, first);
    return rc;
}

int outbox_migration_get(outbox_conn *conn, size_t index, outbox_migration *migration, outbox_error **err)
{
    const struct outbox__migration *m;
    int rc = outbox_conn__load(conn, NULL);

    if (rc == OUTBOX_ERR_LOST)
        return outbox_error__set(err, rc, "database.lost", "cannot read which migrations were applied: the connection is lost");
    for (m = outbox__migrations; m->dialect != NULL; m++)
        if (strcmp(m->dialect, conn->driver.dialect) == 0 && index-- == 0) {
            migration->number = m->number;
            migration->name = m->name;
            migration->applied = conn->version >= m->number;
            return OUTBOX_OK;
        }
    return OUTBOX_NONE;
}

static int print_all(const char *dialect, const struct outbox_sqlname *names, struct outbox_buffer *out, outbox_error **err)
{
    const struct outbox__migration *m;
    struct outbox_sqltext text;
    int rc = OUTBOX_OK;

    for (m = outbox__migrations; m->dialect != NULL && rc == OUTBOX_OK; m++) {
        if (strcmp(m->dialect, dialect) != 0)
            continue;
        rc = outbox_sqltext__render(m->sql, names, 0, &text, err);
        if (rc != OUTBOX_OK)
            break;
        if (!outbox_buffer__add(out, text.sql, strlen(text.sql)))
            rc = outbox_error__nomem(err);
        outbox_sqltext__free(&text);
    }
    return rc;
}

int outbox_migrations_print(const char *dialect, const outbox_conf *conf, char **sql, outbox_error **err)
{
    const struct outbox_driver *driver = dialect != NULL ? outbox_driver__find(dialect) : NULL;
    struct outbox_sqlname names[OUTBOX_NAMES];
    struct outbox_buffer out = { NULL, 0, 0 };
    char *texts[OUTBOX_NAMES];
    outbox_conf *copy;
    int rc;

    *sql = NULL;
    if (driver == NULL)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "migrate.no_dialect",
                                 "there is no dialect \"%.40s\"; there are%s", dialect != NULL ? dialect : "", DIALECTS);
    rc = outbox_conf__copy(conf, &copy, err);
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_conn__check_settle(driver, wants_position(copy), err);
    if (rc == OUTBOX_OK)
        rc = outbox_names__make(copy, driver, names, texts, err);
    if (rc == OUTBOX_OK) {
        rc = print_all(dialect, names, &out, err);
        outbox_names__free(texts);
    }
    outbox_conf_free(copy);
    if (rc != OUTBOX_OK)
        outbox_buffer__free(&out);
    else
        *sql = out.data;
    return rc;
}
