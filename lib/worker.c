/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Workers claim, publish and settle. */
#include "backoff.h"
#include "error_internal.h"
#include "relay_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_TRIES 8
/* After an error of the database; the bound of the wait doubles so often. */
#define WAIT_FIRST INT64_C(50000)
#define WAIT_DOUBLES 8
#define KEPT_MAX 64 /* deliveries without an answer, each with its batch */
#define KEPT_LOOK_US 100000

/* The consumer has leased lanes, and holds no others. */
static void hold(void *ctx, const struct outbox_held *held, size_t count)
{
    struct outbox_worker *worker = ctx;

    pthread_mutex_lock(&worker->relay->lock);
    worker->holds = count;
    memcpy(worker->held, held, count * sizeof(*held));
    pthread_mutex_unlock(&worker->relay->lock);
}

void outbox_relay__engage(struct outbox_worker *worker)
{
    worker->consumer->signal = &worker->relay->signal;
    worker->consumer->leased = hold;
    worker->consumer->leased_ctx = worker;
}

static void hold_none(struct outbox_worker *worker)
{
    pthread_mutex_lock(&worker->relay->lock);
    worker->holds = 0;
    pthread_mutex_unlock(&worker->relay->lock);
}

static void disconnect(struct outbox_worker *worker)
{
    hold_none(worker);
    outbox_consumer_free(worker->consumer);
    outbox_conn_close(worker->conn);
    outbox_relay__forget_course(worker);
    worker->consumer = NULL;
    worker->conn = NULL;
    worker->clock_at = 0;
}

/* Lanes that an earlier connection of this worker held go free at once: nobody works on them. */
static int release_orphans(struct outbox_worker *worker, const char *owner)
{
    struct outbox_args args = { .set = 0 };

    outbox_args__text(&args, P_OWNER, owner);
    return outbox_conn__run(worker->conn, Q_RELEASE_ALL, &args, 0, "release lanes", NULL, NULL);
}

static int connect_again(struct outbox_worker *worker, outbox_error **err)
{
    outbox_relay *relay = worker->relay;
    char owner[160];
    int rc = outbox_conn_open(relay->dsn, relay->conf, &worker->conn, err);

    snprintf(owner, sizeof(owner), "%s/%d.%u", relay->base, worker->index, worker->generation + 1);
    if (rc == OUTBOX_OK)
        rc = outbox_consumer_new(worker->conn, relay->conf, owner, &worker->consumer, err);
    if (rc != OUTBOX_OK) {
        outbox_conn_close(worker->conn);
        worker->conn = NULL;
        return rc;
    }
    outbox_relay__engage(worker);
    if (worker->owner[0] != '\0')
        release_orphans(worker, worker->owner);
    worker->generation++;
    pthread_mutex_lock(&relay->lock);
    snprintf(worker->owner, sizeof(worker->owner), "%s", owner);
    pthread_mutex_unlock(&relay->lock);
    return OUTBOX_OK;
}

/* One line for all that failed in a batch: the first stands for the others. */
static void tell_failures(const outbox_relay *relay, const struct outbox_item *first, uint64_t failed)
{
    char wait[OUTBOX_LOG_SECONDS], others[48] = "";

    if (first == NULL)
        return;
    if (failed > 1)
        snprintf(others, sizeof(others), ", and %llu others of its batch", (unsigned long long)failed - 1);
    outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "message %s to %s failed (attempt %d) and is sent again in %s%s: %s",
                      first->record.id.text, first->record.topic, first->attempts, outbox_log__seconds(first->wait, wait),
                      others, first->reason != NULL ? first->reason : "no reason given");
}

/* The database's time now, as its clock went when it was asked last; 0: unknown. Monotonic, so that a clock that is set
 * here changes nothing. */
#define CLOCK_ASK_US INT64_C(60000000)
static int64_t database_time(struct outbox_worker *worker)
{
    int64_t before = outbox_thread__clock(), after, now = 0;

    if (worker->clock_at == 0 || before - worker->clock_at > CLOCK_ASK_US) {
        worker->clock_at = 0;
        if (outbox_conn__now(worker->conn, &now, NULL) != OUTBOX_OK)
            return 0; /* what comes next meets the error, too */
        after = outbox_thread__clock();
        worker->clock_offset = now - (before + after) / 2;
        worker->clock_at = before = after;
    }
    return before + worker->clock_offset;
}

static void count_latency(struct outbox_worker *worker, const outbox_batch *batch)
{
    outbox_relay *relay = worker->relay;
    int64_t now = database_time(worker);
    struct outbox_histogram latency = { { 0 }, 0 };
    uint64_t rejected = 0, bytes = 0;
    size_t i, size;

    for (i = 0; i < batch->count; i++) {
        const struct outbox_item *item = &batch->items[i];

        rejected += item->fate == FATE_REJECT;
        if (item->fate != FATE_PUBLISHED)
            continue;
        outbox_record_payload(&item->record, &size);
        bytes += size;
        if (now != 0)
            outbox_histogram__observe(&latency, now - item->record.created_at);
    }
    pthread_mutex_lock(&relay->lock);
    outbox_histogram__add(&relay->latency, &latency);
    relay->stats.rejected += rejected;
    relay->stats.bytes += bytes;
    pthread_mutex_unlock(&relay->lock);
}

/* What the application wants to know, once the database has it. */
static void tell_settled(struct outbox_worker *worker, const outbox_batch *batch)
{
    outbox_relay *relay = worker->relay;
    const outbox_hooks *hooks = &relay->hooks;
    const struct outbox_item *first = NULL;
    uint64_t published = 0, failed = 0, dead = 0, held = 0;
    char lanes[OUTBOX_BATCH_LANES];
    size_t i;

    for (i = 0; i < batch->count + batch->aside_count; i++) {
        const struct outbox_item *item = i < batch->count ? &batch->items[i] : &batch->aside[i - batch->count];
        const char *reason = item->reason != NULL ? item->reason : "";

        if (item->fate == FATE_PUBLISHED) {
            published++;
            if (hooks->published != NULL)
                hooks->published(hooks->user, &item->record);
        } else if (item->dead) {
            dead++;
            outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "message %s to %s is dead after %d attempt%s: %s",
                              item->record.id.text, item->record.topic, item->attempts, item->attempts == 1 ? "" : "s",
                              reason);
            if (hooks->dead != NULL)
                hooks->dead(hooks->user, &item->record, item->attempts, reason);
        } else if (!item->spared && (item->fate == FATE_RETRY || item->fate == FATE_UNKNOWN)) {
            failed++;
            first = first != NULL ? first : item;
            outbox_idle__due(&relay->idle, item->wait);
            if (hooks->failed != NULL)
                hooks->failed(hooks->user, &item->record, item->attempts, item->wait / 1000, reason);
        } else if (item->fate == FATE_HELD) {
            held++;
        }
    }
    tell_failures(relay, first, failed);
    outbox_log__write(relay->conf, OUTBOX_LOG_DEBUG,
                      "%s, batch of %zu: %llu published, %llu failed, %llu dead, %llu held",
                      outbox_batch__lanes(batch, lanes), batch->count, (unsigned long long)published, (unsigned long long)failed, (unsigned long long)dead,
                      (unsigned long long)held);
    COUNT(relay, batches, 1);
    COUNT(relay, published, published);
    COUNT(relay, failed, failed);
    COUNT(relay, dead, dead);
    COUNT(relay, held, held);
    count_latency(worker, batch);
}

/* Of several lanes some may be settled, and of others the lease lost. */
static void tell(struct outbox_worker *worker, const outbox_batch *batch, int rc)
{
    outbox_batch view;
    size_t i;

    if (rc == OUTBOX_OK) {
        tell_settled(worker, batch);
        return;
    }
    for (i = 0; i < batch->part_count; i++)
        if (batch->parts[i].state == PART_SETTLED) {
            outbox_batch__view(batch, i, &view);
            tell_settled(worker, &view);
        }
}

/* A conflict rolled everything back and the verdicts are still here: once more. */
static int settle(struct outbox_worker *worker, outbox_batch *batch, int keep, outbox_error **err)
{
    int tries, rc = OUTBOX_OK;

    for (tries = 1; tries <= SETTLE_TRIES; tries++) {
        outbox_error *why = NULL;

        rc = outbox_batch__settle(batch, keep, &why);
        if (rc != OUTBOX_ERR_CONFLICT || tries == SETTLE_TRIES) {
            if (rc != OUTBOX_OK)
                *err = why;
            break;
        }
        outbox_error_free(why);
        outbox_signal__wait(&worker->relay->keeping, outbox_backoff__random(INT64_C(10000) << tries));
    }
    tell(worker, batch, rc);
    return rc;
}

static int read_on(outbox_batch *batch, outbox_error **err)
{
    int rc = outbox_batch__read(batch, err);

    if (rc != OUTBOX_NONE)
        return rc;
    rc = outbox_batch__fence(batch, 0, err);
    return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
}

static int take_holder(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    const struct outbox_worker *worker = ctx;
    const outbox_relay *relay = worker->relay;
    const char *owner = cells[0].data != NULL ? cells[0].data : "";
    char left[OUTBOX_LOG_SECONDS];
    size_t base = strlen(relay->base);

    (void)err;
    /* Another worker of this relay empties it now. */
    if (strncmp(owner, relay->base, base) == 0 && owner[base] == '/')
        return OUTBOX_OK;
    outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "%lld lane%s leased by %s for %s more: what is in %s was left",
                      (long long)cells[1].number, cells[1].number == 1 ? " is" : "s are", owner,
                      outbox_log__seconds(cells[2].number, left), cells[1].number == 1 ? "it" : "them");
    return OUTBOX_OK;
}

/* A run that ends by itself passes over what others have: a relay that works there, or one that was killed. */
static void tell_leases(struct outbox_worker *worker)
{
    outbox_arena arena = { NULL };
    struct outbox_result result = { "tii", &arena, take_holder, worker, 0 };
    struct outbox_args args = { .set = 0 };

    if (worker->index == 0)
        outbox_conn__run(worker->conn, Q_HOLDERS, &args, 0, "list leases", &result, NULL);
    outbox_arena__free(&arena);
}

static int all_published(const outbox_batch *batch)
{
    size_t i = 0;

    while (i < batch->count && batch->items[i].fate == FATE_PUBLISHED)
        i++;
    return i == batch->count;
}

/* Lanes of one batch wait for each other's messages, and for this worker alone. That costs nothing where a call takes as long
 * for many as for one, but where each message takes its time, other workers should have the other lanes. A small batch cannot tell
 * the two apart, so while it looks slow, one look in a few is for several lanes all the same. */
#define SLOW_CALL 10000
#define SLOW_MESSAGE 5000
#define SLOW_TRIES 8
static int publish(struct outbox_worker *worker, outbox_batch *batch, outbox_delivery **given_up)
{
    int64_t began = outbox_thread__clock(), took;
    int rc = outbox_relay__publish(worker, batch, given_up);

    took = outbox_thread__clock() - began;
    worker->slow = took > SLOW_CALL && took > SLOW_MESSAGE * (int64_t)batch->count ? worker->slow + 1 : 0;
    if (!all_published(batch))
        outbox_consumer__shrink(worker->consumer);
    return rc;
}

/* Publish, settle; one lane is read on, for as many batches as a worker may keep it and while they are full. */
static int work_batch(struct outbox_worker *worker, outbox_batch *batch, outbox_error **err)
{
    outbox_relay *relay = worker->relay;
    int64_t left = outbox_conf__number(relay->conf, CONF_RELAY_LANE_BATCHES);
    outbox_delivery *given_up = NULL;
    char lanes[OUTBOX_BATCH_LANES];
    int rc = OUTBOX_OK;

    if (batch->taken_over) {
        COUNT(relay, suspect, 1);
        outbox_log__write(relay->conf, OUTBOX_LOG_WARNING,
                          "lane %d was held by a relay that crashed: its messages go one at a time for a while", batch->lane);
    }
    for (;;) {
        int published, keep;

        outbox_log__write(relay->conf, OUTBOX_LOG_DEBUG, "%s: a batch of %zu goes to the publisher",
                          outbox_batch__lanes(batch, lanes), batch->count);
        COUNT(relay, messages, batch->count);
        published = batch->count > 0 ? publish(worker, batch, &given_up) : OUTBOX_OK;
        keep = --left > 0 && batch->full && published == OUTBOX_OK && given_up == NULL &&
               !outbox_breaker__is_open(&relay->breaker, NULL) && !outbox_signal__stopped(&relay->signal);
        rc = settle(worker, batch, keep, err);
        /* Settled, but what had no memory will have none at once either: an error, which waits. */
        if (rc == OUTBOX_OK && published != OUTBOX_OK)
            rc = outbox_error__nomem(err);
        if (rc != OUTBOX_OK || !keep)
            break;
        rc = read_on(batch, err);
        if (rc != OUTBOX_OK)
            break;
    }
    if (rc < 0 && rc != OUTBOX_ERR_FENCED && rc != OUTBOX_ERR_LOST && batch->open)
        outbox_batch_release(batch, NULL);
    if (given_up == NULL || !outbox_delivery__finish(given_up, batch))
        outbox_batch__recycle(batch);
    return rc;
}

/* While something comes all the time, and little each time, it is better to take more of it less often: a statement costs as
 * much for one message as for many, and so does a commit. One worker is enough then, and the others look seldom, in case it is
 * kept. What comes after a pause is taken at once. */
#define LINGER_STREAK 4
#define LINGER_OTHERS 8
static void linger(struct outbox_worker *worker, int64_t since, int small)
{
    outbox_relay *relay = worker->relay;
    int64_t time = outbox_conf__number(relay->conf, CONF_RELAY_LINGER), left;
    int64_t poll = outbox_conf__number(relay->conf, CONF_RELAY_POLL_INTERVAL);

    if (!small || worker->streak <= LINGER_STREAK || relay->once)
        return;
    if (worker->index > 0 && time < poll)
        time = time * LINGER_OTHERS < poll ? time * LINGER_OTHERS : poll;
    left = since + time - outbox_thread__clock();
    if (left > 0)
        outbox_signal__wait(&relay->signal, left);
}

static int work_once(struct outbox_worker *worker, outbox_error **err)
{
    outbox_relay *relay = worker->relay;
    outbox_batch *batch;
    int rc, restarts = atomic_load(&relay->restarts), probing = worker->probe, small = 0;
    /* What ends by itself ends when no lane has work, whatever is to come alone. */
    size_t lanes = relay->once || probing || worker->slow % SLOW_TRIES > 0 ? 1 : OUTBOX_GATHER_MAX;
    int64_t since = outbox_thread__clock();

    worker->conn->numbers.doubted |= restarts != worker->restarts;
    worker->restarts = restarts;
    rc = outbox_consumer__claim(worker->consumer, lanes, &batch, err);
    if (rc == OUTBOX_OK) {
        COUNT(relay, claims, batch->part_count > 0 ? batch->part_count : 1);
        outbox_idle__found(&relay->idle, outbox_batch_count(batch) > 1 || worker->streak > 0);
        if (worker->streak <= LINGER_STREAK)
            worker->streak++;
        small = !probing && outbox_batch__is_small(batch);
        rc = work_batch(worker, batch, err);
        if (rc == OUTBOX_NONE)
            rc = OUTBOX_OK;
    } else if (rc == OUTBOX_NONE) {
        COUNT(relay, polls, 1);
        worker->streak = 0;
        outbox_idle__nothing(&relay->idle);
    }
    hold_none(worker);
    if (rc == OUTBOX_OK)
        linger(worker, since, small);
    return rc;
}

/* Why a run that ends by itself ended too soon. */
static void fail_once(outbox_relay *relay, const outbox_error *err)
{
    pthread_mutex_lock(&relay->lock);
    if (relay->failure == NULL)
        relay->failure = outbox_error__copy(err);
    pthread_mutex_unlock(&relay->lock);
}

static void tell_error(struct outbox_worker *worker, int rc, const outbox_error *err, int64_t wait)
{
    outbox_relay *relay = worker->relay;
    char soon[OUTBOX_LOG_SECONDS], late[OUTBOX_LOG_SECONDS], next[120];

    if (rc == OUTBOX_ERR_CONFLICT) {
        outbox_log__write(relay->conf, OUTBOX_LOG_DEBUG, "%s", outbox_error_message(err));
        return;
    }
    snprintf(next, sizeof(next), "trying again in %s, then less and less often, in the end every %s",
             outbox_log__seconds(wait, soon), outbox_log__seconds(WAIT_FIRST << WAIT_DOUBLES, late));
    /* A run that ends by itself hands its error over instead of trying again. */
    if (!relay->once)
        outbox_trouble__met(&relay->trouble, &worker->in_trouble, "the relay cannot go on", err, next);
}

/* Whether the worker has to end: in a drain any error but a conflict does. */
static int handle_error(struct outbox_worker *worker, int rc, outbox_error *err, int *failures)
{
    outbox_relay *relay = worker->relay;
    int64_t wait = outbox_backoff__random(WAIT_FIRST << (*failures < WAIT_DOUBLES ? *failures : WAIT_DOUBLES));

    if (rc == OUTBOX_ERR_FENCED) {
        COUNT(relay, fenced, 1);
        outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "%s", outbox_error_message(err));
        return 0;
    }
    (*failures)++;
    COUNT(relay, db_errors, 1);
    tell_error(worker, rc, err, wait);
    /* After a conflict that went on for too long, a lane may still be leased under this worker's name, which it uses
     * again, so that the keeper would renew the lease for ever. */
    if (rc != OUTBOX_ERR_CONFLICT || worker->conn == NULL || release_orphans(worker, worker->owner) != OUTBOX_OK)
        disconnect(worker);
    if (relay->once && rc != OUTBOX_ERR_CONFLICT) {
        fail_once(relay, err);
        return 1;
    }
    outbox_signal__wait(&relay->signal, wait);
    return 0;
}

/* Deliveries that were given up are kept, with their messages, until they are answered: a publisher that never does must
 * not eat the memory. */
static int is_silent(outbox_relay *relay)
{
    size_t kept;
    int silent, news;

    /* With the lock: an older number must not come last, or the news would be told twice. */
    pthread_mutex_lock(&relay->lock);
    kept = outbox_publisher__kept(relay->publisher);
    silent = kept >= KEPT_MAX;
    news = silent != relay->silent;
    relay->silent = silent;
    pthread_mutex_unlock(&relay->lock);
    if (news && silent)
        outbox_log__write(relay->conf, OUTBOX_LOG_ERROR,
                          "the publisher %s has not answered %zu deliveries that it was told to cancel: nothing more is sent "
                          "until it does", outbox_publisher_name(relay->publisher), kept);
    else if (news)
        outbox_log__write(relay->conf, OUTBOX_LOG_WARNING, "the publisher %s answers again",
                          outbox_publisher_name(relay->publisher));
    return silent;
}

/* Waits while the publisher owes too many answers. 0: nothing more to do. */
static int wait_for_answers(struct outbox_worker *worker)
{
    outbox_relay *relay = worker->relay;
    outbox_error *err = NULL;

    while (is_silent(relay) && !relay->once) {
        outbox_signal__wait(&relay->signal, KEPT_LOOK_US);
        if (outbox_signal__stopped(&relay->signal))
            return 0;
    }
    if (!relay->once || !is_silent(relay))
        return 1;
    outbox_error__set(&err, OUTBOX_ERR_PUBLISH, "publisher.silent",
                      "the publisher %s has not answered %d deliveries that it was told to cancel; what is left goes next time",
                      outbox_publisher_name(relay->publisher), KEPT_MAX);
    fail_once(relay, err);
    outbox_error_free(err);
    return 0;
}

/* Waits while the broker is taken for down, but for one worker at a time that is let in to try. 0: nothing more to do. */
static int wait_for_broker(struct outbox_worker *worker)
{
    outbox_relay *relay = worker->relay;
    outbox_error *err = NULL;
    int64_t wait;

    while ((wait = outbox_breaker__enter(&relay->breaker, outbox_thread__clock(), &worker->probe)) > 0 && !relay->once) {
        outbox_signal__wait(&relay->signal, wait);
        if (outbox_signal__stopped(&relay->signal))
            return 0;
    }
    if (wait == 0)
        return 1;
    outbox_error__set(&err, OUTBOX_ERR_PUBLISH, "publisher.down",
                      "the publisher %s gets no message through; what is left was not charged, and goes next time",
                      outbox_publisher_name(relay->publisher));
    fail_once(relay, err);
    outbox_error_free(err);
    return 0;
}

void *outbox_relay__worker(void *arg)
{
    struct outbox_worker *worker = arg;
    outbox_relay *relay = worker->relay;
    int failures = 0, end = 0;

    while (!end && !outbox_signal__stopped(&relay->signal) && wait_for_answers(worker) && wait_for_broker(worker)) {
        outbox_error *err = NULL;
        int rc = worker->consumer != NULL ? OUTBOX_OK : connect_again(worker, &err);

        if (rc == OUTBOX_OK)
            rc = work_once(worker, &err);
        outbox_breaker__leave(&relay->breaker, &worker->probe);
        if (rc < 0) {
            end = handle_error(worker, rc, err, &failures);
        } else {
            failures = 0;
            outbox_trouble__over(&relay->trouble, &worker->in_trouble);
        }
        if (rc == OUTBOX_NONE && relay->once) {
            tell_leases(worker);
            end = 1;
        } else if (rc == OUTBOX_NONE && !outbox_idle__wait(&relay->idle)) {
            COUNT(relay, looks, 1);
        }
        outbox_error_free(err);
    }
    disconnect(worker);
    return NULL;
}
