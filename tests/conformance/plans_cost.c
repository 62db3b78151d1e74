/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What batches touch, by the server's counters, and what they are made of. */
#include <stdio.h>
#include <string.h>

#include "batch_internal.h"
#include "plans.h"

int lanes = LANES, others;

/* ---- Measuring ---- */

struct cost read_counters(struct fixture *fx)
{
    struct cost c;
    struct db db;

    memset(&c, 0, sizeof c);
    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return c;
    c.rows = db_int(&db, "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM "
                    "pg_stat_user_tables WHERE starts_with(relname, '%s')", fx->prefix);
    c.blocks = db_int(&db, "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0) + "
                      "coalesce(toast_blks_read + toast_blks_hit, 0))::bigint FROM pg_statio_user_tables WHERE "
                      "starts_with(relname, '%s')", fx->prefix);
    db_close(&db);
    return c;
}

/* Nobody but us is connected: whoever was has left its counters behind. */
void wait_until_alone(struct fixture *fx)
{
    struct db db;
    int alone;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    WAIT_FOR(db_int(&db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = "
                    "current_database() AND pid <> pg_backend_pid()") == others, alone);
    CHECK(alone, "others are still connected");
    db_close(&db);
}

/* So many, each settled by what reads the next. Those that were. */
int settle_on(struct fixture *fx, outbox_consumer *consumer, int batches)
{
    outbox_batch *batch = NULL;
    int full = 0, rc = outbox_consumer_claim(consumer, &batch, &fx->err);

    for (; rc == OUTBOX_OK && batches > 0; batches--) {
        full += outbox_batch_count(batch) == BATCH_SIZE;
        answer_all(batch, OUTBOX_PUBLISHED);
        rc = batches > 1 ? outbox_batch_next(batch, &fx->err) : outbox_batch_settle(batch, &fx->err);
    }
    CHECK_INT(rc, OUTBOX_OK);
    outbox_batch_free(batch);
    return full;
}

int settle_each(struct fixture *fx, outbox_consumer *consumer, int batches)
{
    int full = 0;

    for (; batches > 0; batches--)
        full += settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL) == BATCH_SIZE;
    return full;
}

/* Each from several lanes, which have as much between them. */
int settle_gathered(struct fixture *fx, outbox_consumer *consumer, int batches)
{
    int full = 0;

    for (; batches > 0; batches--) {
        outbox_batch *batch = NULL;

        consumer->spread = OUTBOX_GATHER_MAX;
        if (!OK(outbox_consumer__claim(consumer, 5, &batch, &fx->err)))
            break;
        full += outbox_batch_count(batch) == BATCH_SIZE && batch->part_count > 1;
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    return full;
}

/* The last one of each batch fails and is set aside, with nothing behind it. */
int settle_failing(struct fixture *fx, outbox_consumer *consumer, int batches)
{
    int full = 0;

    for (; batches > 0; batches--) {
        outbox_batch *batch = NULL;
        size_t last;

        if (!OK(outbox_consumer_claim(consumer, &batch, &fx->err)))
            break;
        full += outbox_batch_count(batch) == BATCH_SIZE;
        answer_all(batch, OUTBOX_PUBLISHED);
        last = outbox_batch_count(batch) - 1;
        outbox_batch__item(batch, last)->fate = FATE_NONE;
        outbox_batch_answer(batch, last, OUTBOX_RETRY, 3600000, "not yet");
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    return full;
}

struct cost per_batch(struct cost before, struct cost after)
{
    return (struct cost){(after.rows - before.rows) / BATCHES, (after.blocks - before.blocks) / BATCHES};
}

/* What one batch costs on average, after a first one that prepares statements and fills caches. */
struct cost measure_by(struct fixture *fx, settle_fn settle)
{
    struct cost before, after;
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    CHECK_INT(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL), BATCH_SIZE);
    fixture_disconnect(fx);
    wait_until_alone(fx);
    before = read_counters(fx);
    wait_until_alone(fx);
    consumer = fixture_consumer(fx, NULL);
    CHECK_INT(settle(fx, consumer, BATCHES), BATCHES);
    fixture_disconnect(fx);
    wait_until_alone(fx);
    after = read_counters(fx);
    return per_batch(before, after);
}

/* ---- Loading ---- */

/* count messages, spread evenly, in so many transactions. */
void load(struct fixture *fx, long count, int transactions)
{
    struct db db;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    for (int i = 0; i < transactions; i++)
        CHECK_INT(db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT i %% %d, "
                          "gen_random_uuid(), 't', 'key ' || i %% 10000, convert_to(repeat('x', 200), 'UTF8') FROM "
                          "generate_series(1, %ld) i", fx->prefix, lanes, count / transactions), 0);
    db_close(&db);
}

void analyze(struct fixture *fx)
{
    struct db db;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    CHECK_INT(db_exec(&db, "ANALYZE"), 0);
    db_close(&db);
}

/* A fresh outbox that autovacuum leaves alone: statistics are what the test makes of them. */
int fresh(struct fixture *fx, const struct target *target)
{
    char text[20];

    if (fixture_prepare(fx, target) != 0)
        return 0;
    snprintf(text, sizeof text, "%d", lanes);
    fixture_set(fx, "schema.lanes", text);
    fixture_set(fx, "relay.batch_size", "10");
    if (fixture_migrate(fx) != 0)
        return 0;
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %smessages SET (autovacuum_enabled = off)", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %sdeferred SET (autovacuum_enabled = off)", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %slanes SET (autovacuum_enabled = off)", fx->prefix), 0);
    fixture_disconnect(fx);
    return 1;
}

/* Publishes everything, which stays readable. */
void publish_all(struct fixture *fx)
{
    fixture_set(fx, "relay.batch_size", "10000");
    CHECK(drain(fx, fixture_consumer(fx, NULL), NULL) > 0, "nothing was published");
    fixture_set(fx, "relay.batch_size", "10");
    fixture_disconnect(fx);
}
