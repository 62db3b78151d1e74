/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases of a relay while somebody else keeps the row of one of its lanes locked, or changes it all the time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "conn_internal.h"
#include "script.h"
#include "suite.h"

#define LANES "2"

/* One message that is never answered in each lane, so that each of two workers holds one. */
static int fill_lanes(struct fixture *fx)
{
    char key[16];

    for (int i = 0; i < 100 && db_int(&fx->db, "SELECT count(DISTINCT lane) FROM %smessages", fx->prefix) < 2; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (!send_text(fx, "t", key, "poison"))
            return 0;
    }
    return 1;
}

static int64_t lane_int(struct fixture *fx, const char *what, int64_t lane)
{
    return db_int(&fx->db, "SELECT %s FROM %slanes WHERE lane = %lld", what, fx->prefix, (long long)lane);
}

static int64_t now(struct fixture *fx)
{
    int64_t us = 0;

    CHECK_INT(outbox_conn__now(fx->conn, &us, NULL), OUTBOX_OK);
    return us;
}

/* The lane of the worker whose turn is first, locked for longer than its lease: the other one's lease never ends, and its
 * token stays. */
static void hold_lane(struct fixture *fx)
{
    struct db locker;
    int64_t lane, other, token, at;
    int held = 0, ended = 0;

    WAIT_FOR(db_int(&fx->db, "SELECT count(*) FROM %slanes WHERE owner IS NOT NULL AND lane >= 0", fx->prefix) == 2, held);
    lane = db_int(&fx->db, "SELECT lane FROM %slanes WHERE owner LIKE '%%/0.%%'", fx->prefix);
    REQUIRE(held && (lane == 0 || lane == 1), "the workers have no lanes");
    other = 1 - lane;
    token = lane_int(fx, "token", other);
    REQUIRE(db_open(&locker, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&locker, "UPDATE %slanes SET lane = lane WHERE lane = %lld", fx->prefix, (long long)lane), 0);
    /* The clock first: what it is compared with may be renewed meanwhile. */
    WAIT_FOR((at = now(fx), ended |= lane_int(fx, "lease_until", other) < at,
              lane_int(fx, "lease_until", lane) + SECOND_US < at), held);
    CHECK(held, "the lease of the lane that is locked was renewed");
    CHECK(!ended, "the lease of another lane ended meanwhile");
    CHECK_INT(lane_int(fx, "token", other), token);
    CHECK_INT(db_rollback(&locker), 0);
    db_close(&locker);
    /* It goes on where nobody took the lane. */
    WAIT_FOR(lane_int(fx, "lease_until", lane) > now(fx), held);
    CHECK(held, "the lane was given up");
}

static void test_locked_lane(struct fixture *fx)
{
    struct act a;

    if (target_is_sqlite(fx->target)) {
        tap_skip("SQLite locks no rows");
        return;
    }
    fixture_set(fx, "schema.lanes", LANES);
    fixture_set(fx, "relay.lease", "5s");
    fixture_set(fx, "relay.workers", LANES);
    fixture_set(fx, "relay.publish_timeout", "10min");
    fixture_set(fx, "relay.drain_timeout", "0");
    REQUIRE(fixture_migrate(fx) == 0 && fill_lanes(fx), "no outbox");
    if (act_open(fx, &a, POISON_HANGS, 0) && OK(outbox_relay_start(a.relay, &fx->err))) {
        hold_lane(fx);
        outbox_relay_stop(a.relay);
        OK(outbox_relay_join(a.relay, &fx->err));
    }
    act_close(fx, &a);
}

/* ---- Its row is found by where it is ---- */

static int skip_by_key(const struct fixture *fx)
{
    if (strncmp(fx->target->name, "postgresql/", 11) == 0)
        return 0;
    tap_skip("elsewhere a lane's row is found by its key alone");
    return 1;
}

enum { RESTLESS = 8 };

/* Changes nothing of them, one after the other, as a cleaner does. */
struct restless {
    struct fixture *fx;
    atomic_int stop, changes;
};

static void *change_lanes(void *ctx)
{
    struct restless *r = ctx;
    struct db db;

    if (db_open(&db, r->fx->dsn, 1) != 0)
        return NULL;
    while (!atomic_load(&r->stop))
        if (db_exec(&db, "UPDATE %slanes SET cleaned = cleaned WHERE lane = %d", r->fx->prefix,
                    atomic_fetch_add(&r->changes, 1) % RESTLESS) != 0)
            break;
    db_close(&db);
    return NULL;
}

/* One of the lanes has work and is not locked, so one is always found; and what was published is always settled. */
static void work_among_changes(struct fixture *fx, outbox_consumer *consumer, int messages)
{
    outbox_batch *batch = NULL;

    for (int i = 0; i < messages; i++) {
        int rc = outbox_consumer_claim(consumer, &batch, &fx->err);

        REQUIRE(rc == OUTBOX_OK, "%d of %d were found, then: %s", i, messages,
                rc == OUTBOX_NONE ? "nothing" : outbox_error_message(fx->err));
        answer_all(batch, OUTBOX_PUBLISHED);
        if (i % 2 == 0)
            OK(outbox_batch_settle(batch, &fx->err));
        else
            OK(outbox_batch_release(batch, &fx->err));
        outbox_batch_free(batch);
    }
}

static void test_restless_lanes(struct fixture *fx)
{
    struct restless r = {.fx = fx};
    outbox_consumer *consumer = NULL;
    pthread_t thread;
    int messages = 400;

    if (skip_by_key(fx))
        return;
    fixture_set(fx, "schema.lanes", "8");
    fixture_set(fx, "relay.batch_size", "1");
    REQUIRE(fixture_migrate(fx) == 0, "no outbox");
    for (int i = 0; i < messages; i++)
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (lane, id, topic, payload) VALUES (%d, gen_random_uuid(), 't', "
                          "'')", fx->prefix, i % RESTLESS), 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    REQUIRE(pthread_create(&thread, NULL, change_lanes, &r) == 0, "no thread");
    work_among_changes(fx, consumer, messages);
    atomic_store(&r.stop, 1);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&r.changes) > messages / 10, "only %d changes", atomic_load(&r.changes));
    tap_note("%d changes meanwhile", atomic_load(&r.changes));
    CHECK_INT(drain(fx, consumer, NULL), messages / 2);
}

/* ---- It is changed while a batch is settled ---- */

struct settling {
    outbox_batch *batch;
    int (*settle)(outbox_batch *, outbox_error **);
    outbox_error *err;
    int rc;
};

static void *settle_run(void *ctx)
{
    struct settling *s = ctx;

    s->rc = s->settle(s->batch, &s->err);
    return NULL;
}

/* Its statement waits for the row that the change is of, and then the row is not where it was. */
static void settle_behind_a_change(struct fixture *fx, outbox_batch *batch, int (*settle)(outbox_batch *, outbox_error **),
                                   const char *change, const char *waiting)
{
    struct settling s = {batch, settle, NULL, OUTBOX_OK};
    char query[60];
    struct db other;
    pthread_t thread;
    int waits;

    snprintf(query, sizeof query, "%s%%%s", waiting, fx->prefix);
    answer_all(batch, OUTBOX_PUBLISHED);
    REQUIRE(db_open(&other, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&other, change, fx->prefix), 0);
    REQUIRE(pthread_create(&thread, NULL, settle_run, &s) == 0, "no thread");
    WAIT_FOR(db_int(&fx->db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
                             "'%%%s%%'", query) > 0, waits);
    CHECK(waits, "nobody waits for the row");
    CHECK_INT(db_commit(&other), 0);
    pthread_join(thread, NULL);
    db_close(&other);
    CHECK(s.rc == OUTBOX_OK, "%s", outbox_error_message(s.err));
    outbox_error_free(s.err);
}

#define CHANGE_LANE "UPDATE %slanes SET cleaned = cleaned WHERE lane = 0"
static void test_changed_lane(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;

    if (skip_by_key(fx))
        return;
    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "1");
    REQUIRE(fixture_migrate(fx) == 0, "no outbox");
    for (int i = 0; i < 4; i++)
        REQUIRE(send_text(fx, "t", "k", "word"), "cannot enqueue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    REQUIRE(OK(outbox_consumer_claim(consumer, &batch, &fx->err)), "nothing was claimed");
    settle_behind_a_change(fx, batch, outbox_batch_next, CHANGE_LANE, "UPDATE ");
    CHECK_INT(outbox_batch_count(batch), 1);
    settle_behind_a_change(fx, batch, outbox_batch_next, CHANGE_LANE, "UPDATE ");
    settle_behind_a_change(fx, batch, outbox_batch_settle, CHANGE_LANE, "UPDATE ");
    outbox_batch_free(batch);
    CHECK_INT(drain(fx, consumer, NULL), 1);
}

/* Somebody touches a message that is being published. It is gone with its batch all the same. */
static void test_changed_message(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;

    if (strcmp(fx->target->name, "postgresql/delete") != 0) {
        tap_skip("elsewhere no message is found by where it is");
        return;
    }
    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0 && send_words(fx, "t", "k", "1 2 3 4"), "no outbox");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    REQUIRE(OK(outbox_consumer_claim(consumer, &batch, &fx->err)), "nothing was claimed");
    CHECK_INT(outbox_batch_count(batch), 4);
    settle_behind_a_change(fx, batch, outbox_batch_settle,
                           "UPDATE %smessages SET topic = topic WHERE payload IN ('2', '3')", "DELETE ");
    outbox_batch_free(batch);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
    CHECK_INT(drain(fx, consumer, NULL), 0);
}

void suite_keeper(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"leases: one lane's row is locked for longer than a lease", test_locked_lane, 1},
        {"leases: the lanes' rows change all the time", test_restless_lanes, 1},
        {"leases: a lane's row is changed while its batch is settled", test_changed_lane, 1},
        {"leases: a message's row is changed while its batch is settled", test_changed_message, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
