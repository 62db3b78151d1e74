/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A Kafka cluster for tests: three brokers in one process (kafka_mock.c), and a consumer.
 */
#ifndef OUTBOX_TESTS_PUBLISHERS_KAFKA_H
#define OUTBOX_TESTS_PUBLISHERS_KAFKA_H

#include "broker.h"

/* Slots of struct broker_kind. */
int kafka_start(struct broker *b);
int kafka_wait(struct broker *b);
void kafka_url(struct broker *b, enum broker_way way, char *url, size_t size, outbox_conf *conf);
int kafka_make(struct broker *b, const char *topic, int broken);
long kafka_consume(struct broker *b, const char *topic, broker_take *take, void *user);
/* The same, until take sets *enough. */
long kafka_consume_until(struct broker *b, const char *topic, broker_take *take, void *user, const int *enough);

/* Tells the cluster what to do (kafka_mock.c says what it can). 0, or -1 after a failed check. */
TAP_PRINTF(2) int kafka_tell(struct broker *b, const char *format, ...);
/* A consumer that soon says that there is no more; NULL after a failed check. */
struct rd_kafka_s *kafka_consumer(void);
int kafka_baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window);

/* What only Kafka can, and what of that takes long (kafka_faults.c). */
extern const struct broker_test kafka_verdicts[], kafka_faults[];

#endif
