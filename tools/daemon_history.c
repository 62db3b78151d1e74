/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_history.h"

#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERVAL_MS 2000
#define POINTS 300
/* It goes on for so long after somebody asked. */
#define ASKED_MS ((int64_t)15 * 60 * 1000)
/* What happened between two snapshots that are further apart is no rate of any moment. */
#define GAP_MS (5 * INTERVAL_MS)

struct daemon_history {
    outbox_metrics *metrics;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool stop;
    int64_t asked; /* monotonic; 0: never */
    json_t *points; /* by outbox */
    json_t *before; /* the totals of the last snapshot, by outbox; the thread's own */
};

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- a snapshot ---- */

/* Which metrics are kept of an outbox, and as what. */
static const struct total {
    const char *metric, *state, *name;
} totals[] = {
    { "outbox_messages_published_total", NULL, "published" },
    { "outbox_messages_retried_total", NULL, "retried" },
    { "outbox_messages_dead_total", NULL, "dead" },
    { "outbox_end_to_end_latency_seconds", NULL, "latency" },
    { "outbox_messages", "pending", "waiting" },
    { "outbox_messages", "scheduled", "waiting" },
    { "outbox_messages", "retry", "waiting" },
    { "outbox_messages", "held", "waiting" },
};
#define TOTALS (sizeof(totals) / sizeof(totals[0]))

static void take_sample(json_t *by_outbox, const struct total *total, json_t *sample)
{
    json_t *labels = json_object_get(sample, "labels"), *value = json_object_get(sample, "value");
    const char *outbox = json_string_value(json_object_get(labels, "outbox"));
    const char *state = json_string_value(json_object_get(labels, "state"));
    json_t *of = outbox != NULL ? json_object_get(by_outbox, outbox) : NULL;

    if (outbox == NULL || (total->state != NULL && (state == NULL || strcmp(state, total->state) != 0)))
        return;
    if (of == NULL) {
        of = json_object();
        json_object_set_new(by_outbox, outbox, of);
    }
    if (value == NULL)
        json_object_set(of, total->name, json_object_get(sample, "buckets"));
    else
        json_object_set_new(of, total->name, json_integer(json_integer_value(value) +
                                                          json_integer_value(json_object_get(of, total->name))));
}

/* The totals of all outboxes now. */
static json_t *take_snapshot(outbox_metrics *metrics)
{
    json_t *by_outbox = json_object(), *root = NULL, *metric, *sample;
    outbox_error *err = NULL;
    char *text = NULL;
    size_t i, k;

    if (outbox_metrics_get(metrics, OUTBOX_METRICS_JSON, &text, &err) == OUTBOX_OK)
        root = json_loads(text, 0, NULL);
    outbox_error_free(err);
    outbox_free(text);
    json_array_foreach(json_object_get(root, "metrics"), i, metric) {
        const char *name = json_string_value(json_object_get(metric, "name"));
        for (size_t t = 0; t < TOTALS; t++)
            if (name != NULL && strcmp(name, totals[t].metric) == 0)
                json_array_foreach(json_object_get(metric, "samples"), k, sample)
                    take_sample(by_outbox, &totals[t], sample);
    }
    json_decref(root);
    return by_outbox;
}

/* ---- a point ---- */

static json_int_t in_bucket(const json_t *buckets, size_t i)
{
    return json_integer_value(json_object_get(json_array_get(buckets, i), "count"));
}

/* Where so much of what came between two snapshots lies, in milliseconds; null when nothing came. Within a bucket it is
 * taken to be spread evenly; beyond the last bound nothing is known. */
static json_t *quantile(const json_t *before, const json_t *now, double part)
{
    size_t count = json_array_size(now);
    json_int_t all = count > 0 ? in_bucket(now, count - 1) - in_bucket(before, count - 1) : 0;
    double wanted = part * (double)all, low = 0;
    json_int_t below = 0;

    for (size_t i = 0; i < count && all > 0; i++) {
        json_t *le = json_object_get(json_array_get(now, i), "le");
        json_int_t up_to = in_bucket(now, i) - in_bucket(before, i);
        if (!json_is_number(le))
            break;
        if ((double)up_to >= wanted && up_to > below) {
            double share = (wanted - (double)below) / (double)(up_to - below);
            return json_real(1000 * (low + (json_number_value(le) - low) * share));
        }
        low = json_number_value(le);
        below = up_to;
    }
    return all > 0 ? json_real(1000 * low) : json_null();
}

static json_int_t total(const json_t *of, const char *name)
{
    return json_integer_value(json_object_get(of, name));
}

static double rate(const json_t *before, const json_t *now, const char *name, int64_t ms)
{
    json_int_t more = total(now, name) - total(before, name);

    return more > 0 ? (double)more * 1000 / (double)ms : 0;
}

static json_t *make_point(const json_t *before, const json_t *now, int64_t ms)
{
    const json_t *old = json_object_get(before, "latency"), *new = json_object_get(now, "latency");
    json_t *waiting = json_object_get(now, "waiting");

    return json_pack("{s:I, s:f, s:f, s:f, s:o, s:o, s:O?}", "time_ms", (json_int_t)clock_ms(CLOCK_REALTIME),
                     "published", rate(before, now, "published", ms), "retried", rate(before, now, "retried", ms),
                     "dead", rate(before, now, "dead", ms), "p50_ms", quantile(old, new, 0.5), "p95_ms",
                     quantile(old, new, 0.95), "waiting", waiting);
}

static bool began_anew(const json_t *before, const json_t *now)
{
    return total(now, "published") < total(before, "published");
}

/* With the lock. What is gone from the metrics is forgotten. */
static void add_points(struct daemon_history *h, json_t *now, int64_t ms)
{
    json_t *totals_now, *list;
    const char *outbox;
    void *next;

    json_object_foreach_safe(h->points, next, outbox, list)
        if (json_object_get(now, outbox) == NULL)
            json_object_del(h->points, outbox);
    json_object_foreach(now, outbox, totals_now) {
        json_t *before = json_object_get(h->before, outbox);
        list = json_object_get(h->points, outbox);
        if (list == NULL) {
            list = json_array();
            json_object_set_new(h->points, outbox, list);
        }
        if (before == NULL || ms > GAP_MS || ms <= 0 || began_anew(before, totals_now))
            continue;
        json_array_append_new(list, make_point(before, totals_now, ms));
        if (json_array_size(list) > POINTS)
            json_array_remove(list, 0);
    }
}

/* ---- the thread ---- */

static void wait_ms(struct daemon_history *h, int64_t ms)
{
    struct timespec until = cli_deadline(ms);

    while (!h->stop && pthread_cond_timedwait(&h->changed, &h->lock, &until) != ETIMEDOUT)
        continue;
}

static void *run(void *user)
{
    struct daemon_history *h = user;
    int64_t last = 0;

    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (h->asked == 0 || clock_ms(CLOCK_MONOTONIC) - h->asked > ASKED_MS) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        pthread_mutex_unlock(&h->lock);
        json_t *now = take_snapshot(h->metrics);
        int64_t ms = clock_ms(CLOCK_MONOTONIC);
        pthread_mutex_lock(&h->lock);
        add_points(h, now, ms - last);
        last = ms;
        json_decref(h->before);
        h->before = now;
        wait_ms(h, INTERVAL_MS);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

struct daemon_history *daemon_history_start(outbox_metrics *metrics)
{
    struct daemon_history *h = calloc(1, sizeof(*h));
    pthread_condattr_t attributes;

    if (h == NULL)
        return NULL;
    h->metrics = metrics;
    h->points = json_object();
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (h->points != NULL && pthread_create(&h->thread, NULL, run, h) == 0)
        return h;
    json_decref(h->points);
    free(h);
    return NULL;
}

void daemon_history_stop(struct daemon_history *h)
{
    if (h == NULL)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    json_decref(h->points);
    json_decref(h->before);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

json_t *daemon_history_get(struct daemon_history *h, const char *outbox, json_int_t since)
{
    json_t *points = json_array(), *point;
    size_t i;

    pthread_mutex_lock(&h->lock);
    h->asked = clock_ms(CLOCK_MONOTONIC);
    pthread_cond_broadcast(&h->changed);
    /* Copies, as reference counts are nothing to share between threads. */
    json_array_foreach(json_object_get(h->points, outbox), i, point)
        if (json_integer_value(json_object_get(point, "time_ms")) > since)
            json_array_append_new(points, json_deep_copy(point));
    pthread_mutex_unlock(&h->lock);
    return json_pack("{s:i, s:i, s:o}", "interval_ms", INTERVAL_MS, "points_max", POINTS, "points", points);
}
