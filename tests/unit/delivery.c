/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which messages of a delivery are ready to go while others are on their way. */
#include "delivery.h"
#include "lane.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <string.h>

#define ROOM 8

static struct outbox_item items[ROOM];
static outbox_publisher *publisher;
static outbox_delivery *d;

static int publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    (void)self, (void)delivery, (void)err;
    return OUTBOX_OK;
}

/* One letter a message: its key; "-": none. */
static void make(const char *keys)
{
    static const outbox_publisher_ops ops = { .size = sizeof(ops), .abi = OUTBOX_PUBLISHER_ABI, .name = "test",
                                              .publish = publish };
    struct outbox_item *list[ROOM];
    size_t n = strlen(keys);

    for (size_t i = 0; i < n; i++) {
        char key[2] = { keys[i], '\0' };

        items[i].record.topic = "t";
        items[i].key_hash = outbox_lane__key_hash("t", keys[i] == '-' ? NULL : key);
        list[i] = &items[i];
    }
    cr_assert_eq(outbox_publisher_new(&ops, NULL, &publisher, NULL), OUTBOX_OK);
    d = outbox_delivery__new(publisher, list, n);
    cr_assert_not_null(d);
}

static void drop(void)
{
    outbox_delivery__finish(d, NULL);
    outbox_publisher_free(publisher);
}

TestSuite(delivery, .fini = drop);

/* All that is ready now, as digits. */
static const char *ready(void)
{
    static char text[ROOM + 1];
    size_t n = 0, index;

    while (outbox_delivery_ready(d, &index) != NULL)
        text[n++] = (char)('0' + index);
    text[n] = '\0';
    return text;
}

static void answer(size_t index, outbox_verdict verdict)
{
    cr_expect_eq(outbox_delivery_answer(d, index, verdict, -1, NULL), OUTBOX_OK);
}

Test(delivery, one_of_a_key_at_a_time)
{
    make("aab-ba-");
    cr_expect_str_eq(ready(), "0236");
    cr_expect_str_eq(ready(), "");
    answer(3, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "");
    answer(2, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "4");
    answer(0, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "1");
    cr_expect_eq(outbox_delivery_wait(d, 0), OUTBOX_OK);
    answer(1, OUTBOX_PUBLISHED);
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_OK);
    cr_expect_str_eq(ready(), "5");
    answer(5, OUTBOX_PUBLISHED);
    answer(4, OUTBOX_PUBLISHED);
    answer(6, OUTBOX_PUBLISHED);
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_NONE);
}

Test(delivery, what_fails_holds_back_its_key)
{
    make("aabaa-b");
    cr_expect_str_eq(ready(), "025");
    answer(0, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "1");
    answer(1, OUTBOX_REJECT);
    answer(2, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "6");
    answer(5, OUTBOX_RETRY);
    answer(6, OUTBOX_PUBLISHED);
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_NONE);
    cr_expect_eq(outbox_delivery_answer(d, 3, OUTBOX_PUBLISHED, -1, NULL), OUTBOX_NONE, "it was passed over");
}

Test(delivery, nothing_goes_to_a_broker_that_is_away)
{
    make("ab-a");
    cr_expect_str_eq(ready(), "012");
    answer(1, OUTBOX_UNAVAILABLE);
    answer(0, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "");
    answer(2, OUTBOX_PUBLISHED);
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_NONE);
}

Test(delivery, nothing_more_once_it_was_cancelled)
{
    make("aab");
    cr_expect_str_eq(ready(), "02");
    outbox_delivery__warn(d);
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_NONE);
    answer(0, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "");
}

Test(delivery, answers_to_what_was_not_given)
{
    make("aaa");
    answer(0, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "1");
    answer(2, OUTBOX_REJECT);
    answer(1, OUTBOX_PUBLISHED);
    cr_expect_str_eq(ready(), "");
    cr_expect_eq(outbox_delivery_wait(d, -1), OUTBOX_NONE);
}
