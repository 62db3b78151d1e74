/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays on several hosts, and a cable that is pulled: a relay is cut off from its database in the middle of a batch,
 * for longer than its lease, and comes back. argv[1] chooses by name, OUTBOX_TEST_MESSAGES sizes the runs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"
#include "said.h"

static char said[160]; /* the file for what relay 0 says */

/* Relay N goes to host N + 1; producers stay with the server. */
static void go_to_host(struct fixture *fx, int is_relay, int index)
{
    int host = index % (int)env_number("OUTBOX_TEST_HOSTS_COUNT", 1) + 1, namespace;
    char path[64];

    if (!is_relay)
        return;
    snprintf(path, sizeof path, "/run/netns/h%d", host);
    namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0) {
        perror(path);
        _exit(1);
    }
    close(namespace);
    if (index == 0)
        said_into(said);
    snprintf(fx->dsn, sizeof fx->dsn, "Driver={PostgreSQL Unicode};Servername=10.231.%d.1;Port=%s;Database=%s;Username=%s;"
             "pqopt={tcp_user_timeout=5000 connect_timeout=5}", host, getenv("PGPORT"), getenv("PGDATABASE"), getenv("PGUSER"));
}

static void cable(int host, const char *state)
{
    char command[64];

    snprintf(command, sizeof command, "ip link set v%d %s", host, state);
    CHECK(system(command) == 0, "%s failed", command);
}

static void wait_for(struct e2e *run, long count)
{
    int there;

    WAIT_FOR(e2e_delivered(run) >= count, there);
    CHECK(there, "%ld delivered", e2e_delivered(run));
}

/* Lanes that a relay's process holds; those of which the lease is over count only if they are held to be so. */
static int64_t lanes_of(struct e2e *run, pid_t pid, int live)
{
    struct db db;
    int64_t count = -1;

    if (db_open_quietly(&db, run->fx->dsn, 1) == 0)
        count = db_int(&db, "SELECT count(*) FROM %slanes WHERE owner LIKE '%%:%ld:%%' AND (lease_until > "
                       "extract(epoch FROM clock_timestamp()) * 1000000 OR %d = 0)", run->fx->prefix, (long)pid, live);
    db_close(&db);
    return count;
}

/* Cuts host 1 off while its relay has a lane. */
static void cut_in_batch(struct e2e *run)
{
    int cut = 0;

    while (!cut && !tap_failed()) {
        WAIT_FOR(lanes_of(run, run->relays[0], 1) > 0, cut);
        CHECK(cut, "the relay works no more");
        cable(1, "down");
        /* Still so: it was in the middle, and cannot settle any more. */
        if (!(cut = lanes_of(run, run->relays[0], 1) > 0))
            cable(1, "up");
    }
}

static long enough = 5000; /* messages, before the last cable is pulled */

/* Each lane that was taken over had one batch in hand that may go again. They are more than what the cut host held where
 * the machine is so busy that others' leases run out, too. */
static void judge(struct e2e *run, const struct e2e_told *told)
{
    long most = told->taken_over * 100;
    struct e2e_report r;

    if (!CHECK_INT(e2e_check(run->directory, run->logs, &r), 0))
        return;
    tap_note("%ld committed, %ld delivered; %ld lost, %ld phantom, %ld out of order, %ld altered; %ld again, %ld refused "
             "for their token (%ld could be), %ld times fenced%s%s", r.committed, r.delivered, r.lost, r.phantom,
             r.disorder, r.altered, r.duplicates, r.stale, most, told->fenced, r.first[0] ? "; first: " : "", r.first);
    CHECK_INT(r.lost + r.phantom + r.disorder + r.altered, 0);
    CHECK(told->taken_over > 0, "no lane was taken over");
    CHECK(r.duplicates + r.stale <= most, "%ld were sent again", r.duplicates + r.stale);
}

/* Producers go on until the last cable is plugged in again: a relay can only be cut off in a batch while there are some. */
static struct e2e_plan plan = {
    .name = "hosts", .messages = 10000000, .keys = 200, .producers = 3, .relays = 3, .workers = 2, .max_tx = 50,
    .rollback_percent = 10, .row_lock = 1, .lease = "3s", .slow_every = 2, .faults = 1, .place = go_to_host};

static int has_noticed(void)
{
    return said_lines(said, "the relay cannot go on", "") > 0;
}

/* for_long: until the relay gives its connections up, too. */
static void run_cut(struct fixture *fx, int for_long)
{
    int times = for_long ? 1 : test_long() ? 10 : 2, over;
    struct e2e_told told;
    struct e2e run;

    if (!e2e_begin(&run, fx, &plan))
        return;
    snprintf(said, sizeof said, "%s/said", run.directory);
    e2e_start_relays(&run);
    e2e_start_producers(&run);
    for (int i = 1; i <= times && !tap_failed(); i++) {
        wait_for(&run, enough * i / times);
        cut_in_batch(&run);
        WAIT_FOR(lanes_of(&run, run.relays[0], 0) == 0, over);
        CHECK(over, "nobody takes over what the relay held that is cut off");
        if (for_long)
            WAIT_FOR(has_noticed(), over);
        CHECK(over, "the relay that is cut off does not notice");
        cable(1, "up");
        if (for_long)
            WAIT_FOR(said_lines(said, "connected to the database again", "") > 0, over);
        CHECK(over, "it does not say that it is back");
    }
    e2e_stop_producers(&run);
    e2e_join_producers(&run);
    e2e_wait_drained(&run);
    e2e_stop_relays(&run);
    e2e_told(&run, &told);
    judge(&run, &told);
    /* On a machine that is busy the link may be down until connections are dead. */
    CHECK(for_long || told.fenced > 0 || has_noticed(), "nobody was fenced");
    e2e_end(&run);
}

static void run_short(struct fixture *fx)
{
    run_cut(fx, 0);
}

static void run_long(struct fixture *fx)
{
    run_cut(fx, 1);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"a host is cut off for longer than its lease", run_short, 1},
        {"a host is cut off until its connections are dead", run_long, 1},
    };

    if (getenv("OUTBOX_TEST_HOSTS_WHY") != NULL)
        return tap_skip_all("%s", getenv("OUTBOX_TEST_HOSTS_WHY"));
    if (getenv("OUTBOX_TEST_HOSTS_COUNT") == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    setenv("OUTBOX_TEST_LOG", "-1", 0);
    enough = env_number("OUTBOX_TEST_MESSAGES", test_long() ? 40000 : enough);
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
