/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the library makes errors. */
#ifndef OUTBOX_ERROR_INTERNAL_H
#define OUTBOX_ERROR_INTERNAL_H

#include <outbox/error.h>

#include <stdarg.h>

#if defined(__GNUC__) || defined(__clang__)
#define OUTBOX__PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define OUTBOX__PRINTF(fmt, args)
#endif

/* Makes an error and returns its status, so that a caller can write `return outbox_error__set(err, …)`. A more exact
 * error that is already there is kept. */
int outbox_error__set(outbox_error **err, int status, const char *name, const char *format, ...) OUTBOX__PRINTF(4, 5);

/* Adds what the database said. No effect on NULL or on the static out-of-memory error. */
void outbox_error__database(outbox_error **err, const char *sqlstate, long native);

/* Out of memory: the one error that needs none. */
int outbox_error__nomem(outbox_error **err);

/* Hands an error over to a caller that wants one and has none yet; else frees it. NULL is none. */
void outbox_error__pass(outbox_error **err, outbox_error *why);

/* The same error once more, for a second reader. */
outbox_error *outbox_error__copy(const outbox_error *err);

#endif
