/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Wake-ups from PostgreSQL, with a server that answers: whoever commits a message, however, the relay that waits hears
 * of it, and nobody pays for it while none waits. wake_lost.c has what goes wrong.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wakes.h"

#define ROW "(lane, id, topic, payload) SELECT i %% 64, gen_random_uuid(), 't', 'x' FROM generate_series(1, %d) i"

/* A relay that looks once an hour, and is on watch. */
static int on_watch(struct station *s, struct fixture *fx)
{
    fixture_set(fx, "relay.poll_interval", "1h");
    return station_start(s, fx) && station_state(s, OUTBOX_WAKE_UP) && watched(fx, 1);
}

/* The numbers to compare with: of what was published that which station_has() compares with, as the counter comes later. */
static outbox_relay_stats mark(struct station *s)
{
    outbox_relay_stats stats = station_stats(s);

    stats.published = (uint64_t)station_published(s);
    return stats;
}

/* Checks that `count` messages come, and that a wake-up brought them. */
static int woken_for(struct station *s, const outbox_relay_stats *before, int count)
{
    int woken, all = station_has(s, (int)before->published + count);

    WAIT_FOR(station_stats(s).wakeups > before->wakeups, woken);
    return CHECK(woken, "it was not woken") && all;
}

/* ---- Writers ---- */

/* Statements that end with a commit. */
static void write_by_sql(struct fixture *fx, struct station *s, const char *sql, int count)
{
    outbox_relay_stats before = mark(s);

    CHECK_INT(db_exec(&fx->db, sql, fx->prefix, count), 0);
    woken_for(s, &before, count);
}

static void write_isolated(struct fixture *fx, struct station *s, const char *level)
{
    outbox_relay_stats before = mark(s);
    struct db db;

    REQUIRE(db_open(&db, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&db, "SET TRANSACTION ISOLATION LEVEL %s", level), 0);
    CHECK_INT(db_int(&db, "SELECT count(*) FROM %smessages", fx->prefix) >= 0, 1); /* takes the snapshot */
    CHECK_INT(db_exec(&db, "INSERT INTO %smessages " ROW, fx->prefix, 1), 0);
    CHECK_INT(db_commit(&db), 0);
    db_close(&db);
    woken_for(s, &before, 1);
}

static void write_by_copy(struct fixture *fx, struct station *s)
{
    outbox_relay_stats before = mark(s);
    char command[400];

    snprintf(command, sizeof command,
             "printf '3\\t0190b6a0-0000-7000-8000-00000000000%%d\\tt\\tx\\n' 1 2 3 | psql -qXc "
             "'COPY %smessages (lane, id, topic, payload) FROM STDIN'", fx->prefix);
    CHECK_INT(system(command), 0);
    woken_for(s, &before, 3);
}

static void test_writers(struct fixture *fx)
{
    struct station s = {0};
    outbox_relay_stats before;

    if (on_watch(&s, fx)) {
        for (int i = 0; i < 5; i++)
            station_prompt(&s);
        before = mark(&s);
        CHECK(send_numbered(fx, "t", 20, 700), "not sent");
        woken_for(&s, &before, 700);
        write_by_sql(fx, &s, "SELECT %senqueue('t', 'x', 'key')", 1);
        write_by_sql(fx, &s, "INSERT INTO %smessages " ROW, 1);
        write_by_sql(fx, &s, "INSERT INTO %smessages " ROW, 300);
        write_by_copy(fx, &s);
        write_isolated(fx, &s, "REPEATABLE READ");
        write_isolated(fx, &s, "SERIALIZABLE");
    }
    station_close(&s);
}

/* Inserted before the watch was taken, committed after: no notification, and found all the same. */
static void test_slow_writer(struct fixture *fx)
{
    struct station s = {0};
    struct db db;

    REQUIRE(db_open(&db, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&db, "INSERT INTO %smessages " ROW, fx->prefix, 2), 0);
    if (on_watch(&s, fx)) {
        CHECK_INT(db_commit(&db), 0);
        station_has(&s, 2);
    }
    db_close(&db);
    station_close(&s);
}

static void test_rolled_back(struct fixture *fx)
{
    struct station s = {0};
    struct db db;

    REQUIRE(db_open(&db, fx->dsn, 0) == 0, "no connection");
    if (on_watch(&s, fx) && station_rests(&s)) {
        uint64_t before = station_stats(&s).wakeups;

        for (int i = 0; i < 200; i++) {
            CHECK_INT(db_exec(&db, "INSERT INTO %smessages " ROW, fx->prefix, 2), 0);
            CHECK_INT(db_rollback(&db), 0);
        }
        CHECK(station_prompt(&s), "not prompt"); /* notifications come in order */
        /* One for the message; a relay that is busy for a moment and takes the watch again counts that too. */
        CHECK(station_stats(&s).wakeups <= before + 50, "woken for nothing");
    }
    db_close(&db);
    station_close(&s);
}

/* Somebody shares the lock for a moment, as every writer does: nobody else is on watch, so hints count. */
static void test_lock_was_shared(struct fixture *fx)
{
    struct station s = {0};
    struct db db;
    uint64_t before;
    int woken;

    REQUIRE(db_open(&db, fx->dsn, 1) == 0, "no connection");
    CHECK_INT(db_exec(&db, "SELECT pg_advisory_lock_shared('%smessages'::regclass::oid::integer, 1)", fx->prefix), 0);
    fixture_set(fx, "relay.poll_interval", "1h");
    if (station_start(&s, fx) && station_state(&s, OUTBOX_WAKE_UP) && station_rests(&s)) {
        before = station_stats(&s).wakeups;
        CHECK_INT(db_exec(&fx->db, "SELECT pg_notify('outbox_messages', '%smessages'::regclass::oid::text)",
                          fx->prefix), 0);
        WAIT_FOR(station_stats(&s).wakeups > before, woken);
        CHECK(woken, "a hint was left to others");
        db_close(&db);
        watched(fx, 1);
        station_prompt(&s);
    }
    db_close(&db);
    station_close(&s);
}

/* ---- What it costs ---- */

/* Counts the commits that notify, in a sequence: those that roll back as well. */
static void count_notifications(struct fixture *fx)
{
    CHECK_INT(db_exec(&fx->db, "CREATE SEQUENCE %snotified MINVALUE 0", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('%snotify'::regproc), 'PERFORM pg_catalog"
                               ".pg_notify', 'PERFORM nextval(''%snotified''); PERFORM pg_catalog.pg_notify'); END $do$",
                      fx->prefix, fx->prefix), 0);
}

static int64_t notifications(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT CASE WHEN is_called THEN last_value + 1 ELSE 0 END FROM %snotified", fx->prefix);
}

/* Nothing is under way that could end the watch. */
static int settled(struct station *s)
{
    return station_rests(s) && watched(s->fx, 1);
}

/* One notification more for a message. None where a slow machine's relay was just taking the watch again: once more. */
static void prompt_notifies(struct station *s, int64_t before)
{
    int64_t after;
    int rounds = 0;

    do
        CHECK(settled(s) && station_prompt(s), "not prompt");
    while ((after = notifications(s->fx)) == before && ++rounds < 20);
    CHECK_INT(after, before + 1);
}

static void test_no_tax(struct fixture *fx)
{
    struct station s = {0};
    int there, published;

    count_notifications(fx);
    CHECK(send_words(fx, "t", NULL, "1 2 3"), "not sent"); /* no relay */
    CHECK_INT(notifications(fx), 0);
    fixture_set(fx, "relay.workers", "1");
    if (on_watch(&s, fx)) {
        station_has(&s, 3);
        prompt_notifies(&s, 0);
        settled(&s);
        published = station_published(&s);
        station_gate(&s, 0);
        CHECK(send_text(fx, "t", NULL, "held"), "not sent");
        WAIT_FOR(station_inside(&s) == 1, there);
        CHECK(there && watched(fx, 0), "a busy relay stays on watch");
        CHECK_INT(notifications(fx), 2);
        CHECK(send_numbered(fx, "t", 7, 100), "not sent");
        CHECK_INT(notifications(fx), 2);
        station_gate(&s, 1);
        station_has(&s, published + 101);
        prompt_notifies(&s, 2);
    }
    station_close(&s);
}

struct flood {
    struct fixture *fx;
    atomic_int stop, error;
    atomic_long sent;
};

/* Single messages, each committed, as fast as the server can. */
static void *flood(void *arg)
{
    struct flood *f = arg;
    struct db db;

    if (db_open(&db, f->fx->dsn, 1) != 0)
        return NULL;
    while (!atomic_load(&f->stop) && !atomic_load(&f->error)) {
        atomic_store(&f->error, db_exec(&db, "DO $$ BEGIN SET synchronous_commit = off; FOR i IN 1 .. 100 LOOP "
                                        "INSERT INTO %smessages (lane, id, topic, payload) VALUES (i %% 64, "
                                        "gen_random_uuid(), 't', 'x'); COMMIT; END LOOP; END $$", f->fx->prefix));
        atomic_fetch_add(&f->sent, 100);
    }
    db_close(&db);
    return NULL;
}

static void test_flood(struct fixture *fx)
{
    struct station s = {0};
    struct flood f = {.fx = fx};
    pthread_t thread;
    long sent;

    count_notifications(fx);
    if (on_watch(&s, fx) && CHECK(pthread_create(&thread, NULL, flood, &f) == 0, "no thread")) {
        watched(fx, 0);
        atomic_store(&f.stop, 1);
        pthread_join(thread, NULL);
        CHECK_INT(f.error, 0);
        sent = atomic_load(&f.sent);
        station_has(&s, (int)sent);
        watched(fx, 1);
        tap_note("%ld messages, %lld notifications, %llu wake-ups, %llu looks", sent, (long long)notifications(fx),
                 (unsigned long long)station_stats(&s).wakeups, (unsigned long long)station_stats(&s).polls);
        station_prompt(&s);
    }
    station_close(&s);
}

/* Notifications that bring nothing, without end: the watch is given up, and not taken again at once. */
static void test_empty_flood(struct fixture *fx)
{
    struct station s = {0};
    int64_t heard;

    if (on_watch(&s, fx)) {
        uint64_t before = station_stats(&s).wakeups;

        count_notifications(fx);
        CHECK_INT(db_exec(&fx->db, "SET synchronous_commit = off"), 0);
        CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN FOR i IN 1 .. 10000 LOOP INSERT INTO %smessages (lane, id, topic, "
                                   "payload) VALUES (1, gen_random_uuid(), 't', 'x'); DELETE FROM %smessages; COMMIT; END LOOP; "
                                   "END $$", fx->prefix, fx->prefix), 0);
        heard = notifications(fx);
        CHECK(heard >= 50 && heard < 5000, "%lld of 10000 commits notified", (long long)heard);
        CHECK(station_stats(&s).wakeups - before <= (uint64_t)heard + 50, "more wake-ups than notifications");
        watched(fx, 1);
        station_prompt(&s);
    }
    station_close(&s);
}

/* ---- How many workers ---- */

static void test_all_workers(struct fixture *fx)
{
    struct station s = {0};
    outbox_relay_stats stats;
    int there;

    fixture_set(fx, "relay.workers", "4");
    if (on_watch(&s, fx) && station_rests(&s)) {
        station_gate(&s, 0);
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages " ROW, fx->prefix, 8), 0);
        WAIT_FOR(station_inside(&s) == 4, there);
        CHECK(there, "%d of 4 workers came", station_inside(&s));
        station_gate(&s, 1);
        station_has(&s, 8);
        CHECK(watched(fx, 1) && station_rests(&s), "no rest");
        stats = station_stats(&s);
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages " ROW, fx->prefix, 1), 0);
        station_has(&s, 9);
        station_rests(&s);
        /* One message: who was woken, who looked whether help is needed, and each looked again after it. */
        CHECK(station_stats(&s).polls - stats.polls <= 8, "%llu looks for one message",
              (unsigned long long)(station_stats(&s).polls - stats.polls));
    }
    station_close(&s);
}

static void test_burst(struct fixture *fx)
{
    struct station s = {0};
    outbox_relay_stats before, after;

    fixture_set(fx, "relay.workers", "4");
    if (on_watch(&s, fx) && station_rests(&s)) {
        before = station_stats(&s);
        CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN FOR i IN 1 .. 1000 LOOP PERFORM pg_notify('outbox_messages', "
                                   "'%smessages'::regclass::oid::text || repeat('', i)); END LOOP; END $$",
                          fx->prefix), 0);
        CHECK_INT(db_exec(&fx->db, "DO $$ BEGIN FOR i IN 1 .. 40 LOOP PERFORM pg_notify('outbox_messages', ''); "
                                   "PERFORM pg_notify('outbox_messages', i::text); END LOOP; END $$"), 0);
        station_prompt(&s);
        station_rests(&s);
        after = station_stats(&s);
        CHECK(after.polls - before.polls <= 20, "%llu looks", (unsigned long long)(after.polls - before.polls));
    }
    station_close(&s);
}

/* ---- Several ---- */

/* Another outbox in the same database. */
static void other_fixture(struct fixture *other, struct fixture *fx, const char *channel)
{
    if (fixture_prepare(other, fx->target) == 0) {
        fixture_set(other, "wake.channel", channel);
        fixture_migrate(other);
    }
}

static void two_outboxes(struct fixture *fx, const char *channel)
{
    struct station one = {0}, two = {0};
    struct fixture other;
    outbox_relay_stats before;

    other_fixture(&other, fx, channel);
    if (on_watch(&one, fx) && on_watch(&two, &other) && station_rests(&one)) {
        before = station_stats(&one);
        for (int i = 0; i < 10; i++)
            station_prompt(&two);
        CHECK_INT(station_stats(&one).wakeups, before.wakeups);
        station_prompt(&one);
    }
    station_close(&one);
    station_close(&two);
    fixture_close(&other);
}

static void test_same_channel(struct fixture *fx)
{
    two_outboxes(fx, "outbox_messages");
}

static void test_other_channel(struct fixture *fx)
{
    two_outboxes(fx, "Other_Channel_9");
}

/* The one on watch works; when all of it is busy, the other does. */
static void test_two_relays(struct fixture *fx)
{
    struct station one = {0}, two = {0};
    int there, sent = 0;

    fixture_set(fx, "relay.workers", "2");
    if (on_watch(&one, fx) && station_start(&two, fx) && station_state(&two, OUTBOX_WAKE_UP)) {
        station_gate(&one, 0);
        /* The first blocks on two, and hands the watch over; a message that it takes while it still has a
         * worker is one of these. */
        WAIT_FOR(send_text(fx, "t", NULL, "blocks") && ++sent && station_inside(&one) == 2, there);
        CHECK(there, "the first does not work");
        watched(fx, 1);
        for (int i = 0; i < 5; i++) {
            outbox_relay_stats before = station_stats(&two);

            CHECK(send_text(fx, "t", NULL, "prompt") && ++sent, "not sent");
            WAIT_FOR(station_stats(&two).wakeups > before.wakeups && station_published(&two) > 0, there);
            CHECK(there, "the second is not woken");
        }
        CHECK_INT(station_inside(&one), 2);
        station_gate(&one, 1);
        WAIT_FOR(count_waiting(fx) == 0, there);
        CHECK(there, "%lld of %d are left", (long long)count_waiting(fx), sent);
    }
    station_close(&one);
    station_close(&two);
}

/* The process on watch is killed without warning. */
static void test_killed_relay(struct fixture *fx)
{
    struct station s = {0};
    int there, status, same = 0;
    int64_t pid = 0, seen;
    pid_t child;

    fixture_disconnect(fx);
    child = fork();
    if (child == 0) {
        on_watch(&s, fx);
        pause();
        _exit(1);
    }
    REQUIRE(child > 0 && db_open(&fx->db, fx->dsn, 1) == 0, "no child");
    /* It may be busy for moments after its start, in which the watch would become the other's. */
    WAIT_FOR((seen = watch_pid(fx), same = seen > 0 && seen == pid ? same + 1 : 0, pid = seen, same == 60), there);
    CHECK(there, "it is not on watch");
    fixture_set(fx, "relay.poll_interval", "1h");
    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    if (station_start(&s, fx) && station_state(&s, OUTBOX_WAKE_UP)) {
        WAIT_FOR(watch_pid(fx) == pid, there);
        CHECK(there, "the watch changed hands");
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        WAIT_FOR(watches(fx) == 1 && watch_pid(fx) != pid, there);
        CHECK(there, "nobody took over");
        station_prompt(&s);
    } else {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    station_close(&s);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"whoever commits", test_writers, 0},
        {"one that inserted before the watch began", test_slow_writer, 0},
        {"one that rolls back", test_rolled_back, 0},
        {"a lock that is shared for a moment is no watch", test_lock_was_shared, 0},
        {"who commits while no relay waits does not notify", test_no_tax, 0},
        {"a flood ends the watch", test_flood, 0},
        {"a flood that brings nothing ends the watch too", test_empty_flood, 0},
        {"one commit, as many workers as it takes", test_all_workers, 0},
        {"a burst of notifications, few looks", test_burst, 0},
        {"two outboxes on one channel", test_same_channel, 0},
        {"two outboxes on two channels", test_other_channel, 0},
        {"two relays, one watch", test_two_relays, 0},
        {"the relay on watch is killed", test_killed_relay, 0},
    };

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
