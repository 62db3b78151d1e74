/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "timetext.h"

#define SECOND_US INT64_C(1000000)
#define DAY_S INT64_C(86400)
/* 0000-01-01T00:00:00Z and the last microsecond of 9999. */
#define FIRST_US (INT64_C(-62167219200) * SECOND_US)
#define LAST_US (INT64_C(253402300800) * SECOND_US - 1)

/* Days since 1970 of a day in the Gregorian calendar. Years begin in March, so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
    int y = year - (month <= 2);
    int era = (y >= 0 ? y : y - 399) / 400;
    int of_era = y - era * 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *year, int *month, int *day)
{
    int64_t from_march = days + 719468;
    int64_t era = (from_march >= 0 ? from_march : from_march - 146096) / 146097;
    int day_of_era = (int)(from_march - era * 146097);
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int m = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = (int)(era * 400) + year_of_era + (*month <= 2);
}

static char *put_number(char *to, int64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + digits;
}

void outbox_timetext__format(int64_t us, char text[OUTBOX_TIMETEXT_SIZE])
{
    int64_t clamped = us < FIRST_US ? FIRST_US : us > LAST_US ? LAST_US : us;
    int64_t since_first = clamped - FIRST_US; /* not negative, so that divisions round down */
    int64_t seconds = since_first / SECOND_US;
    int64_t of_day = seconds % DAY_S;
    int year, month, day;

    date_of(seconds / DAY_S + FIRST_US / SECOND_US / DAY_S, &year, &month, &day);
    text = put_number(text, year, 4);
    *text++ = '-';
    text = put_number(text, month, 2);
    *text++ = '-';
    text = put_number(text, day, 2);
    *text++ = 'T';
    text = put_number(text, of_day / 3600, 2);
    *text++ = ':';
    text = put_number(text, of_day / 60 % 60, 2);
    *text++ = ':';
    text = put_number(text, of_day % 60, 2);
    *text++ = '.';
    text = put_number(text, since_first % SECOND_US, 6);
    *text++ = 'Z';
    *text = '\0';
}

/* What is left to read. */
struct reader {
    const char *at, *end;
};

static int take_number(struct reader *r, int digits, int low, int high, int *number)
{
    *number = 0;
    for (; digits > 0; digits--, r->at++) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9')
            return 0;
        *number = *number * 10 + (*r->at - '0');
    }
    return *number >= low && *number <= high;
}

static int take_one_of(struct reader *r, const char *characters)
{
    for (; *characters != '\0'; characters++)
        if (r->at < r->end && *r->at == *characters)
            return *r->at++;
    return 0;
}

/* ".123": digits past the sixth say nothing that is kept. */
static int take_fraction(struct reader *r, int64_t *us)
{
    int64_t scale = SECOND_US / 10;
    const char *first;

    *us = 0;
    if (!take_one_of(r, "."))
        return 1;
    for (first = r->at; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, scale /= 10)
        *us += (*r->at - '0') * scale;
    return r->at > first;
}

static int take_offset(struct reader *r, int64_t *seconds)
{
    int hours, minutes, sign;

    *seconds = 0;
    if (take_one_of(r, "Zz"))
        return 1;
    sign = take_one_of(r, "+-");
    if (!sign || !take_number(r, 2, 0, 23, &hours) || !take_one_of(r, ":") || !take_number(r, 2, 0, 59, &minutes))
        return 0;
    *seconds = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
    return 1;
}

int outbox_timetext__parse(const char *text, size_t length, int64_t *us)
{
    struct reader r = { text, text + length };
    static const int longest[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour, minute, second;
    int64_t fraction, offset;

    if (!take_number(&r, 4, 0, 9999, &year) || !take_one_of(&r, "-") || !take_number(&r, 2, 1, 12, &month) ||
        !take_one_of(&r, "-") || !take_number(&r, 2, 1, longest[month - 1], &day))
        return 0;
    if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
        return 0;
    /* 60 is a leap second, the same as the first of the next minute. */
    if (!take_one_of(&r, "Tt ") || !take_number(&r, 2, 0, 23, &hour) || !take_one_of(&r, ":") ||
        !take_number(&r, 2, 0, 59, &minute) || !take_one_of(&r, ":") || !take_number(&r, 2, 0, 60, &second))
        return 0;
    if (!take_fraction(&r, &fraction) || !take_offset(&r, &offset) || r.at != r.end)
        return 0;
    *us = (days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset) * SECOND_US + fraction;
    return 1;
}
