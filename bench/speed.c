/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the library is beside programs on libpq that do the least that could be right. bench/run starts the servers for
 * it. Variants take turns, and figures are medians over the rounds, as ratios to the library in the same round.
 *
 *   drain     messages that are pending, by 1, 2 and 4 workers, with batches of 100 and 1000
 *   enqueue   durable transactions of 1, 10, 100 and 1000 messages
 *   wal       what is written to the log for a message from its insert until it is cleaned away
 *
 *     --quick            everything once, and small; no figure of it means anything
 *     --rounds N         (5)
 *     --messages N       pending at the start of a drain (100000)
 *     --alone            only the library, to look at it with a profiler
 *     --json FILE        all samples
 *     --svg FILE         a plot
 *     PART...            only these
 */
#include "speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(struct speed *s);
} parts[] = {{"drain", speed_drain}, {"enqueue", speed_enqueue}, {"wal", speed_wal}};

/* ---- What a slice of work cost ---- */

int64_t server_cpu_ns(void)
{
    static long pid;
    char path[600], text[1000] = "";
    unsigned long ticks[4] = {0, 0, 0, 0};
    FILE *file;
    char *at;

    if (pid == 0) {
        snprintf(path, sizeof path, "%s/postmaster.pid", getenv("PGDATA"));
        if ((file = fopen(path, "r")) == NULL || fscanf(file, "%ld", &pid) != 1)
            exit(2);
        fclose(file);
    }
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if ((file = fopen(path, "r")) == NULL || fgets(text, sizeof text, file) == NULL)
        exit(2);
    fclose(file);
    /* Behind the name come the state and ten numbers, then our four: its own time, and that of children that ended. */
    at = strrchr(text, ')');
    if (at == NULL || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &ticks[0], &ticks[1],
                             &ticks[2], &ticks[3]) != 4)
        exit(2);
    return (int64_t)(ticks[0] + ticks[1] + ticks[2] + ticks[3]) * (INT64_C(1000000000) / sysconf(_SC_CLK_TCK));
}

static int64_t client_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#define OTHERS "backend_type = 'client backend' AND pid <> pg_backend_pid()"

void cost_begin(struct cost *cost, PGconn *conn)
{
    PGresult *r = PQexec(conn, "SELECT pid FROM pg_stat_activity WHERE " OTHERS);

    cost->server_count = PQntuples(r) < (int)COUNT_OF(cost->servers) ? PQntuples(r) : (int)COUNT_OF(cost->servers);
    for (int i = 0; i < cost->server_count; i++)
        cost->servers[i] = atoi(PQgetvalue(r, i, 0));
    PQclear(r);
    cost->wal = pq_number(conn, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
    cost->server_ns = server_cpu_ns();
    for (int i = 0; i < cost->server_count; i++)
        cost->server_ns += process_cpu_ns(cost->servers[i]); /* it comes to the other, with what follows, when they end */
    cost->client_ns = client_cpu_ns();
    cost->start_us = monotonic_us();
}

void wait_for_others(PGconn *conn)
{
    int gone;

    WAIT_FOR(pq_number(conn, "SELECT count(*) FROM pg_stat_activity WHERE " OTHERS) == 0, gone);
    CHECK(gone, "connections stay open");
}

/* The server has collected what they cost. */
static int ended(const struct cost *cost)
{
    for (int i = 0; i < cost->server_count; i++)
        if (process_cpu_ns(cost->servers[i]) > 0)
            return 0;
    return 1;
}

void cost_end(const struct cost *cost, PGconn *conn, long messages, struct sample *sample)
{
    double seconds = (double)(monotonic_us() - cost->start_us) / 1e6, n = (double)messages;
    int gone;

    sample->rate = n / seconds;
    sample->client = (double)(client_cpu_ns() - cost->client_ns) / 1e3 / n;
    wait_for_others(conn);
    WAIT_FOR(ended(cost), gone);
    CHECK(gone, "server processes do not end");
    sample->server = (double)(server_cpu_ns() - cost->server_ns) / 1e3 / n;
    sample->wal = (double)(pq_number(conn, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") - cost->wal) / n;
    sample->writes = -1;
}

/* ---- A run ---- */

struct options {
    const char *json, *svg, *only[8];
    size_t only_count;
};

static int parse(int argc, char **argv, struct speed *s, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--quick") == 0) {
            s->quick = 1;
            s->rounds = 1;
            s->messages = 3000;
            continue;
        }
        if (strcmp(argv[i], "--alone") == 0) {
            s->alone = 1;
            continue;
        }
        if (argv[i][0] != '-' && o->only_count < COUNT_OF(o->only)) {
            o->only[o->only_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--rounds") == 0)
            s->rounds = strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--messages") == 0)
            s->messages = strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--json") == 0)
            o->json = value;
        else if (strcmp(argv[i], "--svg") == 0)
            o->svg = value;
        else
            return 0;
        i++;
    }
    return s->rounds > 0 && s->rounds <= REPORT_ROUNDS && s->messages >= 1000;
}

static int wanted(const struct options *o, const char *name)
{
    for (size_t i = 0; i < o->only_count; i++)
        if (strcmp(o->only[i], name) == 0)
            return 1;
    return o->only_count == 0;
}

static int open_all(struct speed *s)
{
    const struct target *target = target_find("postgresql/position");

    s->conn = pq_connect();
    if (fixture_open(&s->ours, target) != 0 || fixture_open(&s->theirs, target) != 0)
        return 0;
    fixture_disconnect(&s->ours);
    fixture_disconnect(&s->theirs);
    return 1;
}

int main(int argc, char **argv)
{
    static struct speed s = {.rounds = 5, .messages = 100000};
    struct options o = {.json = NULL};
    int good;

    if (!parse(argc, argv, &s, &o)) {
        fprintf(stderr, "usage: speed [--quick] [--alone] [--rounds N] [--messages N] [--json FILE] [--svg FILE] [PART...]\n");
        return 2;
    }
    if (postgresql_dsn() == NULL) {
        fprintf(stderr, "speed: no PostgreSQL: use bench/run\n");
        return 2;
    }
    tap_begin("speed");
    good = open_all(&s);
    for (size_t i = 0; i < COUNT_OF(parts) && good; i++)
        if (wanted(&o, parts[i].name))
            good = parts[i].run(&s);
    report_print();
    if (report_json(o.json) != 0 || report_svg(o.svg) != 0) {
        perror("speed");
        good = 0;
    }
    fixture_close(&s.ours);
    fixture_close(&s.theirs);
    PQfinish(s.conn);
    return !good || tap_failed();
}
