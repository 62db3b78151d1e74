/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the library and the driver manager: counts the library's calls of ODBC, and lets the n-th one fail, or ends
 * the process there.
 *
 * A program that has interpose.c among its sources is linked with $(interpose_link), so that what the objects in it
 * call as SQLExecute() is __wrap_SQLExecute(). Drivers and the driver manager are libraries of their own and call each
 * other as ever. The test's own calls (db.c) go through here too, but are only counted between interpose_begin() and
 * interpose_end().
 */
#ifndef OUTBOX_TESTS_INTERPOSE_H
#define OUTBOX_TESTS_INTERPOSE_H

#include <stddef.h>

enum interpose_mode {
    INTERPOSE_COUNT,       /* nothing happens */
    INTERPOSE_BEFORE,      /* the call fails and is not done */
    INTERPOSE_AFTER,       /* the call is done and reported as failed */
    INTERPOSE_INFO,        /* it is done, with a warning */
    INTERPOSE_NO_DATA,     /* SQLExecute is done, and says that it met no row; SQLRowCount says that it does not know */
    INTERPOSE_DIE_BEFORE,  /* the process is killed before the call */
    INTERPOSE_DIE_AFTER    /* and after it */
};

/* Why a call fails, as a diagnostic. */
struct interpose_reason {
    const char *state;
    int native;
    const char *text; /* NULL: there is no diagnostic at all */
    int lost;         /* the connection is dead from then on, and its transaction rolled back */
    int padding;      /* so many more characters of text, which no buffer holds */
};

/* From now on the calls count; the one with that number (from 1) gets the fault. */
void interpose_begin(enum interpose_mode mode, long number, const struct interpose_reason *reason);
/* Ends it; returns how many calls there were. */
long interpose_end(void);
/* Only calls that reach the server count: connect, execute, end. */
void interpose_count_weighty(int weighty);
/* Between begin and end: the test's own calls are not to count. */
void interpose_hold(int held);
/* Whether the fault happened: the call was reached, and can have it. */
int interpose_hit(void);
/* What the call with that number was: the function, and the statement. Lives until the next interpose_begin(). */
const char *interpose_step(void);
/* Where a process that is killed leaves its last words: size bytes of shared memory, or NULL. */
void interpose_leave_words(char *shared, size_t size);
/* How many handles are allocated now, by anybody in this program. */
long interpose_handles(void);
/* The names of all functions that are interposed, ending with NULL. */
extern const char *const interpose_names[];

#endif
