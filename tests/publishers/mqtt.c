/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for MQTT with a real Mosquitto, whose messages a client takes that is subscribed all the time. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>

static int start(struct broker *b)
{
    char command[200];

    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        snprintf(command, sizeof command, "cd %s && mosquitto_passwd -b -c passwords outbox pa:ss@word 2>passwd.log && "
                 "mosquitto_passwd -b passwords reader reader 2>>passwd.log", b->directory);
        if (broker_certificates(b) != 0 || system(command) != 0)
            return -1;
    }
    broker_write(b, "acl", "user outbox\ntopic deny refusing\ntopic readwrite #\nuser reader\ntopic readwrite #\n");
    /* (Without a limit, max_queued_messages 1000000, Mosquitto 2.0 closes the connection where it should refuse a message.) */
    broker_write(b, "conf",
                 "user root\npersistence false\nallow_anonymous false\npassword_file passwords\nacl_file acl\n"
                 "max_queued_messages 1000000\nmax_inflight_messages 1000\nmax_packet_size 100000\n"
                 "listener %d 127.0.0.1\n"
                 "listener %d 127.0.0.1\ncafile ca.pem\ncertfile server.pem\nkeyfile server.key\nrequire_certificate true\n",
                 b->port, b->tls_port);
    return broker_run(b, (const char *const[]){ "mosquitto", "-c", "conf", NULL });
}

/* ---- The consumer ---- */

struct kept {
    struct kept *next;
    char *topic, *payload;
    size_t size;
    mosquitto_property *properties;
};

static struct {
    pthread_mutex_t lock;
    struct mosquitto *client;
    struct kept *first, **end;
    int subscribed;
    long marker; /* the last that came back */
} reader = { .lock = PTHREAD_MUTEX_INITIALIZER, .end = &reader.first };

static void on_connect(struct mosquitto *client, void *arg, int reason, int flags, const mosquitto_property *properties)
{
    (void)arg, (void)flags, (void)properties;
    if (reason == 0)
        mosquitto_subscribe(client, NULL, "+", 1);
}

static void on_disconnect(struct mosquitto *client, void *arg, int reason, const mosquitto_property *properties)
{
    (void)client, (void)arg, (void)reason, (void)properties;
    pthread_mutex_lock(&reader.lock);
    reader.subscribed = 0;
    pthread_mutex_unlock(&reader.lock);
}

static void on_subscribe(struct mosquitto *client, void *arg, int id, int count, const int *qos,
                         const mosquitto_property *properties)
{
    (void)client, (void)arg, (void)id, (void)count, (void)qos, (void)properties;
    pthread_mutex_lock(&reader.lock);
    reader.subscribed = 1;
    pthread_mutex_unlock(&reader.lock);
}

static void on_message(struct mosquitto *client, void *arg, const struct mosquitto_message *m,
                       const mosquitto_property *properties)
{
    struct kept *k;

    (void)client, (void)arg;
    pthread_mutex_lock(&reader.lock);
    if (strcmp(m->topic, "marker") == 0) {
        reader.marker = atol(m->payload);
    } else if ((k = calloc(1, sizeof *k)) != NULL) {
        k->topic = strdup(m->topic);
        k->size = (size_t)m->payloadlen;
        k->payload = calloc(k->size + 1, 1);
        if (k->size > 0)
            memcpy(k->payload, m->payload, k->size);
        mosquitto_property_copy_all(&k->properties, properties);
        *reader.end = k;
        reader.end = &k->next;
    }
    pthread_mutex_unlock(&reader.lock);
}

static int is_subscribed(void)
{
    int subscribed;

    pthread_mutex_lock(&reader.lock);
    subscribed = reader.subscribed;
    pthread_mutex_unlock(&reader.lock);
    return subscribed;
}

static void reader_start(struct broker *b)
{
    mosquitto_lib_init();
    reader.client = mosquitto_new("reader", true, NULL);
    mosquitto_int_option(reader.client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(reader.client, MOSQ_OPT_RECEIVE_MAXIMUM, 10000);
    mosquitto_username_pw_set(reader.client, "reader", "reader");
    mosquitto_connect_v5_callback_set(reader.client, on_connect);
    mosquitto_disconnect_v5_callback_set(reader.client, on_disconnect);
    mosquitto_subscribe_v5_callback_set(reader.client, on_subscribe);
    mosquitto_message_v5_callback_set(reader.client, on_message);
    mosquitto_reconnect_delay_set(reader.client, 1, 1, false);
    mosquitto_connect_async(reader.client, "127.0.0.1", b->port, 60);
    mosquitto_loop_start(reader.client);
}

static int wait(struct broker *b)
{
    int there;

    if (broker_wait_port(b->port) != 0 || broker_wait_port(b->tls_port) != 0)
        return -1;
    if (reader.client == NULL)
        reader_start(b);
    WAIT_FOR(is_subscribed(), there);
    return there ? 0 : -1;
}

static void drop(const char *topic)
{
    struct kept **at, *k;

    pthread_mutex_lock(&reader.lock);
    for (at = &reader.first; (k = *at) != NULL;) {
        if (topic != NULL && strcmp(k->topic, topic) != 0) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        mosquitto_property_free_all(&k->properties);
        free(k->topic);
        free(k->payload);
        free(k);
    }
    reader.end = at;
    pthread_mutex_unlock(&reader.lock);
}

static int make(struct broker *b, const char *topic, int broken)
{
    (void)b, (void)broken; /* what is refused is in the ACL */
    drop(topic);
    return 0;
}

/* Whether everything has come that the broker has taken so far: a marker that was sent afterwards has. */
static int caught_up(void)
{
    static long marker;
    char text[24];
    int same, done;

    WAIT_FOR(is_subscribed(), done);
    if (!done)
        return 0;
    snprintf(text, sizeof text, "%ld", ++marker);
    mosquitto_publish(reader.client, NULL, "marker", (int)strlen(text), text, 1, false);
    WAIT_FOR((pthread_mutex_lock(&reader.lock), same = reader.marker == marker, pthread_mutex_unlock(&reader.lock), same) ||
             !is_subscribed(), done);
    return done;
}

static void hand_over(const struct kept *k, broker_take *take, void *user)
{
    struct taken taken = { .payload = k->payload, .size = k->size };
    char *texts[2 * TAKEN_METAS] = { NULL }, *name, *value;
    size_t count = 0;
    const mosquitto_property *p;

    if (mosquitto_property_read_string(k->properties, MQTT_PROP_CONTENT_TYPE, &texts[0], false) != NULL) {
        taken_add(&taken, "content-type", texts[0]);
        count++;
    }
    p = mosquitto_property_read_string_pair(k->properties, MQTT_PROP_USER_PROPERTY, &name, &value, false);
    while (p != NULL && count + 2 <= COUNT_OF(texts)) {
        taken_add(&taken, name, value);
        texts[count++] = name;
        texts[count++] = value;
        p = mosquitto_property_read_string_pair(p, MQTT_PROP_USER_PROPERTY, &name, &value, true);
    }
    take(user, &taken);
    while (count > 0)
        free(texts[--count]);
}

static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    const struct kept *k;
    long n = 0;

    (void)b;
    if (!caught_up())
        return -1;
    pthread_mutex_lock(&reader.lock);
    for (k = reader.first; k != NULL; k = k->next)
        if (strcmp(k->topic, topic) == 0) {
            hand_over(k, take, user);
            n++;
        }
    pthread_mutex_unlock(&reader.lock);
    return n;
}

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;
    char path[200];

    snprintf(text, size, "%s://outbox:%s@%s:%d", tls ? "mqtts" : "mqtt",
             way == BROKER_WRONG_PASSWORD ? "s3cr3t" : "pa%3Ass%40word",
             way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    if (!tls)
        return;
    snprintf(path, sizeof path, "%s/%s", b->directory, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    CHECK_INT(outbox_conf_set(conf, "mqtt.tls.ca_file", path, NULL), OUTBOX_OK);
    snprintf(path, sizeof path, "%s/client.pem", b->directory);
    CHECK_INT(outbox_conf_set(conf, "mqtt.tls.cert_file", path, NULL), OUTBOX_OK);
    snprintf(path, sizeof path, "%s/client.key", b->directory);
    CHECK_INT(outbox_conf_set(conf, "mqtt.tls.key_file", path, NULL), OUTBOX_OK);
}

/* ---- By the client library alone ---- */

/* libmosquitto's thread counts; `lock` guards. */
struct lone {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct mosquitto *client;
    size_t acked, refused;
    int connected;
};

static void note_connect(struct mosquitto *client, void *arg, int reason, int flags,
                         const mosquitto_property *properties)
{
    struct lone *lone = arg;

    (void)client, (void)flags, (void)properties;
    pthread_mutex_lock(&lone->lock);
    lone->connected = reason == 0;
    pthread_cond_signal(&lone->changed);
    pthread_mutex_unlock(&lone->lock);
}

static void note_ack(struct mosquitto *client, void *arg, int id, int reason, const mosquitto_property *properties)
{
    struct lone *lone = arg;

    (void)client, (void)id, (void)properties;
    pthread_mutex_lock(&lone->lock);
    lone->acked++;
    lone->refused += reason >= 128;
    pthread_cond_signal(&lone->changed);
    pthread_mutex_unlock(&lone->lock);
}

static int publish_alone(struct lone *lone, const char *topic, const outbox_record *r)
{
    const char *metas[TAKEN_METAS][2];
    size_t size, count = parcel_metas(r, metas);
    const void *payload = outbox_record_payload(r, &size);
    mosquitto_property *all = NULL;
    int rc;

    mosquitto_property_add_string(&all, MQTT_PROP_CONTENT_TYPE, outbox_record_content_type(r));
    for (size_t i = 0; i < count; i++)
        if (strcmp(metas[i][0], "content-type") != 0)
            mosquitto_property_add_string_pair(&all, MQTT_PROP_USER_PROPERTY, metas[i][0], metas[i][1]);
    rc = mosquitto_publish_v5(lone->client, NULL, topic, (int)size, payload, 1, false, all);
    mosquitto_property_free_all(&all);
    return rc == MOSQ_ERR_SUCCESS;
}

static int lone_connect(struct lone *lone, const struct broker *b, size_t window)
{
    lone->client = mosquitto_new(NULL, true, lone);
    mosquitto_int_option(lone->client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(lone->client, MOSQ_OPT_SEND_MAXIMUM, (int)window);
    mosquitto_int_option(lone->client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_username_pw_set(lone->client, "outbox", "pa:ss@word");
    mosquitto_connect_v5_callback_set(lone->client, note_connect);
    mosquitto_publish_v5_callback_set(lone->client, note_ack);
    if (mosquitto_connect(lone->client, "127.0.0.1", b->port, 60) != MOSQ_ERR_SUCCESS ||
        mosquitto_loop_start(lone->client) != MOSQ_ERR_SUCCESS)
        return 0;
    pthread_mutex_lock(&lone->lock);
    while (!lone->connected)
        pthread_cond_wait(&lone->changed, &lone->lock);
    pthread_mutex_unlock(&lone->lock);
    return 1;
}

static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    struct lone lone = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    int good = lone_connect(&lone, b, window);

    for (size_t i = 0; good && i < p->count; i++) {
        size_t behind = i + 1 == p->count ? p->count : i + 1 > window ? i + 1 - window : 0;

        good = publish_alone(&lone, topic, parcel_record(p, i));
        pthread_mutex_lock(&lone.lock);
        while (good && lone.acked < behind)
            pthread_cond_wait(&lone.changed, &lone.lock);
        pthread_mutex_unlock(&lone.lock);
    }
    mosquitto_disconnect(lone.client);
    mosquitto_loop_stop(lone.client, true);
    mosquitto_destroy(lone.client);
    return good && lone.refused == 0 ? 0 : -1;
}

/* ---- Its own ---- */

/* The reader is not subscribed to topics with a slash. */
static void test_unheard(struct broker *b)
{
    struct parcel p = {0};

    REQUIRE(parcel_make(&p, "un/heard", 0, 10, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 10);
    outbox_publisher_free(p.publisher);
    REQUIRE_INT(broker_open(&p, b, BROKER_PLAIN, "mqtt.no_subscribers", "retry"), 0);
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_RETRY), 10);
    CHECK(strstr(p.why, "(16)") != NULL, "%s", p.why);
    parcel_free(&p);
}

static void test_packet_size(struct broker *b)
{
    static char large[150000];
    struct parcel p = {0};

    REQUIRE_INT(make(b, "big", 0), 0);
    REQUIRE(parcel_make(&p, "big", 0, 10, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0, "not prepared");
    p.items[4].record.payload = large;
    p.items[4].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[4].fate, FATE_REJECT);
    CHECK(strstr(p.why, "maximum packet size") != NULL, "%s", p.why);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 9);
    parcel_free(&p);
}

static void test_topics(struct broker *b)
{
    static const char *const topics[] = { "$SYS/x", "$CONTROL/dynamic-security/v1", "a/#", "a/+/b" };
    struct parcel p = {0};

    REQUIRE(parcel_make(&p, "fine", 0, COUNT_OF(topics) + 1, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    for (size_t i = 0; i < COUNT_OF(topics); i++)
        p.items[i].record.topic = topics[i];
    CHECK_INT(parcel_send(&p, 0, p.count, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_REJECT), COUNT_OF(topics));
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 1);
    parcel_free(&p);
}

static void test_ack_timeout(struct broker *b)
{
    struct parcel p = {0};
    int sent;

    REQUIRE(parcel_make(&p, "silent", 0, 20, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "mqtt.ack_timeout", "200ms") == 0, "not prepared");
    WAIT_FOR((parcel_send(&p, 0, 10, 60000), parcel_count(&p, FATE_PUBLISHED) == 10), sent); /* a machine may be slow */
    CHECK(sent, "%s", p.why);
    broker_pause(b);
    CHECK_INT(parcel_send(&p, 10, 10, 60000), DELIVERY_DONE);
    broker_resume(b);
    CHECK_INT(parcel_count(&p, FATE_UNKNOWN), 10);
    CHECK(strstr(p.why, "mqtt.ack_timeout") != NULL, "%s", p.why);
    parcel_free(&p);
}

static const struct broker_test own[] = {
    { "nobody is subscribed", test_unheard },
    { "larger than the broker takes", test_packet_size },
    { "topics that mean something else", test_topics },
    { "no acknowledgement for too long", test_ack_timeout },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "mqtt",
    .program = "mosquitto",
    .flags = BROKER_TLS | BROKER_PASSWORD,
    .cloudevents = "",
    .limit = "mqtt.max_message",
    .window = "mqtt.window",
    .start = start,
    .wait = wait,
    .url = url,
    .make = make,
    .consume = consume,
    .baseline = baseline,
    .tests = own,
};

int main(int argc, char **argv)
{
    int status = broker_main(&kind, argc, argv);

    if (reader.client != NULL) {
        mosquitto_disconnect(reader.client);
        mosquitto_loop_stop(reader.client, true);
        mosquitto_destroy(reader.client);
    }
    drop(NULL);
    mosquitto_lib_cleanup();
    return status;
}
