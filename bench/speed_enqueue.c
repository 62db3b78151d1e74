/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Enqueueing, in durable transactions of one writer: the library, and libpq that inserts the same rows into a table of the
 * same form, with all its indexes and its trigger. What is one statement is a transaction by itself, for both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "speed.h"

enum { MOST = 1000 };

struct writer {
    struct speed *s;
    outbox_conn *conn;
    PGconn *pq;
    long next; /* of the keys */
    unsigned char payload[PAYLOAD];
    struct pq_array arrays[5];
};

/* ---- The library ---- */

static int write_ours(struct writer *w, int count)
{
    static char keys[MOST][16];
    static outbox_message messages[MOST];

    for (int i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "key %ld", w->next++ % KEYS);
        messages[i] = (outbox_message)OUTBOX_MESSAGE_INIT;
        messages[i].topic = "orders";
        messages[i].partition_key = keys[i];
        messages[i].payload = w->payload;
        messages[i].payload_size = sizeof w->payload;
    }
    return CHECK_INT(outbox_enqueue(w->conn, messages, (size_t)count, NULL, NULL), OUTBOX_OK);
}

/* ---- libpq ---- */

struct line {
    char key[16], id[16];
    int16_t lane;
};

/* As cheap as can be: the lane is no hash, the id is not random. */
static void make_line(struct writer *w, struct line *line)
{
    long n = w->next++;

    snprintf(line->key, sizeof line->key, "key %ld", n % KEYS);
    memset(line->id, 0, sizeof line->id);
    memcpy(line->id, &n, sizeof n);
    line->lane = (int16_t)(((n % LANES) << 8) | 0); /* big-endian */
}

static void line_params(const struct writer *w, const struct line *line, struct pq_params *p)
{
    p->count = 0;
    pq_bytes(p, &line->lane, 2);
    pq_bytes(p, line->id, 16);
    pq_text(p, "orders");
    pq_text(p, line->key);
    pq_bytes(p, w->payload, sizeof w->payload);
}

static int write_single(struct writer *w, int count)
{
    struct pq_params p;
    struct line line;

    if (count > 1)
        pq_run(w->pq, "begin", NULL);
    for (int i = 0; i < count; i++) {
        make_line(w, &line);
        line_params(w, &line, &p);
        pq_run(w->pq, "insert", &p);
    }
    if (count > 1)
        pq_run(w->pq, "commit", NULL);
    return 1;
}

static void send(struct writer *w, const char *name, const struct pq_params *p)
{
    if (!PQsendQueryPrepared(w->pq, name, p->count, p->values, p->lengths, p->formats, 1)) {
        fprintf(stderr, "%s\n", PQerrorMessage(w->pq));
        exit(2);
    }
}

/* Reads the results of as many statements. */
static void receive(struct writer *w, int count)
{
    PGresult *r;

    for (int i = 0; i < count; i++)
        while ((r = PQgetResult(w->pq)) != NULL) {
            if (PQresultStatus(r) != PGRES_COMMAND_OK) {
                fprintf(stderr, "%s\n", PQerrorMessage(w->pq));
                exit(2);
            }
            PQclear(r);
        }
}

/* A pipeline up to its end is one transaction. */
static int write_pipelined(struct writer *w, int count)
{
    struct pq_params p;
    struct line line;

    PQenterPipelineMode(w->pq);
    for (int i = 0; i < count; i++) {
        make_line(w, &line);
        line_params(w, &line, &p);
        send(w, "insert", &p);
    }
    PQpipelineSync(w->pq);
    receive(w, count);
    PQclear(PQgetResult(w->pq));
    PQexitPipelineMode(w->pq);
    return 1;
}

static int write_unnest(struct writer *w, int count)
{
    static const uint32_t types[] = {PQ_INT2, PQ_UUID, PQ_TEXT, PQ_TEXT, PQ_BYTEA};
    struct pq_params p = {.count = 0};
    struct line line;

    for (int i = 0; i < 5; i++)
        pq_array_begin(&w->arrays[i], types[i]);
    for (int i = 0; i < count; i++) {
        make_line(w, &line);
        pq_array_add(&w->arrays[0], &line.lane, 2);
        pq_array_add(&w->arrays[1], line.id, 16);
        pq_array_add(&w->arrays[2], "orders", 6);
        pq_array_add(&w->arrays[3], line.key, strlen(line.key));
        pq_array_add(&w->arrays[4], w->payload, sizeof w->payload);
    }
    for (int i = 0; i < 5; i++)
        pq_array_param(&p, &w->arrays[i]);
    pq_run(w->pq, "unnest", &p);
    return 1;
}

/* Into a table that has nothing but a key: what the outbox's columns, index, default values and trigger cost. */
static int write_bare(struct writer *w, int count)
{
    struct pq_params p = {.count = 0};
    struct line line;

    make_line(w, &line);
    pq_text(&p, "orders");
    pq_text(&p, line.key);
    pq_bytes(&p, w->payload, sizeof w->payload);
    pq_run(w->pq, "bare", &p);
    return count == 1;
}

static const struct {
    const char *name;
    int (*write)(struct writer *w, int count);
    double goal_1, goal_10, goal_many;
    int most;
} variants[] = {
    {"liboutbox", write_ours, 0, 0, 0, MOST},
    {"libpq, prepared insert", write_single, 0.9, 0, 0, 100},
    {"libpq, pipelined inserts", write_pipelined, 0, 0, 1.3, MOST},
    {"libpq, unnest of binary arrays", write_unnest, 0, 0, 0.7, MOST},
    {"libpq, table with nothing but a key", write_bare, 0, 0, 0, 1},
};

static void prepare(PGconn *conn, const struct speed *s)
{
    pq_number(conn, "CREATE TABLE IF NOT EXISTS bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text, "
              "partition_key text, payload bytea)");
    pq_prepare(conn, "begin", "BEGIN");
    pq_prepare(conn, "commit", "COMMIT");
    pq_prepare(conn, "insert", "INSERT INTO %smessages (lane, id, topic, partition_key, payload) VALUES ($1::smallint, "
               "$2::uuid, $3::text, $4::text, $5::bytea)", s->theirs.prefix);
    pq_prepare(conn, "unnest", "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT * FROM "
               "unnest($1::smallint[], $2::uuid[], $3::text[], $4::text[], $5::bytea[])", s->theirs.prefix);
    pq_prepare(conn, "bare", "INSERT INTO bench_bare (topic, partition_key, payload) VALUES ($1::text, $2::text, $3::bytea)");
}

/* Processor time of the one server process that serves a connection. */
static int64_t backend_ns(int pid)
{
    return process_cpu_ns(pid);
}

static int backend_of_ours(struct writer *w)
{
    return (int)pq_number(w->s->conn, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> "
                          "pg_backend_pid() AND pid <> %d ORDER BY backend_start DESC LIMIT 1", PQbackendPID(w->pq));
}

static int slice(struct writer *w, size_t variant, int count, int transactions, struct sample *sample)
{
    int pid = variant == 0 ? backend_of_ours(w) : PQbackendPID(w->pq), good = 1;
    int64_t wal = pq_number(w->s->conn, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
    int64_t server = backend_ns(pid), client = process_cpu_ns(getpid()), start = monotonic_us();
    double n = (double)count * transactions;

    for (int i = 0; i < transactions && good; i++)
        good = variants[variant].write(w, count);
    sample->rate = n / ((double)(monotonic_us() - start) / 1e6);
    sample->client = (double)(process_cpu_ns(getpid()) - client) / 1e3 / n;
    sample->server = (double)(backend_ns(pid) - server) / 1e3 / n;
    sample->wal = (double)(pq_number(w->s->conn, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn") - wal) / n;
    sample->writes = -1;
    return good;
}

static int enqueue_round(struct writer *w, int count, int transactions, long round)
{
    char workload[64];
    struct sample sample;
    int good = 1;

    snprintf(workload, sizeof workload, "enqueue, %d a transaction", count);
    report_row(workload, variants[0].name);
    for (size_t k = 0; k < COUNT_OF(variants) && good; k++) {
        size_t i = (k + (size_t)round) % COUNT_OF(variants);
        struct row *row;

        if (count > variants[i].most || (i > 0 && w->s->alone))
            continue;
        row = report_row(workload, variants[i].name);
        row->goal = count == 1 ? variants[i].goal_1 : count == 10 ? variants[i].goal_10 : variants[i].goal_many;
        good = slice(w, i, count, transactions, &sample);
        if (good)
            report_add(row, &sample);
    }
    return good;
}

static int run_rounds(struct writer *w)
{
    static const struct {
        int count, transactions;
    } sizes[] = {{1, 600}, {10, 300}, {100, 100}, {1000, 20}};
    long rounds = w->s->quick ? 1 : w->s->rounds * 2 + 1; /* they are short */
    int good = 1;

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        /* Statements are prepared, and the table has pages. */
        for (size_t v = 0; v < COUNT_OF(variants) && good; v++)
            good = sizes[i].count > variants[v].most || variants[v].write(w, sizes[i].count);
        for (long round = 0; round < rounds && good; round++)
            good = enqueue_round(w, sizes[i].count, w->s->quick ? 3 : sizes[i].transactions, round);
    }
    return good;
}

int speed_enqueue(struct speed *s)
{
    static struct writer w;
    int good;

    w.s = s;
    w.pq = pq_connect();
    memset(w.payload, 0xa5, sizeof w.payload);
    w.conn = fixture_connect(&s->ours);
    pq_number(s->conn, "TRUNCATE %smessages", s->ours.prefix);
    pq_number(s->conn, "TRUNCATE %smessages", s->theirs.prefix);
    prepare(w.pq, s);
    good = w.conn != NULL && run_rounds(&w);
    PQfinish(w.pq);
    for (int i = 0; i < 5; i++)
        free(w.arrays[i].data);
    fixture_disconnect(&s->ours);
    wait_for_others(s->conn);
    return good;
}

/* ---- What a message writes to the log in its life ---- */

static int64_t wal_now(PGconn *conn)
{
    return pq_number(conn, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
}

static void note(struct speed *s, const char *variant, int64_t *wal, int64_t *start, long messages)
{
    int64_t now = wal_now(s->conn), clock = monotonic_us();
    struct sample sample = {(double)messages / ((double)(clock - *start) / 1e6), -1, -1,
                            (double)(now - *wal) / (double)messages, -1};

    report_add(report_row("a message's life", variant), &sample);
    *wal = now;
    *start = clock;
}

static int one_life(struct speed *s, long messages)
{
    struct fixture *fx = &s->ours;
    struct writer w = {.s = s, .conn = fixture_connect(fx)};
    int64_t wal, start, removed = 0;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int good = w.conn != NULL;

    pq_number(s->conn, "TRUNCATE %smessages", fx->prefix);
    pq_number(s->conn, "CHECKPOINT");
    fixture_set(fx, "relay.batch_size", "100");
    wal = wal_now(s->conn);
    start = monotonic_us();
    for (long i = 0; i < messages / 100 && good; i++)
        good = write_ours(&w, 100);
    note(s, "insert, 100 a transaction", &wal, &start, messages);
    good = good && OK(outbox_publisher_open("null:", fx->conf, &publisher, &fx->err)) &&
           OK(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err)) &&
           OK(outbox_relay_run_once(relay, &fx->err));
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    note(s, "drain", &wal, &start, messages);
    good = good && OK(outbox_clean(w.conn, fx->conf, &removed, &fx->err)) && CHECK_INT(removed, messages);
    note(s, "clean", &wal, &start, messages);
    pq_number(s->conn, "VACUUM %smessages", fx->prefix);
    note(s, "vacuum", &wal, &start, messages);
    fixture_disconnect(fx);
    return good;
}

int speed_wal(struct speed *s)
{
    int good = 1;

    for (long i = 0; i < s->rounds && good; i++)
        good = one_life(s, s->quick ? 2000 : 20000);
    return good;
}
