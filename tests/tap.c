/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tap.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Checks are made on other threads, too. */
static struct {
    int number, failures;
    atomic_int failed_here, shown;
    atomic_long checks;
    char name[256], skip[256];
    struct timespec start;
} tap;

/* A broken loop would otherwise fill a disk with the same complaint. */
#define SHOWN_AT_MOST 20

static void comment(const char *format, va_list arguments)
{
    char text[4096];
    char *line, *rest = text;

    vsnprintf(text, sizeof text, format, arguments);
    while ((line = strsep(&rest, "\n")) != NULL)
        printf("# %s\n", line);
    fflush(stdout);
}

void tap_begin(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(tap.name, sizeof tap.name, format, arguments);
    va_end(arguments);
    tap.failed_here = 0;
    tap.shown = 0;
    tap.checks = 0;
    tap.skip[0] = '\0';
    clock_gettime(CLOCK_MONOTONIC, &tap.start);
}

/* What takes long is worth knowing. */
static void note_time(void)
{
    struct timespec now;
    double took;

    clock_gettime(CLOCK_MONOTONIC, &now);
    took = (double)(now.tv_sec - tap.start.tv_sec) + (double)(now.tv_nsec - tap.start.tv_nsec) / 1e9;
    if (took >= 1)
        printf("# %.1f s\n", took);
}

int tap_end(void)
{
    int passed = !tap.failed_here && (tap.checks > 0 || tap.skip[0] != '\0');

    note_time();
    if (tap.checks == 0 && tap.skip[0] == '\0')
        printf("# nothing was checked\n");
    tap.failures += !passed;
    printf("%s %d - %s%s%s\n", passed ? "ok" : "not ok", ++tap.number, tap.name, tap.skip[0] ? " # SKIP " : "",
           tap.skip);
    fflush(stdout);
    return passed;
}

void tap_skip(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(tap.skip, sizeof tap.skip, format, arguments);
    va_end(arguments);
}

void tap_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    comment(format, arguments);
    va_end(arguments);
}

int tap_failed(void)
{
    return tap.failed_here;
}

long tap_checked(void)
{
    return tap.checks;
}

int tap_finish(void)
{
    printf("1..%d\n", tap.number);
    fflush(stdout);
    return tap.failures != 0 || tap.number == 0;
}

int tap_skip_all(const char *format, ...)
{
    va_list arguments;

    printf("1..0 # SKIP ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    return 0;
}

/* Notes a check; returns 1 when the caller should say more of its failure. */
static int note_check(const char *file, int line, int passed)
{
    const char *base = strrchr(file, '/');

    tap.checks++;
    if (passed)
        return 0;
    tap.failed_here = 1;
    if (++tap.shown > SHOWN_AT_MOST)
        return 0;
    printf("# %s:%d: ", base ? base + 1 : file, line);
    return 1;
}

int tap_check(const char *file, int line, int passed, const char *format, ...)
{
    va_list arguments;

    if (note_check(file, line, passed)) {
        char text[4096];

        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        printf("%s\n", text);
        fflush(stdout);
    }
    return passed;
}

int tap_int(const char *file, int line, int64_t got, int64_t want, const char *what)
{
    if (note_check(file, line, got == want)) {
        printf("%s is %lld, not %lld\n", what, (long long)got, (long long)want);
        fflush(stdout);
    }
    return got == want;
}

int tap_str(const char *file, int line, const char *got, const char *want, const char *what)
{
    int same = got == want || (got != NULL && want != NULL && strcmp(got, want) == 0);

    if (note_check(file, line, same)) {
        printf("%s is %s%.200s%s, not %s%.200s%s\n", what, got ? "\"" : "", got ? got : "NULL", got ? "\"" : "",
               want ? "\"" : "", want ? want : "NULL", want ? "\"" : "");
        fflush(stdout);
    }
    return same;
}
