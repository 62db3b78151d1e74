/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time as RFC 3339 text, without the C library's time zones and their locks. */
#ifndef OUTBOX_TIMETEXT_H
#define OUTBOX_TIMETEXT_H

#include <stddef.h>
#include <stdint.h>

/* "2026-01-31T12:00:00.123456Z" and a NUL. */
#define OUTBOX_TIMETEXT_SIZE 28

/* Writes microseconds since 1970 as UTC; what lies outside of the years 0 to 9999 becomes the nearest that does not. */
void outbox_timetext__format(int64_t us, char text[OUTBOX_TIMETEXT_SIZE]);

/* Reads RFC 3339 with any offset; digits past the microsecond are cut off. Returns 1, or 0 when it is not a time. */
int outbox_timetext__parse(const char *text, size_t length, int64_t *us);

#endif
