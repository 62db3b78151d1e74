/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For a long time: producers, four relay processes, and kills at random. The checker's report must be all zeros but
 * for what was in hand when a relay died.
 *
 * OUTBOX_TEST_SOAK_SECONDS: how long (1800); OUTBOX_TEST_SOAK_MESSAGES: at the most so many messages (1000000).
 */
#include <stdio.h>
#include <stdlib.h>

#include "e2e.h"

int main(void)
{
    const struct target *target = target_find("postgresql/position");
    struct e2e_plan plan = {.name = "soak", .keys = 10000, .producers = 4, .relays = 4, .workers = 2, .max_tx = 100,
                            .rollback_percent = 10, .lease = "1s", .fail_every = 1000, .fails = 1, .faults = 1};
    struct e2e_chaos chaos = {.kills = 0};
    struct fixture fx;

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    setenv("OUTBOX_TEST_LOG", "-1", 0);
    plan.messages = env_number("OUTBOX_TEST_SOAK_MESSAGES", 1000000);
    chaos.until_us = monotonic_us() + env_number("OUTBOX_TEST_SOAK_SECONDS", 1800) * SECOND_US;
    tap_begin("%s: %ld messages, until the time is over, while relays are killed", target->name, plan.messages);
    if (fixture_prepare(&fx, target) == 0)
        e2e_run_chaos(&fx, &plan, &chaos);
    fixture_close(&fx);
    tap_end();
    return tap_finish();
}
