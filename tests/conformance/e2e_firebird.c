/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end on Firebird, where ./check runs the first plan and OUTBOX_TEST_ALL=1 all of them. OUTBOX_TEST_MESSAGES sizes the
 * largest run, argv[1] chooses runs by name.
 */
#include <string.h>

#include "e2e.h"

static struct e2e_plan plans[] = {
    {.name = "shared keys under row locks, heads that fail", .messages = 300, .keys = 30, .producers = 3, .relays = 2,
     .workers = 1, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .fail_every = 30, .fails = 1},
    {.name = "many messages", .messages = 10000, .keys = 500, .producers = 4, .relays = 3, .workers = 2, .max_tx = 20,
     .rollback_percent = 20, .row_lock = 1},
    {.name = "transactions that pause for seconds", .messages = 1000, .keys = 100, .producers = 8, .relays = 2, .workers = 2,
     .max_tx = 20, .rollback_percent = 20, .pause_percent = 15, .pause_ms = 2500},
    {.name = "a foreign write transaction held open", .messages = 3000, .keys = 200, .producers = 4, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .pause_percent = 2, .pause_ms = 500, .foreign = 1},
    {.name = "a bulk transaction that commits late", .messages = 2000, .keys = 200, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 20, .rollback_percent = 20, .bulk = 5000},
    {.name = "all at once, published ones kept", .messages = 2000, .keys = 100, .producers = 6, .relays = 3, .workers = 2,
     .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .pause_percent = 5, .pause_ms = 200, .fail_every = 50, .fails = 2,
     .bulk = 500, .foreign = 1, .retention = "forever"},
};

static void run(const struct target *target, const struct e2e_plan *plan)
{
    struct fixture fx;

    tap_begin("%s: %s", target->name, plan->name);
    if (fixture_prepare(&fx, target) == 0)
        e2e_run(&fx, plan);
    fixture_close(&fx);
    tap_end();
}

int main(int argc, char **argv)
{
    const struct target *target = target_find("firebird/delete");
    size_t count = test_all() || argc > 1 ? COUNT_OF(plans) : 1;

    if (target_missing(target))
        return tap_skip_all("no Firebird: run it through tests/run-test");
    plans[1].messages = env_number("OUTBOX_TEST_MESSAGES", plans[1].messages);
    for (size_t i = 0; i < count; i++)
        if (argc < 2 || strstr(plans[i].name, argv[1]) != NULL)
            run(target, &plans[i]);
    return tap_finish();
}
