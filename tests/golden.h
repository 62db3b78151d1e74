/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files below tests/golden: what a thing has to be, written down once and looked at by a person.
 *
 * With OUTBOX_TEST_GOLDEN=write, golden_check() writes them anew; the change is then seen in the diff of a commit.
 */
#ifndef OUTBOX_TESTS_GOLDEN_H
#define OUTBOX_TESTS_GOLDEN_H

#include <stddef.h>

/* A file whose path is given from a folder, whole, with a NUL behind; free it. NULL when it cannot be read. */
char *file_read(const char *folder, const char *path);

/* The top of the sources and of the build. */
const char *source_folder(void);
const char *build_folder(void);

/* A file of tests/golden; free it. NULL when it cannot be read. */
char *golden_read(const char *name);

/* 1 when the file has this text. Otherwise why says what differs first. */
int golden_check(const char *name, const char *text, char *why, size_t size);

/* 1 when two texts are the same. Otherwise why says in which line they differ, and how. */
int text_same(const char *got, const char *want, char *why, size_t size);

#endif
