/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "lib-test.h"
#include "lib/delivery.h"

outbox_publisher *open_publisher(const char *url, const char *const *settings)
{
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;
    outbox_conf *conf = NULL;
    int rc = outbox_conf_new(&conf, &err);

    for (; rc == OUTBOX_OK && settings != NULL && *settings != NULL; settings += 2)
        rc = outbox_conf_set(conf, settings[0], settings[1], &err);
    if (rc == OUTBOX_OK)
        rc = outbox_publisher_open(url, conf, &publisher, &err);
    if (rc != OUTBOX_OK)
        fprintf(stderr, "%s: %s\n", url, outbox_error_message(err));
    outbox_error_free(err);
    outbox_conf_free(conf);
    return publisher;
}

/* Ids are unique, keys as well: so the whole window may be on its way at once. */
static void fill_item(struct outbox_item *item, const struct load *load, size_t number, char *key)
{
    struct outbox_record *r = &item->record;

    memset(item, 0, sizeof(*item));
    snprintf((char *)&r->id, sizeof(r->id), "01890a5d-ac96-774b-bcce-%012zx", number);
    snprintf(key, 24, "%zu", number);
    r->topic = load->topic;
    r->partition_key = key;
    r->payload = load->payload;
    r->payload_size = load->payload_size;
    r->created_at = INT64_C(1700000000000000);
    r->seq = (int64_t)number + 1;
    item->key_hash = (int64_t)number + 1;
}

/* 1: all were published. */
static int publish_window(outbox_publisher *publisher, struct outbox_item **items, size_t count)
{
    outbox_delivery *d = outbox_delivery__new(publisher, items, count);
    atomic_int hurry = 0;
    char why[1000] = "";
    int good = d != NULL && outbox_delivery__run(d, INT64_C(60000000), &hurry, why, sizeof(why)) == DELIVERY_DONE;

    for (size_t i = 0; good && i < count; i++)
        if (items[i]->fate != FATE_PUBLISHED) {
            snprintf(why, sizeof(why), "message %zu: fate %d, %s", i, items[i]->fate,
                     items[i]->reason != NULL ? items[i]->reason : "no reason");
            good = 0;
        }
    if (!good)
        fprintf(stderr, "not published: %s\n", why);
    if (d != NULL)
        outbox_delivery__finish(d, NULL);
    return good;
}

double publish_rate(outbox_publisher *publisher, const struct load *load)
{
    struct outbox_item *items = calloc(load->window, sizeof(*items)), **list = calloc(load->window, sizeof(*list));
    char (*keys)[24] = calloc(load->window, sizeof(*keys));
    int64_t start, spent = 0;
    size_t done = 0;

    while (items != NULL && list != NULL && keys != NULL && done < load->count) {
        size_t n = load->count - done < load->window ? load->count - done : load->window;

        for (size_t i = 0; i < n; i++) {
            fill_item(&items[i], load, done + i, keys[i]);
            list[i] = &items[i];
        }
        start = monotonic_us();
        if (!publish_window(publisher, list, n))
            break;
        spent += monotonic_us() - start;
        done += n;
    }
    free(keys);
    free(list);
    free(items);
    return done == load->count && spent > 0 ? (double)done * 1e6 / (double)spent : 0;
}

double compare(const char *what, int rounds, double (*ours)(void *), double (*theirs)(void *), void *ctx)
{
    double a[32], b[32];
    int n = rounds < 32 ? rounds : 32;

    for (int i = 0; i < n; i++) {
        a[i] = ours(ctx);
        b[i] = theirs(ctx);
    }
    printf("%-28s %9.0f /s   alone %9.0f /s   %.2f\n", what, median(a, (size_t)n), median(b, (size_t)n),
           median(a, (size_t)n) / median(b, (size_t)n));
    record_figure("publish", what, "ratio", median(a, (size_t)n) / median(b, (size_t)n));
    return median(a, (size_t)n) / median(b, (size_t)n);
}
