/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The paths: enqueue, claim to settle, clean, administration, migrate; each done again until it is done. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/odbc.h"

enum { TRIES = 12 };

/* SQL of the test's own, which is not to count. */
static void quietly(struct world *w, void (*change)(struct fixture *fx))
{
    interpose_hold(1);
    change(w->fx);
    interpose_hold(0);
}

/* ---- An application enqueues on its own connection ---- */

static void prepare_nothing(struct world *w)
{
    (void)w;
}

static int borrow(struct world *w, outbox_error **err)
{
    int opened;

    if (w->conn != NULL)
        return OUTBOX_OK;
    interpose_hold(1);
    db_close(&w->app);
    opened = db_open(&w->app, w->fx->dsn, 0) == 0;
    interpose_hold(0);
    w->app.quiet = 1;
    return CHECK(opened, "no connection") ? outbox_conn_borrow(w->app.dbc, w->fx->conf, &w->conn, err)
                                          : OUTBOX_ERR_CONNECT;
}

/* Two calls in one transaction: two messages, and one that must be unique. */
static int enqueue_three(struct world *w, struct outgoing *o, outbox_id *ids, outbox_error **err)
{
    outbox_message messages[3];
    int rc;

    for (int i = 0; i < 3; i++)
        messages[i] = world_message(&o[i]);
    messages[2].dedup_key = "once";
    rc = borrow(w, err);
    if (rc == OUTBOX_OK)
        rc = outbox_enqueue(w->conn, messages, 2, ids, err);
    return rc == OUTBOX_OK ? outbox_enqueue(w->conn, &messages[2], 1, &ids[2], err) : rc;
}

static int run_enqueue(struct world *w)
{
    struct outgoing o[3] = {world_outgoing(w, 0), world_outgoing(w, 1), world_outgoing(w, 2)};
    outbox_error *err = NULL;
    outbox_id ids[3];
    int done = 0;

    for (int tries = 0; tries < TRIES && !done; tries++) {
        int rc = enqueue_three(w, o, ids, &err), rolled_back;

        done = rc == OUTBOX_OK;
        interpose_hold(1);
        if (done)
            done = db_commit(&w->app) == 0; /* a connection that was lost meanwhile says so here */
        rolled_back = done || db_rollback(&w->app) == 0;
        interpose_hold(0);
        world_again(w, rc, &err);
        if (!rolled_back)
            world_disconnect(w);
    }
    world_disconnect(w);
    interpose_hold(1);
    db_close(&w->app);
    interpose_hold(0);
    for (int i = 0; i < 3 && done; i++)
        world_note(w, ids[i].text, &o[i]);
    return done;
}

/* ---- A program enqueues on a connection of the library's, under an id of its own: doing it again does no harm ---- */

static int run_own(struct world *w)
{
    struct outgoing o = world_outgoing(w, 0);
    outbox_message m = world_message(&o);
    outbox_error *err = NULL;
    int rc = OUTBOX_ERR_LOST;

    m.id = "00000000-0000-4000-8000-00000000000a";
    for (int tries = 0; tries < TRIES && rc < 0 && rc != OUTBOX_ERR_DUPLICATE; tries++) {
        rc = world_connect(w, &err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn_begin(w->conn, &err);
        if (rc == OUTBOX_OK) {
            rc = outbox_enqueue(w->conn, &m, 1, NULL, &err);
            rc = rc == OUTBOX_OK ? outbox_conn_commit(w->conn, &err) : (outbox_conn_rollback(w->conn, NULL), rc);
        }
        world_again(w, rc, &err);
    }
    world_disconnect(w);
    world_note(w, m.id, &o);
    return rc == OUTBOX_OK || rc == OUTBOX_ERR_DUPLICATE;
}

/* ---- A relay ---- */

static outbox_verdict publish(void *user, const outbox_record *r, int64_t *retry_ms, outbox_error **err)
{
    struct world *w = user;
    const char *key = outbox_record_partition_key(r);
    int number = atoi(outbox_record_payload(r, NULL));

    (void)err;
    if (key != NULL && strcmp(key, "k1") == 0 && number == 1 && !w->refused++) {
        *retry_ms = 1;
        return OUTBOX_RETRY;
    }
    if (key != NULL && strcmp(key, "k2") == 0 && number == 2 && !w->rejected++)
        return OUTBOX_REJECT;
    world_deliver(w, outbox_record_id(r), number);
    return OUTBOX_PUBLISHED;
}

/* Three rounds of each key, and one for later. */
static void prepare_relay(struct world *w)
{
    struct fixture *fx = w->fx;
    struct outgoing o = world_outgoing(w, -1);
    outbox_message m = world_message(&o);
    outbox_id id;

    world_send(w, 3 * KEYS);
    m.delay_ms = HOUR_MS;
    if (OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err)))
        world_note(w, id.text, &o);
}

/* Once through what is there, and once more when what failed is due. */
static int run_relay(struct world *w)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_error *err = NULL;
    int rc = outbox_publisher_from_callback(publish, w, &publisher, &err), passes = 0;

    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(w->fx->dsn, w->fx->conf, publisher, NULL, &relay, &err);
    for (int tries = 0; tries < TRIES && relay != NULL && passes < 2; tries++) {
        rc = outbox_relay_run_once(relay, &err);
        if (!world_again(w, rc, &err)) {
            passes++;
            quietly(w, make_due);
        }
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return passes == 2;
}

/* ---- A consumer of one's own, with published messages kept ---- */

static void prepare_consumer(struct world *w)
{
    fixture_set(w->fx, "clean.retention", "1h");
    world_send(w, 2 * KEYS);
}

static void take_batch(struct world *w, outbox_batch *batch)
{
    for (size_t i = 0; i < outbox_batch_count(batch); i++) {
        const outbox_record *r = outbox_batch_message(batch, i);

        world_deliver(w, outbox_record_id(r), atoi(outbox_record_payload(r, NULL)));
        CHECK_INT(outbox_batch_answer(batch, i, OUTBOX_PUBLISHED, -1, NULL), OUTBOX_OK);
    }
}

/* All batches of one lane. */
static int consume_lane(struct world *w, outbox_error **err)
{
    outbox_batch *batch = NULL;
    int rc = world_connect(w, err), claimed;

    if (rc == OUTBOX_OK && w->consumer == NULL)
        rc = outbox_consumer_new(w->conn, w->fx->conf, NULL, &w->consumer, err);
    if (rc == OUTBOX_OK)
        rc = outbox_consumer_claim(w->consumer, &batch, err);
    claimed = rc == OUTBOX_OK;
    while (rc == OUTBOX_OK) {
        take_batch(w, batch);
        rc = outbox_batch_next(batch, err);
    }
    outbox_batch_free(batch);
    return claimed && rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}

static int run_consumer(struct world *w)
{
    outbox_error *err = NULL;
    int rc = OUTBOX_OK;

    for (int tries = 0; tries < TRIES && rc != OUTBOX_NONE; tries++) {
        rc = consume_lane(w, &err);
        world_again(w, rc, &err);
    }
    world_disconnect(w);
    return rc == OUTBOX_NONE;
}

/* ---- The cleaner ---- */

static void age_everything(struct fixture *fx)
{
    CHECK_INT(db_exec(&fx->db, "UPDATE %spublished SET published_at = 1", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %spositions SET published_at = 1", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET deferred_at = 1", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdedup SET created_at = 1", fx->prefix), 0);
}

/* Published ones and a dead one that are old, an old key, and a few that are still to be delivered. */
static void prepare_clean(struct world *w)
{
    struct fixture *fx = w->fx;
    outbox_message dead = text_message("t", NULL, "1"), once = text_message("t", NULL, "1");
    outbox_consumer *keeper;

    fixture_set(fx, "clean.retention", "1h");
    fixture_set(fx, "clean.dead_retention", "1h");
    once.dedup_key = "once";
    if (w->consumer == NULL) /* the one that drains keeps nothing */
        CHECK_INT(outbox_consumer_new(fx->conn, fx->conf, "keeps", &w->consumer, NULL), OUTBOX_OK);
    keeper = w->consumer;
    OK(outbox_enqueue(fx->conn, &dead, 1, NULL, &fx->err));
    settle_one(fx, keeper, OUTBOX_REJECT, NULL);
    OK(outbox_enqueue(fx->conn, &once, 1, NULL, &fx->err));
    for (int i = 0; i < 3; i++)
        send_text(fx, "t", "k0", "0");
    drain(fx, keeper, NULL);
    age_everything(fx);
    outbox_consumer_free(w->consumer);
    w->consumer = NULL;
    world_send(w, KEYS);
}

static int run_clean(struct world *w)
{
    outbox_error *err = NULL;
    int rc = OUTBOX_NONE;

    for (int tries = 0; tries < TRIES && rc != OUTBOX_OK; tries++) {
        rc = world_connect(w, &err);
        if (rc == OUTBOX_OK)
            rc = outbox_clean(w->conn, w->fx->conf, NULL, &err);
        if (rc == OUTBOX_NONE) /* its own lease, of the try before */
            quietly(w, expire_leases);
        world_again(w, rc, &err);
    }
    world_disconnect(w);
    return rc == OUTBOX_OK;
}

static void judge_clean(struct world *w)
{
    struct fixture *fx = w->fx;

    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), KEYS);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sdeferred", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %spublished", fx->prefix), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sdedup", fx->prefix), 0);
    world_drain(w);
}

/* ---- Administration ---- */

/* Dead heads with followers, and one message that is to be discarded. */
static void prepare_admin(struct world *w)
{
    struct fixture *fx = w->fx;
    outbox_message unwanted = text_message("t", NULL, "1");

    world_send(w, 3 * KEYS);
    while (settle_one(fx, w->drain, OUTBOX_REJECT, NULL) > 0 && !tap_failed())
        ;
    w->dead = count_state(fx, OUTBOX_DEAD);
    CHECK(w->dead >= KEYS, "%lld are dead", (long long)w->dead);
    unwanted.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &unwanted, 1, &w->id, &fx->err));
}

static int count_record(void *user, const outbox_record *r)
{
    (void)r;
    ++*(int *)user;
    return 0;
}

static int admin_list(struct world *w, outbox_error **err)
{
    int records = 0, rc = outbox_list(w->conn, NULL, count_record, &records, err);

    CHECK(rc != OUTBOX_OK || records == 3 * KEYS + 1, "%d messages are listed", records);
    return rc;
}

static int admin_get(struct world *w, outbox_error **err)
{
    int records = 0, rc = outbox_get(w->conn, w->id.text, count_record, &records, err);

    CHECK(rc < 0 || records == 1, "a message is not found");
    return rc;
}

static int admin_count(struct world *w, outbox_error **err)
{
    outbox_counts counts = {.size = sizeof counts};
    int rc = outbox_count(w->conn, &counts, err);

    CHECK(rc != OUTBOX_OK || counts.by_state[OUTBOX_DEAD] == w->dead, "%d are dead", (int)counts.by_state[OUTBOX_DEAD]);
    return rc;
}

static int admin_redrive(struct world *w, outbox_error **err)
{
    return outbox_redrive(w->conn, NULL, NULL, err);
}

static int admin_discard(struct world *w, outbox_error **err)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;

    filter.id = w->id.text;
    filter.state = OUTBOX_SCHEDULED;
    return outbox_discard(w->conn, &filter, NULL, err);
}

static int admin_purge(struct world *w, outbox_error **err)
{
    int rc = outbox_purge(w->conn, NULL, NULL, err);

    if (rc == OUTBOX_NONE)
        quietly(w, expire_leases);
    return rc;
}

static int run_admin(struct world *w)
{
    static int (*const steps[])(struct world *, outbox_error **) = {
        admin_list, admin_get, admin_count, admin_redrive, admin_discard, admin_purge,
    };
    outbox_error *err = NULL;
    size_t done = 0;

    for (int tries = 0; tries < TRIES && done < COUNT_OF(steps); tries++) {
        int rc = world_connect(w, &err);

        if (rc == OUTBOX_OK)
            rc = steps[done](w, &err);
        done += !world_again(w, rc, &err);
    }
    world_disconnect(w);
    return done == COUNT_OF(steps);
}

static void judge_admin(struct world *w)
{
    struct fixture *fx = w->fx;

    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
    CHECK_INT(state_of(fx, w->id.text), 0);
    world_drain(w);
}

/* ---- Migrate ---- */

static void prepare_migrate(struct world *w)
{
    static int number; /* what is not a table stays behind */
    struct fixture other = *w->fx;

    snprintf(other.prefix, sizeof other.prefix, "m%d_", ++number);
    snprintf(w->prefix, sizeof w->prefix, "%s", other.prefix);
    w->conf = fixture_conf(&other);
    CHECK_INT(outbox_conf_set(w->conf, "schema.lanes", "2", NULL), OUTBOX_OK);
}

static int run_migrate(struct world *w)
{
    outbox_error *err = NULL;
    int rc = OUTBOX_ERR_LOST;

    for (int tries = 0; tries < TRIES && rc != OUTBOX_OK; tries++) {
        rc = world_connect(w, &err);
        if (rc == OUTBOX_OK)
            rc = outbox_migrate(w->conn, NULL, &err);
        world_again(w, rc, &err);
    }
    world_disconnect(w);
    return rc == OUTBOX_OK;
}

/* It is whole: a message goes all the way, and everything else is as where nothing failed. */
static void judge_migrate(struct world *w)
{
    static const char *const tables[] = {"messages", "lanes", "deferred", "published", "positions", "dedup", "meta",
                                         "audit"};
    struct fixture *fx = w->fx;
    struct outgoing o = world_outgoing(w, 0);
    outbox_message m = world_message(&o);
    outbox_id id;

    MUST(world_connect(w, &fx->err));
    OK(outbox_enqueue(w->conn, &m, 1, &id, &fx->err));
    world_note(w, id.text, &o);
    MUST(outbox_consumer_new(w->conn, w->conf, NULL, &w->consumer, &fx->err));
    CHECK_INT(consume_lane(w, &fx->err), OUTBOX_OK);
    world_disconnect(w);
    outbox_conf_free(w->conf);
    w->conf = NULL;
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %slanes", w->prefix), 3);
    CHECK_INT(db_exec(&fx->db, "DROP VIEW %sstatus", w->prefix), 0);
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        char *mine = db_rows(&fx->db, "SELECT * FROM %s%s WHERE 1 = 0", w->prefix, tables[i]);

        CHECK_STR(mine, "");
        free(mine);
        CHECK_INT(db_exec(&fx->db, "DROP TABLE %s%s", w->prefix, tables[i]), 0);
    }
}

const struct path paths[] = {
    {"enqueue", prepare_nothing, run_enqueue, NULL},
    {"enqueue on an own connection", prepare_nothing, run_own, NULL},
    {"relay", prepare_relay, run_relay, NULL},
    {"consumer", prepare_consumer, run_consumer, NULL},
    {"clean", prepare_clean, run_clean, judge_clean},
    {"administration", prepare_admin, run_admin, judge_admin},
    {"migrate", prepare_migrate, run_migrate, judge_migrate},
};
const size_t path_count = COUNT_OF(paths);
