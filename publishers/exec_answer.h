/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a command answers: `ok`, `retry [DURATION] reason`, `reject reason`. */
#ifndef OUTBOX_PUBLISHERS_EXEC_ANSWER_H
#define OUTBOX_PUBLISHERS_EXEC_ANSWER_H

#include <outbox/types.h>

struct outbox_exec_answer {
    outbox_verdict verdict;
    int64_t retry_ms;   /* -1: none given */
    const char *reason; /* in the line, or static; NULL for OUTBOX_PUBLISHED */
};

/* Takes a line apart, in place. Returns 1, or 0 when it is none of the three. */
int outbox_exec_answer__parse(char *line, struct outbox_exec_answer *answer);

/* Makes text from a program fit for a log and a database: valid UTF-8 without control characters. */
void outbox_exec_answer__clean(char *text);

#endif
