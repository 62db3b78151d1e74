/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MQTT 5: "mqtt://HOST" and "mqtts://HOST", by libmosquitto. A loadable module.
 *
 * Messages go with QoS 1, and the PUBACK is the acknowledgement: the broker has taken the message. Whether it has written
 * it anywhere, and whether anybody gets it, is the broker's business; Mosquitto says PUBACK before it writes.
 *
 * Order: the flag OUTBOX_PUBLISHER_IN_ORDER is set, and of one key one message is on its way. MQTT keeps the order of a
 * topic on a connection, but a broker that refuses a message (by its reason code) goes on with the next.
 *
 * libmosquitto would send again whatever has no PUBACK when it connects anew. It never does here: one link is one client
 * and one connection, and both end together. What was on its way is OUTBOX_UNKNOWN then; the relay sends it again.
 *
 * Threads: publish() runs the client itself, without a thread of libmosquitto's; cancel() wakes it by a pipe. A link
 * that waits for work does nothing, and asks for no keepalive. */
#include "flight.h"
#include "mqtt_tls.h"
#include "resolve.h"

#include <outbox/sys/publisher.h>

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 1000
#define CONNECT_MS 5
/* PUBACKs are looked at after so many messages, so that none waits for all to be sent. */
#define BURST 32
/* Packet identifiers have 16 bits. */
#define IDS 65536

struct publisher {
    const outbox_target *target;
    struct outbox_pool pool;
    size_t window;
    int64_t ack_ms, connect_ms, max_message;
    int retry_unheard;     /* no subscribers: try again */
    atomic_uint endpoint;  /* which to try next */
};

struct link {
    struct outbox_link base;
    struct mosquitto *client;
    SSL_CTX *tls;
    outbox_envelope *envelope;
    struct call *call;     /* whose thread is in libmosquitto */
    int wake[2];           /* a pipe */
    int connected, refused;
    uint32_t index[IDS];   /* by packet identifier: the index plus 1; 0: none */
};

/* A call of publish(). */
struct call {
    struct outbox_flight flight;
    struct publisher *p;
    struct link *link;
    int64_t moved_ms; /* when the last PUBACK came */
    char why[400];
};

/* ---- What libmosquitto tells, on the thread in publish() ---- */

static void on_connect(struct mosquitto *client, void *arg, int reason, int flags, const mosquitto_property *properties)
{
    struct link *link = arg;

    (void)client, (void)flags, (void)properties;
    link->connected = reason == 0;
    link->refused = reason != 0;
    if (reason != 0 && link->call != NULL)
        snprintf(link->call->why, sizeof(link->call->why), "%s", mosquitto_reason_string(reason));
}

static void on_disconnect(struct mosquitto *client, void *arg, int reason, const mosquitto_property *properties)
{
    struct link *link = arg;

    (void)client, (void)properties;
    link->connected = 0;
    if (reason != 0 && link->call != NULL && link->call->why[0] == '\0')
        snprintf(link->call->why, sizeof(link->call->why), "%s",
                 reason < 128 ? mosquitto_strerror(reason) : mosquitto_reason_string(reason));
}

static outbox_verdict verdict_of(const struct publisher *p, int reason)
{
    switch (reason) {
    case MQTT_RC_SUCCESS:
        return OUTBOX_PUBLISHED;
    case MQTT_RC_NO_MATCHING_SUBSCRIBERS:
        return p->retry_unheard ? OUTBOX_RETRY : OUTBOX_PUBLISHED;
    case MQTT_RC_NOT_AUTHORIZED:
    case MQTT_RC_TOPIC_NAME_INVALID:
    case MQTT_RC_PACKET_TOO_LARGE:
    case MQTT_RC_PAYLOAD_FORMAT_INVALID:
        return OUTBOX_REJECT;
    default:
        return OUTBOX_RETRY;
    }
}

static void on_puback(struct mosquitto *client, void *arg, int id, int reason, const mosquitto_property *properties)
{
    struct link *link = arg;
    struct call *c = link->call;
    size_t index = id > 0 && id < IDS ? link->index[id] : 0;
    char *said = NULL, why[400];

    (void)client;
    if (c == NULL || index-- == 0)
        return;
    link->index[id] = 0;
    c->moved_ms = outbox_flight__now_ms();
    if (reason == 0) {
        outbox_flight__answer(&c->flight, index, OUTBOX_PUBLISHED, -1, NULL);
        return;
    }
    mosquitto_property_read_string(properties, MQTT_PROP_REASON_STRING, &said, false);
    snprintf(why, sizeof(why), "the broker refused it: %s (%d)%s%.200s", mosquitto_reason_string(reason), reason,
             said != NULL ? ": " : "", said != NULL ? said : "");
    outbox_flight__clean(why);
    free(said);
    outbox_flight__answer(&c->flight, index, verdict_of(c->p, reason), -1, why);
}

/* ---- Links ---- */

static void link_free(struct link *link)
{
    if (link == NULL)
        return;
    link->call = NULL;
    if (link->client != NULL) {
        if (link->connected)
            mosquitto_disconnect(link->client);
        mosquitto_destroy(link->client);
    }
    SSL_CTX_free(link->tls);
    outbox_envelope_free(link->envelope);
    if (link->wake[0] >= 0)
        close(link->wake[0]);
    if (link->wake[1] >= 0)
        close(link->wake[1]);
    free(link);
}

static int set_client(struct call *c, struct link *link, const char *host)
{
    const outbox_target *target = c->p->target;
    const char *user = outbox_target_secret(target, "user");
    struct mosquitto *client = link->client;

    mosquitto_connect_v5_callback_set(client, on_connect);
    mosquitto_disconnect_v5_callback_set(client, on_disconnect);
    mosquitto_publish_v5_callback_set(client, on_puback);
    if (mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) != MOSQ_ERR_SUCCESS ||
        mosquitto_int_option(client, MOSQ_OPT_SEND_MAXIMUM, (int)c->p->window) != MOSQ_ERR_SUCCESS ||
        mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1) != MOSQ_ERR_SUCCESS)
        return 0;
    if (user != NULL && mosquitto_username_pw_set(client, user, outbox_target_secret(target, "password")) != MOSQ_ERR_SUCCESS)
        return 0;
    if (!outbox_target_is(target, "mqtts"))
        return 1;
    link->tls = mqtt_tls_new(target, host);
    return link->tls != NULL && mosquitto_int_option(client, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) == MOSQ_ERR_SUCCESS &&
           mosquitto_void_option(client, MOSQ_OPT_SSL_CTX, link->tls) == MOSQ_ERR_SUCCESS;
}

/* What libmosquitto says of a failure; it says too little of TLS. */
static void say(struct call *c, int rc)
{
    unsigned long tls = ERR_peek_last_error();
    const char *detail = rc == MOSQ_ERR_ERRNO ? strerror(errno) : tls != 0 ? ERR_reason_error_string(tls) : NULL;

    if (c->why[0] == '\0')
        snprintf(c->why, sizeof(c->why), "%s%s%s", mosquitto_strerror(rc), detail != NULL ? ": " : "",
                 detail != NULL ? detail : "");
    ERR_clear_error();
    outbox_flight__clean(c->why);
}

/* Waits for the broker and moves what there is to move. Returns 0 when the connection ended. */
static int pump(struct call *c, int wait_ms)
{
    struct link *link = c->link;
    struct pollfd fds[2] = { { .fd = mosquitto_socket(link->client), .events = POLLIN },
                             { .fd = link->wake[0], .events = POLLIN } };
    int rc = MOSQ_ERR_SUCCESS;

    if (fds[0].fd < 0)
        return 0;
    /* While it connects it has something to write that it cannot write yet: it is asked now and then. */
    if (!link->connected && wait_ms > CONNECT_MS)
        wait_ms = CONNECT_MS;
    else if (link->connected && mosquitto_want_write(link->client))
        fds[0].events |= POLLOUT;
    if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
        return 0;
    errno = 0;
    if ((fds[0].revents & POLLOUT) != 0 || !link->connected)
        rc = mosquitto_loop_write(link->client, 1);
    if (rc == MOSQ_ERR_SUCCESS && (fds[0].revents & (POLLIN | POLLERR | POLLHUP)) != 0)
        rc = mosquitto_loop_read(link->client, 1);
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_loop_misc(link->client);
    if (rc != MOSQ_ERR_SUCCESS)
        say(c, rc);
    return rc == MOSQ_ERR_SUCCESS && mosquitto_socket(link->client) >= 0;
}

/* Connects; NULL: why not is in c->why. */
static struct link *link_new(struct call *c, const outbox_endpoint *at, outbox_error **err)
{
    static const outbox_envelope_style style = {
        .size = sizeof(style),
        .native = OUTBOX_META_BIT(OUTBOX_META_CONTENT_TYPE),
        .cloudevents = "",
    };
    const char *host = at->host[0] != '\0' ? at->host : "localhost";
    int port = at->port != 0 ? at->port : outbox_target_is(c->p->target, "mqtts") ? 8883 : 1883;
    int64_t until = outbox_flight__now_ms() + c->p->connect_ms;
    struct link *link = calloc(1, sizeof(*link));
    const char *unknown = NULL;
    int rc = MOSQ_ERR_NOMEM, fine = 1;

    if (link == NULL)
        return NULL;
    link->wake[0] = link->wake[1] = -1;
    if (pipe2(link->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        outbox_error_format(err, OUTBOX_ERR_SYSTEM, "publisher.mqtt", "a pipe cannot be made: %s", strerror(errno));
        link_free(link);
        return NULL;
    }
    if (outbox_envelope_new(c->p->target, &style, &link->envelope, err) != OUTBOX_OK) {
        link_free(link);
        return NULL;
    }
    c->link = link;
    link->call = c;
    link->client = mosquitto_new(NULL, true, link);
    if (link->client != NULL && set_client(c, link, host)) {
        unknown = outbox_resolve_first(host, c->p->connect_ms, &c->flight.cancelled);
        rc = unknown != NULL ? MOSQ_ERR_EAI : mosquitto_connect_bind_async(link->client, host, port, 0, NULL);
    }
    if (unknown != NULL)
        snprintf(c->why, sizeof(c->why), "%s", unknown);
    else if (rc != MOSQ_ERR_SUCCESS)
        say(c, rc);
    while (rc == MOSQ_ERR_SUCCESS && fine && !link->connected && !link->refused && !c->flight.cancelled &&
           outbox_flight__now_ms() < until)
        fine = pump(c, POLL_MS);
    if (link->connected)
        return link;
    if (c->why[0] == '\0')
        snprintf(c->why, sizeof(c->why), "no answer within %lld ms (mqtt.connect_timeout)",
                 (long long)c->p->connect_ms);
    outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.mqtt", "cannot connect to %s (%s: %s)",
                        outbox_target_shown(c->p->target), host, c->why);
    link_free(link);
    return NULL;
}

static int is_fit(struct call *c, struct link *link)
{
    c->link = link;
    link->call = c;
    return pump(c, 0) && link->connected;
}

/* One that waits and is still connected, or a new one. */
static int link_get(struct call *c, outbox_error **err)
{
    const outbox_endpoint *all;
    struct outbox_link *idle;
    size_t count;

    while ((idle = outbox_pool__take(&c->p->pool)) != NULL) {
        if (is_fit(c, (struct link *)idle))
            return OUTBOX_OK;
        link_free((struct link *)idle);
    }
    c->why[0] = '\0';
    if (!outbox_pool__wait(&c->p->pool, &c->flight))
        return outbox_error_new(err, OUTBOX_ERR_CONNECT, "publisher.mqtt",
                                "the call was cancelled before MQTT was there");
    all = outbox_target_endpoints(c->p->target, &count);
    c->link = link_new(c, &all[c->p->endpoint % count], err);
    c->p->endpoint += c->link == NULL;
    outbox_pool__tried(&c->p->pool, c->link != NULL);
    return c->link != NULL ? OUTBOX_OK : OUTBOX_ERR_CONNECT;
}

/* ---- Sending ---- */

static int make_properties(outbox_envelope *e, mosquitto_property **properties)
{
    const char *type = outbox_envelope_value(e, OUTBOX_META_CONTENT_TYPE);
    size_t count, i;
    const outbox_meta *metas = outbox_envelope_metas(e, &count);
    int rc = MOSQ_ERR_SUCCESS;

    if (type != NULL)
        rc = mosquitto_property_add_string(properties, MQTT_PROP_CONTENT_TYPE, type);
    for (i = 0; i < count && rc == MOSQ_ERR_SUCCESS; i++)
        rc = mosquitto_property_add_string_pair(properties, MQTT_PROP_USER_PROPERTY, metas[i].name, metas[i].value);
    return rc;
}

static const char *topic_fault(const char *topic)
{
    if (topic[0] == '$')
        return "topics that begin with \"$\" belong to the broker";
    return mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS
               ? "a topic of MQTT must not have \"+\" or \"#\", and at most 65535 bytes" : NULL;
}

/* What a call of libmosquitto says of the message; 0: it says something of the connection. */
static outbox_verdict verdict_of_call(int rc)
{
    switch (rc) {
    case MOSQ_ERR_INVAL:
    case MOSQ_ERR_MALFORMED_UTF8:
    case MOSQ_ERR_OVERSIZE_PACKET:
    case MOSQ_ERR_PAYLOAD_SIZE:
        return OUTBOX_REJECT;
    case MOSQ_ERR_NOMEM:
    case MOSQ_ERR_QOS_NOT_SUPPORTED:
        return OUTBOX_RETRY;
    default:
        return (outbox_verdict)0;
    }
}

static int publish_one(struct call *c, size_t index, const char **fault)
{
    outbox_envelope *e = c->link->envelope;
    mosquitto_property *properties = NULL;
    size_t size;
    const void *payload = outbox_envelope_payload(e, &size);
    int id = 0, rc;

    *fault = topic_fault(outbox_envelope_topic(e));
    if (*fault != NULL)
        return MOSQ_ERR_INVAL;
    rc = size <= MQTT_MAX_PAYLOAD ? make_properties(e, &properties) : MOSQ_ERR_PAYLOAD_SIZE;
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_publish_v5(c->link->client, &id, outbox_envelope_topic(e), (int)size, payload, 1, false,
                                  properties);
    mosquitto_property_free_all(&properties);
    if (rc != MOSQ_ERR_SUCCESS)
        return rc;
    /* An identifier that is still in use would be a message that waits since 65,535 others. */
    if (id <= 0 || id >= IDS || c->link->index[id] != 0)
        return MOSQ_ERR_PROTOCOL;
    c->link->index[id] = (uint32_t)index + 1;
    return MOSQ_ERR_SUCCESS;
}

/* Sends one message, or answers it. Returns 0 when the link broke. */
static int send_one(struct call *c, const outbox_record *r, size_t index)
{
    const char *why = NULL;
    int filled = outbox_envelope_fill(c->link->envelope, r, &why), rc;
    outbox_verdict verdict;

    if (filled == OUTBOX_OK &&
        outbox_flight__too_large(&c->flight, index, c->link->envelope, c->p->max_message, "mqtt.max_message"))
        return 1;
    if (filled != OUTBOX_OK) {
        outbox_flight__answer(&c->flight, index, filled == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, -1,
                              filled == OUTBOX_ERR_INVALID ? why : "out of memory while a message was made for MQTT");
        return 1;
    }
    rc = publish_one(c, index, &why);
    if (rc == MOSQ_ERR_SUCCESS)
        return 1;
    verdict = verdict_of_call(rc);
    if (verdict == 0) {
        say(c, rc);
        return 0;
    }
    outbox_flight__answer(&c->flight, index, verdict, -1,
                          why != NULL ? why : rc == MOSQ_ERR_OVERSIZE_PACKET ? "larger than the broker's maximum packet size"
                                            : rc == MOSQ_ERR_INVAL ? "a header or the topic is longer than 65535 bytes"
                                            : mosquitto_strerror(rc));
    return 1;
}

/* ---- A call ---- */

static int send_ready(struct call *c)
{
    const outbox_record *r;
    size_t index, sent = 0;

    while (c->flight.in_flight < c->p->window && (r = outbox_flight__next(&c->flight, &index)) != NULL) {
        if (c->flight.in_flight == 1)
            c->moved_ms = outbox_flight__now_ms();
        if (!send_one(c, r, index) || (++sent % BURST == 0 && !pump(c, 0)))
            return 0;
    }
    return 1;
}

/* Returns 1 when all is answered, 0 when the link broke, -1 when the call was cancelled. */
static int run(struct call *c)
{
    while (!c->flight.cancelled) {
        if (!send_ready(c))
            return 0;
        if (c->flight.in_flight == 0 && !c->flight.cancelled)
            return 1;
        if (!pump(c, POLL_MS))
            return 0;
        if (c->flight.in_flight > 0 && outbox_flight__now_ms() - c->moved_ms > c->p->ack_ms) {
            snprintf(c->why, sizeof(c->why), "no PUBACK came for %lld ms (mqtt.ack_timeout)", (long long)c->p->ack_ms);
            return 0;
        }
    }
    return -1;
}

static void wake(void *arg)
{
    const struct link *link = arg;

    if (write(link->wake[1], "", 1) < 0)
        return; /* it is awake already */
}

static int send_all(struct call *c, outbox_error **err)
{
    int rc = link_get(c, err), done;

    if (rc != OUTBOX_OK)
        return rc;
    c->why[0] = '\0';
    outbox_flight__wake_by(&c->flight, wake, c->link);
    done = run(c);
    outbox_flight__wake_by(&c->flight, NULL, NULL);
    c->link->call = NULL;
    if (done == 1) {
        outbox_pool__give(&c->p->pool, &c->link->base);
        return OUTBOX_OK;
    }
    link_free(c->link);
    if (done < 0)
        return outbox_error_new(err, OUTBOX_ERR_LOST, "publisher.mqtt",
                                "the broker did not acknowledge all messages before the call was cancelled");
    if (c->why[0] == '\0')
        snprintf(c->why, sizeof(c->why), "the broker closed it");
    outbox_flight__answer_all(&c->flight, OUTBOX_UNKNOWN, c->why);
    return outbox_error_format(err, OUTBOX_ERR_LOST, "publisher.mqtt", "lost the connection to %s (%s)",
                               outbox_target_shown(c->p->target), c->why);
}

static int mqtt_publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct call c = { .p = self };
    int rc = outbox_flight__enter(&c.flight, &c.p->pool, delivery, err);

    if (rc != OUTBOX_OK)
        return rc;
    rc = send_all(&c, err);
    outbox_flight__leave(&c.flight);
    return rc;
}

static void mqtt_cancel(void *self, outbox_delivery *delivery)
{
    struct publisher *p = self;

    outbox_pool__cancel(&p->pool, delivery);
}

/* ---- The publisher ---- */

/* Any broker will do; what the last one said is told. */
static int mqtt_reach(void *self, outbox_error **err)
{
    struct call c = { .p = self };
    struct outbox_sigpipe signals;
    struct link *link = NULL;
    size_t count, i;
    const outbox_endpoint *all = outbox_target_endpoints(c.p->target, &count);
    outbox_error *why = NULL;

    outbox_sigpipe__hold(&signals);
    for (i = 0; i < count && link == NULL; i++) {
        outbox_error_free(why);
        why = NULL;
        c.why[0] = '\0';
        link = link_new(&c, &all[i], &why);
    }
    link_free(link);
    outbox_sigpipe__release(&signals);
    return outbox_flight__reached(link != NULL, why, err);
}

static void mqtt_close(void *self)
{
    struct publisher *p = self;
    struct outbox_link *link;

    while ((link = outbox_pool__take(&p->pool)) != NULL)
        link_free((struct link *)link);
    outbox_pool__destroy(&p->pool);
    free(p);
}

static pthread_once_t mosquitto_once = PTHREAD_ONCE_INIT;

static void mosquitto_start(void)
{
    mosquitto_lib_init();
}

static int mqtt_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops mqtt_ops = {
        .size = sizeof(mqtt_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "mqtt",
        .publish = mqtt_publish,
        .cancel = mqtt_cancel,
        .close = mqtt_close,
        .reach = mqtt_reach,
    };
    struct publisher *p;
    int rc;

    pthread_once(&mosquitto_once, mosquitto_start);
    rc = mqtt_tls_check(target, err);
    if (rc != OUTBOX_OK)
        return rc;
    p = calloc(1, sizeof(*p));
    if (p == NULL || outbox_pool__init(&p->pool) != 0) {
        free(p);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    p->target = target;
    p->window = (size_t)outbox_target_number(target, "window");
    p->max_message = outbox_target_number(target, "max_message");
    p->ack_ms = outbox_target_number(target, "ack_timeout") / 1000;
    p->connect_ms = outbox_target_number(target, "connect_timeout") / 1000;
    p->retry_unheard = outbox_target_number(target, "no_subscribers") != 0;
    *ops = &mqtt_ops;
    *self = p;
    return OUTBOX_OK;
}

static const outbox_setting settings[] = {
    { "max_message", OUTBOX_SETTING_SIZE, "268435455", 1, 268435455, NULL,
      "Largest payload that is sent; a message with a larger one is rejected." },
    { "window", OUTBOX_SETTING_INTEGER, "1000", 1, 20000, NULL,
      "Messages that may be on their way on a connection without a PUBACK; the broker may allow fewer." },
    { "no_subscribers", OUTBOX_SETTING_CHOICE, "published", 0, 0, "published|retry",
      "What a message is that the broker took although nobody subscribes to its topic (reason code 16)." },
    { "ack_timeout", OUTBOX_SETTING_DURATION, "30s", 100000, INT64_C(3600) * 1000000, NULL,
      "How long no PUBACK may come before the outcome of what is on its way counts as unknown." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 100000, INT64_C(60) * 1000000, NULL,
      "How long connecting to a broker may take." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL, "User; empty: that of the URL, or none." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 65535, NULL, "Password, or a token that the broker takes as one." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_INTEGER, NULL, 0, 0, NULL, NULL },
};

OUTBOX_API const outbox_publisher_module *outbox_publisher_mqtt(void);

const outbox_publisher_module *outbox_publisher_mqtt(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .name = "mqtt",
        .settings = settings,
        .open = mqtt_open,
    };

    return &module;
}
