/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The installed SQL files: each database's own client runs them as they are, and the library with its default settings
 * finds an outbox that it need not migrate, and uses it.
 */
#include "golden.h"
#include "lib-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run_files(struct fixture *fx)
{
    const char *database = fx->target->database;
    char command[2048];

    if (target_is_postgresql(fx->target))
        snprintf(command, sizeof command,
                 "for f in '%s'/migrations/rendered/%s/*.sql; do psql -qX -v ON_ERROR_STOP=1 -f \"$f\" || exit 1; done",
                 build_folder(), database);
    else if (target_is_mariadb(fx->target))
        snprintf(command, sizeof command,
                 "for f in '%s'/migrations/rendered/%s/*.sql; do mariadb --no-defaults --socket=\"$OUTBOX_TEST_MARIADB_SOCKET"
                 "\" --user=outbox outbox_test <\"$f\" || exit 1; done", build_folder(), database);
    else
        snprintf(command, sizeof command,
                 "for f in '%s'/migrations/rendered/%s/*.sql; do sqlite3 -bail '%s' <\"$f\" || exit 1; done",
                 build_folder(), database, fx->dsn + strlen("sqlite:"));
    CHECK_INT(system(command), 0);
}

static void use(struct fixture *fx)
{
    outbox_conf *conf = NULL;
    outbox_consumer *consumer;
    struct seen seen = {0};
    int applied = -1;

    MUST(outbox_conf_new(&conf, &fx->err));
    outbox_conf_free(fx->conf);
    fx->conf = conf;
    run_files(fx);
    REQUIRE((fx->conn = fixture_connect(fx)) != NULL, "no connection");
    MUST(outbox_migrate(fx->conn, &applied, &fx->err));
    CHECK_INT(applied, 0);
    CHECK_INT(send_words(fx, "t", "k", "1 2 3"), 1);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    CHECK_INT(drain(fx, consumer, &seen), 3);
    CHECK_STR(seen_words(&seen), "1 2 3");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {{"installed files make an outbox", use, 1}};
    static const char *const targets[] = {"sqlite/position", "postgresql/position", "mariadb/delete"};

    for (size_t i = 0; i < COUNT_OF(targets); i++)
        if (!target_missing(target_find(targets[i])))
            suite_run(tests, COUNT_OF(tests), target_find(targets[i]), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
