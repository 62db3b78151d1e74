/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where workers wait for work: for a wake-up, or for the time to look by themselves.
 *
 * One lock guards it all. A worker looks (claims), tells what it found, and waits when that was nothing. A wake that
 * comes while all look is kept, and the next that would wait looks again instead: none is slept over.
 *
 * Waiting. All waiting workers share one time of the next look, and one of them takes it. After an empty look the next
 * wait is twice as long, from OUTBOX_IDLE_FIRST_US to the poll interval, and those before it gets there are shortened at
 * random, so that relays do not look in step. Work found starts this again, unless a wake-up is sure to come for all that
 * is committed from now on (`covered`): then the wait stays as long as it is. No wait is longer than the poll interval,
 * whatever becomes of wake-ups.
 *
 * How many look. A wake lets one worker look. One that finds more than a single message, or finds something twice in a
 * row, lets one more look, which does the same: as many wake as there is work for. While the one that found something
 * is busy, the next looks after OUTBOX_IDLE_HELP_US. */
#ifndef OUTBOX_IDLE_H
#define OUTBOX_IDLE_H

#include <pthread.h>
#include <stdint.h>

#define OUTBOX_IDLE_FIRST_US 1000  /* the first wait */
#define OUTBOX_IDLE_HELP_US 5000   /* a publisher that takes longer is worth a second worker */
#define OUTBOX_IDLE_QUIET_US 20000 /* so long without work: it is worth asking for wake-ups */
#define OUTBOX_IDLE_BUSY_US 10000  /* so long without a waiting worker: wake-ups are for others */
#define OUTBOX_IDLE_WHY 200        /* a text's room, as in outbox_wake_wait */

/* What the relay is like, for whoever can ask for wake-ups. */
enum outbox_mood { OUTBOX_MOOD_BETWEEN, OUTBOX_MOOD_QUIET, OUTBOX_MOOD_BUSY };

struct outbox_idle {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t interval;  /* longest wait between two looks */
    int64_t wait;      /* the next one */
    int64_t next_look; /* monotonic microseconds */
    int64_t due;       /* the next message known to come due; INT64_MAX: none */
    int64_t found_at;  /* when a look last found something */
    int64_t busy_at;   /* since when nobody waits */
    int workers, waiting;
    int in_phase;      /* waits are whole intervals from here on */
    int wanted;        /* so many of those that wait, or will, have to look */
    int covered, state;
    char why[OUTBOX_IDLE_WHY]; /* a source of wake-ups does not work */
    int stop;
    int asked;         /* mood() was asked and its answer holds until something changes: then poke */
    void (*poke)(void *ctx);
    void *poke_ctx;
};

void outbox_idle__init(struct outbox_idle *idle, int workers, int64_t interval);
void outbox_idle__destroy(struct outbox_idle *idle);

/* poke is called, without the lock, when a mood that was told changes; before the workers start. */
void outbox_idle__watch(struct outbox_idle *idle, void (*poke)(void *ctx), void *ctx);

void outbox_idle__stop(struct outbox_idle *idle);
void outbox_idle__reset(struct outbox_idle *idle); /* takes a stop back, once nobody waits */

/* There may be work. Not `sure`: it may become visible a little later only, so looks go on for a while. */
void outbox_idle__wake(struct outbox_idle *idle, int sure);

/* What the sources say: whether a wake-up is sure to come for everything that is committed from now on, and how they
 * are (an outbox_wake_state); why one of them does not work, or "". */
void outbox_idle__cover(struct outbox_idle *idle, int covered, int state, const char *why);
int outbox_idle__state(struct outbox_idle *idle);
void outbox_idle__why(struct outbox_idle *idle, char why[OUTBOX_IDLE_WHY]);

/* After a look. `more`: there is probably more than this worker can do. */
void outbox_idle__found(struct outbox_idle *idle, int more);
void outbox_idle__nothing(struct outbox_idle *idle);

/* A message was put off for so many microseconds. Of several, the first is looked for; the look finds the others. */
void outbox_idle__due(struct outbox_idle *idle, int64_t us);

/* Waits until it is time to look, or for a stop. Returns 1 after a wake, 0 when it looks by itself. */
int outbox_idle__wait(struct outbox_idle *idle);

/* The mood now, and when to ask again although nothing changed (INT64_MAX: never). */
enum outbox_mood outbox_idle__mood(struct outbox_idle *idle, int64_t *again);

#endif
