/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays that are killed at each step of their way, and at random; relays that sleep past their leases; a server that
 * is stopped without a checkpoint, under load. As kills_mariadb it does this on MariaDB, and so on, else on PostgreSQL and
 * SQLite; by the generic statements at each step only, and the rest with OUTBOX_TEST_ALL. argv[1] chooses tests by name.
 *
 * Steps are calls of ODBC that reach the server, and messages that the publisher gets; what is done between two of them is
 * done between two kills. OUTBOX_TEST_LONG: every call, before and after, every message, and hundreds of kills.
 * OUTBOX_TEST_MESSAGES sizes the runs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e2e.h"
#include "interpose.h"

/* ---- At each step ---- */

enum { STEP_BATCH = 3, STEP_KEYS = 4, STEP_NAMES = 200 };

static const struct e2e_plan step_plan = {
    .name = "steps", .keys = STEP_KEYS, .producers = 1, .relays = 1, .workers = 1, .batch = STEP_BATCH, .faults = 1};

struct tally {
    char name[80];
    int count;
};

struct steps {
    struct e2e run;
    FILE *log;
    long numbers[STEP_KEYS];
    char *words; /* shared with the processes: what they die at; or how many calls they made */
    struct tally tallies[STEP_NAMES];
    size_t tally_count;
    long kills;
    long again; /* during publish: what must be sent again */
};

/* Two of each key, one call each; then every lane is free, and what waits is due. */
static int enqueue_some(struct steps *s)
{
    struct fixture *fx = s->run.fx;

    if (fixture_connect(fx) == NULL || !CHECK_INT(db_open(&fx->db, fx->dsn, 1), 0))
        return 0;
    for (int i = 0; i < 2 * STEP_KEYS; i++) {
        int key = i % STEP_KEYS;
        char payload[32], name[16];
        outbox_message m;
        outbox_id id;

        snprintf(payload, sizeof payload, "%ld 0", ++s->numbers[key]);
        snprintf(name, sizeof name, "k%d", key);
        m = text_message("t0", name, payload);
        if (OK(outbox_enqueue(fx->conns[0], &m, 1, &id, &fx->err)))
            fprintf(s->log, "%s t0 %s %ld\n", id.text, name, s->numbers[key]);
    }
    fflush(s->log);
    expire_leases(fx);
    make_due(fx);
    fixture_disconnect(fx);
    return !tap_failed();
}

static void relay_process(struct steps *s, enum interpose_mode mode, long number)
{
    int status;

    interpose_leave_words(s->words, 120);
    interpose_begin(mode, number, NULL);
    status = e2e_relay_once(&s->run);
    snprintf(s->words, 120, "%ld", interpose_end());
    _exit(status);
}

/* Starts a relay that is to die; returns 1 when it did, 0 when it came to its end before. */
static int relay_until(struct steps *s, enum interpose_mode mode, long number)
{
    int status = 0;
    pid_t pid;

    fflush(NULL);
    s->words[0] = '\0';
    if ((pid = fork()) == 0)
        relay_process(s, mode, number);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        CHECK_INT(WTERMSIG(status), SIGKILL);
        return 1;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a relay ended with %x", (unsigned)status);
    return 0;
}

static void count_step(struct steps *s, int before, const char *what)
{
    char name[80];
    size_t i = 0;

    snprintf(name, sizeof name, "%s %.60s", before ? "before" : "after ", what);
    while (i < s->tally_count && strcmp(s->tallies[i].name, name) != 0)
        i++;
    if (i == s->tally_count && i < STEP_NAMES)
        snprintf(s->tallies[s->tally_count++].name, sizeof name, "%s", name);
    if (i < STEP_NAMES)
        s->tallies[i].count++;
    s->kills++;
}

/* The dead one's lease is over, and what waits is due. */
static void let_time_pass(struct steps *s)
{
    struct fixture *fx = s->run.fx;

    if (!CHECK_INT(db_open(&fx->db, fx->dsn, 1), 0))
        return;
    expire_leases(fx);
    make_due(fx);
    fixture_disconnect(fx);
}

/* What was left behind by the dead goes first, so that each begins alike. */
static void kill_at(struct steps *s, enum interpose_mode mode, long number)
{
    if (!enqueue_some(s))
        return;
    if (relay_until(s, mode, number))
        count_step(s, mode == INTERPOSE_DIE_BEFORE, s->words);
    let_time_pass(s);
    relay_until(s, INTERPOSE_COUNT, 0);
}

/* A message that was charged waits for a moment. */
static void drain_steps(struct steps *s)
{
    int left = 1;

    for (int tries = 0; tries < 100 && left; tries++) {
        relay_until(s, INTERPOSE_COUNT, 0);
        s->run.fx->conn = fixture_connect(s->run.fx);
        left = s->run.fx->conn == NULL || count_waiting(s->run.fx) > 0;
        fixture_disconnect(s->run.fx);
    }
    CHECK(!left, "messages are left");
}

static void judge_steps(struct steps *s)
{
    struct e2e_report r;

    for (size_t i = 0; i < s->tally_count; i++)
        tap_note("%3d killed %s", s->tallies[i].count, s->tallies[i].name);
    if (!e2e_judge(&s->run, s->kills, s->kills * STEP_BATCH, &r))
        return;
    CHECK_INT(r.disorder + r.stale, 0);
    CHECK(r.duplicates > 0, "no kill came between publish and settle");
    CHECK(s->again == 0 || r.duplicates == s->again, "%ld were sent again, not %ld", r.duplicates, s->again);
}

static void kill_steps(struct steps *s)
{
    long calls;

    interpose_count_weighty(!test_long());
    if (!enqueue_some(s) || !CHECK_INT(relay_until(s, INTERPOSE_COUNT, 0), 0))
        return;
    calls = strtol(s->words, NULL, 10);
    CHECK(calls > 10, "a pass makes %ld calls of ODBC", calls);
    for (long n = 1; n <= calls && !tap_failed(); n++) {
        kill_at(s, INTERPOSE_DIE_BEFORE, n);
        if (test_long())
            kill_at(s, INTERPOSE_DIE_AFTER, n);
    }
    drain_steps(s);
    /* A pass is not always the same to the last call: lanes are looked at in another order. */
    CHECK(s->kills * 10 >= calls * 8, "%ld kills in %ld calls", s->kills, calls);
    judge_steps(s);
}

/* ---- During publish ---- */

static int publish_until(struct steps *s, long at, int after, const char *how)
{
    char what[60];
    int died;

    s->run.die_at = at;
    s->run.die_after = after;
    died = relay_until(s, INTERPOSE_COUNT, 0);
    s->run.die_at = 0;
    snprintf(what, sizeof what, "message %ld was sent, %s", at, how);
    if (CHECK(died, "no relay died %s %s", after ? "after" : "before", what))
        count_step(s, !after, what);
    return died;
}

/* One lane of 8 messages: a batch of 3, another one, and a batch of 2, each settled before the next goes out. So it is known
 * to the message what is sent again: what the dead one noted of the batch in hand. The next relay has the first messages
 * go alone, and dies at the same number of them: then it is the one in hand. */
static void kill_publishing(struct steps *s, long at, int after)
{
    if (!enqueue_some(s))
        return;
    if (publish_until(s, at, after, "of its batch"))
        s->again += (at - 1) % STEP_BATCH + after;
    let_time_pass(s);
    if (at <= STEP_BATCH && publish_until(s, at, after, "alone"))
        s->again += after;
    let_time_pass(s);
    relay_until(s, INTERPOSE_COUNT, 0);
}

static void kill_publishers(struct steps *s)
{
    for (long at = 1; at <= 2 * STEP_KEYS && !tap_failed(); at++)
        for (int after = 0; after < 2 && (at <= STEP_BATCH + 1 || at == 2 * STEP_KEYS || test_long()); after++)
            kill_publishing(s, at, after);
    drain_steps(s);
    judge_steps(s);
}

static const struct {
    const char *name, *lanes;
    void (*kill)(struct steps *s);
} ways[] = {
    {"a relay is killed at each step", "2", kill_steps},
    {"a relay is killed during publish", "1", kill_publishers},
};

static void run_steps(const struct target *target, size_t way)
{
    static struct steps s;
    struct fixture fx;
    char path[128];

    memset(&s, 0, sizeof s);
    tap_begin("%s: %s", target->name, ways[way].name);
    s.words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (CHECK(s.words != MAP_FAILED, "mmap") && fixture_prepare(&fx, target) == 0) {
        fixture_set(&fx, "schema.lanes", ways[way].lanes);
        if (e2e_begin(&s.run, &fx, &step_plan)) {
            s.run.logs = 1;
            snprintf(path, sizeof path, "%s/committed.0", s.run.directory);
            if (CHECK((s.log = fopen(path, "w")) != NULL, "no log")) {
                ways[way].kill(&s);
                fclose(s.log);
            }
            e2e_end(&s.run);
        }
        fixture_close(&fx);
    }
    tap_end();
}

/* ---- At random ---- */

static struct e2e_plan chaos_plan = {
    .name = "chaos", .messages = 6000, .keys = 200, .producers = 2, .relays = 4, .workers = 2, .max_tx = 50,
    .rollback_percent = 20, .lease = "1s", .slow_every = 3, .faults = 1};

static void run_chaos(const struct target *target, const char *name, const struct e2e_chaos *chaos)
{
    struct e2e_plan plan = chaos_plan;
    struct fixture fx;

    if (chaos->steady) {
        plan.messages = 10000000; /* there is always something to do, */
        plan.slow_every = 1;      /* and relays have lanes in hand nearly always */
        plan.producers = 1;
        plan.max_tx = 12;
    }
    tap_begin("%s: %s", target->name, name);
    if (fixture_prepare(&fx, target) == 0)
        e2e_run_chaos(&fx, &plan, chaos);
    fixture_close(&fx);
    tap_end();
}

struct chaos_test {
    const char *target, *name;
    struct e2e_chaos few, many;
};

static const struct chaos_test tests[] = {
    {"postgresql/position", "relays are killed", {.kills = 12}, {.kills = 300}},
    {"postgresql/delete", "relays are killed", {.kills = 4}, {.kills = 150}},
    {"sqlite/position", "relays are killed", {.kills = 6}, {.kills = 100}},
    {"generic/postgresql", "relays are killed", {.kills = 4}, {.kills = 100}},
    {"generic/sqlite", "relays are killed", {.kills = 4}, {.kills = 60}},
    {"generic/postgresql", "all of it",
     {.kills = 4, .stops = 2, .restarts = 1}, {.kills = 40, .stops = 15, .restarts = 8}},
    {"postgresql/position", "relays sleep past their leases", {.stops = 5, .steady = 1}, {.stops = 60, .steady = 1}},
    {"postgresql/position", "the server stops at once", {.restarts = 3}, {.restarts = 25}},
    {"postgresql/delete", "all of it",
     {.kills = 4, .stops = 2, .restarts = 1}, {.kills = 60, .stops = 20, .restarts = 10}},
    {"mariadb/delete", "relays are killed", {.kills = 6}, {.kills = 150}},
    {"mariadb/delete", "all of it",
     {.kills = 3, .stops = 2, .restarts = 1}, {.kills = 60, .stops = 30, .restarts = 10}},
    {"generic/mariadb", "relays are killed", {.kills = 4}, {.kills = 60}},
    {"generic/mariadb", "all of it",
     {.kills = 3, .stops = 2, .restarts = 1}, {.kills = 30, .stops = 15, .restarts = 6}},
};

/* All but the steps, where ./check has to be done in minutes. */
static int left_out(const struct target *target)
{
    return strcmp(target->driver, "generic") == 0 && !test_all();
}

int main(int argc, char **argv)
{
    static const char *const stepped[] = {"postgresql/position", "postgresql/delete", "sqlite/position",
                                          "generic/postgresql", "generic/sqlite", "mariadb/delete", "generic/mariadb"};
    const char *only = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i < COUNT_OF(stepped); i++)
        if (target_is_for(target_find(stepped[i]), argv[0]) && target_missing(target_find(stepped[i])))
            return tap_skip_all("no server: run it through tests/run-test");
    /* Relays whose server is taken away have much to say. */
    setenv("OUTBOX_TEST_LOG", "-1", 0);
    chaos_plan.messages = env_number("OUTBOX_TEST_MESSAGES", test_long() ? 60000 : chaos_plan.messages);
    for (size_t i = 0; i < COUNT_OF(stepped) * COUNT_OF(ways); i++) {
        const struct target *target = target_find(stepped[i / COUNT_OF(ways)]);
        size_t way = i % COUNT_OF(ways);

        if (target_is_for(target, argv[0]) && (way == 0 || !left_out(target)) && strstr(ways[way].name, only) != NULL)
            run_steps(target, way);
    }
    for (size_t i = 0; i < COUNT_OF(tests); i++) {
        const struct target *target = target_find(tests[i].target);

        if (target_is_for(target, argv[0]) && !left_out(target) && strstr(tests[i].name, only) != NULL)
            run_chaos(target, tests[i].name, test_long() ? &tests[i].many : &tests[i].few);
    }
    return tap_finish();
}
