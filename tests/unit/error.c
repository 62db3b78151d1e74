/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors as objects: what they carry, which one is kept, copies, and the one that needs no memory. */
#include "error_internal.h"
#include "text.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static void expect_all(const outbox_error *err, int status, const char *name, const char *message, const char *sqlstate,
                       long native)
{
    cr_expect_eq(outbox_error_status(err), status, "status %d, not %d", outbox_error_status(err), status);
    cr_expect_str_eq(outbox_error_name(err), name, "name \"%s\", not \"%s\"", outbox_error_name(err), name);
    cr_expect_str_eq(outbox_error_message(err), message, "\"%s\", not \"%s\"", outbox_error_message(err), message);
    cr_expect_str_eq(outbox_error_sqlstate(err), sqlstate, "SQLSTATE \"%s\", not \"%s\"", outbox_error_sqlstate(err),
                     sqlstate);
    cr_expect_eq(outbox_error_native(err), native, "native %ld, not %ld", outbox_error_native(err), native);
}

Test(error, no_error)
{
    expect_all(NULL, OUTBOX_OK, "", "", "", 0);
    cr_expect_not(outbox_error_retryable(NULL));
    cr_expect_not(outbox_error_fatal(NULL));
    cr_expect_null(outbox_error__copy(NULL));
    outbox_error__database(NULL, "40001", 1);
    outbox_error_free(NULL);
}

Test(error, what_it_carries)
{
    outbox_error *err = NULL;

    cr_expect_eq(outbox_error__set(&err, OUTBOX_ERR_CONFLICT, "a.b", "lane %d of %s", 5, "x"), OUTBOX_ERR_CONFLICT);
    expect_all(err, OUTBOX_ERR_CONFLICT, "a.b", "lane 5 of x", "", 0);
    outbox_error__database(&err, "40001", -77);
    expect_all(err, OUTBOX_ERR_CONFLICT, "a.b", "lane 5 of x", "40001", -77);
    outbox_error__database(&err, "123456789", 1);
    expect_all(err, OUTBOX_ERR_CONFLICT, "a.b", "lane 5 of x", "12345", 1);
    outbox_error_free(err);
}

/* The first is nearest to the cause. */
Test(error, the_first_is_kept)
{
    outbox_error *err = NULL;

    outbox_error__set(&err, OUTBOX_ERR_LOST, "first", "1");
    cr_expect_eq(outbox_error__set(&err, OUTBOX_ERR_INVALID, "second", "2"), OUTBOX_ERR_INVALID);
    cr_expect_eq(outbox_error_new(&err, OUTBOX_ERR_PUBLISH, "third", "3"), OUTBOX_ERR_PUBLISH);
    cr_expect_eq(outbox_error__nomem(&err), OUTBOX_ERR_NOMEM);
    expect_all(err, OUTBOX_ERR_LOST, "first", "1", "", 0);
    outbox_error_free(err);
}

Test(error, nobody_asks)
{
    cr_expect_eq(outbox_error__set(NULL, OUTBOX_ERR_LOST, "a", "b"), OUTBOX_ERR_LOST);
    cr_expect_eq(outbox_error_new(NULL, OUTBOX_ERR_LOST, "a", "b"), OUTBOX_ERR_LOST);
    cr_expect_eq(outbox_error__nomem(NULL), OUTBOX_ERR_NOMEM);
    outbox_error__database(&(outbox_error *){ NULL }, "40001", 1);
}

/* One object for all, which nobody may change or free. */
Test(error, out_of_memory_needs_no_memory)
{
    outbox_error *first = NULL, *second = NULL, *copy;
    char message[200];

    cr_expect_eq(outbox_error__nomem(&first), OUTBOX_ERR_NOMEM);
    cr_expect_eq(outbox_error__nomem(&second), OUTBOX_ERR_NOMEM);
    cr_expect_eq(first, second, "two objects");
    snprintf(message, sizeof(message), "%s", outbox_error_message(first));
    cr_expect_gt(strlen(message), 10u, "\"%s\"", message);
    outbox_error__database(&first, "40001", 5);
    expect_all(first, OUTBOX_ERR_NOMEM, "memory.exhausted", message, "", 0);
    copy = outbox_error__copy(first);
    cr_expect_eq(copy, first, "a copy takes memory");
    outbox_error_free(copy);
    outbox_error_free(first);
    outbox_error_free(second);
    expect_all(second, OUTBOX_ERR_NOMEM, "memory.exhausted", message, "", 0);
}

Test(error, a_copy_stands_alone)
{
    outbox_error *err = NULL, *copy;

    outbox_error__set(&err, OUTBOX_ERR_FENCED, "lease.lost", "lane %d", 3);
    outbox_error__database(&err, "HY000", 19);
    copy = outbox_error__copy(err);
    cr_assert_not_null(copy);
    cr_expect_neq(copy, err);
    outbox_error_free(err);
    expect_all(copy, OUTBOX_ERR_FENCED, "lease.lost", "lane 3", "HY000", 19);
    outbox_error_free(copy);
}

Test(error, applications_make_them_too)
{
    outbox_error *err = NULL;
    char name[] = "shop.sold_out", message[] = "50% off %s %n";

    cr_expect_eq(outbox_error_new(&err, OUTBOX_ERR_PUBLISH, name, message), OUTBOX_ERR_PUBLISH);
    memset(name, 'x', sizeof(name) - 1);
    memset(message, 'x', sizeof(message) - 1);
    expect_all(err, OUTBOX_ERR_PUBLISH, "shop.sold_out", "50% off %s %n", "", 0);
    outbox_error_free(err);
    err = NULL;
    outbox_error_new(&err, OUTBOX_ERR_PUBLISH, NULL, NULL);
    expect_all(err, OUTBOX_ERR_PUBLISH, "application.error", "", "", 0);
    outbox_error_free(err);
}

/* Whatever is quoted in it, and wherever it is cut off. */
Test(error, its_text_is_utf8)
{
    static const char *const quoted[] = { "caf\xe9", "\xff\xfe", "\xe2\x82", "\xed\xa0\x80", "\xc3\xa9" };
    char longer[3000];
    size_t i, at;

    for (i = 0; i < sizeof(quoted) / sizeof(quoted[0]); i++) {
        outbox_error *err = NULL;

        outbox_error__set(&err, OUTBOX_ERR_CONF, "a", "cannot be \"%s\": x", quoted[i]);
        cr_expect_geq(outbox_text__length(outbox_error_message(err), strlen(outbox_error_message(err))), 0,
                      "case %zu: %s", i,
                      outbox_error_message(err));
        cr_expect_not_null(strstr(outbox_error_message(err), "\": x"), "case %zu: %s", i, outbox_error_message(err));
        outbox_error_free(err);
    }
    for (at = 0; at < 4; at++) {
        outbox_error *err = NULL;

        for (i = 0; i + 5 < sizeof(longer); i += 4)
            memcpy(longer + i, "\xf0\x9f\x98\x80", 5);
        memmove(longer + at, longer, i);
        memset(longer, 'a', at);
        outbox_error_new(&err, OUTBOX_ERR_CONF, "a", longer);
        cr_expect_gt(strlen(outbox_error_message(err)), 1000u, "%zu before", at);
        cr_expect_geq(outbox_text__length(outbox_error_message(err), strlen(outbox_error_message(err))), 0,
                      "cut inside a character, %zu before", at);
        outbox_error_free(err);
    }
}

/* The class decides what an application or a relay does next. */
Test(error, classes)
{
    static const struct {
        int status, retryable, fatal;
        const char *name;
    } cases[] = {
        { OUTBOX_ERR_NOMEM, 0, 0, "OUTBOX_ERR_NOMEM" },       { OUTBOX_ERR_INVALID, 0, 0, "OUTBOX_ERR_INVALID" },
        { OUTBOX_ERR_CONF, 0, 0, "OUTBOX_ERR_CONF" },         { OUTBOX_ERR_CONNECT, 0, 1, "OUTBOX_ERR_CONNECT" },
        { OUTBOX_ERR_LOST, 0, 1, "OUTBOX_ERR_LOST" },         { OUTBOX_ERR_CONFLICT, 1, 0, "OUTBOX_ERR_CONFLICT" },
        { OUTBOX_ERR_DUPLICATE, 0, 0, "OUTBOX_ERR_DUPLICATE" }, { OUTBOX_ERR_FENCED, 0, 0, "OUTBOX_ERR_FENCED" },
        { OUTBOX_ERR_SCHEMA, 0, 0, "OUTBOX_ERR_SCHEMA" },     { OUTBOX_ERR_READONLY, 1, 0, "OUTBOX_ERR_READONLY" },
        { OUTBOX_ERR_DATABASE, 0, 0, "OUTBOX_ERR_DATABASE" }, { OUTBOX_ERR_PUBLISH, 0, 0, "OUTBOX_ERR_PUBLISH" },
        { OUTBOX_ERR_STATE, 0, 0, "OUTBOX_ERR_STATE" },       { OUTBOX_ERR_UNSUPPORTED, 0, 0,
                                                                "OUTBOX_ERR_UNSUPPORTED" },
        { OUTBOX_ERR_SYSTEM, 0, 0, "OUTBOX_ERR_SYSTEM" },
    };
    static const struct {
        int status;
        const char *name;
    } others[] = { { OUTBOX_OK, "OUTBOX_OK" },      { OUTBOX_NONE, "OUTBOX_NONE" }, { 2, "OUTBOX_ERR_?" },
                   { -16, "OUTBOX_ERR_?" },         { 12345, "OUTBOX_ERR_?" },      { -12345, "OUTBOX_ERR_?" },
                   { INT32_MAX, "OUTBOX_ERR_?" },   { -INT32_MAX, "OUTBOX_ERR_?" } };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_error *err = NULL;

        outbox_error__set(&err, cases[i].status, "a", "b");
        cr_expect_eq(outbox_error_retryable(err), cases[i].retryable, "%s: retryable", cases[i].name);
        cr_expect_eq(outbox_error_fatal(err), cases[i].fatal, "%s: fatal", cases[i].name);
        cr_expect_str_eq(outbox_status_name(cases[i].status), cases[i].name, "%d is %s", cases[i].status,
                         outbox_status_name(cases[i].status));
        outbox_error_free(err);
    }
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_expect_str_eq(outbox_status_name(others[i].status), others[i].name, "%d is %s", others[i].status,
                         outbox_status_name(others[i].status));
}

Test(error, long_names_and_texts_are_cut)
{
    char longer[3000];
    outbox_error *err = NULL;

    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    outbox_error_new(&err, OUTBOX_ERR_CONF, longer, longer);
    cr_expect_eq(strlen(outbox_error_name(err)), 63u);
    cr_expect_eq(strlen(outbox_error_message(err)), 1023u);
    outbox_error_free(err);
}
