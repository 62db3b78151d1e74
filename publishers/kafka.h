/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two halves of the module for Kafka share: sending (kafka.c) and settings (kafka_conf.c). */
#ifndef OUTBOX_PUBLISHERS_KAFKA_H
#define OUTBOX_PUBLISHERS_KAFKA_H

#include <outbox/error.h>
#include <outbox/sys/publisher.h>

#include <librdkafka/rdkafka.h>

#define KAFKA_WHY 512

extern const outbox_setting kafka_settings[];

/* Sets all that a producer needs but callbacks. Returns OUTBOX_OK, OUTBOX_ERR_CONF, OUTBOX_ERR_NOMEM. */
int kafka_configure(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err);

#endif
