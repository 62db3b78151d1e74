/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ways there are to write the trigger, and what each costs a transaction of one insert while no relay waits: in a
 * loop in the server, commits not waited for, so that nothing but the statement and its trigger counts.
 */
#include <stdio.h>
#include <string.h>

#include "wake.h"

enum { TRANSACTIONS = 1000, ROUNDS_MAX = 100 };

#define TRY "pg_try_advisory_lock_shared(77, 1) AND pg_advisory_unlock_shared(77, 1)"
#define NOTIFY "PERFORM pg_notify('c', 'x')"

/* body: of the function, NULL for no trigger. */
static const struct form {
    const char *name, *moment, *when, *body;
} forms[] = {
    {"no trigger", "", "", NULL},
    {"after, IF a lock is held (PL/pgSQL)", "AFTER", "", "IF NOT (" TRY ") THEN " NOTIFY "; END IF"},
    {"before, IF a lock is held (PL/pgSQL)", "BEFORE", "", "IF NOT (" TRY ") THEN " NOTIFY "; END IF"},
    {"after, WHEN a lock is held", "AFTER", "WHEN (NOT (" TRY "))", NOTIFY},
    {"before, WHEN a lock is held", "BEFORE", "WHEN (NOT (" TRY "))", NOTIFY},
    {"after, WHEN, shared to the commit", "AFTER", "WHEN (NOT pg_try_advisory_xact_lock_shared(77, 1))", NOTIFY},
    {"before, IF, shared to the commit", "BEFORE", "", "IF NOT pg_try_advisory_xact_lock_shared(77, 1) THEN " NOTIFY
     "; END IF"},
    {"after, WHEN a sequence was used", "AFTER", "WHEN (pg_sequence_last_value('bench_flag') IS NOT NULL)", NOTIFY},
    {"after, IF pg_locks has a lock", "AFTER", "", "IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND "
     "classid = 77 AND objid = 1) THEN " NOTIFY "; END IF"},
    {"before, nothing at all (PL/pgSQL)", "BEFORE", "", "NULL"},
    {"after, always NOTIFY", "AFTER", "", NOTIFY},
};

static void make_form(PGconn *conn, size_t i)
{
    pq_number(conn, "CREATE TABLE bench_form%zu (LIKE bench_model INCLUDING ALL)", i);
    if (forms[i].body == NULL)
        return;
    pq_number(conn, "CREATE FUNCTION bench_form%zu() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s; RETURN NULL; END $$",
              i, forms[i].body);
    pq_number(conn, "CREATE TRIGGER wake %s INSERT ON bench_form%zu FOR EACH STATEMENT %s EXECUTE FUNCTION bench_form%zu()",
              forms[i].moment, i, forms[i].when, i);
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
