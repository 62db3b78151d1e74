/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of tests/fault/memory share. */
#ifndef OUTBOX_TESTS_MEMORY_H
#define OUTBOX_TESTS_MEMORY_H

#include <stdatomic.h>

#include "lib-test.h"

/* Allocations while it is armed are counted; the one with that number fails, or it and all after it. live: blocks that are
 * allocated now. */
extern atomic_long number, fail_at, failed, live;
extern atomic_int armed, from_then_on;

/* Which of a relay's threads allocated something while it was armed, since somebody set them to 0. */
enum { KEEPER, CLEANER, WORKER, MEMORY_THREADS };
extern atomic_int allocating[MEMORY_THREADS];

/* Enqueues ten messages, and notes them as sent when they were committed. */
int walk_enqueue(struct fixture *fx, outbox_conn *conn, outbox_error **err);
/* Relays what is there, and returns. */
int walk_relay(struct fixture *fx, outbox_conn *conn, outbox_error **err);

void check_steady(const struct target *target);
void check_starved(const struct target *target);

#endif
