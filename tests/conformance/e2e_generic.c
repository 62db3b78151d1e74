/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end by the generic statements, on each database that others have better ones for. ./check runs few messages, and
 * OUTBOX_TEST_ALL=1 more. argv[1] chooses databases by name.
 */
#include <string.h>

#include "e2e.h"

static struct e2e_plan plans[] = {
    {.name = "shared keys under row locks, heads that fail", .messages = 600, .keys = 40, .producers = 3, .relays = 2,
     .workers = 1, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .fail_every = 50, .fails = 1},
    {.name = "many messages, pauses, a bulk transaction that commits late", .messages = 10000, .keys = 500, .producers = 4,
     .relays = 3, .workers = 2, .max_tx = 50, .rollback_percent = 20, .row_lock = 1, .pause_percent = 1, .pause_ms = 500,
     .bulk = 3000},
    {.name = "published ones kept, a foreign transaction", .messages = 4000, .keys = 100, .producers = 3, .relays = 2,
     .workers = 2, .max_tx = 50, .rollback_percent = 20, .fail_every = 50, .fails = 2, .foreign = 1, .retention = "forever"},
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
    static const char *const targets[] = {"generic/sqlite", "generic/postgresql", "generic/mariadb"};
    size_t count = test_all() ? COUNT_OF(plans) : 1;

    for (size_t t = 0; t < COUNT_OF(targets); t++)
        if (!target_missing(target_find(targets[t])) && (argc < 2 || strstr(targets[t], argv[1]) != NULL))
            for (size_t i = 0; i < count; i++)
                run(target_find(targets[t]), &plans[i]);
    return tap_finish();
}
