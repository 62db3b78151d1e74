/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for RabbitMQ with a real server, read back by a consumer on librabbitmq. */
#include "rabbitmq_broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <amqp_framing.h>

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;

    if (way == BROKER_WRONG_PASSWORD)
        snprintf(text, size, "amqp://outbox:s3cr3t@127.0.0.1:%d", b->port);
    else
        snprintf(text, size, "%s://outbox:pa%%3Ass%%40word@%s:%d", tls ? "amqps" : "amqp",
                 way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    if (!tls)
        return;
    rabbitmq_set_file(conf, "amqp.tls.ca_file", b, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    rabbitmq_set_file(conf, "amqp.tls.cert_file", b, "client.pem");
    rabbitmq_set_file(conf, "amqp.tls.key_file", b, "client.key");
}

/* Texts of a message end with no NUL: copies that do. */
struct copies {
    char *texts[2 * TAKEN_METAS + 4];
    size_t count;
};

static const char *copy(struct copies *copies, amqp_bytes_t bytes)
{
    char *text = malloc(bytes.len + 1);

    memcpy(text, bytes.bytes, bytes.len);
    text[bytes.len] = '\0';
    return copies->texts[copies->count++] = text;
}

static void hand_over(const amqp_message_t *m, broker_take *take, void *user)
{
    const amqp_basic_properties_t *p = &m->properties;
    struct taken taken = { .payload = m->body.bytes != NULL ? m->body.bytes : "", .size = m->body.len };
    struct copies copies = {0};

    CHECK((p->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG) != 0 && p->delivery_mode == 2, "it is not persistent");
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        taken_add(&taken, "outbox-id", copy(&copies, p->message_id));
    if (p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG)
        taken_add(&taken, "content-type", copy(&copies, p->content_type));
    if (p->_flags & AMQP_BASIC_TYPE_FLAG)
        taken_add(&taken, "outbox-type", copy(&copies, p->type));
    /* Without the property there are no entries. */
    for (int i = 0; i < p->headers.num_entries && i < TAKEN_METAS - 4; i++)
        if (p->headers.entries[i].value.kind == AMQP_FIELD_KIND_UTF8) {
            const char *name = copy(&copies, p->headers.entries[i].key);

            taken_add(&taken, name, copy(&copies, p->headers.entries[i].value.value.bytes));
        }
    take(user, &taken);
    while (copies.count > 0)
        free(copies.texts[--copies.count]);
}

/* Acknowledges nothing: when the connection goes, all is there again, in order. What is there is counted first. */
static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    amqp_connection_state_t conn = rabbitmq_reach(b);
    amqp_queue_declare_ok_t *queue =
        conn != NULL ? amqp_queue_declare(conn, 1, amqp_cstring_bytes(topic), 1, 0, 0, 0, amqp_empty_table) : NULL;
    long n = 0, count = queue != NULL ? (long)queue->message_count : -1;
    amqp_envelope_t envelope;

    if (count > 0 &&
        amqp_basic_consume(conn, 1, amqp_cstring_bytes(topic), amqp_empty_bytes, 0, 0, 0, amqp_empty_table) == NULL)
        count = -1;
    for (; n < count; n++) {
        amqp_maybe_release_buffers(conn);
        if (amqp_consume_message(conn, &envelope, NULL, 0).reply_type != AMQP_RESPONSE_NORMAL)
            break;
        hand_over(&envelope.message, take, user);
        amqp_destroy_envelope(&envelope);
    }
    if (conn != NULL)
        amqp_destroy_connection(conn);
    return n == count ? n : -1;
}

/* ---- By the client library alone ---- */

static amqp_bytes_t text(const char *s)
{
    return amqp_cstring_bytes(s);
}

static int publish_alone(amqp_connection_state_t conn, const char *topic, const outbox_record *r)
{
    const char *key = outbox_record_partition_key(r);
    const char *const fixed[][2] = { { "outbox-created-at", "2026-01-01T00:00:00.000020Z" },
                                     { "outbox-token", "3:7" }, { "outbox-attempt", "1" }, { "outbox-key", key } };
    amqp_table_entry_t entries[TAKEN_METAS];
    amqp_basic_properties_t p = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG |
                  AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
        .delivery_mode = 2,
        .timestamp = 1,
    };
    size_t count, size;
    const outbox_header *own = outbox_record_headers(r, &count);
    const void *payload = outbox_record_payload(r, &size);

    p.message_id = text(outbox_record_id(r));
    p.type = text(outbox_record_message_type(r));
    p.content_type = text(outbox_record_content_type(r));
    for (size_t i = 0; i < count + COUNT_OF(fixed) - (key == NULL) && i < TAKEN_METAS; i++) {
        entries[i].key = text(i < count ? own[i].name : fixed[i - count][0]);
        entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
        entries[i].value.value.bytes = text(i < count ? own[i].value : fixed[i - count][1]);
        p.headers.num_entries++;
    }
    p.headers.entries = entries;
    return amqp_basic_publish(conn, 1, amqp_empty_bytes, text(topic), 1, 0, &p,
                              (amqp_bytes_t){ size, (void *)(uintptr_t)payload });
}

/* Takes confirms: what is there, or until all are. 0: no more can be had. */
static int take_confirms(amqp_connection_state_t conn, uint64_t *confirmed, uint64_t until)
{
    struct timeval none = { 0, 0 };
    amqp_frame_t frame;

    for (;;) {
        int rc = amqp_simple_wait_frame_noblock(conn, &frame, *confirmed < until ? NULL : &none);

        if (rc == AMQP_STATUS_TIMEOUT)
            return 1;
        if (rc != AMQP_STATUS_OK || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            return 0;
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        /* Single ones may come out of order; each counts one all the same. */
        *confirmed = ack->multiple && ack->delivery_tag > *confirmed ? ack->delivery_tag : *confirmed + 1;
        amqp_maybe_release_buffers(conn);
    }
}

static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    amqp_connection_state_t conn = rabbitmq_reach(b);
    uint64_t confirmed = 0;
    int good = conn != NULL && amqp_confirm_select(conn, 1) != NULL;

    for (size_t i = 0; good && i < p->count; i++) {
        size_t behind = i + 1 == p->count ? p->count : i + 1 > window ? i + 1 - window : 0;

        good = publish_alone(conn, topic, parcel_record(p, i)) == AMQP_STATUS_OK;
        if (good && (confirmed < behind || i % 32 == 31))
            good = take_confirms(conn, &confirmed, behind);
    }
    if (conn != NULL)
        amqp_destroy_connection(conn);
    return good ? 0 : -1;
}

/* ---- What only RabbitMQ can ---- */

/* Too large for the server, which closes the channel: it is found, and all others pass. */
static void test_closed_channel(struct broker *b)
{
    static char large[(1 << 20) + 1];
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(rabbitmq_make(b, "closing", 0), 0);
    REQUIRE(parcel_make(&p, "closing", 0, 300, 5) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    p.items[47].record.payload = large;
    p.items[47].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 300, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[47].fate, FATE_REJECT);
    CHECK(strstr(p.why, "RabbitMQ refused it: 406 PRECONDITION_FAILED") != NULL, "%s", p.why);
    CHECK_INT(parcel_count(&p, FATE_REJECT), 1);
    CHECK_INT(parcel_count(&p, FATE_RETRY) + parcel_count(&p, FATE_UNKNOWN), 0);
    /* All but those behind it of its key. */
    for (size_t i = 0; i < p.count; i++)
        if (i < 47 || p.items[i].key_hash != p.items[47].key_hash)
            CHECK_INT(p.items[i].fate, FATE_PUBLISHED);
    ledger_read(&l, b, "closing", 300, 5);
    CHECK_INT(l.distinct, parcel_count(&p, FATE_PUBLISHED));
    ledger_free(&l);
    parcel_free(&p);
}

/* A queue that is full and refuses: each such message goes again, with an attempt. */
static void test_full_queue(struct broker *b)
{
    amqp_table_entry_t entries[] = {
        { amqp_cstring_bytes("x-max-length"), { .kind = AMQP_FIELD_KIND_I32, .value.i32 = 10 } },
        { amqp_cstring_bytes("x-overflow"), { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = text("reject-publish") } },
    };
    amqp_table_t arguments = { 2, entries };
    amqp_connection_state_t conn = rabbitmq_reach(b);
    struct parcel p = {0};

    REQUIRE(conn != NULL, "no connection");
    amqp_queue_declare(conn, 1, amqp_cstring_bytes("full"), 0, 1, 0, 0, arguments);
    CHECK_INT(amqp_get_rpc_reply(conn).reply_type, AMQP_RESPONSE_NORMAL);
    amqp_destroy_connection(conn);
    REQUIRE(parcel_make(&p, "full", 0, 100, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED) + parcel_count(&p, FATE_RETRY), 100);
    CHECK(parcel_count(&p, FATE_PUBLISHED) >= 10 && parcel_count(&p, FATE_RETRY) > 0, "%zu published, %zu retried",
          parcel_count(&p, FATE_PUBLISHED), parcel_count(&p, FATE_RETRY));
    CHECK(strstr(p.why, "basic.nack") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* An exchange that is not there is nobody's fault: nothing is charged, and it goes once it is. */
static void test_exchange(struct broker *b)
{
    amqp_connection_state_t conn = rabbitmq_reach(b);
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(rabbitmq_make(b, "bound", 0), 0);
    REQUIRE(conn != NULL && parcel_make(&p, "bound", 0, 100, 5) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "amqp.exchange", "shop") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_UNAVAILABLE);
    CHECK_INT(parcel_count(&p, FATE_NONE), 100);
    CHECK(strstr(p.why, "NOT_FOUND") != NULL && strstr(p.why, "amqp.exchange") != NULL, "%s", p.why);
    amqp_exchange_declare(conn, 1, text("shop"), text("topic"), 0, 1, 0, 0, amqp_empty_table);
    amqp_queue_bind(conn, 1, text("bound"), text("shop"), text("bound.#"), amqp_empty_table);
    CHECK_INT(amqp_get_rpc_reply(conn).reply_type, AMQP_RESPONSE_NORMAL);
    amqp_destroy_connection(conn);
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 100);
    ledger_read(&l, b, "bound", 100, 5);
    CHECK_INT(l.distinct, 100);
    ledger_free(&l);
    parcel_free(&p);
}

/* What AMQP's frames have no room for: the text is said, and nothing is sent that would end the connection. */
static void test_misfits(struct broker *b)
{
    static char name[301], topic[301], value[140000];
    outbox_header headers[] = { { name, "x" }, { "x-large", value } };
    struct parcel p = {0};

    memset(name, 'n', sizeof name - 1);
    memset(topic, 't', sizeof topic - 1);
    memset(value, 'v', sizeof value - 1);
    REQUIRE_INT(rabbitmq_make(b, "misfits", 0), 0);
    REQUIRE(parcel_make(&p, "misfits", 0, 6, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    p.items[0].record.topic = topic;
    p.items[1].record.message_type = topic;
    p.items[2].record.headers = &headers[0];
    p.items[3].record.headers = &headers[1];
    p.items[2].record.header_count = p.items[3].record.header_count = 1;
    CHECK_INT(parcel_send(&p, 0, 6, 60000), DELIVERY_DONE);
    for (int i = 0; i < 6; i++)
        CHECK_INT(p.items[i].fate, i < 4 ? FATE_REJECT : FATE_PUBLISHED);
    parcel_free(&p);
}

static const struct broker_test tests[] = {
    { "a message for which the server closes the channel", test_closed_channel },
    { "a queue that is full", test_full_queue },
    { "an exchange that is not there yet", test_exchange },
    { "what AMQP has no room for", test_misfits },
    { "certificates that say who it is", rabbitmq_test_certificates },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "rabbitmq",
    .program = "rabbitmq-server",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE,
    .under_way = 4000, /* it hands messages out before it has written and confirmed them */
    .cloudevents = "cloudEvents:",
    .limit = "amqp.max_message",
    .whole = 1,
    .start = rabbitmq_start,
    .wait = rabbitmq_wait,
    .url = url,
    .make = rabbitmq_make,
    .consume = consume,
    .baseline = baseline,
    .tests = tests,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
