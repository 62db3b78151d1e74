/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that waits for wake-ups; waker.h says what it shares. */
#include "waker.h"
#include "dsn.h"
#include "error_internal.h"
#include "log.h"
#include "module.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCES 3

struct source {
    const outbox_wake_ops *ops;
    void *self;
    outbox_wake_wait wait;
};

struct outbox_waker {
    const outbox_conf *conf;
    struct outbox_idle *idle;
    outbox_wake_host host;
    char *target, *channel, *conninfo;
    int (*conninfo_of)(const char *string, char **conninfo, outbox_error **err); /* the driver's */
    void (*wake)(void *ctx, int sure);
    void *ctx;
    struct source sources[SOURCES];
    int count;
    int pipe[2];          /* a byte: the mood changed, or stop */
    pthread_t thread;
    int started;
    pthread_mutex_t lock; /* guards stop */
    int stop;
};

/* ---- the thread ---- */

static void host_wake(void *ctx, int sure)
{
    struct outbox_waker *waker = ctx;

    waker->wake(waker->ctx, sure);
}

static void host_log(void *ctx, outbox_log_level level, const char *text)
{
    struct outbox_waker *waker = ctx;

    outbox_log__write(waker->conf, level, "%s", text);
}

static void poke(void *ctx)
{
    struct outbox_waker *waker = ctx;

    /* A full pipe holds enough bytes already. */
    while (write(waker->pipe[1], "", 1) < 0 && errno == EINTR)
        ;
}

/* One round: each source does what it can. Returns when to be back at the latest. */
static int64_t step(struct outbox_waker *waker)
{
    outbox_wake_state best = OUTBOX_WAKE_NONE;
    const char *why = "";
    int64_t until, now = outbox_thread__clock();
    enum outbox_mood mood = outbox_idle__mood(waker->idle, &until);
    int i, covered = 0;

    for (i = 0; i < waker->count; i++) {
        struct source *s = &waker->sources[i];

        s->wait.now = now;
        s->wait.until = INT64_MAX;
        s->wait.fd[0] = s->wait.fd[1] = -1;
        s->ops->step(s->self, (outbox_wake_mood)mood, &s->wait);
        covered |= s->wait.covered;
        until = s->wait.until < until ? s->wait.until : until;
        best = s->wait.state > best ? s->wait.state : best;
        if (s->wait.state == OUTBOX_WAKE_DOWN && why[0] == '\0') /* whatever the others are like */
            why = s->wait.why;
    }
    outbox_idle__cover(waker->idle, covered, best, why);
    return until;
}

static void wait_for(struct outbox_waker *waker, int64_t until)
{
    struct pollfd fds[1 + SOURCES * OUTBOX_WAKE_FDS];
    int64_t left = until == INT64_MAX ? -1 : until - outbox_thread__clock();
    char bytes[64];
    int i, k, n = 1;

    fds[0] = (struct pollfd){ waker->pipe[0], POLLIN, 0 };
    for (i = 0; i < waker->count; i++)
        for (k = 0; k < OUTBOX_WAKE_FDS; k++, n++)
            fds[n] = (struct pollfd){ waker->sources[i].wait.fd[k], waker->sources[i].wait.events[k], 0 };
    /* Rounded up: a round too early would only have to wait again. */
    left = until == INT64_MAX ? -1 : left <= 0 ? 0 : left > 3600000000 ? 3600000 : (left + 999) / 1000;
    if (poll(fds, (nfds_t)n, (int)left) <= 0)
        for (i = 0; i < n; i++)
            fds[i].revents = 0;
    while (read(waker->pipe[0], bytes, sizeof(bytes)) > 0)
        ;
    for (n = 1, i = 0; i < waker->count; i++)
        for (k = 0; k < OUTBOX_WAKE_FDS; k++, n++)
            waker->sources[i].wait.revents[k] = fds[n].revents;
}

static void *run(void *arg)
{
    struct outbox_waker *waker = arg;
    int stop = 0;

    while (!stop) {
        wait_for(waker, step(waker));
        pthread_mutex_lock(&waker->lock);
        stop = waker->stop;
        pthread_mutex_unlock(&waker->lock);
    }
    outbox_idle__cover(waker->idle, 0, OUTBOX_WAKE_NONE, "");
    return NULL;
}

/* ---- finding the sources ---- */

struct target {
    char *target, *channel;
};

static int take_target(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct target *t = ctx;

    free(t->target);
    free(t->channel);
    t->target = strdup(cells[0].data != NULL ? cells[0].data : "");
    t->channel = strdup(cells[1].data != NULL ? cells[1].data : "");
    return t->target != NULL && t->channel != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

static int ask_target(outbox_conn *conn, struct target *t, outbox_error **err)
{
    outbox_arena arena = { NULL };
    struct outbox_result result = { "tt", &arena, take_target, t, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = OUTBOX_OK;

    if (outbox_conn__sql(conn, Q_WAKE) != NULL)
        rc = outbox_conn__run(conn, Q_WAKE, &args, 0, "ask what to watch for wake-ups", &result, err);
    outbox_arena__free(&arena);
    return rc;
}

/* Where the database's own client library connects to: what the settings say, or what the DSN does. */
static int find_conninfo(const struct outbox_waker *waker, const char *dsn, char **conninfo, outbox_error **err)
{
    const char *said = outbox_conf__text(waker->conf, CONF_WAKE_CONNINFO);
    char *string = NULL;
    int rc = OUTBOX_OK;

    if (said[0] != '\0') {
        *conninfo = strdup(said);
        return *conninfo != NULL ? OUTBOX_OK : outbox_error__nomem(err);
    }
    if (waker->conninfo_of != NULL)
        rc = outbox_dsn__expand(dsn, waker->conf, &string, err);
    if (rc == OUTBOX_OK && string != NULL)
        rc = waker->conninfo_of(string, conninfo, err);
    free(string);
    return rc;
}

/* A DSN that cannot be read now is taken for unchanged. */
static const char *host_where(void *ctx)
{
    struct outbox_waker *waker = ctx;
    char *conninfo = NULL;

    if (find_conninfo(waker, waker->host.dsn, &conninfo, NULL) == OUTBOX_OK && conninfo != NULL) {
        free(waker->conninfo);
        waker->conninfo = conninfo;
        waker->host.conninfo = conninfo;
    }
    return waker->host.conninfo;
}

static int add(struct outbox_waker *waker, const outbox_wake_ops *ops, outbox_error **err)
{
    struct source *s = &waker->sources[waker->count];
    int rc = ops->open(&waker->host, &s->self, err);

    if (rc != OUTBOX_OK)
        return rc;
    s->ops = ops;
    s->wait.size = sizeof(s->wait);
    waker->count++;
    return OUTBOX_OK;
}

/* Without wake-ups a relay works as well: what is only `auto` and fails is told, and done without. */
static int do_without(struct outbox_waker *waker, int rc, int needed, outbox_error **err, outbox_error *why)
{
    if (rc == OUTBOX_OK || needed) {
        if (rc != OUTBOX_OK && err != NULL && *err == NULL)
            *err = why;
        else
            outbox_error_free(why);
        return rc;
    }
    outbox_log__write(waker->conf,
                      outbox_error_status(why) == OUTBOX_ERR_UNSUPPORTED ? OUTBOX_LOG_INFO : OUTBOX_LOG_WARNING,
                      "the relay polls: %s", outbox_error_message(why));
    outbox_error_free(why);
    return OUTBOX_OK;
}

static int add_module(struct outbox_waker *waker, const char *module, int needed, outbox_error **err)
{
    const outbox_wake_ops *ops = NULL;
    outbox_error *why = NULL;
    void *entry;
    int rc = outbox_module__find("wake", module, &entry, &why);

    if (rc == OUTBOX_OK) {
        outbox_wake_entry function;

        memcpy(&function, &entry, sizeof(function));
        ops = function();
        if (ops == NULL || ops->abi != OUTBOX_WAKE_ABI || ops->size < sizeof(*ops))
            rc = outbox_error__set(&why, OUTBOX_ERR_UNSUPPORTED, "module.version",
                                   "the wake-up module for %s is of another version than the library: install both from "
                                   "the same release", module);
    }
    if (rc == OUTBOX_OK)
        rc = add(waker, ops, &why);
    return do_without(waker, rc, needed, err, why);
}

static int add_sources(struct outbox_waker *waker, const struct outbox_driver *driver, outbox_error **err)
{
    const outbox_conf *conf = waker->conf;
    int64_t listen = outbox_conf__number(conf, CONF_WAKE_LISTEN);
    outbox_error *why = NULL;
    int file, rc = OUTBOX_OK;

    if (listen == LISTEN_ON && (driver->wake_module == NULL || waker->channel[0] == '\0'))
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "wake.no_listen",
                                 "wake.listen is on, but this outbox does not notify: only the postgresql driver does");
    if (driver->wake_module != NULL && waker->channel[0] != '\0' && listen != LISTEN_OFF)
        rc = add_module(waker, driver->wake_module, listen == LISTEN_ON, err);
    if (rc == OUTBOX_OK && driver->wake_file && waker->target[0] != '\0' &&
        outbox_conf__number(conf, CONF_WAKE_FILE) == FILE_ON) {
        file = add(waker, &outbox_wake__file, &why);
        rc = do_without(waker, file, 0, err, why);
    }
    if (rc == OUTBOX_OK && outbox_conf__text(conf, CONF_WAKE_SOCKET)[0] != '\0')
        rc = add(waker, &outbox_wake__socket, err);
    return rc;
}

/* ---- start and stop ---- */

static void destroy(struct outbox_waker *waker)
{
    close(waker->pipe[0]);
    close(waker->pipe[1]);
    pthread_mutex_destroy(&waker->lock);
    free(waker->target);
    free(waker->channel);
    free(waker->conninfo);
    free(waker);
}

static int create(const outbox_conf *conf, struct outbox_waker **out, outbox_error **err)
{
    struct outbox_waker *waker = calloc(1, sizeof(*waker));

    if (waker == NULL)
        return outbox_error__nomem(err);
    if (pipe2(waker->pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(waker);
        return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "wake.no_pipe", "cannot make a pipe: %s", strerror(errno));
    }
    pthread_mutex_init(&waker->lock, NULL);
    waker->conf = conf;
    *out = waker;
    return OUTBOX_OK;
}

int outbox_waker__start(outbox_conn *conn, const char *dsn, const outbox_conf *conf, struct outbox_idle *idle,
                        void (*wake)(void *ctx, int sure), void *ctx, struct outbox_waker **out, outbox_error **err)
{
    struct outbox_waker *waker = NULL;
    struct target target = { NULL, NULL };
    int rc = create(conf, &waker, err);

    *out = NULL;
    if (rc != OUTBOX_OK)
        return rc;
    waker->idle = idle;
    waker->wake = wake;
    waker->ctx = ctx;
    rc = ask_target(conn, &target, err);
    waker->target = target.target != NULL ? target.target : strdup("");
    waker->channel = target.channel != NULL ? target.channel : strdup("");
    if (rc == OUTBOX_OK && (waker->target == NULL || waker->channel == NULL))
        rc = outbox_error__nomem(err);
    waker->conninfo_of = conn->driver.conninfo;
    if (rc == OUTBOX_OK)
        rc = find_conninfo(waker, dsn, &waker->conninfo, err);
    waker->host = (outbox_wake_host){
        .size = sizeof(waker->host), .ctx = waker, .dsn = dsn, .target = waker->target, .channel = waker->channel,
        .conf = conf, .conninfo = waker->conninfo != NULL ? waker->conninfo : "",
        .check_interval = outbox_conf__number(conf, CONF_WAKE_CHECK_INTERVAL), .wake = host_wake, .log = host_log,
        .where = host_where,
    };
    if (rc == OUTBOX_OK)
        rc = add_sources(waker, &conn->driver, err);
    if (rc == OUTBOX_OK && waker->count > 0) {
        outbox_idle__watch(idle, poke, waker);
        rc = outbox_thread__start(&waker->thread, "outbox-waker", run, waker, err);
        waker->started = rc == OUTBOX_OK;
    }
    if (waker->started)
        *out = waker;
    else
        outbox_waker__stop(waker);
    return rc;
}

void outbox_waker__stop(struct outbox_waker *waker)
{
    int i;

    if (waker == NULL)
        return;
    if (waker->started) {
        pthread_mutex_lock(&waker->lock);
        waker->stop = 1;
        pthread_mutex_unlock(&waker->lock);
        poke(waker);
        pthread_join(waker->thread, NULL);
    }
    for (i = 0; i < waker->count; i++)
        waker->sources[i].ops->close(waker->sources[i].self);
    outbox_idle__watch(waker->idle, NULL, NULL);
    destroy(waker);
}
