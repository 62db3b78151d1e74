/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages handed to a publisher without a database: to measure a module alone.
 */
#ifndef OUTBOX_BENCH_PARCEL_H
#define OUTBOX_BENCH_PARCEL_H

#include <outbox/outbox.h>

#include <stddef.h>

struct parcel;

/* count messages to a topic, each with a payload of that size; keys: how many keys they share, 0: none has one. */
struct parcel *parcel_new(const char *topic, size_t count, size_t payload_size, size_t keys);
void parcel_free(struct parcel *p);
/* Record number i. */
const outbox_record *parcel_record(const struct parcel *p, size_t i);
/* Gives each message a new id. */
void parcel_renew(struct parcel *p);
/* Hands them to the publisher in deliveries of up to `batch`; returns how many were published, -1 after a failure,
 * which it prints. */
long parcel_publish(struct parcel *p, outbox_publisher *publisher, size_t batch);
/* Seconds, monotonic. */
double parcel_clock(void);

/* Runs two ways of doing the same `rounds` times in turn, prints messages a second of each and their ratio (medians), and
 * returns the ratio of the first to the second. A way returns how many it sent. */
double parcel_compare(const char *name, int rounds, const char *one, long (*first)(void *), const char *other,
                      long (*second)(void *), void *arg);

#endif
