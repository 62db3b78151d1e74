/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The MQTT module beside the smallest program that does the same on the same library: QoS 1, the same properties, as many
 * messages on their way, batches that are waited for.
 *
 *     bench/mqtt [messages] [rounds]
 */
#include "broker.h"
#include "load.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD 512
#define WINDOW 1000

struct world {
    struct broker server;
    outbox_publisher *publisher;
    struct load *load;
    size_t count, batch;
    struct mosquitto *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long acked, refused;
    int connected;
};

static long by_module(void *arg)
{
    struct world *w = arg;

    load_renew(w->load);
    return load_publish(w->load, w->publisher, w->batch);
}

static void on_connect(struct mosquitto *client, void *arg, int reason, int flags, const mosquitto_property *properties)
{
    struct world *w = arg;

    (void)client, (void)flags, (void)properties;
    pthread_mutex_lock(&w->lock);
    w->connected = reason == 0;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_puback(struct mosquitto *client, void *arg, int id, int reason, const mosquitto_property *properties)
{
    struct world *w = arg;

    (void)client, (void)id, (void)properties;
    pthread_mutex_lock(&w->lock);
    w->acked++;
    w->refused += reason >= 128;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static int send_one(struct world *w, const outbox_record *r)
{
    mosquitto_property *p = NULL;
    size_t size;
    const void *payload = outbox_record_payload(r, &size);
    int rc;

    mosquitto_property_add_string(&p, MQTT_PROP_CONTENT_TYPE, outbox_record_content_type(r));
    mosquitto_property_add_string_pair(&p, MQTT_PROP_USER_PROPERTY, "outbox-id", outbox_record_id(r));
    mosquitto_property_add_string_pair(&p, MQTT_PROP_USER_PROPERTY, "outbox-type", outbox_record_message_type(r));
    mosquitto_property_add_string_pair(&p, MQTT_PROP_USER_PROPERTY, "outbox-created-at", "2023-11-14T22:13:20.000000Z");
    mosquitto_property_add_string_pair(&p, MQTT_PROP_USER_PROPERTY, "outbox-token", "0:1");
    mosquitto_property_add_string_pair(&p, MQTT_PROP_USER_PROPERTY, "outbox-attempt", "1");
    rc = mosquitto_publish_v5(w->client, NULL, outbox_record_topic(r), (int)size, payload, 1, false, p);
    mosquitto_property_free_all(&p);
    return rc;
}

static long by_library(void *arg)
{
    struct world *w = arg;
    size_t from, i;

    load_renew(w->load);
    w->acked = w->refused = 0;
    for (from = 0; from < w->count; from += w->batch) {
        size_t to = from + w->batch < w->count ? from + w->batch : w->count;

        for (i = from; i < to; i++)
            if (send_one(w, load_record(w->load, i)) != MOSQ_ERR_SUCCESS)
                return -1;
        pthread_mutex_lock(&w->lock);
        while (w->acked < (long)to)
            pthread_cond_wait(&w->changed, &w->lock);
        pthread_mutex_unlock(&w->lock);
    }
    return w->refused == 0 ? w->acked : -1;
}

static int prepare(struct world *w)
{
    char url[64];

    mosquitto_lib_init();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->client = mosquitto_new(NULL, true, w);
    mosquitto_int_option(w->client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(w->client, MOSQ_OPT_SEND_MAXIMUM, WINDOW);
    mosquitto_int_option(w->client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_v5_callback_set(w->client, on_connect);
    mosquitto_publish_v5_callback_set(w->client, on_puback);
    if (mosquitto_connect(w->client, "127.0.0.1", w->server.port, 60) != MOSQ_ERR_SUCCESS ||
        mosquitto_loop_start(w->client) != MOSQ_ERR_SUCCESS)
        return -1;
    pthread_mutex_lock(&w->lock);
    while (!w->connected)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    snprintf(url, sizeof(url), "mqtt://127.0.0.1:%d", w->server.port);
    return outbox_publisher_open(url, NULL, &w->publisher, NULL);
}

int main(int argc, char **argv)
{
    struct world w = { .count = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000 };
    int rounds = argc > 2 ? atoi(argv[2]) : 5;

    broker_begin(&w.server);
    broker_write(&w.server, "conf",
                 "user root\npersistence false\nallow_anonymous true\nmax_inflight_messages %d\nlistener %d 127.0.0.1\n", WINDOW,
                 w.server.port);
    if (broker_run(&w.server, (const char *const[]){ "mosquitto", "-c", "conf", NULL }) != 0 ||
        broker_wait_port(w.server.port) != 0 || prepare(&w) != 0) {
        fprintf(stderr, "Mosquitto cannot be prepared\n");
        broker_end(&w.server);
        return 1;
    }
    w.load = load_new("bench/orders", w.count, PAYLOAD, 0);
    for (w.batch = 1000; w.batch >= 100; w.batch /= 10)
        load_compare(w.batch == 1000 ? "mqtt, batches of 1000" : "mqtt, batches of 100", rounds, "module", by_module,
                     "libmosquitto", by_library, &w);
    outbox_publisher_free(w.publisher);
    mosquitto_disconnect(w.client);
    mosquitto_loop_stop(w.client, true);
    mosquitto_destroy(w.client);
    load_free(w.load);
    broker_end(&w.server);
    return 0;
}
