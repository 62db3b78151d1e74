/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics: relays with names, and the table from which the text, the JSON and the manual page come.
 *
 * Threads: one for each relay, from the first snapshot on, which counts what waits, on a connection that is its own, when
 * it is asked to. `lock` guards the list and what the sources say of their backlog; it is taken under no other lock;
 * those of a relay may be taken under it. */
#ifndef OUTBOX_METRICS_INTERNAL_H
#define OUTBOX_METRICS_INTERNAL_H

#include "backlog.h"
#include "buffer.h"
#include "relay_internal.h"

#include <outbox/metrics.h>

/* What the thread found out. */
struct outbox_metrics_backlog {
    int valid;              /* the last try succeeded */
    outbox_counts counts;
    int64_t blocked, exact;
    int64_t taken_at;       /* monotonic microseconds */
    uint64_t looks, failures;
};

struct outbox_metrics_source {
    outbox_metrics *metrics;
    char *name;
    outbox_relay *relay;
    struct outbox_signal signal; /* stop and pokes, for the thread */
    pthread_t thread;
    int started;
    int users;                   /* snapshots that read it */
    int asked;                   /* to count; taken back when that was tried */
    int64_t tried_at;            /* 0: never */
    struct outbox_metrics_backlog backlog;
};

struct outbox_metrics {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct outbox_metrics_source **sources;
    size_t count;
};

/* All that one relay's samples are made of, at one moment. */
struct outbox_metrics_values {
    struct outbox_metrics_source *source;
    const char *name;
    const char *publisher;
    outbox_relay_stats stats;
    struct outbox_relay_view view;
    struct outbox_metrics_backlog backlog;
    /* Made from the above. */
    int64_t lanes_free, backlog_age, database_up, publisher_up, kept, lanes_held;
};

enum outbox_metric_kind {
    METRIC_COUNT,     /* int64_t or uint64_t */
    METRIC_INT,       /* int */
    METRIC_TIME,      /* int64_t, microseconds; shown as seconds */
    METRIC_HISTOGRAM, /* struct outbox_histogram */
    METRIC_INFO       /* 1 */
};

/* A sample of each relay. Rows of one name follow each other; the first has type and help. */
struct outbox_metric {
    const char *name, *type, *unit;
    const char *label, *value; /* or NULL */
    enum outbox_metric_kind kind;
    int of_backlog;            /* left out when the database did not tell */
    size_t offset;             /* in struct outbox_metrics_values */
    const char *help;
};

extern const struct outbox_metric outbox_metrics__table[];
extern const size_t outbox_metrics__rows;

int outbox_metrics__text(const struct outbox_metrics_values *values, size_t count, char **text, outbox_error **err);
int outbox_metrics__json(const struct outbox_metrics_values *values, size_t count, char **text, outbox_error **err);

/* Escapes a label's value as the text format wants it. 0 when memory is out. */
int outbox_metrics__escape(struct outbox_buffer *to, const char *text);

#endif
