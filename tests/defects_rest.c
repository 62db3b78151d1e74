/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Defects 12 to 15: wake-ups, cleaning, keyless messages, limits. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "defects.h"

/* ---- 12 ---- */

struct meeting {
    int published, inside, met; /* met: two workers were in the publisher at once */
    int wait_for_two;
};

static outbox_verdict meet(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    struct meeting *m = user;
    int done;

    (void)message;
    (void)retry_ms;
    (void)err;
    if (__atomic_add_fetch(&m->inside, 1, __ATOMIC_SEQ_CST) >= 2)
        __atomic_store_n(&m->met, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&m->wait_for_two, __ATOMIC_SEQ_CST)) {
        WAIT_FOR(__atomic_load_n(&m->met, __ATOMIC_SEQ_CST), done);
        (void)done;
    }
    __atomic_sub_fetch(&m->inside, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&m->published, 1, __ATOMIC_SEQ_CST);
    return OUTBOX_PUBLISHED;
}

/* 12. No drain at start: what was there waited for the first poll. The poll here comes after an hour. */
static void test_drain_at_start(struct fixture *fx)
{
    struct meeting m = {0, 0, 0, 0};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int done;

    fixture_set(fx, "relay.poll_interval", "1h");
    REQUIRE(send_numbered(fx, "t", 100, 1000), "not sent");
    OK(outbox_publisher_from_callback(meet, &m, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(__atomic_load_n(&m.published, __ATOMIC_SEQ_CST) == 1000, done);
    CHECK(done, "%d of 1000 published", m.published);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* 12. One wake-up woke one worker. Here each of two workers has to come for a message before either goes on. */
static void test_wake_all(struct fixture *fx)
{
    struct meeting m = {0, 0, 0, 0};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int done;

    fixture_set(fx, "relay.poll_interval", "1h");
    fixture_set(fx, "relay.workers", "2");
    fixture_set(fx, "relay.batch_lanes", "1"); /* else one of them takes both messages */
    REQUIRE(send_text(fx, "t", "hello", "1"), "not sent");
    OK(outbox_publisher_from_callback(meet, &m, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(__atomic_load_n(&m.published, __ATOMIC_SEQ_CST) == 1, done);
    CHECK(done, "not published at start");
    for (int round = 0; round < 3; round++) {
        int before = __atomic_load_n(&m.published, __ATOMIC_SEQ_CST);
        outbox_message pair[2] = {text_message("t", "hello", "1"), text_message("t", "order-1", "2")};

        m.met = 0;
        __atomic_store_n(&m.wait_for_two, 1, __ATOMIC_SEQ_CST);
        OK(outbox_conn_begin(fx->conn, &fx->err));
        OK(outbox_enqueue(fx->conn, pair, 2, NULL, &fx->err));
        OK(outbox_conn_commit(fx->conn, &fx->err));
        outbox_relay_wake(relay);
        WAIT_FOR(__atomic_load_n(&m.published, __ATOMIC_SEQ_CST) == before + 2, done);
        CHECK(done, "round %d: %d of 2 published", round, m.published - before);
        CHECK_INT(m.met, 1);
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* ---- 13 ---- */

static int clean_child(const struct fixture *fx, int go, int out)
{
    outbox_conf *conf = fixture_conf(fx);
    outbox_conn *conn = NULL;
    int64_t sum = 0, removed;
    int rc;
    char byte;

    outbox_conf_set(conf, "clean.batch", "50", NULL);
    rc = outbox_conn_open(fx->dsn, conf, &conn, NULL);
    if (read(go, &byte, 1) != 0)
        return 1;
    for (int i = 0; i < 40 && rc >= 0; i++) {
        removed = 0;
        rc = outbox_clean(conn, conf, &removed, NULL);
        sum += rc == OUTBOX_OK ? removed : 0;
    }
    outbox_conn_close(conn);
    outbox_conf_free(conf);
    if (write(out, &sum, sizeof sum) != sizeof sum)
        return 1;
    return rc < 0 && rc != OUTBOX_ERR_CONFLICT;
}

/* 13. The cleaner ran everywhere at once. Four at once: each row goes once, and nobody fails. */
static void test_one_cleaner(struct fixture *fx)
{
    int go[2], out[2], status;
    int64_t sum = 0, one;
    pid_t pids[4];

    REQUIRE(send_numbered(fx, "t", 50, 2000), "not sent");
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), NULL), 2000);
    sum = 2000 - db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix);
    fixture_disconnect(fx);
    REQUIRE(pipe(go) == 0 && pipe(out) == 0, "no pipe");
    fflush(stdout);
    for (size_t i = 0; i < COUNT_OF(pids); i++)
        if ((pids[i] = fork()) == 0) {
            close(go[1]);
            _exit(clean_child(fx, go[0], out[1]));
        }
    close(go[0]);
    close(go[1]);
    close(out[1]);
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        waitpid(pids[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a cleaner ended with %x", (unsigned)status);
    }
    while (read(out[0], &one, sizeof one) == sizeof one)
        sum += one;
    close(out[0]);
    CHECK_INT(sum, 2000);
    REQUIRE_INT(db_open(&fx->db, fx->dsn, 1), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

/* 13. Dead rows were never removed. */
static void test_dead_removed(struct fixture *fx)
{
    int gone;

    send_words(fx, "t", "k", "1");
    CHECK_INT(settle_one(fx, fixture_consumer(fx, NULL), OUTBOX_REJECT, NULL), 1);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    fixture_set(fx, "clean.dead_retention", "100ms");
    WAIT_FOR((OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err)), count_state(fx, OUTBOX_DEAD)) == 0, gone);
    CHECK(gone, "still there");
}

/* ---- 14 ---- */

/* 14. An empty key sent every keyless message to one place. Here none has a key, and they are spread. */
static void test_keyless_spread(struct fixture *fx)
{
    outbox_message m[2] = {text_message("t", NULL, "1"), text_message("t", "", "2")};
    struct seen seen = {0};
    int lanes[64] = {0}, used = 0;

    for (int i = 0; i < 320; i++)
        OK(outbox_enqueue(fx->conn, m, 2, NULL, &fx->err));
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &seen), 640);
    for (size_t i = 0; i < seen.count; i++) {
        CHECK_INT(seen.items[i].has_key, 0);
        lanes[seen.items[i].lane]++;
    }
    for (int i = 0; i < 64; i++)
        used += lanes[i] > 0;
    CHECK(used > target_lanes(fx->target) / 2, "640 keyless messages in %d lanes", used);
    seen_clear(&seen);
}

/* ---- 15 ---- */

/* 15. A max_attempts of 0 or less was accepted. */
static void test_limits(struct fixture *fx)
{
    static const char *const limits[] = {"0", "-1", "", "x", "99999999999999999999"};
    outbox_message m = text_message("t", "k", "1");

    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        EXPECT(outbox_conf_set(fx->conf, "retry.max_attempts", limits[i], &fx->err), OUTBOX_ERR_CONF);
        CHECK(strstr(fx->message, "retry.max_attempts") != NULL, "no key in: %s", fx->message);
    }
    m.max_attempts = -1;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    m.max_attempts = INT32_MIN;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_INT(count_waiting(fx), 0);
    /* Not by plain SQL either. */
    m.max_attempts = 1;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    fx->db.quiet = 1;
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET max_attempts = 0", fx->prefix), -1);
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET max_attempts = -1", fx->prefix), -1);
}

void defects_rest(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"defect 12: no drain at start", test_drain_at_start, 0},
        {"defect 12: one wake-up wakes one worker", test_wake_all, 0},
        {"defect 13: cleaners run everywhere at once", test_one_cleaner, 0},
        {"defect 13: dead rows are never removed", test_dead_removed, 0},
        {"defect 14: keyless messages all go to one place", test_keyless_spread, 0},
        {"defect 15: limits of 0 or less", test_limits, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
