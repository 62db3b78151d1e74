/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What wake-ups cost and what they bring, on PostgreSQL: prints ratios, no verdict.
 *
 *   commits   of one-message transactions: with our trigger, and with one that always notifies, against none
 *   latency   from the commit's return to the publisher, against a bare loop of LISTEN and DELETE
 *   idle      queries, processor and waits of a relay that has nothing to do
 *   forms     what other ways to write the trigger cost
 *
 * Variants take turns in slices of a second or so, so that what else the machine does meets all of them, and figures are
 * medians over the rounds. Our trigger is measured beside none at the same time, by half of the writers each.
 *
 *     OUTBOX_BENCH_ROUNDS   rounds (7)
 *     argv[1]               only this part
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wake.h"

const char *const trigger_names[TRIGGERS] = {"no trigger", "our trigger", "always NOTIFY"};

long rounds(void)
{
    return env_number("OUTBOX_BENCH_ROUNDS", 7);
}

/* ---- An outbox ---- */

static int set_trigger(struct outbox *o)
{
    struct db *db = &o->fx.db;
    const char *p = o->fx.prefix;

    if (o->trigger == OURS)
        return 0;
    if (o->trigger == NO_TRIGGER)
        return db_exec(db, "ALTER TABLE %smessages DISABLE TRIGGER %swake", p, p);
    return db_exec(db, "CREATE OR REPLACE FUNCTION %snotify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "PERFORM pg_notify('%s', tg_relid::text); RETURN NULL; END $$", p, o->channel) != 0;
}

int outbox_make(struct outbox *o, enum trigger trigger)
{
    memset(o, 0, sizeof *o);
    o->trigger = trigger;
    if (fixture_prepare(&o->fx, target_find("postgresql/position")) != 0)
        return -1;
    snprintf(o->channel, sizeof o->channel, "%.20schannel", o->fx.prefix);
    fixture_set(&o->fx, "wake.channel", o->channel);
    fixture_set(&o->fx, "relay.cleaner", "off");
    if (fixture_migrate(&o->fx) != 0 || !CHECK_INT(set_trigger(o), 0))
        return -1;
    return 0;
}

int outbox_run(struct outbox *o, outbox_publisher *publisher)
{
    struct fixture *fx = &o->fx;

    o->publisher = publisher;
    fixture_set(fx, "wake.listen", o->trigger == NO_TRIGGER ? "off" : "on");
    if (publisher == NULL && !OK(outbox_publisher_open("null:", fx->conf, &o->publisher, &fx->err)))
        return -1;
    if (!OK(outbox_relay_new(fx->dsn, fx->conf, o->publisher, NULL, &o->relay, &fx->err)))
        return -1;
    return OK(outbox_relay_start(o->relay, &fx->err)) ? 0 : -1;
}

void outbox_end(struct outbox *o)
{
    outbox_relay_free(o->relay);
    outbox_publisher_free(o->publisher);
    o->relay = NULL;
    o->publisher = NULL;
}

void outbox_close(struct outbox *o)
{
    outbox_end(o);
    fixture_close(&o->fx);
}

void outbox_wait_for_watch(struct outbox *o, PGconn *conn)
{
    int held;

    if (o->trigger == NO_TRIGGER || o->relay == NULL)
        return;
    WAIT_FOR(pq_number(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND "
                       "classid = '%smessages'::regclass::oid AND objid = 1", o->fx.prefix) > 0, held);
    CHECK(held, "the relay is not on watch");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(PGconn *conn);
    } parts[] = {{"commits", bench_commits}, {"latency", bench_latency}, {"idle", bench_idle}, {"forms", bench_forms}};
    int good = 1;
    PGconn *conn;

    if (argc == 5 && strcmp(argv[1], "--relay") == 0)
        return idle_process(argv[2], argv[3], argv[4]);
    if (postgresql_dsn() == NULL) {
        printf("wake: no PostgreSQL\n");
        return 0;
    }
    tap_begin("wake");
    conn = pq_connect();
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (argc < 2 || strcmp(parts[i].name, argv[1]) == 0)
            good &= parts[i].run(conn);
    PQfinish(conn);
    return !good || tap_failed();
}
