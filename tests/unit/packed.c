/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages as a text each: what comes back is what was packed, and what is not whole is refused. */
#include "packed.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define ID "0368c899-9c2c-4b37-bf1b-7fab2a8c1912"

static void check_text(const struct outbox_value *cell, const char *text)
{
    cr_assert_eq(cell->type, text != NULL ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT);
    if (text != NULL) {
        cr_expect_eq(cell->size, strlen(text));
        cr_expect_str_eq(cell->data, text); /* a NUL is behind it */
    }
}

static void check_number(const struct outbox_value *cell, int64_t number)
{
    cr_expect_eq(cell->type, OUTBOX_T_INT);
    cr_expect_eq(cell->number, number, "%lld, not %lld", (long long)cell->number, (long long)number);
}

/* In place, so from a text of its own; *c holds what was found until the next one. */
static int take(const char *message, struct outbox_value *c)
{
    static char text[400], id[OUTBOX_PACKED_ID + 1];
    int fits, rc;

    snprintf(text, sizeof(text), "%s", message);
    fits = outbox_packed__fits(text, text + strlen(text), &(int64_t){ 0 });
    rc = outbox_packed__take(text, text + strlen(text), id, c);
    cr_expect(fits || rc != OUTBOX_OK, "\"%s\" does not fit, and is taken", message);
    return rc;
}

Test(packed, messages)
{
    struct outbox_value c[17];

    cr_assert_eq(take("12,1700000000000000,3,6,5;" ID "orderskey 100ff7E", c), OUTBOX_OK);
    check_text(&c[2], ID);
    check_number(&c[1], 12);
    check_number(&c[10], 1700000000000000);
    check_number(&c[12], OUTBOX_PENDING);
    check_text(&c[3], "orders");
    check_text(&c[4], "key 1");
    check_text(&c[6], NULL);
    check_text(&c[7], NULL);
    check_text(&c[8], NULL);
    cr_expect_eq(c[9].type, OUTBOX_T_NULL_INT);
    cr_expect_eq(c[11].type, OUTBOX_T_NULL_INT);
    cr_assert_eq(c[5].type, OUTBOX_T_BYTES);
    cr_assert_eq(c[5].size, 3u);
    cr_expect_arr_eq(c[5].data, "\x00\xff\x7e", 4);

    cr_assert_eq(take("13,-5,0,1,,99,2,7,2,16,3;" ID "t{}application/jsonabc", c), OUTBOX_OK);
    check_number(&c[1], 13);
    check_number(&c[10], -5);
    check_number(&c[11], 99);
    check_number(&c[12], OUTBOX_SCHEDULED);
    check_number(&c[9], 7);
    check_text(&c[4], NULL);
    check_text(&c[6], "{}");
    check_text(&c[7], "application/json");
    check_text(&c[8], "abc");
    cr_expect_eq(c[5].size, 0u);

    cr_assert_eq(take("-9223372036854775808,9223372036854775807,1,1,0;" ID "x0a", c), OUTBOX_OK);
    check_number(&c[1], INT64_MIN);
    check_number(&c[10], INT64_MAX);
    check_text(&c[4], "");
    cr_expect_arr_eq(c[5].data, "\n", 2);
}

Test(packed, what_the_statement_saw)
{
    static const char *const wrong[] = { "", ";", "1;2", "1;2;x", "1;2;3;", "1;2;-", ";;99999999999999999999" };
    char all[] = "815;800:815:800,811;77", none[] = ";;";
    struct outbox_value head[OUTBOX_PACKED_HEAD];
    size_t i;

    cr_assert_eq(outbox_packed__head(all, all + sizeof(all) - 1, head), OUTBOX_OK);
    check_text(&head[OUTBOX_PACKED_XBOUND], "815");
    check_text(&head[OUTBOX_PACKED_SNAPSHOT], "800:815:800,811");
    check_number(&head[OUTBOX_PACKED_DEFERRED], 77);
    cr_assert_eq(outbox_packed__head(none, none + sizeof(none) - 1, head), OUTBOX_OK);
    check_text(&head[OUTBOX_PACKED_XBOUND], NULL);
    check_text(&head[OUTBOX_PACKED_SNAPSHOT], NULL);
    cr_expect_eq(head[OUTBOX_PACKED_DEFERRED].type, OUTBOX_T_NULL_INT);
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[40];

        snprintf(text, sizeof(text), "%s", wrong[i]);
        cr_expect_eq(outbox_packed__head(text, text + strlen(text), head), OUTBOX_NONE, "\"%s\"", wrong[i]);
    }
}

/* Every length up to some groups of eight characters, and every byte. */
Test(packed, every_payload)
{
    char text[2048], id[OUTBOX_PACKED_ID + 1];
    struct outbox_value c[17];
    int size, i, n;

    for (size = 0; size <= 256; size++) {
        n = snprintf(text, sizeof(text), "1,1,%d,1,;" ID "t", size);
        for (i = 0; i < size; i++)
            n += snprintf(text + n, sizeof(text) - (size_t)n, i % 2 == 0 ? "%02x" : "%02X", (i * 7 + size) & 0xff);
        cr_assert_eq(outbox_packed__take(text, text + n, id, c), OUTBOX_OK);
        cr_assert_eq(c[5].size, (size_t)size);
        for (i = 0; i <= size; i++)
            cr_assert_eq(((const unsigned char *)c[5].data)[i], i < size ? (i * 7 + size) & 0xff : 0, "byte %d of %d", i, size);
    }
}

/* Any other character in any place of a payload is found. */
Test(packed, only_hexadecimal_digits)
{
    char text[200], id[OUTBOX_PACKED_ID + 1];
    struct outbox_value c[17];
    int place, byte, n;

    for (place = 0; place < 22; place++)
        for (byte = 1; byte < 256; byte++) {
            int digit = strchr("0123456789abcdefABCDEF", byte) != NULL;

            n = snprintf(text, sizeof(text), "1,1,11,1,;" ID "t00112233445566778899aa");
            text[n - 22 + place] = (char)byte;
            cr_expect_eq(outbox_packed__take(text, text + n, id, c), digit ? OUTBOX_OK : OUTBOX_NONE,
                         "byte %d at %d", byte, place);
        }
}

Test(packed, what_is_no_message)
{
    static const char *const wrong[] = {
        "1", ";", "1,2,3", "1,2,0,1;" ID "t", ",2,0,1,;" ID "t", "1,2,,1,;" ID "t", "1,2,-1,1,;" ID "t00",
        "1,2,0,-1,;" ID "t", "1,2,0,2,;" ID "t", "1,2,1,1,;" ID "t0", "1,2,0,1,;0368c899", "1,2,0,1, ;" ID "t",
        "1,2,9223372036854775807,1,;" ID "t", "1,2,0,9223372036854775807,;" ID "t", "9223372036854775808,2,0,1,;" ID "t",
        "99999999999999999999,2,0,1,;" ID "t", "-,2,0,1,;" ID "t", "+1,2,0,1,;" ID "t", "1,2,0,1,,1,1,1,1,1,1,1;" ID "tttt",
        "1,2,0,1,,1,1,1,9,1,1;" ID "tttt", "", "1,2,1,1,;" ID "t000", "1,2,1,1,;" ID "t0000",
        "1,2,0,1,,,1,,,,,;" ID "t", "1,2,0,1,,,1,;" ID "t",
    };
    size_t i;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct outbox_value c[17];

        cr_expect_eq(take(wrong[i], c), OUTBOX_NONE, "\"%s\"", wrong[i]);
        cr_expect_not(outbox_packed__fits(wrong[i], wrong[i] + strlen(wrong[i]), &(int64_t){ 0 }), "\"%s\"", wrong[i]);
    }
}
