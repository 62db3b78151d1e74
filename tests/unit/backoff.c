/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waits between attempts: bounded, doubling, spread, and never out of range. */
#include "backoff.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

#define SAMPLES 4000

static outbox_conf *conf;

static void make(void)
{
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_conf_free(conf);
}

TestSuite(backoff, .init = make, .fini = drop);

static void set(const char *min, const char *max)
{
    cr_assert_eq(outbox_conf_set(conf, "retry.backoff_min", min, NULL), OUTBOX_OK);
    cr_assert_eq(outbox_conf_set(conf, "retry.backoff_max", max, NULL), OUTBOX_OK);
}

/*
 * Of so many waits none is above the bound, and they lie evenly between 0 and it: the largest is in the upper tenth,
 * the smallest in the lower one, and their mean is half of it within 10 standard deviations.
 */
static void expect_bound(int attempt, int64_t bound)
{
    int64_t most = -1, least = INT64_MAX;
    double sum = 0;
    int i;

    for (i = 0; i < SAMPLES; i++) {
        int64_t delay = outbox_backoff__delay(conf, attempt);

        most = delay > most ? delay : most;
        least = delay < least ? delay : least;
        sum += (double)delay;
    }
    cr_expect(least >= 0 && most <= bound, "attempt %d: from %" PRId64 " to %" PRId64 ", bound %" PRId64, attempt,
              least,
              most, bound);
    cr_expect(most > bound / 10 * 9 && least < bound / 10 + 1,
              "attempt %d: from %" PRId64 " to %" PRId64 " only, of %" PRId64, attempt, least, most, bound);
    cr_expect(sum / SAMPLES > (double)bound * 0.454 && sum / SAMPLES < (double)bound * 0.546,
              "attempt %d: the mean is %.0f, of %" PRId64, attempt, sum / SAMPLES, bound);
}

Test(backoff, the_bound_doubles_up_to_the_most)
{
    static const struct {
        int attempt;
        int64_t bound;
    } cases[] = {
        { 1, 100000 }, { 2, 200000 }, { 3, 400000 }, { 4, 800000 }, { 5, 1600000 }, { 6, 3200000 }, { 7, 6400000 },
        { 8, 12800000 }, { 9, 25600000 }, { 10, 30000000 }, { 11, 30000000 }, { 62, 30000000 }, { 63, 30000000 },
        { 64, 30000000 }, { 65, 30000000 }, { 1000, 30000000 }, { 1000000, 30000000 }, { INT32_MAX, 30000000 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_bound(cases[i].attempt, cases[i].bound);
}

Test(backoff, no_attempt_overflows)
{
    int attempt;

    set("1d", "30d");
    for (attempt = 1; attempt <= 1000000; attempt++) {
        int64_t delay = outbox_backoff__delay(conf, attempt);

        if (delay < 0 || delay > INT64_C(2592000000000))
            cr_assert_fail("attempt %d waits %" PRId64, attempt, delay);
    }
    expect_bound(5, INT64_C(1382400000000));
    expect_bound(6, INT64_C(2592000000000));
}

Test(backoff, a_least_above_the_most_is_the_most)
{
    set("10s", "1s");
    expect_bound(1, 1000000);
    expect_bound(20, 1000000);
}

/* Before any attempt there is nothing to double. */
Test(backoff, odd_attempts)
{
    expect_bound(0, 100000);
    expect_bound(-1, 100000);
    expect_bound(INT32_MIN, 100000);
}

Test(backoff, random_numbers_reach_both_ends)
{
    static const int64_t bounds[] = { 1, 2, 9 };
    size_t b;
    int i;

    for (b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        int seen[10] = { 0 };

        for (i = 0; i < SAMPLES; i++) {
            int64_t n = outbox_backoff__random(bounds[b]);

            cr_assert(n >= 0 && n <= bounds[b], "%" PRId64 " of %" PRId64, n, bounds[b]);
            seen[n]++;
        }
        for (i = 0; i <= bounds[b]; i++)
            cr_expect_gt(seen[i], 0, "%d of %" PRId64 " never came", i, bounds[b]);
    }
    for (i = 0; i < 1000; i++)
        cr_assert_geq(outbox_backoff__random(INT64_MAX), 0, "of INT64_MAX one is below 0");
    cr_expect_eq(outbox_backoff__random(0), 0);
    cr_expect_eq(outbox_backoff__random(-5), 0);
    cr_expect_eq(outbox_backoff__random(INT64_MIN), 0);
}

static int64_t answer(void *user, int attempt)
{
    int64_t *numbers = user;

    numbers[1] = attempt;
    return numbers[0];
}

Test(backoff, the_application_may_say)
{
    static const struct {
        int64_t ms, us;
    } cases[] = {
        { 0, 0 },
        { 1, 1000 },
        { 86400000, INT64_C(86400000000) },
        { INT64_MAX / 2000 - 1, (INT64_MAX / 2000 - 1) * 1000 },
        { INT64_MAX / 2000, INT64_MAX / 2 },
        { INT64_MAX, INT64_MAX / 2 },
    };
    int64_t numbers[2];
    size_t i;

    outbox_conf_set_backoff(conf, answer, numbers);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        numbers[0] = cases[i].ms;
        cr_expect_eq(outbox_backoff__delay(conf, 3), cases[i].us, "%" PRId64 " ms: %" PRId64, cases[i].ms,
                     outbox_backoff__delay(conf, 3));
        cr_expect_eq(numbers[1], 3, "it was told of attempt %" PRId64, numbers[1]);
    }
    numbers[0] = -1;
    expect_bound(3, 400000);
}
