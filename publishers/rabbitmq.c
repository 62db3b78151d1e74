/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RabbitMQ, by librabbitmq: "amqp://USER@HOST:PORT/VHOST", or "amqps://" with TLS. AMQP 0-9-1. A loadable module.
 *
 * Messages are persistent, and published to a channel that confirms. A confirm means that every queue that the message
 * was routed to has taken it: a durable queue has it on disk, a quorum queue on the disks of a majority. A message that
 * is routed nowhere is confirmed too; so messages are mandatory, and one that comes back before its confirm is
 * rejected.
 *
 * Order. A channel keeps the order of what it takes, but not through a failure: a message that is refused (a queue that
 * is full, say) or comes back stops none behind it. So of one topic and key only one message is on its way at a time,
 * as outbox_delivery_ready() gives them out, and all others travel side by side.
 *
 * Who is to blame. RabbitMQ answers a message that it cannot bear (too large for it, say) by closing the channel, and
 * does not say which one it was. Then all that were not confirmed are sent again on a new channel, one at a time, and
 * one that closes it alone is the one.
 *
 * Threads. publish() runs on several relay threads at once, each with a connection of its own (struct rabbitmq_link),
 * which nobody else reads or writes. Connections without work wait in `idle`. `lock` guards `idle`, `calls`, `turn` and
 * each link's `fd`: a thread that waits in librabbitmq, even to write, wakes up when cancel() shuts its socket down. */
#include "rabbitmq.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* A server that sends back much, and is not listened to, stops listening itself. */
#define LISTEN_MESSAGES 32
#define LISTEN_BYTES (128 * 1024)
#define CHECK_US 100000 /* how soon a cancel is noticed that came before there was a socket */
#define SHORT_MAX 255   /* AMQP's short strings */

enum progress { NOT_SENT, SENT, RETURNED, IN_DOUBT, ANSWERED };

/* One call of publish(). */
struct rabbitmq_call {
    struct rabbitmq_call *next;
    outbox_delivery *delivery;
    struct rabbitmq_link *link;
    char *progress;      /* of each message */
    size_t *order;       /* which was sent with which tag, from `first` on */
    uint64_t first;      /* tag of the first */
    size_t count, sent;  /* all; those with a tag */
    size_t confirmed;    /* up to this one in `order`, all are answered */
    size_t owed;         /* sent and not answered */
    size_t unheard, unheard_bytes; /* since the server was listened to */
    int coming_back;     /* the header of a message that the server returns is to come */
    int close_code;      /* the server closed the channel: why */
    int stopped;         /* nothing more is sent: link->why says why */
    atomic_int cancelled;
    char return_why[RABBITMQ_WHY]; /* why the last one came back */
};

static const outbox_setting settings[] = {
    { "exchange", OUTBOX_SETTING_TEXT, "", 0, SHORT_MAX, NULL,
      "Exchange to publish to, which must be there; empty: the default one, where a topic is the name of a queue." },
    { "routing_key", OUTBOX_SETTING_CHOICE, "topic", 0, 0, "topic|key",
      "What the routing key is: the topic, or the message's key, as a consistent-hash exchange wants it." },
    { "auth", OUTBOX_SETTING_CHOICE, "plain", 0, 0, "plain|external",
      "How to log in: by user and password, or by the client's certificate." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 255, NULL, "User; empty: that of the URL, or guest." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password of the user." },
    { "max_message", OUTBOX_SETTING_SIZE, "128MiB", 1, INT64_C(512) << 20, NULL,
      "Largest payload that the server takes (its max_message_size): larger ones are rejected without being sent." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 100000, INT64_C(3600000000), NULL,
      "How long a host may take to accept a connection, and then each step of the login." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

/* ---- verdicts ---- */

static void answer(struct rabbitmq_call *c, size_t index, outbox_verdict verdict, const char *why)
{
    if (c->progress[index] == SENT || c->progress[index] == RETURNED)
        c->owed--;
    c->progress[index] = ANSWERED;
    outbox_delivery_answer(c->delivery, index, verdict, -1, why);
}

/* Of what was sent and not answered when nothing more can be; the rest has no answer, and the call says why. */
static void answer_lost(struct rabbitmq_call *c, size_t index)
{
    if (c->progress[index] != ANSWERED && c->progress[index] != NOT_SENT)
        answer(c, index, OUTBOX_UNKNOWN, c->link->why);
}

static void stop(struct rabbitmq_call *c, const char *what, int status)
{
    if (c->stopped)
        return;
    c->stopped = 1;
    if (atomic_load(&c->cancelled))
        snprintf(c->link->why, sizeof(c->link->why), "RabbitMQ did not answer in time");
    else if (what != NULL)
        rabbitmq_link_trouble(c->link, what, status);
}

/* ---- what the server says ---- */

static void confirm_one(struct rabbitmq_call *c, size_t at, int taken)
{
    size_t index = c->order[at];

    if (c->progress[index] == RETURNED)
        answer(c, index, OUTBOX_REJECT, c->return_why);
    else if (c->progress[index] == SENT && taken)
        answer(c, index, OUTBOX_PUBLISHED, NULL);
    else if (c->progress[index] == SENT)
        answer(c, index, OUTBOX_RETRY, "RabbitMQ did not take it (basic.nack): a queue is full, or has failed");
}

static void confirm(struct rabbitmq_call *c, uint64_t tag, int multiple, int taken)
{
    size_t last;

    if (tag < c->first || tag - c->first >= c->sent)
        return;
    last = (size_t)(tag - c->first);
    for (size_t at = multiple ? c->confirmed : last; at <= last; at++)
        confirm_one(c, at, taken);
    while (c->confirmed < c->sent && c->progress[c->order[c->confirmed]] == ANSWERED)
        c->confirmed++;
}

/* A message that came back, by its id; its confirm follows. They come back in the order in which they were sent. */
static void note_returned(struct rabbitmq_call *c, const amqp_basic_properties_t *p)
{
    for (size_t at = c->confirmed; at < c->sent; at++) {
        size_t index = c->order[at];
        const char *id = outbox_record_id(outbox_delivery_message(c->delivery, index));

        if (c->progress[index] == SENT && (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0 &&
            p->message_id.len == strlen(id) && memcmp(p->message_id.bytes, id, p->message_id.len) == 0) {
            c->progress[index] = RETURNED;
            return;
        }
    }
}

static void note_closed_channel(struct rabbitmq_call *c, const amqp_channel_close_t *m)
{
    amqp_channel_close_ok_t ok = { 0 };

    snprintf(c->link->why, sizeof(c->link->why), "RabbitMQ refused it: %d %.*s", m->reply_code, (int)m->reply_text.len,
             (const char *)m->reply_text.bytes);
    c->close_code = m->reply_code;
    c->link->open = 0;
    if (amqp_send_method(c->link->conn, RABBITMQ_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) != AMQP_STATUS_OK)
        stop(c, NULL, 0);
}

static void take_method(struct rabbitmq_call *c, const amqp_method_t *method)
{
    const amqp_basic_ack_t *ack = method->decoded;
    const amqp_basic_nack_t *nack = method->decoded;
    const amqp_basic_return_t *back = method->decoded;
    const amqp_connection_close_t *close = method->decoded;

    switch (method->id) {
    case AMQP_BASIC_ACK_METHOD:
        confirm(c, ack->delivery_tag, ack->multiple, 1);
        return;
    case AMQP_BASIC_NACK_METHOD:
        confirm(c, nack->delivery_tag, nack->multiple, 0);
        return;
    case AMQP_BASIC_RETURN_METHOD:
        snprintf(c->return_why, sizeof(c->return_why), "RabbitMQ sent it back: %d %.*s", back->reply_code,
                 (int)back->reply_text.len, (const char *)back->reply_text.bytes);
        c->coming_back = 1;
        return;
    case AMQP_CHANNEL_CLOSE_METHOD:
        note_closed_channel(c, method->decoded);
        return;
    case AMQP_CONNECTION_CLOSE_METHOD:
        snprintf(c->link->why, sizeof(c->link->why), "RabbitMQ closed the connection: %d %.*s", close->reply_code,
                 (int)close->reply_text.len, (const char *)close->reply_text.bytes);
        stop(c, NULL, 0);
        return;
    default:
        return;
    }
}

static void take_frame(struct rabbitmq_call *c, const amqp_frame_t *frame)
{
    if (frame->frame_type == AMQP_FRAME_METHOD) {
        take_method(c, &frame->payload.method);
    } else if (frame->frame_type == AMQP_FRAME_HEADER && c->coming_back) {
        note_returned(c, frame->payload.properties.decoded);
        c->coming_back = 0;
    }
    /* The body of what came back is of no interest. */
}

/* Takes what the server says, for as long as it has something to say; waits for the first so long. */
static void listen_for(struct rabbitmq_call *c, long wait_us)
{
    struct timeval wait = { wait_us / 1000000, wait_us % 1000000 }, none = { 0, 0 };
    amqp_frame_t frame;
    int status = AMQP_STATUS_OK;

    c->unheard = c->unheard_bytes = 0;
    while (!c->stopped && status == AMQP_STATUS_OK) {
        status = amqp_simple_wait_frame_noblock(c->link->conn, &frame, &wait);
        if (status == AMQP_STATUS_OK)
            take_frame(c, &frame);
        else if (status != AMQP_STATUS_TIMEOUT)
            stop(c, "the connection broke", status);
        amqp_maybe_release_buffers(c->link->conn);
        wait = none;
        if (c->owed == 0 || c->close_code != 0)
            return;
    }
    if (atomic_load(&c->cancelled))
        stop(c, NULL, 0);
}

/* Until all that was sent is answered, or cannot be. */
static void wait_for_all(struct rabbitmq_call *c)
{
    while (c->owed > 0 && !c->stopped && c->close_code == 0)
        listen_for(c, CHECK_US);
}

/* ---- sending ---- */

static amqp_bytes_t bytes(const char *text, size_t size)
{
    return (amqp_bytes_t){ .len = size, .bytes = (void *)text };
}

static amqp_bytes_t string(const char *text)
{
    return bytes(text, text != NULL ? strlen(text) : 0);
}

/* What has no place in AMQP's frames; NULL when all has. */
static const char *misfit(const struct rabbitmq *r, const outbox_envelope *e, const char *routing_key)
{
    const char *type = outbox_envelope_value(e, OUTBOX_META_TYPE);
    const char *content_type = outbox_envelope_value(e, OUTBOX_META_CONTENT_TYPE);
    size_t count, size, total = 2048; /* for everything but the table */
    const outbox_meta *metas = outbox_envelope_metas(e, &count);

    outbox_envelope_payload(e, &size);
    if (size > (size_t)outbox_target_number(r->target, "max_message"))
        return "too large: the payload is larger than amqp.max_message";
    if (strlen(routing_key) > SHORT_MAX)
        return "its routing key has more than 255 bytes";
    if ((type != NULL && strlen(type) > SHORT_MAX) || (content_type != NULL && strlen(content_type) > SHORT_MAX))
        return "its type or content type has more than 255 bytes";
    for (size_t i = 0; i < count; i++) {
        if (metas[i].name_size > SHORT_MAX)
            return "the name of a header has more than 255 bytes";
        total += metas[i].name_size + metas[i].value_size + 6;
    }
    return total > RABBITMQ_FRAME_MAX ? "too large: its headers are larger than a frame of AMQP (128 KiB)" : NULL;
}

static void fill_properties(amqp_basic_properties_t *p, const outbox_envelope *e, const outbox_record *r)
{
    const char *type = outbox_envelope_value(e, OUTBOX_META_TYPE);
    const char *content_type = outbox_envelope_value(e, OUTBOX_META_CONTENT_TYPE);

    p->_flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                AMQP_BASIC_HEADERS_FLAG;
    p->delivery_mode = AMQP_DELIVERY_PERSISTENT;
    p->message_id = string(outbox_record_id(r));
    p->timestamp = (uint64_t)(outbox_record_created_at(r) / 1000000);
    if (type != NULL) {
        p->_flags |= AMQP_BASIC_TYPE_FLAG;
        p->type = string(type);
    }
    if (content_type != NULL) {
        p->_flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
        p->content_type = string(content_type);
    }
}

/* Returns a status of librabbitmq's. */
static int publish_one(struct rabbitmq_link *link, const outbox_record *r, const char *routing_key)
{
    const char *exchange = outbox_target_text(link->owner->target, "exchange");
    const outbox_envelope *e = link->envelope;
    size_t count, size;
    const outbox_meta *metas = outbox_envelope_metas(e, &count);
    const void *payload = outbox_envelope_payload(e, &size);
    amqp_table_entry_t *headers = malloc((count + 1) * sizeof(*headers));
    amqp_basic_properties_t p = { 0 };
    int status;

    if (headers == NULL)
        return AMQP_STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        headers[i].key = bytes(metas[i].name, metas[i].name_size);
        headers[i].value.kind = AMQP_FIELD_KIND_UTF8;
        headers[i].value.value.bytes = bytes(metas[i].value, metas[i].value_size);
    }
    fill_properties(&p, e, r);
    p.headers.num_entries = (int)count;
    p.headers.entries = headers;
    status = amqp_basic_publish(link->conn, RABBITMQ_CHANNEL, string(exchange), string(routing_key), 1, 0, &p,
                                bytes(payload, size));
    free(headers);
    return status;
}

static void send_one(struct rabbitmq_call *c, const outbox_record *r, size_t index)
{
    struct rabbitmq_link *link = c->link;
    const char *why, *routing_key;
    int by_key = outbox_target_number(link->owner->target, "routing_key") == 1, status;
    size_t size;
    int rc = outbox_envelope_fill(link->envelope, r, &why);

    if (rc != OUTBOX_OK) {
        answer(c, index, rc == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, why);
        return;
    }
    routing_key = by_key ? outbox_record_partition_key(r) : outbox_envelope_topic(link->envelope);
    routing_key = routing_key != NULL ? routing_key : "";
    why = misfit(link->owner, link->envelope, routing_key);
    if (why != NULL) {
        answer(c, index, OUTBOX_REJECT, why);
        return;
    }
    status = publish_one(link, r, routing_key);
    if (status == AMQP_STATUS_NO_MEMORY) {
        answer(c, index, OUTBOX_RETRY, "out of memory");
        return;
    }
    /* Even when it failed, a part of it may be on its way. */
    link->tag++;
    c->order[c->sent++] = index;
    c->progress[index] = SENT;
    c->owed++;
    c->unheard++;
    outbox_envelope_payload(link->envelope, &size);
    c->unheard_bytes += size;
    if (status != AMQP_STATUS_OK)
        stop(c, "the connection broke", status);
}

static void send_ready(struct rabbitmq_call *c)
{
    const outbox_record *r;
    size_t index;

    while (!c->stopped && c->close_code == 0 && (r = outbox_delivery_ready(c->delivery, &index)) != NULL) {
        send_one(c, r, index);
        if (c->unheard >= LISTEN_MESSAGES || c->unheard_bytes >= LISTEN_BYTES)
            listen_for(c, 0);
    }
}

/* ---- after the channel was closed ---- */

/* Tags begin anew. */
static int reopen(struct rabbitmq_call *c)
{
    if (c->link->open)
        return 1;
    if (!rabbitmq_link_channel(c->link)) {
        stop(c, NULL, 0);
        return 0;
    }
    c->first = 1;
    c->sent = c->confirmed = 0;
    return 1;
}

/* It was alone. Rights can be granted, and exchanges made; anything else will not change. */
static void answer_closer(struct rabbitmq_call *c, size_t index)
{
    int later = c->close_code == AMQP_ACCESS_REFUSED || c->close_code == AMQP_NOT_FOUND;

    c->close_code = 0;
    answer(c, index, later ? OUTBOX_RETRY : OUTBOX_REJECT, c->link->why);
}

static void doubt_all(struct rabbitmq_call *c)
{
    c->close_code = 0;
    for (size_t at = c->confirmed; at < c->sent; at++) {
        size_t index = c->order[at];

        if (c->progress[index] == RETURNED)
            answer(c, index, OUTBOX_REJECT, c->return_why);
        else if (c->progress[index] == SENT)
            c->progress[index] = IN_DOUBT;
    }
    c->owed = 0;
}

static void send_doubtful(struct rabbitmq_call *c)
{
    outbox_target_log(c->link->owner->target, OUTBOX_LOG_INFO, "%s: what was not confirmed goes one at a time",
                      c->link->why);
    doubt_all(c);
    for (size_t i = 0; i < c->count && reopen(c); i++) {
        if (c->progress[i] != IN_DOUBT)
            continue;
        send_one(c, outbox_delivery_message(c->delivery, i), i);
        wait_for_all(c);
        if (c->stopped)
            return;
        if (c->close_code != 0)
            answer_closer(c, i);
    }
}

/* ---- what the relay calls ---- */

static void send_all(struct rabbitmq_call *c)
{
    int more = 1;

    while (more && !c->stopped) {
        send_ready(c);
        more = c->owed > 0 || c->close_code != 0;
        if (c->close_code != 0)
            send_doubtful(c);
        else if (more)
            listen_for(c, CHECK_US);
    }
    for (size_t i = 0; c->stopped && i < c->count; i++)
        answer_lost(c, i);
}

static struct rabbitmq_link *link_take(struct rabbitmq *r, outbox_error **err)
{
    struct rabbitmq_link *link;

    pthread_mutex_lock(&r->lock);
    link = r->idle;
    if (link != NULL)
        r->idle = link->next;
    pthread_mutex_unlock(&r->lock);
    return link != NULL ? link : rabbitmq_link_new(r, err);
}

static void link_leave(struct rabbitmq *r, struct rabbitmq_link *link)
{
    pthread_mutex_lock(&r->lock);
    link->next = r->idle;
    r->idle = link;
    pthread_mutex_unlock(&r->lock);
}

static void call_enter(struct rabbitmq *r, struct rabbitmq_call *c)
{
    pthread_mutex_lock(&r->lock);
    c->next = r->calls;
    r->calls = c;
    pthread_mutex_unlock(&r->lock);
}

static void call_leave(struct rabbitmq *r, struct rabbitmq_call *c)
{
    struct rabbitmq_call **at;

    pthread_mutex_lock(&r->lock);
    for (at = &r->calls; *at != c; at = &(*at)->next)
        continue;
    *at = c->next;
    pthread_mutex_unlock(&r->lock);
}

static int run(struct rabbitmq *r, struct rabbitmq_call *c, outbox_error **err)
{
    int rc = OUTBOX_OK;

    call_enter(r, c);
    if (!rabbitmq_link_connect(c->link, &c->cancelled) || !rabbitmq_link_channel(c->link) || atomic_load(&c->cancelled))
        stop(c, NULL, 0);
    c->first = c->link->tag + 1;
    send_all(c);
    call_leave(r, c);
    if (c->stopped) {
        rabbitmq_link_drop(c->link);
        rc = outbox_error_format(err, OUTBOX_ERR_LOST, "publisher.amqp", "%s: %s", outbox_target_shown(r->target),
                                 c->link->why);
    }
    link_leave(r, c->link);
    return rc;
}

static int rabbitmq_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct rabbitmq *r = self;
    struct rabbitmq_call c = { .delivery = d, .count = outbox_delivery_count(d) };
    int rc;

    c.progress = calloc(c.count, 1);
    c.order = calloc(c.count, sizeof(*c.order));
    c.link = c.progress != NULL && c.order != NULL ? link_take(r, err) : NULL;
    if (c.link != NULL)
        rc = run(r, &c, err);
    else
        rc = outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.amqp", "out of memory");
    free(c.order);
    free(c.progress);
    return rc;
}

static void rabbitmq_cancel(void *self, outbox_delivery *d)
{
    struct rabbitmq *r = self;

    pthread_mutex_lock(&r->lock);
    for (struct rabbitmq_call *c = r->calls; c != NULL; c = c->next) {
        if (c->delivery != d)
            continue;
        atomic_store(&c->cancelled, 1);
        if (c->link->fd >= 0)
            shutdown(c->link->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&r->lock);
}

/* On a connection of its own; the channel finds out whether the exchange is there. */
static int rabbitmq_reach(void *self, outbox_error **err)
{
    struct rabbitmq *r = self;
    struct rabbitmq_link *link = rabbitmq_link_new(r, err);
    atomic_int never = 0;
    int rc = OUTBOX_OK;

    if (link == NULL)
        return OUTBOX_ERR_NOMEM;
    if (!rabbitmq_link_connect(link, &never) || !rabbitmq_link_channel(link))
        rc = outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.amqp", "%s cannot be reached: %s",
                                 outbox_target_shown(r->target), link->why);
    rabbitmq_link_free(link);
    return rc;
}

static void rabbitmq_close(void *self)
{
    struct rabbitmq *r = self;
    struct rabbitmq_link *next;

    for (struct rabbitmq_link *link = r->idle; link != NULL; link = next) {
        next = link->next;
        rabbitmq_link_free(link);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static int rabbitmq_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops rabbitmq_ops = {
        .size = sizeof(rabbitmq_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "amqp",
        .publish = rabbitmq_publish,
        .cancel = rabbitmq_cancel,
        .close = rabbitmq_close,
        .reach = rabbitmq_reach,
    };
    struct rabbitmq *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.amqp", "out of memory");
    r->target = target;
    r->timeout = outbox_target_number(target, "connect_timeout");
    pthread_mutex_init(&r->lock, NULL);
    rc = rabbitmq_link_check(target, err);
    r->idle = rc == OUTBOX_OK ? rabbitmq_link_new(r, err) : NULL;
    if (r->idle == NULL) {
        rabbitmq_close(r);
        return rc != OUTBOX_OK ? rc : OUTBOX_ERR_CONF;
    }
    *ops = &rabbitmq_ops;
    *self = r;
    return OUTBOX_OK;
}

OUTBOX_API const outbox_publisher_module *outbox_publisher_amqp(void);

OUTBOX_API const outbox_publisher_module *outbox_publisher_amqp(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .name = "amqp",
        .settings = settings,
        .open = rabbitmq_open,
    };

    return &module;
}
