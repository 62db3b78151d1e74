/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A private RabbitMQ for the tests of publishers, and its queues. */
#include "rabbitmq_broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

/* Of Erlang's own, beside those of the broker. */
struct own {
    int distribution, names;
};

static struct own erlang;

static const char *script(void)
{
    static char path[300];
    const char *source = getenv("OUTBOX_SRCDIR");
    char here[200];

    if (source == NULL)
        source = getcwd(here, sizeof here);
    snprintf(path, sizeof path, "%s/tests/publishers/rabbitmq-server", source);
    return path;
}

/* A definition is in the server's memory for two seconds before it is on the disk: a queue that was confirmed to, and
 * is killed within them, is gone. */
static int flush_definitions(struct broker *b)
{
    char command[600];

    snprintf(command, sizeof command, "'%s' %s %d %d %d %d mnesia sync_log", script(), b->directory, b->port,
             b->tls_port, erlang.distribution, erlang.names);
    return CHECK(system(command) == 0, "%s fails", command) ? 0 : -1;
}

int rabbitmq_start(struct broker *b)
{
    static char numbers[4][8];

    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        erlang.distribution = broker_port();
        erlang.names = broker_port();
        if (broker_certificates(b) != 0)
            return -1;
    }
    snprintf(numbers[0], sizeof numbers[0], "%d", b->port);
    snprintf(numbers[1], sizeof numbers[1], "%d", b->tls_port);
    snprintf(numbers[2], sizeof numbers[2], "%d", erlang.distribution);
    snprintf(numbers[3], sizeof numbers[3], "%d", erlang.names);
    return broker_run(b, (const char *const[]){ script(), b->directory, numbers[0], numbers[1], numbers[2], numbers[3],
                                                NULL });
}

amqp_connection_state_t rabbitmq_reach(const struct broker *b)
{
    amqp_connection_state_t conn = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(conn);

    if (amqp_socket_open(socket, "127.0.0.1", b->port) == AMQP_STATUS_OK &&
        amqp_login(conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "outbox", RABBITMQ_PASSWORD).reply_type ==
            AMQP_RESPONSE_NORMAL &&
        amqp_channel_open(conn, 1) != NULL)
        return conn;
    amqp_destroy_connection(conn);
    return NULL;
}

static int answers(const struct broker *b)
{
    amqp_connection_state_t conn = rabbitmq_reach(b);

    if (conn != NULL)
        amqp_destroy_connection(conn);
    return conn != NULL;
}

int rabbitmq_wait(struct broker *b)
{
    int there;

    WAIT_FOR(answers(b), there);
    return there ? 0 : -1;
}

void rabbitmq_set_file(outbox_conf *conf, const char *key, const struct broker *b, const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    CHECK_INT(outbox_conf_set(conf, key, name[0] != '\0' ? path : "", NULL), OUTBOX_OK);
}

int rabbitmq_make(struct broker *b, const char *topic, int broken)
{
    static const char *const survivors[] = { "again", "killed", "relayed" }; /* of a kill */
    amqp_connection_state_t conn = rabbitmq_reach(b);
    int good;

    if (conn == NULL)
        return -1;
    amqp_queue_delete(conn, 1, amqp_cstring_bytes(topic), 0, 0);
    if (!broken)
        amqp_queue_declare(conn, 1, amqp_cstring_bytes(topic), 0, 1, 0, 0, amqp_empty_table);
    good = amqp_get_rpc_reply(conn).reply_type == AMQP_RESPONSE_NORMAL;
    amqp_destroy_connection(conn);
    for (size_t i = 0; good && i < COUNT_OF(survivors); i++)
        if (strcmp(topic, survivors[i]) == 0)
            return flush_definitions(b);
    return good ? 0 : -1;
}

/* The settings are those of the suite's way by TLS; what matters here is set again. */
static int open_with(struct parcel *p, struct broker *b, const char *auth, const char *cert, const char *key)
{
    int size = (int)strcspn(b->kind->limit, "."), rc;
    char url[300], name[60];
    outbox_conf *conf = NULL;

    if (!CHECK_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK))
        return -1;
    b->kind->url(b, BROKER_BY_TLS, url, sizeof url, conf);
    if (strcmp(auth, "external") == 0) /* nobody is named */
        snprintf(url, sizeof url, "%.*ss://localhost:%d", size, b->kind->limit, b->tls_port);
    snprintf(name, sizeof name, "%.*s.auth", size, b->kind->limit);
    CHECK_INT(outbox_conf_set(conf, name, auth, NULL), OUTBOX_OK);
    snprintf(name, sizeof name, "%.*s.tls.cert_file", size, b->kind->limit);
    rabbitmq_set_file(conf, name, b, cert);
    snprintf(name, sizeof name, "%.*s.tls.key_file", size, b->kind->limit);
    rabbitmq_set_file(conf, name, b, key);
    rc = outbox_publisher_open(url, conf, &p->publisher, &p->err);
    outbox_conf_free(conf);
    return CHECK(rc == OUTBOX_OK, "%s", outbox_error_message(p->err)) ? 0 : -1;
}

void rabbitmq_test_certificates(struct broker *b)
{
    static const struct {
        const char *auth, *cert, *key;
        int in;
    } cases[] = {
        { "external", "client.pem", "client.key", 1 }, /* the user's */
        { "external", "server.pem", "server.key", 0 }, /* a good one, of somebody who is no user */
        { "plain", "server.pem", "server.key", 1 },    /* … which does not matter to a password */
        { "plain", "", "", 0 },                        /* a password does not do without */
    };

    REQUIRE_INT(b->kind->make(b, "certified", 0), 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parcel p = {0};

        if (parcel_make(&p, "certified", 0, 10, 0) == 0 &&
            open_with(&p, b, cases[i].auth, cases[i].cert, cases[i].key) == 0) {
            CHECK_INT(parcel_send(&p, 0, 10, 60000), cases[i].in ? DELIVERY_DONE : DELIVERY_UNAVAILABLE);
            CHECK(parcel_count(&p, cases[i].in ? FATE_PUBLISHED : FATE_NONE) == 10, "case %zu: %s", i, p.why);
            if (!cases[i].in)
                tap_note("%s, \"%s\": %s", cases[i].auth, cases[i].cert, p.why);
        }
        parcel_free(&p);
    }
}
