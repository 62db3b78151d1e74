/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PostgreSQL with a streaming standby that takes over: the primary is killed, the standby promoted. Commits are
 * confirmed when the standby has them (synchronous_commit), so nothing that was committed may be lost. argv[1] chooses
 * by name, OUTBOX_TEST_MESSAGES sizes the runs.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"
#include "said.h"

static int primary; /* 0: a, 1: b */

static int pair(const char *what, int server)
{
    char command[256];

    snprintf(command, sizeof command, "timeout 100 \"$OUTBOX_TEST_PAIR\" %s %c", what, 'a' + server);
    return CHECK(system(command) == 0, "%s %c failed", what, 'a' + server);
}

static void fail_over(void)
{
    if (pair("kill", primary) && pair("promote", !primary))
        primary = !primary;
}

/* The one that was killed follows the other one. */
static void rejoin(void)
{
    pair("rejoin", !primary);
}

/* Whoever takes writes. */
static void both(char *dsn, size_t size)
{
    snprintf(dsn, size, "Driver={PostgreSQL Unicode};Servername=%s;Port=5432;Database=%s;Username=%s;"
             "pqopt={target_session_attrs=read-write}", getenv("OUTBOX_TEST_PG_HOSTS"), getenv("PGDATABASE"),
             getenv("PGUSER"));
}

/* Where the sockets of one server are. */
static void host_of(char *host, size_t size, int server)
{
    const char *hosts = getenv("OUTBOX_TEST_PG_HOSTS"), *comma = strchr(hosts, ',');

    snprintf(host, size, "%.*s", server == 0 ? (int)(comma - hosts) : (int)strlen(comma + 1),
             server == 0 ? hosts : comma + 1);
}

static void only(char *dsn, size_t size, int server)
{
    char host[128];

    host_of(host, sizeof host, server);
    snprintf(dsn, size, "Driver={PostgreSQL Unicode};Servername=%s;Port=5432;Database=%s;Username=%s", host,
             getenv("PGDATABASE"), getenv("PGUSER"));
}

/* ---- What relays say ---- */

static char said[160]; /* the file */

static void start_saying(const char *directory)
{
    snprintf(said, sizeof said, "%s/said", directory);
}

static void say_it_there(struct fixture *fx, int is_relay, int index)
{
    (void)fx;
    (void)index;
    if (is_relay)
        said_into(said);
    else
        setenv("OUTBOX_TEST_LOG", "-1", 1);
}

/* ---- Under load ---- */

static void wait_for_share(struct e2e *run, int percent)
{
    int there;

    WAIT_FOR(e2e_delivered(run) * 100 >= run->plan->messages * percent, there);
    CHECK(there, "%ld delivered", e2e_delivered(run));
}

static void judge(struct e2e *run, long most_again)
{
    struct e2e_report r;

    if (!CHECK_INT(e2e_check(run->directory, run->logs, &r), 0))
        return;
    tap_note("%ld committed, %ld delivered; %ld lost, %ld phantom, %ld out of order, %ld altered, %ld with an old token; "
             "%ld again (%ld could be)%s%s", r.committed, r.delivered, r.lost, r.phantom, r.disorder, r.altered, r.stale,
             r.duplicates, most_again, r.first[0] ? "; first: " : "", r.first);
    CHECK(r.committed >= run->plan->messages / run->plan->producers * run->plan->producers, "%ld committed", r.committed);
    CHECK_INT(r.lost + r.phantom + r.disorder + r.altered, 0);
    CHECK(r.duplicates + r.stale <= most_again, "%ld were sent again", r.duplicates + r.stale);
}

/* Whether any xid that the lanes know is still to be given out by this server. */
static void check_xids(struct fixture *fx)
{
    struct db db;

    if (!CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        return;
    CHECK_INT(db_int(&db, "SELECT count(*) FROM %slanes WHERE xbound >= pg_snapshot_xmax(pg_current_snapshot())",
                     fx->prefix), 0);
    CHECK_INT(db_int(&db, "SELECT count(*) FROM %smessages WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())",
                     fx->prefix), 0);
    db_close(&db);
}

static void run_load(struct fixture *fx)
{
    struct e2e_plan plan = {
        .name = "promotion", .messages = 10000, .keys = 200, .producers = 4, .relays = 3, .workers = 2, .max_tx = 50,
        .rollback_percent = 10, .row_lock = 1, .pause_percent = 5, .pause_ms = 200, .lease = "1s", .slow_every = 3,
        .faults = 1, .place = say_it_there};
    int times = test_long() ? 6 : 2;
    struct e2e run;

    plan.messages = env_number("OUTBOX_TEST_MESSAGES", test_long() ? 100000 : plan.messages);
    both(fx->dsn, sizeof fx->dsn);
    if (!e2e_begin(&run, fx, &plan))
        return;
    start_saying(run.directory);
    e2e_start_relays(&run);
    e2e_start_producers(&run);
    for (int i = 1; i <= times && !tap_failed(); i++) {
        wait_for_share(&run, 70 * i / (times + 1));
        fail_over();
        check_xids(fx);
        rejoin();
    }
    e2e_join_producers(&run);
    e2e_wait_drained(&run);
    e2e_stop_relays(&run);
    judge(&run, (long)times * plan.relays * plan.workers * 100);
    CHECK_INT(said_lines(said, "restored from another cluster", ""), 0);
    CHECK_INT(said_lines(said, "numbers of messages began again", ""), 0);
    CHECK(said_lines(said, "connected to the database again", "") > 0, "no relay says that it is connected again");
    tap_note("the relays said %d lines of trouble", said_lines(said, "the relay cannot go on", ""));
    e2e_end(&run);
}

/* ---- A transaction that was open when the primary died ---- */

static int64_t pos_of(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT pos FROM %slanes WHERE lane = 0", fx->prefix);
}

/* It has a number behind the position, and an xid that the lane's snapshot lists: neither may be given out again. */
static void run_open(struct fixture *fx)
{
    outbox_consumer *consumer;
    outbox_conn *late;
    outbox_message m = text_message("t", NULL, "never");
    struct seen seen = {NULL, 0, 0, ""};
    int64_t xid, pos;

    both(fx->dsn, sizeof fx->dsn);
    fixture_set(fx, "schema.lanes", "1");
    if (fixture_migrate(fx) != 0 || (late = fixture_connect(fx)) == NULL || (consumer = fixture_consumer(fx, NULL)) == NULL)
        return;
    MUST(outbox_conn_begin(late, &fx->err));
    MUST(outbox_enqueue(late, &m, 1, NULL, &fx->err));
    CHECK(send_words(fx, "t", NULL, "1 2 3"), "not sent");
    CHECK_INT(drain(fx, consumer, &seen), 3);
    xid = db_int(&fx->db, "SELECT max(x)::text FROM %slanes, pg_snapshot_xip(snap) x", fx->prefix);
    pos = pos_of(fx);
    CHECK(xid > 0 && pos > 3, "the open transaction is not listed: xid %lld, position %lld", (long long)xid, (long long)pos);
    /* The other one has all this on its disk: who waited for the commits waited for that. */
    fail_over();
    fixture_disconnect(fx);
    if ((fx->conn = fixture_connect(fx)) == NULL || (consumer = fixture_consumer(fx, NULL)) == NULL ||
        !CHECK_INT(db_open(&fx->db, fx->dsn, 1), 0))
        return;
    CHECK(db_int(&fx->db, "SELECT pg_current_xact_id()::text") > xid, "the xid of a lost transaction comes again");
    CHECK_INT(pos_of(fx), pos);
    CHECK(send_words(fx, "t", NULL, "4 5"), "not sent");
    CHECK(db_int(&fx->db, "SELECT min(seq) FROM %smessages WHERE tx >= (SELECT xbound FROM %slanes WHERE lane = 0)",
                 fx->prefix, fx->prefix) > pos, "a number from behind the position");
    CHECK_INT(drain(fx, consumer, &seen), 2);
    CHECK_STR(seen_words(&seen), "1 2 3 4 5");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
    fixture_disconnect(fx);
    rejoin();
}

/* ---- A relay whose server is read-only, and one whose DSN changes ---- */

struct listener {
    int published;
};

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)message;
    (void)retry_ms;
    (void)err;
    __atomic_add_fetch(&((struct listener *)user)->published, 1, __ATOMIC_SEQ_CST);
    return OUTBOX_PUBLISHED;
}

static void write_line(void *user, outbox_log_level level, const char *message)
{
    FILE *file = level <= OUTBOX_LOG_WARNING ? fopen(said, "ae") : NULL;

    (void)user;
    if (file != NULL) {
        fprintf(file, "log %d: %s\n", (int)level, message);
        fclose(file);
    }
}

static int published(struct listener *l)
{
    return __atomic_load_n(&l->published, __ATOMIC_SEQ_CST);
}

/* How many relays of an outbox are on watch, and so are woken by NOTIFY. */
static int64_t on_watch(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND "
                  "classid = '%smessages'::regclass::oid", fx->prefix);
}

static void send_and_wait(struct fixture *fx, struct listener *l, int more)
{
    int before = published(l), held;

    for (int i = 0; i < more; i++)
        CHECK(send_text(fx, "t", "k", "1"), "not sent");
    WAIT_FOR(published(l) >= before + more, held);
    CHECK(held, "%d were published", published(l) - before);
}

/* It follows a moment behind. */
static void wait_for_tables(struct fixture *fx, const char *dsn)
{
    struct db db;
    int there = 0;

    if (CHECK_INT(db_open_quietly(&db, dsn, 1), 0))
        WAIT_FOR(db_int(&db, "SELECT count(*) FROM %slanes", fx->prefix) > 0, there);
    CHECK(there, "the standby does not follow");
    db_close(&db);
}

/* Makes the outbox on the primary, and a relay that connects by dsn. */
static outbox_relay *make_relay(struct fixture *fx, struct listener *l, outbox_publisher **publisher, const char *dsn)
{
    outbox_relay *relay = NULL;
    outbox_conf *conf;

    both(fx->dsn, sizeof fx->dsn);
    if (fixture_migrate(fx) != 0 || (conf = fixture_conf(fx)) == NULL)
        return NULL;
    wait_for_tables(fx, dsn);
    snprintf(said, sizeof said, "/tmp/outbox-said-%ld", (long)getpid());
    unlink(said);
    outbox_conf_set_log(conf, write_line, NULL);
    if (OK(outbox_publisher_from_callback(publish, l, publisher, &fx->err)) &&
        OK(outbox_relay_new(dsn, conf, *publisher, NULL, &relay, &fx->err)))
        OK(outbox_relay_start(relay, &fx->err));
    outbox_conf_free(conf);
    return relay;
}

static void connect_again(struct fixture *fx)
{
    fixture_disconnect(fx);
    if ((fx->conn = fixture_connect(fx)) != NULL)
        CHECK_INT(db_open(&fx->db, fx->dsn, 1), 0);
}

static void follow(struct fixture *fx, struct listener *l, outbox_relay *relay)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    int held;

    connect_again(fx);
    send_and_wait(fx, l, 5);
    WAIT_FOR(on_watch(fx) == 1, held);
    CHECK(held, "no relay is on watch");
    WAIT_FOR(said_lines(said, "connected to the database again", "") > 0, held);
    CHECK(held, "nobody says that it is connected again");
    outbox_relay_stats_get(relay, &stats);
    tap_note("%llu tries failed, %d lines of trouble", (unsigned long long)stats.db_errors,
             said_lines(said, "the relay cannot go on", ""));
}

static void run_readonly(struct fixture *fx)
{
    struct listener l = {0};
    outbox_publisher *publisher = NULL;
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    outbox_relay *relay;
    char dsn[512];
    int held;

    only(dsn, sizeof dsn, !primary);
    relay = make_relay(fx, &l, &publisher, dsn);
    if (relay != NULL) {
        WAIT_FOR((outbox_relay_stats_get(relay, &stats), stats.db_errors >= 5), held);
        CHECK(held, "the relay does not try");
        CHECK_INT(said_lines(said, "the relay cannot go on", ""), 1);
        CHECK_INT(said_lines(said, "the relay cannot go on", "the server is read-only"), 1);
        CHECK_INT(said_lines(said, "connected to the database again", ""), 0);
        fail_over();
        follow(fx, &l, relay);
        outbox_relay_stop(relay);
        fixture_disconnect(fx);
        rejoin();
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    unlink(said);
}

static void write_dsn(int server)
{
    FILE *ini = fopen(getenv("ODBCINI"), "we");
    char host[128];

    host_of(host, sizeof host, server);
    if (!CHECK(ini != NULL, "no odbc.ini"))
        return;
    fprintf(ini, "[outbox_moving]\nDriver=PostgreSQL Unicode\nServername=%s\nPort=5432\nDatabase=%s\nUsername=%s\n", host,
            getenv("PGDATABASE"), getenv("PGUSER"));
    fclose(ini);
}

/* dsn: as the relay is given it. moves: an odbc.ini says what it means, and is changed. */
static void fail_over_under(struct fixture *fx, const char *dsn, int moves)
{
    struct listener l = {0};
    outbox_publisher *publisher = NULL;
    outbox_relay *relay;

    if (moves)
        write_dsn(primary);
    relay = make_relay(fx, &l, &publisher, dsn);
    if (relay != NULL) {
        send_and_wait(fx, &l, 3);
        fail_over();
        if (moves)
            write_dsn(primary);
        follow(fx, &l, relay);
        outbox_relay_stop(relay);
        fixture_disconnect(fx);
        rejoin();
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    unlink(said);
}

/* unixODBC keeps what it read of the file for up to 20 seconds. */
static void run_moving(struct fixture *fx)
{
    fail_over_under(fx, "outbox_moving", 1);
}

static void run_both(struct fixture *fx)
{
    char dsn[512];

    both(dsn, sizeof dsn);
    fail_over_under(fx, dsn, 0);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"the standby is promoted under load", run_load, 1},
        {"a transaction was open when the primary died", run_open, 1},
        {"a relay waits while its server is read-only", run_readonly, 1},
        {"a DSN that names both servers", run_both, 1},
        {"a DSN that leads elsewhere now", run_moving, 1},
    };

    if (getenv("OUTBOX_TEST_PAIR") == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
