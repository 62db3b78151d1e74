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

/* A dialect is named like its driver. */
#define NAME_(name) #name,
static const char *const dialects[] = { OUTBOX_DRIVERS(NAME_) };
#undef NAME_
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
/* The ends of a statement that stands between lines by which a client takes another end for one; -1: there are none. */
static int delimited_ends(const char *at, const char *end)
{
    static const char *const around[][2] = { { "DELIMITER //\n", "//\nDELIMITER ;\n" },
                                             { "SET TERM ^ ;\n", "^\nSET TERM ; ^\n" },
                                             { "COMMIT;\nSET TERM ^ ;\n", "^\nSET TERM ; ^\nCOMMIT;\n" },
                                             { "--#SET TERMINATOR @\n", "@\n--#SET TERMINATOR ;\n" } };
    const char *p;
    int ends = -1;
    size_t i;

    at += strlen("-- statement\n");
    for (i = 0; i < sizeof(around) / sizeof(around[0]); i++)
        if (strncmp(at, around[i][0], strlen(around[i][0])) == 0)
            for (ends = 0, p = strstr(at, around[i][1]); p != NULL && p < end; p = strstr(p + 1, around[i][1]))
                ends++;
    return ends;
}

static void expect_runnable(const char *what, const char *sql)
{
    const char *at = strstr(sql, "-- statement\n");

    cr_expect_null(strpbrk(sql, "{}"), "%s: left over: %.30s", what, strpbrk(sql, "{}") != NULL ? strpbrk(sql,
                                                                                                          "{}") : "");
    cr_expect_not_null(at, "%s: no statement", what);
    while (at != NULL) {
        const char *next = strstr(at + 1, "-- statement\n"), *end = next != NULL ? next : at + strlen(at), *p;
        int delimited = delimited_ends(at, end), ends = delimited >= 0 ? delimited : 0, in_body = 0;

        /* A function has statements of its own, in dollars, or indented, or before BEGIN and END. */
        for (p = at; p + 1 < end && delimited < 0; p++) {
            in_body ^= p[0] == '$' && p[1] == '$';
            if (strncmp(p, " BEGIN\n", 7) == 0) /* of a trigger of SQLite */
                in_body = 1;
            else if (strncmp(p, "\nEND;", 5) == 0)
                in_body = 0;
            ends += !in_body && p[0] == ';' && p[1] == '\n' && p[2] != ' ' && strncmp(p + 2, "END", 3) != 0 &&
                    strncmp(p + 2, "BEGIN", 5) != 0;
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

static void with_quotes(char *out, const char *text, const char *quote)
{
    for (*out = '\0'; *text != '\0'; text++)
        sprintf(out + strlen(out), "%.*s", 1, *text == 'Q' ? quote : text);
}

Test(migrations, settings_are_filled_in)
{
    /* Q stands for the quote; what a dialect says otherwise. */
    static const struct {
        const char *key, *value, *shown, *other, *its;
    } cases[] = {
        { "schema.name", "sales", "QsalesQ.Qoutbox_messagesQ", NULL, NULL },
        { "schema.prefix", "ev_", "Qev_messagesQ", NULL, NULL },
        { "schema.lanes", "17", "'17'", NULL, NULL },
        { "schema.lanes", "3", "BETWEEN 0 AND 3 - 1", NULL, NULL },
        { "schema.settle", "delete", "'delete'", NULL, NULL },
        { "schema.settle", "auto", "'delete'", "postgresql sqlite", "'position'" },
    };
    size_t c, i;

    for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        for (i = 0; i < DIALECTS; i++) {
            outbox_conf *conf;
            int its = cases[c].other != NULL && strstr(cases[c].other, dialects[i]) != NULL;
            char *sql, shown[100];

            with_quotes(shown, its ? cases[c].its : cases[c].shown, outbox_driver__find(dialects[i])->quote);
            cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
            cr_assert_eq(outbox_conf_set(conf, cases[c].key, cases[c].value, NULL), OUTBOX_OK);
            sql = print(dialects[i], conf);
            cr_assert_not_null(sql);
            expect_runnable(dialects[i], sql);
            cr_expect_not_null(strstr(sql, shown), "%s, %s = %s: %s is not there", dialects[i], cases[c].key,
                               cases[c].value, shown);
            outbox_free(sql);
            outbox_conf_free(conf);
        }
}

Test(migrations, unknown_dialects_are_refused)
{
    static const char *const unknown[] = { NULL, "", "sybase", "PostgreSQL", "post" };
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
