/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cleaner's thread: a pass, a pause, a pass; with a connection of its own that it makes anew when it is lost.
 * The signal and the progress are all that is shared. */
#include "backoff.h"
#include "clean.h"
#include "error_internal.h"
#include "log.h"
#include "trouble.h"
#include "sized.h"

#include <outbox/relay.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct outbox_cleaner {
    char *dsn;
    outbox_conf *conf;
    outbox_hooks hooks;
    struct outbox_signal signal;
    struct outbox_trouble trouble; /* with the database; only the thread's: the relay is not told to be in trouble until
                                      the next pass, which may be far off */
    int in_trouble;
    pthread_mutex_t lock;          /* guards progress */
    struct outbox_cleaner_progress progress;
    pthread_t thread;
    int started;
};

int outbox_cleaner_new(const char *dsn, const outbox_conf *conf, const outbox_hooks *hooks, outbox_cleaner **out,
                       outbox_error **err)
{
    outbox_cleaner *c;
    int rc;

    if (out == NULL || dsn == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "cleaner.no_dsn", "a cleaner needs to know its database");
    if (hooks != NULL && hooks->size < sizeof(size_t))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "hooks.bad_size",
                                 "the hooks' size is not set: start from OUTBOX_HOOKS_INIT");
    *out = NULL;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return outbox_error__nomem(err);
    c->dsn = strdup(dsn);
    rc = c->dsn != NULL ? outbox_conf__copy(conf, &c->conf, err) : outbox_error__nomem(err);
    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(c->conf, "conn.create", "off", err);
    if (rc != OUTBOX_OK) {
        outbox_conf_free(c->conf);
        free(c->dsn);
        free(c);
        return rc;
    }
    if (hooks != NULL)
        outbox_sized__take(&c->hooks, sizeof(c->hooks), hooks, hooks->size);
    outbox_signal__init(&c->signal);
    outbox_trouble__init(&c->trouble, c->conf, "the cleaner goes on");
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return OUTBOX_OK;
}

static int idle_forever(const outbox_cleaner *c)
{
    return outbox_conf__number(c->conf, CONF_CLEAN_INTERVAL) == 0 ||
           (outbox_conf__number(c->conf, CONF_CLEAN_RETENTION) == CONF_FOREVER &&
            outbox_conf__number(c->conf, CONF_CLEAN_DEAD_RETENTION) == CONF_FOREVER &&
            outbox_conf__number(c->conf, CONF_DEDUP_WINDOW) == CONF_FOREVER);
}

static void tell_error(outbox_cleaner *c, int rc, const outbox_error *err)
{
    char interval[OUTBOX_LOG_SECONDS], next[80];

    outbox_log__seconds(outbox_conf__number(c->conf, CONF_CLEAN_INTERVAL), interval);
    snprintf(next, sizeof(next), "trying again every %s (clean.interval)", interval);
    if (rc == OUTBOX_ERR_CONFLICT)
        outbox_log__write(c->conf, OUTBOX_LOG_DEBUG, "the cleaner goes on later: %s", outbox_error_message(err));
    else
        outbox_trouble__met(&c->trouble, &c->in_trouble, "the cleaner cannot go on", err, next);
}

static void note_pass(outbox_cleaner *c, int rc)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&c->lock);
    if (rc < 0) {
        c->progress.failures++;
    } else {
        c->progress.passes++;
        c->progress.last_pass = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    }
    pthread_mutex_unlock(&c->lock);
}

void outbox_cleaner__progress(outbox_cleaner *c, struct outbox_cleaner_progress *progress)
{
    pthread_mutex_lock(&c->lock);
    *progress = c->progress;
    pthread_mutex_unlock(&c->lock);
}

static int pass(outbox_cleaner *c, outbox_conn **conn)
{
    struct outbox_clean_limits limits;
    outbox_error *err = NULL;
    int64_t removed = 0;
    int rc = *conn != NULL ? OUTBOX_OK : outbox_conn_open(c->dsn, c->conf, conn, &err);

    outbox_clean__limits(c->conf, &limits);
    if (rc == OUTBOX_OK)
        rc = outbox_clean__pass(*conn, &limits, &c->signal, &removed, &err);
    if (rc < 0) {
        tell_error(c, rc, err);
        outbox_conn_close(*conn);
        *conn = NULL;
    } else if (removed > 0) {
        outbox_log__write(c->conf, OUTBOX_LOG_DEBUG, "cleaned %lld rows", (long long)removed);
        if (c->hooks.cleaned != NULL)
            c->hooks.cleaned(c->hooks.user, removed);
    }
    note_pass(c, rc);
    if (rc >= 0)
        outbox_trouble__over(&c->trouble, &c->in_trouble);
    outbox_error_free(err);
    return rc;
}

static void *clean_thread(void *arg)
{
    outbox_cleaner *c = arg;
    int64_t interval = outbox_conf__number(c->conf, CONF_CLEAN_INTERVAL);
    outbox_conn *conn = NULL;

    while (!outbox_signal__stopped(&c->signal)) {
        pass(c, &conn);
        /* A little sooner or later, so that many cleaners do not come all at once. */
        outbox_signal__wait(&c->signal, interval - interval / 8 + outbox_backoff__random(interval / 4));
    }
    outbox_conn_close(conn);
    return NULL;
}

int outbox_cleaner_start(outbox_cleaner *c, outbox_error **err)
{
    int rc;

    if (c->started)
        return outbox_error__set(err, OUTBOX_ERR_STATE, "cleaner.started", "this cleaner runs already");
    if (idle_forever(c)) {
        outbox_log__write(c->conf, OUTBOX_LOG_INFO, "no cleaner: clean.interval is 0, or everything is kept forever");
        return OUTBOX_OK;
    }
    rc = outbox_thread__start(&c->thread, "outbox-cleaner", clean_thread, c, err);
    c->started = rc == OUTBOX_OK;
    return rc;
}

void outbox_cleaner_stop(outbox_cleaner *c)
{
    outbox_signal__stop(&c->signal);
}

int outbox_cleaner_join(outbox_cleaner *c, outbox_error **err)
{
    if (!c->started)
        return idle_forever(c) ? OUTBOX_OK
                               : outbox_error__set(err, OUTBOX_ERR_STATE, "cleaner.not_started",
                                                   "this cleaner was not started");
    pthread_join(c->thread, NULL);
    c->started = 0;
    outbox_signal__reset(&c->signal);
    return OUTBOX_OK;
}

int outbox_cleaner_run(outbox_cleaner *c, outbox_error **err)
{
    int rc = outbox_cleaner_start(c, err);

    return rc == OUTBOX_OK ? outbox_cleaner_join(c, err) : rc;
}

void outbox_cleaner_free(outbox_cleaner *c)
{
    if (c == NULL)
        return;
    if (c->started) {
        outbox_cleaner_stop(c);
        outbox_cleaner_join(c, NULL);
    }
    outbox_trouble__destroy(&c->trouble);
    pthread_mutex_destroy(&c->lock);
    outbox_signal__destroy(&c->signal);
    outbox_conf_free(c->conf);
    free(c->dsn);
    free(c);
}
