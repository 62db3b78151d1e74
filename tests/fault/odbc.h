/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths through the library that are walked with a fault at each of their ODBC calls, and the ledger of what must come
 * out whatever fails.
 */
#ifndef OUTBOX_TESTS_FAULT_ODBC_H
#define OUTBOX_TESTS_FAULT_ODBC_H

#include "interpose.h"
#include "lib-test.h"

enum { KEYS = 4, BATCH = 3, MOST = 64 };

/* A message that was committed. Its payload is its number, counted per key from 1. */
struct expected {
    char id[37];
    int key, number, delivered;
};

struct ledger {
    struct expected list[MOST];
    size_t count;
    int next[KEYS], highest[KEYS];
    int early;  /* messages that were published before anybody was told of the fault */
    int phantom, disorder, duplicates;
};

/* An outbox that is used for one fault after the other. */
struct world {
    struct fixture *fx;
    struct ledger ledger;
    struct db app;           /* an application's own connection */
    outbox_conn *conn;       /* of the path */
    outbox_consumer *consumer;
    outbox_consumer *drain;  /* where there are no faults */
    outbox_conf *conf;       /* of another outbox */
    char prefix[32];         /* its prefix */
    outbox_id id;            /* the message that a path is about */
    int64_t dead;            /* so many are, before it begins */
    int refused, rejected; /* what the publisher refused so far */
    int failures;  /* calls of the library that failed */
};

struct path {
    const char *name;
    void (*prepare)(struct world *w); /* without faults */
    int (*run)(struct world *w);      /* with one, and as a caller would: again, until it is done; 0 when it was not */
    void (*judge)(struct world *w);   /* without faults again; NULL: everything must be delivered */
};

extern const struct path paths[];
extern const size_t path_count;

/* A message to be enqueued: the next of its key (-1: none). */
struct outgoing {
    int key, number;
    char key_text[16], payload[16];
};

struct outgoing world_outgoing(struct world *w, int key);
/* Borrows from o. */
outbox_message world_message(const struct outgoing *o);
/* It was committed. */
void world_note(struct world *w, const char *id, const struct outgoing *o);
/* Enqueues messages without faults, one of each key in turn; notes them. */
void world_send(struct world *w, int count);
void world_deliver(struct world *w, const char *id, int number);
/* Relays all that is there, without faults; what is dead is redriven. */
void world_drain(struct world *w);


/* The path's own connection; made when there is none. */
int world_connect(struct world *w, outbox_error **err);
void world_disconnect(struct world *w);
/* After a call: 0 when it succeeded; else 1, with the connection closed unless the error says that it is still good. */
int world_again(struct world *w, int rc, outbox_error **err);

#endif
