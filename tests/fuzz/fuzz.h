/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzers: one small program for each parser, with the properties that must hold for whatever it is given.
 *
 * Built plainly, a program replays its corpus as tests: every file of tests/fuzz/corpus/NAME, and every beginning of
 * it. Built by `make fuzzers` with clang's -fsanitize=fuzzer, the same program looks for inputs of its own.
 */
#ifndef OUTBOX_TESTS_FUZZ_H
#define OUTBOX_TESTS_FUZZ_H

#include <outbox/error.h>

#include <stddef.h>
#include <stdint.h>

#include "tap.h"

/* What libFuzzer calls; each program has one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int fuzz_replay(int argc, char **argv, int (*one)(const uint8_t *data, size_t size));

/* Here, and not in the library of helpers, whose other users have a main program of their own. */
#if !defined(OUTBOX_LIBFUZZER) && !defined(FUZZ_SHARED)
int main(int argc, char **argv)
{
    return fuzz_replay(argc, argv, LLVMFuzzerTestOneInput);
}
#endif

/* Ends the program where a property does not hold: libFuzzer keeps the input, the replay reports the test. */
#define FUZZ_CHECK(condition, ...)                              \
    do {                                                        \
        if (!(condition))                                       \
            fuzz_fail(__FILE__, __LINE__, __VA_ARGS__);         \
    } while (0)
TAP_PRINTF(3) void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn));

/* A copy with a NUL behind it; free it. Bytes after a NUL inside are there, too. */
char *fuzz_text(const uint8_t *data, size_t size);

/* Characters of UTF-8, or -1: by decoding and encoding again, which no parser of ours does. */
long fuzz_utf8(const char *text, size_t size);

/* A call that returned rc: either it succeeded and set no error, or its error is complete. Frees it. */
void fuzz_check_error(int rc, outbox_error *err);

/* Equal, or both NULL. */
int fuzz_same(const char *a, const char *b);

#endif
