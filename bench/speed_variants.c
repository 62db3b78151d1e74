/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library's drain is compared with: programs on libpq, with prepared statements, binary results, one connection a
 * worker, and nothing that is not needed. What they read they look at, as a publisher would, and that is all.
 */
#include "speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A publisher that accepts at once: it only has the message. */
static long publish_rows(const PGresult *r, int column)
{
    long good = 0;

    for (int i = 0; i < PQntuples(r); i++)
        good += PQgetlength(r, i, column) == PAYLOAD && PQgetvalue(r, i, column)[0] != '\0';
    return good;
}

/* The first column of a result as one parameter. */
static void ids_param(struct pq_params *p, struct pq_array *ids, const PGresult *r, uint32_t type)
{
    pq_array_begin(ids, type);
    for (int i = 0; i < PQntuples(r); i++)
        pq_array_add(ids, PQgetvalue(r, i, 0), (size_t)PQgetlength(r, i, 0));
    pq_array_param(p, ids);
}

static void run_ids(PGconn *conn, const char *name, const PGresult *r, uint32_t type)
{
    struct pq_params p = {.count = 0};
    struct pq_array ids = {NULL, 0, 0, 0};

    ids_param(&p, &ids, r, type);
    pq_run(conn, name, &p);
    free(ids.data);
}

#define ROWS_OF "'orders', 'key ' || i %% %d, decode(repeat('a5', %d), 'hex') FROM generate_series(1, %ld) i"

/* ---- Select and delete, in one transaction a batch ---- */

static void delete_make(struct speed *s)
{
    pq_number(s->conn, "CREATE TABLE bench_delete (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, "
              "partition_key text, payload bytea NOT NULL)");
}

static void delete_load(struct speed *s, long messages)
{
    pq_number(s->conn, "TRUNCATE bench_delete");
    pq_number(s->conn, "INSERT INTO bench_delete (topic, partition_key, payload) SELECT " ROWS_OF, KEYS, PAYLOAD, messages);
    pq_number(s->conn, "VACUUM ANALYZE bench_delete");
}

/* One alone needs no locks: nobody else is there. */
static void delete_prepare(PGconn *conn, const struct speed *s, int workers)
{
    (void)s;
    pq_prepare(conn, "select", "SELECT id, topic, partition_key, payload FROM bench_delete ORDER BY id LIMIT $1::bigint%s",
               workers > 1 ? " FOR UPDATE SKIP LOCKED" : "");
    pq_prepare(conn, "delete", "DELETE FROM bench_delete WHERE id = ANY ($1::bigint[])");
    pq_prepare(conn, "begin", "BEGIN");
    pq_prepare(conn, "commit", "COMMIT");
}

static long delete_take(PGconn *conn, const struct speed *s, int batch, void *state)
{
    struct pq_params p = {.count = 0};
    PGresult *r;
    long n;

    (void)s, (void)state;
    pq_int8(&p, batch);
    pq_run(conn, "begin", NULL);
    r = pq_execute(conn, "select", &p);
    if ((n = publish_rows(r, 3)) > 0)
        run_ids(conn, "delete", r, PQ_INT8);
    pq_run(conn, "commit", NULL);
    PQclear(r);
    return n;
}

/* ---- Position: the protocol of the library's driver, in the library's own tables ---- */

static void position_load(struct speed *s, long messages)
{
    load_outbox(s, &s->theirs, messages);
}

#define NOW "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

static void position_prepare(PGconn *conn, const struct speed *s, int workers)
{
    const char *p = s->theirs.prefix;

    (void)workers;
    pq_prepare_in(conn, p, "claim",
               "UPDATE {p}lanes u SET token = u.token + 1, lease_until = " NOW " + 30000000, owner = $1 WHERE u.lane = "
               "(SELECT l.lane FROM {p}lanes l WHERE l.lane >= 0 AND (l.owner IS NULL OR l.lease_until < " NOW ") AND "
               "coalesce((SELECT m.seq FROM {p}messages m WHERE m.lane = l.lane AND m.seq > l.pos ORDER BY m.lane, m.seq "
               "LIMIT 1), (SELECT q.seq FROM pg_snapshot_xip(l.snap) x CROSS JOIN LATERAL (SELECT m.seq FROM {p}messages m "
               "WHERE m.lane = l.lane AND m.tx = x AND m.seq <= l.pos ORDER BY m.lane, m.tx, m.seq LIMIT 1) q LIMIT 1), "
               "(SELECT m.seq FROM {p}messages m WHERE m.lane = l.lane AND m.tx >= pg_snapshot_xmax(l.snap) AND "
               "m.tx < l.xbound AND m.seq <= l.pos ORDER BY m.lane, m.tx, m.seq LIMIT 1)) IS NOT NULL "
               "ORDER BY l.lease_until, l.lane LIMIT 1 FOR UPDATE SKIP LOCKED) "
               "RETURNING u.lane::integer, u.token, u.pos, u.snap::text, u.xbound::text");
    pq_prepare_in(conn, p, "read",
               "SELECT m.seq, pg_current_snapshot()::text, m.topic, m.partition_key, m.payload FROM (SELECT n.* FROM (SELECT "
               "q.seq FROM pg_snapshot_xip($2::pg_snapshot) x CROSS JOIN LATERAL (SELECT o.seq FROM {p}messages o WHERE "
               "o.lane = $1::integer AND o.tx = x AND o.seq <= $4::bigint ORDER BY o.lane, o.tx, o.seq) q UNION ALL SELECT "
               "o.seq FROM {p}messages o WHERE o.lane = $1::integer AND o.tx >= pg_snapshot_xmax($2::pg_snapshot) AND o.tx "
               "< $3::xid8 AND o.seq <= $4::bigint) z CROSS JOIN LATERAL (SELECT * FROM {p}messages o WHERE o.lane = "
               "$1::integer AND o.seq = z.seq) n UNION ALL (SELECT * FROM {p}messages WHERE lane = $1::integer AND seq > "
               "$4::bigint ORDER BY lane, seq LIMIT $5::bigint)) m ORDER BY m.seq LIMIT $5::bigint");
    pq_prepare_in(conn, p, "settle",
               "UPDATE {p}lanes SET pos = greatest(pos, $3::bigint), snap = $4::pg_snapshot, xbound = pg_current_xact_id(), "
               "owner = CASE WHEN $5::bigint = 1 THEN owner END, lease_until = " NOW " + $5::bigint * 30000000 "
               "WHERE lane = $1::integer AND token = $2::bigint RETURNING xbound::text");
    pq_number(conn, "SET enable_seqscan = off");
    pq_number(conn, "SET enable_bitmapscan = off");
    pq_number(conn, "SET enable_hashjoin = off");
    pq_number(conn, "SET enable_mergejoin = off");
    pq_number(conn, "SET jit = off");
}

static int position_claim(PGconn *conn, struct lane_state *lane)
{
    struct pq_params p = {.count = 0};
    PGresult *r;
    int found;

    pq_text(&p, lane->owner);
    r = pq_execute(conn, "claim", &p);
    if ((found = PQntuples(r) == 1)) {
        uint32_t number;

        memcpy(&number, PQgetvalue(r, 0, 0), 4);
        lane->lane = (int32_t)__builtin_bswap32(number);
        lane->token = pq_cell(r, 0, 1);
        lane->pos = pq_cell(r, 0, 2);
        snprintf(lane->snap, sizeof lane->snap, "%s", PQgetvalue(r, 0, 3));
        snprintf(lane->xbound, sizeof lane->xbound, "%s", PQgetvalue(r, 0, 4));
        lane->kept = 1;
    }
    PQclear(r);
    return found;
}

static void position_settle(PGconn *conn, struct lane_state *lane, const PGresult *rows, int keep)
{
    struct pq_params p = {.count = 0};
    PGresult *r;

    if (PQntuples(rows) > 0) {
        int64_t last = pq_cell(rows, PQntuples(rows) - 1, 0);

        lane->pos = last > lane->pos ? last : lane->pos;
        snprintf(lane->snap, sizeof lane->snap, "%s", PQgetvalue(rows, 0, 1));
    }
    pq_int4(&p, lane->lane);
    pq_int8(&p, lane->token);
    pq_int8(&p, lane->pos);
    pq_text(&p, lane->snap);
    pq_int8(&p, keep);
    r = pq_execute(conn, "settle", &p);
    if (PQntuples(r) != 1) {
        fprintf(stderr, "the lease was lost\n");
        exit(2);
    }
    snprintf(lane->xbound, sizeof lane->xbound, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
}

static long position_take(PGconn *conn, const struct speed *s, int batch, void *state)
{
    struct lane_state *lane = state;
    struct pq_params p = {.count = 0};
    PGresult *r;
    long n;

    (void)s;
    if (lane->kept == 0 && !position_claim(conn, lane))
        return 0;
    pq_int4(&p, lane->lane);
    pq_text(&p, lane->snap);
    pq_text(&p, lane->xbound);
    pq_int8(&p, lane->pos);
    pq_int8(&p, batch);
    r = pq_execute(conn, "read", &p);
    n = publish_rows(r, 4);
    lane->kept = n == batch && lane->kept < 8 ? lane->kept + 1 : 0;
    position_settle(conn, lane, r, lane->kept != 0);
    PQclear(r);
    return n > 0 ? n : position_take(conn, s, batch, state);
}

/* ---- A status column, as such tables are made when somebody thinks about their indexes ---- */

static void status_make(struct speed *s)
{
    pq_number(s->conn, "CREATE TABLE bench_status (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, "
              "partition_key text, payload bytea NOT NULL, status smallint NOT NULL DEFAULT 0, attempts integer NOT NULL "
              "DEFAULT 0, locked_until timestamptz, published_at timestamptz) WITH (fillfactor = 70)");
    pq_number(s->conn, "CREATE INDEX ON bench_status (id) WHERE status = 0");
    pq_number(s->conn, "CREATE INDEX ON bench_status (locked_until) WHERE status = 1");
}

static void status_load(struct speed *s, long messages)
{
    pq_number(s->conn, "TRUNCATE bench_status");
    pq_number(s->conn, "INSERT INTO bench_status (topic, partition_key, payload) SELECT " ROWS_OF, KEYS, PAYLOAD, messages);
    pq_number(s->conn, "VACUUM ANALYZE bench_status");
}

static void status_prepare(PGconn *conn, const struct speed *s, int workers)
{
    (void)s, (void)workers;
    pq_prepare(conn, "claim", "UPDATE bench_status SET status = 1, attempts = attempts + 1, locked_until = now() + "
               "interval '30 s' WHERE id = ANY (ARRAY(SELECT id FROM bench_status WHERE status = 0 ORDER BY id "
               "LIMIT $1::bigint FOR UPDATE SKIP LOCKED)) RETURNING id, topic, partition_key, payload");
    pq_prepare(conn, "done", "UPDATE bench_status SET status = 2, published_at = now(), locked_until = NULL "
               "WHERE id = ANY ($1::bigint[])");
}

static long status_take(PGconn *conn, const struct speed *s, int batch, void *state)
{
    struct pq_params p = {.count = 0};
    PGresult *r;
    long n;

    (void)s, (void)state;
    pq_int8(&p, batch);
    r = pq_execute(conn, "claim", &p);
    if ((n = publish_rows(r, 3)) > 0)
        run_ids(conn, "done", r, PQ_INT8);
    PQclear(r);
    return n;
}

/* ---- The columns, order and indexes of an outbox of this kind that is in use ---- */

static void original_make(struct speed *s)
{
    pq_number(s->conn, "CREATE TABLE bench_original (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), topic text NOT NULL, "
              "partition_key text, payload bytea NOT NULL, headers jsonb NOT NULL DEFAULT '{}', content_type text, "
              "message_type text, status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', "
              "'published', 'dead')), attempts integer NOT NULL DEFAULT 0, max_attempts integer, locked_by text, "
              "locked_until timestamptz, next_attempt_at timestamptz NOT NULL DEFAULT now(), last_error text, "
              "created_at timestamptz NOT NULL DEFAULT now(), published_at timestamptz)");
    pq_number(s->conn, "CREATE INDEX ON bench_original (next_attempt_at, created_at) WHERE status IN "
              "('pending', 'processing')");
    pq_number(s->conn, "CREATE INDEX ON bench_original (published_at) WHERE status = 'published'");
    pq_number(s->conn, "CREATE INDEX ON bench_original (partition_key, created_at) WHERE partition_key IS NOT NULL");
}

static void original_load(struct speed *s, long messages)
{
    pq_number(s->conn, "TRUNCATE bench_original");
    pq_number(s->conn, "INSERT INTO bench_original (topic, partition_key, payload) SELECT " ROWS_OF, KEYS, PAYLOAD, messages);
    pq_number(s->conn, "VACUUM ANALYZE bench_original");
}

static void original_prepare(PGconn *conn, const struct speed *s, int workers)
{
    (void)s, (void)workers;
    pq_prepare(conn, "claim", "UPDATE bench_original SET status = 'processing', locked_by = 'bench', locked_until = now() + "
               "interval '30 s', attempts = attempts + 1 WHERE id IN (SELECT o.id FROM bench_original o WHERE "
               "o.next_attempt_at <= now() AND (o.status = 'pending' OR (o.status = 'processing' AND o.locked_until < now())) "
               "ORDER BY o.created_at LIMIT $1::bigint FOR UPDATE SKIP LOCKED) RETURNING id, topic, partition_key, payload");
    pq_prepare(conn, "done", "UPDATE bench_original SET status = 'published', published_at = now(), locked_by = NULL, "
               "locked_until = NULL WHERE id = ANY ($1::uuid[])");
}

static long original_take(PGconn *conn, const struct speed *s, int batch, void *state)
{
    struct pq_params p = {.count = 0};
    PGresult *r;
    long n;

    (void)s, (void)state;
    pq_int8(&p, batch);
    r = pq_execute(conn, "claim", &p);
    if ((n = publish_rows(r, 3)) > 0)
        run_ids(conn, "done", r, PQ_UUID);
    PQclear(r);
    return n;
}

const struct drain drains[] = {
    {"libpq, select and delete", "bench_delete", delete_make, delete_load, delete_prepare, delete_take, 0.9, 1.2, 0,
     "it keeps no order of keys, no leases and no position, and its rows come in binary: the library's driver takes text"},
    {"libpq, position", NULL, NULL, position_load, position_prepare, position_take, 0.7, 0.5, 0,
     "the same reads and writes, but with only the columns that it needs, in binary, and no check of what was read"},
    {"libpq, status column", "bench_status", status_make, status_load, status_prepare, status_take, 3, 3, 0,
     "the server writes each row twice here; the library pays for the client's text and for round trips instead"},
    {"libpq, the original's table", "bench_original", original_make, original_load, original_prepare, original_take, 15, 15,
     2000, "a claim sorts all that is pending, so this depends on how much there is"},
};
const size_t drain_count = COUNT_OF(drains);
