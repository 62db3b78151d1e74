/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suite.h"

int conformance_main(const char *name, int argc, char **argv)
{
    static void (*const parts[])(const struct target *, const char *) = {
        suite_enqueue, suite_fields, suite_lease, suite_verdict, suite_order,
        suite_heads,   suite_late,    suite_numbers, suite_keeper, suite_clean,  suite_admin, suite_schema,  suite_relay,
        suite_broker,  suite_hang,   suite_answers, suite_builtin, suite_hostile,
    };
    const struct target *target = target_find(name);

    if (target_missing(target))
        return tap_skip_all("no server: run it through tests/run-test");
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        parts[i](target, argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
