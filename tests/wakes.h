/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of wake-ups share: a relay that keeps its log, and what can be asked of it.
 *
 * Whether a wake-up came is seen without a clock: the relay polls once an hour, so that what is delivered was woken
 * for, and its counter of wake-ups went up.
 */
#ifndef OUTBOX_TESTS_WAKES_H
#define OUTBOX_TESTS_WAKES_H

#include <pthread.h>

#include "lib-test.h"

/* A relay and its publisher. `lock` guards all but the handles. */
struct station {
    struct fixture *fx;
    outbox_relay *relay;
    outbox_publisher *publisher;
    pthread_mutex_t lock;
    int published, inside;
    int open;        /* the publisher lets messages pass */
    char log[20000]; /* each line begins with the number of its level */
    size_t logged;
};

/* Makes the relay, with the fixture's settings. Returns 0 after a failed check. */
int station_open(struct station *s, struct fixture *fx);
/* The same, and starts it. */
int station_start(struct station *s, struct fixture *fx);
void station_stop(struct station *s);
/* Both: stops, and frees. */
void station_close(struct station *s);

int station_published(struct station *s);
int station_inside(struct station *s);
void station_gate(struct station *s, int open);
/* Lines of the log with a level of at most this, and this text. */
int station_logged(struct station *s, outbox_log_level level, const char *text);
outbox_relay_stats station_stats(struct station *s);

/* Wait, and check. */
int station_has(struct station *s, int published);
int station_state(struct station *s, outbox_wake_state state);
int station_says(struct station *s, outbox_log_level level, const char *text);
/* Sends a message, which a wake-up has to bring. */
int station_prompt(struct station *s);
/* It neither looks nor hears of anything any more. */
int station_rests(struct station *s);

/* ---- PostgreSQL ---- */

/* How many relays are on watch, and what process of the server one has. */
int64_t watches(struct fixture *fx);
int64_t watch_pid(struct fixture *fx);
/* Waits until that many are. */
int watched(struct fixture *fx, int64_t count);
/* Sets wake.conninfo; more may be "". host NULL: the server's own. */
void set_conninfo(struct fixture *fx, const char *host, int port, const char *more);
/* Runs the script of tests/with-postgres. */
int server(const char *what);

#endif
