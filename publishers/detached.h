/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_DETACHED_H
#define OUTBOX_DETACHED_H

/* Runs it on a detached thread with all signals blocked. 1, or 0 when there can be no thread. */
int outbox_detached(void *(*run)(void *), void *arg);

#endif
