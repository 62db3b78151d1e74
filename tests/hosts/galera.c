/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cluster of three MariaDB nodes that all take writes (Galera): producers and relays on different nodes, a node that
 * is killed and comes back, a node that sleeps. argv[1] chooses by name, OUTBOX_TEST_MESSAGES sizes the runs.
 *
 * A transaction is certified when it commits: of two that changed one row at the same time on different nodes, the
 * second one in the cluster's order fails, whatever locks it held at home. That holds for a statement by itself, such as a
 * claim. Of a longer transaction the server sometimes forgets that it was to fail, and an update is lost (MDEV-38977; about
 * 2 in 1,000 of those that compete): so a counter in a row is none here, and each producer numbers keys of its own.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn_internal.h"
#include "e2e.h"

enum { NODES = 3 };

/* Where a process connects: to a node, and to the others when that one is away. */
static void node_dsn(char *dsn, size_t size, int node, int follow, const char *more)
{
    int port[NODES];

    if (sscanf(getenv("OUTBOX_TEST_GALERA_PORTS"), "%d %d %d", &port[0], &port[1], &port[2]) != NODES)
        abort();
    if (follow)
        snprintf(dsn, size, "Driver={MariaDB};Server=127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d;Database=outbox_test;"
                 "UID=outbox;%s", port[node], port[(node + 1) % NODES], port[(node + 2) % NODES], more);
    else
        snprintf(dsn, size, "Driver={MariaDB};Server=127.0.0.1;Port=%d;Database=outbox_test;UID=outbox;%s", port[node],
                 more);
}

/* Who asks whether a commit of another node's is there has to wait for what the cluster has ordered before. */
#define CAUSAL "InitStmt={SET SESSION wsrep_sync_wait = 7}"

/* The tables were made on another node. */
static void wait_for_tables(const char *dsn, const char *prefix)
{
    struct db db;

    if (db_open(&db, dsn, 1) == 0)
        db_int(&db, "SELECT count(*) FROM %slanes", prefix);
    db_close(&db);
}

static void take_place(struct fixture *fx, int is_relay, int index)
{
    node_dsn(fx->dsn, sizeof fx->dsn, index % NODES, 1, CAUSAL);
    wait_for_tables(fx->dsn, fx->prefix);
    /* Relays need no causal reads: what follows a claim sees all that the claim was certified against. */
    node_dsn(fx->dsn, sizeof fx->dsn, index % NODES, 1, is_relay ? "" : CAUSAL);
}

static void first_node(struct fixture *fx)
{
    node_dsn(fx->dsn, sizeof fx->dsn, 0, 1, CAUSAL);
}

static int control(const char *what, int node)
{
    char command[512];

    snprintf(command, sizeof command, "timeout 100 \"$OUTBOX_TEST_GALERA_CTL\" %s %d", what, node);
    return CHECK(system(command) == 0, "%s node %d failed", what, node);
}

static struct e2e_plan plan = {
    .name = "producers and relays on three nodes", .messages = 6000, .keys = 200, .producers = 6, .relays = 3,
    .workers = 2, .max_tx = 50, .rollback_percent = 10, .faults = 1, .place = take_place};

/* ---- Nothing happens ---- */

static void run_quietly(struct fixture *fx)
{
    e2e_run(fx, &plan);
}

/* ---- A node goes away ---- */

static void wait_for_share(struct e2e *run, int percent)
{
    int there;

    WAIT_FOR(e2e_delivered(run) * 100 >= run->plan->messages * percent, there);
    CHECK(there, "%ld delivered", e2e_delivered(run));
}

/* batches: how many can have been in hand, and are sent again. A cluster that puts a node out stands still for longer than
 * a lease: who was in the middle of a batch may go on with an old token. */
static void judge(struct e2e *run, long batches)
{
    struct e2e_report r;

    if (!CHECK_INT(e2e_check(run->directory, run->logs, &r), 0))
        return;
    tap_note("%ld committed, %ld delivered; %ld lost, %ld phantom, %ld out of order, %ld altered; %ld again (%ld could "
             "be), %ld refused for their token%s%s", r.committed, r.delivered, r.lost, r.phantom, r.disorder, r.altered,
             r.duplicates, batches * 100, r.stale, r.first[0] ? "; first: " : "", r.first);
    CHECK(r.committed >= run->plan->messages / run->plan->producers * run->plan->producers, "%ld committed", r.committed);
    CHECK_INT(r.lost + r.phantom + r.altered + r.disorder, 0);
    CHECK(r.duplicates + r.stale <= batches * 100, "%ld were sent again", r.duplicates + r.stale);
}

static int64_t cluster_size(void)
{
    char dsn[256], *text = NULL;
    int64_t size = -1;
    struct db db;

    node_dsn(dsn, sizeof dsn, 0, 0, "");
    if (db_open_quietly(&db, dsn, 1) == 0)
        text = db_text(&db, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
                       "'WSREP_CLUSTER_SIZE'");
    if (text != NULL)
        size = strtoll(text, NULL, 10);
    free(text);
    db_close(&db);
    return size;
}

/* Its relays and producers go on at another node. */
static void kill_node(struct e2e *run)
{
    wait_for_share(run, 20);
    control("kill", 2);
    wait_for_share(run, 40);
    control("start", 2);
    wait_for_share(run, 50);
    control("kill", 3);
    wait_for_share(run, 65);
    control("start", 3);
}

/* The others put it out after some seconds, and do its relays' work; then it wakes up, and is behind. */
static void stop_node(struct e2e *run)
{
    int out;

    wait_for_share(run, 20);
    control("pause", 3);
    WAIT_FOR(cluster_size() == 2, out);
    CHECK(out, "the others do not put it out");
    wait_for_share(run, 50);
    control("resume", 3);
    WAIT_FOR(cluster_size() == 3, out);
    CHECK(out, "it does not come back");
}

static void run_fault(struct fixture *fx, void (*fault)(struct e2e *))
{
    struct e2e_plan faulty = plan;
    struct e2e run;

    faulty.lease = "1s";
    faulty.slow_every = 3;
    faulty.messages *= 2;
    if (!e2e_begin(&run, fx, &faulty))
        return;
    e2e_start_relays(&run);
    e2e_start_producers(&run);
    fault(&run);
    e2e_join_producers(&run);
    e2e_wait_drained(&run);
    e2e_stop_relays(&run);
    /* A batch each worker, when its node goes, and when another one's slowness costs it a lease. */
    judge(&run, 2 * faulty.relays * faulty.workers);
    e2e_end(&run);
}

static void run_kill(struct fixture *fx)
{
    run_fault(fx, kill_node);
}

static void run_stop(struct fixture *fx)
{
    run_fault(fx, stop_node);
}

/* ---- One lane, claimed on all nodes at once ---- */

enum { RACE_MESSAGES = 150 };

struct race {
    pthread_mutex_t lock;
    struct fixture *fx;
    int64_t seq[RACE_MESSAGES], token[RACE_MESSAGES];
    int count, conflicts, node;
};

static int race_over(struct race *race)
{
    int over;

    pthread_mutex_lock(&race->lock);
    over = race->count >= RACE_MESSAGES || tap_failed();
    pthread_mutex_unlock(&race->lock);
    return over;
}

static void note_batch(struct race *race, const outbox_batch *batch)
{
    const outbox_record *record = outbox_batch_message(batch, 0);

    pthread_mutex_lock(&race->lock);
    if (CHECK(race->count < RACE_MESSAGES && outbox_batch_count(batch) == 1, "more than was sent")) {
        race->seq[race->count] = outbox_record_seq(record);
        race->token[race->count++] = outbox_record_token(record);
    }
    pthread_mutex_unlock(&race->lock);
}

static void race_once(struct race *race, outbox_consumer *consumer)
{
    outbox_batch *batch = NULL;
    outbox_error *err = NULL;
    int rc = outbox_consumer_claim(consumer, &batch, &err);

    if (rc == OUTBOX_OK) {
        note_batch(race, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
        CHECK_INT(outbox_batch_settle(batch, NULL), OUTBOX_OK);
        outbox_batch_free(batch);
    } else if (rc == OUTBOX_ERR_CONFLICT) {
        pthread_mutex_lock(&race->lock);
        race->conflicts++;
        pthread_mutex_unlock(&race->lock);
    } else {
        CHECK(rc == OUTBOX_NONE, "%s", outbox_error_message(err));
    }
    outbox_error_free(err);
}

static void *race_on(void *arg)
{
    struct race *race = arg;
    outbox_consumer *consumer = NULL;
    outbox_conn *conn = NULL;
    char dsn[256];
    int node;

    pthread_mutex_lock(&race->lock);
    node = race->node++ % NODES;
    pthread_mutex_unlock(&race->lock);
    node_dsn(dsn, sizeof dsn, node, 0, CAUSAL);
    wait_for_tables(dsn, race->fx->prefix);
    node_dsn(dsn, sizeof dsn, node, 0, "");
    if (CHECK_INT(outbox_conn_open(dsn, race->fx->conf, &conn, NULL), OUTBOX_OK) &&
        CHECK_INT(outbox_consumer_new(conn, race->fx->conf, NULL, &consumer, NULL), OUTBOX_OK))
        while (!race_over(race))
            race_once(race, consumer);
    outbox_consumer_free(consumer);
    outbox_conn_close(conn);
    return NULL;
}

/* Only the commit of a claim decides, and who won sees what was settled before. */
static void run_race(struct fixture *fx)
{
    struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER, .fx = fx};
    pthread_t threads[2 * NODES];

    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "relay.batch_size", "1");
    if (fixture_migrate(fx) != 0 || !CHECK(send_numbered(fx, "t", 1, RACE_MESSAGES), "not sent"))
        return;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        REQUIRE(pthread_create(&threads[i], NULL, race_on, &race) == 0, "no thread");
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < race.count; i++)
        CHECK(race.seq[i] > race.seq[i - 1] && race.token[i] > race.token[i - 1],
              "message %lld by token %lld came after %lld by %lld", (long long)race.seq[i], (long long)race.token[i],
              (long long)race.seq[i - 1], (long long)race.token[i - 1]);
    CHECK_INT(race.count, RACE_MESSAGES);
    tap_note("%d claims were won, %d failed at their commit", race.count, race.conflicts);
}

/* ---- Administration ---- */

/* As discard and redrive do: the lane's lock, then something of the lane. */
static int change_under_lock(struct fixture *fx, outbox_conn *conn, const char *name)
{
    struct outbox_args args = {.set = 0};
    char sql[256];

    outbox_args__int(&args, P_LANE, 0);
    snprintf(sql, sizeof sql, "INSERT INTO %smeta (name, value) VALUES ('%s', '1')", fx->prefix, name);
    return OK(outbox_conn_begin(conn, &fx->err)) &&
           OK(outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "lock a lane", NULL, &fx->err)) &&
           OK(outbox_conn_execute(conn, sql, &fx->err));
}

/* A lock is known to its node only, unless it changes the row. */
static void run_lock(struct fixture *fx)
{
    outbox_conn *one, *two;

    if (fixture_migrate(fx) != 0)
        return;
    node_dsn(fx->dsn, sizeof fx->dsn, 0, 0, CAUSAL);
    one = fixture_connect(fx);
    node_dsn(fx->dsn, sizeof fx->dsn, 1, 0, CAUSAL);
    two = fixture_connect(fx);
    REQUIRE(one != NULL && two != NULL, "no connections");
    REQUIRE(change_under_lock(fx, one, "one") && change_under_lock(fx, two, "two"), "not locked");
    OK(outbox_conn_commit(one, &fx->err));
    EXPECT(outbox_conn_commit(two, &fx->err), OUTBOX_ERR_CONFLICT);
}

/* ---- Without a majority ---- */

static int refused(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_message m = text_message("t", NULL, "1");

    (void)fx;
    outbox_error_free(*err);
    *err = NULL;
    return outbox_enqueue(conn, &m, 1, NULL, err) == OUTBOX_ERR_READONLY;
}

/* A node that is alone takes nothing, and says why; once it is told that it is the cluster, it goes on. */
static void run_alone(struct fixture *fx)
{
    outbox_error *err = NULL;
    int held;

    node_dsn(fx->dsn, sizeof fx->dsn, 0, 0, "");
    if (fixture_migrate(fx) != 0)
        return;
    control("kill", 2);
    control("kill", 3);
    WAIT_FOR(refused(fx, fx->conn, &err), held);
    CHECK(held && strstr(outbox_error_message(err), "majority") != NULL, "%s", err ? outbox_error_message(err) : "taken");
    CHECK(held && outbox_error_retryable(err), "not to be repeated");
    outbox_error_free(err);
    CHECK_INT(db_exec(&fx->db, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=1'"), 0);
    control("start", 2);
    control("start", 3);
    CHECK(send_text(fx, "t", NULL, "2"), "not sent");
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"a lane's lock holds on all nodes", run_lock, 1},
        {"a lane is claimed on all nodes at once", run_race, 1},
        {"producers and relays on three nodes", run_quietly, 1},
        {"a node is killed and comes back", run_kill, 1},
        {"a node sleeps and wakes up", run_stop, 1},
        {"a node without a majority", run_alone, 1},
    };
    const char *only = argc > 1 ? argv[1] : "";

    if (getenv("OUTBOX_TEST_GALERA_1") == NULL)
        return tap_skip_all("no Galera: run it through tests/run-test");
    setenv("OUTBOX_TEST_LOG", "-1", 0);
    plan.messages = env_number("OUTBOX_TEST_MESSAGES", test_long() ? 60000 : plan.messages);
    for (size_t i = 0; i < COUNT_OF(tests); i++) {
        struct fixture fx;

        if (strstr(tests[i].name, only) == NULL)
            continue;
        tap_begin("galera: %s", tests[i].name);
        if (fixture_prepare(&fx, target_find("mariadb/delete")) == 0) {
            first_node(&fx);
            tests[i].run(&fx);
        }
        fixture_close(&fx);
        tap_end();
    }
    return tap_finish();
}
