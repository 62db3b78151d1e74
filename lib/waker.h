/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The waker: one thread that waits on all sources of wake-ups of a relay, and lets its workers look.
 *
 * The sources belong to this thread alone. With the relay it shares the idle state, which has a lock of its own. */
#ifndef OUTBOX_WAKER_H
#define OUTBOX_WAKER_H

#include "conn_internal.h"
#include "idle.h"

#include <outbox/sys/wake.h>

struct outbox_waker;

/* Finds the sources for the database of a connection, and starts the thread when there are any; *waker is NULL
 * otherwise. `wake` is called for each hint, on the waker's thread. dsn, conf and idle must outlive the waker. */
int outbox_waker__start(outbox_conn *conn, const char *dsn, const outbox_conf *conf, struct outbox_idle *idle,
                        void (*wake)(void *ctx, int sure), void *ctx, struct outbox_waker **waker, outbox_error **err);

/* Ends the thread and frees everything; NULL is none. */
void outbox_waker__stop(struct outbox_waker *waker);

/* Sources of this library. */
extern const outbox_wake_ops outbox_wake__socket;
extern const outbox_wake_ops outbox_wake__file;

#endif
