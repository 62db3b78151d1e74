/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_FIRST_MS 500
#define RETRY_LAST_MS 30000

static time_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void daemon_init(struct daemon *d, struct daemon_log *log, bool once)
{
    pthread_condattr_t attributes;

    *d = (struct daemon){ .log = log, .once = once, .main = pthread_self() };
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void daemon_destroy(struct daemon *d)
{
    while (d->first != NULL) {
        struct daemon_outbox *o = d->first;
        d->first = o->next;
        daemon_free(o);
    }
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

/* ---- one outbox ---- */

static int say_error(const struct cli *cli, struct daemon_outbox *o, outbox_error *err)
{
    if (cli->say != NULL)
        cli_fail(cli, "%s%s%s", o->settings.name != NULL ? o->settings.name : "", o->settings.name != NULL ? ": " : "",
                 outbox_error_message(err));
    else
        daemon_log_source_write(&o->log, OUTBOX_LOG_ERROR, outbox_error_message(err));
    outbox_error_free(err);
    return CLI_FAILED;
}

int daemon_make(struct daemon *d, const struct cli *cli, struct cli_settings *settings, const char *dsn,
                const char *publisher, struct daemon_outbox **made)
{
    struct daemon_outbox *o = calloc(1, sizeof(*o));
    outbox_error *err = NULL;
    int rc, status = CLI_OK;

    *made = NULL;
    if (o == NULL)
        return cli_fail(cli, "out of memory");
    o->daemon = d;
    o->settings = *settings;
    *settings = (struct cli_settings){ 0 };
    o->dsn = dsn;
    o->log = (struct daemon_log_source){ d->log, o->settings.name };
    outbox_conf_set_log(o->settings.conf, daemon_log_source_write, &o->log);
    rc = outbox_publisher_open(publisher, o->settings.conf, &o->publisher, &err);
    if (rc != OUTBOX_OK) {
        say_error(cli, o, err);
        status = CLI_FAILED;
        if (rc == OUTBOX_ERR_INVALID || rc == OUTBOX_ERR_UNSUPPORTED || rc == OUTBOX_ERR_CONF)
            status = CLI_USAGE;
    } else if (outbox_relay_new(dsn, o->settings.conf, o->publisher, NULL, &o->relay, &err) != OUTBOX_OK) {
        status = say_error(cli, o, err);
    /* The relay has its copy; whoever pins the outbox must not make a database where there is none. */
    } else if (outbox_conf_set(o->settings.conf, "conn.create", "off", &err) != OUTBOX_OK) {
        status = say_error(cli, o, err);
    }
    if (status == CLI_OK)
        *made = o;
    else
        daemon_free(o);
    return status;
}

void daemon_free(struct daemon_outbox *o)
{
    /* It may have said that it has ended, and not be back from there. */
    if (o->started)
        pthread_join(o->runner, NULL);
    outbox_relay_free(o->relay);
    outbox_publisher_free(o->publisher);
    cli_settings_free(&o->settings);
    free(o);
}

static void log_stats(struct daemon_outbox *o)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;

    if (outbox_relay_stats_get(o->relay, &s) != OUTBOX_OK)
        return;
    daemon_log_source_printf(&o->log, OUTBOX_LOG_INFO,
                             "stopped: %" PRIu64 " published, %" PRIu64 " failed and retried, %" PRIu64 " dead, "
                             "%" PRIu64 " held, %" PRIu64 " batch%s, %" PRIu64 " fenced, "
                             "%" PRIu64 " database error%s, %" PRIu64 " outage%s of the broker, %" PRIu64 " cleaned",
                             s.published, s.failed, s.dead, s.held, s.batches, s.batches == 1 ? "" : "es", s.fenced,
                             s.db_errors, s.db_errors == 1 ? "" : "s", s.outages, s.outages == 1 ? "" : "s", s.cleaned);
}

/* ---- its runner ---- */

static void set_state(struct daemon_outbox *o, enum daemon_state state)
{
    pthread_mutex_lock(&o->daemon->lock);
    o->state = state;
    pthread_mutex_unlock(&o->daemon->lock);
    pthread_kill(o->daemon->main, SIGUSR1);
}

static bool is_stopping(struct daemon_outbox *o)
{
    bool stopping;

    pthread_mutex_lock(&o->daemon->lock);
    stopping = o->stop != DAEMON_GO_ON;
    pthread_mutex_unlock(&o->daemon->lock);
    return stopping;
}

/* Waits, or returns at once when it has to stop or is poked. */
static void wait_ms(struct daemon_outbox *o, int ms)
{
    struct timespec until = cli_deadline(ms);

    pthread_mutex_lock(&o->daemon->lock);
    o->resting = true;
    while (o->stop == DAEMON_GO_ON && !o->poked &&
           pthread_cond_timedwait(&o->daemon->changed, &o->daemon->lock, &until) != ETIMEDOUT)
        continue;
    o->poked = false;
    o->resting = false;
    pthread_mutex_unlock(&o->daemon->lock);
}

/* A server that is not there yet, may come; what is wrong with the DSN is for somebody to correct. Names of errors and
 * not SQLSTATEs: psqlODBC gives 08001 to nearly all of them. */
static bool may_come_later(int rc, const outbox_error *err)
{
    static const char *const never[] = { "database.no_dsn",     "database.no_driver",  "database.password",
                                         "database.permission", "database.unknown",    "database.file" };
    const char *name = outbox_error_name(err);

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (strcmp(name, never[i]) == 0)
            return false;
    return rc == OUTBOX_ERR_CONNECT || rc == OUTBOX_ERR_LOST || rc == OUTBOX_ERR_CONFLICT || rc == OUTBOX_ERR_READONLY;
}

/* Why the relay does not run. */
struct trouble {
    char name[64]; /* of the error that was told last */
    time_t since;
};

/* The same trouble is told once. */
static bool is_told(struct trouble *trouble, const outbox_error *err)
{
    bool told = strcmp(trouble->name, outbox_error_name(err)) == 0;

    snprintf(trouble->name, sizeof(trouble->name), "%s", outbox_error_name(err));
    return told;
}

static void tell_waiting(struct daemon_outbox *o, struct trouble *trouble, const outbox_error *err, int ms)
{
    daemon_log_source_printf(&o->log, is_told(trouble, err) ? OUTBOX_LOG_DEBUG : OUTBOX_LOG_WARNING,
                             "%s; trying again in %d.%d s, then less and less often, in the end every %d s",
                             outbox_error_message(err), ms / 1000, ms % 1000 / 100, RETRY_LAST_MS / 1000);
}

/* With others beside it, it is not for one outbox to end them all: what is wrong with it may be put right. */
static void tell_failed(struct daemon_outbox *o, struct trouble *trouble, const outbox_error *err)
{
    outbox_log_level level = is_told(trouble, err) ? OUTBOX_LOG_DEBUG : OUTBOX_LOG_ERROR;

    if (o->settings.name == NULL)
        daemon_log_source_write(&o->log, level, outbox_error_message(err));
    else
        daemon_log_source_printf(&o->log, level, "%s; trying again every %d s, and at each reload",
                                 outbox_error_message(err), RETRY_LAST_MS / 1000);
}

/* Starts the relay and waits for its end. */
static int run_relay(struct daemon_outbox *o, struct trouble *trouble, outbox_error **err)
{
    int rc = outbox_relay_start(o->relay, err);

    pthread_mutex_lock(&o->daemon->lock);
    o->tries++;
    /* A stop that came while it started may have been too early for it. */
    if (rc == OUTBOX_OK && o->stop != DAEMON_GO_ON)
        outbox_relay_stop(o->relay);
    pthread_mutex_unlock(&o->daemon->lock);
    if (rc != OUTBOX_OK)
        return rc;
    if (trouble->name[0] != '\0')
        daemon_log_source_printf(&o->log, OUTBOX_LOG_WARNING, "connected to the database, after %lld s",
                                 (long long)(seconds() - trouble->since));
    trouble->name[0] = '\0';
    set_state(o, DAEMON_RUNNING);
    rc = outbox_relay_join(o->relay, err);
    trouble->since = seconds();
    return rc;
}

static int run_on(struct daemon_outbox *o)
{
    struct trouble trouble = { "", seconds() };
    int ms = RETRY_FIRST_MS, status;

    while (!is_stopping(o)) {
        outbox_error *err = NULL;
        int rc = run_relay(o, &trouble, &err);
        bool fails = rc != OUTBOX_OK && !may_come_later(rc, err);
        status = fails ? CLI_FAILED : CLI_OK;
        if (fails)
            tell_failed(o, &trouble, err);
        else if (rc != OUTBOX_OK)
            tell_waiting(o, &trouble, err, ms);
        outbox_error_free(err);
        if (rc == OUTBOX_OK || is_stopping(o))
            return status;
        set_state(o, fails ? DAEMON_FAILED : DAEMON_WAITING);
        wait_ms(o, fails ? RETRY_LAST_MS : ms);
        ms = ms < RETRY_LAST_MS / 2 ? ms * 2 : RETRY_LAST_MS;
    }
    return CLI_OK; /* what was wrong before it was told to stop is no matter now */
}

static int run_once(struct daemon_outbox *o)
{
    outbox_error *err = NULL;

    if (outbox_relay_run_once(o->relay, &err) == OUTBOX_OK)
        return CLI_OK;
    daemon_log_source_write(&o->log, OUTBOX_LOG_ERROR, outbox_error_message(err));
    outbox_error_free(err);
    return CLI_FAILED;
}

const char *daemon_outbox_name(const struct daemon_outbox *o)
{
    return o->settings.name != NULL ? o->settings.name : "outbox";
}

static void *run(void *user)
{
    struct daemon_outbox *o = user;
    int status;

    daemon_log_source_printf(&o->log, OUTBOX_LOG_INFO, "outboxd %s starts, publisher %s", outbox_version(),
                             outbox_publisher_name(o->publisher));
    status = o->daemon->once ? run_once(o) : run_on(o);
    log_stats(o);
    /* Here, as it may wait for a database that hangs: the main thread must not. */
    if (o->daemon->metrics != NULL)
        outbox_metrics_remove(o->daemon->metrics, daemon_outbox_name(o));
    pthread_mutex_lock(&o->daemon->lock);
    o->status = status;
    pthread_mutex_unlock(&o->daemon->lock);
    set_state(o, DAEMON_ENDED);
    return NULL;
}

/* ---- all ---- */

void daemon_add(struct daemon *d, struct daemon_outbox *o)
{
    struct daemon_outbox **end = &d->first;

    pthread_mutex_lock(&d->lock);
    while (*end != NULL)
        end = &(*end)->next;
    *end = o;
    pthread_mutex_unlock(&d->lock);
}

static bool same_name(const struct daemon_outbox *o, const char *name)
{
    return o->settings.name == NULL || name == NULL ? o->settings.name == name : strcmp(o->settings.name, name) == 0;
}

struct daemon_outbox *daemon_find(struct daemon *d, const char *name)
{
    struct daemon_outbox *o = d->first;

    while (o != NULL && (o->leaving || !same_name(o, name)))
        o = o->next;
    return o;
}

/* With the lock. A stop that comes before the relay's start counts for that. */
static void stop(struct daemon_outbox *o, enum daemon_stop how)
{
    if (how <= o->stop)
        return;
    o->stop = how;
    if (how == DAEMON_HURRY)
        outbox_relay_hurry(o->relay);
    else
        outbox_relay_stop(o->relay);
}

void daemon_leave(struct daemon_outbox *o)
{
    struct daemon *d = o->daemon;

    pthread_mutex_lock(&d->lock);
    o->leaving = true;
    stop(o, DAEMON_STOP);
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

void daemon_stop(struct daemon *d, enum daemon_stop how)
{
    pthread_mutex_lock(&d->lock);
    for (struct daemon_outbox *o = d->first; o != NULL; o = o->next)
        stop(o, how);
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

void daemon_poke(struct daemon *d)
{
    pthread_mutex_lock(&d->lock);
    for (struct daemon_outbox *o = d->first; o != NULL; o = o->next)
        o->poked = o->state == DAEMON_WAITING || o->state == DAEMON_FAILED;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

/* Takes out of the list one that has left and ended, or was never started. */
static struct daemon_outbox *take_left(struct daemon *d)
{
    struct daemon_outbox **at, *o;

    pthread_mutex_lock(&d->lock);
    for (at = &d->first; *at != NULL; at = &(*at)->next)
        if ((*at)->leaving && (*at)->users == 0 && (!(*at)->started || (*at)->state == DAEMON_ENDED))
            break;
    o = *at;
    if (o != NULL)
        *at = o->next;
    pthread_mutex_unlock(&d->lock);
    return o;
}

/* With the lock, main thread. One that has ended may still be pinned: that keeps nobody waiting. */
static bool is_draining(const struct daemon_outbox *o)
{
    return o->leaving && o->started && o->state != DAEMON_ENDED;
}

static bool has_forerunner(struct daemon *d, const struct daemon_outbox *o)
{
    bool has = false;

    pthread_mutex_lock(&d->lock);
    for (const struct daemon_outbox *other = d->first; other != NULL && !has; other = other->next)
        has = is_draining(other) && same_name(other, o->settings.name);
    pthread_mutex_unlock(&d->lock);
    return has;
}

static enum daemon_state state_of(struct daemon_outbox *o)
{
    enum daemon_state state;

    pthread_mutex_lock(&o->daemon->lock);
    state = o->state;
    pthread_mutex_unlock(&o->daemon->lock);
    return state;
}

/* Main thread. */
static void enter_state(struct daemon_outbox *o, enum daemon_state state)
{
    pthread_mutex_lock(&o->daemon->lock);
    o->state = state;
    pthread_mutex_unlock(&o->daemon->lock);
}

static int start(struct daemon *d, struct daemon_outbox *o)
{
    outbox_error *err = NULL;
    int rc;

    if (is_stopping(o)) {
        enter_state(o, DAEMON_ENDED);
        return CLI_OK;
    }
    /* Before the state says so. */
    if (d->metrics != NULL && outbox_metrics_add(d->metrics, daemon_outbox_name(o), o->relay, &err) != OUTBOX_OK) {
        daemon_log_source_write(&o->log, OUTBOX_LOG_ERROR, outbox_error_message(err));
        outbox_error_free(err);
        return CLI_FAILED;
    }
    enter_state(o, DAEMON_STARTING);
    rc = pthread_create(&o->runner, NULL, run, o);
    o->started = rc == 0;
    if (o->started)
        return CLI_OK;
    if (d->metrics != NULL)
        outbox_metrics_remove(d->metrics, daemon_outbox_name(o));
    enter_state(o, DAEMON_ENDED);
    daemon_log_source_printf(&o->log, OUTBOX_LOG_ERROR, "cannot start a thread: %s", strerror(rc));
    return CLI_FAILED;
}

static void count_all(struct daemon *d, struct daemon_count *count)
{
    *count = (struct daemon_count){ 0 };
    pthread_mutex_lock(&d->lock);
    for (const struct daemon_outbox *o = d->first; o != NULL; o = o->next) {
        if (o->leaving) {
            count->leaving += is_draining(o);
            continue;
        }
        count->all++;
        count->of[o->state]++;
        count->tried += o->state > DAEMON_STARTING;
        if (o->status > count->status)
            count->status = o->status;
    }
    pthread_mutex_unlock(&d->lock);
}

int daemon_turn(struct daemon *d, struct daemon_count *count)
{
    struct daemon_outbox *left;
    int status = CLI_OK;

    while ((left = take_left(d)) != NULL)
        daemon_free(left);
    for (struct daemon_outbox *o = d->first; o != NULL && status == CLI_OK; o = o->next) {
        enum daemon_state state = state_of(o);
        if (state == DAEMON_NEW && !o->leaving && !has_forerunner(d, o))
            status = start(d, o);
        /* It has ended by itself, or as all do. */
        if (state == DAEMON_ENDED && o->started && !o->leaving) {
            pthread_join(o->runner, NULL);
            o->started = false;
        }
    }
    count_all(d, count);
    return status;
}

void daemon_walk(struct daemon *d, daemon_see_fn *see, void *user)
{
    pthread_mutex_lock(&d->lock);
    for (const struct daemon_outbox *o = d->first; o != NULL; o = o->next)
        if (!o->leaving)
            see(user, daemon_outbox_name(o), o->state, o->relay);
    pthread_mutex_unlock(&d->lock);
}

struct daemon_outbox *daemon_pin(struct daemon *d, const char *name)
{
    struct daemon_outbox *found = NULL;
    size_t count = 0;

    pthread_mutex_lock(&d->lock);
    for (struct daemon_outbox *o = d->first; o != NULL; o = o->next)
        if (!o->leaving && (name == NULL || strcmp(name, daemon_outbox_name(o)) == 0)) {
            found = o;
            count++;
        }
    if (count != 1)
        found = NULL;
    else
        found->users++;
    pthread_mutex_unlock(&d->lock);
    return found;
}

void daemon_unpin(struct daemon_outbox *o)
{
    struct daemon *d = o->daemon;

    pthread_mutex_lock(&d->lock);
    o->users--;
    pthread_mutex_unlock(&d->lock);
    pthread_kill(d->main, SIGUSR1); /* it may wait to free it */
}

const char *daemon_state_name(enum daemon_state state)
{
    static const char *const names[DAEMON__STATES] = { "new",     "starting", "waiting for its database",
                                                       "running", "failed",   "ended" };

    return names[state];
}
