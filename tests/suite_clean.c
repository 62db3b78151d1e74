/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cleaner: what stays how long, and that no more than that goes. */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "suite.h"

/* One pass; returns what it removed. */
static int64_t clean(struct fixture *fx)
{
    int64_t removed = -1;

    return OK(outbox_clean(fx->conn, fx->conf, &removed, &fx->err)) ? removed : -1;
}

/* Rows of all tables that hold messages, but the one of keys that must not come again. */
static int64_t rows(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT (SELECT count(*) FROM %smessages) + (SELECT count(*) FROM %sdeferred) FROM %slanes "
                  "WHERE lane = -1", fx->prefix, fx->prefix, fx->prefix);
}

static void test_retention_zero(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    REQUIRE(consumer != NULL && send_numbered(fx, "t", 20, 200), "not sent");
    CHECK_INT(clean(fx), 0);
    CHECK_INT(drain(fx, consumer, NULL), 200);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 0);
    REQUIRE(send_numbered(fx, "t", 20, 30), "not sent");
    clean(fx);
    CHECK_INT(rows(fx), 30);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 0);
    CHECK_INT(clean(fx), 0);
    CHECK_INT(drain(fx, consumer, NULL), 30);
    clean(fx);
    CHECK_INT(rows(fx), 0);
}

/* A small clean.batch only means more statements. */
static void test_small_batches(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int passes = 0;

    fixture_set(fx, "clean.batch", "7");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 20, 200), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 200);
    while (rows(fx) > 0 && ++passes < 100)
        clean(fx);
    CHECK_INT(rows(fx), 0);
}

/* What is in another's hand stays. */
static void test_claimed(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;

    send_words(fx, "t", "k", "1 2");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(clean(fx), 0);
    CHECK_INT(count_waiting(fx), 2);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    clean(fx);
    CHECK_INT(rows(fx), 0);
}

struct kept {
    int count;
    int64_t published_at, created_at;
    outbox_state state;
    char payload[20], header[20];
};

static int take_kept(void *user, const outbox_record *r)
{
    struct kept *kept = user;
    const char *header = outbox_record_header(r, "h");
    size_t size = 0;
    const char *payload = outbox_record_payload(r, &size);

    kept->count++;
    kept->published_at = outbox_record_published_at(r);
    kept->created_at = outbox_record_created_at(r);
    kept->state = outbox_record_state(r);
    snprintf(kept->payload, sizeof kept->payload, "%.*s", (int)size, payload);
    snprintf(kept->header, sizeof kept->header, "%s", header ? header : "-");
    return 0;
}

static void test_retention_forever(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_header header = {"h", "v"};
    outbox_message m = text_message("t", "k", "kept");
    outbox_filter filter = OUTBOX_FILTER_INIT;
    struct kept kept = {0, 0, 0, (outbox_state)0, "", ""};
    outbox_id id;
    int64_t count = 0;

    fixture_set(fx, "clean.retention", "forever");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    m.headers = &header;
    m.header_count = 1;
    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    REQUIRE(send_numbered(fx, "t", 10, 50), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 51);
    clean(fx);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 51);
    CHECK_INT(count_waiting(fx), 0);
    OK(outbox_get(fx->conn, id.text, take_kept, &kept, &fx->err));
    CHECK_INT(kept.count, 1);
    CHECK_INT(kept.state, OUTBOX_DELIVERED);
    CHECK_STR(kept.payload, "kept");
    CHECK_STR(kept.header, "v");
    CHECK(kept.published_at == 0 || kept.published_at >= kept.created_at, "published before it was created");
    memset(&kept, 0, sizeof kept);
    filter.state = OUTBOX_DELIVERED;
    filter.limit = 1000;
    OK(outbox_list(fx->conn, &filter, take_kept, &kept, &fx->err));
    CHECK_INT(kept.count, 51);
    CHECK_INT(drain(fx, consumer, NULL), 0);
    /* Purge knows no retention. */
    filter.older_than_us = 3600 * SECOND_US;
    OK(outbox_purge(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count, 0);
    OK(outbox_purge(fx->conn, NULL, &count, &fx->err));
    CHECK_INT(count, 51);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 0);
}

/* Kept messages that went through a retry, or were scheduled, are kept too. */
static void test_retention_of_deferred(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_message m = text_message("t", "l", "later");

    fixture_set(fx, "clean.retention", "forever");
    fixture_set(fx, "retry.backoff_min", "1d");
    fixture_set(fx, "retry.backoff_max", "1d");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2 3");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 3);
    m.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(drain(fx, consumer, NULL), 0);
    make_due(fx);
    CHECK_INT(drain(fx, consumer, NULL), 4);
    clean(fx);
    CHECK_INT(count_waiting(fx), 0);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 4);
}

static void test_retention_duration(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int64_t removed = 0;
    int gone;

    fixture_set(fx, "clean.retention", "1h");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 10, 50), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 50);
    CHECK_INT(clean(fx), 0);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 50);
    fixture_set(fx, "clean.retention", "300ms");
    WAIT_FOR((removed += clean(fx), count_state(fx, OUTBOX_DELIVERED)) == 0, gone);
    CHECK(gone, "still there");
    CHECK_INT(removed, 50);
    CHECK_INT(count_waiting(fx), 0);
}

static void test_dead_retention(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};
    int gone;

    send_words(fx, "t", "k", "1");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    send_words(fx, "t", "k", "2 3");
    CHECK_INT(drain(fx, consumer, NULL), 0);
    clean(fx);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    fixture_set(fx, "clean.dead_retention", "1h");
    clean(fx);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    fixture_set(fx, "clean.dead_retention", "200ms");
    WAIT_FOR((clean(fx), count_state(fx, OUTBOX_DEAD)) == 0, gone);
    CHECK(gone, "still there");
    /* Its followers are free. */
    CHECK_INT(drain(fx, consumer, &seen), 2);
    CHECK_STR(seen_words(&seen), "2 3");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* After its window an id or a key may come again; before, cleaning does not forget it. */
static void test_dedup_window(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m[2] = {text_message("t", "k", "1"), text_message("t", NULL, "2")};
    int rc = 0, accepted;

    m[0].dedup_key = "once";
    m[1].id = "01890a5d-ac96-774b-bcce-b302099a8057";
    OK(outbox_enqueue(fx->conn, m, 2, NULL, &fx->err));
    CHECK_INT(drain(fx, consumer, NULL), 2);
    clean(fx);
    EXPECT(outbox_enqueue(fx->conn, &m[0], 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    EXPECT(outbox_enqueue(fx->conn, &m[1], 1, NULL, &fx->err), OUTBOX_ERR_DUPLICATE);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 0);
    fixture_set(fx, "dedup.window", "1s");
    for (int i = 0; i < 2; i++) {
        WAIT_FOR((clean(fx), rc = outbox_enqueue(fx->conn, &m[i], 1, NULL, NULL)) != OUTBOX_ERR_DUPLICATE, accepted);
        CHECK(accepted, "still refused");
        CHECK_INT(rc, OUTBOX_OK);
    }
    CHECK_INT(drain(fx, consumer, NULL), 2);
}

/* Cleaning beside enqueue and relays: nothing that is not published goes. */
static void test_beside(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    long drained = 0;

    fixture_set(fx, "relay.batch_size", "13");
    fixture_set(fx, "clean.batch", "5");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (int i = 0; i < 30; i++) {
        REQUIRE(send_numbered(fx, "t", 3, 20), "not sent");
        drained += settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL);
        clean(fx);
        CHECK_INT(count_waiting(fx), (i + 1) * 20 - drained);
    }
    drained += drain(fx, consumer, NULL);
    CHECK_INT(drained, 600);
}

/* ---- A pass that is stopped ---- */

struct stopped_pass {
    outbox_conn *conn;
    struct outbox_clean_limits limits;
    struct outbox_signal signal;
};

static void *run_pass(void *arg)
{
    struct stopped_pass *p = arg;

    outbox_clean__pass(p->conn, &p->limits, &p->signal, NULL, NULL);
    return NULL;
}

/* Stops a pass in its first statement that deletes, which waits for a row. */
static void stop_pass(struct fixture *fx, outbox_conn *conn)
{
    struct stopped_pass p = { .conn = conn };
    struct db other;
    pthread_t thread;
    int waits;

    outbox_clean__limits(fx->conf, &p.limits);
    outbox_signal__init(&p.signal);
    REQUIRE(db_open(&other, fx->dsn, 0) == 0, "no connection");
    db_exec(&other, "UPDATE %smessages SET topic = topic WHERE seq = (SELECT min(seq) FROM %smessages)", fx->prefix,
            fx->prefix);
    REQUIRE(pthread_create(&thread, NULL, run_pass, &p) == 0, "no thread");
    WAIT_FOR(db_int(&fx->db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
                             "'DELETE FROM %%%smessages%%'", fx->prefix) > 0, waits);
    CHECK(waits, "the cleaner does not wait for the row");
    outbox_signal__stop(&p.signal);
    CHECK_INT(db_rollback(&other), 0);
    pthread_join(thread, NULL);
    outbox_signal__destroy(&p.signal);
    db_close(&other);
}

/* What it left goes in the next one. */
static void test_stopped(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    if (strcmp(fx->target->name, "postgresql/position") != 0) {
        tap_skip("needs row locks, and a position");
        return;
    }
    fixture_set(fx, "schema.lanes", "1");
    fixture_set(fx, "clean.batch", "1");
    REQUIRE(fixture_migrate(fx) == 0 && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    for (int round = 0; round < 3; round++) {
        send_words(fx, "t", "k", "1 2 3 4");
        CHECK_INT(drain(fx, consumer, NULL), 4);
        stop_pass(fx, fixture_connect(fx));
    }
    CHECK_INT(rows(fx), 9);
    clean(fx);
    CHECK_INT(rows(fx), 0);
}

/* The thread: returns at once when it is switched off, cleans when it is not, and says so. */
static void count_cleaned(void *user, int64_t count)
{
    __atomic_add_fetch((int64_t *)user, count, __ATOMIC_SEQ_CST);
}

static void test_thread(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    outbox_cleaner *cleaner = NULL;
    int64_t cleaned = 0;
    int gone;

    hooks.cleaned = count_cleaned;
    hooks.user = &cleaned;
    fixture_set(fx, "clean.interval", "0");
    if (OK(outbox_cleaner_new(fx->dsn, fx->conf, &hooks, &cleaner, &fx->err)))
        OK(outbox_cleaner_run(cleaner, &fx->err));
    outbox_cleaner_free(cleaner);
    fixture_set(fx, "clean.interval", "20ms");
    fixture_set(fx, "clean.retention", "50ms");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 10, 50), "not sent");
    MUST(outbox_cleaner_new(fx->dsn, fx->conf, &hooks, &cleaner, &fx->err));
    EXPECT(outbox_cleaner_join(cleaner, &fx->err), OUTBOX_ERR_STATE);
    OK(outbox_cleaner_start(cleaner, &fx->err));
    EXPECT(outbox_cleaner_start(cleaner, &fx->err), OUTBOX_ERR_STATE);
    CHECK_INT(drain(fx, consumer, NULL), 50);
    WAIT_FOR(__atomic_load_n(&cleaned, __ATOMIC_SEQ_CST) == 50, gone);
    CHECK(gone, "%lld of 50 cleaned", (long long)__atomic_load_n(&cleaned, __ATOMIC_SEQ_CST));
    outbox_cleaner_stop(cleaner);
    OK(outbox_cleaner_join(cleaner, &fx->err));
    outbox_cleaner_free(cleaner);
    CHECK_INT(rows(fx), 0);
}

struct pass {
    struct fixture *fx;
    struct outbox_signal signal;
    struct outbox_clean_limits limits;
    outbox_conn *conn;
};

static void *pass_run(void *arg)
{
    struct pass *p = arg;

    outbox_clean__pass(p->conn, &p->limits, &p->signal, NULL, NULL);
    return NULL;
}

/* What a pass that is stopped in the middle leaves, the next one removes: also where the lane's low water is above it. */
static void test_stopped_pass(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct pass p = {.fx = fx};
    pthread_t thread;
    int begun;

    fixture_set(fx, "clean.retention", "1d");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 1, 3000), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 3000);
    clean(fx); /* all is kept, and nothing can appear there any more */
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 3000);
    REQUIRE(send_numbered(fx, "t", 1, 1), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 1);
    fixture_set(fx, "clean.retention", "0");
    fixture_set(fx, "clean.batch", "1");
    outbox_clean__limits(fx->conf, &p.limits);
    outbox_signal__init(&p.signal);
    REQUIRE((p.conn = fixture_connect(fx)) != NULL, "no connection");
    REQUIRE(pthread_create(&thread, NULL, pass_run, &p) == 0, "no thread");
    WAIT_FOR(count_state(fx, OUTBOX_DELIVERED) < 3001, begun);
    outbox_signal__stop(&p.signal);
    pthread_join(thread, NULL);
    CHECK(begun && count_state(fx, OUTBOX_DELIVERED) > 0, "the pass was not stopped in the middle");
    fixture_set(fx, "clean.batch", "1000");
    clean(fx);
    clean(fx);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 0);
    CHECK_INT(rows(fx), 0);
    outbox_signal__destroy(&p.signal);
}

/* Redriven after the cleaner found it and before it came to its lane: it is not dead any more. */
static void test_dead_redriven(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    char sql[200];

    fixture_set(fx, "clean.dead_retention", "1d");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "1 2");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 2);
    CHECK_INT(clean(fx), 0); /* the pass that moves the lane's low water */
    CHECK_INT(db_exec(&fx->db, "UPDATE %sdeferred SET deferred_at = 1", fx->prefix), 0);
    snprintf(sql, sizeof sql, "UPDATE %sdeferred SET state = 3, available_at = 1 WHERE seq = 1", fx->prefix);
    at_lane_lock(fx, sql);
    CHECK_INT(clean(fx), 1);
    at_lane_lock(fx, NULL);
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(drain(fx, consumer, NULL), 1);
    CHECK_INT(rows(fx), 0);
}

/* Statements that a pass runs for a lane in which there is nothing: none. */
static void test_idle_pass(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int64_t before;
    int raised;

    if (strstr(fx->target->name, "/position") == NULL) {
        tap_skip("settles by delete: the cleaner does not go from lane to lane");
        return;
    }
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 200, 1000), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 1000);
    /* Not before every transaction of that time is over, the server's own as well. */
    WAIT_FOR((clean(fx), db_int(&fx->db, "SELECT count(*) FROM %slanes WHERE lane >= 0 AND cleaned < pos", fx->prefix) == 0),
             raised);
    CHECK(raised, "not all of it was cleaned");
    before = db_int(&fx->db, "SELECT sum(pos + low + cleaned) FROM %slanes", fx->prefix);
    CHECK_INT(clean(fx), 0);
    CHECK_INT(db_int(&fx->db, "SELECT sum(pos + low + cleaned) FROM %slanes", fx->prefix), before);
    /* A lane in which there is something again is not passed over. */
    REQUIRE(send_numbered(fx, "t", 200, 500), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 500);
    CHECK_INT(clean(fx), 500);
    CHECK_INT(rows(fx), 0);
}

/* A table without a key refuses deletes, even of no row, once it is published with all others. */
static void test_publication(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int made;

    if (!target_is_postgresql(fx->target)) {
        tap_skip("only PostgreSQL has publications");
        return;
    }
    fixture_set(fx, "clean.retention", "1us");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    fx->db.quiet = 1; /* a warning that wal_level is not logical */
    made = db_exec(&fx->db, "CREATE PUBLICATION %sall FOR ALL TABLES", fx->prefix);
    fx->db.quiet = 0;
    CHECK_INT(made, 0);
    REQUIRE(send_numbered(fx, "t", 20, 50), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 50);
    CHECK(clean(fx) >= 0, "the cleaner was refused");
    CHECK_INT(rows(fx), 0);
    CHECK_INT(db_exec(&fx->db, "DROP PUBLICATION %sall", fx->prefix), 0);
}

/* What an administrator sets for applications does not stop the library's own work. */
static void test_own_timeouts(struct fixture *fx)
{
    static const char *const words[] = {"statement_timeout", "lock_timeout"};

    if (!target_is_postgresql(fx->target)) {
        tap_skip("settings of PostgreSQL's");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        char *name = db_text(&fx->db, "SELECT current_user"), sql[200];
        outbox_conn *conn = NULL;

        CHECK_INT(db_exec(&fx->db, "ALTER ROLE \"%s\" SET %s = '54321ms'", name, words[i]), 0);
        if (OK(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err))) {
            snprintf(sql, sizeof sql, "SELECT 1 / CASE current_setting('%s') WHEN '0' THEN 1 ELSE 0 END", words[i]);
            OK(outbox_conn_execute(conn, sql, &fx->err));
        }
        CHECK_INT(db_exec(&fx->db, "ALTER ROLE \"%s\" RESET %s", name, words[i]), 0);
        outbox_conn_close(conn);
        free(name);
    }
}

/* Of a program that was compiled against an earlier header only what was there then is read. */
static void test_smaller_hooks(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;
    outbox_cleaner *cleaner = NULL;
    int64_t cleaned = 0;
    int gone;

    hooks.cleaned = count_cleaned;
    hooks.user = &cleaned;
    hooks.size = 0;
    EXPECT(outbox_cleaner_new(fx->dsn, fx->conf, &hooks, &cleaner, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "hooks.bad_size");
    hooks.size = offsetof(outbox_hooks, cleaned);
    fixture_set(fx, "clean.interval", "20ms");
    fixture_set(fx, "clean.retention", "50ms");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 10, 50), "not sent");
    CHECK_INT(drain(fx, consumer, NULL), 50);
    MUST(outbox_cleaner_new(fx->dsn, fx->conf, &hooks, &cleaner, &fx->err));
    OK(outbox_cleaner_start(cleaner, &fx->err));
    WAIT_FOR(rows(fx) == 0 && count_state(fx, OUTBOX_DELIVERED) == 0, gone);
    CHECK(gone, "nothing was cleaned");
    outbox_cleaner_stop(cleaner);
    OK(outbox_cleaner_join(cleaner, &fx->err));
    outbox_cleaner_free(cleaner);
    CHECK_INT(cleaned, 0);
}

void suite_clean(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"clean: retention 0", test_retention_zero, 0},
        {"clean: small batches", test_small_batches, 0},
        {"clean: what is in hand stays", test_claimed, 0},
        {"clean: retention forever, and purge", test_retention_forever, 0},
        {"clean: retention of what was deferred", test_retention_of_deferred, 0},
        {"clean: retention of a duration", test_retention_duration, 0},
        {"clean: beside a publication of all tables", test_publication, 0},
        {"clean: timeouts that are meant for applications", test_own_timeouts, 0},
        {"clean: dead_retention", test_dead_retention, 0},
        {"clean: a dead message is redriven meanwhile", test_dead_redriven, 0},
        {"clean: dedup.window", test_dedup_window, 0},
        {"clean: beside enqueue and relays", test_beside, 0},
        {"clean: a pass that is stopped", test_stopped, 1},
        {"clean: the thread", test_thread, 0},
        {"clean: hooks of an earlier size", test_smaller_hooks, 0},
        {"clean: a pass that is stopped", test_stopped_pass, 0},
        {"clean: lanes in which there is nothing", test_idle_pass, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
