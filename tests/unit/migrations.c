/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The schema as SQL: what `outboxctl migrate --print` shows and what is installed are the same with the defaults, and
 * nothing is left in braces.
 */
#include "conn_internal.h"
#include "golden.h"
#include "migrate_data.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const dialects[] = { "generic", "mariadb", "postgresql", "sqlite" };
#define DIALECTS (sizeof(dialects) / sizeof(dialects[0]))

static char *print(const char *dialect, const outbox_conf *conf)
{
    outbox_error *err = NULL;
    char *sql = NULL;

    cr_expect_eq(outbox_migrations_print(dialect, conf, &sql, &err), OUTBOX_OK, "%s: %s", dialect,
                 outbox_error_message(err));
    outbox_error_free(err);
    return sql;
}

/* Every statement ends, and nothing is left that only the library understands. */
static void expect_runnable(const char *what, const char *sql)
{
    const char *at = strstr(sql, "-- statement\n");

    cr_expect_null(strpbrk(sql, "{}"), "%s: left over: %.30s", what, strpbrk(sql, "{}") != NULL ? strpbrk(sql,
                                                                                                          "{}") : "");
    cr_expect_not_null(at, "%s: no statement", what);
    while (at != NULL) {
        const char *next = strstr(at + 1, "-- statement\n"), *end = next != NULL ? next : at + strlen(at), *p;
        int ends = 0, in_body = 0;

        for (p = at; p + 1 < end; p++) {
            in_body ^= p[0] == '$' && p[1] == '$'; /* of a function, which has statements of its own */
            if (strncmp(p, " BEGIN\n", 7) == 0) /* the same of a trigger of SQLite */
                in_body = 1;
            else if (strncmp(p, "\nEND;", 5) == 0)
                in_body = 0;
            ends += !in_body && p[0] == ';' && p[1] == '\n';
        }
        cr_expect_eq(ends, 1, "%s: not one end of a statement, but %d: %.60s", what, ends, at);
        at = next;
    }
}

static char *installed(const char *dialect)
{
    const struct outbox__migration *m;
    char *all = calloc(1, 1);

    for (m = outbox__migrations; m->dialect != NULL; m++) {
        char path[200], *one;

        if (strcmp(m->dialect, dialect) != 0)
            continue;
        snprintf(path, sizeof(path), "migrations/rendered/%s/%04d_%s.sql", m->dialect, m->number, m->name);
        one = file_read(build_folder(), path);
        cr_assert_not_null(one, "%s is not in the build folder", path);
        all = realloc(all, strlen(all) + strlen(one) + 1);
        strcat(all, one);
        free(one);
    }
    return all;
}

Test(migrations, installed_files_are_the_librarys_with_the_defaults)
{
    size_t i;

    for (i = 0; i < DIALECTS; i++) {
        char *sql = print(dialects[i], NULL), *files = installed(dialects[i]), why[3000];

        cr_assert_not_null(sql, "%s", dialects[i]);
        expect_runnable(dialects[i], sql);
        expect_runnable(dialects[i], files);
        if (!text_same(files, sql, why, sizeof(why)))
            cr_expect_fail("the installed files of %s: %s", dialects[i], why);
        free(files);
        outbox_free(sql);
    }
}

Test(migrations, settings_are_filled_in)
{
    static const struct {
        const char *key, *value, *shown[DIALECTS];
    } cases[] = {
        { "schema.name", "sales",
          { "CREATE TABLE \"sales\".\"outbox_messages\"", "CREATE TABLE IF NOT EXISTS `sales`.`outbox_messages`",
            "CREATE TABLE \"sales\".\"outbox_messages\"",
            "CREATE TABLE \"sales\".\"outbox_messages\"" } },
        { "schema.prefix", "ev_", { "CREATE TABLE \"ev_messages\"", "CREATE TABLE IF NOT EXISTS `ev_messages`",
                                    "CREATE TABLE \"ev_messages\"", "CREATE TABLE \"ev_messages\"" } },
        { "schema.lanes", "3", { "(lane) VALUES (-1), (0), (1), (2);", "(lane) VALUES (-1), (0), (1), (2);", "generate_series(-1, 3 - 1)",
                                 "(lane) VALUES (-1), (0), (1), (2);" } },
        { "schema.lanes", "17", { "('lanes', '17')", "('lanes', '17')", "('lanes', '17')", "('lanes', '17')" } },
        { "schema.settle", "delete", { "('settle', 'delete')", "('settle', 'delete')", "('settle', 'delete')",
                                         "('settle', 'delete')" } },
        { "schema.settle", "auto", { "('settle', 'delete')", "('settle', 'delete')", "('settle', 'position')", "('settle', 'position')" } },
    };
    size_t c, i;

    for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        for (i = 0; i < DIALECTS; i++) {
            outbox_conf *conf;
            char *sql;

            cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
            cr_assert_eq(outbox_conf_set(conf, cases[c].key, cases[c].value, NULL), OUTBOX_OK);
            sql = print(dialects[i], conf);
            cr_assert_not_null(sql);
            expect_runnable(dialects[i], sql);
            cr_expect_not_null(strstr(sql, cases[c].shown[i]), "%s, %s = %s: %s is not there", dialects[i],
                               cases[c].key,
                               cases[c].value, cases[c].shown[i]);
            outbox_free(sql);
            outbox_conf_free(conf);
        }
}

Test(migrations, unknown_dialects_are_refused)
{
    static const char *const unknown[] = { NULL, "", "oracle", "PostgreSQL", "post" };
    size_t i;

    for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        const char *name = unknown[i] != NULL ? unknown[i] : "";
        outbox_error *err = NULL;
        char *sql = (char *)"x";

        cr_expect_eq(outbox_migrations_print(unknown[i], NULL, &sql, &err), OUTBOX_ERR_UNSUPPORTED, "\"%s\"", name);
        cr_expect_null(sql, "\"%s\" gives SQL", name);
        cr_expect_str_eq(outbox_error_name(err), "migrate.no_dialect", "\"%s\": %s", name, outbox_error_name(err));
        cr_expect_not_null(strstr(outbox_error_message(err), name), "\"%s\": %s", name, outbox_error_message(err));
        outbox_error_free(err);
    }
}

/* Numbered from 1 without a gap, in each dialect up to the version that the library works with. */
Test(migrations, the_table_is_in_order)
{
    const struct outbox__migration *m;
    size_t i;

    for (i = 0; i < DIALECTS; i++) {
        int number = 0;

        for (m = outbox__migrations; m->dialect != NULL; m++)
            if (strcmp(m->dialect, dialects[i]) == 0)
                cr_expect_eq(m->number, ++number, "%s: %04d_%s is out of order", m->dialect, m->number, m->name);
        cr_expect_eq(number, OUTBOX_SCHEMA_VERSION, "%s ends with version %d", dialects[i], number);
    }
    for (m = outbox__migrations; m->dialect != NULL; m++) {
        int known = 0;

        for (i = 0; i < DIALECTS; i++)
            known += strcmp(m->dialect, dialects[i]) == 0;
        cr_expect_eq(known, 1, "dialect %s is not one of this test", m->dialect);
    }
}
