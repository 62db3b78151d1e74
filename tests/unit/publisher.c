/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which publisher a URL opens, what is said of one that opens none, and what a publisher must bring. */
#include <outbox/outbox.h>

#include "batch_internal.h"
#include "delivery.h"
#include "sized.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(publisher, schemes)
{
    char folder[] = "/tmp/outbox-unit-XXXXXX", path[100], urls[4][120];
    static const struct {
        const char *format, *name;
    } cases[] = {
        { "null:", "null" },           { "stdout:", "stdout" },      { "file:%s/a.jsonl", "file" },
        { "file://%s/b.jsonl", "file" }, { "exec:cat", "exec" },       { "exec:  /bin/cat -u", "exec" },
    };
    static const char *const files[] = { "a.jsonl", "b.jsonl" };
    size_t i;

    cr_assert_not_null(mkdtemp(folder));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_publisher *publisher = NULL;
        outbox_error *err = NULL;

        snprintf(urls[0], sizeof(urls[0]), cases[i].format, folder);
        cr_expect_eq(outbox_publisher_open(urls[0], NULL, &publisher, &err), OUTBOX_OK, "%s: %s", urls[0],
                     outbox_error_message(err));
        if (publisher != NULL)
            cr_expect_str_eq(outbox_publisher_name(publisher), cases[i].name, "%s opens %s", urls[0],
                             outbox_publisher_name(publisher));
        outbox_error_free(err);
        outbox_publisher_free(publisher);
    }
    for (i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        cr_expect_eq(unlink(path), 0, "%s was not made", path);
    }
    cr_expect_eq(rmdir(folder), 0);
}

Test(publisher, a_check_opens_nothing)
{
    static const struct {
        const char *url;
        int status;
        const char *name;
    } cases[] = {
        { "null:", OUTBOX_OK, "" },
        { "file:/nonexistent/folder/x", OUTBOX_OK, "" },
        { NULL, OUTBOX_ERR_INVALID, "publisher.no_url" },
        { "null", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme" },
        { "gopher:broker", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_error *err = NULL;

        cr_expect_eq(outbox_publisher_check(cases[i].url, NULL, &err), cases[i].status, "case %zu", i);
        cr_expect_str_eq(outbox_error_name(err), cases[i].name, "case %zu: %s", i, outbox_error_name(err));
        outbox_error_free(err);
    }
}

Test(publisher, urls_that_open_nothing)
{
    static const struct {
        const char *url;
        int status;
        const char *name, *says;
    } cases[] = {
        { NULL, OUTBOX_ERR_INVALID, "publisher.no_url", "give a URL" },
        { "", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "named by a URL" },
        { "null", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "named by a URL" },
        { "NULL:", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "\"NULL:\"" },
        { " null:", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "named by a URL" },
        { "nullx:", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "\"nullx:\"" },
        { ":", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "named by a URL" },
        { "gopher:broker", OUTBOX_ERR_UNSUPPORTED, "publisher.no_scheme", "\"gopher:\"" },
        { "null:x", OUTBOX_ERR_INVALID, "publisher.null_url", "null:" },
        { "stdout:x", OUTBOX_ERR_INVALID, "publisher.stdout_url", "stdout:" },
        { "file:", OUTBOX_ERR_INVALID, "publisher.file_url", "path" },
        { "exec:", OUTBOX_ERR_INVALID, "publisher.exec_url", "command" },
        { "exec: \t ", OUTBOX_ERR_INVALID, "publisher.exec_url", "command" },
        { "file:/nonexistent/folder/x", OUTBOX_ERR_SYSTEM, "publisher.file", "/nonexistent/folder/x" },
        { "file:/tmp", OUTBOX_ERR_SYSTEM, "publisher.file", "/tmp" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *url = cases[i].url != NULL ? cases[i].url : "(none)";
        outbox_publisher *publisher = NULL;
        outbox_error *err = NULL;
        int rc = outbox_publisher_open(cases[i].url, NULL, &publisher, &err);

        cr_expect_eq(rc, cases[i].status, "\"%s\": %s", url, outbox_status_name(rc));
        cr_expect_str_eq(outbox_error_name(err), cases[i].name, "\"%s\": %s", url, outbox_error_name(err));
        cr_expect_not_null(strstr(outbox_error_message(err), cases[i].says), "\"%s\": \"%s\" is not in: %s", url,
                           cases[i].says, outbox_error_message(err));
        cr_expect_null(publisher, "\"%s\" opened something", url);
        outbox_error_free(err);
    }
    cr_expect_eq(outbox_publisher_open("null:", NULL, NULL, NULL), OUTBOX_ERR_INVALID);
}

/* A URL of a publisher that is not there may have a password in it. */
Test(publisher, an_unknown_url_is_not_quoted_whole)
{
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;

    outbox_publisher_open("gopher://user:s3cr3t@host/", NULL, &publisher, &err);
    cr_expect_null(strstr(outbox_error_message(err), "s3cr3t"), "%s", outbox_error_message(err));
    outbox_error_free(err);
}

static int publish(void *self, outbox_delivery *d, outbox_error **err)
{
    (void)self, (void)d, (void)err;
    return OUTBOX_OK;
}

static int closed;

static void count_close(void *self)
{
    (void)self;
    closed++;
}

Test(publisher, what_a_publisher_must_bring)
{
    static const outbox_publisher_ops whole = { .size = sizeof(whole), .abi = OUTBOX_PUBLISHER_ABI, .name = "mine",
                                                .publish = publish, .close = count_close };
    outbox_publisher_ops ops[6];
    static const char *const missing[] = { NULL, "size", "abi", "a later abi", "publish", "name" };
    outbox_publisher *publisher = NULL;
    size_t i;

    for (i = 0; i < 6; i++)
        ops[i] = whole;
    ops[1].size = OUTBOX_SIZE_TO(outbox_publisher_ops, close) - 1;
    ops[2].abi = 0;
    ops[3].abi = OUTBOX_PUBLISHER_ABI + 1;
    ops[4].publish = NULL;
    ops[5].name = NULL;
    for (i = 1; i < 6; i++) {
        outbox_error *err = NULL;

        cr_expect_eq(outbox_publisher_new(&ops[i], NULL, &publisher, &err), OUTBOX_ERR_INVALID, "without %s",
                     missing[i]);
        cr_expect_str_eq(outbox_error_name(err), "publisher.bad_ops", "without %s: %s", missing[i],
                         outbox_error_name(err));
        outbox_error_free(err);
    }
    cr_expect_eq(outbox_publisher_new(NULL, NULL, &publisher, NULL), OUTBOX_ERR_INVALID);
    cr_expect_eq(outbox_publisher_new(&whole, NULL, NULL, NULL), OUTBOX_ERR_INVALID);
    cr_expect_eq(outbox_publisher_from_callback(NULL, NULL, &publisher, NULL), OUTBOX_ERR_INVALID);
    cr_expect_eq(closed, 0, "a publisher that was not made was closed");

    cr_assert_eq(outbox_publisher_new(&ops[0], NULL, &publisher, NULL), OUTBOX_OK);
    ops[0].name = "changed";
    cr_expect_str_eq(outbox_publisher_name(publisher), "mine", "the functions are not copied");
    outbox_publisher_free(publisher);
    cr_expect_eq(closed, 1, "closed %d times", closed);
    outbox_publisher_free(NULL);
}

static int cannot_be_reached(void *self, outbox_error **err)
{
    return self != NULL ? OUTBOX_ERR_CONNECT
                        : outbox_error_new(err, OUTBOX_ERR_LOST, "mine.away", "the broker is away");
}

Test(publisher, whether_its_broker_can_be_reached)
{
    static const struct {
        size_t size;
        int (*reach)(void *self, outbox_error **err);
        int self, rc;
        const char *name;
    } cases[] = {
        { sizeof(outbox_publisher_ops), cannot_be_reached, 0, OUTBOX_ERR_LOST, "mine.away" },
        { sizeof(outbox_publisher_ops), cannot_be_reached, 1, OUTBOX_ERR_CONNECT, "publisher.reach" },
        { sizeof(outbox_publisher_ops), NULL, 0, OUTBOX_NONE, "" },
        /* A module that is older than the question: what stands behind its ops is not looked at. */
        { OUTBOX_SIZE_TO(outbox_publisher_ops, close), cannot_be_reached, 0, OUTBOX_NONE, "" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const outbox_publisher_ops ops = { .size = cases[i].size, .abi = OUTBOX_PUBLISHER_ABI, .name = "mine",
                                           .publish = publish, .reach = cases[i].reach };
        outbox_publisher *publisher = NULL;
        outbox_error *err = NULL;

        cr_assert_eq(outbox_publisher_new(&ops, cases[i].self ? &closed : NULL, &publisher, NULL), OUTBOX_OK);
        cr_expect_eq(outbox_publisher_reach(publisher, &err), cases[i].rc, "case %zu", i);
        cr_expect_str_eq(outbox_error_name(err), cases[i].name, "case %zu: %s", i, outbox_error_name(err));
        outbox_error_free(err);
        outbox_publisher_free(publisher);
    }
}

Test(publisher, what_is_built_in_can_be_reached)
{
    static const struct {
        const char *url;
        int rc;
    } cases[] = {
        { "null:", OUTBOX_OK },
        { "stdout:", OUTBOX_OK },
        { "exec:cat", OUTBOX_OK },
        { "exec:  cat; true", OUTBOX_OK },
        { "exec:while read -r line; do echo ok; done", OUTBOX_OK },
        { "exec:/bin/sh -c true", OUTBOX_OK },
        { "exec:no-such-command --at-all", OUTBOX_ERR_SYSTEM },
        { "exec:/no/such/command", OUTBOX_ERR_SYSTEM },
        { "exec:/usr/", OUTBOX_ERR_SYSTEM },
        { "exec:A=b cat", OUTBOX_NONE },
        { "exec:send() { cat; }; send", OUTBOX_NONE },
        { "exec:2>/dev/null cat", OUTBOX_NONE },
        { "exec:(cat)", OUTBOX_NONE },
        { "exec:\"$command\"", OUTBOX_NONE },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_publisher *publisher = NULL;
        outbox_error *err = NULL;
        int rc;

        cr_assert_eq(outbox_publisher_open(cases[i].url, NULL, &publisher, NULL), OUTBOX_OK, "%s", cases[i].url);
        rc = outbox_publisher_reach(publisher, &err);
        cr_expect_eq(rc, cases[i].rc, "%s: %d, %s", cases[i].url, rc, outbox_error_message(err));
        cr_expect_eq(rc < 0, err != NULL, "%s: %d", cases[i].url, rc);
        outbox_error_free(err);
        outbox_publisher_free(publisher);
    }
}

/* The watcher can find a delivery late before the worker got to calling publish(), as on a machine that is very busy. One
 * that it took for returned it would never look at again, and the lane of a publish() that hangs would be renewed for ever. */
Test(publisher, a_delivery_is_watched_before_it_begins)
{
    outbox_publisher *publisher = NULL;
    struct outbox_item item = { 0 }, *items = &item;
    outbox_delivery *d;

    cr_assert_eq(outbox_publisher_open("null:", NULL, &publisher, NULL), OUTBOX_OK);
    d = outbox_delivery__new(publisher, &items, 1);
    cr_assert_not_null(d);
    outbox_delivery__warn(d);
    cr_expect_neq(outbox_delivery__stuck_since(d), INT64_MAX);
    outbox_delivery__finish(d, NULL);
    outbox_publisher_free(publisher);
}

/* And one that the watcher has cancelled by then is not waited for: cancel() found no call of it, and comes only once. */
Test(publisher, a_call_that_was_cancelled_before_it_began_ends)
{
    outbox_publisher *publisher = NULL;
    struct outbox_item item = { .record = { .topic = "t", .payload = "x", .payload_size = 1 } }, *items = &item;
    atomic_int hurry = 0;
    char why[200] = "";
    outbox_delivery *d;

    cr_assert_eq(outbox_publisher_open("exec:exec sleep 1000", NULL, &publisher, NULL), OUTBOX_OK);
    d = outbox_delivery__new(publisher, &items, 1);
    cr_assert_not_null(d);
    outbox_delivery__warn(d);
    cr_expect_eq(outbox_delivery__run(d, 1000, &hurry, why, sizeof(why)), DELIVERY_LATE, "%s", why);
    outbox_delivery__finish(d, NULL);
    outbox_publisher_free(publisher);
}

static int take_what_is_ready(void *self, outbox_delivery *d, outbox_error **err)
{
    size_t index;

    (void)self, (void)err;
    while (outbox_delivery_ready(d, &index) != NULL)
        outbox_delivery_answer(d, index, OUTBOX_PUBLISHED, -1, NULL);
    return OUTBOX_OK;
}

static int fail_the_first(void *self, outbox_delivery *d, outbox_error **err)
{
    (void)self, (void)err;
    outbox_delivery_answer(d, 0, OUTBOX_RETRY, -1, NULL);
    return OUTBOX_OK;
}

/* Two messages of a key, of a publisher that is cancelled: what it has to say later. */
static int kept_after(int (*call)(void *, outbox_delivery *, outbox_error **), int warned)
{
    outbox_publisher_ops ops = { .size = sizeof(ops), .abi = OUTBOX_PUBLISHER_ABI, .name = "test", .publish = call };
    struct outbox_item items[2] = { { .record = { .topic = "t", .payload = "x", .payload_size = 1 }, .key_hash = 7 } };
    struct outbox_item *list[2] = { &items[0], &items[1] };
    outbox_publisher *publisher = NULL;
    atomic_int hurry = 0;
    char why[200] = "";
    outbox_batch *batch = calloc(1, sizeof(*batch));
    outbox_delivery *d;
    int kept;

    items[1] = items[0];
    cr_assert_not_null(batch);
    cr_assert_eq(outbox_publisher_new(&ops, NULL, &publisher, NULL), OUTBOX_OK);
    d = outbox_delivery__new(publisher, list, 2);
    cr_assert_not_null(d);
    if (warned)
        outbox_delivery__warn(d);
    cr_expect_eq(outbox_delivery__run(d, 1000, &hurry, why, sizeof(why)), DELIVERY_LATE, "%s", why);
    kept = outbox_delivery__finish(d, batch);
    if (kept)
        cr_expect_eq(outbox_delivery_answer(d, 1, OUTBOX_PUBLISHED, -1, NULL), OUTBOX_NONE, "it came too late");
    else
        free(batch);
    cr_expect_eq(outbox_publisher__kept(publisher), 0);
    outbox_publisher_free(publisher);
    return kept;
}

/* Nothing was on its way, so nothing is waited for, however long the publisher lives. */
Test(publisher, a_call_that_was_cancelled_with_nothing_on_its_way_owes_nothing)
{
    cr_expect_eq(kept_after(take_what_is_ready, 1), 0);
}

/* The second was passed over behind the first, but the publisher may still answer it: into nobody else's delivery. */
Test(publisher, a_late_answer_finds_its_own_delivery)
{
    cr_expect_eq(kept_after(fail_the_first, 0), 1);
}
