/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay: starting, stopping, and what its threads share. */
#include "relay_internal.h"
#include "error_internal.h"
#include "sized.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void outbox_relay__count(outbox_relay *relay, size_t offset, uint64_t n)
{
    pthread_mutex_lock(&relay->lock);
    *(uint64_t *)(void *)((char *)&relay->stats + offset) += n;
    pthread_mutex_unlock(&relay->lock);
}

static void count_cleaned(void *user, int64_t count)
{
    outbox_relay *relay = user;

    COUNT(relay, cleaned, (uint64_t)count);
    if (relay->hooks.cleaned != NULL)
        relay->hooks.cleaned(relay->hooks.user, count);
}

static void make_base(outbox_relay *relay)
{
    const char *name = outbox_conf__text(relay->conf, CONF_RELAY_NAME);
    char host[40] = "host";
    uint64_t random = 0;

    outbox_uuid__random(&random, sizeof(random));
    gethostname(host, sizeof(host) - 1);
    if (name[0] != '\0')
        snprintf(relay->base, sizeof(relay->base), "%s:%08llx", name, (unsigned long long)(random & 0xffffffff));
    else
        snprintf(relay->base, sizeof(relay->base), "%s:%ld:%08llx", host, (long)getpid(),
                 (unsigned long long)(random & 0xffffffff));
}

int outbox_relay_new(const char *dsn, const outbox_conf *conf, outbox_publisher *publisher, const outbox_hooks *hooks,
                     outbox_relay **out, outbox_error **err)
{
    outbox_hooks cleaned = OUTBOX_HOOKS_INIT;
    outbox_relay *relay;
    int rc;

    if (out == NULL || dsn == NULL || dsn[0] == '\0' || publisher == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "relay.incomplete", "a relay needs a database and a publisher");
    if (hooks != NULL && hooks->size < sizeof(size_t))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "hooks.bad_size",
                                 "the hooks' size is not set: start from OUTBOX_HOOKS_INIT");
    *out = NULL;
    relay = calloc(1, sizeof(*relay));
    if (relay == NULL)
        return outbox_error__nomem(err);
    pthread_mutex_init(&relay->lock, NULL);
    outbox_signal__init(&relay->signal);
    outbox_signal__init(&relay->keeping);
    outbox_signal__init(&relay->watching);
    pthread_cond_init(&relay->unpinned, NULL);
    relay->publisher = publisher;
    relay->stats.size = sizeof(relay->stats);
    if (hooks != NULL)
        outbox_sized__take(&relay->hooks, sizeof(relay->hooks), hooks, hooks->size);
    relay->dsn = strdup(dsn);
    rc = relay->dsn != NULL ? outbox_conf__copy(conf, &relay->conf, err) : outbox_error__nomem(err);
    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(relay->conf, "conn.create", "off", err);
    if (rc == OUTBOX_OK) {
        make_base(relay);
        outbox_breaker__init(&relay->breaker, relay->conf);
        outbox_trouble__init(&relay->trouble, relay->conf, "connected to the database again");
        relay->count = (int)outbox_conf__number(relay->conf, CONF_RELAY_WORKERS);
        outbox_idle__init(&relay->idle, relay->count, outbox_conf__number(relay->conf, CONF_RELAY_POLL_INTERVAL));
        relay->workers = calloc((size_t)relay->count, sizeof(*relay->workers));
        rc = relay->workers != NULL ? OUTBOX_OK : outbox_error__nomem(err);
    }
    cleaned.user = relay;
    cleaned.cleaned = count_cleaned;
    if (rc == OUTBOX_OK && outbox_conf__number(relay->conf, CONF_RELAY_CLEANER) == CLEANER_ON)
        rc = outbox_cleaner_new(dsn, relay->conf, &cleaned, &relay->cleaner, err);
    if (rc != OUTBOX_OK) {
        outbox_relay_free(relay);
        return rc;
    }
    *out = relay;
    return OUTBOX_OK;
}

/* The first connection is made here, so that what is wrong with the settings is told to the caller. */
static int first_connection(outbox_relay *relay, outbox_error **err)
{
    struct outbox_worker *worker = &relay->workers[0];
    int rc;

    snprintf(worker->owner, sizeof(worker->owner), "%s/0.0", relay->base);
    rc = outbox_conn_open(relay->dsn, relay->conf, &worker->conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_consumer_new(worker->conn, relay->conf, worker->owner, &worker->consumer, err);
    if (rc == OUTBOX_OK) {
        worker->relay = relay;
        outbox_relay__engage(worker);
    } else {
        outbox_conn_close(worker->conn);
        worker->conn = NULL;
    }
    return rc;
}

/* Its worker closes it, if it was started. */
static void drop_first_connection(outbox_relay *relay)
{
    struct outbox_worker *worker = &relay->workers[0];

    outbox_consumer_free(worker->consumer);
    outbox_conn_close(worker->conn);
    worker->consumer = NULL;
    worker->conn = NULL;
}

static void join_workers(outbox_relay *relay)
{
    int i;

    for (i = 0; i < relay->count; i++)
        if (relay->workers[i].started) {
            pthread_join(relay->workers[i].thread, NULL);
            relay->workers[i].started = 0;
        }
    outbox_waker__stop(relay->waker);
    relay->waker = NULL;
    if (relay->keeper_started) {
        outbox_signal__stop(&relay->keeping);
        pthread_join(relay->keeper, NULL);
        relay->keeper_started = 0;
    }
    if (relay->watcher_started) {
        outbox_signal__stop(&relay->watching);
        pthread_join(relay->watcher, NULL);
        relay->watcher_started = 0;
    }
    if (relay->cleaner != NULL && relay->cleaning) {
        relay->cleaning = 0;
        outbox_cleaner_stop(relay->cleaner);
        outbox_cleaner_join(relay->cleaner, NULL);
    }
}

/* On the waker's thread. */
static void hint(void *ctx, int sure)
{
    outbox_relay *relay = ctx;

    COUNT(relay, wakeups, 1);
    outbox_idle__wake(&relay->idle, sure);
}

static int start_threads(outbox_relay *relay, outbox_error **err)
{
    char name[16];
    int i, rc = OUTBOX_OK;

    /* First, while the connection is still this thread's. */
    if (!relay->once)
        rc = outbox_waker__start(relay->workers[0].conn, relay->dsn, relay->conf, &relay->idle, hint, relay,
                                 &relay->waker, err);
    for (i = 0; i < relay->count && rc == OUTBOX_OK; i++) {
        struct outbox_worker *worker = &relay->workers[i];

        worker->relay = relay;
        worker->index = i;
        snprintf(name, sizeof(name), "outbox-relay%d", i % 100);
        rc = outbox_thread__start(&worker->thread, name, outbox_relay__worker, worker, err);
        worker->started = rc == OUTBOX_OK;
    }
    if (rc == OUTBOX_OK) {
        rc = outbox_thread__start(&relay->keeper, "outbox-keeper", outbox_relay__keeper, relay, err);
        relay->keeper_started = rc == OUTBOX_OK;
    }
    if (rc == OUTBOX_OK) {
        rc = outbox_thread__start(&relay->watcher, "outbox-watcher", outbox_relay__watcher, relay, err);
        relay->watcher_started = rc == OUTBOX_OK;
    }
    if (rc == OUTBOX_OK && relay->cleaner != NULL && !relay->once) {
        rc = outbox_cleaner_start(relay->cleaner, err);
        relay->cleaning = rc == OUTBOX_OK;
    }
    return rc;
}

/* `running` is of the thread that starts and joins; this is what others may know. */
static void set_up(outbox_relay *relay, int up)
{
    pthread_mutex_lock(&relay->lock);
    relay->up = up;
    pthread_mutex_unlock(&relay->lock);
}

static int start(outbox_relay *relay, int once, outbox_error **err)
{
    int rc;

    if (relay->running)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "relay.running", "this relay runs already");
    rc = first_connection(relay, err);
    if (rc != OUTBOX_OK)
        return rc;
    relay->once = once;
    relay->running = 1;
    rc = start_threads(relay, err);
    if (rc != OUTBOX_OK) {
        outbox_relay_stop(relay);
        outbox_relay_join(relay, NULL);
        drop_first_connection(relay);
    } else {
        set_up(relay, 1);
    }
    return rc;
}

int outbox_relay_start(outbox_relay *relay, outbox_error **err)
{
    return start(relay, 0, err);
}

void outbox_relay_stop(outbox_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    if (relay->stop_at == 0)
        relay->stop_at = outbox_thread__clock() + outbox_conf__number(relay->conf, CONF_RELAY_DRAIN_TIMEOUT) + 1;
    pthread_mutex_unlock(&relay->lock);
    outbox_signal__stop(&relay->signal);
    outbox_idle__stop(&relay->idle);
    outbox_signal__poke(&relay->watching);
}

void outbox_relay_hurry(outbox_relay *relay)
{
    relay->hurry = 1;
    outbox_relay_stop(relay);
}

int outbox_relay_join(outbox_relay *relay, outbox_error **err)
{
    int rc = OUTBOX_OK;

    if (!relay->running)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "relay.not_started", "this relay was not started");
    join_workers(relay);
    relay->running = 0;
    set_up(relay, 0);
    /* It may be started again. A stop that comes before that counts for the next run. */
    outbox_signal__reset(&relay->signal);
    outbox_idle__reset(&relay->idle);
    outbox_signal__reset(&relay->keeping);
    outbox_signal__reset(&relay->watching);
    pthread_mutex_lock(&relay->lock);
    relay->stop_at = 0;
    relay->hurry = 0;
    if (relay->failure != NULL) {
        rc = outbox_error_status(relay->failure);
        if (err != NULL && *err == NULL)
            *err = relay->failure;
        else
            outbox_error_free(relay->failure);
        relay->failure = NULL;
    }
    pthread_mutex_unlock(&relay->lock);
    return rc;
}

int outbox_relay_run(outbox_relay *relay, outbox_error **err)
{
    int rc = start(relay, 0, err);

    return rc == OUTBOX_OK ? outbox_relay_join(relay, err) : rc;
}

int outbox_relay_run_once(outbox_relay *relay, outbox_error **err)
{
    int rc = start(relay, 1, err);

    return rc == OUTBOX_OK ? outbox_relay_join(relay, err) : rc;
}

void outbox_relay_wake(outbox_relay *relay)
{
    hint(relay, 1);
}

void outbox_relay__view(outbox_relay *relay, struct outbox_relay_view *view)
{
    int i;

    memset(view, 0, sizeof(*view));
    pthread_mutex_lock(&relay->trouble.lock);
    view->in_trouble = relay->trouble.threads;
    pthread_mutex_unlock(&relay->trouble.lock);
    if (relay->cleaner != NULL)
        outbox_cleaner__progress(relay->cleaner, &view->cleaner);
    outbox_idle__why(&relay->idle, view->no_wakes);
    pthread_mutex_lock(&relay->lock);
    view->publish_time = relay->publish_time;
    view->latency = relay->latency;
    view->up = relay->up;
    view->workers = relay->count;
    view->stopping = relay->stop_at != 0;
    view->silent = relay->silent;
    for (i = 0; i < relay->count; i++) {
        view->lanes_held += (int)relay->workers[i].holds;
        view->stuck += relay->workers[i].stuck;
    }
    pthread_mutex_unlock(&relay->lock);
}

int outbox_relay_stats_get(outbox_relay *relay, outbox_relay_stats *stats)
{
    size_t size = stats != NULL ? stats->size : 0;
    int wake = outbox_idle__state(&relay->idle);
    uint64_t down, outages, probes;

    if (size < sizeof(size_t) || size > sizeof(*stats))
        return OUTBOX_ERR_INVALID;
    outbox_breaker__look(&relay->breaker, &down, &outages, &probes);
    pthread_mutex_lock(&relay->lock);
    relay->stats.wake_state = (uint64_t)wake;
    relay->stats.broker_down = down;
    relay->stats.outages = outages;
    relay->stats.probes = probes;
    memcpy(stats, &relay->stats, size);
    pthread_mutex_unlock(&relay->lock);
    stats->size = size;
    return OUTBOX_OK;
}

void outbox_relay_free(outbox_relay *relay)
{
    if (relay == NULL)
        return;
    if (relay->running) {
        outbox_relay_stop(relay);
        outbox_relay_join(relay, NULL);
    }
    outbox_cleaner_free(relay->cleaner);
    outbox_signal__destroy(&relay->signal);
    outbox_signal__destroy(&relay->keeping);
    outbox_signal__destroy(&relay->watching);
    pthread_cond_destroy(&relay->unpinned);
    if (relay->breaker.conf != NULL) { /* these three are made together */
        outbox_idle__destroy(&relay->idle);
        outbox_breaker__destroy(&relay->breaker);
        outbox_trouble__destroy(&relay->trouble);
    }
    pthread_mutex_destroy(&relay->lock);
    outbox_error_free(relay->failure);
    outbox_conf_free(relay->conf);
    free(relay->workers);
    free(relay->dsn);
    free(relay);
}
