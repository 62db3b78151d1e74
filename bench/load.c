/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages handed to a publisher without a database. */
#include "load.h"
#include "bench.h"
#include "broker.h"
#include "delivery.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct load {
    size_t count, keys;
    struct outbox_item *items;
    struct outbox_item **list;
    char (*names)[24];
    char *payload;
};

struct load *load_new(const char *topic, size_t count, size_t payload_size, size_t keys)
{
    struct load *p = calloc(1, sizeof(*p));
    size_t i;

    p->count = count;
    p->keys = keys;
    p->items = calloc(count, sizeof(*p->items));
    p->list = calloc(count, sizeof(*p->list));
    p->names = calloc(count, sizeof(*p->names));
    p->payload = malloc(payload_size + 1);
    memset(p->payload, 'x', payload_size);
    p->payload[payload_size] = '\0';
    for (i = 0; i < count; i++) {
        outbox_record *r = &p->items[i].record;

        r->topic = topic;
        r->payload = p->payload;
        r->payload_size = payload_size;
        r->content_type = "application/json";
        r->message_type = "order.paid";
        r->created_at = INT64_C(1700000000000000) + (int64_t)i;
        r->seq = (int64_t)i + 1;
        r->token = 1;
        if (keys > 0) {
            snprintf(p->names[i], sizeof(p->names[i]), "k%zu", i % keys);
            r->partition_key = p->names[i];
            p->items[i].key_hash = (int64_t)(i % keys) + 1;
        }
    }
    load_renew(p);
    return p;
}

void load_free(struct load *p)
{
    free(p->items);
    free(p->list);
    free(p->names);
    free(p->payload);
    free(p);
}

const outbox_record *load_record(const struct load *p, size_t i)
{
    return &p->items[i].record;
}

void load_renew(struct load *p)
{
    size_t i;

    for (i = 0; i < p->count; i++)
        if (outbox_uuid__make(&p->items[i].record.id, 1, NULL) != OUTBOX_OK)
            abort();
}

long load_publish(struct load *p, outbox_publisher *publisher, size_t batch)
{
    long published = 0;
    size_t from, i;

    for (from = 0; from < p->count; from += batch) {
        size_t n = p->count - from < batch ? p->count - from : batch;
        atomic_int hurry = 0;
        char why[1024];
        outbox_delivery *d;
        enum outbox_outcome outcome;

        for (i = 0; i < n; i++) {
            p->list[i] = &p->items[from + i];
            p->list[i]->fate = FATE_NONE;
        }
        d = outbox_delivery__new(publisher, p->list, n);
        outcome = outbox_delivery__run(d, INT64_C(60) * 1000000, &hurry, why, sizeof(why));
        for (i = 0; i < n; i++)
            published += p->list[i]->fate == FATE_PUBLISHED;
        for (i = 0; i < n && outcome == DELIVERY_DONE; i++)
            if (p->list[i]->fate != FATE_PUBLISHED) {
                fprintf(stderr, "fate %d: %s\n", (int)p->list[i]->fate,
                        p->list[i]->reason != NULL ? p->list[i]->reason : "-");
                return -1;
            }
        outbox_delivery__finish(d, NULL);
        if (outcome != DELIVERY_DONE) {
            fprintf(stderr, "%s\n", why);
            return -1;
        }
    }
    return published;
}

void broker_begin(struct broker *b)
{
    memset(b, 0, sizeof(*b));
    snprintf(b->directory, sizeof(b->directory), "/tmp/outbox-bench-XXXXXX");
    if (mkdtemp(b->directory) == NULL)
        abort();
    b->port = broker_port();
}

void broker_end(struct broker *b)
{
    char command[100];

    broker_kill(b);
    snprintf(command, sizeof(command), "rm -rf -- '%s'", b->directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", b->directory);
}

double load_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double rate_of(long (*way)(void *), void *arg)
{
    double start = load_clock();
    long sent = way(arg);

    if (sent <= 0)
        exit(1);
    return (double)sent / (load_clock() - start);
}

double load_compare(const char *name, int rounds, const char *one, long (*first)(void *), const char *other,
                      long (*second)(void *), void *arg)
{
    double *a = calloc((size_t)rounds, sizeof(*a)), *b = calloc((size_t)rounds, sizeof(*b)), ratio;
    int i;

    /* In turn, and the first try of each does not count. */
    rate_of(first, arg);
    rate_of(second, arg);
    for (i = 0; i < rounds; i++) {
        a[i] = rate_of(first, arg);
        b[i] = rate_of(second, arg);
    }
    ratio = median(a, (size_t)rounds) / median(b, (size_t)rounds);
    printf("%-24s %s %8.0f/s   %s %8.0f/s   ratio %.2f\n", name, one, median(a, (size_t)rounds), other,
           median(b, (size_t)rounds), ratio);
    fflush(stdout);
    record_figure(name, one, "messages/s", median(a, (size_t)rounds));
    record_figure(name, other, "messages/s", median(b, (size_t)rounds));
    free(a);
    free(b);
    return ratio;
}
