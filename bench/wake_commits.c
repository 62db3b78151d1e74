/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commits a second of transactions of one message, each a plain INSERT and nothing else, so that the trigger weighs as
 * much as it can. Threads: the writers, each with a connection. `lock` guards the orders; the counters are atomic.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wake.h"

enum { MOST = 32, ROUNDS_MAX = 100, WARM_MS = 300, SLICE_MS = 1000 };

/* A variant that is two: half of the writers have no trigger and the other half ours. What one is slowed down by, the
 * other is too, so this shows small differences where turns cannot. */
enum { PAIR = TRIGGERS };

enum mode { NO_RELAY, ON_WATCH, BUSY, MODES };
static const char *const mode_names[MODES] = {"no relay", "relay idle at first", "relay busy"};

struct writer {
    struct writers *all;
    pthread_t thread;
    PGconn *conn;
    int index;
    atomic_long commits;
};

struct writers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int wanted, working, end; /* wanted: so many write */
    int variant, swap; /* swap: which half is which */
    atomic_int stop;
    struct writer list[MOST];
};

/* ---- Writers ---- */

static void write_one(struct writer *w, int variant)
{
    char lane[8], name[8];
    const char *values[1] = {lane};
    PGresult *r;

    snprintf(lane, sizeof lane, "%d", (int)((w->index + atomic_load(&w->commits)) % 64));
    snprintf(name, sizeof name, "w%d", variant);
    r = PQexecPrepared(w->conn, name, 1, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s", PQerrorMessage(w->conn));
        exit(2);
    }
    PQclear(r);
    atomic_fetch_add(&w->commits, 1);
}

static int variant_of(const struct writers *all, int index)
{
    return all->variant != PAIR ? all->variant : ((index + all->swap) & 1) != 0 ? OURS : NO_TRIGGER;
}

static void *writer_run(void *arg)
{
    struct writer *w = arg;
    struct writers *all = w->all;

    pthread_mutex_lock(&all->lock);
    while (!all->end) {
        if (w->index >= all->wanted) {
            pthread_cond_wait(&all->changed, &all->lock);
            continue;
        }
        int variant = variant_of(all, w->index);

        all->working++;
        pthread_mutex_unlock(&all->lock);
        while (!atomic_load(&all->stop))
            write_one(w, variant);
        pthread_mutex_lock(&all->lock);
        if (--all->working == 0)
            pthread_cond_broadcast(&all->changed);
        while (all->wanted != 0 && !all->end)
            pthread_cond_wait(&all->changed, &all->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static void writers_start(struct writers *all, struct outbox *outboxes)
{
    char name[8], sql[300];

    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    for (int i = 0; i < MOST; i++) {
        struct writer *w = &all->list[i];

        w->all = all;
        w->index = i;
        w->conn = pq_connect();
        for (int v = 0; v < TRIGGERS; v++) {
            snprintf(name, sizeof name, "w%d", v);
            snprintf(sql, sizeof sql, "INSERT INTO %.30smessages (lane, id, topic, payload) VALUES ($1::smallint, "
                     "gen_random_uuid(), 't', '\\x0123456789abcdef')", outboxes[v].fx.prefix);
            PQclear(PQprepare(w->conn, name, sql, 1, NULL));
        }
        if (pthread_create(&w->thread, NULL, writer_run, w) != 0)
            exit(2);
    }
}

static void writers_end(struct writers *all)
{
    pthread_mutex_lock(&all->lock);
    all->end = 1;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < MOST; i++) {
        pthread_join(all->list[i].thread, NULL);
        PQfinish(all->list[i].conn);
    }
}

struct sample {
    double rate;   /* commits a second */
    double cpu_us; /* of the writers' server processes, a commit */
};

struct counters {
    int64_t at, commits[TRIGGERS], cpu[TRIGGERS];
};

static void read_counters(struct writers *all, int count, struct counters *c)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < count; i++) {
        c->commits[variant_of(all, i)] += atomic_load(&all->list[i].commits);
        c->cpu[variant_of(all, i)] += process_cpu_ns(PQbackendPID(all->list[i].conn));
    }
    c->at = monotonic_us();
}

static void run_slice(struct writers *all, int variant, int count, int warm_ms, struct sample *samples)
{
    struct counters before, after;

    pthread_mutex_lock(&all->lock);
    all->variant = variant;
    all->swap = !all->swap;
    atomic_store(&all->stop, 0);
    all->wanted = count;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    poll(NULL, 0, warm_ms);
    read_counters(all, count, &before);
    poll(NULL, 0, SLICE_MS);
    read_counters(all, count, &after);
    pthread_mutex_lock(&all->lock);
    atomic_store(&all->stop, 1);
    all->wanted = 0;
    pthread_cond_broadcast(&all->changed);
    while (all->working > 0)
        pthread_cond_wait(&all->changed, &all->lock);
    pthread_mutex_unlock(&all->lock);
    for (int v = 0; v < TRIGGERS; v++) {
        double commits = (double)(after.commits[v] - before.commits[v]);

        samples[v].rate = commits * 1e6 / (double)(after.at - before.at);
        samples[v].cpu_us = commits > 0 ? (double)(after.cpu[v] - before.cpu[v]) / 1000 / commits : 0;
    }
}

/* ---- The table ---- */

struct ratios {
    double rate[TRIGGERS][ROUNDS_MAX], cpu[TRIGGERS][ROUNDS_MAX], base[ROUNDS_MAX];
};

static void print_ratios(struct ratios *r, const char *disk, enum mode mode, int count, int n)
{
    char what[100];

    printf("| %-11s | %-19s | %2d | %6.0f |", disk, mode_names[mode], count, median(r->base, (size_t)n));
    for (int v = OURS; v < TRIGGERS; v++) {
        double cpu = median(r->cpu[v], (size_t)n), middle = median(r->rate[v], (size_t)n);

        printf(" %5.3f (%4.2f-%4.2f) | %5.3f |", middle, r->rate[v][0], r->rate[v][n - 1], cpu);
        snprintf(what, sizeof what, "commits/%s/%s/%d/%s", disk, mode_names[mode], count, trigger_names[v]);
        record_figure("wake", what, "ratio", middle);
    }
    printf("\n");
    fflush(stdout);
}

static void measure(struct writers *all, struct outbox *outboxes, PGconn *conn, const char *disk, enum mode mode, int count)
{
    static struct ratios r;
    int n = (int)(rounds() < ROUNDS_MAX ? rounds() : ROUNDS_MAX);

    for (int i = 0; i < n; i++) {
        static const int turns[] = {NO_TRIGGER, PAIR, ALWAYS};
        struct sample s[PAIR + 1][TRIGGERS];

        /* Each comes first, second and last equally often. */
        for (size_t k = 0; k < COUNT_OF(turns); k++) {
            int v = turns[(k + (size_t)i) % COUNT_OF(turns)];

            if (mode == ON_WATCH)
                outbox_wait_for_watch(&outboxes[v == PAIR ? OURS : v], conn);
            run_slice(all, v, count, mode == ON_WATCH ? 0 : WARM_MS, s[v]);
        }
        r.base[i] = s[NO_TRIGGER][NO_TRIGGER].rate;
        r.rate[OURS][i] = s[PAIR][OURS].rate / s[PAIR][NO_TRIGGER].rate;
        r.cpu[OURS][i] = s[PAIR][OURS].cpu_us / s[PAIR][NO_TRIGGER].cpu_us;
        r.rate[ALWAYS][i] = s[ALWAYS][ALWAYS].rate / s[NO_TRIGGER][NO_TRIGGER].rate;
        r.cpu[ALWAYS][i] = s[ALWAYS][ALWAYS].cpu_us / s[NO_TRIGGER][NO_TRIGGER].cpu_us;
    }
    print_ratios(&r, disk, mode, count, n);
}

static void set_disk(PGconn *conn, int slow)
{
    pq_number(conn, "ALTER SYSTEM SET commit_delay = %d", slow ? 2000 : 0);
    pq_number(conn, "ALTER SYSTEM SET commit_siblings = 0");
    pq_number(conn, "SELECT pg_reload_conf()");
}

/* Notifications a second that anybody on the channel gets while 8 writers do their best. */
static void count_notifications(struct writers *all, struct outbox *o, PGconn *conn)
{
    PGconn *listener = pq_connect();
    double figures[ROUNDS_MAX], shares[ROUNDS_MAX];
    int n = (int)(rounds() < ROUNDS_MAX ? rounds() : ROUNDS_MAX);

    pq_number(listener, "LISTEN \"%s\"", o->channel);
    for (int i = 0; i < n; i++) {
        struct sample s[TRIGGERS];
        PGnotify *notify;
        int got = 0;

        outbox_wait_for_watch(o, conn);
        run_slice(all, (int)o->trigger, 8, 0, s);
        pq_number(listener, "SELECT 1"); /* brings what was sent before */
        while ((notify = PQnotifies(listener)) != NULL) {
            got++;
            PQfreemem(notify);
        }
        figures[i] = got;
        shares[i] = s[o->trigger].rate > 0 ? got / s[o->trigger].rate : 0;
    }
    printf("\n%s, 8 writers at full speed for a second, the relay idle at first: %.0f notifications (%.2f a commit)\n",
           trigger_names[o->trigger], median(figures, (size_t)n), median(shares, (size_t)n));
    record_figure("wake", o->trigger == OURS ? "notifications/our trigger" : "notifications/always NOTIFY", "per second",
                  median(figures, (size_t)n));
    PQfinish(listener);
}

static int start_relays(struct outbox *outboxes, PGconn *conn)
{
    for (int v = 0; v < TRIGGERS; v++) {
        pq_number(conn, "TRUNCATE %smessages", outboxes[v].fx.prefix);
        if (outbox_run(&outboxes[v], NULL) != 0)
            return 0;
    }
    return 1;
}

int bench_commits(PGconn *conn)
{
    static const int counts[] = {8, 32};
    static struct writers all;
    static struct outbox outboxes[TRIGGERS];
    int good = 1;

    for (int v = 0; v < TRIGGERS; v++)
        good &= outbox_make(&outboxes[v], (enum trigger)v) == 0;
    if (!good)
        return 0;
    writers_start(&all, outboxes);
    printf("\nCommits a second of one-message transactions, as a ratio to no trigger (lowest and highest round), and the\n"
           "processor time of the writers' server processes a commit, likewise\n\n"
           "| disk        | relay               |  n | none/s | ours              |   cpu | always NOTIFY     |   cpu |\n"
           "| ----------- | ------------------- | -- | ------ | ----------------- | ----- | ----------------- | ----- |\n");
    for (int mode = 0; mode < MODES && good; mode++) {
        if (mode == ON_WATCH)
            good &= start_relays(outboxes, conn);
        for (int slow = 0; slow < 2 && good; slow++) {
            set_disk(conn, slow);
            for (size_t c = 0; c < COUNT_OF(counts); c++)
                measure(&all, outboxes, conn, slow ? "flush + 2ms" : "as it is", (enum mode)mode, counts[c]);
        }
        set_disk(conn, 0);
    }
    for (int v = OURS; v < TRIGGERS && good; v++)
        count_notifications(&all, &outboxes[v], conn);
    writers_end(&all);
    for (int v = 0; v < TRIGGERS; v++)
        outbox_close(&outboxes[v]);
    return good;
}
