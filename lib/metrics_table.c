/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every metric, once: the text, the JSON and outbox_metrics(7) come from here. */
#include "metrics_internal.h"

#include <string.h>

#define AT(member) offsetof(struct outbox_metrics_values, member)
#define COUNTER(name, member, help) { name, "counter", "", NULL, NULL, METRIC_COUNT, 0, AT(member), help }
#define GAUGE(name, kind, member, help) { name, "gauge", "", NULL, NULL, kind, 0, AT(member), help }
#define BACKLOG(name, unit, kind, member, help) { name, "gauge", unit, NULL, NULL, kind, 1, AT(member), help }
#define BY_STATE(state, number, help)                                                                                   \
    { "outbox_messages", "gauge", "", "state", state, METRIC_COUNT, 1,                                                  \
      AT(backlog.counts.by_state) + number * sizeof(int64_t), help }
#define LANES(state, member, help) { "outbox_lanes", "gauge", "", "state", state, METRIC_COUNT, 1, AT(member), help }

const struct outbox_metric outbox_metrics__table[] = {
    { "outbox_info", "gauge", "", "version,publisher", NULL, METRIC_INFO, 0, 0,
      "Always 1: the library's version and where messages go." },
    GAUGE("outbox_relay_up", METRIC_INT, view.up, "1 when the relay was started and has not stopped."),
    GAUGE("outbox_relay_workers", METRIC_INT, view.workers, "Workers of this relay."),
    GAUGE("outbox_relay_workers_stuck", METRIC_INT, view.stuck,
          "Workers whose publisher's call does not return: only a restart of the process ends it."),
    GAUGE("outbox_relay_lanes_held", METRIC_INT, view.lanes_held, "Lanes that this relay has leased now."),

    BY_STATE("pending", OUTBOX_PENDING,
             "Messages that wait, by state: counted up to a number of rows, estimated beyond it. The relays of "
             "one outbox "
             "all tell the same: take the maximum, not the sum."),
    BY_STATE("scheduled", OUTBOX_SCHEDULED, NULL),
    BY_STATE("retry", OUTBOX_RETRYING, NULL),
    BY_STATE("held", OUTBOX_HELD, NULL),
    BY_STATE("dead", OUTBOX_DEAD, NULL),
    BACKLOG("outbox_oldest_pending_age_seconds", "seconds", METRIC_TIME, backlog.counts.oldest_pending_us,
            "Age of the oldest pending message; 0 without one."),
    BACKLOG("outbox_keys_blocked", "", METRIC_COUNT, backlog.blocked,
            "Keys of which messages are held behind one that waits or is dead."),
    LANES("held", lanes_held, "Lanes of the outbox, by whether any relay has leased them."),
    LANES("free", lanes_free, NULL),
    BACKLOG("outbox_backlog_exact", "", METRIC_COUNT, backlog.exact,
            "1 when the messages that wait were all counted, 0 when they were estimated."),
    BACKLOG("outbox_backlog_age_seconds", "seconds", METRIC_TIME, backlog_age,
            "How long ago what waits was counted."),
    COUNTER("outbox_backlog_looks_total", backlog.looks, "Times that what waits was counted."),
    COUNTER("outbox_backlog_failures_total", backlog.failures,
            "Times that it could not be, for an error of the database."),

    COUNTER("outbox_lanes_claimed_total", stats.claims, "Lanes leased."),
    COUNTER("outbox_lease_expiries_total", stats.suspect,
            "Lanes taken over after their lease had ended, as their owner crashed or hung."),
    COUNTER("outbox_messages_claimed_total", stats.messages, "Messages read from leased lanes, to be published."),
    COUNTER("outbox_messages_published_total", stats.published, "Messages published and noted in the database."),
    { "outbox_published_bytes_total", "counter", "bytes", NULL, NULL, METRIC_COUNT, 0, AT(stats.bytes),
      "Payload bytes of the messages published." },
    COUNTER("outbox_messages_retried_total", stats.failed, "Deliveries that failed and are tried again."),
    COUNTER("outbox_messages_rejected_total", stats.rejected,
            "Messages that the publisher said can never be delivered; they are among the dead."),
    COUNTER("outbox_messages_dead_total", stats.dead, "Messages given up."),
    COUNTER("outbox_messages_held_total", stats.held, "Messages set aside behind an earlier one of their key."),
    COUNTER("outbox_batches_total", stats.batches, "Batches settled."),
    COUNTER("outbox_batches_fenced_total", stats.fenced, "Batches dropped because the lease was lost."),
    { "outbox_publish_duration_seconds", "histogram", "seconds", NULL, NULL, METRIC_HISTOGRAM, 0, AT(view.publish_time),
      "How long the publisher took to answer what it was handed at once." },
    { "outbox_end_to_end_latency_seconds", "histogram", "seconds", NULL, NULL, METRIC_HISTOGRAM, 0, AT(view.latency),
      "From a message's insert, by the database's clock, until it was published and settled." },

    COUNTER("outbox_wakeups_total", stats.wakeups, "Hints that there is work."),
    COUNTER("outbox_polls_total", stats.looks, "Claims without a hint, by polling."),
    COUNTER("outbox_claims_empty_total", stats.polls, "Claims that found nothing."),
    GAUGE("outbox_wake_state", METRIC_COUNT, stats.wake_state,
          "Whether wake-ups reach the relay: 0 no source, 1 down, 2 up."),

    GAUGE("outbox_database_up", METRIC_COUNT, database_up,
          "1 when the relay runs and none of its threads is in trouble with the database."),
    COUNTER("outbox_database_errors_total", stats.db_errors,
            "Errors of the database, after each of which the relay went on."),
    GAUGE("outbox_publisher_up", METRIC_COUNT, publisher_up,
          "0 while the broker is taken for down, or the publisher owes too many answers."),
    COUNTER("outbox_publisher_outages_total", stats.outages, "Times that the broker was taken for down."),
    COUNTER("outbox_publisher_probes_total", stats.probes,
            "Messages tried, one at a time, to find out whether it is back."),
    COUNTER("outbox_publisher_splits_total", stats.splits,
            "Deliveries sent again in halves: the publisher failed and did not say on what."),
    GAUGE("outbox_publisher_unanswered_deliveries", METRIC_COUNT, kept,
          "Deliveries given up that the publisher has not answered yet."),

    COUNTER("outbox_cleaner_rows_removed_total", stats.cleaned, "Rows that this relay's cleaner removed."),
    COUNTER("outbox_cleaner_passes_total", view.cleaner.passes,
            "Passes of the cleaner, also those left to another relay's."),
    COUNTER("outbox_cleaner_failures_total", view.cleaner.failures, "Passes of the cleaner that failed."),
    { "outbox_cleaner_last_pass_timestamp_seconds", "gauge", "seconds", NULL, NULL, METRIC_TIME, 0,
      AT(view.cleaner.last_pass), "When the cleaner's last pass ended that did not fail, since 1970; 0 before the first." },
};
const size_t outbox_metrics__rows = sizeof(outbox_metrics__table) / sizeof(outbox_metrics__table[0]);

int outbox_metric_describe(size_t index, outbox_metric_info *info)
{
    size_t i, size = info != NULL ? info->size : 0;
    outbox_metric_info known = { .size = size };

    if (size < sizeof(size_t) || size > sizeof(known))
        return OUTBOX_ERR_INVALID;
    for (i = 0; i < outbox_metrics__rows; i++) {
        const struct outbox_metric *row = &outbox_metrics__table[i];

        if (row->help == NULL || index-- != 0)
            continue;
        known.name = row->name;
        known.type = row->type;
        known.unit = row->unit;
        known.label = row->label != NULL ? row->label : "";
        known.help = row->help;
        memcpy(info, &known, size);
        return OUTBOX_OK;
    }
    return OUTBOX_NONE;
}
