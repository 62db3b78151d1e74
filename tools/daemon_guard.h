/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may ask for what the status page shows.
 *
 * A browser on this host runs pages of strangers. Such a page must neither read what is here nor change anything:
 *   - Its name may lead to this address (DNS rebinding). So the name that was asked for, Host, must be one of ours, or
 *     an address, which no name server can make up.
 *   - It may send requests. So Origin and Sec-Fetch-Site, which it cannot change, must say that it is our own page; and
 *     a change needs a token in a header, which no page of another origin can send without asking first, in vain.
 * A name of `hosts` is a proxy's, on this host or not: whoever asks by it may be anywhere. */
#ifndef OUTBOX_TOOLS_DAEMON_GUARD_H
#define OUTBOX_TOOLS_DAEMON_GUARD_H

#include "cli.h"

struct daemon_guard {
    bool ready;  /* nobody may, until it was made */
    char *hosts; /* separated by blanks or commas; or NULL */
    char *host;  /* where it listens */
    char *token; /* NULL: there are no changes */
};

/* false: out of memory. */
bool daemon_guard_make(struct daemon_guard *guard, const struct cli_server *server);
void daemon_guard_free(struct daemon_guard *guard);

/* The value of a request's header, or NULL. */
typedef const char *daemon_header_fn(void *user, const char *name);

/* Whether a request by this name, if it has one, may be answered where only this host's users can ask; or why not. */
bool daemon_guard_knows(const struct daemon_guard *guard, const char *host, const char **why);
/* 200, or another status and why. `local`: nobody else than this host's users can ask, but for a proxy on it. */
unsigned daemon_guard_check(const struct daemon_guard *guard, bool local, bool change, daemon_header_fn *header,
                            void *user, const char **why);

#endif
