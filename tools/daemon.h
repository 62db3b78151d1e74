/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The outboxes that outboxd serves: each with a relay, a publisher and threads of its own, so that none waits for
 * another.
 *
 * Threads: the main thread makes, starts, stops and frees outboxes; it takes the signals. Each outbox has a runner,
 * which connects it, tries again, and waits for its relay's end. `lock` guards the list, and of each outbox its state,
 * stop, status, leaving, users, tries, resting and poked; a runner that changes its state wakes the main thread by
 * SIGUSR1. The relays' locks are taken under it. */
#ifndef OUTBOX_TOOLS_DAEMON_H
#define OUTBOX_TOOLS_DAEMON_H

#include "cli.h"
#include "daemon_log.h"

#include <outbox/metrics.h>

#include <pthread.h>

enum daemon_state {
    DAEMON_NEW,      /* not started: one of the same name has to end first */
    DAEMON_STARTING, /* connects for the first time */
    DAEMON_WAITING,  /* the database is not there: it tries again */
    DAEMON_RUNNING,
    DAEMON_FAILED,   /* somebody has to do something; it tries again nevertheless */
    DAEMON_ENDED,
    DAEMON__STATES
};

enum daemon_stop { DAEMON_GO_ON, DAEMON_STOP, DAEMON_HURRY };

struct daemon;

struct daemon_outbox {
    struct daemon_outbox *next;
    struct daemon *daemon;
    struct cli_settings settings;
    const char *dsn;                /* the settings', or the command line's */
    struct daemon_log_source log;
    outbox_publisher *publisher;
    outbox_relay *relay;
    pthread_t runner;
    bool started;                   /* the runner: main thread only */
    int users;                      /* that have pinned it */
    bool leaving;                   /* it is not in the configuration any more */
    enum daemon_state state;
    enum daemon_stop stop;
    bool poked;                     /* try again now */
    int status;                     /* a CLI_… */
    uint64_t tries;                 /* to start */
    bool resting;                   /* between two of them */
    uint64_t seen;                  /* what the watchdog counted the last time: main thread only */
};

struct daemon {
    struct daemon_log *log;
    bool once;                      /* publish what is ready, then end */
    pthread_t main;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    outbox_metrics *metrics;        /* of the outboxes that have a runner, or NULL: nobody asks */
    struct daemon_outbox *first;
};

void daemon_init(struct daemon *d, struct daemon_log *log, bool once);
/* Frees what is left, none of which runs. */
void daemon_destroy(struct daemon *d);

/* Makes an outbox, which takes the settings over; nothing runs and nothing is connected yet, but the publisher is
 * open. Returns CLI_OK or, after saying why, another. */
int daemon_make(struct daemon *d, const struct cli *cli, struct cli_settings *settings, const char *dsn,
                const char *publisher, struct daemon_outbox **made);
void daemon_free(struct daemon_outbox *o);

/* Adds what was made. It starts with daemon_turn(), once no other of its name runs. */
void daemon_add(struct daemon *d, struct daemon_outbox *o);
/* The one of this name that is not leaving, or NULL. */
struct daemon_outbox *daemon_find(struct daemon *d, const char *name);
/* Stops it; daemon_turn() frees it when it has ended. */
void daemon_leave(struct daemon_outbox *o);
void daemon_stop(struct daemon *d, enum daemon_stop how);
/* Those that wait for their database try again now. */
void daemon_poke(struct daemon *d);

/* How many are in each state, apart from leaving ones, of which those count that still run. */
struct daemon_count {
    size_t of[DAEMON__STATES], all, leaving, tried;
    int status; /* the worst of those that ended */
};

/* Starts what can be, frees what has left, counts. */
int daemon_turn(struct daemon *d, struct daemon_count *count);

/* Calls for each outbox of the configuration, in its order; it stays during the call. Any thread; `see` should return
 * soon, must not block on the relay, and must call nothing of this header. An outbox of no name is "outbox", as in
 * the metrics, which have all but the new ones. */
typedef void daemon_see_fn(void *user, const char *name, enum daemon_state state, outbox_relay *relay);
void daemon_walk(struct daemon *d, daemon_see_fn *see, void *user);
/* The one of this name, which stays until it is unpinned, with its DSN and settings, but may end: to ask its database.
 * NULL: there is none; the only one when no name is given. */
struct daemon_outbox *daemon_pin(struct daemon *d, const char *name);
void daemon_unpin(struct daemon_outbox *o);
/* As daemon_see_fn's. */
const char *daemon_outbox_name(const struct daemon_outbox *o);
const char *daemon_state_name(enum daemon_state state);

#endif
