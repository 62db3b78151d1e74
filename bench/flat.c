/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What must not grow with the backlog: the time of one batch, and the memory of a relay. Prints ratios to the smallest
 * backlog, no verdict.
 *
 *     OUTBOX_BENCH_ROWS   the largest backlog (1000000); the others are a tenth and a hundredth of it
 *     OUTBOX_BENCH_JSON   a file to which each figure is added (bench.h)
 *     argv[1]             only targets whose name contains it
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "lib-test.h"

enum { BATCHES = 31, LANES = 64 };

static long largest(void)
{
    return env_number("OUTBOX_BENCH_ROWS", 1000000);
}

/* ---- A backlog ---- */

static int load(struct fixture *fx, long count)
{
    struct db db;
    int good = db_open(&db, fx->dsn, 1) == 0;

    if (good && target_is_postgresql(fx->target))
        good = db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT i %% %d, "
                       "gen_random_uuid(), 't', 'key ' || i %% 10000, convert_to(repeat('x', 200), 'UTF8') FROM "
                       "generate_series(1, %ld) i", fx->prefix, LANES, count) == 0;
    else if (good && target_is_mariadb(fx->target))
        good = db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT seq %% %d, uuid(), 't', "
                       "concat('key ', seq %% 10000), repeat('x', 200) FROM seq_1_to_%ld", fx->prefix, LANES, count) == 0;
    else if (good)
        good = db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) WITH RECURSIVE s(i) AS "
                       "(SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %ld) SELECT i %% %d, printf("
                       "'01890a5d-ac96-774b-bcce-%%012x', i), 't', 'key ' || i %% 10000, zeroblob(200) FROM s",
                       fx->prefix, count, LANES) == 0;
    db_close(&db);
    return good;
}

/* So many behind one key that is blocked, all set aside, as drain_memory() will have met them. */
static int load_blocked(struct fixture *fx, long count)
{
    struct db db;
    int good = send_text(fx, "t", "blocked", "x") && settle_one(fx, fixture_consumer(fx, NULL), OUTBOX_REJECT, NULL) == 1 &&
               db_open(&db, fx->dsn, 1) == 0;

    if (!good)
        return 0;
    good = db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT %slane('blocked', %d), "
                   "gen_random_uuid(), 't', 'blocked', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, %ld) i",
                   fx->prefix, fx->prefix, LANES, count) == 0;
    db_close(&db);
    return good;
}

static int load_dead(struct fixture *fx, long count)
{
    struct db db;
    int good = db_open(&db, fx->dsn, 1) == 0;

    good = good && db_exec(&db, "INSERT INTO %sdeferred (lane, seq, state, attempts, key_hash, deferred_at, created_at, id, "
                           "topic, payload) SELECT i %% %d, -i, 5, 1, 0, 0, 0, gen_random_uuid(), 't', "
                           "convert_to('x', 'UTF8') FROM generate_series(1, %ld) i", fx->prefix, LANES, count) == 0;
    db_close(&db);
    return good;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Median of claiming, reading and settling one batch of 100, in microseconds. */
static int64_t batch_time(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    int64_t times[BATCHES];

    settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL);
    for (int i = 0; i < BATCHES; i++) {
        int64_t start = monotonic_us();

        CHECK(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL) > 0, "nothing to settle");
        times[i] = monotonic_us() - start;
    }
    qsort(times, BATCHES, sizeof *times, compare_times);
    return times[BATCHES / 2];
}

/* ---- A relay's memory ---- */

/* This program again, as a relay that drains and ends: so its peak is its own. */
static int drain_process(const char *target, const char *dsn, const char *prefix)
{
    struct fixture fx;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int rc;

    memset(&fx, 0, sizeof fx);
    fx.target = target_find(target);
    snprintf(fx.dsn, sizeof fx.dsn, "%s", dsn);
    snprintf(fx.prefix, sizeof fx.prefix, "%s", prefix);
    fx.conf = fixture_conf(&fx);
    outbox_conf_set(fx.conf, "relay.cleaner", "off", NULL);
    rc = outbox_publisher_open("null:", fx.conf, &publisher, NULL);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(fx.dsn, fx.conf, publisher, NULL, &relay, NULL);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_run_once(relay, NULL);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(fx.conf);
    return rc != OUTBOX_OK;
}

/* Peak resident memory of a relay that drains the outbox, in KiB; -1 when it failed. */
static long drain_memory(struct fixture *fx, double *seconds)
{
    struct rusage usage;
    int status = 1;
    int64_t start = monotonic_us();
    pid_t pid;

    fixture_disconnect(fx);
    fflush(stdout);
    if ((pid = fork()) == 0) {
        execl("/proc/self/exe", "flat", "--drain", fx->target->name, fx->dsn, fx->prefix, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0)
        return -1;
    *seconds = (double)(monotonic_us() - start) / 1e6;
    return usage.ru_maxrss;
}

/* ---- The table ---- */

struct result {
    int64_t batch_us;
    long memory_kib;
    double seconds;
    int good;
};

/* What is there beside the pending ones. */
struct history {
    const char *name;
    long published, blocked, dead;
};

static struct result measure(const struct target *target, long pending, const struct history *h)
{
    struct result r = {0, 0, 0, 0};
    struct fixture fx;

    /* As many lanes everywhere, and more than batches are measured. */
    if (fixture_prepare(&fx, target) == 0 && (fixture_set(&fx, "schema.lanes", "64"), fixture_migrate(&fx)) == 0) {
        fixture_set(&fx, "clean.retention", "forever");
        if ((h->published == 0 || (load(&fx, h->published) && drain_memory(&fx, &r.seconds) > 0)) &&
            (h->blocked == 0 || (load_blocked(&fx, h->blocked) && drain_memory(&fx, &r.seconds) > 0)) &&
            (h->dead == 0 || load_dead(&fx, h->dead)))
            if (load(&fx, pending)) {
                r.batch_us = batch_time(&fx);
                r.memory_kib = drain_memory(&fx, &r.seconds);
                r.good = r.memory_kib > 0;
            }
    }
    fixture_close(&fx);
    return r;
}

static void record_row(const char *target, long pending, const char *beside, const struct result *r)
{
    char what[100];

    snprintf(what, sizeof what, "%s/%ld pending/%s", target, pending, beside);
    record_figure("flat", what, "us a batch", (double)r->batch_us);
    record_figure("flat", what, "KiB", (double)r->memory_kib);
    record_figure("flat", what, "messages/s", (double)pending / r->seconds);
}

static void print_row(long pending, const char *beside, const struct result *r, const struct result *base)
{
    if (!r->good) {
        printf("| %9ld | %-26s | failed\n", pending, beside);
        return;
    }
    printf("| %9ld | %-26s | %8.2f ms | %5.2f x | %7ld KiB | %5.2f x | %7.0f/s |\n", pending, beside,
           (double)r->batch_us / 1000, base->good ? (double)r->batch_us / (double)base->batch_us : 0, r->memory_kib,
           base->good ? (double)r->memory_kib / (double)base->memory_kib : 0, (double)pending / r->seconds);
    fflush(stdout);
}

static int bench(const struct target *target)
{
    long rows = largest();
    const struct {
        long pending;
        struct history beside;
    } cases[] = {{rows / 100, {"nothing else", 0, 0, 0}},
                 {rows / 10, {"nothing else", 0, 0, 0}},
                 {rows, {"nothing else", 0, 0, 0}},
                 {rows / 100, {"behind the largest, kept", rows, 0, 0}},
                 {rows / 100, {"a tenth behind one key", 0, rows / 10, 0}},
                 {rows / 100, {"a hundredth dead", 0, 0, rows / 100}}};
    struct result base = {0, 0, 0, 0};
    int good = 1;

    printf("\n%s: claim, read and settle a batch of 100 (median of %d); peak memory of a relay that drains the rest\n\n"
           "|   pending | beside                     |    a batch |   ratio |      memory |   ratio |     drain |\n"
           "| --------- | -------------------------- | ---------- | ------- | ----------- | ------- | --------- |\n",
           target->name, BATCHES);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct history *beside = &cases[i].beside;
        struct result r;

        if (beside->blocked + beside->dead > 0 && !target_is_postgresql(target))
            continue;
        r = measure(target, cases[i].pending, beside);
        if (i == 0)
            base = r;
        print_row(cases[i].pending, beside->name, &r, &base);
        if (r.good)
            record_row(target->name, cases[i].pending, beside->name, &r);
        good &= r.good;
    }
    return good;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"postgresql/position", "postgresql/delete", "sqlite/position", "mariadb/delete"};
    int good = 1;

    if (argc == 5 && strcmp(argv[1], "--drain") == 0)
        return drain_process(argv[2], argv[3], argv[4]);
    tap_begin("flat");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct target *target = target_find(names[i]);

        if (target_missing(target))
            continue;
        if (argc < 2 || strstr(names[i], argv[1]) != NULL)
            good &= bench(target);
    }
    return !good || tap_failed();
}
