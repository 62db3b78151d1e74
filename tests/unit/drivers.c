/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The statements of every driver: each renders, is whole, and is what tests/golden/sql-<driver>.txt says, so that no
 * change of a template goes unseen. A new driver or statement needs nothing here.
 */
#include "buffer.h"
#include "conn_internal.h"
#include "golden.h"
#include "probes.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_(name) &outbox_driver__##name,
static const struct outbox_driver *const drivers[] = { OUTBOX_DRIVERS(ADDRESS_) };
#undef ADDRESS_
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

static const size_t row_counts[] = { 1, 2, 512 };

static outbox_conf *conf;
static struct outbox_sqlname names[OUTBOX_NAMES];
static char *texts[OUTBOX_NAMES];
static char query_names[Q__COUNT][40];

/* The names stand in the enum of driver.h, in its order. */
static void read_query_names(void)
{
    char *header = file_read(source_folder(), "drivers/driver.h");
    const char *at = header != NULL ? strstr(header, "enum outbox_query {") : NULL;
    int i;

    cr_assert_not_null(at, "drivers/driver.h cannot be read: OUTBOX_SRCDIR is the top of the sources");
    for (i = 0; i < Q__COUNT; i++) {
        at = strstr(at, "\n    Q_");
        cr_assert_not_null(at, "driver.h names %d statements only", i);
        at += 5;
        snprintf(query_names[i], sizeof(query_names[i]), "%.*s", (int)strcspn(at, ",\n"), at);
    }
    at = strstr(at, "\n    Q_");
    cr_assert_eq(strncmp(at + 5, "Q__COUNT", 8), 0, "driver.h names more statements than there are");
    free(header);
}

static void make(void)
{
    read_query_names();
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_names__free(texts);
    outbox_conf_free(conf);
}

TestSuite(drivers, .init = make, .fini = drop);

static void use_names(const struct outbox_driver *driver)
{
    outbox_names__free(texts);
    cr_assert_eq(outbox_names__make(conf, driver, names, texts, NULL), OUTBOX_OK);
}

/* Those that a server of some kind executes are none. */
static int has_comment(const char *sql)
{
    while ((sql = strstr(sql, "/*")) != NULL && (sql[2] == '!' || strncmp(sql + 2, "M!", 2) == 0))
        sql += 2;
    return sql != NULL;
}

/* Goes over SQL without what stands in quotes; returns how many marks there are, or -1 with what is wrong in it. */
static int look_over(const char *sql, char *wrong, size_t size)
{
    char open[64];
    int depth = 0, marks = 0;
    const char *p;

    for (p = sql; *p != '\0'; p++) {
        if (*p == '\'' || *p == '"' || *p == '`') {
            const char *end = strchr(p + 1, *p);

            if (end == NULL) {
                snprintf(wrong, size, "a quote that does not end, at %.20s", p);
                return -1;
            }
            p = end;
        } else if (*p == '(' || *p == '[') {
            if (depth == 64) {
                snprintf(wrong, size, "too many brackets");
                return -1;
            }
            open[depth++] = *p;
        } else if (*p == ')' || *p == ']') {
            if (depth == 0 || open[--depth] != (*p == ')' ? '(' : '[')) {
                snprintf(wrong, size, "a bracket too many, at %.20s", p);
                return -1;
            }
        } else if (*p == '{' || *p == '}' || *p == ';') {
            snprintf(wrong, size, "a %c, at %.20s", *p, p);
            return -1;
        } else if (p[0] == ':' && p[1] == ':') {
            p++;
        } else if (*p == ':') {
            snprintf(wrong, size, "a parameter that was not replaced, at %.20s", p);
            return -1;
        }
        marks += *p == '?';
    }
    if (depth > 0)
        snprintf(wrong, size, "a bracket that does not end");
    else if (strstr(sql, "[[") != NULL || strstr(sql, "]]") != NULL)
        snprintf(wrong, size, "two parts that are repeated");
    else if (strstr(sql, "--") != NULL || has_comment(sql))
        snprintf(wrong, size, "a comment");
    else if (strstr(sql, "  ") != NULL || sql[0] == ' ' || sql[0] == '\0' || sql[strlen(sql) - 1] == ' ')
        snprintf(wrong, size, "spaces for nothing, or words that are missing");
    else
        return marks;
    return -1;
}

static void check_statement(const char *who, const char *what, const char *template_text)
{
    size_t rows[3], count = 1, i, p;

    memcpy(rows, row_counts, sizeof(rows));
    if (outbox_sqltext__repeats(template_text))
        count = outbox_sqltext__is_single(template_text) ? 1 : 3;
    else
        rows[0] = 0;
    for (i = 0; i < count; i++) {
        struct outbox_sqltext text;
        outbox_error *err = NULL;
        char wrong[100] = "";
        int rc = outbox_sqltext__render(template_text, names, rows[i], &text, &err), marks;

        cr_expect_eq(rc, OUTBOX_OK, "%s, %s: %s", who, what, outbox_error_message(err));
        outbox_error_free(err);
        if (rc != OUTBOX_OK)
            return;
        marks = look_over(text.sql, wrong, sizeof(wrong));
        cr_expect_geq(marks, 0, "%s, %s: %s", who, what, wrong);
        if (marks >= 0)
            cr_expect_eq((size_t)marks, text.count, "%s, %s: %d marks, %zu parameters", who, what, marks, text.count);
        for (p = 0; p < text.count; p++)
            if (text.params[p].param >= P__COUNT || (rows[i] > 0 && text.params[p].row >= rows[i]))
                cr_expect_fail("%s, %s: parameter %zu is %d of row %d", who, what, p, text.params[p].param,
                               text.params[p].row);
        outbox_sqltext__free(&text);
    }
}

Test(drivers, every_statement_renders)
{
    static const struct {
        const char *schema, *settle;
    } settings[] = { { "", "auto" }, { "s", "delete" } };
    size_t d, s, q;

    for (s = 0; s < 2; s++)
        for (d = 0; d < DRIVERS; d++) {
            outbox_conf_set(conf, "schema.name", settings[s].schema, NULL);
            outbox_conf_set(conf, "schema.settle", settings[s].settle, NULL);
            use_names(drivers[d]);
            for (q = 0; q < Q__COUNT; q++) {
                const char *sql = outbox_driver__sql(drivers[d], (enum outbox_query)q);

                if (sql != NULL)
                    check_statement(drivers[d]->name, query_names[q], sql);
                /* The generic driver speaks to a known server with that server's expressions. */
                if (outbox_driver__generic.sql[q] != NULL)
                    check_statement("generic elsewhere", query_names[q], outbox_driver__generic.sql[q]);
            }
            if (drivers[d]->create_schema != NULL)
                check_statement(drivers[d]->name, "create_schema", drivers[d]->create_schema);
            if (drivers[d]->migrate_lock != NULL)
                check_statement(drivers[d]->name, "migrate_lock", drivers[d]->migrate_lock);
        }
}

/* ---- Two servers, one dialect ---- */

/* What is left of SQL when comments are read as MySQL of some version, or MariaDB does. Either passes over the other's: MySQL
 * over those with an M, MariaDB over those of MySQL since 5.7. */
static void read_as(int mysql, const char *sql, char *out, size_t size)
{
    size_t used = 0;
    int inside = 0;

    while (*sql != '\0' && used + 1 < size) {
        const char *number = strncmp(sql, "/*!", 3) == 0 ? sql + 3 : strncmp(sql, "/*M!", 4) == 0 ? sql + 4 : NULL;
        char *rest = NULL;
        long version = number != NULL ? strtol(number, &rest, 10) : 0;

        if (number != NULL && (sql[2] == 'M' ? !mysql : mysql || version < 50700)) {
            sql = rest;
            inside = 1;
        } else if (number != NULL) {
            sql = strstr(rest, "*/") + 2;
        } else if (inside && strncmp(sql, "*/", 2) == 0) {
            sql += 2;
            inside = 0;
        } else {
            out[used++] = *sql++;
        }
    }
    out[used] = '\0';
}

/* MySQL 8.0.3 removed, or never had; MariaDB 10.3 has not yet. */
static void expect_known(const char *what, const char *sql)
{
    static const char *const unknown[][4] = { { "transaction_isolation", "transaction_read_only", "utf8mb4_0900", NULL },
                                              { "tx_isolation", "tx_read_only", "idle_transaction_timeout", "SET STATEMENT" } };
    char text[8000];
    int mysql;
    size_t i;

    for (mysql = 0; mysql < 2; mysql++) {
        read_as(mysql, sql, text, sizeof(text));
        for (i = 0; i < 4 && unknown[mysql][i] != NULL; i++)
            cr_expect_null(strstr(text, unknown[mysql][i]), "%s: %s does not know %s: %s", what, mysql ? "MySQL" : "MariaDB",
                           unknown[mysql][i], text);
        cr_expect(strstr(text, "/*") == NULL && strstr(text, "*/") == NULL, "%s: a comment is left in %s", what, text);
    }
}

Test(drivers, mariadb_and_mysql_read_their_own_words)
{
    const struct outbox_driver *d = outbox_driver__find("mariadb");
    const char *const *setup;
    size_t i;

    for (i = 0; i < Q__COUNT; i++)
        if (outbox_driver__sql(d, (enum outbox_query)i) != NULL)
            expect_known(query_names[i], outbox_driver__sql(d, (enum outbox_query)i));
    for (i = 0; i < A__COUNT; i++)
        if (d->probes[i] != NULL)
            expect_known("a question of the doctor", d->probes[i]);
    for (setup = d->setup; *setup != NULL; setup++)
        expect_known("setup", *setup);
    expect_known("tables", d->table_end);
}

/* Adds a statement with the name of its parameter for each mark, and the row behind it from the second row on. */
static void add_named(struct outbox_buffer *out, const struct outbox_sqltext *text)
{
    static const char *const params[] = {
#define NAME_(symbol, name) name,
        OUTBOX_PARAMS(NAME_)
#undef NAME_
    };
    size_t next = 0;
    const char *p;

    for (p = text->sql; *p != '\0'; p++) {
        char named[60] = { *p };

        if (*p == '?' && next < text->count) {
            const struct outbox_sqlparam *param = &text->params[next++];

            snprintf(named, sizeof(named), param->row > 0 ? ":%s/%d" : ":%s", params[param->param], param->row);
        }
        outbox_buffer__add(out, named, strlen(named));
    }
}

/* Each statement by name, for two rows where it has a part that is repeated. */
static void describe(const struct outbox_driver *driver, struct outbox_buffer *out)
{
    size_t q;

    for (q = 0; q < Q__COUNT; q++) {
        const char *sql = outbox_driver__sql(driver, (enum outbox_query)q);
        struct outbox_sqltext text = { NULL, NULL, 0 };

        if (sql != NULL)
            cr_assert_eq(outbox_sqltext__render(sql, names, outbox_sqltext__is_single(sql) ? 1 : 2, &text, NULL), OUTBOX_OK, "%s", query_names[q]);
        outbox_buffer__add(out, query_names[q], strlen(query_names[q]));
        outbox_buffer__add(out, "\n    ", 5);
        if (sql != NULL)
            add_named(out, &text);
        outbox_buffer__add(out, sql != NULL ? "\n" : "-\n", sql != NULL ? 1 : 2);
        outbox_sqltext__free(&text);
    }
}

Test(drivers, statements_are_those_that_were_looked_at)
{
    size_t d;

    for (d = 0; d < DRIVERS; d++) {
        struct outbox_buffer out = { NULL, 0, 0 };
        char file[80], why[3000];

        use_names(drivers[d]);
        describe(drivers[d], &out);
        snprintf(file, sizeof(file), "sql-%s.txt", drivers[d]->name);
        if (!golden_check(file, out.data, why, sizeof(why)))
            cr_expect_fail("tests/golden/%s: %s", file, why);
        outbox_buffer__free(&out);
    }
}

/* It may be another one the next time it is asked: what was chosen by it before would be chosen both ways. */
Test(drivers, sizes_are_asked_once)
{
    int q;

    for (q = 0; q < Q__COUNT; q++) {
        const char *sql = outbox_driver__postgresql.sql[q], *first = sql != NULL ? strstr(sql, "pg_relation_size") : NULL;

        cr_expect(first == NULL || strstr(first + 1, "pg_relation_size") == NULL, "statement %d", q);
    }
}

/* What the library does without, by driver.h; a statement that is only for position settling needs the flag. */
Test(drivers, nothing_is_missing)
{
    static const enum outbox_query optional[] = {
        Q_TOUCH,          Q_CHARSET,       Q_PACKET,        Q_MARK,        Q_MARKED,  Q_CLAIM,         Q_CLAIM_POSITION,
        Q_SIZES,          Q_SYSTEM,        Q_LOW,           Q_REBASE_LATE, Q_INSERT_ARRAYS, Q_READ_PACKED,
        Q_READ_PACKED_POSITION, Q_SETTLE_READ, Q_REBASE_NEW, Q_REBASE_LANE, Q_REBASE_PASSED, Q_REBASE_NUMBERS, Q_FUTURE, Q_BEHIND,
        Q_ADVANCE,        Q_RENUMBER,      Q_WAKE,
        Q_GATHER,     Q_SETTLE_GATHERED, Q_DELETE_MOVED,
        Q_SEQUENCE,   Q_LOCK_LANES,  Q_CLAIM_NEWEST, Q_CLAIM_NEWEST_POSITION, Q_SETTLE_NEWEST, Q_SETTLE_NEWEST_POSITION,
    };
    size_t d, q, o;

    for (d = 0; d < DRIVERS; d++)
        for (q = 0; q < Q__COUNT; q++) {
            int needed = 1;

            for (o = 0; o < sizeof(optional) / sizeof(optional[0]); o++)
                needed &= q != (size_t)optional[o];
            if (q == Q_READ_POSITION)
                needed = (drivers[d]->flags & OUTBOX_DRIVER_POSITION) != 0;
            if (needed)
                cr_expect_not_null(outbox_driver__sql(drivers[d], (enum outbox_query)q), "%s has no %s",
                                   drivers[d]->name,
                                   query_names[q]);
        }
}

/* The form for position settling stands behind the other one. */
Test(drivers, forms_stand_in_pairs)
{
    size_t q;

    for (q = 1; q < Q__COUNT; q++) {
        const char *tail = strstr(query_names[q], "_POSITION");

        if (tail != NULL)
            cr_expect(strlen(query_names[q - 1]) == (size_t)(tail - query_names[q]) &&
                          strncmp(query_names[q], query_names[q - 1], (size_t)(tail - query_names[q])) == 0,
                      "%s stands behind %s", query_names[q], query_names[q - 1]);
    }
}

Test(drivers, expressions_are_there)
{
    size_t d;

    for (d = 0; d < DRIVERS; d++) {
        const char *const fields[] = { drivers[d]->name,  drivers[d]->dialect, drivers[d]->now, drivers[d]->bytes,
                                       drivers[d]->limit, drivers[d]->text,    drivers[d]->id };
        const struct outbox_errclass *e;
        size_t f;

        for (f = 0; f < sizeof(fields) / sizeof(fields[0]); f++)
            cr_expect(fields[f] != NULL && fields[f][0] != '\0', "driver %zu lacks field %zu", d, f);
        cr_expect((drivers[d]->begin == NULL) == (drivers[d]->commit == NULL) &&
                      (drivers[d]->begin == NULL) == (drivers[d]->rollback == NULL),
                  "%s begins transactions in one way and ends them in another", drivers[d]->name);
        for (e = drivers[d]->errors; e->status != 0; e++) {
            cr_expect_lt(e->status, 0, "%s: class %d of %s", drivers[d]->name, e->status, e->sqlstate);
            cr_expect(strlen(e->sqlstate) <= 5 && (e->sqlstate[0] != '\0' || e->native != 0 || e->word != NULL),
                      "%s: \"%s\" fits everything, or nothing", drivers[d]->name, e->sqlstate);
        }
    }
}

/* What servers and services that cannot be run here say, by their makers' words. */
Test(drivers, errors_are_classed)
{
    static const struct {
        const struct outbox_driver *driver;
        const char *state;
        long native;
        const char *text;
        int status;
    } cases[] = {
        /* CockroachDB, YugabyteDB: restart the transaction, at its commit too; or nobody knows. */
        { &outbox_driver__postgresql, "40001", 1, "ERROR: restart transaction: TransactionRetryWithProtoRefreshError: "
          "WriteTooOldError", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__generic, "40001", 1, "ERROR: restart transaction", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__postgresql, "40003", 1, "ERROR: result is ambiguous", OUTBOX_ERR_LOST },
        { &outbox_driver__generic, "40003", 1, "ERROR: result is ambiguous", OUTBOX_ERR_LOST },
        { &outbox_driver__postgresql, "40P01", 1, "ERROR: deadlock detected", OUTBOX_ERR_CONFLICT },
        /* A node that is drained; Aurora after it failed over: the writer became a reader, or connections end. */
        { &outbox_driver__postgresql, "57P01", 1, "FATAL: terminating connection", OUTBOX_ERR_LOST },
        { &outbox_driver__postgresql, "25006", 1, "ERROR: cannot execute INSERT in a read-only transaction",
          OUTBOX_ERR_READONLY },
        { &outbox_driver__generic, "25006", 1, "ERROR: cannot execute UPDATE in a read-only transaction",
          OUTBOX_ERR_READONLY },
        { &outbox_driver__mariadb, "HY000", 1290, "running with the --read-only option", OUTBOX_ERR_READONLY },
        { &outbox_driver__mariadb, "HY000", 1836, "Running in read-only mode", OUTBOX_ERR_READONLY },
        /* Azure SQL. */
        { &outbox_driver__sqlserver, "37000", 4060, "Cannot open database", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 4221, "Login to read-secondary failed", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 40143, "The service has encountered an error", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 40197, "The service has encountered an error", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 40501, "The service is currently busy", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 40540, "The service has encountered an error", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 40613, "is not currently available", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 49918, "Not enough resources", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 49919, "Too many create or update operations", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 49920, "Too many operations", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 10928, "Resource ID: 1. The request limit", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 10929, "Resource ID: 1. The minimum guarantee", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 64, "The specified network name is no longer available", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 233, "No process is on the other end of the pipe", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 10053, "TCP Provider", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 10054, "TCP Provider", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "HY000", 10060, "TCP Provider", OUTBOX_ERR_LOST },
        { &outbox_driver__sqlserver, "40001", 1205, "was deadlocked on lock resources", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__sqlserver, "23000", 2627, "Violation of PRIMARY KEY 'PK__outbox_dedup'", OUTBOX_ERR_DUPLICATE },
        /* Oracle, Db2. */
        { &outbox_driver__oracle, "HY000", 60, "ORA-00060: deadlock detected", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__oracle, "HY000", 8177, "ORA-08177: can't serialize access", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__oracle, "HY000", 25402, "ORA-25402: transaction must roll back", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__oracle, "HY000", 25405, "ORA-25405: transaction status unknown", OUTBOX_ERR_LOST },
        { &outbox_driver__oracle, "HYT00", 0, "Timeout expired", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__db2, "HYT00", 0, "Timeout expired", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__firebird, "HYT00", 0, "Timeout expired", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__oracle, "HY000", 3113, "ORA-03113: end-of-file on communication channel", OUTBOX_ERR_LOST },
        { &outbox_driver__oracle, "HY000", 6550, "ORA-06550: PLS-00905: object OUTBOX_ENQUEUE is invalid",
          OUTBOX_ERR_SCHEMA },
        { &outbox_driver__oracle, "HY000", 6575, "ORA-06575: function OUTBOX_LANE is in an invalid state", OUTBOX_ERR_SCHEMA },
        { &outbox_driver__db2, "40001", -911, "SQL0911N", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__db2, "57033", -913, "SQL0913N", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__db2, "08506", -30108, "SQL30108N", OUTBOX_ERR_CONFLICT },
        { &outbox_driver__db2, "08001", -30081, "SQL30081N", OUTBOX_ERR_LOST },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct outbox_errclass *found = outbox_errclass__find(cases[i].driver->errors, cases[i].state, cases[i].native,
                                                                    cases[i].text);

        cr_expect_eq(found->status, cases[i].status, "%s, %s %ld %s: %d instead of %d", cases[i].driver->name, cases[i].state,
                     cases[i].native, cases[i].text, found->status, cases[i].status);
    }
}

Test(drivers, finding_one)
{
    static const struct {
        const char *dbms;
        const struct outbox_driver *driver;
    } cases[] = {
        { "PostgreSQL", &outbox_driver__postgresql }, { "PostgreSQL 15.4", &outbox_driver__postgresql },
        { "SQLite", &outbox_driver__sqlite },         { "SQLite3", &outbox_driver__sqlite },
        { "", &outbox_driver__generic },              { "Postgre", &outbox_driver__generic },
        { "Microsoft SQL Server", &outbox_driver__sqlserver }, { "DB2/LINUXX8664", &outbox_driver__db2 },
        { "DB2", &outbox_driver__generic },           { "Firebird", &outbox_driver__firebird },
        { "Oracle", &outbox_driver__oracle },        { "My PostgreSQL", &outbox_driver__generic },
    };
    const char *choices;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(outbox_driver__of_dbms(cases[i].dbms), cases[i].driver, "\"%s\": %s", cases[i].dbms,
                     outbox_driver__of_dbms(cases[i].dbms)->name);
    for (i = 0; i < DRIVERS; i++)
        cr_expect_eq(outbox_driver__find(drivers[i]->name), drivers[i], "\"%s\" is not found", drivers[i]->name);
    cr_expect_null(outbox_driver__find("Generic"));
    cr_expect_null(outbox_driver__find(""));
    cr_expect_null(outbox_driver__find("auto"));

    /* Every choice of the setting is a driver, and is tested here. */
    for (i = 0; i < CONF__COUNT; i++) {
        outbox_conf_info info;

        outbox_conf_describe(i, &info);
        if (strcmp(info.key, "driver") != 0)
            continue;
        for (choices = strchr(info.range, '|'); choices != NULL; choices = strchr(choices + 1, '|')) {
            char name[40];
            size_t d, tested = 0;

            snprintf(name, sizeof(name), "%.*s", (int)strcspn(choices + 1, "|"), choices + 1);
            for (d = 0; d < DRIVERS; d++)
                tested += outbox_driver__find(name) == drivers[d];
            cr_expect_eq(tested, 1u, "\"%s\" is a choice, and no driver of this test", name);
        }
    }
}

/* Whatever reads messages gives the columns that record.c takes. */
Test(drivers, record_columns_are_counted)
{
    static const enum outbox_query readers[] = { Q_LIST_PENDING, Q_LIST_PENDING_POSITION, Q_LIST_DEFERRED,
                                                 Q_LIST_DELIVERED, Q_LIST_DELIVERED_POSITION, Q_DEFERRED_READ };
    size_t d, r;

    for (d = 0; d < DRIVERS; d++)
        for (r = 0; r < sizeof(readers) / sizeof(readers[0]); r++) {
            const char *p = outbox_driver__sql(drivers[d], readers[r]) + strlen("SELECT ");
            size_t columns = 1;
            int depth = 0;

            for (; strncmp(p, " FROM {", 7) != 0 || depth > 0; p++) {
                depth += (*p == '(') - (*p == ')');
                columns += *p == ',' && depth == 0;
            }
            cr_expect_eq(columns, strlen(OUTBOX_RECORD_TYPES), "%s, %s: %zu columns", drivers[d]->name,
                         query_names[readers[r]], columns);
        }
}
