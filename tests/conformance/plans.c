/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a batch costs on PostgreSQL must not depend on what else is in the tables, nor on what the planner believes.
 *
 * Counted are rows and blocks that claiming, reading and settling touched, as the server's statistics say; not time.
 * The same batches are measured with a small backlog and with a large one, without statistics, with fresh ones and with
 * misleading ones, and with published messages kept. argv[1] chooses by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backlog.h"
#include "plans.h"

static long large_backlog(void)
{
    return env_number("OUTBOX_TEST_BACKLOG", test_long() ? 1000000 : test_all() ? 200000 : 40000);
}

/* ---- The cases ---- */

static void no_statistics(struct fixture *fx, long backlog)
{
    load(fx, backlog, 10);
}

static void fresh_statistics(struct fixture *fx, long backlog)
{
    load(fx, backlog, 10);
    analyze(fx);
}

static void analyzed_when_empty(struct fixture *fx, long backlog)
{
    analyze(fx);
    load(fx, backlog, 10);
}

static void one_transaction(struct fixture *fx, long backlog)
{
    load(fx, backlog, 1);
    analyze(fx);
}

static void kept(struct fixture *fx, long backlog)
{
    fixture_set(fx, "clean.retention", "forever");
    load(fx, backlog / 2, 10);
    publish_all(fx);
    analyze(fx);
    load(fx, SMALL, 10);
}

static void kept_and_unknown(struct fixture *fx, long backlog)
{
    fixture_set(fx, "clean.retention", "forever");
    load(fx, backlog / 2, 1);
    publish_all(fx);
    load(fx, SMALL, 1);
}

/* A blocked key with a long tail of followers, all set aside already, in the lanes that are read. */
static void many_held(struct fixture *fx, long backlog)
{
    struct db db;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    CHECK_INT(db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT outbox_test.lane, "
                      "gen_random_uuid(), 't', 'blocked ' || lane, convert_to('x', 'UTF8') FROM generate_series(0, %d) "
                      "AS outbox_test(lane)", fx->prefix, LANES - 1), 0);
    fixture_set(fx, "retry.backoff_min", "1d");
    fixture_set(fx, "retry.backoff_max", "30d");
    for (int i = 0; i < LANES; i++)
        CHECK_INT(settle_one(fx, fx->consumer_count ? fx->consumers[0] : fixture_consumer(fx, NULL), OUTBOX_REJECT, NULL),
                  1);
    CHECK_INT(db_exec(&db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload) SELECT i %% %d, "
                      "gen_random_uuid(), 't', 'blocked ' || i %% %d, convert_to('x', 'UTF8') FROM "
                      "generate_series(1, %ld) i", fx->prefix, LANES, LANES, backlog / 10), 0);
    db_close(&db);
    fixture_set(fx, "relay.batch_size", "1000");
    fixture_disconnect(fx);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), NULL), 0);
    fixture_set(fx, "relay.batch_size", "10");
    fixture_disconnect(fx);
    load(fx, SMALL, 10);
}

static struct cost cost_of(const struct target *target, void (*prepare)(struct fixture *, long), settle_fn settle, long backlog)
{
    struct fixture fx;
    struct cost cost = {0, 0};

    if (fresh(&fx, target)) {
        prepare(&fx, backlog);
        cost = measure_by(&fx, settle);
    }
    fixture_close(&fx);
    return cost;
}

static void check_rows(struct cost small, struct cost large)
{
    tap_note("a batch of %d touches %lld rows and %lld blocks with %d pending; %lld rows and %lld blocks with %ld",
             BATCH_SIZE, (long long)small.rows, (long long)small.blocks, SMALL, (long long)large.rows,
             (long long)large.blocks, large_backlog());
    CHECK(small.rows > 0 && small.blocks > 0, "nothing was counted");
    CHECK(large.rows <= 2 * small.rows + 200, "%lld rows instead of %lld", (long long)large.rows, (long long)small.rows);
    /* Flat and absurd would also be wrong: a small table that is scanned for every batch. */
    CHECK(large.rows <= 2000, "%lld rows for a batch of %d", (long long)large.rows, BATCH_SIZE);
}

static void compare(const struct target *target, const char *name, void (*prepare)(struct fixture *, long), settle_fn settle)
{
    struct cost small, large;

    tap_begin("%s: %s%s", target->name, name, settle == settle_gathered ? ", several lanes a batch" : "");
    small = cost_of(target, prepare, settle, SMALL);
    large = cost_of(target, prepare, settle, large_backlog());
    check_rows(small, large);
    /* Settling by delete leaves dead index entries at the head of each lane until a vacuum comes by, and autovacuum is off
     * here: blocks are then not promised to stay flat behind what was published. Rows are. */
    if (strstr(target->name, "/delete") == NULL || strncmp(name, "published", 9) != 0)
        CHECK(large.blocks <= 2 * small.blocks + 400, "%lld blocks instead of %lld", (long long)large.blocks,
              (long long)small.blocks);
    tap_end();
}

/* ---- While another transaction has a snapshot ---- */

enum { VERSIONS = 12000 };

/* So many versions of the lanes' rows that cannot go away as long as somebody may look at them. */
static void leave_versions(struct fixture *fx, struct db *holder)
{
    struct db db;

    CHECK_INT(db_open(holder, fx->dsn, 1), 0);
    CHECK_INT(db_exec(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ"), 0);
    CHECK_INT(db_int(holder, "SELECT count(*) FROM %slanes", fx->prefix), lanes + 1);
    others = 1;
    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    CHECK_INT(db_exec(&db, "SET synchronous_commit = off"), 0);
    CHECK_INT(db_exec(&db, "DO $$ BEGIN FOR i IN 1 .. %d LOOP UPDATE %slanes SET lease_until = lease_until "
                      "WHERE lane = i %% %d; COMMIT; END LOOP; END $$", VERSIONS, fx->prefix, lanes), 0);
    db_close(&db);
}

/* A claim and a settlement meet the rows that live, and not what was there since. By the key each would meet the 3,000
 * versions of its lane, in about 300 blocks; what a new page costs, once in many versions, is in the bound. */
static void check_held(struct cost without, struct cost behind)
{
    tap_note("a batch touches %lld blocks; %lld behind %d versions of lanes", (long long)without.blocks,
             (long long)behind.blocks, VERSIONS);
    CHECK(without.blocks > 0, "nothing was counted");
    CHECK(behind.blocks <= without.blocks + 150, "%lld blocks instead of %lld", (long long)behind.blocks,
          (long long)without.blocks);
}

static void compare_held(const struct target *target, const char *how, settle_fn settle, const char *retention)
{
    struct cost without = {0, 0}, behind = {0, 0};
    struct db holder;
    struct fixture fx;

    tap_begin("%s: another transaction has a snapshot, %s", target->name, how);
    memset(&holder, 0, sizeof holder);
    lanes = FEW_LANES;
    if (fresh(&fx, target)) {
        fixture_set(&fx, "clean.retention", retention);
        load(&fx, SMALL, 10);
        without = measure_by(&fx, settle);
        leave_versions(&fx, &holder);
        behind = measure_by(&fx, settle);
        others = 0;
        db_close(&holder);
    }
    fixture_close(&fx);
    lanes = LANES;
    check_held(without, behind);
    tap_end();
}

static void compare_all_held(const struct target *target)
{
    compare_held(target, "a lane a batch", settle_each, "0");
    compare_held(target, "batch after batch", settle_on, "0");
    compare_held(target, "with a retention", settle_each, "forever");
    if (strcmp(target->name, "postgresql/position") == 0)
        compare_held(target, "several lanes a batch", settle_gathered, "0");
}

/* ---- Planned while there was next to nothing ---- */

static void settle_small(struct fixture *fx, outbox_consumer *consumer, settle_fn settle)
{
    load(fx, BATCH_SIZE * 2, 1);
    settle(fx, consumer, 1);
    while (settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL) > 0)
        ;
}

/* As for a relay that is there before the backlog: a connection keeps its plans until the next ANALYZE. */
static struct cost cost_planned(const struct target *target, settle_fn settle, long backlog, struct db *holder)
{
    struct cost before = {0, 0}, after = {0, 0};
    outbox_consumer *consumer;
    struct fixture fx;

    if (fresh(&fx, target) && (consumer = fixture_consumer(&fx, NULL)) != NULL) {
        settle_small(&fx, consumer, settle);
        load(&fx, backlog, 10);
        if (holder != NULL)
            leave_versions(&fx, holder);
        others = holder != NULL ? 2 : 1;
        wait_until_alone(&fx);
        before = read_counters(&fx);
        CHECK_INT(settle(&fx, consumer, BATCHES), BATCHES);
        others--;
        fixture_disconnect(&fx);
        wait_until_alone(&fx);
        after = read_counters(&fx);
    }
    if (holder != NULL)
        db_close(holder);
    others = 0;
    fixture_close(&fx);
    return per_batch(before, after);
}

static void compare_planned(const struct target *target, const char *how, settle_fn settle)
{
    struct cost small, large;

    tap_begin("%s: planned while the tables were empty, %s", target->name, how);
    small = cost_planned(target, settle, SMALL, NULL);
    large = cost_planned(target, settle, large_backlog(), NULL);
    check_rows(small, large);
    tap_end();
}

/* And behind versions that came later. */
static void compare_planned_held(const struct target *target, const char *how, settle_fn settle)
{
    struct cost without, behind;
    struct db holder;

    tap_begin("%s: planned while the tables were empty, then a snapshot is held, %s", target->name, how);
    memset(&holder, 0, sizeof holder);
    lanes = FEW_LANES;
    without = cost_planned(target, settle, SMALL, NULL);
    behind = cost_planned(target, settle, SMALL, &holder);
    lanes = LANES;
    check_held(without, behind);
    tap_end();
}

static int removed(struct fixture *fx)
{
    int gone = 0;
    struct db db;

    if (CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        WAIT_FOR(db_int(&db, "SELECT EXISTS (SELECT 1 FROM %smessages)::integer", fx->prefix) == 0, gone);
    db_close(&db);
    return CHECK(gone, "not all is removed");
}

/* A cleaner that is there from the beginning, and what it touches for each message of a backlog, with its delivery. */
static double cost_cleaned(const struct target *target, long backlog)
{
    struct cost before = {0, 0}, after = {0, 0};
    outbox_cleaner *cleaner = NULL;
    struct fixture room, *fx = &room;

    if (fresh(fx, target) && (fixture_set(fx, "clean.interval", "20ms"), 1) &&
        OK(outbox_cleaner_new(fx->dsn, fx->conf, NULL, &cleaner, &fx->err)) && OK(outbox_cleaner_start(cleaner, &fx->err))) {
        load(fx, lanes, 1);
        publish_all(fx);
        if (removed(fx)) {
            before = read_counters(fx);
            load(fx, backlog, 10);
            publish_all(fx);
            removed(fx);
        }
        outbox_cleaner_stop(cleaner);
        outbox_cleaner_join(cleaner, NULL);
        wait_until_alone(fx);
        after = read_counters(fx);
    }
    outbox_cleaner_free(cleaner);
    fixture_close(fx);
    return (double)(after.rows - before.rows) / (double)backlog;
}

static void compare_cleaned(const struct target *target)
{
    double small, large;

    tap_begin("%s: planned while the tables were empty, by a cleaner", target->name);
    small = cost_cleaned(target, SMALL);
    large = cost_cleaned(target, large_backlog());
    tap_note("%.1f rows are touched for a message of %d, and %.1f of %ld", small, SMALL, large, large_backlog());
    CHECK(small > 0 && large < 2 * small && large < 20, "not flat");
    tap_end();
}

/* ---- What metrics ask ---- */

/* Dead ones without a key, in every lane. */
static void bury(struct fixture *fx, long count)
{
    struct db db;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    CHECK_INT(db_exec(&db, "DELETE FROM %sdeferred", fx->prefix), 0);
    CHECK_INT(db_exec(&db, "INSERT INTO %sdeferred (lane, seq, state, attempts, key_hash, deferred_at, created_at, id, "
                      "topic, payload) SELECT i %% %d, i, 5, 1, 0, 0, 0, gen_random_uuid(), 't', "
                      "convert_to('x', 'UTF8') FROM generate_series(1, %ld) i", fx->prefix, LANES, count), 0);
    db_close(&db);
}

static int is_near(int64_t estimate, int64_t count)
{
    return estimate >= count - count / 10 && estimate <= count + count / 10;
}

/* What one look costs, once its statements are prepared, and how far off it is. */
static struct cost look(struct fixture *fx, long pending, long dead)
{
    outbox_conn *conn = fixture_connect(fx);
    struct outbox_backlog b;
    struct cost before = {0, 0}, after = {0, 0};
    int64_t began;

    memset(&b, 0, sizeof b);
    if (conn == NULL)
        return before;
    OK(outbox_backlog__look(conn, &b, &fx->err));
    fixture_disconnect(fx);
    wait_until_alone(fx);
    before = read_counters(fx);
    wait_until_alone(fx);
    conn = fixture_connect(fx);
    began = monotonic_us();
    OK(outbox_backlog__look(conn, &b, &fx->err));
    began = monotonic_us() - began;
    tap_note("a look at %ld pending and %ld dead: %lld and %lld, %lld us", pending, dead,
             (long long)b.counts.by_state[OUTBOX_PENDING], (long long)b.counts.by_state[OUTBOX_DEAD], (long long)began);
    CHECK(is_near(b.counts.by_state[OUTBOX_PENDING], pending), "%lld instead of %ld are pending",
          (long long)b.counts.by_state[OUTBOX_PENDING], pending);
    CHECK(is_near(b.counts.by_state[OUTBOX_DEAD], dead), "%lld instead of %ld are dead",
          (long long)b.counts.by_state[OUTBOX_DEAD], dead);
    fixture_disconnect(fx);
    wait_until_alone(fx);
    after = read_counters(fx);
    after.rows -= before.rows;
    after.blocks -= before.blocks;
    conn = fixture_connect(fx);
    for (int i = 0; b.counts.by_state[OUTBOX_DEAD] != dead && i < 2 * dead / OUTBOX_BACKLOG_ROWS; i++)
        OK(outbox_backlog__look(conn, &b, &fx->err));
    CHECK_INT(b.counts.by_state[OUTBOX_DEAD], dead);
    outbox_backlog__free(&b);
    fixture_disconnect(fx);
    return after;
}

static void compare_looks(const struct target *target)
{
    struct cost small = {0, 0}, large = {0, 0};
    struct fixture fx;

    tap_begin("%s: what metrics ask", target->name);
    if (fresh(&fx, target)) {
        load(&fx, SMALL, 10);
        small = look(&fx, SMALL, 0);
        load(&fx, large_backlog(), 10);
        large = look(&fx, SMALL + large_backlog(), 0);
        bury(&fx, large_backlog() / 10);
        look(&fx, SMALL + large_backlog(), large_backlog() / 10);
    }
    fixture_close(&fx);
    tap_note("a look touches %lld rows and %lld blocks with %d pending; %lld rows and %lld blocks with %ld",
             (long long)small.rows, (long long)small.blocks, SMALL, (long long)large.rows, (long long)large.blocks,
             SMALL + large_backlog());
    CHECK(small.rows >= LANES && small.blocks > 0, "nothing was counted");
    CHECK(large.rows <= small.rows + 200, "%lld rows instead of %lld", (long long)large.rows, (long long)small.rows);
    CHECK(large.blocks <= 2 * small.blocks + 400, "%lld blocks instead of %lld", (long long)large.blocks,
          (long long)small.blocks);
    tap_end();
}

/* ---- What the status page asks ---- */

static int count_record(void *user, const outbox_record *r)
{
    (void)r;
    ++*(long *)user;
    return 0;
}

static int see_lane(void *user, const outbox_lane_info *lane)
{
    (void)lane;
    ++*(long *)user;
    return 0;
}

static struct cost peek(struct fixture *fx, size_t rows, long waiting)
{
    struct cost before = read_counters(fx), after;
    outbox_filter all = OUTBOX_FILTER_INIT;
    outbox_conn *conn;
    long seen = 0, looked = 0;
    int complete = -1;

    all.limit = 1000000;
    wait_until_alone(fx);
    conn = fixture_connect(fx);
    OK(outbox_peek(conn, &all, rows, count_record, &seen, &complete, &fx->err));
    OK(outbox_lanes(conn, see_lane, &looked, &fx->err));
    CHECK_INT(looked, LANES + 1);
    CHECK_INT(complete, seen == waiting);
    CHECK(seen >= (long)rows && seen <= 3 * (long)rows, "%ld of %zu and %zu", seen, rows, rows);
    fixture_disconnect(fx);
    wait_until_alone(fx);
    after = read_counters(fx);
    after.rows -= before.rows;
    after.blocks -= before.blocks;
    return after;
}

static void compare_peeks(const struct target *target)
{
    const size_t rows = 2000;
    struct cost small = {0, 0}, large = {0, 0}, unknown = {0, 0};
    struct fixture fx;

    tap_begin("%s: what the status page asks", target->name);
    if (fresh(&fx, target)) {
        load(&fx, SMALL, 10);
        bury(&fx, SMALL);
        small = peek(&fx, rows, 2L * SMALL);
        load(&fx, large_backlog(), 10);
        bury(&fx, large_backlog());
        unknown = peek(&fx, rows, 0);
        analyze(&fx);
        large = peek(&fx, rows, 0);
    }
    fixture_close(&fx);
    tap_note("it touches %lld rows and %lld blocks with %d; %lld and %lld with %ld; %lld and %lld before an analyze",
             (long long)small.rows, (long long)small.blocks, 2 * SMALL, (long long)large.rows, (long long)large.blocks,
             2 * large_backlog(), (long long)unknown.rows, (long long)unknown.blocks);
    CHECK(small.rows >= (int64_t)rows && small.blocks > 0, "nothing was counted");
    CHECK(large.rows <= small.rows + 400, "%lld rows instead of %lld", (long long)large.rows, (long long)small.rows);
    CHECK(large.blocks <= 2 * small.blocks + 400, "%lld blocks instead of %lld", (long long)large.blocks,
          (long long)small.blocks);
    CHECK(unknown.rows <= small.rows + 400, "%lld rows instead of %lld", (long long)unknown.rows, (long long)small.rows);
    tap_end();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*prepare)(struct fixture *, long);
    } cases[] = {
        {"no statistics", no_statistics},
        {"fresh statistics", fresh_statistics},
        {"statistics of an empty table, then a bulk load", analyzed_when_empty},
        {"statistics after a load by one transaction", one_transaction},
        {"published ones kept", kept},
        {"published ones kept, loaded by one transaction, no statistics", kept_and_unknown},
        {"followers of blocked keys", many_held},
    };
    static const char *const targets[] = {"postgresql/position", "postgresql/delete", "generic/postgresql"};

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    for (size_t t = 0; t < COUNT_OF(targets) - !test_long(); t++)
        for (size_t i = 0; i < COUNT_OF(cases); i++)
            if (argc < 2 || strstr(cases[i].name, argv[1]) != NULL)
                compare(target_find(targets[t]), cases[i].name, cases[i].prepare, settle_each);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (cases[i].prepare != many_held && (argc < 2 || strstr(cases[i].name, argv[1]) != NULL))
            compare(target_find(targets[0]), cases[i].name, cases[i].prepare, settle_gathered);
    for (size_t t = 0; t < COUNT_OF(targets) - !test_long(); t++)
        if (argc < 2 || strstr("planned", argv[1]) != NULL) {
            compare_planned(target_find(targets[t]), "a lane a batch", settle_each);
            compare_planned(target_find(targets[t]), "batch after batch", settle_on);
            compare_planned(target_find(targets[t]), "with failures", settle_failing);
            if (t < 2)
                compare_planned_held(target_find(targets[t]), "batch after batch", settle_on);
        }
    if (argc < 2 || strstr("planned", argv[1]) != NULL) {
        compare_planned(target_find(targets[0]), "several lanes a batch", settle_gathered);
        compare_cleaned(target_find(targets[0]));
        compare_planned_held(target_find(targets[0]), "several lanes a batch", settle_gathered);
    }
    for (size_t t = 0; t < 2; t++)
        if (argc < 2 || strstr("another transaction has a snapshot", argv[1]) != NULL)
            compare_all_held(target_find(targets[t]));
    for (size_t t = 0; t < COUNT_OF(targets) - !test_long(); t++)
        if (argc < 2 || strstr("metrics", argv[1]) != NULL)
            compare_looks(target_find(targets[t]));
    for (size_t t = 0; t < COUNT_OF(targets) - !test_long(); t++)
        if (argc < 2 || strstr("status page", argv[1]) != NULL)
            compare_peeks(target_find(targets[t]));
    return tap_finish();
}
