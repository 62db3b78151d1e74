/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The circuit breaker: tells a broker that is down from a message that it does not take.
 *
 * From outside both look alike: deliveries fail. What differs is whether anything else gets through. So:
 *
 *   - A publisher that knows says so: OUTBOX_UNAVAILABLE, or a call that returns OUTBOX_ERR_LOST or OUTBOX_ERR_CONNECT.
 *     That opens the breaker at once.
 *   - Otherwise it opens when breaker.threshold *different* messages failed in a row and none got through between. A
 *     few poison messages alone in an idle outbox never reach that number: they are charged and die by the usual rules.
 *   - A wait of the broker's own ("retry after"), a rejection and a success are signs of life.
 *
 * While it is open nothing is charged and one message at a time, over the whole relay, is tried: each time another one,
 * so that a message that looks like an outage does not keep it open. The first that gets through closes it. That is a
 * proof that the others were not kept back by the broker: those that had opened it are *accused*, and count as ordinary
 * failures when they fail again. So poison that is told as an outage is charged too, as soon as anything else passes,
 * and each round of it takes messages out of the way: it cannot go round for ever.
 *
 * What cannot be told apart: as many poison messages as breaker.threshold, or one that the publisher calls an outage,
 * when they are all that there is. They wait, uncharged, until another message passes; the log says so.
 *
 * Threads: shared by a relay's workers; `lock` guards all of it, and may be taken under the relay's. A delivery
 * remembers the epoch in which it began: one that began before the outage and succeeds is no sign that it is over. */
#ifndef OUTBOX_BREAKER_H
#define OUTBOX_BREAKER_H

#include "conf_internal.h"

#include <pthread.h>

#define OUTBOX_BREAKER_MAX 64

struct outbox_breaker {
    pthread_mutex_t lock;
    const outbox_conf *conf;
    int open, probing, tries;
    uint64_t epoch;       /* raised when it opens */
    uint64_t opened, probes;
    int64_t since, until; /* monotonic microseconds: open since then, next probe */
    int64_t streak[OUTBOX_BREAKER_MAX];  /* seqs that failed in a row */
    int64_t accused[OUTBOX_BREAKER_MAX]; /* the last streak, once something got through */
    size_t streak_count, accused_count;
};

enum outbox_breaker_change { BREAKER_SAME, BREAKER_OPENED, BREAKER_CLOSED, BREAKER_STAYS_OPEN, BREAKER_ACCUSED };

void outbox_breaker__init(struct outbox_breaker *b, const outbox_conf *conf);
void outbox_breaker__destroy(struct outbox_breaker *b);

/* Before a claim: 0 means go, and *probe whether only one message may; otherwise microseconds to wait. */
int64_t outbox_breaker__enter(struct outbox_breaker *b, int64_t now, int *probe);

/* Whoever was let in to probe is done: when nothing was decided, another may. What decides clears *probe. */
void outbox_breaker__leave(struct outbox_breaker *b, int *probe);

/* The number of the message that is going to be tried. */
uint64_t outbox_breaker__turn(struct outbox_breaker *b);

int outbox_breaker__is_open(struct outbox_breaker *b, uint64_t *epoch);
void outbox_breaker__look(struct outbox_breaker *b, uint64_t *open, uint64_t *opened, uint64_t *probes);

/* A message got through, in a delivery that began in that epoch. *us: how long the breaker was open. */
enum outbox_breaker_change outbox_breaker__passed(struct outbox_breaker *b, uint64_t epoch, int *probe, int64_t now,
                                                  int64_t *us);

/* A message failed and nobody knows why. Opened, or open still: it costs nothing. */
enum outbox_breaker_change outbox_breaker__failed(struct outbox_breaker *b, int64_t seq, int *probe, int64_t now);

/* The publisher says that the broker is away. BREAKER_ACCUSED: of these messages one said so before, and others got
 * through since: it is one of them. */
enum outbox_breaker_change outbox_breaker__unavailable(struct outbox_breaker *b, const int64_t *seqs, size_t count,
                                                       int *probe, int64_t now);

#endif
