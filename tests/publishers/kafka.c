/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for Kafka with librdkafka's mock of a cluster in a process of its own, and socat for TLS, read back by a
 * consumer. */
#include "broker.h"
#include "kafka.h"

static const struct broker_kind kind = {
    .name = "kafka",
    .program = "socat",
    .flags = BROKER_TLS | BROKER_TOLD_NAMES,
    .cloudevents = "ce_",
    .limit = "kafka.max_message",
    .whole = 1,
    .start = kafka_start,
    .wait = kafka_wait,
    .url = kafka_url,
    .make = kafka_make,
    .consume = kafka_consume,
    .baseline = kafka_baseline,
    .tests = kafka_verdicts,
    .later = kafka_faults,
};

int main(int argc, char **argv)
{
#ifdef __SANITIZE_THREAD__
    /* It crashes in the first thread that it did not see being made. */
    (void)argc;
    (void)argv;
    (void)kind;
    return tap_skip_all("librdkafka makes its threads by thrd_create(), which ThreadSanitizer does not know");
#else
    return broker_main(&kind, argc, argv);
#endif
}
