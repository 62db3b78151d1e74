/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A run: starts the processes, waits for them, stops them, and holds the logs against each other. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e2e.h"

/* ---- Processes ---- */

/* A child; it must have been started with no connection open here. It ends when the test does. */
static pid_t spawn(void)
{
    fflush(stdout);
    fflush(stderr);
    return fork();
}

static void leave(int status)
{
    fflush(stdout);
    fflush(stderr);
    _exit(status);
}

static void check_ended(pid_t pid, const char *what)
{
    int status = -1;
    pid_t ended;

    while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    CHECK(ended == pid, "a %s cannot be waited for: %s", what, strerror(errno));
    CHECK(ended != pid || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "a %s ended with %x", what, (unsigned)status);
}

static void take_place(struct e2e *run, int is_relay, int index)
{
    if (run->plan->place != NULL)
        run->plan->place(run->fx, is_relay, index);
}

int e2e_start_relay(struct e2e *run)
{
    int index = run->relays_started++;
    pid_t pid = spawn();

    if (pid == 0) {
        take_place(run, 1, index);
        leave(e2e_relay(run, index));
    }
    run->relays[run->relay_count] = pid;
    return run->relay_count++;
}

int e2e_start_relays(struct e2e *run)
{
    for (int i = 0; i < run->plan->relays; i++)
        e2e_start_relay(run);
    return 1;
}

void e2e_kill_relay(struct e2e *run, int place)
{
    int status;

    kill(run->relays[place], SIGKILL);
    waitpid(run->relays[place], &status, 0);
    memmove(&run->relays[place], &run->relays[place + 1],
            sizeof run->relays[0] * (size_t)(--run->relay_count - place));
}

int e2e_start_producers(struct e2e *run)
{
    for (int i = 0; i < run->plan->producers + (run->plan->bulk > 0); i++) {
        int log = run->logs++;
        pid_t pid = spawn();

        if (pid == 0)
            take_place(run, 0, i);
        if (pid == 0)
            leave(i < run->plan->producers ? e2e_produce(run, i, log) : e2e_produce_bulk(run, log));
        run->producers[run->producer_count++] = pid;
    }
    return 1;
}

static void start_foreign(struct e2e *run)
{
    int ends[2];

    if (!CHECK(pipe(ends) == 0, "no pipe"))
        return;
    if ((run->foreign = spawn()) == 0) {
        close(ends[1]);
        leave(e2e_foreign(run, ends[0]));
    }
    close(ends[0]);
    run->foreign_pipe = ends[1];
}

void e2e_stop_producers(struct e2e *run)
{
    for (int i = 0; i < run->producer_count; i++)
        kill(run->producers[i], SIGTERM);
}

void e2e_join_producers(struct e2e *run)
{
    for (int i = 0; i < run->producer_count; i++)
        check_ended(run->producers[i], "producer");
    run->producer_count = 0;
}

void e2e_stop_relays(struct e2e *run)
{
    for (int i = 0; i < run->relay_count; i++)
        kill(run->relays[i], SIGTERM);
    for (int i = 0; i < run->relay_count; i++)
        check_ended(run->relays[i], "relay");
    run->relay_count = 0;
}

/* ---- Before and after ---- */

static int make_tables(struct fixture *fx, int keys, int producers)
{
    int good = fixture_migrate(fx) == 0 &&
               db_exec(&fx->db, "CREATE TABLE %se2e_keys (k INTEGER PRIMARY KEY, n BIGINT NOT NULL)", fx->prefix) == 0;

    if (good && target_is_postgresql(fx->target))
        good = db_exec(&fx->db, "INSERT INTO %se2e_keys SELECT i, 0 FROM generate_series(0, %d) i", fx->prefix,
                       keys) == 0;
    else if (good && target_is_firebird(fx->target))
        good = db_exec(&fx->db, "EXECUTE BLOCK AS DECLARE i INTEGER = 0; BEGIN WHILE (i <= %d) DO BEGIN INSERT INTO "
                       "%se2e_keys VALUES (: i, 0); i = i + 1; END END", keys, fx->prefix) == 0;
    else if (good && target_is_mariadb(fx->target))
        good = db_exec(&fx->db, "INSERT INTO %se2e_keys SELECT seq, 0 FROM seq_0_to_%d", fx->prefix, keys) == 0;
    else if (good)
        good = db_exec(&fx->db, "INSERT INTO %se2e_keys WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s "
                       "WHERE i < %d) SELECT i, 0 FROM s", fx->prefix, keys) == 0;
    for (int i = 0; i < producers && good; i++)
        good = db_exec(&fx->db, "INSERT INTO %se2e_keys (k, n) VALUES (%d, 0)", fx->prefix, -100 - i) == 0;
    fixture_disconnect(fx);
    return CHECK(good, "no tables");
}

int e2e_begin(struct e2e *run, struct fixture *fx, const struct e2e_plan *plan)
{
    char path[128];
    FILE *file;

    memset(run, 0, sizeof *run);
    run->fx = fx;
    run->plan = plan;
    run->foreign_pipe = -1;
    snprintf(run->directory, sizeof run->directory, "/tmp/outbox-e2e-XXXXXX");
    if (!CHECK(mkdtemp(run->directory) != NULL, "mkdtemp") || !make_tables(fx, plan->keys, plan->producers))
        return 0;
    snprintf(path, sizeof path, "%s/delivered", run->directory);
    if ((file = fopen(path, "w")) != NULL)
        fclose(file);
    if (plan->foreign)
        start_foreign(run);
    return CHECK(file != NULL, "no log");
}

long e2e_delivered(const struct e2e *run)
{
    struct stat status;
    char path[128];

    /* About: a line has at least 55 bytes and at most 110; no more than "how far are they" hangs on it. */
    snprintf(path, sizeof path, "%s/delivered", run->directory);
    return stat(path, &status) == 0 ? (long)status.st_size / 72 : 0;
}

/* How many messages wait; asked of an open fixture. */
static int64_t wait_for_drain(struct fixture *fx)
{
    int64_t last = -1, left;
    struct patience p;

    patience_start(&p);
    while ((left = count_waiting(fx)) > 0) {
        if (left != last)
            patience_start(&p); /* as long as something moves, it is not stuck */
        last = left;
        if (!patience_wait(&p))
            break;
        poll(NULL, 0, 200);
    }
    return left;
}

void e2e_wait_drained(struct e2e *run)
{
    struct fixture *fx = run->fx;

    if ((fx->conn = fixture_connect(fx)) == NULL)
        return;
    CHECK_INT(wait_for_drain(fx), 0); /* what is left is stuck */
    fixture_disconnect(fx);
}

int e2e_told(const struct e2e *run, struct e2e_told *told)
{
    long published, fenced, taken_over;
    char path[128];
    FILE *file;

    *told = (struct e2e_told){0};
    snprintf(path, sizeof path, "%s/relay-stats", run->directory);
    if (!CHECK((file = fopen(path, "re")) != NULL, "no statistics"))
        return 0;
    while (fscanf(file, "%ld %ld %ld", &published, &fenced, &taken_over) == 3) {
        told->published += published;
        told->fenced += fenced;
        told->taken_over += taken_over;
    }
    fclose(file);
    return 1;
}

static void check_stats(const struct e2e *run, long delivered)
{
    struct e2e_told told;

    if (!e2e_told(run, &told))
        return;
    CHECK_INT(told.fenced, 0);
    CHECK_INT(told.taken_over, 0);
    CHECK_INT(told.published, delivered);
}

static int write_id(void *user, const outbox_record *record)
{
    return fprintf(user, "%s\n", outbox_record_id(record)) < 0;
}

/* What still waits, for the checker. Relays have ended. */
static int write_waiting(struct e2e *run)
{
    struct fixture *fx = run->fx;
    outbox_filter filter = OUTBOX_FILTER_INIT;
    char path[128];
    FILE *file;
    int good;

    snprintf(path, sizeof path, "%s/waiting", run->directory);
    if (!CHECK((file = fopen(path, "w")) != NULL, "no log"))
        return 0;
    filter.limit = 1000000;
    good = (fx->conn = fixture_connect(fx)) != NULL;
    for (int state = OUTBOX_PENDING; state <= OUTBOX_DEAD && good; state++) {
        filter.state = (outbox_state)state;
        good = OK(outbox_list(fx->conn, &filter, write_id, file, &fx->err));
    }
    fixture_disconnect(fx);
    return CHECK_INT(fclose(file), 0) && good;
}

static int examine(struct e2e *run, struct e2e_report *r)
{
    if (!write_waiting(run) || !CHECK_INT(e2e_check(run->directory, run->logs, r), 0))
        return 0;
    tap_note("%s: %ld committed, %ld delivered; %ld lost, %ld phantom, %ld out of order, %ld altered, %ld stuck, "
             "%ld charged without a refusal (%ld attempts), %ld again, %ld refused for their token%s%s", run->plan->name,
             r->committed, r->delivered, r->lost, r->phantom, r->disorder, r->altered, r->stuck, r->charged, r->charges,
             r->duplicates, r->stale, r->first[0] ? "; first " : "", r->first);
    return 1;
}

void e2e_verdict(struct e2e *run)
{
    struct e2e_report r;

    if (!examine(run, &r))
        return;
    CHECK(r.committed >= run->plan->messages / run->plan->producers * run->plan->producers + run->plan->bulk,
          "only %ld were committed", r.committed);
    CHECK_INT(e2e_faults(&r), 0);
    check_stats(run, r.delivered);
}

/* How often a relay took a lane over from one that crashed. */
static long taken_over(const struct e2e *run)
{
    struct stat status;
    char path[128];

    snprintf(path, sizeof path, "%s/taken-over", run->directory);
    return stat(path, &status) == 0 ? (long)status.st_size : 0;
}

/* What suspect mode may charge. A message pays beforehand when it goes alone, which at most as many do as the dead owner's
 * batch can have had: so each time that a lane is taken over gives at most a batch of attempts, whether its new owner
 * lives or not, as the number that is left is written with each of them. Who crashes before its first message of a lane
 * goes out has told nobody that it took it over, but has charged that one: one more for each worker and crash. A message
 * in delivery whenever its relay dies pays each time; all others pay nothing. */
static long chargeable(const struct e2e *run, long crashes)
{
    return taken_over(run) * (run->plan->batch ? run->plan->batch : 100) + crashes * run->plan->workers;
}

int e2e_judge(struct e2e *run, long crashes, long most_again, struct e2e_report *r)
{
    long most_charges = chargeable(run, crashes);

    if (!examine(run, r))
        return 0;
    tap_note("%ld crashes, %ld lanes taken over; %ld could be sent again, %ld attempts charged", crashes, taken_over(run),
             most_again, most_charges);
    CHECK_INT(r->lost, 0);
    CHECK_INT(r->phantom, 0);
    CHECK_INT(r->altered, 0);
    CHECK_INT(r->stuck, 0);
    CHECK(r->duplicates <= most_again, "%ld were sent again", r->duplicates);
    CHECK(r->charges <= most_charges, "%ld attempts were charged", r->charges);
    return 1;
}

void e2e_end(struct e2e *run)
{
    char command[160];

    if (run->foreign_pipe >= 0) {
        close(run->foreign_pipe);
        check_ended(run->foreign, "foreign transaction");
    }
    for (int i = 0; i < run->producer_count; i++)
        kill(run->producers[i], SIGKILL);
    for (int i = 0; i < run->relay_count; i++)
        kill(run->relays[i], SIGKILL);
    snprintf(command, sizeof command, "rm -rf -- '%s'", run->directory);
    if (getenv("OUTBOX_TEST_KEEP") == NULL && system(command) != 0)
        tap_note("could not remove %s", run->directory);
}

void e2e_run(struct fixture *fx, const struct e2e_plan *plan)
{
    struct e2e run;
    int64_t start = monotonic_us(), produced;

    if (!e2e_begin(&run, fx, plan))
        return;
    e2e_start_relays(&run);
    e2e_start_producers(&run);
    e2e_join_producers(&run);
    produced = monotonic_us();
    e2e_wait_drained(&run);
    tap_note("produced in %.1f s, drained after %.1f s more", (double)(produced - start) / 1e6,
             (double)(monotonic_us() - produced) / 1e6);
    e2e_stop_relays(&run);
    e2e_verdict(&run);
    e2e_end(&run);
}

/* For a run that must not take long. */
static void shrink(struct e2e_plan *plan)
{
    plan->messages = plan->messages > 20000 ? 20000 : plan->messages / 2;
    plan->bulk /= 5;
}

static void run_plan(const struct target *target, const struct e2e_plan *plan)
{
    struct fixture fx;

    tap_begin("%s: %s", target->name, plan->name);
    if (fixture_prepare(&fx, target) == 0)
        e2e_run(&fx, plan);
    fixture_close(&fx);
    tap_end();
}

void e2e_run_plans(const struct target *first, const struct target *second, const struct e2e_plan *plans, size_t count,
                   const char *only)
{
    for (size_t i = 0; i < count; i++) {
        struct e2e_plan plan = plans[i];

        if (only != NULL && strstr(plan.name, only) == NULL)
            continue;
        if (!test_all())
            shrink(&plan);
        if (i == 0)
            plan.messages = env_number("OUTBOX_TEST_MESSAGES", plan.messages);
        run_plan(first, &plan);
        if (!test_long())
            shrink(&plan);
        run_plan(second, &plan);
    }
}
