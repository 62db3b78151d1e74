/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "backlog.h"
#include "suite.h"

/* What a relay does above the statements is alike on each: by default it is tried on one target a database. */
static int is_second(const struct target *target)
{
    return !test_all() && (strcmp(target->driver, "generic") == 0 || strcmp(target->name, "postgresql/delete") == 0 ||
                           strcmp(target->name, "sqlite/delete") == 0);
}

int conformance_main(const char *name, int argc, char **argv)
{
    static const struct {
        void (*run)(const struct target *, const char *);
        int above;
    } parts[] = {
        {suite_enqueue, 0}, {suite_fields, 0}, {suite_lease, 0}, {suite_verdict, 0}, {suite_order, 0}, {suite_heads, 0},
        {suite_late, 0}, {suite_numbers, 0}, {suite_keeper, 0}, {suite_gather, 0}, {suite_gather_relay, 0},
        {suite_clean, 0}, {suite_admin, 0},
        {suite_peek, 0}, {suite_schema, 0}, {suite_relay, 0}, {suite_broker, 1}, {suite_hang, 1}, {suite_answers, 1},
        {suite_builtin, 1},
        {suite_hostile, 1},
    };
    const struct target *target = target_find(name);

    if (target_missing(target))
        return tap_skip_all("no server: run it through tests/run-test");
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (argc > 1 || !parts[i].above || !is_second(target))
            parts[i].run(target, argc > 1 ? argv[1] : NULL);
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
