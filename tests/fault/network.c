/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network that is cut between a relay and its PostgreSQL: packets vanish, nobody says so. And what connections of
 * the library's own ask of psqlODBC, seen in the server's log.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"
#include "proxy.h"

/* ---- The server's side ---- */

static void plain_dsn(char *dsn, size_t size, const char *host, const char *port, const char *more)
{
    snprintf(dsn, size, "Driver={PostgreSQL Unicode};Servername=%s;Port=%s;Database=%s;Username=%s;%s", host, port,
             getenv("PGDATABASE"), getenv("PGUSER"), more);
}

static void proxy_dsn(struct fixture *fx, const struct proxy *w)
{
    char port[8];

    snprintf(port, sizeof port, "%d", w->port);
    plain_dsn(fx->dsn, sizeof fx->dsn, "127.0.0.1", port, "");
}

/* ---- Tests ---- */

/* A batch with every outcome, through a connection whose statements the server logs. Returns the SAVEPOINTs. */
static int savepoints(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;
    int before = server_logged("SAVEPOINT", ""), statements = server_logged("UPDATE", fx->prefix);

    if (consumer == NULL || !CHECK(send_words(fx, "t", NULL, "1 2 3"), "not sent"))
        return -1;
    while (outbox_consumer_claim(consumer, &batch, &fx->err) == OUTBOX_OK) {
        answer_all(batch, OUTBOX_REJECT);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK(count_state(fx, OUTBOX_DEAD) >= 3, "nothing was settled");
    CHECK(server_logged("UPDATE", fx->prefix) > statements, "the server logs nothing");
    return server_logged("SAVEPOINT", "") - before;
}

#define LOG_ALL "pqopt={options='-c log_statement=all' application_name=mine}"

static void test_savepoints(struct fixture *fx)
{
    plain_dsn(fx->dsn, sizeof fx->dsn, getenv("PGHOST"), getenv("PGPORT"), LOG_ALL);
    if (fixture_migrate(fx) == 0)
        CHECK_INT(savepoints(fx), 0);
}

static void test_users_protocol(struct fixture *fx)
{
    plain_dsn(fx->dsn, sizeof fx->dsn, getenv("PGHOST"), getenv("PGPORT"), LOG_ALL ";Protocol=7.4-2");
    if (fixture_migrate(fx) == 0)
        CHECK(savepoints(fx) > 0, "Protocol=7.4-2 was not heeded");
}

static int write_dsn(const char *name, const char *port, const char *more)
{
    FILE *ini = fopen(getenv("ODBCINI"), "a");

    if (!CHECK(ini != NULL, "no odbc.ini"))
        return 0;
    fprintf(ini, "[%s]\nDriver=PostgreSQL Unicode\nServername=%s\nPort=%s\nDatabase=%s\nUsername=%s\n%s\n", name,
            getenv("PGHOST"), port, getenv("PGDATABASE"), getenv("PGUSER"), more);
    return fclose(ini) == 0;
}

static void test_named_dsn(struct fixture *fx)
{
    if (!write_dsn("outbox_named", getenv("PGPORT"), "pqopt=options='-c log_statement=all' application_name=mine"))
        return;
    snprintf(fx->dsn, sizeof fx->dsn, "outbox_named");
    if (fixture_migrate(fx) == 0)
        CHECK_INT(savepoints(fx), 0);
    fixture_disconnect(fx);
    if (write_dsn("outbox_own", getenv("PGPORT"), "Protocol=7.4-2\npqopt=options='-c log_statement=all' tcp_user_timeout=9000")) {
        snprintf(fx->dsn, sizeof fx->dsn, "outbox_own");
        if (fixture_migrate(fx) == 0)
            CHECK(savepoints(fx) != 0, "the DSN's Protocol=7.4-2 was not heeded");
    }
}

/* The user's KeepaliveTime must not meet one of ours: psqlODBC refuses two. */
static void test_own_keepalive(struct fixture *fx)
{
    plain_dsn(fx->dsn, sizeof fx->dsn, getenv("PGHOST"), getenv("PGPORT"),
              "KeepaliveTime=7;D2=3;pqopt={connect_timeout=33 keepalives_count=9}");
    CHECK(fixture_connect(fx) != NULL, "no connection");
    plain_dsn(fx->dsn, sizeof fx->dsn, getenv("PGHOST"), getenv("PGPORT"), "D5={application_name='a}}b'}");
    CHECK(fixture_connect(fx) != NULL, "no connection");
}

static void cut_and_call(struct fixture *fx, struct proxy *w)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;

    REQUIRE(consumer != NULL && send_text(fx, "t", NULL, "1"), "not sent");
    REQUIRE(OK(outbox_consumer_claim(consumer, &batch, &fx->err)), "no batch");
    answer_all(batch, OUTBOX_PUBLISHED);
    proxy_cut(w, 1);
    EXPECT(outbox_batch_settle(batch, &fx->err), OUTBOX_ERR_LOST);
    outbox_batch_free(batch);
    /* And nobody connects meanwhile. */
    EXPECT(outbox_conn_open(fx->dsn, fx->conf, &(outbox_conn *){NULL}, &fx->err), OUTBOX_ERR_CONNECT);
}

static void *cut_later(void *arg)
{
    struct fixture fx;
    struct proxy *w = arg;
    int runs;

    if (fixture_prepare(&fx, target_find("postgresql/position")) == 0 && db_open(&fx.db, fx.dsn, 1) == 0) {
        WAIT_FOR(db_int(&fx.db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(3600)%%' AND "
                                "state = 'active' AND pid <> pg_backend_pid()") > 0, runs);
        CHECK(runs, "the statement does not run");
        proxy_cut(w, 1);
    }
    fixture_close(&fx);
    return NULL;
}

/* Nothing is under way to the server then: only probes can tell. */
static void cut_and_wait(struct fixture *fx, struct proxy *w)
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, cut_later, w) == 0, "no thread");
    EXPECT(outbox_conn_execute(fx->conn, "SELECT pg_sleep(3600)", &fx->err), OUTBOX_ERR_LOST);
    pthread_join(thread, NULL);
    proxy_cut(w, 0);
    db_close(&fx->db);
    if (CHECK(db_open(&fx->db, postgresql_dsn(), 1) == 0, "no connection"))
        db_exec(&fx->db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(3600)%%' "
                         "AND pid <> pg_backend_pid()");
}

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)user;
    (void)message;
    (void)retry_ms;
    (void)err;
    return OUTBOX_PUBLISHED;
}

/* A relay that is cut off says so, waits, and goes on by itself. */
static void cut_a_relay(struct fixture *fx, struct proxy *w)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    int held;

    MUST(outbox_publisher_from_callback(publish, NULL, &publisher, &fx->err));
    if (OK(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err)) && OK(outbox_relay_start(relay, &fx->err))) {
        WAIT_FOR((outbox_relay_stats_get(relay, &stats), stats.polls > 4), held);
        CHECK(held, "the relay does not run");
        proxy_cut(w, 1);
        WAIT_FOR((outbox_relay_stats_get(relay, &stats), stats.db_errors > 0), held);
        CHECK(held, "the relay hangs in a call");
        proxy_cut(w, 0);
        fixture_disconnect(fx);
        snprintf(fx->dsn, sizeof fx->dsn, "%s", postgresql_dsn());
        CHECK((fx->conn = fixture_connect(fx)) != NULL && send_words(fx, "t", "k", "1 2 3"), "not sent");
        WAIT_FOR((outbox_relay_stats_get(relay, &stats), stats.published == 3), held);
        CHECK(held, "%llu were published", (unsigned long long)stats.published);
        outbox_relay_stop(relay);
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void run_cut(struct fixture *fx, void (*test)(struct fixture *, struct proxy *))
{
    struct proxy w;

    REQUIRE(proxy_start(&w), "no port");
    proxy_dsn(fx, &w);
    fixture_set(fx, "conn.timeout", "2s");
    outbox_conf_set_log(fx->conf, NULL, NULL);
    if (fixture_migrate(fx) == 0)
        test(fx, &w);
    proxy_stop(&w);
    fixture_disconnect(fx);
}

static void test_cut_call(struct fixture *fx)
{
    run_cut(fx, cut_and_call);
}

static void test_cut_wait(struct fixture *fx)
{
    run_cut(fx, cut_and_wait);
}

static void test_cut_relay(struct fixture *fx)
{
    run_cut(fx, cut_a_relay);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"no savepoint is sent", test_savepoints, 1},
        {"the user's own protocol is kept", test_users_protocol, 1},
        {"a DSN by name, without and with a protocol of its own", test_named_dsn, 1},
        {"the user's own keepalive is kept", test_own_keepalive, 1},
        {"cut: a call and a connect return", test_cut_call, 1},
        {"cut: a call that waits for its answer returns", test_cut_wait, 1},
        {"cut: a relay notices, and goes on", test_cut_relay, 1},
    };

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
