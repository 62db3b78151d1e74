/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The NATS module beside the smallest program that does the same on the same library: JetStream, asynchronous publishing
 * with an acknowledgement a message, `Nats-Msg-Id` and the same headers.
 *
 *     bench/nats [messages] [rounds]
 */
#include "broker.h"
#include "load.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD 512

struct world {
    struct broker server;
    outbox_publisher *publisher;
    struct load *load;
    size_t count, batch;
    natsConnection *nc;
    jsCtx *js;
    long acked, failed;
};

static long by_module(void *arg)
{
    struct world *w = arg;

    load_renew(w->load);
    return load_publish(w->load, w->publisher, w->batch);
}

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure)
{
    struct world *w = closure;

    (void)js;
    w->acked += pa != NULL;
    w->failed += pae != NULL;
    natsMsg_Destroy(msg);
}

/* The same batches: each is waited for, as a delivery is. */
static long by_library(void *arg)
{
    struct world *w = arg;
    size_t from, i;

    load_renew(w->load);
    w->acked = w->failed = 0;
    for (from = 0; from < w->count; from += w->batch) {
        for (i = from; i < w->count && i < from + w->batch; i++) {
            const outbox_record *r = load_record(w->load, i);
            size_t size;
            const void *payload = outbox_record_payload(r, &size);
            natsMsg *m = NULL;

            if (natsMsg_Create(&m, outbox_record_topic(r), NULL, payload, (int)size) != NATS_OK ||
                natsMsgHeader_Set(m, "Nats-Msg-Id", outbox_record_id(r)) != NATS_OK ||
                natsMsgHeader_Set(m, "outbox-id", outbox_record_id(r)) != NATS_OK ||
                natsMsgHeader_Set(m, "content-type", outbox_record_content_type(r)) != NATS_OK ||
                natsMsgHeader_Set(m, "outbox-type", outbox_record_message_type(r)) != NATS_OK ||
                natsMsgHeader_Set(m, "outbox-created-at", "2023-11-14T22:13:20.000000Z") != NATS_OK ||
                natsMsgHeader_Set(m, "outbox-token", "0:1") != NATS_OK ||
                natsMsgHeader_Set(m, "outbox-attempt", "1") != NATS_OK || js_PublishMsgAsync(w->js, &m, NULL) != NATS_OK)
                return -1;
        }
        if (js_PublishAsyncComplete(w->js, NULL) != NATS_OK)
            return -1;
    }
    return w->failed == 0 ? w->acked : -1;
}

static int prepare(struct world *w)
{
    jsStreamConfig stream;
    const char *subjects[] = { "bench.>" };
    jsOptions options;
    char url[64];

    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", w->server.port);
    jsStreamConfig_Init(&stream);
    stream.Name = "BENCH";
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    jsOptions_Init(&options);
    options.PublishAsync.AckHandler = on_ack;
    options.PublishAsync.AckHandlerClosure = w;
    if (natsConnection_ConnectTo(&w->nc, url) != NATS_OK || natsConnection_JetStream(&w->js, w->nc, &options) != NATS_OK ||
        js_AddStream(NULL, w->js, &stream, NULL, NULL) != NATS_OK)
        return -1;
    return outbox_publisher_open(url, NULL, &w->publisher, NULL);
}

int main(int argc, char **argv)
{
    struct world w = { .count = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000, .batch = 1000 };
    int rounds = argc > 2 ? atoi(argv[2]) : 5;

    broker_begin(&w.server);
    broker_write(&w.server, "conf", "listen: \"127.0.0.1:%d\"\njetstream { store_dir: \"store\" }\n", w.server.port);
    if (broker_run(&w.server, (const char *const[]){ "nats-server", "-c", "conf", NULL }) != 0 ||
        broker_wait_port(w.server.port) != 0 || prepare(&w) != 0) {
        fprintf(stderr, "NATS cannot be prepared\n");
        broker_end(&w.server);
        return 1;
    }
    w.load = load_new("bench.orders", w.count, PAYLOAD, 0);
    load_compare("nats, batches of 1000", rounds, "module", by_module, "libnats", by_library, &w);
    w.batch = 100;
    load_compare("nats, batches of 100", rounds, "module", by_module, "libnats", by_library, &w);
    outbox_publisher_free(w.publisher);
    jsCtx_Destroy(w.js);
    natsConnection_Destroy(w.nc);
    load_free(w.load);
    broker_end(&w.server);
    return 0;
}
