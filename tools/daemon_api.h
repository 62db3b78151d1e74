/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The questions of the status page, and of programs, as JSON: doc/http-api.md describes them. A question costs the
 * database a bounded amount of work, a change as much as there is set aside; each has a connection that lasts as long
 * as it does. */
#ifndef OUTBOX_TOOLS_DAEMON_API_H
#define OUTBOX_TOOLS_DAEMON_API_H

#include "daemon.h"
#include "daemon_history.h"

enum daemon_api {
    DAEMON_API_OUTBOXES,
    DAEMON_API_HISTORY,
    DAEMON_API_OVERVIEW,
    DAEMON_API_MESSAGES,
    DAEMON_API_REDRIVE,
    DAEMON_API_DISCARD
};

/* The value of an argument in the URL, or NULL. */
typedef const char *daemon_argument_fn(void *user, const char *name);

bool daemon_api_changes(enum daemon_api what);
bool daemon_api_asks_database(enum daemon_api what);
/* Why an argument is none of this question's, or its value, which may be NULL, none of any; NULL: nothing is wrong. */
const char *daemon_api_refuses(enum daemon_api what, const char *name, size_t name_size, const char *value,
                               size_t value_size);
/* The HTTP status; the text is JSON, or NULL without memory: free it. `changes` tells whether there may be some. */
unsigned daemon_api_answer(struct daemon *d, struct daemon_history *history, enum daemon_api what, bool changes,
                           daemon_argument_fn *argument, void *user, char **text);
/* {"error": why} */
char *daemon_api_complain(const char *why);

#endif
