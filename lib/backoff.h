/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_BACKOFF_H
#define OUTBOX_BACKOFF_H

#include "conf_internal.h"

/* Microseconds to wait after the attempt-th failure: the application's backoff, or exponential with full jitter:
 * anywhere between 0 and min(backoff_max, backoff_min × 2^(attempt-1)). */
int64_t outbox_backoff__delay(const outbox_conf *conf, int attempt);

/* A random number in [0, bound]. */
int64_t outbox_backoff__random(int64_t bound);

#endif
