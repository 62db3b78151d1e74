/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each known defect of the predecessor, on each database that could have it. argv[1] chooses by name. */
#include "defects.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"sqlite/position", "sqlite/delete", "postgresql/position", "postgresql/delete"};
    const char *only = argc > 1 ? argv[1] : NULL;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct target *target = target_find(names[i]);

        if (target_is_postgresql(target) && postgresql_dsn() == NULL)
            continue;
        defects_order(target, only);
        defects_cost(target, only);
        defects_rest(target, only);
    }
    return tap_finish();
}
