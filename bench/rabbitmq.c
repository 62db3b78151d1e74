/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The publisher for RabbitMQ beside a minimal program on librabbitmq, with the same window, payload, properties and
 * durability. Run by tests/with-rabbitmq.
 *
 *     OUTBOX_BENCH_ROWS   messages a run (20000)
 */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "bench.h"
#include "lib-test.h"
#include "publish.h"

enum { ROUNDS = 5, SIZE = 512 };

struct world {
    struct load load;
    outbox_publisher *publisher;
    amqp_connection_state_t conn;
    uint64_t sent, confirmed;
};

static amqp_bytes_t text(const char *s)
{
    return amqp_cstring_bytes(s);
}

static int connect_alone(struct world *w, const char *host, int port)
{
    amqp_socket_t *socket;

    w->conn = amqp_new_connection();
    socket = amqp_tcp_socket_new(w->conn);
    if (socket == NULL || amqp_socket_open(socket, host, port) != AMQP_STATUS_OK ||
        amqp_login(w->conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "outbox", "s3cret/word").reply_type !=
            AMQP_RESPONSE_NORMAL)
        return 0;
    amqp_channel_open(w->conn, 1);
    amqp_queue_declare(w->conn, 1, text("bench"), 0, 1, 0, 0, amqp_empty_table);
    amqp_confirm_select(w->conn, 1);
    return amqp_get_rpc_reply(w->conn).reply_type == AMQP_RESPONSE_NORMAL;
}

/* Takes confirms: one that waits, then those that are there. */
static int take(struct world *w, int wait)
{
    struct timeval none = { 0, 0 };
    amqp_frame_t frame;

    for (;;) {
        int rc = amqp_simple_wait_frame_noblock(w->conn, &frame, wait ? NULL : &none);

        if (rc == AMQP_STATUS_TIMEOUT)
            return 1;
        if (rc != AMQP_STATUS_OK || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            return 0;
        w->confirmed = ((amqp_basic_ack_t *)frame.payload.method.decoded)->multiple
                           ? ((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag : w->confirmed + 1;
        amqp_maybe_release_buffers(w->conn);
        if (wait && w->confirmed == w->sent)
            return 1;
    }
}

static int publish_alone(struct world *w, size_t number)
{
    static const char *const headers[][2] = { { "outbox-key", "12345" },
                                              { "outbox-created-at", "2023-11-14T22:13:20.000000Z" },
                                              { "outbox-token", "0:0" },
                                              { "outbox-attempt", "1" } };
    amqp_table_entry_t entries[4];
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                                            AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
                                  .delivery_mode = 2, .timestamp = 1700000000 };
    char id[60];

    snprintf(id, sizeof(id), "01890a5d-ac96-774b-bcce-%012zx", number);
    p.message_id = text(id);
    for (int i = 0; i < 4; i++) {
        entries[i].key = text(headers[i][0]);
        entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
        entries[i].value.value.bytes = text(headers[i][1]);
    }
    p.headers.num_entries = 4;
    p.headers.entries = entries;
    w->sent++;
    return amqp_basic_publish(w->conn, 1, amqp_empty_bytes, text("bench"), 1, 0, &p,
                              (amqp_bytes_t){ w->load.payload_size, (void *)w->load.payload }) == AMQP_STATUS_OK;
}

static double run_alone(void *ctx)
{
    struct world *w = ctx;
    int64_t start;

    amqp_queue_purge(w->conn, 1, text("bench"));
    start = monotonic_us();
    for (size_t done = 0; done < w->load.count; done += w->load.window) {
        for (size_t i = done; i < done + w->load.window && i < w->load.count; i++)
            if (!publish_alone(w, i) || (i % 32 == 31 && !take(w, 0)))
                return 0;
        if (w->confirmed < w->sent && !take(w, 1))
            return 0;
    }
    return (double)w->load.count * 1e6 / (double)(monotonic_us() - start);
}

static double run_ours(void *ctx)
{
    struct world *w = ctx;

    amqp_queue_purge(w->conn, 1, text("bench"));
    return publish_rate(w->publisher, &w->load);
}

int main(void)
{
    static const size_t windows[] = { 100, 1000, 10000 };
    const char *server = getenv("OUTBOX_TEST_RABBITMQ"), *colon = server != NULL ? strchr(server, ':') : NULL;
    char payload[SIZE], url[300], what[60];
    struct world w = { .load = { "bench", payload, SIZE, (size_t)env_number("OUTBOX_BENCH_ROWS", 20000), 0 } };

    if (colon == NULL) {
        fprintf(stderr, "run it by tests/with-rabbitmq\n");
        return 2;
    }
    memset(payload, 'x', SIZE);
    snprintf(url, sizeof(url), "amqp://outbox:s3cret%%2Fword@%s", server);
    w.publisher = open_publisher(url, NULL);
    if (w.publisher == NULL || !connect_alone(&w, "127.0.0.1", atoi(colon + 1)))
        return 1;
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        w.load.window = windows[i];
        snprintf(what, sizeof(what), "rabbitmq, %zu at a time", windows[i]);
        compare(what, ROUNDS, run_ours, run_alone, &w);
    }
    amqp_destroy_connection(w.conn);
    outbox_publisher_free(w.publisher);
    return 0;
}
