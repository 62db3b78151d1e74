/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A server that calls itself PostgreSQL and says in version() that it is another one, which here a function of that name
 * does, in a schema that comes first: it gets the generic driver, whoever connects first, and never settling by position.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

#define COCKROACH "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)"

static struct db db; /* to the server as it is */

static void choose(struct fixture *fx, const char *driver)
{
    fixture_set(fx, "driver", driver);
    fixture_set(fx, "schema.settle", "auto");
}

/* From now on the server is another one. */
static void pose(struct fixture *fx)
{
    size_t used = strlen(fx->dsn);

    CHECK_INT(db_exec(&db, "CREATE SCHEMA IF NOT EXISTS trap"), 0);
    CHECK_INT(db_exec(&db, "CREATE OR REPLACE FUNCTION trap.version() RETURNS text LANGUAGE sql AS 'SELECT ''" COCKROACH
                      "''::text'"), 0);
    snprintf(fx->dsn + used, sizeof(fx->dsn) - used, ";ConnSettings={set search_path = trap, pg_catalog, public}");
}

static void says(struct fixture *fx, const char *name, const char *want)
{
    char *value = db_text(&db, "SELECT value FROM trap.%smeta WHERE name = '%s'", fx->prefix, name);

    CHECK_STR(value, want);
    free(value);
}

/* The application's own transaction, which the library looks into for the first time. */
static void enqueue_lent(struct fixture *fx, const char *payload, int migrate)
{
    outbox_message m = text_message("t", "k", payload);
    struct db app = {0};
    outbox_conn *conn = NULL;

    REQUIRE(db_open(&app, fx->dsn, migrate) == 0, "no connection");
    if (OK(outbox_conn_borrow(app.dbc, fx->conf, &conn, &fx->err))) {
        if (migrate)
            OK(outbox_migrate(conn, NULL, &fx->err));
        OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
        CHECK_STR(outbox_conn_driver(conn), "generic");
        if (!migrate)
            CHECK_INT(db_commit(&app), 0);
    }
    outbox_conn_close(conn);
    db_close(&app);
}

static void test_auto(struct fixture *fx)
{
    outbox_consumer *consumer;
    outbox_conn *conn;

    choose(fx, "auto");
    pose(fx);
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    CHECK_STR(outbox_conn_driver(conn), "generic");
    MUST(outbox_migrate(conn, NULL, &fx->err));
    says(fx, "dialect", "generic");
    says(fx, "settle", "delete");
    enqueue_lent(fx, "1", 0);
    enqueue_lent(fx, "2", 0);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "1 2");
}

static void test_lent_first(struct fixture *fx)
{
    outbox_consumer *consumer;

    choose(fx, "auto");
    pose(fx);
    enqueue_lent(fx, "1", 1);
    says(fx, "dialect", "generic");
    says(fx, "settle", "delete");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    expect_drained(fx, consumer, "1");
}

static void refused(struct fixture *fx)
{
    CHECK_STR(fx->name, "driver.relative");
    CHECK(strstr(fx->message, "CockroachDB") != NULL && strstr(fx->message, "generic") != NULL, "what is it? %s", fx->message);
}

/* Who insists on the driver hears of it, and so does who begins with a borrowed connection. */
static void test_forced(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    outbox_conn *conn = NULL;
    struct db app = {0};

    choose(fx, "auto");
    MUST(outbox_migrate(fixture_connect(fx), NULL, &fx->err));
    choose(fx, "postgresql");
    pose(fx);
    EXPECT(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    refused(fx);
    REQUIRE(db_open(&app, fx->dsn, 0) == 0, "no connection");
    if (OK(outbox_conn_borrow(app.dbc, fx->conf, &conn, &fx->err))) {
        EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
        refused(fx);
    }
    outbox_conn_close(conn);
    db_close(&app);
}

/* One that was made to settle by position, before anybody asked. */
static void test_made_before(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "1");
    outbox_consumer *consumer = NULL;
    outbox_conn *conn;

    choose(fx, "auto");
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    MUST(outbox_migrate(conn, NULL, &fx->err));
    CHECK_STR(outbox_conn_driver(conn), "postgresql");
    pose(fx);
    REQUIRE((conn = fixture_connect(fx)) != NULL, "no connection");
    EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    refused(fx);
    EXPECT(outbox_consumer_new(conn, fx->conf, NULL, &consumer, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    refused(fx);
    EXPECT(outbox_migrate(conn, NULL, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    refused(fx);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"auto is generic there", test_auto, 1},
        {"a borrowed connection that comes first makes the tables of generic", test_lent_first, 1},
        {"driver=postgresql is refused", test_forced, 1},
        {"an outbox that settles by position is refused", test_made_before, 1},
    };

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    if (db_open(&db, postgresql_dsn(), 1) != 0)
        return 1;
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    db_close(&db);
    return tap_finish();
}
