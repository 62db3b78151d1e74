/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ways there are to write the trigger, and what each costs a transaction of one insert while no relay waits: in a
 * loop in the server, commits not waited for, so that nothing but the statement and its trigger counts.
 */
#include <stdio.h>
#include <string.h>

#include "wake.h"

enum { TRANSACTIONS = 1000, ROUNDS_MAX = 100 };

static const struct form {
    const char *name, *when, *body; /* body: of the function, NULL for none; when: "" for always */
} forms[] = {
    {"no trigger", NULL, NULL},
    {"WHEN, lock tried and let go (ours)", "WHEN (NOT (pg_try_advisory_lock_shared(%d, 1) AND "
     "pg_advisory_unlock_shared(%d, 1)))", "PERFORM pg_notify('c', 'x')"},
    {"WHEN, lock kept to the commit", "WHEN (NOT pg_try_advisory_xact_lock_shared(%d, 1))", "PERFORM pg_notify('c', 'x')"},
    {"WHEN, a sequence as a flag", "WHEN (pg_sequence_last_value('bench_flag') IS NOT NULL)", "PERFORM pg_notify('c', 'x')"},
    {"IF in PL/pgSQL", "", "IF NOT (pg_try_advisory_lock_shared(77, 1) AND pg_advisory_unlock_shared(77, 1)) THEN "
     "PERFORM pg_notify('c', 'x'); END IF"},
    {"IF in PL/pgSQL, a look at pg_locks", "", "IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND "
     "classid = 77 AND objid = 1) THEN PERFORM pg_notify('c', 'x'); END IF"},
    {"a function that does nothing", "", "NULL"},
    {"always NOTIFY", "", "PERFORM pg_notify('c', 'x')"},
};

static void make_form(PGconn *conn, size_t i)
{
    char when[300];

    pq_number(conn, "CREATE TABLE bench_form%zu (LIKE bench_model INCLUDING ALL)", i);
    if (forms[i].body == NULL)
        return;
    snprintf(when, sizeof when, "%s", forms[i].when);
    for (char *at = strstr(when, "%d"); at != NULL; at = strstr(when, "%d"))
        memcpy(at, "77", 2);
    pq_number(conn, "CREATE FUNCTION bench_form%zu() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s; RETURN NULL; END $$",
              i, forms[i].body);
    pq_number(conn, "CREATE TRIGGER wake AFTER INSERT ON bench_form%zu FOR EACH STATEMENT %s EXECUTE FUNCTION "
              "bench_form%zu()", i, when, i);
}

/* Microseconds of the server's processor a transaction. */
static double run_form(PGconn *conn, size_t i)
{
    int64_t before = process_cpu_ns(PQbackendPID(conn));

    pq_number(conn, "DO $$ BEGIN FOR i IN 1..%d LOOP INSERT INTO bench_form%zu (lane, id, topic, payload) VALUES "
              "(i %% 64, gen_random_uuid(), 't', '\\x0123456789abcdef'); COMMIT; END LOOP; END $$", TRANSACTIONS, i);
    return (double)(process_cpu_ns(PQbackendPID(conn)) - before) / 1000 / TRANSACTIONS;
}

int bench_forms(PGconn *conn)
{
    static double times[COUNT_OF(forms)][ROUNDS_MAX];
    size_t n = (size_t)(rounds() * 7 < ROUNDS_MAX ? rounds() * 7 : ROUNDS_MAX); /* they are short */
    struct outbox o;
    double base = 0;
    char what[100];

    if (outbox_make(&o, OURS) != 0)
        return 0;
    pq_number(conn, "SET client_min_messages = warning");
    pq_number(conn, "CREATE TABLE bench_model (LIKE %smessages INCLUDING ALL)", o.fx.prefix);
    pq_number(conn, "CREATE SEQUENCE bench_flag");
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        make_form(conn, i);
    pq_number(conn, "SET synchronous_commit = off");
    for (size_t round = 0; round < n; round++)
        for (size_t k = 0; k < COUNT_OF(forms); k++) {
            size_t i = (k + round) % COUNT_OF(forms);

            times[i][round] = run_form(conn, i);
        }
    pq_number(conn, "RESET synchronous_commit");
    printf("\nForms of the trigger while no relay waits: processor time of a transaction of one insert, in the server alone\n\n");
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        double us = median(times[i], n);

        base = i == 0 ? us : base;
        printf("| %-36s | %7.1f us | + %5.1f us | %5.2f x |\n", forms[i].name, us, us - base, us / base);
        snprintf(what, sizeof what, "forms/%s", forms[i].name);
        record_figure("wake", what, "us", us);
        pq_number(conn, "DROP TABLE bench_form%zu CASCADE", i);
        if (forms[i].body != NULL)
            pq_number(conn, "DROP FUNCTION bench_form%zu()", i);
    }
    pq_number(conn, "DROP SEQUENCE bench_flag");
    pq_number(conn, "DROP TABLE bench_model");
    outbox_close(&o);
    return 1;
}
