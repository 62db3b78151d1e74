/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The watcher ends what a publisher takes too long for, and notices publishers that do not return.
 *
 * A thread of its own: a database that hangs does not keep it from calling cancel, and a cancel that takes its time keeps
 * no lease from being renewed. No lock is held meanwhile. A worker whose delivery is looked at is pinned: it keeps the
 * delivery until the watcher is done with it. */
#include "relay_internal.h"

#include <string.h>

/* A worker whose delivery is late, pinned; or NULL, and *until says when one may be. What begins meanwhile and is late
 * before that pokes. */
static struct outbox_worker *pin_late(outbox_relay *relay, int64_t *until)
{
    struct outbox_worker *late = NULL;
    int64_t now = outbox_thread__clock();
    int i;

    *until = INT64_MAX;
    pthread_mutex_lock(&relay->lock);
    if (relay->stop_at > now)
        *until = relay->stop_at;
    for (i = 0; i < relay->count && late == NULL; i++) {
        struct outbox_worker *worker = &relay->workers[i];
        int ends = relay->hurry || (relay->stop_at != 0 && now >= relay->stop_at);

        if (worker->delivery == NULL)
            continue;
        if (now >= worker->deadline || (ends && !worker->warned))
            late = worker;
        else if (worker->deadline < *until)
            *until = worker->deadline;
    }
    if (late != NULL)
        late->pinned = late->warned = 1;
    relay->watch_until = *until;
    pthread_mutex_unlock(&relay->lock);
    return late;
}

/* Tells the publisher, the first time. After that, a publish() that does not get on is not waited for by everyone else:
 * the lease runs out. One that is only slow keeps it. */
static void see_to(outbox_relay *relay, struct outbox_worker *worker)
{
    int64_t limit = outbox_conf__number(relay->conf, CONF_RELAY_PUBLISH_TIMEOUT) + OUTBOX_DELIVERY_PATIENCE, since, now;
    char lanes[OUTBOX_BATCH_LANES];
    int stuck, news;

    outbox_delivery__warn(worker->delivery);
    since = outbox_delivery__stuck_since(worker->delivery);
    now = outbox_thread__clock();
    stuck = since != INT64_MAX && now - since >= limit;
    pthread_mutex_lock(&relay->lock);
    worker->deadline = since == INT64_MAX ? INT64_MAX : stuck ? now + limit : since + limit;
    news = stuck && !worker->stuck;
    worker->stuck = stuck;
    memcpy(lanes, worker->lanes, sizeof(lanes));
    worker->pinned = 0;
    pthread_cond_broadcast(&relay->unpinned);
    pthread_mutex_unlock(&relay->lock);
    if (news)
        outbox_log__write(relay->conf, OUTBOX_LOG_WARNING,
                          "the publisher %s has not returned for %lld ms, with messages of %s in hand: leases are not "
                          "renewed any more, so that another relay takes over",
                          outbox_publisher_name(relay->publisher), (long long)(now - since) / 1000, lanes);
}

void *outbox_relay__watcher(void *arg)
{
    outbox_relay *relay = arg;

    while (!outbox_signal__stopped(&relay->watching)) {
        int64_t until, now;
        struct outbox_worker *late = pin_late(relay, &until);

        if (late != NULL) {
            see_to(relay, late);
            continue;
        }
        now = outbox_thread__clock();
        if (until > now + OUTBOX_WATCH_MAX)
            until = now + OUTBOX_WATCH_MAX;
        if (until > now)
            outbox_signal__await(&relay->watching, until - now);
    }
    return NULL;
}

void outbox_relay__watch(struct outbox_worker *worker, outbox_delivery *d, const outbox_batch *batch, int64_t timeout)
{
    outbox_relay *relay = worker->relay;
    int poke;

    pthread_mutex_lock(&relay->lock);
    worker->delivery = d;
    worker->deadline = outbox_thread__clock() + timeout;
    outbox_batch__lanes(batch, worker->lanes);
    worker->warned = 0;
    poke = worker->deadline < relay->watch_until || relay->hurry;
    pthread_mutex_unlock(&relay->lock);
    if (poke)
        outbox_signal__poke(&relay->watching);
}

void outbox_relay__unwatch(struct outbox_worker *worker)
{
    outbox_relay *relay = worker->relay;

    pthread_mutex_lock(&relay->lock);
    while (worker->pinned)
        pthread_cond_wait(&relay->unpinned, &relay->lock);
    worker->delivery = NULL;
    worker->stuck = 0;
    pthread_mutex_unlock(&relay->lock);
}
