/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay: threads, hooks, starting and stopping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"
#include "suite.h"

/* ---- The ordinary course ---- */

static void test_run(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    int done;

    stage_init(&s);
    fixture_set(fx, "relay.poll_interval", "20ms");
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
    EXPECT(outbox_relay_join(relay, &fx->err), OUTBOX_ERR_STATE);
    REQUIRE(send_numbered(fx, "t", 50, 300), "not sent");
    OK(outbox_relay_start(relay, &fx->err));
    EXPECT(outbox_relay_start(relay, &fx->err), OUTBOX_ERR_STATE);
    REQUIRE(send_numbered(fx, "t", 50, 200), "not sent");
    WAIT_FOR(stage_get(&s, &s.published) == 500, done);
    CHECK(done, "%d of 500 published", stage_get(&s, &s.published));
    outbox_relay_stop(relay);
    OK(outbox_relay_join(relay, &fx->err));
    CHECK_INT(outbox_relay_stats_get(relay, &stats), OUTBOX_OK);
    CHECK_INT(stats.published, 500);
    CHECK_INT(stats.failed + stats.dead + stats.fenced + stats.suspect, 0);
    CHECK(stats.batches >= 5 && stats.claims >= 1 && stats.claims <= stats.batches + 200, "%llu batches, %llu claims",
          (unsigned long long)stats.batches, (unsigned long long)stats.claims);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), 0);
    /* It can run again. */
    send_words(fx, "t", "k", "1 2");
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(stage_get(&s, &s.published), 502);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void test_failures(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_message m = text_message("t", "dies", "x");
    int done;

    stage_init(&s);
    s.fail_first = 12;
    fixture_set(fx, "relay.poll_interval", "10ms");
    fixture_set(fx, "retry.max_attempts", "50");
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
    REQUIRE(send_numbered(fx, "t", 5, 40), "not sent");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.published) == 40, done);
    CHECK(done, "%d of 40 published", stage_get(&s, &s.published));
    CHECK_INT(stage_get(&s, &s.failed), 12);
    CHECK(strstr(s.last, "planted failure") != NULL, "the reason is %s", s.last);
    stage_set(&s, &s.fail_first, 3);
    m.max_attempts = 3;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    WAIT_FOR(stage_get(&s, &s.dead) == 3, done);
    CHECK(done, "not dead after 3 attempts");
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_waiting(fx), 1);
}

static void test_run_once(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_message later = text_message("t", "k", "later");

    stage_init(&s);
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(s.published, 0);
    REQUIRE(send_numbered(fx, "t", 50, 1000) && send_numbered(fx, "t", 0, 200), "not sent");
    later.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &later, 1, NULL, &fx->err));
    OK(outbox_relay_run_once(relay, &fx->err));
    CHECK_INT(s.published, 1200);
    CHECK_INT(count_waiting(fx), 1);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void test_no_tables(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_conn *conn = NULL;

    /* A database there is: a relay does not make one. */
    CHECK_INT(db_open(&fx->db, fx->dsn, 1) == 0 && db_exec(&fx->db, "CREATE TABLE %sother (n integer)", fx->prefix), 0);
    stage_init(&s);
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL, "no relay");
    /* An SQLite file is made by whoever connects, but not by a relay. */
    OK(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err));
    outbox_conn_close(conn);
    EXPECT(outbox_relay_start(relay, &fx->err), OUTBOX_ERR_SCHEMA);
    EXPECT(outbox_relay_run_once(relay, &fx->err), OUTBOX_ERR_SCHEMA);
    outbox_relay_free(relay);
    EXPECT(outbox_relay_new(NULL, fx->conf, publisher, NULL, &relay, &fx->err), OUTBOX_ERR_INVALID);
    EXPECT(outbox_relay_new(fx->dsn, fx->conf, NULL, NULL, &relay, &fx->err), OUTBOX_ERR_INVALID);
    outbox_publisher_free(publisher);
}

/* ---- Stopping ---- */

/* Stopped with messages in the publisher's hand: they are settled, and nothing is sent twice. */
static void test_stop_settles(struct fixture *fx)
{
    struct stage s;
    outbox_publisher *publisher;
    outbox_relay *relay;
    struct seen rest = {0};
    int came, calls;

    stage_init(&s);
    s.open = 0;
    publisher = stage_publisher(fx, &s);
    REQUIRE((relay = stage_relay(fx, &s, publisher)) != NULL && send_words(fx, "t", "k", "1 2 3"), "no relay");
    OK(outbox_relay_start(relay, &fx->err));
    WAIT_FOR(stage_get(&s, &s.inside) > 0, came);
    CHECK(came, "the publisher was not called");
    outbox_relay_stop(relay);
    stage_set(&s, &s.open, 1);
    OK(outbox_relay_join(relay, &fx->err));
    calls = s.calls;
    CHECK(calls >= 1 && calls <= 3, "%d calls", calls);
    CHECK_INT(s.published, calls);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), 3 - calls);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &rest), 3 - calls);
    for (size_t i = 0; i < rest.count; i++)
        CHECK_INT(rest.items[i].attempts, 0);
    seen_clear(&rest);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

/* Two relays in one process, each with its outbox, never meet. */
static void test_two_relays(struct fixture *fx)
{
    struct stage one, two;
    outbox_publisher *p1, *p2;
    outbox_relay *r1, *r2;
    outbox_conn *conn;
    char prefix[40];
    int done;

    stage_init(&one);
    stage_init(&two);
    fixture_set(fx, "relay.poll_interval", "10ms");
    p1 = stage_publisher(fx, &one);
    p2 = stage_publisher(fx, &two);
    REQUIRE((r1 = stage_relay(fx, &one, p1)) != NULL, "no relay");
    snprintf(prefix, sizeof prefix, "%ssecond_", fx->prefix);
    fixture_set(fx, "schema.prefix", prefix);
    REQUIRE((conn = fixture_connect(fx)) != NULL && OK(outbox_migrate(conn, NULL, &fx->err)), "no outbox");
    REQUIRE((r2 = stage_relay(fx, &two, p2)) != NULL, "no relay");
    OK(outbox_relay_start(r1, &fx->err));
    OK(outbox_relay_start(r2, &fx->err));
    REQUIRE(send_numbered(fx, "t", 9, 100), "not sent");
    fx->conn = conn;
    REQUIRE(send_numbered(fx, "t", 9, 70), "not sent");
    WAIT_FOR(stage_get(&one, &one.published) == 100 && stage_get(&two, &two.published) == 70, done);
    CHECK(done, "%d and %d published", stage_get(&one, &one.published), stage_get(&two, &two.published));
    outbox_relay_free(r1);
    outbox_relay_free(r2);
    outbox_publisher_free(p1);
    outbox_publisher_free(p2);
}

void suite_relay(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"relay: publishes what is there and what comes", test_run, 0},
        {"relay: failures are retried, limits kept", test_failures, 0},
        {"relay: run_once drains what is ready", test_run_once, 0},
        {"relay: refuses without tables", test_no_tables, 1},
        {"relay: stop settles what is in hand", test_stop_settles, 0},
        {"relay: two of them never meet", test_two_relays, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
