/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What processes of a test say on standard error, kept in a file for a look. */
#ifndef OUTBOX_TESTS_SAID_H
#define OUTBOX_TESTS_SAID_H

/* From now on this process says it there, and warnings and errors of the library's too. */
void said_into(const char *path);
/* Lines with both words. */
int said_lines(const char *path, const char *word, const char *other);

#endif
