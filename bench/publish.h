/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A publisher without a database: hands it deliveries of messages that are made here, and measures how fast they are
 * answered.
 */
#ifndef OUTBOX_BENCH_PUBLISH_H
#define OUTBOX_BENCH_PUBLISH_H

#include <outbox/outbox.h>

#include <stddef.h>

/* What to publish: `count` messages to a topic, in deliveries of `window`, with that payload. */
struct load {
    const char *topic;
    const char *payload;
    size_t payload_size, count, window;
};

/* Opens; NULL with a line on stderr. settings: key, value, …, NULL. */
outbox_publisher *open_publisher(const char *url, const char *const *settings);

/* Messages a second; 0 when not all were published, with a line on stderr. */
double publish_rate(outbox_publisher *publisher, const struct load *load);

/* Runs both in turn, `rounds` times, and prints the medians and their ratio. Returns it. Each run returns a rate. */
double compare(const char *what, int rounds, double (*ours)(void *), double (*theirs)(void *), void *ctx);

#endif
