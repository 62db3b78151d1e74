/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end on PostgreSQL. OUTBOX_TEST_MESSAGES sizes the largest run (20000; 100000 with OUTBOX_TEST_ALL), argv[1] chooses runs by name.
 */
#include "e2e.h"

static const struct e2e_plan plans[] = {
    {.name = "many messages, shared keys under row locks", .messages = 100000, .keys = 1000, .producers = 4, .relays = 3,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1},
    {.name = "transactions that pause for seconds", .messages = 2000, .keys = 100, .producers = 12, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 0, .pause_percent = 15, .pause_ms = 2500},
    {.name = "pauses under row locks, keys shared", .messages = 3000, .keys = 60, .producers = 12, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .pause_percent = 20, .pause_ms = 300},
    {.name = "a foreign write transaction held open", .messages = 20000, .keys = 200, .producers = 4, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .pause_percent = 2, .pause_ms = 500, .foreign = 1},
    {.name = "a bulk transaction that commits late", .messages = 10000, .keys = 200, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .bulk = 50000},
    {.name = "heads that fail while followers wait", .messages = 10000, .keys = 50, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .fail_every = 100, .fails = 3},
    {.name = "all at once, published ones kept", .messages = 10000, .keys = 100, .producers = 6, .relays = 3,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .pause_percent = 5, .pause_ms = 200,
     .fail_every = 50, .fails = 2, .bulk = 5000, .foreign = 1, .retention = "forever"},
};

int main(int argc, char **argv)
{
    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    e2e_run_plans(target_find("postgresql/position"), target_find("postgresql/delete"), plans, COUNT_OF(plans),
                  argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
