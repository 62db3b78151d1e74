/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What load.c measures. */
#include "load.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS_MAX = 50, WRITERS = 2 };

static long rounds(void)
{
    long n = env_number("OUTBOX_BENCH_ROUNDS", 5);

    return n < ROUNDS_MAX ? n : ROUNDS_MAX;
}

static int open_outbox(struct fixture *fx)
{
    int good = fixture_open(fx, target_find("postgresql/position")) == 0;

    fixture_disconnect(fx);
    return good;
}

/* Messages a second that so many writers get in; -1 when one failed. */
static double write_for(const struct fixture *fx, int writers, int transaction, int64_t pause_us, double seconds)
{
    struct writer w[WRITERS];
    atomic_int stop = 0;
    int64_t start = monotonic_us();
    double sum = 0, took;
    int failed = 0;

    memset(w, 0, sizeof w);
    for (int i = 0; i < writers; i++) {
        w[i].fx = fx;
        w[i].transaction = transaction;
        w[i].pause_us = pause_us;
        w[i].stop = &stop;
        failed |= !writer_start(&w[i]);
    }
    poll(NULL, 0, (int)(seconds * 1000));
    took = (double)(monotonic_us() - start) / 1e6;
    for (int i = 0; i < writers; i++)
        sum += (double)atomic_load(&w[i].written);
    atomic_store(&stop, 1);
    for (int i = 0; i < writers && !failed; i++) {
        pthread_join(w[i].thread, NULL);
        failed |= w[i].failed;
    }
    return failed ? -1 : sum / took;
}

static int64_t total(PGconn *conn, const struct fixture *fx)
{
    return pq_number(conn, "SELECT pg_sequence_last_value(pg_get_serial_sequence('%smessages', 'seq'))", fx->prefix);
}

/* Until it has published all that there is. */
static int catch_up(PGconn *conn, const struct fixture *fx, const struct child *relay)
{
    struct told told;
    int all = 0;

    WAIT_FOR(child_ask(relay, &told) && told.published >= total(conn, fx), all);
    return CHECK(all, "the relay has not published all that was written");
}

/* ---- Sustained ---- */

struct sustained {
    double alone[ROUNDS_MAX], beside[ROUNDS_MAX], relayed[ROUNDS_MAX], kept_up[ROUNDS_MAX];
};

static int sustained_round(PGconn *conn, const struct fixture *fx, const struct child *relay, struct sustained *s, long i,
                           int transaction, double seconds)
{
    struct told before, after;
    int64_t start;

    for (int k = 0; k < 2; k++) {
        if ((k + i) % 2 == 0) {
            s->alone[i] = write_for(&fx[1], WRITERS, transaction, 0, seconds);
            continue;
        }
        if (!child_ask(relay, &before))
            return 0;
        start = monotonic_us();
        s->beside[i] = write_for(&fx[0], WRITERS, transaction, 0, seconds);
        if (!child_ask(relay, &after))
            return 0;
        s->relayed[i] = (double)(after.published - before.published) * 1e6 / (double)(monotonic_us() - start);
        if (!catch_up(conn, &fx[0], relay))
            return 0;
    }
    s->kept_up[i] = s->relayed[i] / s->alone[i];
    return s->alone[i] > 0 && s->beside[i] > 0;
}

static void sustained_print(struct sustained *s, int transaction, size_t n)
{
    char what[80];
    double kept = median(s->kept_up, n), ratio[ROUNDS_MAX];

    for (size_t i = 0; i < n; i++)
        ratio[i] = s->beside[i] / s->alone[i];
    printf("| %11d | %10.0f/s | %10.0f/s | %10.0f/s | %5.2f (%.2f, %.2f) | %5.2f |\n", transaction, median(s->alone, n),
           median(s->beside, n), median(s->relayed, n), kept, quantile(s->kept_up, n, 0), quantile(s->kept_up, n, 1),
           median(ratio, n));
    snprintf(what, sizeof what, "sustained/%d a transaction", transaction);
    record_figure("load", what, "relayed/written with no relay", kept);
    record_figure("load", what, "written/written with no relay", median(ratio, n));
}

int load_sustained(PGconn *conn)
{
    static const int transactions[] = {1, 10};
    static struct sustained s;
    static struct fixture fx[2];
    struct child relay;
    long n = rounds();
    double slice = seconds_of(60) / (double)n / 2 / COUNT_OF(transactions);
    int good = open_outbox(&fx[0]) && open_outbox(&fx[1]) && child_start(&relay, &fx[0], 0, 1000, 0);

    printf("\n%d writers at full speed; a relay with two workers and a cleaner; slices of %.1f s, %ld rounds\n\n"
           "| transaction | no relay     | beside one   | relayed      | relayed/no relay   | written |\n"
           "| ----------- | ------------ | ------------ | ------------ | ------------------ | ------- |\n", WRITERS, slice, n);
    for (size_t t = 0; t < COUNT_OF(transactions) && good; t++) {
        for (long i = 0; i < n && good; i++)
            good = sustained_round(conn, fx, &relay, &s, i, transactions[t], slice);
        if (good)
            sustained_print(&s, transactions[t], (size_t)n);
    }
    good &= child_end(&relay);
    fixture_close(&fx[0]);
    fixture_close(&fx[1]);
    return good;
}

/* ---- A held snapshot ---- */

enum { HELD_BY_NOBODY, HELD_READING, HELD_WRITING, HOLDERS, PER_TRANSACTION = 10 };

static const char *const holders[HOLDERS] = {"nobody", "a transaction that reads", "a transaction that writes"};

static PGconn *hold(int who)
{
    PGconn *conn = pq_connect();

    if (who == HELD_BY_NOBODY)
        return conn;
    pq_number(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    pq_number(conn, who == HELD_WRITING ? "SELECT pg_current_xact_id()::text::bigint" : "SELECT count(*) FROM pg_class");
    return conn;
}

/* A thousand messages a second; what the relay did with them in the second half. */
static int held_run(PGconn *conn, int who, double seconds, struct told *told, double *rate)
{
    static struct fixture fx;
    struct told before;
    struct child relay;
    PGconn *holder;
    int64_t start;
    int good = open_outbox(&fx) && child_start(&relay, &fx, 0, 100, 0);

    if (!good)
        return 0;
    holder = hold(who);
    good = write_for(&fx, 1, PER_TRANSACTION, PER_TRANSACTION * 1000, seconds / 2) > 0 && child_ask(&relay, &before);
    start = monotonic_us();
    good = good && write_for(&fx, 1, PER_TRANSACTION, PER_TRANSACTION * 1000, seconds / 2) > 0 && child_ask(&relay, told);
    *rate = (double)(told->published - before.published) * 1e6 / (double)(monotonic_us() - start);
    good = good && catch_up(conn, &fx, &relay);
    PQfinish(holder);
    good &= child_end(&relay);
    fixture_close(&fx);
    return good;
}

int load_held(PGconn *conn)
{
    static double rate[HOLDERS][ROUNDS_MAX], p50[HOLDERS][ROUNDS_MAX], p99[HOLDERS][ROUNDS_MAX];
    long n = rounds();
    double slice = seconds_of(60) / (double)n;
    size_t count = (size_t)n;
    int good = 1;

    printf("\nA thousand messages a second for %.0f s, the second half of it, while somebody holds a snapshot; %ld rounds\n\n"
           "| held by                   | messages/s | ratio |      p50 | without/with |      p99 | without/with |\n"
           "| ------------------------- | ---------- | ----- | -------- | ------------ | -------- | ------------ |\n", slice, n);
    for (long i = 0; i < n * HOLDERS && good; i++) {
        int who = (int)((i + i / HOLDERS) % HOLDERS); /* nobody is always the first */
        struct told told = {0};

        good = held_run(conn, who, slice, &told, &rate[who][i / HOLDERS]);
        p50[who][i / HOLDERS] = told.p50;
        p99[who][i / HOLDERS] = told.p99;
    }
    for (int who = 0; who < HOLDERS && good; who++) {
        printf("| %-25s | %10.0f | %5.2f | %5.2f ms | %12.2f | %5.1f ms | %12.2f |\n", holders[who], median(rate[who], count),
               median(rate[who], count) / median(rate[0], count), median(p50[who], count),
               median(p50[0], count) / median(p50[who], count), median(p99[who], count),
               median(p99[0], count) / median(p99[who], count));
        record_figure("load/held by", holders[who], "messages/s", median(rate[who], count));
        record_figure("load/held by", holders[who], "p50, ms", median(p50[who], count));
        record_figure("load/held by", holders[who], "p99, ms", median(p99[who], count));
    }
    return good;
}

/* ---- More relays ---- */

enum { RELAYS_MAX = 8, WAIT_US = 5000, BATCH = 100 };

static int scale_run(PGconn *conn, const struct fixture *fx, int relays, long messages, double *rate, double *share)
{
    struct child c[RELAYS_MAX];
    struct told told[RELAYS_MAX];
    int64_t first = INT64_MAX, last = 0;
    long least = messages, sum = 0;
    int good = 1;

    pq_number(conn, "TRUNCATE %smessages", fx->prefix);
    pq_number(conn, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT i %% 64, gen_random_uuid(), "
              "'orders', 'key ' || i %% 640, decode(repeat('a5', 256), 'hex') FROM generate_series(1, %ld) i", fx->prefix,
              messages);
    pq_number(conn, "VACUUM ANALYZE %smessages", fx->prefix);
    for (int i = 0; i < relays; i++)
        good &= child_start(&c[i], fx, 1, BATCH, WAIT_US);
    for (int i = 0; i < relays && good; i++)
        good = child_go(&c[i]);
    for (int i = 0; i < relays && good; i++) {
        good = child_ask(&c[i], &told[i]);
        sum += told[i].published;
        least = told[i].published < least ? told[i].published : least;
        first = told[i].first_us != 0 && told[i].first_us < first ? told[i].first_us : first;
        last = told[i].last_us > last ? told[i].last_us : last;
    }
    for (int i = 0; i < relays; i++)
        good &= child_end(&c[i]);
    *rate = (double)sum * 1e6 / (double)(last - first);
    *share = (double)least * relays / (double)sum;
    return good && CHECK_INT(sum, messages);
}

int load_scale(PGconn *conn)
{
    static const int relays[] = {1, 2, 4, RELAYS_MAX};
    static double rate[COUNT_OF(relays)][ROUNDS_MAX], share[COUNT_OF(relays)][ROUNDS_MAX], factor[ROUNDS_MAX];
    static struct fixture fx;
    long n = rounds(), messages = env_number("OUTBOX_BENCH_MESSAGES", 40000);
    int good = open_outbox(&fx);

    for (long i = 0; i < n && good; i++)
        for (size_t k = 0; k < COUNT_OF(relays) && good; k++)
            good = scale_run(conn, &fx, relays[k], messages, &rate[k][i], &share[k][i]);
    printf("\n%ld messages in 64 lanes, relays of one worker each, batches of %d that take the publisher %d ms; %ld rounds\n\n"
           "| relays | messages/s | to one | of linear | the least of a relay, to an even share |\n"
           "| ------ | ---------- | ------ | --------- | -------------------------------------- |\n", messages, BATCH,
           WAIT_US / 1000, n);
    for (size_t k = 0; k < COUNT_OF(relays) && good; k++) {
        char what[40];

        for (long i = 0; i < n; i++)
            factor[i] = rate[k][i] / rate[0][i];
        snprintf(what, sizeof what, "scale/%d relays", relays[k]);
        record_figure("load", what, "times one", median(factor, (size_t)n));
        printf("| %6d | %10.0f | %6.2f | %9.2f |", relays[k], median(rate[k], (size_t)n), median(factor, (size_t)n),
               median(factor, (size_t)n) / relays[k]);
        printf(" %38.2f |\n", median(share[k], (size_t)n));
    }
    fixture_close(&fx);
    return good;
}
