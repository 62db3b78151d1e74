/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_CLEAN_H
#define OUTBOX_CLEAN_H

#include "conn_internal.h"
#include "thread.h"

/* Microseconds; CONF_FOREVER: never. */
struct outbox_clean_limits {
    int64_t batch, retention, dead_retention, dedup;
};

void outbox_clean__limits(const outbox_conf *conf, struct outbox_clean_limits *limits);

/* What a cleaner's thread did so far. */
struct outbox_cleaner_progress {
    uint64_t passes, failures;
    int64_t last_pass; /* the end of the last that did not fail, microseconds since 1970; 0: none */
};
void outbox_cleaner__progress(outbox_cleaner *cleaner, struct outbox_cleaner_progress *progress);

/* One pass; ends early when the signal (may be NULL) says stop. OUTBOX_NONE: another cleaner is at work. */
int outbox_clean__pass(outbox_conn *conn, const struct outbox_clean_limits *limits, struct outbox_signal *signal,
                       int64_t *removed, outbox_error **err);

/* Removes deferred messages of one lane in a transaction, and lets those go that waited behind them. They were found
 * without its lock: the statement says again, with what args has, which of them it is for. keys: the key_hash of each,
 * stride numbers apart. audit: the entry that this belongs to, or NULL. removed: how many they were is added.
 *
 * Whether dead messages block is the relays' business, and this connection's settings may say otherwise. So what waits
 * is let go as if they did not, which is right for both: where they do, a relay that meets a message behind a dead one
 * holds it again before it reads on, as it does with any due one (park() in read.c), and what comes after it of its key
 * is held meanwhile. The other way round a message could be left behind a dead one that no relay counts as a head, and
 * nobody would look at it again. */
int outbox_conn__remove_deferred(outbox_conn *conn, enum outbox_query query, const struct outbox_args *args, int lane,
                                 const int64_t *seqs, const int64_t *keys, size_t stride, size_t n, const char *audit,
                                 int64_t *removed, outbox_error **err);

/* In the transaction that changes messages: n more for an entry of the audit. */
int outbox_conn__audit_add(outbox_conn *conn, const char *audit, int64_t n, outbox_error **err);

#endif
