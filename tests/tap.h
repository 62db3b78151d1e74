/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TAP printer: one line a test, with what failed inside it as comments.
 *
 * CHECK() notes a failure and goes on; REQUIRE() also leaves the test function. Not for several threads at once:
 * threads of a test hand their findings to its main thread.
 */
#ifndef OUTBOX_TESTS_TAP_H
#define OUTBOX_TESTS_TAP_H

#include <stdint.h>

#ifdef __GNUC__
#define TAP_PRINTF(n) __attribute__((format(printf, n, n + 1)))
#else
#define TAP_PRINTF(n)
#endif

/* Starts a test; its name is copied. */
TAP_PRINTF(1) void tap_begin(const char *format, ...);
/* Ends it: prints "ok" or "not ok". Returns 1 when it passed. */
int tap_end(void);
/* Says that the present test does not apply, and why. */
TAP_PRINTF(1) void tap_skip(const char *format, ...);
/* Prints a comment. */
TAP_PRINTF(1) void tap_note(const char *format, ...);
/* Whether the present test failed so far. */
int tap_failed(void);
/* How many checks the present test made. */
long tap_checked(void);
/* Prints the plan; returns the exit status of the program. */
int tap_finish(void);
/* Prints a plan that skips the whole program; returns 0. */
TAP_PRINTF(1) int tap_skip_all(const char *format, ...);

/* What the macros below call; each returns whether the check passed. */
TAP_PRINTF(4) int tap_check(const char *file, int line, int passed, const char *format, ...);
int tap_int(const char *file, int line, int64_t got, int64_t want, const char *what);
int tap_str(const char *file, int line, const char *got, const char *want, const char *what);

#define CHECK(condition, ...) tap_check(__FILE__, __LINE__, !!(condition), __VA_ARGS__)
#define CHECK_INT(got, want) tap_int(__FILE__, __LINE__, (int64_t)(got), (int64_t)(want), #got)
#define CHECK_STR(got, want) tap_str(__FILE__, __LINE__, (got), (want), #got)

#define REQUIRE(condition, ...)                 \
    do {                                        \
        if (!CHECK(condition, __VA_ARGS__))     \
            return;                             \
    } while (0)
#define REQUIRE_INT(got, want)                  \
    do {                                        \
        if (!CHECK_INT(got, want))              \
            return;                             \
    } while (0)

#endif
