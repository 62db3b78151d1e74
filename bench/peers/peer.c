/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WARM = 1000 };

const char *peer_key(long n)
{
    static char keys[PEER_MOST][16];
    char *key = keys[n % PEER_MOST];

    snprintf(key, sizeof keys[0], "key %ld", n % PEER_KEYS);
    return key;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void load(const struct peer *peer, long count)
{
    for (long n = 0; n < count; n += PEER_MOST) {
        peer->transact(n, PEER_MOST);
        if (peer->tick != NULL)
            peer->tick();
    }
}

static void transactions(const struct peer *peer, size_t size, long count)
{
    for (long i = 0; i < count; i++)
        peer->transact(i * (long)size, size);
}

/* For a line; without one, nobody measures any more. */
static void await(void)
{
    int c;

    fflush(stdout);
    while ((c = getchar()) != '\n')
        if (c == EOF)
            exit(2);
}

static double begin(const char *workload)
{
    printf("ready %s\n", workload);
    await();
    return now();
}

static void end(const char *workload, long count, double start)
{
    printf("done %s %ld %.6f\n", workload, count, now() - start);
    await();
}

int peer_run(int argc, char **argv, const struct peer *peer)
{
    static const char *const workloads[] = {"enqueue-1", "enqueue-100"};
    static const size_t sizes[] = {1, 100};
    long count = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    double start;

    if (count < PEER_MOST) {
        fprintf(stderr, "usage: %s MESSAGES SINGLE HUNDRED\n", argv[0]);
        return 2;
    }
    peer->setup();
    load(peer, WARM);
    peer->drain(WARM);
    load(peer, count);
    start = begin("drain");
    peer->drain(count);
    end("drain", count, start);
    for (int i = 0; i < 2; i++) {
        long times = strtol(argv[2 + i], NULL, 10);

        transactions(peer, sizes[i], times < 20 ? times : 20);
        start = begin(workloads[i]);
        transactions(peer, sizes[i], times);
        end(workloads[i], (long)sizes[i] * times, start);
    }
    return 0;
}
