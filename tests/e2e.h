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
 *     delivered:  ID TOPIC KEY N ATTEMPTS FAILS    FAILS is how often the publisher had been told to refuse it
 *
 * KEY is "-" for messages without one; those are not ordered.
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
    long charged;    /* attempts are not what the publisher refused */
    char first[200]; /* the first fault, in words */
};

/* Reads committed.0 … committed.(logs - 1) and delivered in a directory. Returns 0, or -1 when a log is unreadable. */
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
};

struct e2e {
    struct fixture *fx;
    const struct e2e_plan *plan;
    char directory[96];  /* of the logs */
    int logs;            /* committed logs so far */
    pid_t relays[8], producers[32], foreign;
    int relay_count, producer_count;
    int foreign_pipe;    /* closed to end the foreign transaction */
};

/* Runs a plan on the fixture's outbox (fixture_prepare() only) and checks that nothing at all is wrong. */
void e2e_run(struct fixture *fx, const struct e2e_plan *plan);

/* The parts of a run, for tests that do something in between. All processes are started while this one has no
 * connection open. */
int e2e_begin(struct e2e *run, struct fixture *fx, const struct e2e_plan *plan);
int e2e_start_relays(struct e2e *run);
int e2e_start_producers(struct e2e *run);
/* Each waits, and checks how the processes ended. */
void e2e_join_producers(struct e2e *run);
void e2e_stop_relays(struct e2e *run);
/* Waits until nothing waits in the outbox. */
void e2e_wait_drained(struct e2e *run);
long e2e_delivered(const struct e2e *run);
void e2e_verdict(struct e2e *run);
void e2e_end(struct e2e *run);

/* What the processes do; each returns its exit status. */
int e2e_produce(const struct e2e *run, int index, int log);
int e2e_produce_bulk(const struct e2e *run, int log);
int e2e_relay(const struct e2e *run, int index);
int e2e_foreign(const struct e2e *run, int until_closed);

#endif
