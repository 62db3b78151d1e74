/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* liboutbox with its default settings (two workers, batches of 100), through psqlODBC, by its public interface. */
#include "peer.h"

#include <outbox/outbox.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static outbox_conn *conn;
static atomic_long taken;

static void need(int rc, outbox_error *err)
{
    if (rc == OUTBOX_OK)
        return;
    fprintf(stderr, "liboutbox: %s\n", outbox_error_message(err));
    exit(1);
}

static void setup(void)
{
    outbox_error *err = NULL;

    need(outbox_conn_open(getenv("OUTBOX_TEST_PG"), NULL, &conn, &err), err);
    need(outbox_migrate(conn, NULL, &err), err);
}

static void transact(long first, size_t count)
{
    static outbox_message messages[PEER_MOST];
    static char payload[PEER_PAYLOAD];
    outbox_error *err = NULL;

    memset(payload, 'x', sizeof payload);
    for (size_t i = 0; i < count; i++) {
        messages[i] = (outbox_message)OUTBOX_MESSAGE_INIT;
        messages[i].topic = "orders";
        messages[i].partition_key = peer_key(first + (long)i);
        messages[i].payload = payload;
        messages[i].payload_size = sizeof payload;
    }
    need(outbox_conn_begin(conn, &err), err);
    need(outbox_enqueue(conn, messages, count, NULL, &err), err);
    need(outbox_conn_commit(conn, &err), err);
}

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)user, (void)message, (void)retry_ms, (void)err;
    atomic_fetch_add(&taken, 1);
    return OUTBOX_PUBLISHED;
}

static void drain(long count)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_error *err = NULL;

    atomic_store(&taken, 0);
    need(outbox_publisher_from_callback(publish, NULL, &publisher, &err), err);
    need(outbox_relay_new(getenv("OUTBOX_TEST_PG"), NULL, publisher, NULL, &relay, &err), err);
    need(outbox_relay_run_once(relay, &err), err);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    if (atomic_load(&taken) != count) {
        fprintf(stderr, "liboutbox: %ld taken of %ld\n", atomic_load(&taken), count);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const struct peer peer = {setup, transact, NULL, drain};

    return peer_run(argc, argv, &peer);
}
