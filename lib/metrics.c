/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics: the relays that are told about, and the threads that count what waits; see metrics_internal.h. */
#include "error_internal.h"
#include "log.h"
#include "metrics_internal.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long a snapshot waits for the database. */
#define WAIT_US INT64_C(1000000)
/* So many intervals without a question, and the connection is closed. */
#define IDLE_INTERVALS 10

int outbox_metrics_new(outbox_metrics **out, outbox_error **err)
{
    pthread_condattr_t attr;
    outbox_metrics *m;

    if (out == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "metrics.incomplete", "there is nowhere to put the metrics");
    *out = NULL;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return outbox_error__nomem(err);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    *out = m;
    return OUTBOX_OK;
}

static void free_source(struct outbox_metrics_source *s)
{
    if (s == NULL)
        return;
    if (s->started)
        pthread_join(s->thread, NULL);
    outbox_signal__destroy(&s->signal);
    free(s->name);
    free(s);
}

static int append(outbox_metrics *m, struct outbox_metrics_source *s, outbox_error **err)
{
    struct outbox_metrics_source **grown;
    size_t i;

    for (i = 0; i < m->count; i++)
        if (strcmp(m->sources[i]->name, s->name) == 0)
            return outbox_error__set(err, OUTBOX_ERR_INVALID, "metrics.name_taken",
                                     "the metrics have an outbox \"%.60s\" already: give each another name", s->name);
    grown = realloc(m->sources, (m->count + 1) * sizeof(struct outbox_metrics_source *));
    if (grown == NULL)
        return outbox_error__nomem(err);
    m->sources = grown;
    m->sources[m->count++] = s;
    return OUTBOX_OK;
}

int outbox_metrics_add(outbox_metrics *m, const char *name, outbox_relay *relay, outbox_error **err)
{
    struct outbox_metrics_source *s;
    int rc;

    if (m == NULL || name == NULL || relay == NULL || outbox_text__length(name, strlen(name)) < 0)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "metrics.incomplete",
                                 "metrics need a relay and a name in UTF-8");
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return outbox_error__nomem(err);
    outbox_signal__init(&s->signal);
    s->metrics = m;
    s->relay = relay;
    s->name = strdup(name);
    if (s->name == NULL) {
        free_source(s);
        return outbox_error__nomem(err);
    }
    pthread_mutex_lock(&m->lock);
    rc = append(m, s, err);
    pthread_mutex_unlock(&m->lock);
    if (rc != OUTBOX_OK)
        free_source(s);
    return rc;
}

/* Takes the source of that name out of the list, once no snapshot uses it. Called with the lock held. */
static struct outbox_metrics_source *take(outbox_metrics *m, const char *name)
{
    struct outbox_metrics_source *s;
    size_t i = 0;

    while (i < m->count && strcmp(m->sources[i]->name, name) != 0)
        i++;
    if (i == m->count)
        return NULL;
    s = m->sources[i];
    m->count--;
    memmove(&m->sources[i], &m->sources[i + 1], (m->count - i) * sizeof(struct outbox_metrics_source *));
    pthread_cond_broadcast(&m->changed); /* for who awaits its count */
    while (s->users > 0)
        pthread_cond_wait(&m->changed, &m->lock);
    return s;
}

int outbox_metrics_remove(outbox_metrics *m, const char *name)
{
    struct outbox_metrics_source *s;

    if (m == NULL || name == NULL)
        return OUTBOX_ERR_INVALID;
    pthread_mutex_lock(&m->lock);
    s = take(m, name);
    pthread_mutex_unlock(&m->lock);
    if (s == NULL)
        return OUTBOX_NONE;
    outbox_signal__stop(&s->signal);
    free_source(s);
    return OUTBOX_OK;
}

void outbox_metrics_free(outbox_metrics *m)
{
    size_t i;

    if (m == NULL)
        return;
    for (i = 0; i < m->count; i++)
        outbox_signal__stop(&m->sources[i]->signal);
    for (i = 0; i < m->count; i++)
        free_source(m->sources[i]);
    free(m->sources);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- the thread that counts ---- */

static int64_t interval(const struct outbox_metrics_source *s)
{
    return outbox_conf__number(s->relay->conf, CONF_METRICS_INTERVAL);
}

static int look(struct outbox_metrics_source *s, outbox_conn **conn, struct outbox_backlog *b)
{
    outbox_error *err = NULL;
    int rc = *conn != NULL ? OUTBOX_OK : outbox_conn_open(s->relay->dsn, s->relay->conf, conn, &err);

    if (rc == OUTBOX_OK)
        rc = outbox_backlog__look(*conn, b, &err);
    if (rc < 0) {
        /* The relay tells of trouble with the database; here it is one number. */
        outbox_log__write(s->relay->conf, OUTBOX_LOG_DEBUG, "what waits cannot be counted for metrics: %s",
                          outbox_error_message(err));
        outbox_conn_close(*conn);
        *conn = NULL;
    }
    outbox_error_free(err);
    return rc;
}

static void note(struct outbox_metrics_source *s, const struct outbox_backlog *b, int rc)
{
    struct outbox_metrics_backlog *told = &s->backlog;

    pthread_mutex_lock(&s->metrics->lock);
    s->asked = 0;
    s->tried_at = outbox_thread__clock();
    told->valid = rc >= 0;
    if (told->valid) {
        told->counts = b->counts;
        told->blocked = b->blocked;
        told->exact = b->exact;
        told->taken_at = s->tried_at;
        told->looks++;
    } else {
        told->failures++;
    }
    pthread_cond_broadcast(&s->metrics->changed);
    pthread_mutex_unlock(&s->metrics->lock);
}

static int was_asked(struct outbox_metrics_source *s)
{
    int asked;

    pthread_mutex_lock(&s->metrics->lock);
    asked = s->asked;
    pthread_mutex_unlock(&s->metrics->lock);
    return asked;
}

static void *count_thread(void *arg)
{
    struct outbox_metrics_source *s = arg;
    struct outbox_backlog b = { .lane = NULL };
    outbox_conn *conn = NULL;

    while (!outbox_signal__stopped(&s->signal)) {
        if (was_asked(s)) {
            note(s, &b, look(s, &conn, &b));
            continue;
        }
        outbox_signal__await(&s->signal, interval(s) * IDLE_INTERVALS);
        if (conn != NULL && !was_asked(s)) {
            outbox_conn_close(conn);
            conn = NULL;
        }
    }
    outbox_conn_close(conn);
    outbox_backlog__free(&b);
    return NULL;
}

/* ---- a snapshot ---- */

/* Called with the lock held. */
static int ask(struct outbox_metrics_source *s, int64_t now, outbox_error **err)
{
    int rc = OUTBOX_OK;

    if (s->asked || (s->tried_at != 0 && now - s->tried_at < interval(s)))
        return OUTBOX_OK;
    if (!s->started) {
        rc = outbox_thread__start(&s->thread, "outbox-metrics", count_thread, s, err);
        s->started = rc == OUTBOX_OK;
    }
    if (rc == OUTBOX_OK) {
        s->asked = 1;
        outbox_signal__poke(&s->signal);
    }
    return rc;
}

static int is_awaited(const outbox_metrics *m)
{
    size_t i;

    for (i = 0; i < m->count; i++)
        if (m->sources[i]->asked)
            return 1;
    return 0;
}

/* Called with the lock held: lets all that is too old be counted, and waits for it. */
static int refresh(outbox_metrics *m, outbox_error **err)
{
    int64_t now = outbox_thread__clock(), until = now + WAIT_US;
    struct timespec at = { (time_t)(until / 1000000), (long)(until % 1000000 * 1000) };
    int rc = OUTBOX_OK;
    size_t i;

    for (i = 0; i < m->count && rc == OUTBOX_OK; i++)
        rc = ask(m->sources[i], now, err);
    while (rc == OUTBOX_OK && is_awaited(m) && pthread_cond_timedwait(&m->changed, &m->lock, &at) != ETIMEDOUT)
        continue;
    return rc;
}

static void fill(struct outbox_metrics_values *v)
{
    v->lanes_held = v->backlog.counts.lanes_held;
    v->lanes_free = v->backlog.counts.lanes - v->lanes_held;
    v->backlog_age = v->backlog.valid ? outbox_thread__clock() - v->backlog.taken_at : 0;
    v->database_up = v->view.up && v->view.in_trouble == 0;
    v->publisher_up = !v->stats.broker_down && !v->view.silent;
}

/* A place for the values of each source, which stays until let_go(). Called with the lock held; NULL: no memory. */
static struct outbox_metrics_values *hold(outbox_metrics *m)
{
    struct outbox_metrics_values *values = calloc(m->count > 0 ? m->count : 1, sizeof(*values));
    size_t i;

    for (i = 0; i < m->count && values != NULL; i++) {
        m->sources[i]->users++;
        values[i].source = m->sources[i];
        values[i].name = m->sources[i]->name;
        values[i].backlog = m->sources[i]->backlog;
    }
    return values;
}

static void let_go(outbox_metrics *m, struct outbox_metrics_values *values, size_t count)
{
    size_t i;

    pthread_mutex_lock(&m->lock);
    for (i = 0; i < count; i++)
        values[i].source->users--;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    free(values);
}

static void collect(struct outbox_metrics_values *values, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct outbox_metrics_values *v = &values[i];
        outbox_relay *relay = v->source->relay;

        v->publisher = outbox_publisher_name(relay->publisher);
        v->stats.size = sizeof(v->stats);
        outbox_relay_stats_get(relay, &v->stats);
        outbox_relay__view(relay, &v->view);
        v->kept = (int64_t)outbox_publisher__kept(relay->publisher);
        fill(v);
    }
}

int outbox_metrics_get(outbox_metrics *m, outbox_metrics_form form, char **text, outbox_error **err)
{
    struct outbox_metrics_values *values = NULL;
    size_t count;
    int rc;

    if (m == NULL || text == NULL || (form != OUTBOX_METRICS_TEXT && form != OUTBOX_METRICS_JSON))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "metrics.incomplete", "there is no such form of metrics");
    *text = NULL;
    pthread_mutex_lock(&m->lock);
    rc = refresh(m, err);
    count = m->count;
    if (rc == OUTBOX_OK)
        values = hold(m);
    pthread_mutex_unlock(&m->lock);
    if (values == NULL)
        return rc != OUTBOX_OK ? rc : outbox_error__nomem(err);
    collect(values, count);
    rc = form == OUTBOX_METRICS_TEXT ? outbox_metrics__text(values, count, text, err)
                                     : outbox_metrics__json(values, count, text, err);
    let_go(m, values, count);
    return rc;
}
