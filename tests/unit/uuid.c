/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids: what RFC 9562 says of version 7, their order, and what is taken from callers. */
#include "uuid.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MANY 20000

static uint64_t milliseconds_of(const outbox_id *id)
{
    char digits[13];

    memcpy(digits, id->text, 8);
    memcpy(digits + 8, id->text + 9, 4);
    digits[12] = '\0';
    return strtoull(digits, NULL, 16);
}

static uint64_t milliseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const outbox_id *)a)->text, ((const outbox_id *)b)->text);
}

Test(uuid, version_and_variant)
{
    static outbox_id ids[MANY];
    size_t i;

    cr_assert_eq(outbox_uuid__make(ids, MANY, NULL), OUTBOX_OK);
    for (i = 0; i < MANY; i++) {
        const char *t = ids[i].text;

        if (strlen(t) != 36 || strspn(t, "0123456789abcdef-") != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' ||
            t[23] != '-' || t[14] != '7' || strchr("89ab", t[19]) == NULL)
            cr_assert_fail("id %zu is \"%s\"", i, t);
    }
}

/* 4096 ids have one millisecond; what is more borrows from the next ones. */
Test(uuid, the_time_is_now)
{
    static outbox_id ids[MANY];
    uint64_t before = milliseconds_now(), after;

    cr_assert_eq(outbox_uuid__make(ids, MANY, NULL), OUTBOX_OK);
    after = milliseconds_now();
    cr_expect(milliseconds_of(&ids[0]) >= before && milliseconds_of(&ids[0]) <= after,
              "\"%s\" is not from %llu to %llu",
              ids[0].text, (unsigned long long)before, (unsigned long long)after);
    cr_expect_eq(milliseconds_of(&ids[4095]), milliseconds_of(&ids[0]), "\"%s\"", ids[4095].text);
    cr_expect_eq(milliseconds_of(&ids[4096]), milliseconds_of(&ids[0]) + 1, "\"%s\"", ids[4096].text);
    cr_expect_eq(milliseconds_of(&ids[MANY - 1]), milliseconds_of(&ids[0]) + (MANY - 1) / 4096, "\"%s\"",
                 ids[MANY - 1].text);
}

Test(uuid, ids_of_a_call_sort_in_their_order)
{
    static const size_t counts[] = { 1, 2, 63, 64, 65, 127, 128, 129, 4096, 4097, MANY };
    static outbox_id ids[MANY];
    size_t c, i;

    for (c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        memset(ids, 0, sizeof(ids));
        cr_assert_eq(outbox_uuid__make(ids, counts[c], NULL), OUTBOX_OK);
        for (i = 1; i < counts[c]; i++)
            if (strcmp(ids[i - 1].text, ids[i].text) >= 0)
                cr_assert_fail("of %zu, id %zu is \"%s\" and the one before \"%s\"", counts[c], i, ids[i].text,
                               ids[i - 1].text);
        cr_expect(counts[c] == MANY || ids[counts[c]].text[0] == '\0', "of %zu, one more was written", counts[c]);
    }
}

#define THREADS 8

static void *make_many(void *ids)
{
    return outbox_uuid__make(ids, MANY / 4, NULL) == OUTBOX_OK ? ids : NULL;
}

Test(uuid, ids_of_threads_differ)
{
    static outbox_id ids[THREADS][MANY / 4];
    pthread_t threads[THREADS];
    outbox_id *all = ids[0];
    size_t i;

    for (i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, make_many, ids[i]), 0);
    for (i = 0; i < THREADS; i++) {
        void *made;

        pthread_join(threads[i], &made);
        cr_expect_not_null(made, "thread %zu made none", i);
    }
    qsort(all, THREADS * MANY / 4, sizeof(*all), compare);
    for (i = 1; i < THREADS * MANY / 4; i++)
        if (strcmp(all[i - 1].text, all[i].text) == 0)
            cr_assert_fail("\"%s\" was made twice", all[i].text);
}

/* The 62 random bits: each is 1 about half of the time (10 standard deviations are allowed). */
Test(uuid, random_bits_are_random)
{
    static outbox_id ids[MANY];
    int ones[64] = { 0 }, bit;
    size_t i;

    cr_assert_eq(outbox_uuid__make(ids, MANY, NULL), OUTBOX_OK);
    for (i = 0; i < MANY; i++) {
        char digits[17];
        uint64_t tail;

        memcpy(digits, ids[i].text + 19, 4);
        memcpy(digits + 4, ids[i].text + 24, 12);
        digits[16] = '\0';
        tail = strtoull(digits, NULL, 16);
        for (bit = 0; bit < 62; bit++)
            ones[bit] += (int)(tail >> bit & 1);
    }
    for (bit = 0; bit < 62; bit++)
        cr_expect(abs(ones[bit] - MANY / 2) < 710, "bit %d is 1 in %d of %d", bit, ones[bit], MANY);
}

Test(uuid, no_ids_are_no_error)
{
    cr_expect_eq(outbox_uuid__make(NULL, 0, NULL), OUTBOX_OK);
}

Test(uuid, parsing)
{
    static const struct {
        const char *text, *id; /* NULL: refused */
    } cases[] = {
        { "018f3c2e-7b1a-7c00-8000-0123456789ab", "018f3c2e-7b1a-7c00-8000-0123456789ab" },
        { "018F3C2E-7B1A-7C00-8000-0123456789AB", "018f3c2e-7b1a-7c00-8000-0123456789ab" },
        { "aAbBcCdD-eEfF-0123-4567-89abcdefABCD", "aabbccdd-eeff-0123-4567-89abcdefabcd" },
        { "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000" },
        { "ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff" },
        { "", NULL },
        { "018f3c2e", NULL },
        { "018f3c2e-7b1a-7c00-8000-0123456789a", NULL },
        { "018f3c2e-7b1a-7c00-8000-0123456789abc", NULL },
        { "018f3c2e7b1a7c0080000123456789ab", NULL },
        { "{018f3c2e-7b1a-7c00-8000-0123456789ab}", NULL },
        { "urn:uuid:018f3c2e-7b1a-7c00-8000-0123456789ab", NULL },
        { "018f3c2e-7b1a-7c00-8000-0123456789ag", NULL },
        { "g18f3c2e-7b1a-7c00-8000-0123456789ab", NULL },
        { "018f3c2e-7b1a-7c00-80000-123456789ab", NULL },
        { "018f3c2e-7b1a-7c00-8000+0123456789ab", NULL },
        { "018f3c2e_7b1a_7c00_8000_0123456789ab", NULL },
        { "018f3c2e-7b1a-7c00-8000-01234567 9ab", NULL },
        { " 18f3c2e-7b1a-7c00-8000-0123456789ab", NULL },
        { "018f3c2e-7b1a-7c00-8000-0123456789\xc3\xa9", NULL },
        { "------------------------------------", NULL },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_id id = { "" };
        int rc = outbox_uuid__parse(cases[i].text, strlen(cases[i].text), &id);

        cr_expect_eq(rc, cases[i].id != NULL, "\"%s\" is %s", cases[i].text, rc ? "taken" : "refused");
        if (rc && cases[i].id != NULL)
            cr_expect_str_eq(id.text, cases[i].id, "\"%s\" became \"%s\"", cases[i].text, id.text);
    }
}

/* A NUL inside is one of the bytes; what stands behind them is not looked at. */
Test(uuid, parsing_counts_bytes)
{
    static const char nul[] = "018f3c2e-7b1a-7c00-8000-\0" "123456789ab";
    static const char behind[] = "018f3c2e-7b1a-7c00-8000-0123456789abXYZ";
    outbox_id id;

    cr_expect_not(outbox_uuid__parse(nul, 36, &id), "an id with a NUL is taken");
    cr_expect(outbox_uuid__parse(behind, 36, &id), "36 of 39 bytes are refused");
    cr_expect_str_eq(id.text, "018f3c2e-7b1a-7c00-8000-0123456789ab");
}

Test(uuid, what_is_made_can_be_parsed)
{
    outbox_id made, parsed;

    cr_assert_eq(outbox_uuid__make(&made, 1, NULL), OUTBOX_OK);
    cr_expect(outbox_uuid__parse(made.text, 36, &parsed), "\"%s\"", made.text);
    cr_expect_str_eq(parsed.text, made.text);
}
