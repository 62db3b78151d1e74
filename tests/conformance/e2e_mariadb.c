/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end on MariaDB, with applications at its default isolation, REPEATABLE READ. OUTBOX_TEST_MESSAGES sizes the
 * largest run, OUTBOX_TEST_SECONDS says how long many producers are run at least (5; 20 with
 * OUTBOX_TEST_ALL, 300 with OUTBOX_TEST_LONG),
 * argv[1] chooses runs by name.
 *
 * outbox_enqueue() must never be the victim of a deadlock, and the server must not have seen one at all.
 */
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static struct e2e_plan plans[] = {
    {.name = "many messages, shared keys under row locks", .messages = 20000, .keys = 1000, .producers = 4, .relays = 3,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .no_conflicts = 1},
    {.name = "transactions that pause for seconds", .messages = 1000, .keys = 100, .producers = 12, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .pause_percent = 15, .pause_ms = 2500, .no_conflicts = 1},
    {.name = "a foreign write transaction held open", .messages = 10000, .keys = 200, .producers = 4, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .pause_percent = 2, .pause_ms = 500, .foreign = 1,
     .no_conflicts = 1},
    {.name = "a bulk transaction that commits late", .messages = 5000, .keys = 200, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .bulk = 10000, .no_conflicts = 1},
    {.name = "heads that fail while followers wait", .messages = 5000, .keys = 50, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .fail_every = 100, .fails = 3, .no_conflicts = 1},
    {.name = "all at once, published ones kept", .messages = 5000, .keys = 100, .producers = 6, .relays = 3,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .pause_percent = 5, .pause_ms = 200,
     .fail_every = 50, .fails = 2, .bulk = 1000, .foreign = 1, .retention = "forever", .no_conflicts = 1},
};

static struct e2e_plan crowd = {
    .name = "16 producers, 4 relays", .messages = 20000, .keys = 400, .producers = 16, .relays = 4, .workers = 2,
    .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .fail_every = 200, .fails = 1, .no_conflicts = 1,
    .retention = "1s"};

static int64_t server_number(struct fixture *fx, const char *name)
{
    char *text = NULL;
    struct db db;
    int64_t number = -1;

    if (CHECK_INT(db_open(&db, fx->dsn, 1), 0))
        text = db_text(&db, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '%s'",
                       name);
    if (CHECK(text != NULL, "the server has no %s", name))
        number = strtoll(text, NULL, 10);
    free(text);
    db_close(&db);
    return number;
}

/* Returns 1 when the run was good. */
static int run(const struct target *target, const struct e2e_plan *plan)
{
    struct fixture fx;
    int64_t deadlocks, waits;

    tap_begin("%s: %s", target->name, plan->name);
    if (fixture_prepare(&fx, target) == 0) {
        deadlocks = server_number(&fx, "INNODB_DEADLOCKS");
        waits = server_number(&fx, "INNODB_ROW_LOCK_WAITS");
        e2e_run(&fx, plan);
        deadlocks = server_number(&fx, "INNODB_DEADLOCKS") - deadlocks;
        tap_note("%lld deadlocks, %lld waits for row locks", (long long)deadlocks,
                 (long long)(server_number(&fx, "INNODB_ROW_LOCK_WAITS") - waits));
        CHECK_INT(deadlocks, 0);
    }
    fixture_close(&fx);
    return tap_end();
}

/* Again and again, for a time. */
static void run_crowd(const struct target *target)
{
    int64_t until = monotonic_us() + env_number("OUTBOX_TEST_SECONDS", test_long() ? 300 : test_all() ? 20 : 5) * SECOND_US;

    while (run(target, &crowd) && monotonic_us() < until)
        ;
}

int main(int argc, char **argv)
{
    const struct target *target = target_find("mariadb/delete");

    if (target_missing(target))
        return tap_skip_all("no MariaDB: run it through tests/run-test");
    plans[0].messages = env_number("OUTBOX_TEST_MESSAGES", test_all() ? 20000 : 8000);
    for (size_t i = 0; i < COUNT_OF(plans); i++)
        if (argc < 2 || strstr(plans[i].name, argv[1]) != NULL)
            run(target, &plans[i]);
    if (argc < 2 || strstr(crowd.name, argv[1]) != NULL)
        run_crowd(target);
    return tap_finish();
}
