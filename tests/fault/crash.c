/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays that are killed, relays that are stopped for longer than their lease, a server that is killed: nothing is
 * lost, nothing is invented, and what is sent again is not more than was in hand. As crash_mariadb it does this on
 * MariaDB, and so on, else on PostgreSQL and SQLite; with OUTBOX_TEST_ALL by the generic statements too. argv[1]
 * chooses by name, OUTBOX_TEST_MESSAGES sizes the runs.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e2e.h"

static struct e2e_plan plan = {
    .name = "faults", .keys = 200, .producers = 2, .relays = 3, .workers = 2, .max_tx = 200,
    .rollback_percent = 20, .lease = "1s", .slow_every = 3};

/* Everything is committed first; the faults are the relays' business. */
static int produce_all(struct e2e *run)
{
    e2e_start_producers(run);
    e2e_join_producers(run);
    return !tap_failed();
}

static void wait_for_share(struct e2e *run, int tenths)
{
    int there;

    WAIT_FOR(e2e_delivered(run) * 10 >= run->plan->messages * tenths, there);
    CHECK(there, "%ld delivered", e2e_delivered(run));
}

/* Takes the first relay out of the run; returns its process. */
static pid_t take_relay(struct e2e *run)
{
    pid_t pid = run->relays[0];

    memmove(&run->relays[0], &run->relays[1], sizeof run->relays[0] * (size_t)--run->relay_count);
    return pid;
}

static void judge(struct e2e *run, long crashes, long most_again, int ordered)
{
    struct e2e_report r;

    if (e2e_judge(run, crashes, most_again, &r) && ordered)
        CHECK_INT(r.disorder, 0);
}

/* ---- The faults ---- */

static void kill_relays(struct e2e *run)
{
    int status;

    e2e_start_relays(run);
    for (int i = 1; i <= 2; i++) {
        pid_t pid = take_relay(run);

        wait_for_share(run, i * 2);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    e2e_wait_drained(run);
    e2e_stop_relays(run);
    /* Two processes of two workers with a batch of 100 each, and what a lane was read ahead. */
    judge(run, 2, 2 * 2 * 100, 1);
}

/* A relay that sleeps past its lease, in the middle of a batch, and goes on. */
static void stop_relay(struct e2e *run)
{
    pid_t pid;
    int status = 0;

    e2e_start_relays(run);
    pid = run->relays[0];
    wait_for_share(run, 3);
    kill(pid, SIGSTOP);
    /* The others take its lanes over and finish; then it wakes up with nothing to say any more. */
    e2e_wait_drained(run);
    kill(pid, SIGCONT);
    e2e_stop_relays(run);
    (void)status;
    judge(run, 1, 2 * 100 * 2, 0);
}

static void kill_server(struct e2e *run)
{
    const struct target *target = run->fx->target;

    e2e_start_relays(run);
    for (int i = 1; i <= 3; i++) {
        wait_for_share(run, i * 2);
        CHECK(target_control(target, i == 2 ? "stop" : "kill") && target_control(target, "start"),
              "the server does not start again");
    }
    e2e_wait_drained(run);
    e2e_stop_relays(run);
    judge(run, 3 * 3, 3 * 3 * 2 * 100, 1);
}

static void run_fault(const struct target *target, const char *name, void (*fault)(struct e2e *))
{
    struct fixture fx;
    struct e2e run;

    tap_begin("%s: %s", target->name, name);
    if (fixture_prepare(&fx, target) == 0 && e2e_begin(&run, &fx, &plan)) {
        if (produce_all(&run))
            fault(&run);
        e2e_end(&run);
    }
    fixture_close(&fx);
    tap_end();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fault)(struct e2e *);
        const char *not_on;
    } faults[] = {
        {"relays that are killed", kill_relays, ""},
        /* Stopped amid a write it would stop all of SQLite, and keep a lane of Firebird, which ends no idle transaction. */
        {"a relay that sleeps past its lease", stop_relay, "sqlite firebird"},
        /* Firebird 3 does not always end when it is asked to while relays are at work, nor when it is asked again. */
        {"a server that is killed", kill_server, "sqlite firebird"},
    };
    static const struct {
        const char *name;
        long few, many; /* messages, the latter with OUTBOX_TEST_ALL */
    } targets[] = {
        {"postgresql/position", 8000, 20000}, {"postgresql/delete", 8000, 20000}, {"sqlite/position", 8000, 20000},
        {"generic/postgresql", 0, 20000}, {"generic/sqlite", 0, 20000}, {"mariadb/delete", 8000, 20000},
        {"generic/mariadb", 0, 20000}, {"firebird/delete", 500, 5000},
    };

    for (size_t t = 0; t < COUNT_OF(targets); t++)
        if (target_is_for(target_find(targets[t].name), argv[0]) && target_missing(target_find(targets[t].name)))
            return tap_skip_all("no server: run it through tests/run-test");
    for (size_t t = 0; t < COUNT_OF(targets); t++)
        for (size_t i = 0; i < COUNT_OF(faults); i++) {
            const struct target *target = target_find(targets[t].name);
            long messages = test_all() ? targets[t].many : targets[t].few;

            if (!target_is_for(target, argv[0]) || strstr(faults[i].not_on, target->database) != NULL || messages == 0 ||
                (argc > 1 && strstr(faults[i].name, argv[1]) == NULL))
                continue;
            plan.messages = env_number("OUTBOX_TEST_MESSAGES", messages);
            run_fault(target, faults[i].name, faults[i].fault);
        }
    return tap_finish();
}
