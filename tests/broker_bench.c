/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Throughput of a publisher beside the smallest program on the same client library: the same messages, server,
 * durability and window, in turns. Prints medians and their ratio, no verdict.
 *
 *     OUTBOX_BENCH_MESSAGES   messages a turn (20000)
 */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>

#define TURNS 7
#define WINDOW 1000

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Messages a second. */
static double by_publisher(struct parcel *p, struct broker *b)
{
    int64_t start;

    CHECK_INT(b->kind->make(b, "bench", 0), 0);
    start = monotonic_us();
    for (size_t i = 0; i < p->count; i += WINDOW)
        parcel_send(p, i, p->count - i < WINDOW ? p->count - i : WINDOW, 600000);
    CHECK_INT(parcel_count(p, FATE_PUBLISHED), p->count);
    return (double)p->count * SECOND_US / (double)(monotonic_us() - start);
}

static double by_client(struct parcel *p, struct broker *b)
{
    int64_t start;

    CHECK_INT(b->kind->make(b, "bench", 0), 0);
    start = monotonic_us();
    CHECK_INT(b->kind->baseline(b, "bench", p, WINDOW), 0);
    return (double)p->count * SECOND_US / (double)(monotonic_us() - start);
}

void broker_bench(struct broker *b)
{
    double publisher[TURNS], client[TURNS];
    struct parcel p = {0};

    if (b->kind->baseline == NULL) {
        tap_skip("nothing to compare with");
        return;
    }
    REQUIRE(parcel_make(&p, "bench", 0, (size_t)env_number("OUTBOX_BENCH_MESSAGES", 20000), 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0, "not prepared");
    for (int i = 0; i < TURNS; i++) {
        publisher[i] = by_publisher(&p, b);
        client[i] = by_client(&p, b);
    }
    qsort(publisher, TURNS, sizeof *publisher, compare);
    qsort(client, TURNS, sizeof *client, compare);
    tap_note("publisher %.0f, client library alone %.0f messages a second: %.2f", publisher[TURNS / 2], client[TURNS / 2],
             publisher[TURNS / 2] / client[TURNS / 2]);
    parcel_free(&p);
}
