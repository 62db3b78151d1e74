/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A peer for what RabbitMQ never says: it answers each message as the message's type asks for, and each link as its
 * address does. Nobody need log in. */
#include "amqp1_wire.h"

#include "batch_internal.h"
#include "delivery.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    int listener, port, drop;
    const struct broker *certify; /* who has the certificates; NULL: no TLS */
    pthread_t thread;
    struct wire wire;
    pn_message_t *message;
    char bytes[8192];
    int sessions; /* that were begun, on all connections */
};

static void condition(pn_condition_t *c, const char *name, const char *text)
{
    pn_condition_set_name(c, name);
    pn_condition_set_description(c, text);
}

static void take_link(pn_link_t *link)
{
    const char *address = pn_terminus_get_address(pn_link_remote_target(link));

    if (strcmp(address, "missing") == 0) {
        pn_link_open(link); /* without a target */
        condition(pn_link_condition(link), "amqp:not-found", "no node \"missing\"");
        pn_link_close(link);
        return;
    }
    pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
    pn_link_set_max_message_size(link, strcmp(address, "small") == 0 ? 100 : 0);
    pn_link_open(link);
    pn_link_flow(link, strcmp(address, "starved") == 0 ? 0 : 100);
}

/* What the publisher said, told back. */
static void echo(struct peer *p, pn_delivery_t *d)
{
    const char *group = pn_message_get_group_id(p->message);
    char text[200];

    snprintf(text, sizeof text, "%s %s %s", pn_terminus_get_address(pn_link_remote_target(pn_delivery_link(d))),
             group != NULL ? group : "-", pn_connection_remote_hostname(p->wire.driver.connection));
    condition(pn_disposition_condition(pn_delivery_local(d)), "test:echo", text);
    pn_delivery_update(d, PN_REJECTED);
}

static void answer(struct peer *p, pn_delivery_t *d, const char *wish)
{
    if (strcmp(wish, "echo") == 0) {
        echo(p, d);
    } else if (strcmp(wish, "reject") == 0) {
        condition(pn_disposition_condition(pn_delivery_local(d)), "amqp:precondition-failed", "bad\ncolour");
        pn_delivery_update(d, PN_REJECTED);
    } else if (strcmp(wish, "release") == 0) {
        pn_delivery_update(d, PN_RELEASED);
    } else if (strcmp(wish, "modify") == 0) {
        pn_disposition_set_failed(pn_delivery_local(d), 1);
        pn_delivery_update(d, PN_MODIFIED);
    } else if (strcmp(wish, "undeliverable") == 0) {
        pn_disposition_set_undeliverable(pn_delivery_local(d), 1);
        pn_delivery_update(d, PN_MODIFIED);
    } else if (strcmp(wish, "settle") != 0) {
        pn_delivery_update(d, PN_ACCEPTED);
    }
    pn_delivery_settle(d);
}

static void end(pn_link_t *link, const char *name, const char *text)
{
    if (name != NULL)
        condition(pn_link_condition(link), name, text);
    pn_link_close(link);
}

static void take_delivery(struct peer *p, pn_delivery_t *d)
{
    pn_link_t *link = pn_delivery_link(d);
    const char *wish;
    ssize_t n;

    if (pn_delivery_partial(d) || !pn_delivery_readable(d))
        return;
    n = pn_link_recv(link, p->bytes, sizeof p->bytes);
    pn_link_advance(link);
    pn_link_flow(link, 1);
    CHECK(n > 0 && pn_message_decode(p->message, p->bytes, (size_t)n) == 0, "no message");
    wish = pn_message_get_subject(p->message);
    if (strcmp(wish, "refuse") == 0)
        end(link, "amqp:decode-error", "not like this");
    else if (strcmp(wish, "overload") == 0)
        end(link, "amqp:resource-limit-exceeded", "too much");
    else if (strcmp(wish, "leave") == 0)
        end(link, NULL, NULL);
    else if (strcmp(wish, "drop") == 0)
        p->drop = 1;
    else
        answer(p, d, wish);
}

static void take(void *user, pn_event_t *e)
{
    struct peer *p = user;

    switch (pn_event_type(e)) {
    case PN_SESSION_REMOTE_OPEN:
        p->sessions++;
        pn_session_open(pn_event_session(e));
        break;
    case PN_LINK_REMOTE_OPEN:
        take_link(pn_event_link(e));
        break;
    case PN_DELIVERY:
        take_delivery(p, pn_event_delivery(e));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        pn_session_close(pn_event_session(e));
        break;
    case PN_LINK_REMOTE_CLOSE:
        pn_link_close(pn_event_link(e));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        pn_connection_close(pn_event_connection(e));
        break;
    default:
        break;
    }
}

/* One connection after the other. */
static void *run(void *user)
{
    struct peer *p = user;
    int fd;

    while ((fd = accept(p->listener, NULL, NULL)) >= 0) {
        p->drop = 0;
        if (wire_open(&p->wire, fd, 1, NULL, NULL) != 0 ||
            (p->certify != NULL && !CHECK_INT(wire_certify(&p->wire, p->certify), 0)))
            break;
        while (!p->drop && wire_step(&p->wire, take, p))
            continue;
        wire_close(&p->wire);
    }
    return NULL;
}

static int peer_start(struct peer *p, const struct broker *certify)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;

    memset(p, 0, sizeof *p);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->certify = certify;
    p->message = pn_message();
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(p->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(p->listener, 5) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&address, &size) != 0)
        return -1;
    p->port = ntohs(address.sin_port);
    return pthread_create(&p->thread, NULL, run, p);
}

/* Nobody may be connected any more. */
static void peer_stop(struct peer *p)
{
    shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
    pn_message_free(p->message);
}

static int open_at(struct parcel *p, const char *url)
{
    int rc = outbox_publisher_open(url, NULL, &p->publisher, &p->err);

    return CHECK(rc == OUTBOX_OK, "%s: %s", url, outbox_error_message(p->err));
}

/* Further settings, as in a URL. However slow the machine is, it connects. */
static int begin(struct peer *peer, struct parcel *p, size_t count, const char *query)
{
    char url[300];

    memset(p, 0, sizeof *p);
    if (!CHECK_INT(peer_start(peer, NULL), 0) || parcel_make(p, "place", 0, count, 0) != 0)
        return 0;
    snprintf(url, sizeof url, "amqp1://127.0.0.1:%d?connect_timeout=1m%s", peer->port, query);
    return open_at(p, url);
}

static void finish(struct peer *peer, struct parcel *p)
{
    parcel_free(p);
    peer_stop(peer);
}

static void test_outcomes(struct broker *b)
{
    static const struct {
        const char *topic, *wish;
        enum fate fate;
        const char *words;
    } cases[] = {
        { "place", "accept", FATE_PUBLISHED, "" },
        { "place", "reject", FATE_REJECT, "the peer has rejected it: amqp:precondition-failed: bad colour" },
        { "place", "release", FATE_RETRY, "released" },
        { "place", "modify", FATE_RETRY, "sent it back" },
        { "place", "undeliverable", FATE_REJECT, "undeliverable" },
        { "place", "settle", FATE_UNKNOWN, "without an outcome" },
        { "place", "echo", FATE_REJECT, "test:echo: place - 127.0.0.1" },
        { "missing", "accept", FATE_REJECT, "amqp:not-found: no node \"missing\"" },
        { "small", "accept", FATE_REJECT, "the peer takes 100 there" },
        { "place", "refuse", FATE_REJECT, "amqp:decode-error: not like this" },
        { "place", "overload", FATE_RETRY, "amqp:resource-limit-exceeded: too much" },
        { "place", "leave", FATE_UNKNOWN, "the peer ended the link" },
        { "place", "drop", FATE_UNKNOWN, "closed" },
        { "place", "accept", FATE_PUBLISHED, "" },
    };
    struct peer peer;
    struct parcel p;

    (void)b;
    if (begin(&peer, &p, COUNT_OF(cases), ""))
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            p.items[i].record.topic = cases[i].topic;
            p.items[i].record.message_type = cases[i].wish;
            parcel_send(&p, i, 1, 60000);
            CHECK(p.items[i].fate == cases[i].fate, "%s: fate %d: %s", cases[i].wish, (int)p.items[i].fate, p.why);
            CHECK(strstr(p.why, cases[i].words) != NULL, "%s: \"%s\"", cases[i].wish, p.why);
        }
    finish(&peer, &p);
}

/* Of many on their way to an address, one ends the link: it alone is to blame, and other addresses do not notice. */
static void test_blame(struct broker *b)
{
    struct peer peer;
    struct parcel p;

    (void)b;
    if (begin(&peer, &p, 50, "")) {
        for (size_t i = 0; i < p.count; i++) {
            p.items[i].record.topic = i % 2 ? "odd" : "even";
            p.items[i].record.message_type = i == 21 ? "refuse" : i == 30 ? "overload" : "accept";
        }
        CHECK_INT(parcel_send(&p, 0, 50, 60000), DELIVERY_DONE);
        for (size_t i = 0; i < p.count; i++)
            CHECK_INT(p.items[i].fate, i == 21 ? FATE_REJECT : i == 30 ? FATE_RETRY : FATE_PUBLISHED);
    }
    finish(&peer, &p);
}

/* Where there is no credit, nothing is sent, and so nothing is unknown. */
static void test_no_credit(struct broker *b)
{
    struct peer peer;
    struct parcel p;
    int rounds = 0;

    (void)b;
    if (begin(&peer, &p, 10, "&ack_timeout=200ms")) {
        for (size_t i = 0; i < p.count; i++)
            p.items[i].record.topic = "starved";
        CHECK_INT(parcel_send(&p, 0, 10, 600000), DELIVERY_UNAVAILABLE);
        CHECK_INT(parcel_count(&p, FATE_NONE), 10);
        CHECK(strstr(p.why, "amqp1.ack_timeout") != NULL, "%s", p.why);
    }
    finish(&peer, &p);
    if (begin(&peer, &p, 10, "&ack_timeout=1h")) {
        p.items[3].record.topic = "starved";
        for (size_t i = 0; i < p.count; i++)
            p.items[i].record.message_type = "accept";
        do /* each ends because it is cancelled; connecting may take longer than that */
            parcel_send(&p, 0, 10, 500);
        while (parcel_count(&p, FATE_PUBLISHED) < 9 && ++rounds < 20);
        CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 9);
        CHECK(p.items[3].fate != FATE_PUBLISHED, "it was never sent");
    }
    finish(&peer, &p);
}

#define PLACES 250

/* A channel is not taken anew for another address: what the peer still says there would be taken for the new one's. */
static void test_sessions(struct broker *b)
{
    static char topics[PLACES][16];
    struct peer peer;
    struct parcel p;

    (void)b;
    if (begin(&peer, &p, 4 * PLACES, "")) {
        for (size_t i = 0; i < p.count; i++) {
            snprintf(topics[i % PLACES], sizeof topics[0], "place.%zu", i % PLACES);
            p.items[i].record.topic = topics[i % PLACES];
            p.items[i].record.message_type = "accept";
        }
        CHECK_INT(parcel_send(&p, 0, p.count, 600000), DELIVERY_DONE);
        CHECK_INT(parcel_count(&p, FATE_PUBLISHED), p.count);
    }
    finish(&peer, &p);
    CHECK_INT(peer.sessions, 100); /* as many as a connection keeps */
}

static void test_settings(struct broker *b)
{
    static const char *const wrong[][2] = {
        { "amqp1://localhost?auth=plain", "amqp1.user" },
        { "amqp1://localhost/queue", "amqp1.address" },
        { "amqp1s://localhost?tls.ca_file=/nowhere", "amqp1.tls.ca_file" },
        { "amqp1s://localhost?tls.cert_file=/nowhere", "amqp1.tls.cert_file" },
    };
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;
    struct peer peer;
    struct parcel p;

    (void)b;
    if (begin(&peer, &p, 1, "&address=/x/{topic}/y&group_id=key&hostname=vhost:shop&auth=anonymous")) {
        p.items[0].record.message_type = "echo";
        p.items[0].record.partition_key = "k7";
        parcel_send(&p, 0, 1, 60000);
        CHECK_STR(p.why, "the peer has rejected it: test:echo: /x/place/y k7 vhost:shop");
    }
    finish(&peer, &p);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK(outbox_publisher_open(wrong[i][0], NULL, &publisher, &err) < 0, "%s is taken", wrong[i][0]);
        CHECK(strstr(outbox_error_message(err), wrong[i][1]) != NULL, "%s", outbox_error_message(err));
        outbox_error_free(err);
        err = NULL;
    }
}

/* Who has a certificate is let in, and nobody else. */
static void test_certificate(struct broker *b)
{
    struct peer peer;
    struct parcel p = {0};
    char url[400], with[200];

    snprintf(with, sizeof with, "&tls.cert_file=%s/client.pem&tls.key_file=%s/client.key", b->directory, b->directory);
    for (int known = 0; known < 2; known++) {
        if (!CHECK_INT(peer_start(&peer, b), 0) || parcel_make(&p, "place", 0, 1, 0) != 0)
            return;
        p.items[0].record.message_type = "accept";
        snprintf(url, sizeof url, "amqp1s://localhost:%d?connect_timeout=1m&auth=external&tls.ca_file=%s/ca.pem%s",
                 peer.port, b->directory, known ? with : "");
        if (open_at(&p, url))
            parcel_send(&p, 0, 1, 60000);
        CHECK(p.items[0].fate == (known ? FATE_PUBLISHED : FATE_NONE), "fate %d: %s", (int)p.items[0].fate, p.why);
        finish(&peer, &p);
    }
}

const struct broker_test amqp1_peer_tests[] = {
    { "a login by certificate", test_certificate },
    { "each outcome has its verdict", test_outcomes },
    { "who ended the link is found", test_blame },
    { "no credit", test_no_credit },
    { "more addresses than sessions", test_sessions },
    { "settings", test_settings },
    { NULL, NULL },
};
