/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Templates of statements: names, parameters, the repeated part, and what is no template. */
#include "sqltext.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static const struct outbox_sqlname names[] = {
    { "lanes", "\"s\".\"outbox_lanes\"" },
    { "limit", "LIMIT :limit" },
    { "now", "clock()" },
    { "nested", "({now} + {limit})" },
    { "empty", "" },
    { "casts", "x::text" },
    { NULL, NULL },
};

/* The parameters as "lane seq", those of a later row with its number: "lane seq1". */
static void list_params(const struct outbox_sqltext *text, char *out, size_t size)
{
    static const char *const param_names[] = {
#define NAME_(symbol, name) name,
        OUTBOX_PARAMS(NAME_)
#undef NAME_
    };
    size_t i, used = 0;

    out[0] = '\0';
    for (i = 0; i < text->count; i++) {
        char row[12] = "";

        if (text->params[i].row > 0)
            snprintf(row, sizeof(row), "%d", text->params[i].row);
        used += (size_t)snprintf(out + used, size - used, "%s%s%s", i > 0 ? " " : "",
                                 param_names[text->params[i].param],
                                 row);
    }
}

Test(sqltext, rendering)
{
    static const struct {
        const char *text;
        size_t rows;
        const char *sql, *params;
    } cases[] = {
        { "", 0, "", "" },
        { "SELECT 1", 0, "SELECT 1", "" },
        { "{lanes}", 0, "\"s\".\"outbox_lanes\"", "" },
        { "a{lanes}b", 0, "a\"s\".\"outbox_lanes\"b", "" },
        { "{lanes}{lanes}", 0, "\"s\".\"outbox_lanes\"\"s\".\"outbox_lanes\"", "" },
        { "{empty}", 0, "", "" },
        { "{nested}", 0, "(clock() + LIMIT ?)", "limit" },
        { ":lane", 0, "?", "lane" },
        { "a = :lane", 0, "a = ?", "lane" },
        { ":lane,:seq", 0, "?,?", "lane seq" },
        { ":seqs :seq", 0, "? ?", "seqs seq" },
        { ":key_hash :key", 0, "? ?", "key_hash key" },
        { ":lane :seq :lane {limit}", 0, "? ? ? LIMIT ?", "lane seq lane limit" },
        { ":lane::bigint", 0, "?::bigint", "lane" },
        { "x::text", 0, "x::text", "" },
        { "x::lane", 0, "x::lane", "" },
        { "{casts}", 0, "x::text", "" },
        { "a:1 b", 0, "a:1 b", "" },
        { "'12:30'", 0, "'12:30'", "" },
        { "a : b", 0, "a : b", "" },
        { "a:", 0, "a:", "" },
        { "a::", 0, "a::", "" },
        { ":::lane", 0, "::?", "lane" },
        { "a := 1", 0, "a := 1", "" },
        { "a}b", 0, "a}b", "" },
        { "x[1]", 0, "x[1]", "" },
        { "x[y[1]]", 0, "x[y[1]]", "" },
        { "caf\xc3\xa9 {lanes}", 0, "caf\xc3\xa9 \"s\".\"outbox_lanes\"", "" },
        { "VALUES [[(:lane)]]", 1, "VALUES (?)", "lane" },
        { "VALUES [[(:lane)]]", 3, "VALUES (?), (?), (?)", "lane lane1 lane2" },
        { "VALUES [[(:lane, :seq)]] x", 2, "VALUES (?, ?), (?, ?) x", "lane seq lane1 seq1" },
        { "IN ([[:seq]])", 4, "IN (?, ?, ?, ?)", "seq seq1 seq2 seq3" },
        { ":token [[:seq]] :lane", 2, "? ?, ? ?", "token seq seq1 lane" },
        { "[[{lanes}]]", 2, "\"s\".\"outbox_lanes\", \"s\".\"outbox_lanes\"", "" },
        { "[[{nested}]]", 2, "(clock() + LIMIT ?), (clock() + LIMIT ?)", "limit limit1" },
        { "[[]]", 3, ", , ", "" },
        { "[[SELECT :lane][ UNION ALL ]] x", 3, "SELECT ? UNION ALL SELECT ? UNION ALL SELECT ? x", "lane lane1 lane2" },
        { "[[(:lane, {row})]]", 2, "(?, 0), (?, 1)", "lane lane1" },
        { "[[:lane][]]", 2, "??", "lane lane1" },
        { "[[:lane]] x][ y", 2, "?, ? x][ y", "lane lane1" },
        { "a [[:seq]] b", 0, "a  b", "" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outbox_sqltext text;
        outbox_error *err = NULL;
        char params[200];
        int rc = outbox_sqltext__render(cases[i].text, names, cases[i].rows, &text, &err);

        cr_expect_eq(rc, OUTBOX_OK, "\"%s\": %s", cases[i].text, outbox_error_message(err));
        outbox_error_free(err);
        if (rc != OUTBOX_OK)
            continue;
        cr_assert_not_null(text.sql, "\"%s\" has no text", cases[i].text);
        cr_expect_str_eq(text.sql, cases[i].sql, "\"%s\": \"%s\", not \"%s\"", cases[i].text, text.sql, cases[i].sql);
        list_params(&text, params, sizeof(params));
        cr_expect_str_eq(params, cases[i].params, "\"%s\": \"%s\", not \"%s\"", cases[i].text, params, cases[i].params);
        outbox_sqltext__free(&text);
        cr_expect(text.sql == NULL && text.params == NULL && text.count == 0, "\"%s\": freed, and not empty",
                  cases[i].text);
    }
}

Test(sqltext, what_is_no_template)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        { "{nothing}", "nothing}" },
        { "{lane}", "lane}" },
        { "{lanesx}", "lanesx}" },
        { "{lanes", "{lanes" },
        { "a {", "{" },
        { "{}", "{}" },
        { "{ lanes}", "{ lanes}" },
        { "{Lanes}", "{Lanes}" },
        { "{lanes }", "{lanes }" },
        { ":nothing", "nothing" },
        { ":lanes", "lanes" },
        { ":lan", "lan" },
        { "'a:b'", "b'" },
        { "a :{lanes} :_x", "_x" },
        { "[[:nothing]]", "nothing]]" },
        { "[[{lane]]}", "{lane]]}" },
        { "SELECT {lanes} :lane {oops} x", "oops} x" },
        { ":0123456789_nothing_x_abcdefghijklmnopqrstuvwxyz :abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz",
          "\"abcdefghijklmnopqrstuvwxyz_abcdefghijklm\"" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outbox_sqltext text;
        outbox_error *err = NULL;
        int rc = outbox_sqltext__render(cases[i].text, names, 1, &text, &err);

        cr_expect_eq(rc, OUTBOX_ERR_UNSUPPORTED, "\"%s\" is taken", cases[i].text);
        cr_expect_str_eq(outbox_error_name(err), "driver.bad_template", "\"%s\": %s", cases[i].text,
                         outbox_error_name(err));
        cr_expect_not_null(strstr(outbox_error_message(err), cases[i].quoted), "\"%s\": \"%s\" is not in: %s",
                           cases[i].text, cases[i].quoted, outbox_error_message(err));
        cr_expect(text.sql == NULL && text.params == NULL, "\"%s\": refused, and something is left", cases[i].text);
        outbox_error_free(err);
        outbox_sqltext__free(&text);
    }
}

Test(sqltext, which_templates_repeat)
{
    static const struct {
        const char *text;
        int repeats;
    } cases[] = { { "", 0 }, { "x", 0 }, { "x[1]", 0 }, { "[[:seq]]", 1 }, { "IN ([[:seq]])", 1 } };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(outbox_sqltext__repeats(cases[i].text), cases[i].repeats, "\"%s\"", cases[i].text);
}

Test(sqltext, many_rows_and_parameters)
{
    struct outbox_sqltext text;
    size_t i, marks = 0;
    const char *p;

    cr_assert_eq(outbox_sqltext__render("VALUES [[(:lane, :seq, {nested})]]", names, 512, &text, NULL), OUTBOX_OK);
    cr_assert_eq(text.count, 3u * 512);
    for (i = 0; i < text.count; i++) {
        static const int want[] = { P_LANE, P_SEQ, P_LIMIT };

        if (text.params[i].param != want[i % 3] || text.params[i].row != i / 3)
            cr_assert_fail("parameter %zu is %d of row %d", i, text.params[i].param, text.params[i].row);
    }
    for (p = text.sql; *p != '\0'; p++)
        marks += *p == '?';
    cr_expect_eq(marks, text.count, "%zu marks for %zu parameters", marks, text.count);
    outbox_sqltext__free(&text);
}

/* Settings of statements are kept as bits of 64. */
Test(sqltext, parameters_fit_where_they_are_noted)
{
    cr_expect_leq((int)P__COUNT, 64);
}
