/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publish: a batch goes to the publisher as it is, or, when the publisher does not keep order by itself, in waves in which
 * no key comes twice; a key that failed is in no further wave. */
#include "relay_internal.h"

#include <stdlib.h>
#include <string.h>

/* A set of keys: open addressing, twice as large as the batch. 0 is no key. */
struct keys {
    int64_t *slots;
    size_t mask;
};

static int keys_make(struct keys *keys, size_t count)
{
    size_t size = 16;

    while (size < count * 2)
        size *= 2;
    keys->mask = size - 1;
    keys->slots = calloc(size, sizeof(*keys->slots));
    return keys->slots != NULL;
}

/* 1 when it was there already. */
static int keys_add(struct keys *keys, int64_t key)
{
    size_t at = (size_t)key & keys->mask;

    while (keys->slots[at] != 0 && keys->slots[at] != key)
        at = (at + 1) & keys->mask;
    if (keys->slots[at] == key)
        return 1;
    keys->slots[at] = key;
    return 0;
}

/* Collects the next wave; what had its turn is marked as done. */
static size_t next_wave(outbox_batch *batch, int in_order, struct keys *failed, struct keys *seen, char *done,
                        struct outbox_item **wave)
{
    size_t i, n = 0;

    memset(seen->slots, 0, (seen->mask + 1) * sizeof(*seen->slots));
    for (i = 0; i < batch->count; i++) {
        struct outbox_item *item = &batch->items[i];

        if (done[i] && item->fate != FATE_PUBLISHED && item->key_hash != 0)
            keys_add(failed, item->key_hash);
    }
    for (i = 0; i < batch->count; i++) {
        struct outbox_item *item = &batch->items[i];

        if (done[i])
            continue;
        if (item->key_hash != 0) {
            size_t at = (size_t)item->key_hash & failed->mask;

            while (failed->slots[at] != 0 && failed->slots[at] != item->key_hash)
                at = (at + 1) & failed->mask;
            if (failed->slots[at] == item->key_hash) {
                done[i] = 1; /* held, settle.c sees to it */
                continue;
            }
            if (!in_order && keys_add(seen, item->key_hash))
                continue;
        }
        done[i] = 1;
        wave[n++] = item;
    }
    return n;
}

static int64_t time_left(outbox_relay *relay)
{
    int64_t timeout = outbox_conf__number(relay->conf, CONF_RELAY_PUBLISH_TIMEOUT), stop_at, now = outbox_thread__clock();

    pthread_mutex_lock(&relay->lock);
    stop_at = relay->stop_at;
    pthread_mutex_unlock(&relay->lock);
    if (stop_at != 0 && stop_at - now < timeout)
        timeout = stop_at > now ? stop_at - now : 0;
    return timeout;
}

static int run_wave(struct outbox_worker *worker, struct outbox_item **wave, size_t n, outbox_delivery **given_up)
{
    outbox_relay *relay = worker->relay;
    outbox_delivery *d = outbox_delivery__new(relay->publisher, wave, n);
    int64_t timeout = time_left(relay);
    int late, poke;

    if (d == NULL)
        return -1;
    pthread_mutex_lock(&relay->lock);
    worker->delivery = d;
    worker->deadline = outbox_thread__clock() + timeout;
    poke = worker->deadline < relay->keeper_until || relay->hurry;
    pthread_mutex_unlock(&relay->lock);
    if (poke)
        outbox_signal__poke(&relay->keeping);
    late = outbox_delivery__run(d, timeout, &relay->hurry);
    pthread_mutex_lock(&relay->lock);
    worker->delivery = NULL;
    pthread_mutex_unlock(&relay->lock);
    *given_up = d; /* reasons live in it until the batch is settled */
    return late;
}

/* Reasons are owned by the delivery; they move to the batch before it goes. */
static void keep_reasons(outbox_batch *batch, struct outbox_item **wave, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (wave[i]->reason != NULL)
            outbox_batch_answer(batch, (size_t)(wave[i] - batch->items), (outbox_verdict)wave[i]->fate,
                                wave[i]->delay < 0 ? -1 : wave[i]->delay / 1000, wave[i]->reason);
}

int outbox_relay__publish(struct outbox_worker *worker, outbox_batch *batch, outbox_delivery **given_up)
{
    int in_order = (worker->relay->publisher->ops.flags & OUTBOX_PUBLISHER_IN_ORDER) != 0;
    struct outbox_item **wave = malloc(batch->count * sizeof(struct outbox_item *));
    char *done = calloc(batch->count, 1);
    struct keys failed = { NULL, 0 }, seen = { NULL, 0 };
    int late = 0;
    size_t n;

    *given_up = NULL;
    if (wave != NULL && done != NULL && keys_make(&failed, batch->count) && keys_make(&seen, batch->count)) {
        while (late == 0 && (n = next_wave(batch, in_order, &failed, &seen, done, wave)) > 0) {
            outbox_delivery *d = NULL;

            late = run_wave(worker, wave, n, &d);
            if (d == NULL)
                break;
            keep_reasons(batch, wave, n);
            if (late == 0)
                outbox_delivery__finish(d, NULL);
            else
                *given_up = d;
        }
    }
    free(failed.slots);
    free(seen.slots);
    free(done);
    free(wave);
    return late > 0;
}
