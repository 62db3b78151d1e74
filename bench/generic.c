/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the generic driver costs beside the dialect of a database: enqueuing and draining, in turns on the same server.
 * Prints ratios of medians, no verdict.
 *
 *     OUTBOX_BENCH_ROUNDS   rounds (7)
 *     OUTBOX_BENCH_JSON     a file to which each figure is added (bench.h)
 *     argv[1]               only databases whose name contains it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "lib-test.h"

enum { MESSAGES = 4000, AT_ONCE = 100, KEYS = 500, ROUNDS_MAX = 99, DRIVERS = 2, WORKS = 3 };

static const char *const works[WORKS] = {"enqueue, 1 a transaction", "enqueue, 100 a transaction", "claim, read, settle 100"};

struct run {
    double per_second[WORKS][ROUNDS_MAX];
};

static int enqueue(struct fixture *fx, int count, int at_once)
{
    static const char payload[256] = "x";
    outbox_message m[AT_ONCE];
    char keys[AT_ONCE][20];

    for (int done = 0; done < count; done += at_once) {
        for (int i = 0; i < at_once; i++) {
            snprintf(keys[i], sizeof keys[i], "key %d", (done + i) % KEYS);
            m[i] = text_message("bench", keys[i], "");
            m[i].payload = payload;
            m[i].payload_size = sizeof payload;
        }
        if (!OK(outbox_conn_begin(fx->conn, &fx->err)) || !OK(outbox_enqueue(fx->conn, m, (size_t)at_once, NULL, &fx->err)) ||
            !OK(outbox_conn_commit(fx->conn, &fx->err)))
            return 0;
    }
    return 1;
}

static int empty(struct fixture *fx, outbox_consumer *consumer, long expected)
{
    long settled = 0, n;

    while (settled < expected && (n = settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL)) > 0)
        settled += n;
    return CHECK_INT(settled, expected);
}

static double rate(long count, int64_t since)
{
    return (double)count * 1e6 / (double)(monotonic_us() - since);
}

static int once(struct fixture *fx, outbox_consumer *consumer, struct run *run, int round)
{
    const int counts[2] = {MESSAGES / 10, MESSAGES};
    const int at_once[2] = {1, AT_ONCE};
    int64_t start;

    for (int w = 0; w < 2; w++) {
        start = monotonic_us();
        if (!enqueue(fx, counts[w], at_once[w]))
            return 0;
        run->per_second[w][round] = rate(counts[w], start);
    }
    start = monotonic_us();
    if (!empty(fx, consumer, counts[0] + counts[1]))
        return 0;
    run->per_second[2][round] = rate(counts[0] + counts[1], start);
    return 1;
}

static void print(const char *name, struct run *runs, int rounds)
{
    char what[120];

    for (int w = 0; w < WORKS; w++) {
        double ratios[ROUNDS_MAX], native, generic;

        for (int i = 0; i < rounds; i++)
            ratios[i] = runs[1].per_second[w][i] / runs[0].per_second[w][i];
        native = median(runs[0].per_second[w], (size_t)rounds);
        generic = median(runs[1].per_second[w], (size_t)rounds);
        printf("| %-19s | %-26s | %8.0f/s | %8.0f/s | %5.2f (%.2f, %.2f) |\n", name, works[w], native, generic,
               median(ratios, (size_t)rounds), quantile(ratios, (size_t)rounds, 0), quantile(ratios, (size_t)rounds, 1));
        snprintf(what, sizeof what, "%s/%s", name, works[w]);
        record_figure("generic", what, "generic/native", median(ratios, (size_t)rounds));
    }
    fflush(stdout);
}

static int bench(const char *native, const char *generic, int rounds)
{
    const char *const names[DRIVERS] = {native, generic};
    static struct run runs[DRIVERS];
    struct fixture fx[DRIVERS];
    outbox_consumer *consumers[DRIVERS];
    int good = 1;

    for (int d = 0; d < DRIVERS && good; d++) {
        good = fixture_open(&fx[d], target_find(names[d])) == 0;
        consumers[d] = good ? fixture_consumer(&fx[d], NULL) : NULL;
        /* Plans, caches and pages of the tables. */
        good = consumers[d] != NULL && once(&fx[d], consumers[d], &runs[d], 0);
    }
    for (int i = 0; i < rounds * DRIVERS && good; i++) {
        int d = (i + i / DRIVERS) % DRIVERS; /* nobody is always the first */

        good = once(&fx[d], consumers[d], &runs[d], i / DRIVERS);
    }
    if (good)
        print(native, runs, rounds);
    for (int d = 0; d < DRIVERS; d++)
        fixture_close(&fx[d]);
    return good;
}

int main(int argc, char **argv)
{
    static const char *const pairs[][2] = {{"postgresql/position", "generic/postgresql"},
                                           {"postgresql/delete", "generic/postgresql"},
                                           {"mariadb/delete", "generic/mariadb"},
                                           {"sqlite/position", "generic/sqlite"}};
    long rounds = env_number("OUTBOX_BENCH_ROUNDS", 7);
    int good = 1;

    tap_begin("generic");
    printf("| %-19s | %-26s | %10s | %10s | generic / native   |\n| --- | --- | --- | --- | --- |\n", "", "", "native", "generic");
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        if (!target_missing(target_find(pairs[i][0])) && (argc < 2 || strstr(pairs[i][0], argv[1]) != NULL))
            good &= bench(pairs[i][0], pairs[i][1], rounds < ROUNDS_MAX ? (int)rounds : ROUNDS_MAX);
    return !good || tap_failed();
}
