/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A producer process: business transactions on an ODBC connection of its own, with autocommit off, of which some
 * roll back and some pause. Only what was committed goes to its log.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"

enum { MOST_IN_TX = 1000, KEYS_IN_TX = 3 };

struct producer {
    const struct e2e *run;
    const struct e2e_plan *plan;
    struct db db;
    outbox_conn *conn;
    FILE *log;
    unsigned random;
    int index;
    long *numbers; /* own keys: how many of each were committed */
    long transaction; /* which one; with faults also in a row of the database, written by the transaction itself */
    long sent;     /* all messages so far, for fail_every */
};

/* What one message of the transaction in hand is. */
struct item {
    int key; /* -1: none */
    long number;
    char topic[16], key_text[32], payload[224];
};

static unsigned next_random(struct producer *p, unsigned below)
{
    p->random = p->random * 1664525u + 1013904223u;
    return (p->random >> 8) % below;
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Picks up to KEYS_IN_TX keys, ascending, so that row locks are taken in one order. Returns how many. */
static int pick_keys(struct producer *p, int *keys)
{
    int count = 0, shared = p->plan->row_lock;
    int range = shared ? p->plan->keys : p->plan->keys / p->plan->producers;

    for (int i = 0; i < KEYS_IN_TX && range > 0; i++) {
        int key = (int)next_random(p, (unsigned)range), known = 0;

        key = shared ? key : key * p->plan->producers + p->index;
        for (int k = 0; k < count; k++)
            known |= keys[k] == key;
        if (!known)
            keys[count++] = key;
    }
    qsort(keys, (size_t)count, sizeof *keys, compare_ints);
    return count;
}

/* Where the numbers of a key start in this transaction: from the locked row, or from our own count. */
static long take_numbers(struct producer *p, int key, int count)
{
    int64_t last;

    if (!p->plan->row_lock)
        return p->numbers[key] + 1;
    if (db_exec(&p->db, "UPDATE %se2e_keys SET n = n + %d WHERE k = %d", p->run->fx->prefix, count, key) != 0)
        return -1;
    /* Less than 0: it failed, and what would follow would be in another transaction. */
    last = db_int(&p->db, "SELECT n FROM %se2e_keys WHERE k = %d", p->run->fx->prefix, key);
    return last < 0 ? -1 : last - count + 1;
}

static void describe(struct producer *p, struct item *item, int key, long number)
{
    int fails = p->plan->fail_every && ++p->sent % p->plan->fail_every == 0 ? p->plan->fails : 0;

    item->key = key;
    item->number = number;
    snprintf(item->topic, sizeof item->topic, "t%d", key < 0 ? 0 : key % 3);
    snprintf(item->key_text, sizeof item->key_text, "k%d", key);
    snprintf(item->payload, sizeof item->payload,
             "%ld %d %s and some more text, so that a message has about the size of a small real one: %s", number, fails,
             key < 0 ? "-" : item->key_text, "{\"order\":4711,\"state\":\"paid\",\"amount\":\"12.50\"}");
}

/* Fills the transaction's messages; returns how many, 0 to begin again, or -1. */
static int plan_transaction(struct producer *p, struct item *items, int count)
{
    int keys[KEYS_IN_TX], key_count = pick_keys(p, keys), shares[KEYS_IN_TX + 1] = {0}, used = 0;
    long from[KEYS_IN_TX] = {0};

    for (int i = 0; i < count; i++) /* about one in twenty has no key */
        shares[key_count == 0 || next_random(p, 20) == 0 ? KEYS_IN_TX : (int)next_random(p, (unsigned)key_count)]++;
    for (int k = 0; k < key_count; k++)
        if (shares[k] > 0 && (from[k] = take_numbers(p, keys[k], shares[k])) < 1)
            return 0;
    /* Keys alternate, so that a batch has all of them. */
    for (long n = 0; used < count; n++) {
        for (int k = 0; k < key_count; k++)
            if (n < shares[k])
                describe(p, &items[used++], keys[k], from[k] + n);
        if (n < shares[KEYS_IN_TX])
            describe(p, &items[used++], -1, n + 1);
    }
    return used;
}

static int enqueue_items(struct producer *p, const struct item *items, int count, outbox_id *ids)
{
    static outbox_message messages[MOST_IN_TX];
    outbox_error *err = NULL;
    int rc = OUTBOX_OK, at = 0;

    for (int i = 0; i < count; i++)
        messages[i] = text_message(items[i].topic, items[i].key < 0 ? NULL : items[i].key_text, items[i].payload);
    /* Sometimes one call, sometimes several: the transaction is what counts. */
    while (at < count && rc == OUTBOX_OK) {
        int n = 1 + (int)next_random(p, (unsigned)(count - at));

        rc = outbox_enqueue(p->conn, &messages[at], (size_t)n, &ids[at], &err);
        at += n;
    }
    if (rc == OUTBOX_ERR_CONFLICT && p->plan->no_conflicts)
        rc = OUTBOX_ERR_DATABASE;
    if (rc != OUTBOX_OK && rc != OUTBOX_ERR_CONFLICT && !p->plan->faults)
        fprintf(stderr, "# producer %d: %s\n", p->index, outbox_error_message(err));
    outbox_error_free(err);
    return rc;
}

static void log_committed(struct producer *p, const struct item *items, const outbox_id *ids, int count)
{
    for (int i = 0; i < count; i++) {
        fprintf(p->log, "%s %s %s %ld\n", ids[i].text, items[i].topic, items[i].key < 0 ? "-" : items[i].key_text,
                items[i].number);
        if (items[i].key >= 0 && !p->plan->row_lock)
            p->numbers[items[i].key]++;
    }
    fflush(p->log);
}

static int producer_borrow(struct producer *p)
{
    outbox_error *err = NULL;

    /* A busy database is no news, and neither is one that a test takes away. */
    p->db.quiet = p->plan->faults || target_is_sqlite(p->run->fx->target);
    if (outbox_conn_borrow(p->db.dbc, p->run->fx->conf, &p->conn, &err) == OUTBOX_OK)
        return 1;
    if (!p->plan->faults)
        fprintf(stderr, "# producer %d: %s\n", p->index, outbox_error_message(err));
    outbox_error_free(err);
    return 0;
}

static int open_again(struct producer *p)
{
    outbox_conn_close(p->conn);
    p->conn = NULL;
    db_close(&p->db);
    return db_open_quietly(&p->db, p->run->fx->dsn, 0) == 0 && producer_borrow(p);
}

/* Whether the transaction in hand, whose commit failed or was not reached, was committed: it says so itself. */
static int ask_committed(struct producer *p)
{
    struct patience patience;
    int64_t last = -1;

    patience_start(&patience);
    while ((!open_again(p) || (last = db_int(&p->db, "SELECT n FROM %se2e_keys WHERE k = %d", p->run->fx->prefix,
                                             -100 - p->index)) < 0 || db_rollback(&p->db) != 0) &&
           patience_wait(&patience))
        ;
    if (last < 0)
        fprintf(stderr, "# producer %d cannot reach the database\n", p->index);
    return last < 0 ? -1 : last == p->transaction;
}

/* By SQL where the server may be gone: psqlODBC's SQLEndTran() then says success. */
static int commit(struct producer *p)
{
    if (p->plan->faults && target_is_postgresql(p->run->fx->target))
        return db_exec(&p->db, "COMMIT") == 0;
    return db_commit(&p->db) == 0;
}

static int mark(struct producer *p)
{
    p->transaction++;
    return !p->plan->faults || db_exec(&p->db, "UPDATE %se2e_keys SET n = %ld WHERE k = %d", p->run->fx->prefix,
                                       p->transaction, -100 - p->index) == 0;
}

/* One transaction; returns the messages that it committed, or -1. */
static int transact(struct producer *p, int count)
{
    static struct item items[MOST_IN_TX];
    static outbox_id ids[MOST_IN_TX];
    int planned, rc, committed;

    planned = mark(p) ? plan_transaction(p, items, count) : 0;
    rc = planned > 0 ? enqueue_items(p, items, planned, ids) : OUTBOX_ERR_CONFLICT;
    if ((int)next_random(p, 100) < p->plan->pause_percent)
        poll(NULL, 0, (int)next_random(p, (unsigned)p->plan->pause_ms + 1));
    /* With faults any statement may have failed because the connection is gone, which a rollback does not tell. */
    if (p->plan->faults && rc == OUTBOX_ERR_CONFLICT)
        return ask_committed(p) == 0 ? 0 : -1;
    if (rc == OUTBOX_ERR_CONFLICT || (int)next_random(p, 100) < p->plan->rollback_percent)
        return db_rollback(&p->db) == 0 || (p->plan->faults && ask_committed(p) == 0) ? 0 : -1;
    committed = rc == OUTBOX_OK && commit(p);
    if (p->plan->faults && !committed)
        committed = ask_committed(p);
    else if (!committed)
        return -1;
    if (committed > 0)
        log_committed(p, items, ids, planned);
    return committed > 0 ? planned : committed;
}

static int producer_open(struct producer *p, const struct e2e *run, int index, int log)
{
    char path[160];

    memset(p, 0, sizeof *p);
    p->run = run;
    p->plan = run->plan;
    p->index = index;
    p->random = (unsigned)log * 7919u + 17u;
    p->numbers = calloc((size_t)run->plan->keys + 1, sizeof *p->numbers);
    snprintf(path, sizeof path, "%s/committed.%d", run->directory, log);
    p->log = fopen(path, "w");
    if (p->numbers == NULL || p->log == NULL || db_open(&p->db, run->fx->dsn, 0) != 0)
        return -1;
    return producer_borrow(p) ? 0 : -1;
}

static void producer_close(struct producer *p)
{
    outbox_conn_close(p->conn);
    db_close(&p->db);
    free(p->numbers);
    if (p->log != NULL)
        fclose(p->log);
}

static volatile sig_atomic_t told_to_end;

static void end(int number)
{
    (void)number;
    told_to_end = 1;
}

int e2e_produce(const struct e2e *run, int index, int log)
{
    struct producer p;
    long left = run->plan->messages / run->plan->producers;
    int done = producer_open(&p, run, index, log);

    if (done < 0 && run->plan->faults && p.log != NULL)
        done = ask_committed(&p) < 0 ? -1 : 0;
    signal(SIGTERM, end);
    while (done >= 0 && left > 0 && !told_to_end) {
        int count = 1 + (int)next_random(&p, (unsigned)run->plan->max_tx);

        done = transact(&p, count < left ? count : (int)left);
        left -= done;
    }
    producer_close(&p);
    return done < 0;
}

/* One transaction of many messages, which is not committed before half of the others' have been delivered. */
int e2e_produce_bulk(const struct e2e *run, int log)
{
    struct producer p;
    struct item *items = calloc((size_t)run->plan->bulk, sizeof *items);
    outbox_id *ids = calloc((size_t)run->plan->bulk, sizeof *ids);
    int good = items != NULL && ids != NULL && producer_open(&p, run, 0, log) == 0;

    for (long i = 0; good && i < run->plan->bulk; i++) {
        describe(&p, &items[i], 1000000 + (int)(i % 100), i / 100 + 1);
        items[i].key %= 100; /* its own keys in text, but no counters of others */
    }
    for (long i = 0; good && i < run->plan->bulk; i += 500) {
        int n = run->plan->bulk - i < 500 ? (int)(run->plan->bulk - i) : 500;

        good = enqueue_items(&p, &items[i], n, &ids[i]) == OUTBOX_OK;
    }
    if (good && !target_is_sqlite(run->fx->target))
        WAIT_FOR(e2e_delivered(run) >= run->plan->messages / 2, good);
    if (good && (good = db_commit(&p.db) == 0))
        for (long i = 0; i < run->plan->bulk; i++)
            fprintf(p.log, "%s %s %s %ld\n", ids[i].text, items[i].topic, items[i].key_text, items[i].number);
    if (items != NULL && ids != NULL)
        producer_close(&p);
    free(items);
    free(ids);
    return !good;
}

/* A transaction that wrote, on SQLite one that read: both hold back whatever waits for the oldest. */
int e2e_foreign(const struct e2e *run, int until_closed)
{
    struct db db;
    char byte;
    int good = db_open(&db, run->fx->dsn, 0) == 0;

    if (good && !target_is_sqlite(run->fx->target))
        good = db_exec(&db, "INSERT INTO %se2e_keys (k, n) VALUES (-1, 0)", run->fx->prefix) == 0;
    else if (good)
        good = db_int(&db, "SELECT count(*) FROM %slanes", run->fx->prefix) > 0;
    while (good && read(until_closed, &byte, 1) > 0)
        ;
    db_close(&db);
    return !good;
}
