/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for AMQP 1.0 with a real RabbitMQ, read back by a consumer of AMQP 1.0. */
#include "amqp1_wire.h"
#include "rabbitmq_broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <amqp_framing.h>

static int start(struct broker *b)
{
    setenv("OUTBOX_RABBITMQ_PLUGINS", "rabbitmq_amqp1_0", 1);
    return rabbitmq_start(b);
}

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;

    if (way == BROKER_WRONG_PASSWORD)
        snprintf(text, size, "amqp1://outbox:s3cr3t@127.0.0.1:%d", b->port);
    else
        snprintf(text, size, "%s://outbox:pa%%3Ass%%40word@%s:%d", tls ? "amqp1s" : "amqp1",
                 way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    CHECK_INT(outbox_conf_set(conf, "amqp1.address", "/queue/{topic}", NULL), OUTBOX_OK);
    CHECK_INT(outbox_conf_set(conf, "amqp1.durable_target", "on", NULL), OUTBOX_OK);
    if (!tls)
        return;
    rabbitmq_set_file(conf, "amqp1.tls.ca_file", b, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    rabbitmq_set_file(conf, "amqp1.tls.cert_file", b, "client.pem");
    rabbitmq_set_file(conf, "amqp1.tls.key_file", b, "client.key");
}

/* A queue that is durable; a broken one is another one than RabbitMQ makes for the address, which it refuses then. (A
 * queue that is not there does not help: RabbitMQ accepts what no queue takes. Nor does one that is full: it ends the
 * connection for that.) */
static int make(struct broker *b, const char *topic, int broken)
{
    amqp_connection_state_t conn;
    int good;

    if (!broken)
        return rabbitmq_make(b, topic, 0);
    conn = rabbitmq_reach(b);
    if (conn == NULL)
        return -1;
    amqp_queue_declare(conn, 1, amqp_cstring_bytes(topic), 0, 0, 0, 0, amqp_empty_table);
    good = amqp_get_rpc_reply(conn).reply_type == AMQP_RESPONSE_NORMAL;
    amqp_destroy_connection(conn);
    return good ? 0 : -1;
}

/* ---- The consumer ---- */

struct reader {
    struct wire wire;
    pn_message_t *message;
    char *bytes;
    size_t room, size;
    long count, seen;
    broker_take *take;
    void *user;
    int failed;
};

/* Texts of a message end with no NUL: copies that do. */
struct copies {
    char *texts[2 * TAKEN_METAS + 4];
    size_t count;
};

static const char *copy(struct copies *copies, pn_bytes_t bytes)
{
    char *text = malloc(bytes.size + 1);

    if (text == NULL)
        return NULL;
    if (bytes.size > 0)
        memcpy(text, bytes.start, bytes.size); /* there is no NUL behind it */
    text[bytes.size] = '\0';
    return copies->texts[copies->count++] = text;
}

static void take_properties(struct taken *taken, struct copies *copies, pn_data_t *data)
{
    pn_data_rewind(data);
    if (!pn_data_next(data) || pn_data_type(data) != PN_MAP)
        return;
    pn_data_enter(data);
    while (pn_data_next(data) && taken->count < TAKEN_METAS - 4) {
        const char *name = copy(copies, pn_data_get_string(data));

        if (pn_data_next(data) && pn_data_type(data) == PN_STRING)
            taken_add(taken, name, copy(copies, pn_data_get_string(data)));
    }
    pn_data_exit(data);
}

static void hand_over(struct reader *r)
{
    pn_data_t *body = pn_message_body(r->message);
    pn_msgid_t id = pn_message_get_id(r->message);
    struct taken taken = { .payload = "" };
    struct copies copies = {0};

    CHECK(pn_message_is_durable(r->message), "it is not durable");
    pn_data_rewind(body);
    if (CHECK(pn_data_next(body) && pn_data_type(body) == PN_BINARY, "the body is no data section")) {
        pn_bytes_t payload = pn_data_get_binary(body);

        taken.payload = payload.start != NULL ? payload.start : "";
        taken.size = payload.size;
    }
    if (id.type == PN_STRING)
        taken_add(&taken, "outbox-id", copy(&copies, id.u.as_bytes));
    if (pn_message_get_content_type(r->message) != NULL)
        taken_add(&taken, "content-type", pn_message_get_content_type(r->message));
    if (pn_message_get_subject(r->message) != NULL)
        taken_add(&taken, "outbox-type", pn_message_get_subject(r->message));
    take_properties(&taken, &copies, pn_message_properties(r->message));
    r->take(r->user, &taken);
    while (copies.count > 0)
        free(copies.texts[--copies.count]);
}

static void read_delivery(struct reader *r, pn_delivery_t *d)
{
    size_t pending = pn_delivery_pending(d);
    ssize_t n;

    if (r->size + pending > r->room) {
        r->room = (r->size + pending) * 2;
        r->bytes = realloc(r->bytes, r->room);
    }
    n = pn_link_recv(pn_delivery_link(d), r->bytes + r->size, pending);
    if (n > 0)
        r->size += (size_t)n;
    if (pn_delivery_partial(d))
        return;
    pn_link_advance(pn_delivery_link(d));
    if (CHECK_INT(pn_message_decode(r->message, r->bytes, r->size), 0))
        hand_over(r);
    r->size = 0;
    r->seen++;
}

static void reader_take(void *user, pn_event_t *e)
{
    struct reader *r = user;

    if (pn_event_type(e) == PN_DELIVERY && pn_delivery_readable(pn_event_delivery(e)))
        read_delivery(r, pn_event_delivery(e));
    else if (pn_event_type(e) == PN_LINK_REMOTE_CLOSE || pn_event_type(e) == PN_SESSION_REMOTE_CLOSE ||
             pn_event_type(e) == PN_CONNECTION_REMOTE_CLOSE)
        r->failed = 1;
}

static void read_queue(struct reader *r, const char *topic)
{
    pn_session_t *session = pn_session(r->wire.driver.connection);
    pn_link_t *link;
    char address[300];

    snprintf(address, sizeof address, "/amq/queue/%s", topic);
    pn_session_open(session);
    link = pn_receiver(session, "reader");
    pn_terminus_set_address(pn_link_source(link), address);
    pn_link_open(link);
    pn_link_flow(link, (int)r->count);
    while (r->seen < r->count && !r->failed && wire_step(&r->wire, reader_take, r))
        continue;
}

/* Settles nothing: when the connection goes, all is there again, in order. What is there is counted first. */
static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    struct reader r = { .take = take, .user = user };
    amqp_connection_state_t conn = rabbitmq_reach(b);
    amqp_queue_declare_ok_t *queue =
        conn != NULL ? amqp_queue_declare(conn, 1, amqp_cstring_bytes(topic), 1, 0, 0, 0, amqp_empty_table) : NULL;

    r.count = queue != NULL ? (long)queue->message_count : -1;
    if (conn != NULL)
        amqp_destroy_connection(conn);
    if (r.count <= 0 || wire_connect(&r.wire, b->port, "outbox", RABBITMQ_PASSWORD) != 0)
        return r.count > 0 ? -1 : r.count;
    r.message = pn_message();
    read_queue(&r, topic);
    pn_message_free(r.message);
    free(r.bytes);
    wire_close(&r.wire);
    return r.seen == r.count ? r.count : -1;
}

/* ---- By the client library alone ---- */

struct writer {
    struct wire wire;
    size_t away;
    int failed;
};

static void writer_take(void *user, pn_event_t *e)
{
    struct writer *w = user;
    pn_delivery_t *d = pn_event_delivery(e);

    if (pn_event_type(e) != PN_DELIVERY || !pn_delivery_updated(d))
        return;
    w->failed |= pn_delivery_remote_state(d) != PN_ACCEPTED;
    pn_delivery_settle(d);
    w->away--;
}

static void put(pn_data_t *data, const char *name, const char *value)
{
    pn_data_put_string(data, pn_bytes(strlen(name), name));
    pn_data_put_string(data, pn_bytes(strlen(value), value));
}

static void write_one(pn_link_t *link, pn_message_t *m, const outbox_record *r)
{
    const char *id = outbox_record_id(r);
    pn_atom_t atom = { .type = PN_STRING };
    size_t count, size;
    const outbox_header *own = outbox_record_headers(r, &count);
    const void *payload = outbox_record_payload(r, &size);
    pn_data_t *data = pn_message_properties(m);

    pn_message_clear(m);
    atom.u.as_bytes = pn_bytes(strlen(id), id);
    pn_message_set_id(m, atom);
    pn_message_set_durable(m, 1);
    pn_message_set_inferred(m, 1);
    pn_message_set_creation_time(m, 1);
    pn_message_set_subject(m, outbox_record_message_type(r));
    pn_message_set_content_type(m, outbox_record_content_type(r));
    pn_data_put_map(data);
    pn_data_enter(data);
    put(data, "outbox-created-at", "2026-01-01T00:00:00.000020Z");
    put(data, "outbox-token", "3:7");
    put(data, "outbox-attempt", "1");
    if (outbox_record_partition_key(r) != NULL)
        put(data, "outbox-key", outbox_record_partition_key(r));
    for (size_t i = 0; i < count; i++)
        put(data, own[i].name, own[i].value);
    pn_data_exit(data);
    pn_data_put_binary(pn_message_body(m), pn_bytes(size, payload));
    pn_message_send(m, link, NULL);
}

static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    struct writer w = {0};
    pn_message_t *m = pn_message();
    pn_session_t *session;
    pn_link_t *link;
    char address[100];

    if (wire_connect(&w.wire, b->port, "outbox", RABBITMQ_PASSWORD) != 0)
        return -1;
    snprintf(address, sizeof address, "/amq/queue/%s", topic);
    session = pn_session(w.wire.driver.connection);
    pn_session_open(session);
    link = pn_sender(session, "writer");
    pn_terminus_set_address(pn_link_target(link), address);
    pn_link_open(link);
    for (size_t i = 0; i < p->count && !w.failed; i++) {
        uint64_t tag = i;

        pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
        write_one(link, m, parcel_record(p, i));
        w.away++;
        while (w.away > (i + 1 == p->count ? 0 : window) && !w.failed)
            w.failed |= !wire_step(&w.wire, writer_take, &w);
    }
    pn_message_free(m);
    wire_close(&w.wire);
    return w.failed ? -1 : 0;
}

/* ---- What only this one can ---- */

/* Too large for the server, which ends the session: it is found, and all others pass. */
static void test_ended_session(struct broker *b)
{
    static char large[(1 << 20) + 1];
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(rabbitmq_make(b, "ending", 0), 0);
    REQUIRE(parcel_make(&p, "ending", 0, 300, 5) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    p.items[47].record.payload = large;
    p.items[47].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 300, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[47].fate, FATE_REJECT);
    tap_note("%s", p.why);
    CHECK_INT(parcel_count(&p, FATE_REJECT), 1);
    CHECK_INT(parcel_count(&p, FATE_RETRY) + parcel_count(&p, FATE_UNKNOWN), 0);
    for (size_t i = 0; i < p.count; i++)
        if (i < 47 || p.items[i].key_hash != p.items[47].key_hash)
            CHECK_INT(p.items[i].fate, FATE_PUBLISHED);
    ledger_read(&l, b, "ending", 300, 5);
    CHECK_INT(l.distinct, parcel_count(&p, FATE_PUBLISHED));
    ledger_free(&l);
    parcel_free(&p);
}

#define TOPICS 250

/* More addresses than a connection keeps ready. */
static void test_many_addresses(struct broker *b)
{
    static char topics[TOPICS][16];
    amqp_connection_state_t conn = rabbitmq_reach(b);
    struct parcel p = {0};
    long n = 0, there = 0, again;

    REQUIRE(conn != NULL && parcel_make(&p, "t", 0, 4 * TOPICS, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "amqp1.address", "/amq/queue/{topic}") == 0, "not prepared");
    for (size_t i = 0; i < TOPICS; i++) {
        snprintf(topics[i], sizeof topics[i], "many.%zu", i);
        amqp_queue_declare(conn, 1, amqp_cstring_bytes(topics[i]), 0, 1, 0, 0, amqp_empty_table);
        for (size_t k = 0; k < 4; k++)
            p.items[k * TOPICS + i].record.topic = topics[i];
    }
    CHECK_INT(parcel_send(&p, 0, p.count, 600000), DELIVERY_DONE);
    /* A server that is busy may lose a link over an error of its own (internal-error, noproc), and says so. */
    again = (long)(p.count - parcel_count(&p, FATE_PUBLISHED));
    CHECK(again <= 10 && parcel_count(&p, FATE_REJECT) == 0, "%ld: %s", again, p.why);
    CHECK(parcel_send_all(&p, 100), "%s", p.why);
    for (size_t i = 0; i < TOPICS; i++) {
        amqp_queue_declare_ok_t *queue =
            amqp_queue_declare(conn, 1, amqp_cstring_bytes(topics[i]), 1, 0, 0, 0, amqp_empty_table);

        n += queue != NULL && queue->message_count >= 4;
        there += queue != NULL ? queue->message_count : 0;
        amqp_queue_delete(conn, 1, amqp_cstring_bytes(topics[i]), 0, 0);
    }
    CHECK_INT(n, TOPICS);
    CHECK(there <= 4 * TOPICS + again, "%ld were sent again, and %ld are there", again, there);
    amqp_destroy_connection(conn);
    parcel_free(&p);
}

/* A peer that says nothing any more is found by its heartbeats, long before anybody gives the call up. */
static void test_heartbeat(struct broker *b)
{
    struct parcel p = {0};

    REQUIRE_INT(rabbitmq_make(b, "silent", 0), 0);
    REQUIRE(parcel_make(&p, "silent", 0, 200, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "amqp1.heartbeat", "4s") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    broker_pause(b);
    parcel_send(&p, 100, 100, 600000);
    broker_resume(b);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 100);
    CHECK_INT(parcel_count(&p, FATE_UNKNOWN), 100);
    CHECK(strstr(p.why, "local-idle-timeout") != NULL, "%s", p.why);
    CHECK(parcel_send_all(&p, 100), "%s", p.why);
    parcel_free(&p);
}

/* By a scripted peer. */
static void test_peer(struct broker *b)
{
    for (const struct broker_test *test = amqp1_peer_tests; test->name != NULL; test++) {
        tap_note("%s", test->name);
        test->run(b);
    }
}

static const struct broker_test tests[] = {
    { "a scripted peer: each outcome, blame, no credit, settings", test_peer },
    { "a message for which the server ends the session", test_ended_session },
    { "more addresses than a connection keeps", test_many_addresses },
    { "a server that says nothing any more", test_heartbeat },
    { "certificates that say who it is", rabbitmq_test_certificates },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "amqp1",
    .program = "rabbitmq-server",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE,
    .under_way = 4000, /* it hands messages out before it has written and confirmed them */
    .cloudevents = "cloudEvents:",
    .limit = "amqp1.max_message",
    .window = "amqp1.window",
    .start = start,
    .wait = rabbitmq_wait,
    .url = url,
    .make = make,
    .consume = consume,
    .baseline = baseline,
    .tests = tests,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
