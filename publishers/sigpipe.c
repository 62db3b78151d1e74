/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sigpipe.h"

#include <errno.h>
#include <time.h>

void outbox_sigpipe__hold(struct outbox_sigpipe *saved)
{
    sigset_t pending, pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    saved->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &saved->mask);
}

void outbox_sigpipe__release(const struct outbox_sigpipe *saved)
{
    const struct timespec at_once = { 0, 0 };
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!saved->was_pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &saved->mask, NULL);
}
