/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a commit's return to the publisher's entry, at a hundred messages a second with gaps at random. Threads: this one
 * writes; workers of relays, or the bare loop, note when a message came. Both times are atomic.
 *
 * The bare loop is what one would write at the least: LISTEN, wait, delete what is there and hand it over.
 */
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wake.h"

enum { PER_SLICE = 200, GAP_US = 10000, ROUNDS_MAX = 100, BARE = 0 };

static const char *const variant_names[TRIGGERS] = {"bare loop", "our trigger", "always NOTIFY"};

struct note {
    atomic_llong committed, came;
};

static struct note notes[TRIGGERS][ROUNDS_MAX * PER_SLICE];

static void came(struct note *list, const char *payload, size_t size)
{
    char text[24];
    long i;

    snprintf(text, sizeof text, "%.*s", (int)(size < 20 ? size : 20), payload);
    i = strtol(text, NULL, 10);
    if (i >= 0 && i < ROUNDS_MAX * PER_SLICE)
        atomic_store(&list[i].came, monotonic_us());
}

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    size_t size;
    const void *payload = outbox_record_payload(message, &size);

    (void)retry_ms;
    (void)err;
    came(user, payload, size);
    return OUTBOX_PUBLISHED;
}

/* ---- The bare loop ---- */

struct bare {
    pthread_t thread;
    const char *prefix, *channel;
    atomic_int stop;
};

static void *bare_run(void *arg)
{
    struct bare *b = arg;
    PGconn *conn = pq_connect();
    char sql[300];

    pq_number(conn, "LISTEN \"%s\"", b->channel);
    snprintf(sql, sizeof sql, "DELETE FROM %.30smessages WHERE seq IN (SELECT seq FROM %.30smessages ORDER BY lane, seq "
             "LIMIT 100) RETURNING payload", b->prefix, b->prefix);
    PQclear(PQprepare(conn, "take", sql, 0, NULL));
    while (!atomic_load(&b->stop)) {
        struct pollfd wait = {PQsocket(conn), POLLIN, 0};
        PGresult *r = PQexecPrepared(conn, "take", 0, NULL, NULL, NULL, 1);
        PGnotify *n;

        for (int i = 0; i < PQntuples(r); i++)
            came(notes[BARE], PQgetvalue(r, i, 0), (size_t)PQgetlength(r, i, 0));
        if (PQntuples(r) == 0 && (n = PQnotifies(conn)) == NULL)
            poll(&wait, 1, 1000);
        PQclear(r);
        PQconsumeInput(conn);
        while ((n = PQnotifies(conn)) != NULL)
            PQfreemem(n);
    }
    PQfinish(conn);
    return NULL;
}

/* ---- Writing ---- */

static void write_slice(PGconn *conn, struct outbox *o, struct note *list, long from)
{
    char text[24], lane[8];
    const char *values[2] = {lane, text};

    for (long i = from; i < from + PER_SLICE; i++) {
        /* Gaps of a Poisson process. */
        int64_t until = monotonic_us() + (int64_t)(-log(1.0 - (double)(random() % 100000) / 100000) * GAP_US);
        PGresult *r;

        while (monotonic_us() < until)
            poll(NULL, 0, (int)((until - monotonic_us()) / 1000) + 1);
        snprintf(text, sizeof text, "%ld", i);
        snprintf(lane, sizeof lane, "%ld", i % 64);
        r = PQexecPrepared(conn, o->channel, 2, values, NULL, NULL, 0);
        atomic_store(&list[i].committed, monotonic_us());
        if (PQresultStatus(r) != PGRES_COMMAND_OK) {
            fprintf(stderr, "%s", PQerrorMessage(conn));
            exit(2);
        }
        PQclear(r);
    }
}

static int all_came(const struct note *list, long from)
{
    for (long i = from; i < from + PER_SLICE; i++)
        if (atomic_load(&list[i].came) == 0)
            return 0;
    return 1;
}

static void prepare(PGconn *conn, const struct outbox *o)
{
    char sql[300];

    snprintf(sql, sizeof sql, "INSERT INTO %.30smessages (lane, id, topic, payload) VALUES ($1::smallint, "
             "gen_random_uuid(), 't', convert_to($2::text, 'UTF8'))", o->fx.prefix);
    PQclear(PQprepare(conn, o->channel, sql, 2, NULL));
}

/* ---- The table ---- */

static void print_latency(int variant, long count, double *base)
{
    static const double parts[] = {0.5, 0.99, 1};
    static const char *const names[] = {"p50", "p99", "max"};
    static double times[ROUNDS_MAX * PER_SLICE];
    char what[100];

    for (long i = 0; i < count; i++) {
        int64_t us = atomic_load(&notes[variant][i].came) - atomic_load(&notes[variant][i].committed);

        times[i] = us > 0 ? (double)us / 1000 : 0; /* the answer to the writer can come after the message */
    }
    printf("| %-13s |", variant_names[variant]);
    for (size_t p = 0; p < COUNT_OF(parts); p++) {
        double ms = quantile(times, (size_t)count, parts[p]);

        if (variant == BARE)
            base[p] = ms;
        printf(" %8.2f ms (%5.2f x) |", ms, base[p] > 0 ? ms / base[p] : 0);
        snprintf(what, sizeof what, "latency/%s/%s", names[p], variant_names[variant]);
        record_figure("wake", what, "ms", ms);
    }
    printf("\n");
}

static int run_rounds(struct outbox *outboxes, PGconn *conn, long n)
{
    for (int v = 0; v < TRIGGERS; v++)
        prepare(conn, &outboxes[v]);
    for (long i = 0; i < n; i++)
        for (int k = 0; k < TRIGGERS; k++) {
            int v = (int)((k + i) % TRIGGERS), all;

            outbox_wait_for_watch(&outboxes[v], conn);
            write_slice(conn, &outboxes[v], notes[v], i * PER_SLICE);
            WAIT_FOR(all_came(notes[v], i * PER_SLICE), all);
            if (!CHECK(all, "%s: messages got lost", variant_names[v]))
                return 0;
        }
    return 1;
}

int bench_latency(PGconn *conn)
{
    static struct outbox outboxes[TRIGGERS];
    long n = rounds() < ROUNDS_MAX ? rounds() : ROUNDS_MAX;
    double base[3];
    struct bare bare;
    outbox_publisher *publisher;
    int good = 1;

    /* The bare loop has the trigger that always notifies, and no relay. */
    for (int v = 0; v < TRIGGERS; v++)
        good &= outbox_make(&outboxes[v], v == OURS ? OURS : ALWAYS) == 0;
    for (int v = OURS; v < TRIGGERS && good; v++)
        good = outbox_publisher_from_callback(publish, notes[v], &publisher, NULL) == OUTBOX_OK &&
               outbox_run(&outboxes[v], publisher) == 0;
    if (!good)
        return 0;
    memset(&bare, 0, sizeof bare);
    bare.prefix = outboxes[BARE].fx.prefix;
    bare.channel = outboxes[BARE].channel;
    if (pthread_create(&bare.thread, NULL, bare_run, &bare) != 0)
        return 0;
    good = run_rounds(outboxes, conn, n);
    atomic_store(&bare.stop, 1);
    pthread_join(bare.thread, NULL);
    printf("\nFrom the commit's return to the publisher, 100 messages a second, %ld of each, as a ratio to the bare loop\n\n"
           "|               |                 p50 |                 p99 |                 max |\n"
           "| ------------- | ------------------- | ------------------- | ------------------- |\n", n * PER_SLICE);
    for (int v = 0; v < TRIGGERS && good; v++)
        print_latency(v, n * PER_SLICE, base);
    for (int v = 0; v < TRIGGERS; v++)
        outbox_close(&outboxes[v]);
    return good;
}
