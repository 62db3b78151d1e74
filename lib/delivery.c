/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "delivery.h"
#include "error_internal.h"
#include "log.h"
#include "keys.h"
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPARES 16 /* deliveries that a publisher keeps for their memory: workers have one each */

static int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct answer {
    int done;
    int verdict; /* 0: none that counts */
    int64_t retry_ms;
    char *reason;
};

/* Which messages may go: the first of each key, and each next one once that before it was published. */
struct queue {
    size_t from, to, out; /* of ready; how many were given and not answered */
    size_t *ready;        /* indexes, in the order in which they became ready */
    size_t *follower;     /* per message: the next of its key; 0: none, as the first follows nobody */
    char *given;          /* per message: 1: on its way */
    struct outbox_keys last; /* used to make it */
};

struct outbox_delivery {
    outbox_publisher *publisher;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct outbox_item **items;
    struct answer *answers;
    struct outbox_keys failed; /* keys of what was answered with something else than published, or passed over */
    size_t count, done, next, room;
    struct queue *queue; /* once outbox_delivery_ready() was asked */
    struct queue *spare_queue; /* of an earlier delivery in this memory, for as many messages */
    int publishing; /* publish() has not returned */
    int64_t moved;  /* when it last took or answered a message; monotonic µs */
    int warned;     /* the publisher's cancel was called, or must not be any more */
    int64_t patience; /* once it was: until when the answers that it still gives are waited for; monotonic µs */
    int cancelled;  /* answers no longer count */
    int let_go;     /* by the publisher, whose call failed: it owes no answers */
    int unavailable; /* so it was said of one of them */
    int abandoned;  /* nobody waits */
    outbox_batch *keep;
    outbox_delivery *next_listed; /* among the publisher's abandoned or spare */
};

static void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    outbox_keys__free(&q->last);
    free(q->ready);
    free(q->follower);
    free(q->given);
    free(q);
}

static void delivery_free(outbox_delivery *d)
{
    free(d->answers);
    outbox_keys__free(&d->failed);
    free(d->items);
    queue_free(d->queue);
    queue_free(d->spare_queue);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* All but its memory, which another one may have. */
static void delivery_end(outbox_delivery *d)
{
    outbox_publisher *publisher = d->publisher;
    int kept;
    size_t i;

    for (i = 0; i < d->count; i++)
        free(d->answers[i].reason);
    outbox_batch_free(d->keep);
    pthread_mutex_lock(&publisher->lock);
    kept = publisher->spare_count < SPARES;
    if (kept) {
        d->next_listed = publisher->spare;
        publisher->spare = d;
        publisher->spare_count++;
    }
    pthread_mutex_unlock(&publisher->lock);
    if (!kept)
        delivery_free(d);
}

/* Of a publisher that nobody uses any more. */
static void free_all(outbox_delivery *list)
{
    while (list != NULL) {
        outbox_delivery *d = list;

        list = d->next_listed;
        delivery_free(d);
    }
}

static outbox_delivery *delivery_make(outbox_publisher *publisher, size_t room)
{
    outbox_delivery *d = calloc(1, sizeof(*d));
    pthread_condattr_t attr;

    if (d == NULL)
        return NULL;
    d->publisher = publisher;
    d->room = room;
    d->items = malloc(room * sizeof(struct outbox_item *));
    d->answers = malloc(room * sizeof(*d->answers));
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (d->items == NULL || d->answers == NULL) {
        delivery_free(d);
        return NULL;
    }
    return d;
}

/* One that is done with and large enough, or a new one. */
static outbox_delivery *delivery_find(outbox_publisher *publisher, size_t count)
{
    outbox_delivery *d, *small = NULL, **at;

    pthread_mutex_lock(&publisher->lock);
    for (at = &publisher->spare; (d = *at) != NULL && d->room < count; at = &d->next_listed)
        ;
    if (d == NULL && publisher->spare_count == SPARES)
        d = small = *(at = &publisher->spare); /* instead of it there will be a larger one */
    if (d != NULL) {
        *at = d->next_listed;
        publisher->spare_count--;
    }
    pthread_mutex_unlock(&publisher->lock);
    if (small != NULL)
        delivery_free(small);
    return d != NULL && d != small ? d : delivery_make(publisher, count);
}

/* As it is before anybody has it. */
static void begin_anew(outbox_delivery *d, struct outbox_item **items, size_t count)
{
    if (d->queue != NULL)
        d->spare_queue = d->queue;
    d->queue = NULL;
    d->count = count;
    d->done = d->next = 0;
    d->warned = d->cancelled = d->let_go = d->unavailable = d->abandoned = 0;
    d->patience = 0;
    d->keep = NULL;
    d->next_listed = NULL;
    memcpy(d->items, items, count * sizeof(struct outbox_item *));
    memset(d->answers, 0, count * sizeof(*d->answers));
    /* From now on: the watcher may look before publish() is called, and must not take it for one that has returned. */
    d->publishing = 1;
    d->moved = monotonic_us();
}

outbox_delivery *outbox_delivery__new(outbox_publisher *publisher, struct outbox_item **items, size_t count)
{
    outbox_delivery *d = delivery_find(publisher, count);

    if (d == NULL)
        return NULL;
    if (!outbox_keys__make(&d->failed, count)) {
        delivery_free(d);
        return NULL;
    }
    begin_anew(d, items, count);
    return d;
}

size_t outbox_delivery_count(const outbox_delivery *d)
{
    return d->count;
}

const outbox_record *outbox_delivery_message(const outbox_delivery *d, size_t index)
{
    return index < d->count ? &d->items[index]->record : NULL;
}

/* Whether an earlier message of the same key was answered with something else than published. */
static int key_failed(const outbox_delivery *d, size_t index)
{
    return outbox_keys__before(&d->failed, d->items[index]->key_hash, (int64_t)index);
}

/* It is answered, or passed over. */
static void note_done(outbox_delivery *d, size_t index, int verdict)
{
    d->answers[index].done = 1;
    d->answers[index].verdict = verdict;
    d->done++;
    if (verdict != OUTBOX_PUBLISHED)
        outbox_keys__add(&d->failed, d->items[index]->key_hash, (int64_t)index);
}

const outbox_record *outbox_delivery_next(outbox_delivery *d, size_t *index)
{
    const outbox_record *record = NULL;

    pthread_mutex_lock(&d->lock);
    while (d->next < d->count && record == NULL && !d->cancelled) {
        size_t i = d->next++;

        d->moved = monotonic_us();
        if (d->answers[i].done)
            continue;
        if (d->unavailable || key_failed(d, i)) {
            note_done(d, i, 0);
            continue;
        }
        *index = i;
        record = &d->items[i]->record;
    }
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return record;
}

/* In slices, so that a hurried stop is seen; an answer ends a slice at once. */
static void wait_until(outbox_delivery *d, int64_t deadline)
{
    int64_t until = monotonic_us() + 100000;
    struct timespec ts;

    if (until > deadline)
        until = deadline;
    ts.tv_sec = (time_t)(until / 1000000);
    ts.tv_nsec = (long)(until % 1000000) * 1000;
    pthread_cond_timedwait(&d->changed, &d->lock, &ts);
}

/* Which is the first of its key, and who comes behind whom. NULL: out of memory. */
static struct queue *queue_make(outbox_delivery *d)
{
    struct queue *q = d->spare_queue != NULL ? d->spare_queue : calloc(1, sizeof(*q));

    if (q == NULL)
        return NULL;
    if (d->spare_queue == NULL) {
        q->ready = malloc(d->room * sizeof(*q->ready));
        q->follower = malloc(d->room * sizeof(*q->follower));
        q->given = malloc(d->room);
    }
    d->spare_queue = NULL;
    if (q->ready == NULL || q->follower == NULL || q->given == NULL || !outbox_keys__make(&q->last, d->count)) {
        queue_free(q);
        return NULL;
    }
    q->from = q->to = q->out = 0;
    memset(q->follower, 0, d->count * sizeof(*q->follower));
    memset(q->given, 0, d->count);
    return q;
}

static struct queue *queue_new(outbox_delivery *d)
{
    struct queue *q = queue_make(d);
    size_t i;

    if (q == NULL)
        return NULL;
    /* From behind, so that the smallest place met so far is that of the follower. */
    for (i = d->count; i-- > 0;) {
        int64_t next = outbox_keys__first(&q->last, d->items[i]->key_hash);

        if (d->answers[i].done)
            continue;
        q->follower[i] = next < 0 ? 0 : (size_t)next;
        outbox_keys__add(&q->last, d->items[i]->key_hash, (int64_t)i);
    }
    for (i = 0; i < d->count; i++)
        if (!d->answers[i].done &&
            (d->items[i]->key_hash == 0 || outbox_keys__first(&q->last, d->items[i]->key_hash) == (int64_t)i))
            q->ready[q->to++] = i;
    return q;
}

/* A message is answered: the next of its key is ready, or all that follow are passed over. */
static void queue_follow(outbox_delivery *d, size_t index, int published)
{
    struct queue *q = d->queue;
    size_t i = q->follower[index];

    if (q->given[index])
        q->out--;
    q->given[index] = 0;
    if (published && i != 0) {
        q->ready[q->to++] = i;
        return;
    }
    for (; i != 0; i = q->follower[i])
        if (!d->answers[i].done)
            note_done(d, i, 0);
}

/* Without memory nothing of this delivery goes now: it costs no message anything. */
static struct queue *queue_of(outbox_delivery *d)
{
    size_t i;

    if (d->queue == NULL)
        d->queue = queue_new(d);
    for (i = 0; d->queue == NULL && i < d->count; i++)
        if (!d->answers[i].done)
            note_done(d, i, 0);
    return d->queue;
}

const outbox_record *outbox_delivery_ready(outbox_delivery *d, size_t *index)
{
    const outbox_record *record = NULL;
    struct queue *q;

    pthread_mutex_lock(&d->lock);
    q = queue_of(d);
    while (q != NULL && record == NULL && q->from < q->to && !d->warned) {
        size_t i = q->ready[q->from++];

        d->moved = monotonic_us();
        if (d->answers[i].done)
            continue;
        if (d->unavailable || key_failed(d, i)) {
            note_done(d, i, 0);
            queue_follow(d, i, 0);
            continue;
        }
        q->given[i] = 1;
        q->out++;
        *index = i;
        record = &d->items[i]->record;
    }
    pthread_mutex_unlock(&d->lock);
    return record;
}

int outbox_delivery_wait(outbox_delivery *d, int timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : monotonic_us() + timeout_ms * INT64_C(1000);
    int idle;

    pthread_mutex_lock(&d->lock);
    while (d->queue != NULL && !d->warned && d->queue->from == d->queue->to && d->queue->out > 0 &&
           monotonic_us() < deadline)
        wait_until(d, deadline);
    idle = d->queue == NULL || d->warned || (d->queue->from == d->queue->to && d->queue->out == 0);
    pthread_mutex_unlock(&d->lock);
    return idle ? OUTBOX_NONE : OUTBOX_OK;
}

/* The last answer to a delivery that was given up frees it. Called with its lock held, which it lets go. */
static void forget_if_done(outbox_delivery *d)
{
    outbox_publisher *publisher = d->publisher;
    int gone = d->abandoned && d->done == d->count && !d->publishing;
    outbox_delivery **at;

    pthread_mutex_unlock(&d->lock);
    if (!gone)
        return;
    pthread_mutex_lock(&publisher->lock);
    for (at = &publisher->abandoned; *at != NULL && *at != d; at = &(*at)->next_listed)
        ;
    if (*at == d) {
        *at = d->next_listed;
        publisher->abandoned_count--;
    }
    pthread_mutex_unlock(&publisher->lock);
    delivery_end(d);
}

int outbox_delivery_answer(outbox_delivery *d, size_t index, outbox_verdict verdict, int64_t retry_ms, const char *reason)
{
    int counts;

    if (index >= d->count || (int)verdict < OUTBOX_PUBLISHED || (int)verdict > OUTBOX_UNAVAILABLE)
        return OUTBOX_NONE;
    pthread_mutex_lock(&d->lock);
    if (d->answers[index].done) {
        pthread_mutex_unlock(&d->lock);
        return OUTBOX_NONE;
    }
    counts = !d->cancelled;
    note_done(d, index, counts ? (int)verdict : 0);
    if (d->queue != NULL)
        queue_follow(d, index, verdict == OUTBOX_PUBLISHED);
    d->moved = monotonic_us();
    if (counts) {
        d->unavailable |= verdict == OUTBOX_UNAVAILABLE;
        d->answers[index].retry_ms = retry_ms;
        if (reason != NULL && verdict != OUTBOX_PUBLISHED)
            d->answers[index].reason = strdup(reason);
    }
    if (d->done == d->count || d->queue != NULL)
        pthread_cond_broadcast(&d->changed);
    forget_if_done(d);
    return counts ? OUTBOX_OK : OUTBOX_NONE;
}

void outbox_delivery__warn(outbox_delivery *d)
{
    int first;

    pthread_mutex_lock(&d->lock);
    /* The publisher may have forgotten one that is answered. */
    first = !d->warned && (d->publishing || d->done < d->count);
    d->warned = 1;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    if (first && d->publisher->ops.cancel != NULL)
        d->publisher->ops.cancel(d->publisher->self, d);
    pthread_mutex_lock(&d->lock);
    if (first)
        d->patience = monotonic_us() + OUTBOX_DELIVERY_PATIENCE;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

int outbox_delivery__is_warned(outbox_delivery *d)
{
    int warned;

    pthread_mutex_lock(&d->lock);
    warned = d->warned;
    pthread_mutex_unlock(&d->lock);
    return warned;
}

void outbox_delivery__cancel(outbox_delivery *d)
{
    outbox_delivery__warn(d);
    pthread_mutex_lock(&d->lock);
    d->cancelled = 1;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

int64_t outbox_delivery__stuck_since(outbox_delivery *d)
{
    int64_t since;

    pthread_mutex_lock(&d->lock);
    since = d->publishing ? d->moved : INT64_MAX;
    pthread_mutex_unlock(&d->lock);
    return since;
}

static void wait_for_answers(outbox_delivery *d, int64_t deadline, atomic_int *hurry)
{
    while (d->done < d->count && !d->cancelled && !*hurry && monotonic_us() < deadline) {
        if (d->patience != 0 && d->patience < deadline)
            deadline = d->patience;
        wait_until(d, deadline);
    }
}

/* What was passed over, behind one of its key or after one that could not be sent, was answered with nothing. */
static size_t fill_in(outbox_delivery *d)
{
    size_t i, unanswered = 0;

    for (i = 0; i < d->count; i++) {
        struct outbox_item *item = d->items[i];
        const struct answer *a = &d->answers[i];

        item->unanswered = a->verdict == 0 && (!a->done || d->cancelled) && !key_failed(d, i);
        unanswered += (size_t)item->unanswered;
        if (a->verdict == 0)
            continue;
        item->fate = (enum fate)a->verdict;
        item->delay = a->retry_ms < 0 ? -1 : a->retry_ms > INT64_MAX / 2000 ? INT64_MAX / 2 : a->retry_ms * 1000;
        item->reason = a->reason;
    }
    return unanswered;
}

/* A call that failed once it had been cancelled did so because of that: to send halves of it may take as long again. owed:
 * the publisher may yet answer, be it one that was passed over. */
static enum outbox_outcome outcome_of(int rc, int warned, int owed, size_t unanswered)
{
    if (unanswered == 0)
        return owed ? DELIVERY_LATE : DELIVERY_DONE;
    if (rc == OUTBOX_ERR_LOST || rc == OUTBOX_ERR_CONNECT)
        return DELIVERY_UNAVAILABLE;
    return rc >= 0 || warned ? DELIVERY_LATE : DELIVERY_FAILED;
}

static void explain(enum outbox_outcome outcome, int64_t timeout_us, const outbox_error *err, char *why, size_t size)
{
    char within[OUTBOX_LOG_SECONDS];

    if (outcome == DELIVERY_LATE || outcome == DELIVERY_DONE)
        snprintf(why, size, "the publisher gave no answer within %s (relay.publish_timeout)%s%s",
                 outbox_log__seconds(timeout_us, within), err != NULL ? ": " : "",
                 err != NULL ? outbox_error_message(err) : "");
    else
        snprintf(why, size, "%s", err != NULL ? outbox_error_message(err) : "the publisher failed and gave no reason");
}

enum outbox_outcome outbox_delivery__run(outbox_delivery *d, int64_t timeout_us, atomic_int *hurry, char *why,
                                         size_t size)
{
    int64_t deadline = monotonic_us() + timeout_us;
    enum outbox_outcome outcome;
    outbox_error *err = NULL;
    int rc, given_up, warned, ended;

    pthread_mutex_lock(&d->lock);
    d->moved = monotonic_us();
    pthread_mutex_unlock(&d->lock);
    rc = d->publisher->ops.publish(d->publisher->self, d, &err);
    pthread_mutex_lock(&d->lock);
    d->publishing = 0;
    warned = d->warned;
    /* A call that was cancelled while nothing was on its way has said all that it will. */
    ended = rc < 0 || (warned && d->queue != NULL && d->queue->out == 0);
    if (!ended)
        wait_for_answers(d, deadline, hurry);
    given_up = d->done < d->count;
    if (ended) {
        /* It is not to be told any more. */
        d->let_go = d->warned = 1;
        d->cancelled = given_up;
    }
    pthread_mutex_unlock(&d->lock);
    if (given_up && !ended)
        outbox_delivery__cancel(d);
    pthread_mutex_lock(&d->lock);
    outcome = outcome_of(rc, warned, given_up && !ended, fill_in(d));
    pthread_mutex_unlock(&d->lock);
    explain(outcome, timeout_us, err, why, size);
    outbox_error_free(err);
    return outcome;
}

int outbox_delivery__finish(outbox_delivery *d, outbox_batch *batch)
{
    outbox_publisher *publisher = d->publisher;

    pthread_mutex_lock(&publisher->lock);
    pthread_mutex_lock(&d->lock);
    if (d->done < d->count && d->cancelled && !d->let_go && batch != NULL) {
        d->abandoned = 1;
        d->keep = batch;
        d->next_listed = publisher->abandoned;
        publisher->abandoned = d;
        publisher->abandoned_count++;
        pthread_mutex_unlock(&d->lock);
        pthread_mutex_unlock(&publisher->lock);
        return 1;
    }
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_unlock(&publisher->lock);
    delivery_end(d);
    return 0;
}

size_t outbox_publisher__kept(outbox_publisher *publisher)
{
    size_t count;

    pthread_mutex_lock(&publisher->lock);
    count = publisher->abandoned_count;
    pthread_mutex_unlock(&publisher->lock);
    return count;
}

void outbox_publisher_free(outbox_publisher *publisher)
{
    if (publisher == NULL)
        return;
    if (publisher->ops.close != NULL)
        publisher->ops.close(publisher->self);
    while (publisher->abandoned != NULL) {
        outbox_delivery *d = publisher->abandoned;

        publisher->abandoned = d->next_listed;
        delivery_end(d);
    }
    free_all(publisher->spare);
    outbox_target__free(publisher->target);
    pthread_mutex_destroy(&publisher->lock);
    free(publisher);
}
