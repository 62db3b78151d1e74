/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A run in which relays are killed or sleep past their leases, and the server goes away. What happens when is decided
 * by how far the relays are, and by a generator that is seeded the same each time; what they are doing at that moment
 * is up to the machine.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e2e.h"

enum { LANES = 64 };

struct chaos {
    struct e2e run;
    const struct e2e_chaos *plan;
    struct e2e_chaos done;
    long token[LANES], pos[LANES];
    unsigned random;
    FILE *log;             /* of what is delivered */
    long delivered;        /* lines of it so far */
};

static unsigned next_random(struct chaos *c, unsigned below)
{
    c->random = c->random * 1664525u + 1013904223u;
    return (c->random >> 8) % below;
}

/* Exactly how many were delivered, duplicates and all. */
static long delivered(struct chaos *c)
{
    char part[65536];
    size_t size;

    if (c->log == NULL) {
        snprintf(part, sizeof part, "%s/delivered", c->run.directory);
        c->log = fopen(part, "re");
    }
    while (c->log != NULL && (clearerr(c->log), size = fread(part, 1, sizeof part, c->log)) > 0)
        for (size_t i = 0; i < size; i++)
            c->delivered += part[i] == '\n';
    return c->delivered;
}

/* ---- What must never go back ---- */

static void check_lane(struct chaos *c, int lane, long token, long pos)
{
    CHECK(token >= c->token[lane] && pos >= c->pos[lane], "lane %d went back: token %ld to %ld, position %ld to %ld",
          lane, c->token[lane], token, c->pos[lane], pos);
    c->token[lane] = token;
    c->pos[lane] = pos;
}

static void check_lanes(struct chaos *c)
{
    struct db db;
    char *rows = NULL;
    int lane, used = 0, size;
    long token, pos;

    if (db_open_quietly(&db, c->run.fx->dsn, 1) == 0)
        rows = db_rows(&db, target_is_mariadb(c->run.fx->target)
                                ? "SELECT CONCAT(lane, ' ', token, ' ', pos) FROM %slanes WHERE lane >= 0"
                                : "SELECT CAST(lane AS VARCHAR(20)) || ' ' || CAST(token AS VARCHAR(20)) || ' ' || "
                                  "CAST(pos AS VARCHAR(20)) FROM %slanes WHERE lane >= 0", c->run.fx->prefix);
    db_close(&db);
    while (rows != NULL && sscanf(rows + used, "%d %ld %ld%n", &lane, &token, &pos, &size) == 3 && lane < LANES) {
        check_lane(c, lane, token, pos);
        used += size;
    }
    free(rows);
}

/* ---- What happens ---- */

static void kill_one(struct chaos *c)
{
    e2e_kill_relay(&c->run, (int)next_random(c, (unsigned)c->run.relay_count));
    e2e_start_relay(&c->run);
    c->done.kills++;
}

/* Lanes that a relay has leased, or with `work` also those that it left with something to do in them; -1: cannot be
 * told now. */
static int64_t lanes_of(struct chaos *c, pid_t pid, int work)
{
    const char *prefix = c->run.fx->prefix;
    struct db db;
    int64_t count = -1;

    if (db_open_quietly(&db, c->run.fx->dsn, 1) == 0)
        count = db_int(&db, "SELECT count(*) FROM %slanes l WHERE owner LIKE '%%:%ld:%%' AND (lease_until > %s OR "
                       "(%d = 1 AND EXISTS (SELECT 1 FROM %smessages m WHERE m.lane = l.lane AND m.seq > l.pos)))", prefix,
                       (long)pid, target_is_mariadb(c->run.fx->target)
                           ? "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
                           : "extract(epoch FROM clock_timestamp()) * 1000000", work, prefix);
    db_close(&db);
    return count;
}

/* Asleep with a lane in hand. One that has none would prove nothing: it goes on, and is caught again. */
static int catch_asleep(struct chaos *c, pid_t pid)
{
    kill(pid, SIGSTOP);
    if (lanes_of(c, pid, 0) > 0)
        return 1;
    kill(pid, SIGCONT);
    return 0;
}

/* All relays but one fall asleep, until their leases are over and the last one has taken what they had to do. */
static void stop_some(struct chaos *c)
{
    int count = c->run.relay_count - 1, held;

    if (count > c->plan->stops - c->done.stops)
        count = c->plan->stops - c->done.stops;
    for (int i = 0; i < count; i++) {
        WAIT_FOR(catch_asleep(c, c->run.relays[i]), held);
        CHECK(held, "a relay never has a lane in hand");
    }
    for (int i = 0; i < count; i++) {
        WAIT_FOR(lanes_of(c, c->run.relays[i], 1) == 0, held);
        CHECK(held, "a relay that sleeps keeps its lanes");
    }
    for (int i = 0; i < count; i++)
        kill(c->run.relays[i], SIGCONT);
    c->done.stops += count;
}

static void restart_server(struct chaos *c)
{
    const struct target *target = c->run.fx->target;
    int again = target_is_postgresql(target) ? target_control(target, "restart immediate")
                                             : target_control(target, "kill") && target_control(target, "start");

    CHECK(again, "the server does not start again");
    c->done.restarts++;
}

/* One of what is still to come. */
static void strike(struct chaos *c)
{
    int kills = c->plan->kills - c->done.kills, stops = c->plan->stops - c->done.stops;
    int restarts = c->plan->restarts - c->done.restarts, choice;

    choice = (int)next_random(c, (unsigned)(kills + stops + restarts));
    if (choice < kills)
        kill_one(c);
    else if (choice < kills + stops)
        stop_some(c);
    else
        restart_server(c);
    check_lanes(c);
}

static int left_of(const struct chaos *c)
{
    return c->plan->kills - c->done.kills + c->plan->stops - c->done.stops + c->plan->restarts - c->done.restarts;
}

/* The messages are spread over what happens. Relays that are killed all the time get further all the same. */
static void strike_all(struct chaos *c)
{
    int total = left_of(c), got;

    while (left_of(c) > 0 && !tap_failed()) {
        long mark = c->run.plan->messages / (total + 1) * (total - left_of(c) + 1) * 9 / 10;

        if (c->plan->steady)
            mark = delivered(c) + 200;
        WAIT_FOR(delivered(c) >= mark, got);
        CHECK(got, "only %ld of %ld delivered", delivered(c), mark);
        strike(c);
    }
}

/* Until the time is over or the messages are through, one kill for each so many of them. */
static void strike_on(struct chaos *c)
{
    long most = c->run.plan->messages / c->run.plan->producers * c->run.plan->producers;
    int got;

    while (monotonic_us() < c->plan->until_us && delivered(c) < most && !tap_failed()) {
        long mark = delivered(c) + (long)next_random(c, 20000);

        mark = mark < most ? mark : most;
        WAIT_FOR(delivered(c) >= mark || monotonic_us() > c->plan->until_us, got);
        CHECK(got, "nothing is delivered any more");
        kill_one(c);
        check_lanes(c);
    }
}

/* What sleepers had in hand was taken over by others, and not settled by them when they woke. Not each one's: what it
 * was about to let go may have gone, or may have been settled. */
static void check_taken_over(const struct chaos *c, const struct e2e_told *told)
{
    tap_note("%ld batches were fenced, %ld lanes taken over", told->fenced, told->taken_over);
    CHECK(told->fenced >= c->done.stops / 4 && told->taken_over >= c->done.stops / 2, "too few to prove anything");
}

static void judge(struct chaos *c)
{
    const struct e2e_plan *plan = c->run.plan;
    long batch = plan->batch ? plan->batch : 100, relays = plan->relays;
    long crashes = c->done.kills + c->done.stops + c->done.restarts * relays;
    struct e2e_report r;
    struct e2e_told told;

    tap_note("%d kills, %d sleeps, %d restarts", c->done.kills, c->done.stops, c->done.restarts);
    /* Each worker has one batch in hand, and with it go those whose settling was not confirmed. */
    if (!e2e_judge(&c->run, crashes, batch * plan->workers * crashes, &r))
        return;
    CHECK_INT(r.disorder, 0);
    e2e_told(&c->run, &told);
    if (c->done.stops > 0 && c->done.kills + c->done.restarts == 0)
        check_taken_over(c, &told);
    /* Who is killed publishes nothing any more. One that a busy machine keeps from renewing a lease may, and is fenced. */
    CHECK(c->done.stops > 0 || c->done.restarts > 0 || r.stale <= batch * told.fenced, "%ld had an old token", r.stale);
}

void e2e_run_chaos(struct fixture *fx, const struct e2e_plan *plan, const struct e2e_chaos *chaos)
{
    struct chaos c = {.plan = chaos, .random = 4711};
    struct e2e *run = &c.run;
    int64_t start = monotonic_us();

    if (!e2e_begin(run, fx, plan))
        return;
    e2e_start_relays(run);
    e2e_start_producers(run);
    if (chaos->until_us == 0)
        strike_all(&c);
    else
        strike_on(&c);
    if (chaos->steady || chaos->until_us != 0)
        e2e_stop_producers(run);
    e2e_join_producers(run);
    e2e_wait_drained(run);
    check_lanes(&c);
    e2e_stop_relays(run);
    judge(&c);
    tap_note("%.1f s", (double)(monotonic_us() - start) / 1e6);
    if (c.log != NULL)
        fclose(c.log);
    e2e_end(run);
}
