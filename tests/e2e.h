/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * End to end: processes that enqueue, processes that relay, and a checker that compares what was committed with
 * what came out.
 *
 * Producers append a line to a log of their own for each message that they committed. Relays append a line to one
 * common log for each message that their publisher accepted, before they say so. O_APPEND makes the common log's
 * order the order of the publishes, because a key is never in two hands.
 *
 *     committed:  ID TOPIC KEY N             N counts the messages of a topic and key in commit order, from 1
 *     delivered:  ID TOPIC KEY N ATTEMPTS FAILS [LANE TOKEN [SEQ]]    FAILS is how often the publisher was to refuse it
 *
 * KEY is "-" for messages without one; those are not ordered. LANE and TOKEN are what a broker needs that fences:
 * a relay that slept past its lease, in the middle of a publish, goes on with an old token. The checker is such a
 * broker: what comes with an older token of a lane than it has seen counts as not delivered at all.
 */
#ifndef OUTBOX_TESTS_E2E_H
#define OUTBOX_TESTS_E2E_H

#include <sys/types.h>

#include "lib-test.h"

/* ---- The checker ---- */

struct e2e_report {
    long committed, delivered;
    long lost;       /* committed, not delivered */
    long phantom;    /* delivered, not committed */
    long duplicates; /* delivered again */
    long disorder;   /* delivered after a later one of its key */
    long altered;    /* topic, key or number are not as committed */
    long stuck;      /* still waits in the outbox, which was to be drained; not lost therefore */
    long charged;    /* attempts are not what the publisher refused */
    long charges;    /* attempts beyond that, of all messages together */
    long stale;      /* came with a token that had been superseded; refused */
    char first[200]; /* the first fault, in words */
};

/* Reads committed.0 … committed.(logs - 1), delivered and, if it is there, waiting (an ID a line) in a directory. Returns
 * 0, or -1 when a log is unreadable. */
int e2e_check(const char *directory, int logs, struct e2e_report *report);
long e2e_faults(const struct e2e_report *report);

/* ---- A run ---- */

struct e2e_plan {
    const char *name;
    long messages;       /* of all producers together */
    int keys;            /* 0: every message without one */
    int producers;       /* processes */
    int relays;          /* processes */
    int workers;         /* threads a relay */
    int max_tx;          /* 1 … so many messages a transaction */
    int rollback_percent;
    int row_lock;        /* keys are shared, and locked by a row of a business table; else each producer has its own */
    int pause_percent;   /* so many transactions pause before they end */
    int pause_ms;        /* for up to so long */
    int fail_every;      /* each so-manieth message is refused fails times; 0: none */
    int fails;
    long bulk;           /* one more producer commits so many in one late transaction */
    int foreign;         /* a foreign transaction stays open for the whole run */
    const char *retention;
    const char *lease;   /* of the relays */
    int no_conflicts;    /* outbox_enqueue() must never say that the transaction has to be repeated */
    int slow_every;      /* the publisher takes a millisecond over each so-manieth message; 0: never */
    int batch;           /* relay.batch_size; 0: as it is by default */
    int faults;          /* producers connect again when the server goes away; messages never die of relays that do */
    /* Called first in each process, to say where it is, and so by which DSN it connects; NULL: all are here. */
    void (*place)(struct fixture *fx, int is_relay, int index);
};

struct e2e {
    struct fixture *fx;
    const struct e2e_plan *plan;
    char directory[96];  /* of the logs */
    int logs;            /* committed logs so far */
    pid_t relays[8], producers[32], foreign;
    int relay_count, producer_count, relays_started;
    int foreign_pipe;    /* closed to end the foreign transaction */
    long die_at;         /* a relay kills itself at the so-manieth message that its publisher gets; 0: it does not */
    int die_after;       /* once it noted that this one was sent, else before */
};

/* Runs a plan on the fixture's outbox (fixture_prepare() only) and checks that nothing at all is wrong. */
void e2e_run(struct fixture *fx, const struct e2e_plan *plan);
/* Runs each plan, a test, on two targets of a database: smaller on the second, and on both unless test_all().
 * OUTBOX_TEST_MESSAGES sizes the first plan. only: a part of the names of those to run; NULL: all. */
void e2e_run_plans(const struct target *first, const struct target *second, const struct e2e_plan *plans, size_t count,
                   const char *only);

/* The parts of a run, for tests that do something in between. All processes are started while this one has no
 * connection open. */
int e2e_begin(struct e2e *run, struct fixture *fx, const struct e2e_plan *plan);
int e2e_start_relays(struct e2e *run);
int e2e_start_producers(struct e2e *run);
/* One more relay; returns its place in relays. */
int e2e_start_relay(struct e2e *run);
/* Kills the relay in a place, and closes the gap. */
void e2e_kill_relay(struct e2e *run, int place);
/* Each waits, and checks how the processes ended. */
void e2e_join_producers(struct e2e *run);
/* Tells them to end after the transaction in hand, however many messages are to come. */
void e2e_stop_producers(struct e2e *run);
void e2e_stop_relays(struct e2e *run);
/* Waits until nothing waits in the outbox. */
void e2e_wait_drained(struct e2e *run);
long e2e_delivered(const struct e2e *run);
/* What the relays told at their end, in sum; who is killed tells nothing. Returns 0 when nobody told anything. */
struct e2e_told {
    long published;
    long fenced;     /* batches that their relay could not settle any more */
    long taken_over; /* lanes, from a relay of which the lease was over */
};
int e2e_told(const struct e2e *run, struct e2e_told *told);
void e2e_verdict(struct e2e *run);
/* The same where relays crashed: the report is printed, and nothing may be lost, invented, altered or stuck, no more sent
 * again than most_again, and no more charged than suspect mode may. crashes: how often a relay lost what it held, by its
 * own end, its sleep, or the server's. Order and tokens are left to the caller. Returns whether there is a report. */
int e2e_judge(struct e2e *run, long crashes, long most_again, struct e2e_report *report);
void e2e_end(struct e2e *run);

/* ---- Chaos ---- */

/* What happens to relays and the server while a run goes on, spread over its messages. */
struct e2e_chaos {
    int kills;    /* a relay is killed, and another one started */
    int stops;    /* a relay sleeps past its lease and wakes up */
    int restarts; /* the server is stopped without a checkpoint, and started; not on SQLite */
    int steady;   /* producers go on until all of this was done, instead */
    int64_t until_us; /* 0: until the messages are through; else kills go on until then (monotonic) */
};

/* Runs a plan under chaos and checks: nothing lost, nothing invented, nothing out of order, no lane that went back,
 * and no more sent again than was in hand. */
void e2e_run_chaos(struct fixture *fx, const struct e2e_plan *plan, const struct e2e_chaos *chaos);

/* What the processes do; each returns its exit status. */
int e2e_produce(const struct e2e *run, int index, int log);
int e2e_produce_bulk(const struct e2e *run, int log);
int e2e_relay(const struct e2e *run, int index);
/* Relays what is there, and returns; on one thread. */
int e2e_relay_once(const struct e2e *run);
int e2e_foreign(const struct e2e *run, int until_closed);

#endif
