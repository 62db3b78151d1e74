/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The publisher for Kafka beside a minimal program on librdkafka, with the same window, payload, key and durability.
 * Run by tests/with-kafka.
 *
 *     OUTBOX_BENCH_ROWS   messages a run (100000)
 */
#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "lib-test.h"
#include "publish.h"

enum { ROUNDS = 5, SIZE = 512 };

struct world {
    struct load load;
    outbox_publisher *publisher;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    size_t delivered;
};

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct world *w = opaque;

    (void)rk;
    w->delivered += m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static int open_alone(struct world *w, const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[300];

    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why));
    rd_kafka_conf_set(conf, "enable.idempotence", "true", why, sizeof(why));
    rd_kafka_conf_set(conf, "partitioner", "murmur2_random", why, sizeof(why));
    rd_kafka_conf_set(conf, "socket.nagle.disable", "true", why, sizeof(why));
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_opaque(conf, w);
    w->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    w->topic = w->rk != NULL ? rd_kafka_topic_new(w->rk, w->load.topic, NULL) : NULL;
    return w->topic != NULL;
}

/* The same headers that the module sends. */
static rd_kafka_headers_t *headers(const char *id)
{
    rd_kafka_headers_t *h = rd_kafka_headers_new(4);

    rd_kafka_header_add(h, "outbox-id", -1, id, -1);
    rd_kafka_header_add(h, "outbox-created-at", -1, "2023-11-14T22:13:20.000000Z", -1);
    rd_kafka_header_add(h, "outbox-token", -1, "0:0", -1);
    rd_kafka_header_add(h, "outbox-attempt", -1, "1", -1);
    return h;
}

static double run_alone(void *ctx)
{
    struct world *w = ctx;
    int64_t start = monotonic_us();

    w->delivered = 0;
    for (size_t done = 0; done < w->load.count; done += w->load.window) {
        for (size_t i = done; i < done + w->load.window && i < w->load.count; i++) {
            char key[24], id[60];

            snprintf(key, sizeof(key), "%zu", i);
            snprintf(id, sizeof(id), "01890a5d-ac96-774b-bcce-%012zx", i);
            rd_kafka_producev(w->rk, RD_KAFKA_V_RKT(w->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_KEY(key, strlen(key)),
                              RD_KAFKA_V_VALUE((void *)w->load.payload, w->load.payload_size),
                              RD_KAFKA_V_HEADERS(headers(id)), RD_KAFKA_V_END);
            rd_kafka_poll(w->rk, 0);
        }
        rd_kafka_flush(w->rk, 60000);
    }
    return w->delivered == w->load.count ? (double)w->load.count * 1e6 / (double)(monotonic_us() - start) : 0;
}

static double run_ours(void *ctx)
{
    struct world *w = ctx;

    return publish_rate(w->publisher, &w->load);
}

int main(void)
{
    static const size_t windows[] = { 100, 1000, 10000 };
    const char *brokers = getenv("OUTBOX_TEST_KAFKA");
    char payload[SIZE], url[300], what[60];
    struct world w = { .load = { "bench", payload, SIZE, (size_t)env_number("OUTBOX_BENCH_ROWS", 100000), 0 } };

    if (brokers == NULL) {
        fprintf(stderr, "run it by tests/with-kafka\n");
        return 2;
    }
    memset(payload, 'x', SIZE);
    snprintf(url, sizeof(url), "kafka://%s", brokers);
    w.publisher = open_publisher(url, NULL);
    if (w.publisher == NULL || !open_alone(&w, brokers))
        return 1;
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        w.load.window = windows[i];
        snprintf(what, sizeof(what), "kafka, %zu at a time", windows[i]);
        compare(what, ROUNDS, run_ours, run_alone, &w);
    }
    rd_kafka_topic_destroy(w.topic);
    rd_kafka_destroy(w.rk);
    outbox_publisher_free(w.publisher);
    return 0;
}
