/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing to a pipe whose reader has gone raises SIGPIPE, which ends programs that do not expect it. A library must
 * not change what the application does about signals, so a thread holds the signal back while it writes, and takes
 * it away if its own writing raised it.
 */
#ifndef OUTBOX_PUBLISHERS_SIGPIPE_H
#define OUTBOX_PUBLISHERS_SIGPIPE_H

#include <signal.h>

struct outbox_sigpipe {
    sigset_t mask;   /* as it was */
    int was_pending; /* before: somebody else's, and left to them */
};

void outbox_sigpipe__hold(struct outbox_sigpipe *saved);
void outbox_sigpipe__release(const struct outbox_sigpipe *saved);

#endif
