/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Draining: so many messages are pending, and a publisher accepts at once. Threads: the library's workers, or as many of
 * libpq's; each connects and prepares, and then waits at the gate until all are there. The library's workers get there with
 * their first batch read, which is not counted.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "speed.h"

/* Opened once all are there. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting, open;
};

static void gate_pass(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->waiting++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void gate_await(struct gate *gate, int count)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting < count)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = 1;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

#define GATE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0}

struct case_of {
    struct speed *s;
    int workers, batch;
    long messages;
};

/* Rows of a table that were updated or deleted so far. Sessions tell when they end. */
static int64_t writes(PGconn *conn, const char *prefix, const char *table)
{
    return pq_number(conn, "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables WHERE "
                     "relname = '%s%s'", prefix, table);
}

/* ---- The library ---- */

struct counted {
    struct gate gate;
    int workers;
    atomic_int started;
    atomic_long uncounted, published;
};

static int publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct counted *c = self;
    long n = (long)outbox_delivery_count(delivery);
    size_t index;

    (void)err;
    if (atomic_load(&c->started) < c->workers && atomic_fetch_add(&c->started, 1) < c->workers) {
        atomic_fetch_add(&c->uncounted, n);
        gate_pass(&c->gate);
    }
    while (outbox_delivery_next(delivery, &index) != NULL)
        outbox_delivery_answer(delivery, index, OUTBOX_PUBLISHED, -1, NULL);
    atomic_fetch_add(&c->published, n);
    return OUTBOX_OK;
}

static const outbox_publisher_ops ops = {
    .size = sizeof(ops),
    .abi = OUTBOX_PUBLISHER_ABI,
    .flags = OUTBOX_PUBLISHER_IN_ORDER,
    .name = "bench",
    .publish = publish,
};

static void *relay_run(void *relay)
{
    return (void *)(intptr_t)outbox_relay_run_once(relay, NULL);
}

static int drain_ours(const struct case_of *c, struct sample *sample)
{
    struct counted counted = {.gate = GATE, .workers = c->workers};
    struct fixture *fx = &c->s->ours;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    struct cost cost;
    int64_t before;
    pthread_t thread;
    char text[20];
    void *result = NULL;

    load_outbox(c->s, fx, c->messages);
    before = writes(c->s->conn, fx->prefix, "messages");
    snprintf(text, sizeof text, "%d", c->batch);
    fixture_set(fx, "relay.batch_size", text);
    snprintf(text, sizeof text, "%d", c->workers);
    fixture_set(fx, "relay.workers", text);
    fixture_set(fx, "relay.cleaner", "off");
    if (!OK(outbox_publisher_new(&ops, &counted, &publisher, &fx->err)) ||
        !OK(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err)) ||
        pthread_create(&thread, NULL, relay_run, relay) != 0)
        return 0;
    gate_await(&counted.gate, c->workers);
    cost_begin(&cost, c->s->conn);
    gate_open(&counted.gate);
    pthread_join(thread, &result);
    cost_end(&cost, c->s->conn, c->messages - atomic_load(&counted.uncounted), sample);
    sample->writes = (double)(writes(c->s->conn, fx->prefix, "messages") - before) / (double)c->messages;
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return CHECK_INT((intptr_t)result, OUTBOX_OK) && CHECK_INT(atomic_load(&counted.published), c->messages);
}

/* ---- libpq ---- */

struct crew {
    const struct case_of *c;
    const struct drain *drain;
    struct gate gate;
    atomic_long left, done;
};

static void *crew_work(void *arg)
{
    struct crew *crew = arg;
    struct lane_state state;
    PGconn *conn = pq_connect();
    long n = 0;

    memset(&state, 0, sizeof state);
    snprintf(state.owner, sizeof state.owner, "worker %d", PQbackendPID(conn) % 10000);
    crew->drain->prepare(conn, crew->c->s, crew->c->workers);
    gate_pass(&crew->gate);
    while (atomic_load(&crew->left) > 0 && (n = crew->drain->take(conn, crew->c->s, crew->c->batch, &state)) > 0) {
        atomic_fetch_sub(&crew->left, n);
        atomic_fetch_add(&crew->done, n);
    }
    PQfinish(conn);
    return NULL;
}

static int drain_theirs(const struct case_of *c, const struct drain *drain, struct sample *sample)
{
    struct crew crew = {.c = c, .drain = drain, .gate = GATE};
    const char *prefix = drain->table != NULL ? "" : c->s->theirs.prefix;
    const char *table = drain->table != NULL ? drain->table : "messages";
    int counted = drain->most > 0 && drain->most < c->messages;
    pthread_t threads[16];
    struct cost cost;
    int64_t before;

    drain->load(c->s, c->messages);
    before = writes(c->s->conn, prefix, table);
    atomic_store(&crew.left, counted ? drain->most : c->messages + 1);
    for (int i = 0; i < c->workers; i++)
        if (pthread_create(&threads[i], NULL, crew_work, &crew) != 0)
            return 0;
    gate_await(&crew.gate, c->workers);
    cost_begin(&cost, c->s->conn);
    gate_open(&crew.gate);
    for (int i = 0; i < c->workers; i++)
        pthread_join(threads[i], NULL);
    cost_end(&cost, c->s->conn, atomic_load(&crew.done), sample);
    sample->writes = (double)(writes(c->s->conn, prefix, table) - before) / (double)atomic_load(&crew.done);
    return counted || CHECK_INT(atomic_load(&crew.done), c->messages);
}

/* ---- All ---- */

void load_outbox(struct speed *s, const struct fixture *fx, long messages)
{
    const char *p = fx->prefix;

    pq_number(s->conn, "TRUNCATE %smessages", p);
    /* No page of a table is written for the first time since a checkpoint while it is drained, but those of lanes are. */
    pq_number(s->conn, "CHECKPOINT");
    pq_number(s->conn, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT k.lane, gen_random_uuid(), "
              "'orders', k.key, decode(repeat('a5', %d), 'hex') FROM generate_series(1, %ld) i JOIN (SELECT n, 'key ' || "
              "n AS key, %slane('key ' || n, %d) AS lane FROM generate_series(0, %d - 1) n) k ON k.n = i %% %d "
              "ORDER BY i", p, PAYLOAD, messages, p, LANES, KEYS, KEYS);
    pq_number(s->conn, "VACUUM ANALYZE %smessages", p);
    pq_number(s->conn, "VACUUM ANALYZE %slanes", p);
}

static int drain_round(const struct case_of *c, long round)
{
    char workload[64];
    struct sample sample;
    int good = 1;

    snprintf(workload, sizeof workload, "drain, %d worker%s, batch %d", c->workers, c->workers > 1 ? "s" : "", c->batch);
    report_row(workload, "liboutbox");
    for (size_t k = 0; k <= drain_count && good; k++) {
        size_t i = (k + (size_t)round) % (drain_count + 1);
        const struct drain *drain = i > 0 ? &drains[i - 1] : NULL;
        struct row *row;

        if (drain != NULL && c->s->alone)
            continue;
        row = report_row(workload, drain != NULL ? drain->name : "liboutbox");
        good = drain != NULL ? drain_theirs(c, drain, &sample) : drain_ours(c, &sample);
        if (drain != NULL) {
            row->goal = c->batch == 100 ? drain->goal_100 : drain->goal_1000;
            row->why = drain->why;
        }
        if (good)
            report_add(row, &sample);
    }
    return good;
}

int speed_drain(struct speed *s)
{
    static const int workers[] = {1, 2, 4}, batches[] = {100, 1000};
    int good = 1;

    for (size_t i = 0; i < drain_count; i++)
        if (drains[i].make != NULL)
            drains[i].make(s);
    for (size_t b = 0; b < COUNT_OF(batches); b++)
        for (size_t w = 0; w < COUNT_OF(workers); w++)
            for (long round = 0; round < s->rounds && good; round++) {
                struct case_of c = {s, workers[w], batches[b], s->messages};

                good = drain_round(&c, round);
            }
    return good;
}
