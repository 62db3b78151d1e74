/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages for a publisher that are made in memory, and what came of them at a consumer. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"
#include "lane.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_ROOM 800
#define HEADERS 4

struct texts {
    char key[24], number[24], payload[PAYLOAD_ROOM + 1];
    struct outbox_header headers[HEADERS];
};

/* All byte values, zeros among them, and every length from 0 on. */
static size_t payload_of(long n, char *payload)
{
    size_t size = (size_t)(n * 37 % PAYLOAD_ROOM);

    for (size_t i = 0; i < size; i++)
        payload[i] = (char)((size_t)n * 31 + i * 7);
    payload[size] = '\0';
    return size;
}

static void id_of(long n, char id[37])
{
    snprintf(id, 37, "0190aaaa-bbbb-7ccc-8ddd-%012lx", (unsigned long)n);
}

/* Each tenth message has no key. */
static int key_of(long n, int keys)
{
    return keys == 0 || n % 10 == 9 ? -1 : (int)(n % keys);
}

static void fill(struct outbox_item *item, struct texts *t, const char *topic, long n, int keys)
{
    outbox_record *r = &item->record;
    int key = key_of(n, keys);

    id_of(n, r->id.text);
    snprintf(t->number, sizeof t->number, "%ld", n);
    snprintf(t->key, sizeof t->key, "k%d", key);
    t->headers[0] = (struct outbox_header){ "n", t->number };
    t->headers[1] = (struct outbox_header){ "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
    t->headers[2] = (struct outbox_header){ "x-text", "gr\xc3\xbc\xc3\x9f" };
    t->headers[3] = (struct outbox_header){ "tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" };
    r->topic = topic;
    r->partition_key = key < 0 ? NULL : t->key;
    r->payload_size = payload_of(n, t->payload);
    r->payload = t->payload;
    r->headers = t->headers;
    r->header_count = HEADERS;
    r->content_type = "application/octet-stream";
    r->message_type = "thing.made";
    r->created_at = INT64_C(1767225600000000) + n;
    r->seq = n + 1;
    r->lane = 3;
    r->token = 7;
    item->key_hash = outbox_lane__key_hash(topic, r->partition_key);
}

int parcel_make(struct parcel *p, const char *topic, long first, size_t count, int keys)
{
    struct texts *texts;

    p->items = calloc(count, sizeof *p->items);
    texts = calloc(count, sizeof *texts);
    p->texts = (char *)texts;
    p->count = count;
    if (!CHECK(p->items != NULL && texts != NULL, "out of memory"))
        return -1;
    for (size_t i = 0; i < count; i++)
        fill(&p->items[i], &texts[i], topic, first + (long)i, keys);
    return 0;
}

void parcel_free(struct parcel *p)
{
    outbox_publisher_free(p->publisher);
    outbox_error_free(p->err);
    free(p->items);
    free(p->texts);
    memset(p, 0, sizeof *p);
}

int parcel_enqueue(const struct parcel *p, struct fixture *fx, size_t from, size_t to)
{
    int ok = OK(outbox_conn_begin(fx->conn, &fx->err));

    for (size_t i = from; ok && i < to; i++) {
        const outbox_record *r = &p->items[i].record;
        outbox_message m = OUTBOX_MESSAGE_INIT;

        m.id = r->id.text;
        m.topic = r->topic;
        m.partition_key = r->partition_key;
        m.payload = r->payload;
        m.payload_size = r->payload_size;
        m.headers = r->headers;
        m.header_count = r->header_count;
        m.content_type = r->content_type;
        m.message_type = r->message_type;
        ok = OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    }
    return ok && OK(outbox_conn_commit(fx->conn, &fx->err));
}

const outbox_record *parcel_record(const struct parcel *p, size_t index)
{
    return &p->items[index].record;
}

size_t parcel_metas(const outbox_record *r, const char *metas[TAKEN_METAS][2])
{
    const char *const fixed[][2] = {
        { "outbox-id", outbox_record_id(r) }, { "content-type", outbox_record_content_type(r) },
        { "outbox-type", outbox_record_message_type(r) }, { "outbox-created-at", "2026-01-01T00:00:00.000020Z" },
        { "outbox-token", "3:7" }, { "outbox-attempt", "1" },
    };
    size_t count, n = COUNT_OF(fixed);
    const outbox_header *own = outbox_record_headers(r, &count);

    memcpy(metas, fixed, sizeof fixed);
    if (outbox_record_partition_key(r) != NULL) {
        metas[n][0] = "outbox-key";
        metas[n++][1] = outbox_record_partition_key(r);
    }
    for (size_t i = 0; i < count && n < TAKEN_METAS; i++, n++) {
        metas[n][0] = own[i].name;
        metas[n][1] = own[i].value;
    }
    return n;
}

/* What a relay's watch does: tells the publisher when the time is over. */
struct watch {
    outbox_delivery *delivery;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t until_us;
    int over;
};

static void *watch_run(void *user)
{
    struct watch *w = user;
    int late;

    pthread_mutex_lock(&w->lock);
    while (!w->over && monotonic_us() < w->until_us) {
        struct timespec until = { (time_t)(w->until_us / SECOND_US), (long)(w->until_us % SECOND_US) * 1000 };

        pthread_cond_timedwait(&w->changed, &w->lock, &until);
    }
    late = !w->over;
    pthread_mutex_unlock(&w->lock);
    if (late)
        outbox_delivery__warn(w->delivery);
    return NULL;
}

static int run_watched(outbox_delivery *d, long timeout_ms, struct parcel *p)
{
    struct watch w = { .delivery = d, .until_us = monotonic_us() + timeout_ms * 1000 };
    pthread_condattr_t attributes;
    atomic_int hurry = 0;
    pthread_t thread;
    int outcome;

    if (timeout_ms < 0)
        return outbox_delivery__run(d, HOUR_MS * 1000, &hurry, p->why, sizeof p->why);
    pthread_mutex_init(&w.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_create(&thread, NULL, watch_run, &w);
    outcome = outbox_delivery__run(d, timeout_ms * 1000, &hurry, p->why, sizeof p->why);
    pthread_mutex_lock(&w.lock);
    w.over = 1;
    pthread_cond_signal(&w.changed);
    pthread_mutex_unlock(&w.lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
    return outcome;
}

/* What was not answered may still be in the publisher's hands only if it was given up; here it never is for long. */
static int deliver(struct parcel *p, struct outbox_item **items, size_t n, long timeout_ms)
{
    outbox_delivery *d = outbox_delivery__new(p->publisher, items, n);
    int outcome;

    if (!CHECK(d != NULL, "out of memory"))
        return -1;
    for (size_t i = 0; i < n; i++) {
        items[i]->fate = FATE_NONE;
        items[i]->reason = NULL;
    }
    p->why[0] = '\0';
    outcome = run_watched(d, timeout_ms, p);
    for (size_t i = 0; i < n; i++) {
        /* The delivery's, which goes: the tests look at one at a time. */
        if (items[i]->reason != NULL)
            snprintf(p->why, sizeof p->why, "%s", items[i]->reason);
        items[i]->reason = NULL;
    }
    CHECK(outbox_publisher__kept(p->publisher) == 0, "a delivery is kept");
    outbox_delivery__finish(d, NULL);
    return outcome;
}

int parcel_send(struct parcel *p, size_t from, size_t n, long timeout_ms)
{
    struct outbox_item **items = malloc(n * sizeof *items);
    int outcome = -1;

    for (size_t i = 0; items != NULL && i < n; i++)
        items[i] = &p->items[from + i];
    if (items != NULL)
        outcome = deliver(p, items, n, timeout_ms);
    free(items);
    return outcome;
}

/* The next n that are not published, in order. */
static size_t collect(struct parcel *p, struct outbox_item **items, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < p->count && count < n; i++)
        if (p->items[i].fate != FATE_PUBLISHED)
            items[count++] = &p->items[i];
    return count;
}

int parcel_send_all(struct parcel *p, size_t n)
{
    struct outbox_item **items = malloc(n * sizeof *items);
    struct patience patience;
    size_t count, before = 0;

    patience_start(&patience);
    while (items != NULL && (count = collect(p, items, n)) > 0) {
        deliver(p, items, count, 60000);
        if (parcel_count(p, FATE_PUBLISHED) == before && !patience_wait(&patience))
            break;
        before = parcel_count(p, FATE_PUBLISHED);
    }
    free(items);
    return parcel_count(p, FATE_PUBLISHED) == p->count;
}

size_t parcel_count(const struct parcel *p, int fate)
{
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++)
        n += p->items[i].fate == (enum fate)fate;
    return n;
}

/* ---- The consumer's side ---- */

TAP_PRINTF(3) static void fault(struct ledger *l, long *counter, const char *format, ...)
{
    va_list arguments;

    ++*counter;
    if (l->first[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(l->first, sizeof l->first, format, arguments);
    va_end(arguments);
}

static void expect_meta(struct ledger *l, const struct taken *t, long n, const char *name, const char *want)
{
    const char *got = taken_meta(t, name);

    if ((got == NULL) != (want == NULL) || (got != NULL && strcmp(got, want) != 0))
        fault(l, &l->altered, "message %ld: %s is \"%s\", not \"%s\"", n, name, got != NULL ? got : "(none)",
              want != NULL ? want : "(none)");
}

static void compare(struct ledger *l, const struct taken *t, long n)
{
    struct outbox_item item = {0};
    struct texts texts;
    const outbox_record *r = &item.record;

    fill(&item, &texts, l->topic, n, l->keys);
    if (t->size != r->payload_size || memcmp(t->payload, r->payload, t->size) != 0)
        fault(l, &l->altered, "message %ld: the payload is another one (%zu bytes, not %zu)", n, t->size,
              r->payload_size);
    expect_meta(l, t, n, "outbox-id", r->id.text);
    expect_meta(l, t, n, "outbox-type", r->message_type);
    expect_meta(l, t, n, "outbox-key", r->partition_key);
    expect_meta(l, t, n, "content-type", r->content_type);
    for (size_t i = 0; i < r->header_count; i++)
        expect_meta(l, t, n, r->headers[i].name, r->headers[i].value);
}

/* In order is what comes for the first time: what comes again is told by its id. */
static void take(void *user, const struct taken *t)
{
    struct ledger *l = user;
    const char *number = taken_meta(t, "n");
    long n = number != NULL ? atol(number) : -1;
    int key;

    l->seen++;
    if (n < 0 || n >= l->count) {
        fault(l, &l->altered, "a message came that was not sent: n is \"%s\"", number != NULL ? number : "(none)");
        return;
    }
    compare(l, t, n);
    if (l->has[n]) {
        l->repeated++;
        return;
    }
    l->has[n] = 1;
    l->distinct++;
    key = key_of(n, l->keys);
    if (key < 0)
        return;
    if (n < l->last[key])
        fault(l, &l->disorder, "message %ld came after %ld, both of key k%d", n, l->last[key], key);
    else
        l->last[key] = n;
}

int ledger_read(struct ledger *l, struct broker *b, const char *topic, long count, int keys)
{
    memset(l, 0, sizeof *l);
    l->topic = topic;
    l->count = count;
    l->keys = keys;
    l->last = calloc((size_t)keys + 1, sizeof *l->last);
    l->has = calloc((size_t)count, 1);
    if (!CHECK(l->last != NULL && l->has != NULL, "out of memory"))
        return -1;
    CHECK(b->kind->consume(b, topic, take, l) >= 0, "nothing can be consumed");
    CHECK(l->altered == 0 && l->disorder == 0, "%ld altered, %ld out of order; %s", l->altered, l->disorder, l->first);
    return 0;
}

void ledger_free(struct ledger *l)
{
    free(l->last);
    free(l->has);
}
