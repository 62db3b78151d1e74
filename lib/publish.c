/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publish: a batch goes to the publisher as it is, or, when the publisher does not keep order by itself, in waves in which
 * no key comes twice; a key that failed is in no further wave.
 *
 * Who is to blame when a delivery fails? A message that was answered for itself is. When the call failed as a whole, what
 * was not answered goes again in two halves, the first with all its halves before the second, so that order is kept,
 * until a message fails alone: one among a thousand costs 1 + 2 × 10 calls. When the publisher hangs, nothing can go on
 * beside it: the lane becomes suspect, and its messages go one at a time, as after a crash. When nothing gets through at
 * all, it is the broker (breaker.h): what failed since the last success is spared, and the lane let go. Nor is anybody
 * to blame for what is cancelled because the relay stops. */
#include "keys.h"
#include "relay_internal.h"
#include "usdt.h"

#include <stdlib.h>
#include <string.h>

enum course { GO_ON, HALT, HALT_LATE };

/* A batch on its way. It stays the worker's, for its memory. */
struct outbox_course {
    struct outbox_worker *worker;
    outbox_batch *batch;
    size_t room;                /* messages of a batch, in the lists below */
    struct outbox_keys failed, seen;
    char *done;                 /* per item: it had its turn */
    struct outbox_item **wave;
    struct outbox_item **doubt; /* failed since the last success */
    int64_t *seqs;
    size_t doubts;
    outbox_delivery *given_up;
    int starved; /* of memory: what was not tried says nothing of the broker */
};

/* Collects the next wave; what had its turn is marked as done. */
static size_t next_wave(struct outbox_course *c)
{
    int in_order = (c->worker->relay->publisher->ops.flags & OUTBOX_PUBLISHER_IN_ORDER) != 0;
    outbox_batch *batch = c->batch;
    size_t i, n = 0;

    outbox_keys__clear(&c->seen);
    for (i = 0; i < batch->count; i++) {
        struct outbox_item *item = &batch->items[i];

        if (c->done[i])
            continue;
        if (outbox_keys__has(&c->failed, item->key_hash)) {
            c->done[i] = 1; /* held, settle.c sees to it */
            continue;
        }
        if (!in_order && outbox_keys__add(&c->seen, item->key_hash, (int64_t)i))
            continue;
        c->done[i] = 1;
        c->wave[n++] = item;
    }
    return n;
}

/* One message to try while the broker is down: another one each time, of those that nothing is before. */
static size_t probe_wave(struct outbox_course *c)
{
    uint64_t turn = outbox_breaker__turn(&c->worker->relay->breaker);
    outbox_batch *batch = c->batch;
    size_t i, n = 0;

    for (i = 0; i < batch->count; i++)
        if (!outbox_keys__add(&c->seen, batch->items[i].key_hash, (int64_t)i))
            c->wave[n++] = &batch->items[i];
    c->wave[0] = c->wave[turn % n];
    c->done[c->wave[0] - batch->items] = 1;
    return 1;
}

static int64_t time_left(outbox_relay *relay)
{
    int64_t timeout = outbox_conf__number(relay->conf, CONF_RELAY_PUBLISH_TIMEOUT), stop_at, now = outbox_thread__clock();

    pthread_mutex_lock(&relay->lock);
    stop_at = relay->stop_at;
    pthread_mutex_unlock(&relay->lock);
    if (stop_at != 0 && stop_at - now < timeout)
        timeout = stop_at > now ? stop_at - now : 0;
    return relay->hurry ? 0 : timeout;
}

/* Not when the relay has to end, nor, but for the one that tries, when the broker is down. */
static int may_go_on(const struct outbox_course *c)
{
    outbox_relay *relay = c->worker->relay;

    return time_left(relay) > 0 && (c->worker->probe || !outbox_breaker__is_open(&relay->breaker, NULL));
}

static void spare_doubts(struct outbox_course *c)
{
    while (c->doubts > 0)
        outbox_item__spare(c->doubt[--c->doubts]);
}

/* The breaker was told of something. */
static enum course heed(struct outbox_course *c, enum outbox_breaker_change change, const char *why)
{
    outbox_relay *relay = c->worker->relay;

    if (change == BREAKER_OPENED)
        outbox_log__write(relay->conf, OUTBOX_LOG_ERROR,
                          "the publisher %s gets no message through (%s): the relay tries one at a time until it does, and "
                          "charges no attempts meanwhile", outbox_publisher_name(relay->publisher), why);
    if (change != BREAKER_OPENED && change != BREAKER_STAYS_OPEN)
        return GO_ON;
    spare_doubts(c);
    return HALT;
}

static void note_life(struct outbox_course *c, uint64_t epoch)
{
    outbox_relay *relay = c->worker->relay;
    char lasted[OUTBOX_LOG_SECONDS];
    int64_t us = 0;

    c->doubts = 0;
    if (outbox_breaker__passed(&relay->breaker, epoch, &c->worker->probe, outbox_thread__clock(), &us) == BREAKER_CLOSED)
        outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "the publisher %s gets messages through again, after %s",
                          outbox_publisher_name(relay->publisher), outbox_log__seconds(us, lasted));
}

/* It failed, and it may be its own fault. */
static enum course note_failure(struct outbox_course *c, struct outbox_item *item, const char *why)
{
    enum outbox_breaker_change change = outbox_breaker__failed(&c->worker->relay->breaker, item->record.seq,
                                                               &c->worker->probe, outbox_thread__clock());

    outbox_keys__add(&c->failed, item->key_hash, 0);
    /* One that is accused already pays, whatever the others turn out to be. */
    if (change != BREAKER_ACCUSED)
        c->doubt[c->doubts++] = item;
    return heed(c, change, why);
}

static enum course blame(struct outbox_course *c, struct outbox_item *item, const char *why)
{
    if (outbox_batch_answer(c->batch, (size_t)(item - c->batch->items), OUTBOX_UNKNOWN, -1, why) != OUTBOX_OK)
        item->reason = NULL; /* out of memory: charged all the same, without a text */
    return note_failure(c, item, why);
}

/* The relay ends: what a publisher says that was told to end is no news of the broker. */
static enum course spare_cancelled(struct outbox_item *item)
{
    item->reason = NULL;
    outbox_item__spare(item);
    return HALT;
}

/* What the publisher said of one message. */
static enum course note_answer(struct outbox_course *c, struct outbox_item *item, uint64_t epoch)
{
    outbox_relay *relay = c->worker->relay;
    const char *why = item->reason != NULL ? item->reason : "no reason given";

    if (item->fate == FATE_UNAVAILABLE) {
        enum outbox_breaker_change change;
        enum course course;

        if (time_left(relay) == 0)
            return spare_cancelled(item);
        change = outbox_breaker__unavailable(&relay->breaker, &item->record.seq, 1, &c->worker->probe,
                                             outbox_thread__clock());
        if (change == BREAKER_ACCUSED)
            return blame(c, item, why);
        course = heed(c, change, why);
        item->reason = NULL;
        outbox_item__spare(item);
        return course;
    }
    if ((item->fate == FATE_RETRY || item->fate == FATE_UNKNOWN) && item->delay < 0)
        return note_failure(c, item, why);
    if (item->fate != FATE_PUBLISHED)
        outbox_keys__add(&c->failed, item->key_hash, 0);
    note_life(c, epoch);
    return GO_ON;
}

/* All answers are noted, even when the breaker opens with one of them: they are what happened. */
static enum course note_answers(struct outbox_course *c, struct outbox_item **items, size_t n, uint64_t epoch)
{
    enum course course = GO_ON;
    size_t i;

    for (i = 0; i < n; i++) {
        struct outbox_item *item = items[i];

        if (item->fate == FATE_NONE || item->unanswered)
            continue;
        /* Reasons are the delivery's: they move to the batch before it goes. */
        if (item->reason != NULL && item->fate != FATE_UNAVAILABLE)
            outbox_batch_answer(c->batch, (size_t)(item - c->batch->items), (outbox_verdict)item->fate,
                                item->delay < 0 ? -1 : item->delay / 1000, item->reason);
        if (note_answer(c, item, epoch) != GO_ON)
            course = HALT;
    }
    return course;
}

static enum course publish_part(struct outbox_course *c, struct outbox_item **items, size_t n);

static size_t collect_unanswered(struct outbox_item **items, size_t n)
{
    size_t i, kept = 0;

    for (i = 0; i < n; i++)
        if (items[i]->unanswered)
            items[kept++] = items[i];
    return kept;
}

static enum course after_failure(struct outbox_course *c, struct outbox_item **items, size_t n, const char *why)
{
    enum course course;

    if (n == 1)
        return blame(c, items[0], why);
    COUNT(c->worker->relay, splits, 1);
    course = publish_part(c, items, n / 2);
    return course == GO_ON ? publish_part(c, items + n / 2, n - n / 2) : course;
}

static enum course after_outage(struct outbox_course *c, struct outbox_item **items, size_t n, const char *why)
{
    enum outbox_breaker_change change;
    size_t i;

    if (time_left(c->worker->relay) == 0) {
        for (i = 0; i < n; i++)
            spare_cancelled(items[i]);
        return HALT;
    }
    for (i = 0; i < n; i++)
        c->seqs[i] = items[i]->record.seq;
    change = outbox_breaker__unavailable(&c->worker->relay->breaker, c->seqs, n, &c->worker->probe, outbox_thread__clock());
    if (change == BREAKER_ACCUSED)
        return after_failure(c, items, n, why);
    for (i = 0; i < n; i++)
        outbox_item__spare(items[i]);
    return heed(c, change, why);
}

/* The publisher still has it, so nothing can be sent again now. */
static enum course after_timeout(struct outbox_course *c, struct outbox_item **items, size_t n, const char *why)
{
    char within[OUTBOX_LOG_SECONDS], lanes[OUTBOX_BATCH_LANES];
    size_t i;

    outbox_batch__lanes(c->batch, lanes);
    if (n == 0)
        return HALT_LATE; /* all that is owed was passed over */
    if (time_left(c->worker->relay) == 0) {
        for (i = 0; i < n; i++)
            outbox_item__spare(items[i]);
        outbox_log__write(c->worker->relay->conf, OUTBOX_LOG_WARNING,
                          "the publisher %s did not answer for %zu message%s of %s before the relay had to stop: they "
                          "are sent again, and no attempts are charged",
                          outbox_publisher_name(c->worker->relay->publisher), n, n == 1 ? "" : "s", lanes);
    } else if (n == 1) {
        blame(c, items[0], why);
    } else if (c->batch->suspect < (int)n) {
        c->batch->suspect = (int)n;
        outbox_log__write(c->worker->relay->conf, OUTBOX_LOG_WARNING,
                          "the publisher %s did not answer for %zu messages of %s within %s (relay.publish_timeout): they go "
                          "one at a time",
                          outbox_publisher_name(c->worker->relay->publisher), n, lanes,
                          outbox_log__seconds(outbox_conf__number(c->worker->relay->conf, CONF_RELAY_PUBLISH_TIMEOUT),
                                              within));
    }
    return HALT_LATE;
}

/* Hands messages over, all at once, and sees what became of them. The list is changed. */
static enum course deliver(struct outbox_course *c, struct outbox_item **items, size_t n)
{
    struct outbox_worker *worker = c->worker;
    outbox_relay *relay = worker->relay;
    outbox_delivery *d = outbox_delivery__new(relay->publisher, items, n);
    int64_t timeout = time_left(relay), began = outbox_thread__clock();
    struct outbox_histogram took = { { 0 }, 0 };
    enum outbox_outcome outcome;
    enum course course;
    char why[1024];
    uint64_t epoch;

    if (d == NULL) {
        c->starved = 1;
        return HALT;
    }
    outbox_breaker__is_open(&relay->breaker, &epoch);
    outbox_relay__watch(worker, d, c->batch, timeout);
    PROBE3(publish__start, c->batch->lane, c->batch->token, n);
    outcome = outbox_delivery__run(d, timeout, &relay->hurry, why, sizeof(why));
    PROBE4(publish__done, c->batch->lane, c->batch->token, n, outcome);
    outbox_relay__unwatch(worker);
    outbox_histogram__observe(&took, outbox_thread__clock() - began);
    pthread_mutex_lock(&relay->lock);
    outbox_histogram__add(&relay->publish_time, &took);
    pthread_mutex_unlock(&relay->lock);
    course = note_answers(c, items, n, epoch);
    n = collect_unanswered(items, n);
    if (outcome == DELIVERY_LATE) {
        c->given_up = d;
        return after_timeout(c, items, n, why);
    }
    outbox_delivery__finish(d, NULL);
    if (course != GO_ON || n == 0)
        return course;
    return outcome == DELIVERY_UNAVAILABLE ? after_outage(c, items, n, why) : after_failure(c, items, n, why);
}

/* The same for a half: without the keys that failed meanwhile. */
static enum course publish_part(struct outbox_course *c, struct outbox_item **items, size_t n)
{
    size_t i, kept = 0;

    for (i = 0; i < n; i++)
        if (!outbox_keys__has(&c->failed, items[i]->key_hash))
            items[kept++] = items[i];
    if (kept == 0)
        return GO_ON;
    return may_go_on(c) ? deliver(c, items, kept) : HALT;
}

static void publish_all(struct outbox_course *c)
{
    enum course course = GO_ON;
    size_t n;

    if (c->worker->probe)
        course = deliver(c, c->wave, probe_wave(c));
    while (course == GO_ON && !c->worker->probe && may_go_on(c) && (n = next_wave(c)) > 0)
        course = deliver(c, c->wave, n);
}

static void lists_free(struct outbox_course *c)
{
    free(c->done);
    free(c->seqs);
    free(c->doubt);
    free(c->wave);
    c->done = NULL;
    c->seqs = NULL;
    c->doubt = c->wave = NULL;
    c->room = 0;
}

void outbox_relay__forget_course(struct outbox_worker *worker)
{
    struct outbox_course *c = worker->course;

    if (c == NULL)
        return;
    outbox_keys__free(&c->failed);
    outbox_keys__free(&c->seen);
    lists_free(c);
    free(c);
    worker->course = NULL;
}

/* For so many messages; 0: out of memory. */
static int make_room(struct outbox_course *c, size_t count)
{
    if (count > c->room) {
        lists_free(c);
        c->wave = malloc(count * sizeof(struct outbox_item *));
        c->doubt = malloc(count * sizeof(struct outbox_item *));
        c->seqs = malloc(count * sizeof(*c->seqs));
        c->done = malloc(count);
        if (c->wave == NULL || c->doubt == NULL || c->seqs == NULL || c->done == NULL)
            return 0;
        c->room = count;
    }
    memset(c->done, 0, count);
    return outbox_keys__make(&c->failed, count) && outbox_keys__make(&c->seen, count);
}

int outbox_relay__publish(struct outbox_worker *worker, outbox_batch *batch, outbox_delivery **given_up)
{
    struct outbox_course *c = worker->course;

    *given_up = NULL;
    if (c == NULL)
        c = worker->course = calloc(1, sizeof(*c));
    if (c == NULL)
        return OUTBOX_ERR_NOMEM;
    c->worker = worker;
    c->batch = batch;
    c->doubts = 0;
    c->given_up = NULL;
    c->starved = !make_room(c, batch->count);
    if (!c->starved)
        publish_all(c);
    if (batch->single && batch->items[0].spared)
        batch->suspect++; /* as little is known of it as before */
    *given_up = c->given_up;
    return c->starved ? OUTBOX_ERR_NOMEM : OUTBOX_OK;
}
