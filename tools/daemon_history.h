/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the outboxes went over the last minutes: throughput, latency and what waited, at fixed intervals.
 *
 * Threads: one, which takes a snapshot of the metrics now and then, as long as somebody has asked in the last while; so
 * nobody who does not look has his database asked. `lock` guards all of it. */
#ifndef OUTBOX_TOOLS_DAEMON_HISTORY_H
#define OUTBOX_TOOLS_DAEMON_HISTORY_H

#include <outbox/outbox.h>

#include <jansson.h>

struct daemon_history;

/* NULL: out of memory, or no thread. */
struct daemon_history *daemon_history_start(outbox_metrics *metrics);
void daemon_history_stop(struct daemon_history *history); /* NULL is none */

/* {"interval_ms", "points_max", "points": [{"time_ms", "published", "retried", "dead", "p50_ms", "p95_ms",
 * "waiting"}]}: rates a second; oldest first, those after a time. NULL: out of memory. */
json_t *daemon_history_get(struct daemon_history *history, const char *outbox, json_int_t since);

#endif
