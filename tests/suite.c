/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "backlog.h"
#include "suite.h"

int conformance_main(const char *name, int argc, char **argv)
{
    static void (*const parts[])(const struct target *, const char *) = {
        suite_enqueue, suite_fields, suite_lease, suite_verdict, suite_order,
        suite_heads,   suite_late,    suite_numbers, suite_keeper, suite_clean,  suite_admin, suite_peek,
        suite_schema,  suite_relay,
        suite_broker,  suite_hang,   suite_answers, suite_builtin, suite_hostile,
    };
    const struct target *target = target_find(name);

    if (target_missing(target))
        return tap_skip_all("no server: run it through tests/run-test");
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        parts[i](target, argc > 1 ? argv[1] : NULL);
    return tap_finish();
}

void check_backlog(struct fixture *fx, const outbox_counts *counts, int64_t blocked)
{
    struct outbox_backlog b;

    memset(&b, 0, sizeof b);
    OK(outbox_backlog__look(fx->conn, &b, &fx->err));
    for (int s = OUTBOX_PENDING; s <= OUTBOX_DEAD; s++)
        CHECK_INT(b.counts.by_state[s], counts->by_state[s]);
    CHECK_INT(b.counts.lanes, counts->lanes);
    CHECK_INT(b.counts.lanes_held, counts->lanes_held);
    CHECK_INT(b.blocked, blocked);
    CHECK_INT(b.exact, 1);
    CHECK(b.counts.oldest_pending_us >= counts->oldest_pending_us &&
              b.counts.oldest_pending_us < counts->oldest_pending_us + 600 * SECOND_US,
          "oldest: %lld µs", (long long)b.counts.oldest_pending_us);
    outbox_backlog__free(&b);
}
