/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end on SQLite, which has one writer at a time: fewer and larger transactions.
 * OUTBOX_TEST_MESSAGES sizes the largest run (20000; 100000 with OUTBOX_TEST_ALL), argv[1] chooses runs by name.
 */
#include "e2e.h"

static const struct e2e_plan plans[] = {
    {.name = "many messages", .messages = 100000, .keys = 1000, .producers = 2, .relays = 2, .workers = 1, .max_tx = 400,
     .rollback_percent = 20},
    {.name = "shared keys, small transactions", .messages = 3000, .keys = 100, .producers = 3, .relays = 2, .workers = 2,
     .max_tx = 20, .rollback_percent = 20, .row_lock = 1},
    {.name = "transactions that pause", .messages = 3000, .keys = 100, .producers = 3, .relays = 2, .workers = 1,
     .max_tx = 60, .rollback_percent = 20, .pause_percent = 5, .pause_ms = 1000},
    {.name = "a foreign reader held open", .messages = 10000, .keys = 100, .producers = 2, .relays = 2, .workers = 1,
     .max_tx = 100, .rollback_percent = 20, .foreign = 1},
    {.name = "a bulk transaction", .messages = 3000, .keys = 100, .producers = 2, .relays = 2, .workers = 1,
     .max_tx = 100, .rollback_percent = 20, .bulk = 50000},
    {.name = "heads that fail while followers wait", .messages = 5000, .keys = 50, .producers = 2, .relays = 2,
     .workers = 1, .max_tx = 100, .rollback_percent = 20, .fail_every = 100, .fails = 3},
};

int main(int argc, char **argv)
{
    e2e_run_plans(target_find("sqlite/position"), target_find("sqlite/delete"), plans, COUNT_OF(plans),
                  argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
