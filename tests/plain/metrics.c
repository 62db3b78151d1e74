/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics without a database: escaping, buckets, two outboxes in one text, health of what does not run, wrong calls. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <outbox/outbox.h>

#include "buffer.h"
#include "histogram.h"
#include "metrics_internal.h"
#include "tap.h"

#define NOWHERE "sqlite:/nonexistent/folder/outbox.db"

struct world {
    outbox_publisher *publisher;
    outbox_relay *relay[2];
    outbox_metrics *metrics;
};

static int world_open(struct world *w)
{
    int rc;

    memset(w, 0, sizeof *w);
    rc = outbox_publisher_open("null:", NULL, &w->publisher, NULL);
    for (int i = 0; i < 2 && rc == OUTBOX_OK; i++)
        rc = outbox_relay_new(NOWHERE, NULL, w->publisher, NULL, &w->relay[i], NULL);
    return rc == OUTBOX_OK && outbox_metrics_new(&w->metrics, NULL) == OUTBOX_OK;
}

static void world_close(struct world *w)
{
    outbox_metrics_free(w->metrics);
    outbox_relay_free(w->relay[0]);
    outbox_relay_free(w->relay[1]);
    outbox_publisher_free(w->publisher);
}

static void test_histogram(void)
{
    struct outbox_histogram h = {{0}, 0}, sum = {{0}, 0};
    int64_t last = outbox_histogram__bounds[OUTBOX_HISTOGRAM_BOUNDS - 1];

    outbox_histogram__observe(&h, -5);
    outbox_histogram__observe(&h, outbox_histogram__bounds[0]);
    outbox_histogram__observe(&h, outbox_histogram__bounds[0] + 1);
    outbox_histogram__observe(&h, last);
    outbox_histogram__observe(&h, last + 1);
    CHECK_INT(h.count[0], 2);
    CHECK_INT(h.count[1], 1);
    CHECK_INT(h.count[OUTBOX_HISTOGRAM_BOUNDS - 1], 1);
    CHECK_INT(h.count[OUTBOX_HISTOGRAM_BOUNDS], 1);
    CHECK_INT(h.sum, 2 * outbox_histogram__bounds[0] + 1 + 2 * last + 1);
    outbox_histogram__add(&sum, &h);
    outbox_histogram__add(&sum, &h);
    CHECK_INT(outbox_histogram__total(&sum), 10);
    CHECK_INT(sum.sum, 2 * h.sum);
    for (int i = 1; i < OUTBOX_HISTOGRAM_BOUNDS; i++)
        CHECK(outbox_histogram__bounds[i] > outbox_histogram__bounds[i - 1], "bound %d does not grow", i);
}

static void test_escape(void)
{
    struct outbox_buffer text = {NULL, 0, 0};

    CHECK(outbox_metrics__escape(&text, "a\"b\\c\nd\303\244"), "out of memory");
    CHECK_STR(text.data, "a\\\"b\\\\c\\nd\303\244");
    outbox_buffer__free(&text);
}

static long lines_with(const char *text, const char *what)
{
    long n = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

/* Each metric's samples stand together, so that its head comes once. */
static void test_two(void)
{
    struct world w;
    char *text = NULL;
    json_t *root;

    REQUIRE(world_open(&w), "no relays");
    CHECK_INT(outbox_metrics_add(w.metrics, "sh\"op", w.relay[0], NULL), OUTBOX_OK);
    CHECK_INT(outbox_metrics_add(w.metrics, "stock", w.relay[1], NULL), OUTBOX_OK);
    CHECK_INT(outbox_metrics_get(w.metrics, OUTBOX_METRICS_TEXT, &text, NULL), OUTBOX_OK);
    if (CHECK(text != NULL, "no text")) {
        CHECK_INT(lines_with(text, "# TYPE outbox_messages_published_total counter\n"
                                   "outbox_messages_published_total{outbox=\"sh\\\"op\"} 0\n"
                                   "outbox_messages_published_total{outbox=\"stock\"} 0\n# HELP"), 1);
        CHECK_INT(lines_with(text, "# TYPE outbox_publish_duration_seconds "), 1);
        CHECK_INT(lines_with(text, "outbox_publish_duration_seconds_bucket{outbox=\"stock\",le=\"0.0025\"} 0\n"), 1);
        CHECK_INT(lines_with(text, "outbox_backlog_failures_total{outbox=\"stock\"} 1\n"), 1);
        CHECK_INT(lines_with(text, "outbox_messages{"), 0);
    }
    outbox_free(text);
    text = NULL;
    CHECK_INT(outbox_metrics_get(w.metrics, OUTBOX_METRICS_JSON, &text, NULL), OUTBOX_OK);
    root = text != NULL ? json_loads(text, 0, NULL) : NULL;
    CHECK(json_array_size(json_object_get(root, "metrics")) > 30, "no JSON: %s", text != NULL ? text : "nothing");
    json_decref(root);
    outbox_free(text);
    world_close(&w);
}

/* Members by name, with values that differ, */
static void fill_values(struct outbox_metrics_values *v)
{
    v->name = "o";
    v->publisher = "null";
    v->view.up = 101, v->view.workers = 102, v->view.stuck = 103, v->view.lanes_held = 104;
    v->backlog.valid = 1;
    v->backlog.counts.by_state[OUTBOX_PENDING] = 105;
    v->backlog.counts.by_state[OUTBOX_SCHEDULED] = 106;
    v->backlog.counts.by_state[OUTBOX_RETRYING] = 107;
    v->backlog.counts.by_state[OUTBOX_HELD] = 108;
    v->backlog.counts.by_state[OUTBOX_DEAD] = 109;
    v->backlog.counts.oldest_pending_us = 110000000;
    v->backlog.blocked = 111, v->backlog.exact = 112, v->backlog.looks = 113, v->backlog.failures = 114;
    v->lanes_held = 115, v->lanes_free = 116, v->backlog_age = 117000000;
    v->database_up = 118, v->publisher_up = 119, v->kept = 120;
    v->stats.claims = 121, v->stats.batches = 122, v->stats.published = 123, v->stats.failed = 124, v->stats.dead = 125;
    v->stats.held = 126, v->stats.fenced = 127, v->stats.suspect = 128, v->stats.polls = 129, v->stats.wakeups = 130;
    v->stats.db_errors = 131, v->stats.cleaned = 132, v->stats.looks = 133, v->stats.wake_state = 134;
    v->stats.outages = 136, v->stats.probes = 137, v->stats.splits = 138, v->stats.messages = 139, v->stats.rejected = 140;
    v->stats.bytes = 141;
    v->view.cleaner.passes = 142, v->view.cleaner.failures = 143, v->view.cleaner.last_pass = 144000000;
    v->view.publish_time.count[0] = 145;
    v->view.latency.count[0] = 146;
}

/* … and what is to be told of each. */
static const struct {
    const char *name;
    int value;
} wanted[] = {
    {"relay_up{outbox=\"o\"}", 101}, {"relay_workers{outbox=\"o\"}", 102}, {"relay_workers_stuck{outbox=\"o\"}", 103},
    {"relay_lanes_held{outbox=\"o\"}", 104}, {"messages{outbox=\"o\",state=\"pending\"}", 105},
    {"messages{outbox=\"o\",state=\"scheduled\"}", 106}, {"messages{outbox=\"o\",state=\"retry\"}", 107},
    {"messages{outbox=\"o\",state=\"held\"}", 108}, {"messages{outbox=\"o\",state=\"dead\"}", 109},
    {"oldest_pending_age_seconds{outbox=\"o\"}", 110}, {"keys_blocked{outbox=\"o\"}", 111},
    {"backlog_exact{outbox=\"o\"}", 112}, {"backlog_looks_total{outbox=\"o\"}", 113},
    {"backlog_failures_total{outbox=\"o\"}", 114}, {"lanes{outbox=\"o\",state=\"held\"}", 115},
    {"lanes{outbox=\"o\",state=\"free\"}", 116}, {"backlog_age_seconds{outbox=\"o\"}", 117},
    {"database_up{outbox=\"o\"}", 118}, {"publisher_up{outbox=\"o\"}", 119},
    {"publisher_unanswered_deliveries{outbox=\"o\"}", 120}, {"lanes_claimed_total{outbox=\"o\"}", 121},
    {"batches_total{outbox=\"o\"}", 122}, {"messages_published_total{outbox=\"o\"}", 123},
    {"messages_retried_total{outbox=\"o\"}", 124}, {"messages_dead_total{outbox=\"o\"}", 125},
    {"messages_held_total{outbox=\"o\"}", 126}, {"batches_fenced_total{outbox=\"o\"}", 127},
    {"lease_expiries_total{outbox=\"o\"}", 128}, {"claims_empty_total{outbox=\"o\"}", 129},
    {"wakeups_total{outbox=\"o\"}", 130}, {"database_errors_total{outbox=\"o\"}", 131},
    {"cleaner_rows_removed_total{outbox=\"o\"}", 132}, {"polls_total{outbox=\"o\"}", 133},
    {"wake_state{outbox=\"o\"}", 134}, {"publisher_outages_total{outbox=\"o\"}", 136},
    {"publisher_probes_total{outbox=\"o\"}", 137}, {"publisher_splits_total{outbox=\"o\"}", 138},
    {"messages_claimed_total{outbox=\"o\"}", 139}, {"messages_rejected_total{outbox=\"o\"}", 140},
    {"published_bytes_total{outbox=\"o\"}", 141}, {"cleaner_passes_total{outbox=\"o\"}", 142},
    {"cleaner_failures_total{outbox=\"o\"}", 143}, {"cleaner_last_pass_timestamp_seconds{outbox=\"o\"}", 144},
    {"publish_duration_seconds_count{outbox=\"o\"}", 145}, {"end_to_end_latency_seconds_count{outbox=\"o\"}", 146},
};

static void test_rows(void)
{
    static struct outbox_metrics_values v;
    char *text = NULL;

    fill_values(&v);
    CHECK_INT(outbox_metrics__text(&v, 1, &text, NULL), OUTBOX_OK);
    REQUIRE(text != NULL, "no text");
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char line[120];

        snprintf(line, sizeof line, "\noutbox_%s %d\n", wanted[i].name, wanted[i].value);
        CHECK_INT(lines_with(text, line), 1);
        if (lines_with(text, line) != 1)
            tap_note("not there: %s", line + 1);
    }
    /* Beside these only the information, which is not a number. */
    CHECK_INT(sizeof wanted / sizeof wanted[0] + 1, outbox_metrics__rows);
    outbox_free(text);
}

struct scraper {
    outbox_metrics *metrics;
    atomic_int scrapes, faults, done;
};

static void *scrape(void *arg)
{
    struct scraper *s = arg;

    while (!atomic_load(&s->done)) {
        char *text = NULL;

        if (outbox_metrics_get(s->metrics, OUTBOX_METRICS_TEXT, &text, NULL) != OUTBOX_OK ||
            lines_with(text, "outbox_relay_up{outbox=\"stays\"} 0\n") != 1)
            atomic_fetch_add(&s->faults, 1);
        outbox_free(text);
        text = NULL;
        if (outbox_metrics_health(s->metrics, OUTBOX_HEALTH_READY, &text, NULL) != OUTBOX_NONE ||
            lines_with(text, "stays: ") != 1)
            atomic_fetch_add(&s->faults, 1);
        outbox_free(text);
        atomic_fetch_add(&s->scrapes, 1);
    }
    return NULL;
}

/* Relays that come and go, and are freed, while others look: sanitizers and valgrind see what is used too late. */
static void test_come_and_go(void)
{
    struct scraper s = {NULL, 0, 0, 0};
    pthread_t threads[2];
    struct world w;
    char *text = NULL;
    int rounds = 0;

    REQUIRE(world_open(&w), "no relays");
    s.metrics = w.metrics;
    CHECK_INT(outbox_metrics_add(w.metrics, "stays", w.relay[0], NULL), OUTBOX_OK);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, scrape, &s) == 0, "no thread");
    while (atomic_load(&s.scrapes) < 100 || rounds < 20) {
        outbox_relay *relay = NULL;
        int seen = atomic_load(&s.scrapes);

        if (!CHECK(outbox_relay_new(NOWHERE, NULL, w.publisher, NULL, &relay, NULL) == OUTBOX_OK, "no relay"))
            break;
        CHECK_INT(outbox_metrics_add(w.metrics, "goes", relay, NULL), OUTBOX_OK);
        while (rounds % 2 == 0 && atomic_load(&s.scrapes) == seen)
            sched_yield();
        CHECK_INT(outbox_metrics_remove(w.metrics, "goes"), OUTBOX_OK);
        outbox_relay_free(relay);
        rounds++;
    }
    atomic_store(&s.done, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(atomic_load(&s.faults), 0);
    CHECK_INT(outbox_metrics_get(w.metrics, OUTBOX_METRICS_TEXT, &text, NULL), OUTBOX_OK);
    CHECK_INT(lines_with(text, "outbox=\"goes\""), 0);
    outbox_free(text);
    CHECK_INT(outbox_metrics_remove(w.metrics, "goes"), OUTBOX_NONE);
    CHECK_INT(outbox_metrics_remove(w.metrics, NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_metrics_remove(NULL, "goes"), OUTBOX_ERR_INVALID);
    world_close(&w);
}

struct remover {
    outbox_metrics *metrics;
    atomic_int released, early;
};

static void *remove_it(void *arg)
{
    struct remover *r = arg;

    outbox_metrics_remove(r->metrics, "goes");
    atomic_store(&r->early, !atomic_load(&r->released));
    return NULL;
}

static int is_listed(outbox_metrics *m)
{
    int listed;

    pthread_mutex_lock(&m->lock);
    listed = m->count > 0;
    pthread_mutex_unlock(&m->lock);
    return listed;
}

static void test_removal_waits(void)
{
    struct remover r = {NULL, 0, 0};
    pthread_t thread;
    struct world w;

    REQUIRE(world_open(&w), "no relays");
    r.metrics = w.metrics;
    REQUIRE(outbox_metrics_add(w.metrics, "goes", w.relay[0], NULL) == OUTBOX_OK, "not added");
    struct outbox_metrics_source *source = w.metrics->sources[0];
    source->users = 1; /* as a snapshot does */
    REQUIRE(pthread_create(&thread, NULL, remove_it, &r) == 0, "no thread");
    while (is_listed(w.metrics))
        sched_yield();
    for (int i = 0; i < 1000; i++) /* time to go wrong in */
        sched_yield();
    atomic_store(&r.released, 1);
    pthread_mutex_lock(&w.metrics->lock);
    if (!atomic_load(&r.early))
        source->users = 0;
    pthread_cond_broadcast(&w.metrics->changed);
    pthread_mutex_unlock(&w.metrics->lock);
    pthread_join(thread, NULL);
    CHECK_INT(atomic_load(&r.early), 0);
    world_close(&w);
}

static void test_health(void)
{
    struct world w;
    char *text = NULL;

    REQUIRE(world_open(&w), "no relays");
    CHECK_INT(outbox_metrics_health(w.metrics, OUTBOX_HEALTH_READY, &text, NULL), OUTBOX_OK);
    CHECK_STR(text, "ok\n");
    outbox_free(text);
    CHECK_INT(outbox_metrics_add(w.metrics, "shop", w.relay[0], NULL), OUTBOX_OK);
    CHECK_INT(outbox_metrics_health(w.metrics, OUTBOX_HEALTH_READY, &text, NULL), OUTBOX_NONE);
    CHECK_STR(text, "shop: the relay does not run: it waits for its database, or was not started\n");
    outbox_free(text);
    CHECK_INT(outbox_metrics_health(w.metrics, OUTBOX_HEALTH_LIVE, &text, NULL), OUTBOX_OK);
    outbox_free(text);
    pthread_mutex_lock(&w.relay[0]->lock);
    w.relay[0]->workers[0].stuck = 1;
    pthread_mutex_unlock(&w.relay[0]->lock);
    CHECK_INT(outbox_metrics_health(w.metrics, OUTBOX_HEALTH_LIVE, &text, NULL), OUTBOX_NONE);
    CHECK_STR(text, "shop: a call of the publisher does not return\n");
    outbox_free(text);
    world_close(&w);
}

static void test_wrong_calls(void)
{
    outbox_metric_info info = {.size = 1};
    outbox_error *err = NULL;
    struct world w;
    char *text;

    REQUIRE(world_open(&w), "no relays");
    CHECK_INT(outbox_metrics_add(w.metrics, "a", w.relay[0], NULL), OUTBOX_OK);
    CHECK_INT(outbox_metrics_add(w.metrics, "a", w.relay[1], &err), OUTBOX_ERR_INVALID);
    CHECK_STR(outbox_error_name(err), "metrics.name_taken");
    outbox_error_free(err);
    CHECK_INT(outbox_metrics_add(w.metrics, "\377", w.relay[1], NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_metrics_add(w.metrics, NULL, w.relay[1], NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_metrics_get(w.metrics, (outbox_metrics_form)7, &text, NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_metrics_health(NULL, OUTBOX_HEALTH_LIVE, &text, NULL), OUTBOX_ERR_INVALID);
    CHECK_INT(outbox_metric_describe(0, &info), OUTBOX_ERR_INVALID);
    info.size = sizeof info;
    CHECK_INT(outbox_metric_describe(0, &info), OUTBOX_OK);
    CHECK_STR(info.name, "outbox_info");
    CHECK_INT(outbox_metric_describe(100000, &info), OUTBOX_NONE);
    outbox_metrics_free(NULL);
    world_close(&w);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"buckets hold their bounds", test_histogram},
        {"labels are escaped", test_escape},
        {"two outboxes in one text", test_two},
        {"each metric shows what it is called", test_rows},
        {"relays that come and go", test_come_and_go},
        {"a relay is not removed while a snapshot reads it", test_removal_waits},
        {"health of what does not run", test_health},
        {"wrong calls are refused", test_wrong_calls},
    };

    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tap_begin("%s", tests[i].name);
        tests[i].run();
        tap_end();
    }
    return tap_finish();
}
