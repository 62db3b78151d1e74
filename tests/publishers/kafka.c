/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for Kafka with librdkafka's mock of a cluster in a process of its own, read back by a consumer. */
#include "broker.h"
#include "kafka.h"

static const struct broker_kind kind = {
    .name = "kafka",
    .cloudevents = "ce_",
    .limit = "kafka.max_message",
    .start = kafka_start,
    .wait = kafka_wait,
    .url = kafka_url,
    .make = kafka_make,
    .consume = kafka_consume,
    .baseline = kafka_baseline,
    .tests = kafka_faults,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
