/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every call of ODBC that the library makes fails in turn: before it was done, after it, and with the connection dead
 * from then on; for each reason that there may be. Then the caller does what callers do, and in the end nothing is
 * lost, invented or out of order, no handle is left, and nothing comes twice but what was in hand.
 *
 * OUTBOX_TEST_FAULTS: faults per path (a deterministic choice); with OUTBOX_TEST_LONG all of them. argv[1] chooses
 * tests by name; OUTBOX_TEST_FAULT=N runs only the N-th fault of a path, and says what it is.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/odbc.h"

static const struct interpose_reason reasons[] = {
    {"08S01", 26, "could not receive data from server: connection reset", 1, 0},
    {"40001", 7, "could not serialize access due to concurrent update", 0, 0},
    {"HY000", 5, "database is locked", 0, 0},
    {"HYT00", 1, "timeout expired", 0, 0},
    {"57P01", 1, "terminating connection due to administrator command", 1, 0},
    {"53100", 1, "could not extend file: No space left on device", 0, 0},
    {"42501", 1, "permission denied for table", 0, 0},
    {"HY000", 1, NULL, 0, 0},
    {"HY000", 1, "a driver with much to say ", 0, 4000},
};

static const enum interpose_mode modes[] = {INTERPOSE_BEFORE, INTERPOSE_AFTER};

/* One of all the faults that a path can have. */
struct fault {
    enum interpose_mode mode;
    long number;
    const struct interpose_reason *reason;
};

static const char *mode_name(enum interpose_mode mode)
{
    static const char *const names[] = {"nothing", "before", "after", "with a warning", "with no row", "", ""};

    return names[mode];
}

/* ---- The world ---- */

static int world_open(struct world *w, struct fixture *fx)
{
    memset(w, 0, sizeof *w);
    w->fx = fx;
    fixture_set(fx, "schema.lanes", "2");
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.batch_size", "3");
    fixture_set(fx, "retry.backoff_min", "1ms");
    fixture_set(fx, "retry.backoff_max", "1ms");
    return fixture_migrate(fx) == 0 && (w->drain = fixture_consumer(fx, "drain")) != NULL;
}

/* Back to an empty outbox; lanes keep their tokens and positions. */
static void world_reset(struct world *w)
{
    static const char *const tables[] = {"messages", "deferred", "published", "positions", "dedup"};
    struct fixture *fx = w->fx;

    memset(&w->ledger, 0, sizeof w->ledger);
    w->refused = w->rejected = w->failures = 0;
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        CHECK_INT(db_exec(&fx->db, "DELETE FROM %s%s", fx->prefix, tables[i]), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET owner = NULL, lease_until = 0, suspect = 0", fx->prefix), 0);
}

/* Positions and tokens only ever grow. */
struct lanes {
    int64_t token[2], pos[2];
};

static void read_lanes(struct world *w, struct lanes *lanes)
{
    for (int i = 0; i < 2; i++) {
        lanes->token[i] = db_int(&w->fx->db, "SELECT token FROM %slanes WHERE lane = %d", w->fx->prefix, i);
        lanes->pos[i] = strcmp(w->fx->target->settle, "position") != 0
                            ? 0 : db_int(&w->fx->db, "SELECT pos FROM %slanes WHERE lane = %d", w->fx->prefix, i);
    }
}

static void check_monotone(struct world *w, const struct lanes *before)
{
    struct lanes now;

    read_lanes(w, &now);
    for (int i = 0; i < 2; i++)
        CHECK(now.token[i] >= before->token[i] && now.pos[i] >= before->pos[i],
              "lane %d went back: token %lld to %lld, position %lld to %lld", i, (long long)before->token[i],
              (long long)now.token[i], (long long)before->pos[i], (long long)now.pos[i]);
}

/* ---- One fault ---- */

static void check_ledger(struct world *w, const struct fault *fault, int hit)
{
    const struct ledger *l = &w->ledger;
    int lost = 0;

    for (size_t i = 0; i < l->count; i++)
        lost += l->list[i].delivered == 0;
    CHECK_INT(lost, 0);
    CHECK_INT(l->phantom, 0);
    CHECK_INT(l->disorder, 0);
    CHECK(l->duplicates <= (l->early < BATCH ? l->early : BATCH), "%d came again, %d had been published", l->duplicates,
          l->early);
    if (fault->mode == INTERPOSE_INFO || !hit) {
        CHECK_INT(l->duplicates, 0);
        CHECK_INT(w->failures, 0);
    }
}

/* Returns how many calls the path made; sets hit when the fault came. */
static long run_fault(struct world *w, const struct path *path, const struct fault *fault, int *hit)
{
    long handles, calls, before = tap_failed();
    struct lanes lanes;
    int done;

    world_reset(w);
    read_lanes(w, &lanes);
    path->prepare(w);
    handles = interpose_handles();
    interpose_begin(fault->mode, fault->number, fault->reason);
    done = path->run(w);
    calls = interpose_end();
    *hit = interpose_hit();
    CHECK_INT(interpose_handles(), handles);
    CHECK(done, "given up");
    if (path->judge != NULL)
        path->judge(w);
    else
        world_drain(w);
    check_ledger(w, fault, *hit);
    check_monotone(w, &lanes);
    if (tap_failed() && !before)
        tap_note("call %ld failed %s (%s): %s", fault->number, mode_name(fault->mode),
                 fault->reason != NULL ? fault->reason->state : "", interpose_step());
    return calls;
}

/* ---- All faults of a path ---- */

/* What happens to a call does not depend on the server, so that every reason at every call is for SQLite, which is much
 * faster; on PostgreSQL each call has both modes, and the reasons take turns. */
static size_t reasons_each(const struct world *w)
{
    return target_is_postgresql(w->fx->target) ? 1 : COUNT_OF(reasons);
}

static size_t fault_total(const struct world *w, long calls)
{
    return (size_t)calls * (COUNT_OF(modes) * reasons_each(w) + 2);
}

static struct fault fault_at(const struct world *w, size_t index, long calls)
{
    size_t kind = index / (size_t)calls, failing = COUNT_OF(modes) * reasons_each(w);
    struct fault fault = {INTERPOSE_INFO, (long)(index % (size_t)calls) + 1, NULL};

    if (kind < failing) {
        fault.mode = modes[kind % COUNT_OF(modes)];
        fault.reason = &reasons[(kind / COUNT_OF(modes) + index % (size_t)calls) % COUNT_OF(reasons)];
    } else if (kind == failing) {
        fault.mode = INTERPOSE_NO_DATA;
    }
    return fault;
}

/* A step through all of them that comes by each one once: a number without a divisor in common. */
static size_t distance(size_t total)
{
    size_t step = total * 618 / 1000 + 1, a, b, rest;

    for (;; step++) {
        for (a = total, b = step; b != 0; a = b, b = rest)
            rest = a % b;
        if (a == 1)
            return step;
    }
}

/* Some do not happen, such as one of a call that is made only now and then; more than half of so many as are asked for have
 * to, for which more are tried. */
static int is_wanted(size_t run, size_t hits, size_t limit)
{
    return run < limit || (hits * 2 <= limit && run < 3 * limit);
}

static void run_path(struct world *w, const struct path *path)
{
    struct fault none = {INTERPOSE_COUNT, 0, NULL};
    long sample = (test_all() ? 2 : 1) * (target_is_postgresql(w->fx->target) ? 8 : 40);
    size_t limit = (size_t)env_number("OUTBOX_TEST_FAULTS", sample);
    long only = env_number("OUTBOX_TEST_FAULT", -1), calls;
    size_t total, step, at = 0, run = 0, hits = 0;
    int64_t start = monotonic_us();
    int hit;

    calls = run_fault(w, path, &none, &hit);
    CHECK(calls > 5, "only %ld calls of ODBC", calls);
    if (tap_failed())
        return;
    total = fault_total(w, calls);
    step = distance(total);
    for (size_t i = 0; i < total && (test_long() || only >= 0 || is_wanted(run, hits, limit)) && !tap_failed(); i++) {
        struct fault fault = fault_at(w, at, calls);

        at = (at + step) % total;
        if (only >= 0 && (long)i != only)
            continue;
        run++;
        run_fault(w, path, &fault, &hit);
        hits += (size_t)hit;
        if (tap_failed())
            tap_note("OUTBOX_TEST_FAULT=%zu", i);
    }
    CHECK(hits * 2 > (test_long() || run < limit ? run : limit) || only >= 0, "%zu of %zu faults did not happen",
          run - hits, run);
    tap_note("%s: %ld calls of ODBC, %zu of %zu faults run, %zu of them happened, %.1f s", path->name, calls, run,
             total, hits, (double)(monotonic_us() - start) / 1e6);
}

/* ---- What the paths found ---- */

/* A BEGIN that was done and reported as failed left a transaction open that nobody knew of: what came after it on that
 * connection was reported as written, and gone when the connection ended. */
static void check_begin(const struct target *target)
{
    struct fixture fixture, *fx = &fixture;
    outbox_conn *conn;
    int failed = 0;

    tap_begin("%s: a BEGIN whose answer is lost leaves no transaction open", target->name);
    if (fixture_prepare(fx, target) == 0 && fixture_migrate(fx) == 0)
        for (long n = 1; n <= 3; n++) {
            outbox_message m = text_message("t", NULL, "1");

            MUST(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err));
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            interpose_begin(INTERPOSE_AFTER, n, &reasons[1]);
            failed += outbox_conn_begin(conn, NULL) != OUTBOX_OK;
            interpose_end();
            outbox_conn_rollback(conn, NULL); /* refused where there is none */
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            outbox_conn_close(conn);
            CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 2 * n);
        }
    CHECK(failed > 0, "no BEGIN failed");
    fixture_close(fx);
    tap_end();
}

/* A ROLLBACK that failed left its transaction open behind the caller's back, with all that was to be undone. */
static void check_rollback(const struct target *target)
{
    struct fixture fixture, *fx = &fixture;
    outbox_message m = text_message("t", NULL, "1");
    outbox_conn *conn;

    tap_begin("%s: nothing more is written where a ROLLBACK failed", target->name);
    if (fixture_prepare(fx, target) == 0 && fixture_migrate(fx) == 0)
        for (long n = 1; n <= 3; n++) {
            MUST(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err));
            OK(outbox_conn_begin(conn, &fx->err));
            OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
            interpose_begin(INTERPOSE_BEFORE, n, &reasons[3]);
            outbox_conn_rollback(conn, NULL);
            interpose_end();
            if (interpose_hit() && strstr(interpose_step(), "ROLLBACK") != NULL) {
                EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_LOST);
                EXPECT(outbox_conn_begin(conn, &fx->err), OUTBOX_ERR_LOST);
            }
            outbox_conn_close(conn);
            CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
        }
    fixture_close(fx);
    tap_end();
}

static void run_target(const struct target *target, const char *only)
{
    if (only == NULL || strstr("BEGIN", only) != NULL) {
        check_begin(target);
        check_rollback(target);
    }
    for (size_t i = 0; i < path_count; i++) {
        struct fixture fx;
        struct world w;
        char name[96];

        snprintf(name, sizeof name, "%s: %s", target->name, paths[i].name);
        if (only != NULL && strstr(name, only) == NULL)
            continue;
        tap_begin("%s", name);
        if (fixture_prepare(&fx, target) == 0 && world_open(&w, &fx))
            run_path(&w, &paths[i]);
        fixture_close(&fx);
        tap_end();
    }
}

/* ---- The list is whole ---- */

static int is_listed(const char *name)
{
    for (size_t i = 0; interpose_names[i] != NULL; i++)
        if (strcmp(interpose_names[i], name) == 0)
            return 1;
    return 0;
}

/* What the library's objects call of ODBC is what is interposed; reading odbc.ini and file DSNs is no call that a database answers. */
static void check_names(void)
{
    const char *nm = getenv("OUTBOX_NM"), *build = getenv("OUTBOX_BUILDDIR");
    char command[512], name[128];
    size_t count = 0, listed = 0;
    FILE *symbols;

    tap_begin("every function of ODBC that the library calls is interposed");
    snprintf(command, sizeof command, "%s -u '%s/lib/.libs/liboutbox-core.a' | "
             "grep -vE 'SQLGetPrivateProfileString|SQLReadFileDSN' | sed -n 's/^ *U \\(SQL[A-Z][A-Za-z]*\\)$/\\1/p' | "
             "sort -u", nm != NULL ? nm : "nm", build != NULL ? build : ".");
    if (CHECK((symbols = popen(command, "r")) != NULL, "nm")) {
        while (fscanf(symbols, "%127s", name) == 1) {
            count++;
            CHECK(is_listed(name), "%s is not", name);
        }
        CHECK_INT(pclose(symbols), 0);
    }
    while (interpose_names[listed] != NULL)
        listed++;
    CHECK_INT(count, listed);
    tap_end();
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "sqlite/position", "generic/sqlite", "postgresql/position", "generic/postgresql", "sqlite/delete",
        "postgresql/delete",
    };
    const char *only = argc > 1 ? argv[1] : NULL;

    /* What relays have to say of planted faults is no news. */
    setenv("OUTBOX_TEST_LOG", "-1", 0);
    check_names();
    for (size_t i = 0; i < COUNT_OF(names) - (test_long() ? 0 : 2); i++) {
        const struct target *target = target_find(names[i]);

        if (target_is_postgresql(target) && postgresql_dsn() == NULL)
            continue;
        run_target(target, only);
    }
    return tap_finish();
}
