/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A dump in the middle of a run, restored into a new cluster, where the run goes on. Transaction numbers begin again
 * there, so that those in the rows lie in its future, and later come up a second time.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e2e.h"

/* ---- A second server: the same script, asked where it is, and held until its standard input ends ---- */

struct server {
    pid_t pid;
    int hold;
    char dsn[512], host[256];
};

static int read_line(FILE *file, char *line, size_t size)
{
    if (fgets(line, (int)size, file) == NULL)
        return 0;
    line[strcspn(line, "\n")] = '\0';
    return 1;
}

static void server_child(int in, int out)
{
    const char *source = getenv("OUTBOX_SRCDIR");
    char script[512];

    dup2(in, 0);
    dup2(out, 1);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    snprintf(script, sizeof script, "%s/tests/with-postgres", source ? source : ".");
    execl(script, script, "sh", "-c", "echo \"$OUTBOX_TEST_PG\"; echo \"$PGHOST\"; exec 1>&-; cat >/dev/null",
          (char *)NULL);
    _exit(127);
}

static int server_start(struct server *s)
{
    int in[2], out[2], good;
    FILE *answers;

    memset(s, 0, sizeof *s);
    if (pipe(in) != 0 || pipe(out) != 0)
        return 0;
    fflush(stdout);
    if ((s->pid = fork()) == 0)
        server_child(in[0], out[1]);
    close(in[0]);
    close(out[1]);
    s->hold = in[1];
    answers = fdopen(out[0], "r");
    good = answers != NULL && read_line(answers, s->dsn, sizeof s->dsn) && read_line(answers, s->host, sizeof s->host);
    if (answers != NULL)
        fclose(answers);
    return good;
}

static void server_stop(struct server *s)
{
    int status;

    if (s->pid <= 0)
        return;
    close(s->hold);
    waitpid(s->pid, &status, 0);
}

/* ---- The run ---- */

static int dump_and_restore(const struct server *s)
{
    char command[1024];

    snprintf(command, sizeof command,
             "set -e; d=$(mktemp); \"$OUTBOX_TEST_PGBIN/pg_dump\" >$d; "
             "PGHOST='%s' PGPORT=5432 \"$OUTBOX_TEST_PGBIN/psql\" -v ON_ERROR_STOP=1 -q -f $d >/dev/null; rm -f $d",
             s->host);
    return system(command) == 0;
}

/* The relays stop when they are about half through; what the producers commit after that stays behind. */
static void first_half(struct e2e *run)
{
    int half;

    e2e_start_relays(run);
    e2e_start_producers(run);
    WAIT_FOR(e2e_delivered(run) > run->plan->messages / 3, half);
    CHECK(half, "nothing is delivered");
    e2e_stop_relays(run);
    e2e_join_producers(run);
}

static void second_half(struct e2e *run)
{
    e2e_start_relays(run);
    e2e_start_producers(run);
    e2e_join_producers(run);
    e2e_wait_drained(run);
    e2e_stop_relays(run);
    e2e_verdict(run);
}

/* With nothing kept, nothing may be left behind in the new cluster, for instance because it looks like the future. */
static void check_cleaned(struct fixture *fx)
{
    int clean;

    REQUIRE((fx->conn = fixture_connect(fx)) != NULL && db_open(&fx->db, fx->dsn, 1) == 0, "no connection");
    WAIT_FOR((outbox_clean(fx->conn, fx->conf, NULL, NULL),
              db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix)) == 0, clean);
    CHECK(clean, "%lld published rows are left", (long long)db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix));
}

static void run_across(const struct target *target, const struct e2e_plan *plan)
{
    struct fixture fx;
    struct server second = {0, -1, "", ""};
    struct e2e run;

    tap_begin("%s: %s", target->name, plan->name);
    if (fixture_prepare(&fx, target) == 0 && e2e_begin(&run, &fx, plan)) {
        first_half(&run);
        if (CHECK(server_start(&second), "no second server") && CHECK(dump_and_restore(&second), "not restored")) {
            snprintf(fx.dsn, sizeof fx.dsn, "%s", second.dsn);
            second_half(&run);
            if (plan->retention == NULL)
                check_cleaned(&fx);
        }
        fixture_disconnect(&fx);
        server_stop(&second);
        e2e_end(&run);
    }
    fixture_close(&fx);
    tap_end();
}

int main(int argc, char **argv)
{
    static const struct e2e_plan plans[] = {
        {.name = "dump and restore in the middle", .messages = 15000, .keys = 200, .producers = 4, .relays = 2,
         .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .fail_every = 100, .fails = 2,
         .pause_percent = 2, .pause_ms = 100},
        {.name = "dump and restore with published ones kept", .messages = 15000, .keys = 200, .producers = 4, .relays = 2,
         .workers = 2, .max_tx = 20, .rollback_percent = 20, .row_lock = 1, .fail_every = 100, .fails = 2,
         .pause_percent = 5, .pause_ms = 50, .retention = "forever"},
    };
    static const char *const names[] = {"postgresql/position", "postgresql/delete"};

    if (postgresql_dsn() == NULL || getenv("OUTBOX_TEST_PGBIN") == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    for (size_t t = 0; t < COUNT_OF(names); t++)
        for (size_t i = 0; i < COUNT_OF(plans); i++)
            if (argc < 2 || strstr(plans[i].name, argv[1]) != NULL)
                run_across(target_find(names[t]), &plans[i]);
    return tap_finish();
}
