/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PgQ, over libpq: one consumer, each batch in one transaction. Several events are inserted by COPY into the table that
 * pgq.current_event_table() names. Instead of pgqd, which looks once a second, a tick follows each 1000 events that are
 * to be drained.
 */
#include "peer.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PGconn *conn;
static char payload[PEER_PAYLOAD + 1];

static void need(int good)
{
    if (good)
        return;
    fprintf(stderr, "pgq: %s\n", PQerrorMessage(conn));
    exit(1);
}

static PGresult *checked(PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);

    need(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_COPY_IN);
    return r;
}

static void sql(const char *text)
{
    PQclear(checked(PQexec(conn, text)));
}

static void prepare(const char *name, const char *text)
{
    PQclear(checked(PQprepare(conn, name, text, 0, NULL)));
}

static void open_connection(void)
{
    conn = PQconnectdb("");
    need(PQstatus(conn) == CONNECTION_OK);
    sql("SET client_min_messages = warning");
}

static void setup(void)
{
    memset(payload, 'x', PEER_PAYLOAD);
    open_connection();
    sql("CREATE EXTENSION pgq");
    sql("SELECT pgq.create_queue('orders'), pgq.register_consumer('orders', 'relay')");
    prepare("insert", "SELECT pgq.insert_event('orders', 'order', $1, $2, NULL, NULL, NULL)");
    prepare("table", "SELECT pgq.current_event_table('orders')");
}

static PGresult *run(const char *name, int count, const char *const *values)
{
    return checked(PQexecPrepared(conn, name, count, values, NULL, NULL, 0));
}

static void copy(long first, size_t count)
{
    PGresult *table = run("table", 0, NULL);
    char line[PEER_PAYLOAD + 40], text[200];

    snprintf(text, sizeof text, "COPY %s (ev_time, ev_type, ev_data, ev_extra1) FROM STDIN", PQgetvalue(table, 0, 0));
    PQclear(table);
    PQclear(checked(PQexec(conn, text)));
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(line, sizeof line, "now\torder\t%s\t%s\n", payload, peer_key(first + (long)i));

        need(PQputCopyData(conn, line, size) == 1);
    }
    need(PQputCopyEnd(conn, NULL) == 1);
    PQclear(checked(PQgetResult(conn)));
    need(PQgetResult(conn) == NULL);
}

static void transact(long first, size_t count)
{
    const char *values[] = {payload, peer_key(first)};

    sql("BEGIN");
    if (count == 1)
        PQclear(run("insert", 2, values));
    else
        copy(first, count);
    sql("COMMIT");
}

/* The ticker waits for 500 events or three seconds, so that 1000 are enough. */
static void tick(void)
{
    sql("SELECT pgq.ticker('orders')");
}

/* Returns the events of a batch, or -1 when there is none. */
static long take_batch(void)
{
    PGresult *batch, *events;
    const char *id;
    long count = -1;

    sql("BEGIN");
    batch = run("next", 0, NULL);
    if (!PQgetisnull(batch, 0, 0)) {
        id = PQgetvalue(batch, 0, 0);
        events = run("events", 1, &id);
        count = PQntuples(events);
        PQclear(events);
        PQclear(run("finish", 1, &id));
    }
    PQclear(batch);
    sql("COMMIT");
    return count;
}

static void drain(long count)
{
    PGconn *writer = conn;
    long taken = 0, n;

    open_connection();
    prepare("next", "SELECT pgq.next_batch('orders', 'relay')");
    prepare("events", "SELECT ev_id, ev_data, ev_extra1 FROM pgq.get_batch_events($1)");
    prepare("finish", "SELECT pgq.finish_batch($1)");
    while ((n = take_batch()) >= 0)
        taken += n;
    if (taken != count) {
        fprintf(stderr, "pgq: %ld taken of %ld\n", taken, count);
        exit(1);
    }
    PQfinish(conn);
    conn = writer;
}

int main(int argc, char **argv)
{
    static const struct peer peer = {setup, transact, tick, drain};

    return peer_run(argc, argv, &peer);
}
