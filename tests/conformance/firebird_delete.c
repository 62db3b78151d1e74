/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and dropping the tables of a test takes Firebird long, so by default only a part of the suite is run: what is
 * named here. OUTBOX_TEST_ALL=1 runs all of it, as `.ci/run all` does. */
#include "suite.h"

int main(int argc, char **argv)
{
    char part[] = "enqueue", *some[] = {argv[0], part, NULL};

    if (argc > 1 || test_all())
        return conformance_main("firebird/delete", argc, argv);
    return conformance_main("firebird/delete", 2, some);
}
