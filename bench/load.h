/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages handed to a publisher without a database: to measure a module alone.
 */
#ifndef OUTBOX_BENCH_LOAD_H
#define OUTBOX_BENCH_LOAD_H

#include <outbox/outbox.h>

#include <stddef.h>

struct load;

/* count messages to a topic, each with a payload of that size; keys: how many keys they share, 0: none has one. */
struct load *load_new(const char *topic, size_t count, size_t payload_size, size_t keys);
void load_free(struct load *p);
/* Record number i. */
const outbox_record *load_record(const struct load *p, size_t i);
/* Gives each message a new id. */
void load_renew(struct load *p);
/* Hands them to the publisher in deliveries of up to `batch`; returns how many were published, -1 after a failure,
 * which it prints. */
long load_publish(struct load *p, outbox_publisher *publisher, size_t batch);
/* A folder and a port for a server; and its end. */
struct broker;
void broker_begin(struct broker *b);
void broker_end(struct broker *b);
/* Seconds, monotonic. */
double load_clock(void);

/* Runs two ways of doing the same `rounds` times in turn, prints messages a second of each and their ratio (medians), and
 * returns the ratio of the first to the second. A way returns how many it sent. */
double load_compare(const char *name, int rounds, const char *one, long (*first)(void *), const char *other,
                      long (*second)(void *), void *arg);

#endif
