/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Throughput of a publisher beside the smallest program on the same client library: the same messages, without keys and
 * then with, server, durability and number on their way, in turns. Prints medians and their ratio, no verdict; and what a
 * message costs this process of its processor, which others on the machine do not change.
 *
 *     OUTBOX_BENCH_MESSAGES   messages a turn (20000)
 *     OUTBOX_BENCH_DELIVERY   messages that are handed to the publisher at once (10000; to one without a window 1000)
 */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TURNS 7
#define WINDOW 1000
#define WINDOW_TEXT "1000"
/* Of a key one message is on its way: with so many, as many as the window allows. The client library alone keeps no order
 * through a failure, and so need not wait. */
#define KEYS 1000
/* Larger than the window, so that what is compared is the way of one connection, and not the end of each delivery, which a
 * relay spends with its other workers. Where all of a delivery goes at once, that is the window. */
#define DELIVERY 10000

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Microseconds of the processor that this process had. */
static int64_t processor_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

static size_t delivery_of(const struct broker *b)
{
    return (size_t)env_number("OUTBOX_BENCH_DELIVERY", b->kind->whole ? WINDOW : DELIVERY);
}

/* Messages a second. */
static double by_publisher(struct parcel *p, struct broker *b)
{
    size_t delivery = delivery_of(b);
    int64_t start;

    CHECK_INT(b->kind->make(b, "bench", 0), 0);
    start = monotonic_us();
    for (size_t i = 0; i < p->count; i += delivery)
        parcel_send(p, i, p->count - i < delivery ? p->count - i : delivery, -1);
    CHECK_INT(parcel_count(p, FATE_PUBLISHED), p->count);
    return (double)p->count * SECOND_US / (double)(monotonic_us() - start);
}

/* As many on their way as the publisher has: its window's, or its delivery's, and of each key one. */
static double by_client(struct parcel *p, struct broker *b, int keys)
{
    size_t window = b->kind->whole ? delivery_of(b) : WINDOW;
    int64_t start;

    if (keys > 0 && (size_t)keys < window)
        window = (size_t)keys;
    CHECK_INT(b->kind->make(b, "bench", 0), 0);
    start = monotonic_us();
    CHECK_INT(b->kind->baseline(b, "bench", p, window), 0);
    return (double)p->count * SECOND_US / (double)(monotonic_us() - start);
}

static void compare_both(struct broker *b, int keys, const char *what)
{
    double publisher[TURNS], client[TURNS];
    int64_t publisher_us = 0, client_us = 0, start;
    struct parcel p = {0};

    REQUIRE(parcel_make(&p, "bench", 0, (size_t)env_number("OUTBOX_BENCH_MESSAGES", 20000), keys) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, b->kind->window, WINDOW_TEXT) == 0, "not prepared");
    for (int i = 0; i < TURNS; i++) {
        start = processor_us();
        publisher[i] = by_publisher(&p, b);
        publisher_us += processor_us() - start;
        start = processor_us();
        client[i] = by_client(&p, b, keys);
        client_us += processor_us() - start;
    }
    qsort(publisher, TURNS, sizeof *publisher, compare);
    qsort(client, TURNS, sizeof *client, compare);
    tap_note("%s: publisher %.0f, client library alone %.0f messages a second: %.2f", what, publisher[TURNS / 2],
             client[TURNS / 2], publisher[TURNS / 2] / client[TURNS / 2]);
    tap_note("%s, of the processor: publisher %.2f, client library alone %.2f microseconds a message", what,
             (double)publisher_us / TURNS / (double)p.count, (double)client_us / TURNS / (double)p.count);
    parcel_free(&p);
}

void broker_bench(struct broker *b)
{
    if (b->kind->baseline == NULL) {
        tap_skip("nothing to compare with");
        return;
    }
    compare_both(b, 0, "without keys");
    compare_both(b, KEYS, "with keys");
}
