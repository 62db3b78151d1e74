/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time as text, also before 1970, on leap days, and at the ends of what four digits of a year hold. */
#include "timetext.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define S(seconds) (INT64_C(seconds) * 1000000)

/* Seconds of these are from date -u -d TEXT +%s. */
Test(timetext, formatting)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000000Z" },
        { 1, "1970-01-01T00:00:00.000001Z" },
        { 999999, "1970-01-01T00:00:00.999999Z" },
        { -1, "1969-12-31T23:59:59.999999Z" },
        { S(-1), "1969-12-31T23:59:59.000000Z" },
        { S(-86400), "1969-12-31T00:00:00.000000Z" },
        { S(-86400) - 1, "1969-12-30T23:59:59.999999Z" },
        { S(951782400), "2000-02-29T00:00:00.000000Z" },
        { S(951868800), "2000-03-01T00:00:00.000000Z" },
        { S(1709164800), "2024-02-29T00:00:00.000000Z" },
        { S(1740787200), "2025-03-01T00:00:00.000000Z" },
        { S(1740787200) - 1, "2025-02-28T23:59:59.999999Z" },
        { S(4107542400), "2100-03-01T00:00:00.000000Z" },
        { S(4107542400) - 1, "2100-02-28T23:59:59.999999Z" },
        { S(-2203891200), "1900-03-01T00:00:00.000000Z" },
        { S(-2203891200) - 1, "1900-02-28T23:59:59.999999Z" },
        { S(-11670998400), "1600-02-29T00:00:00.000000Z" },
        { S(1769860800) + 123456, "2026-01-31T12:00:00.123456Z" },
        { S(2147483648), "2038-01-19T03:14:08.000000Z" },
        { S(-62135596800), "0001-01-01T00:00:00.000000Z" },
        { S(-62167219200), "0000-01-01T00:00:00.000000Z" },
        { S(253402300800) - 1, "9999-12-31T23:59:59.999999Z" },
        { S(-62167219200) - 1, "0000-01-01T00:00:00.000000Z" },
        { S(253402300800), "9999-12-31T23:59:59.999999Z" },
        { INT64_MIN, "0000-01-01T00:00:00.000000Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999999Z" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[OUTBOX_TIMETEXT_SIZE];

        outbox_timetext__format(cases[i].us, text);
        cr_expect_str_eq(text, cases[i].text, "%" PRId64 ": \"%s\", not \"%s\"", cases[i].us, text, cases[i].text);
    }
}

Test(timetext, parsing)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01t00:00:00z", 0 },
        { "1970-01-01 00:00:00Z", 0 },
        { "1970-01-01T00:00:00+00:00", 0 },
        { "1970-01-01T00:00:00-00:00", 0 },
        { "1970-01-01T01:30:00+01:30", 0 },
        { "1969-12-31T22:30:00-01:30", 0 },
        { "1970-01-01T23:59:00+23:59", 0 },
        { "1970-01-01T00:00:00.5Z", 500000 },
        { "1970-01-01T00:00:00.000001Z", 1 },
        { "1970-01-01T00:00:00.0000019Z", 1 },
        { "1970-01-01T00:00:00.123456789012345678901234567890Z", 123456 },
        { "1969-12-31T23:59:59.999999Z", -1 },
        { "1969-12-31T23:59:59.5Z", -500000 },
        { "2000-02-29T00:00:00Z", S(951782400) },
        { "2024-02-29T00:00:00Z", S(1709164800) },
        { "2026-01-31T12:00:00.123456Z", S(1769860800) + 123456 },
        { "2026-01-31T14:00:00.123456+02:00", S(1769860800) + 123456 },
        { "2016-12-31T23:59:60Z", S(1483228800) },
        { "0000-01-01T00:00:00Z", S(-62167219200) },
        { "0000-02-29T00:00:00Z", S(-62162121600) },
        { "9999-12-31T23:59:59.999999Z", S(253402300800) - 1 },
        { "9999-12-31T23:59:59-23:59", S(253402300799) + S(86340) },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = 12345;
        int ok = outbox_timetext__parse(cases[i].text, strlen(cases[i].text), &us);

        cr_expect(ok && us == cases[i].us, "\"%s\": %d, %" PRId64 ", not %" PRId64, cases[i].text, ok, us, cases[i].us);
    }
}

Test(timetext, what_is_no_time)
{
    static const char *const cases[] = {
        "", "Z", "1970", "1970-01-01", "1970-01-01T00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00 Z",
        "1970-01-01T00:00:00ZZ", "1970-01-01T00:00:00Z ", " 1970-01-01T00:00:00Z", "70-01-01T00:00:00Z",
        "01970-01-01T00:00:00Z", "-970-01-01T00:00:00Z", "+1970-01-01T00:00:00Z", "1970-1-01T00:00:00Z",
        "1970-01-1T00:00:00Z", "1970/01/01T00:00:00Z", "1970-01-01_00:00:00Z", "1970-01-01T0:00:00Z",
        "1970-01-01T00.00.00Z", "19700101T000000Z",
        "1970-00-01T00:00:00Z", "1970-13-01T00:00:00Z", "1970-01-00T00:00:00Z", "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z", "1970-06-31T00:00:00Z", "1970-09-31T00:00:00Z", "1970-11-31T00:00:00Z",
        "1970-02-29T00:00:00Z", "1970-02-30T00:00:00Z", "2000-02-30T00:00:00Z", "1900-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z", "2023-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z", "1970-01-01T99:99:99Z",
        "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00,5Z", "1970-01-01T00:00:00.5", "1970-01-01T00:00:00.5.5Z",
        "1970-01-01T00:00:00.-5Z",
        "1970-01-01T00:00:00+", "1970-01-01T00:00:00+1", "1970-01-01T00:00:00+01", "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+01:0", "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+01:00Z", "1970-01-01T00:00:00X", "1970-01-01T00:00:00UTC", "1970-01-0\xd9\xa1T00:00:00Z",
        "tomorrow", "0", "1769860800",
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us;

        cr_expect_not(outbox_timetext__parse(cases[i], strlen(cases[i]), &us), "\"%s\" is taken", cases[i]);
    }
    cr_expect_not(outbox_timetext__parse("1970-01-01T00:00:00\0Z", 21, &(int64_t){ 0 }), "a NUL is taken");
    cr_expect_not(outbox_timetext__parse("1970-01-01T00:00:00Z", 19, &(int64_t){ 0 }), "what stands behind is read");
}

/* Every day of these ten thousand years, compared with the C library's calendar, and back. */
Test(timetext, every_day_agrees_with_the_c_library)
{
    int64_t day;

    for (day = -719528; day < 2932897; day++) {
        time_t t = (time_t)(day * 86400 + 86399);
        char text[OUTBOX_TIMETEXT_SIZE], want[64];
        int64_t us;
        struct tm tm;

        if (sizeof(t) < 8 && (day < -24855 || day > 24853))
            continue; /* the C library's calendar ends there */
        cr_assert_not_null(gmtime_r(&t, &tm));
        snprintf(want, sizeof(want), "%04d-%02d-%02dT23:59:59.000000Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
        outbox_timetext__format((int64_t)t * 1000000, text);
        if (strcmp(text, want) != 0)
            cr_assert_fail("day %" PRId64 ": \"%s\", not \"%s\"", day, text, want);
        if (!outbox_timetext__parse(text, strlen(text), &us) || us != (int64_t)t * 1000000)
            cr_assert_fail("\"%s\" does not come back", text);
    }
}
