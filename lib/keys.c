/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

int outbox_keys__make(struct outbox_keys *keys, size_t count)
{
    size_t size = 16;

    while (size < count * 2)
        size *= 2;
    keys->mask = size - 1;
    if (size <= keys->room) {
        outbox_keys__clear(keys);
        return 1;
    }
    free(keys->slots);
    keys->slots = calloc(size, sizeof(*keys->slots));
    keys->room = keys->slots != NULL ? size : 0;
    return keys->slots != NULL;
}

void outbox_keys__clear(struct outbox_keys *keys)
{
    memset(keys->slots, 0, (keys->mask + 1) * sizeof(*keys->slots));
}

void outbox_keys__free(struct outbox_keys *keys)
{
    free(keys->slots);
}

/* Where it is, or would go. Hashes are spread already; numbers in a row are, too. */
static struct outbox_key_slot *find(const struct outbox_keys *keys, int64_t key)
{
    size_t at = (size_t)key & keys->mask;

    while (keys->slots[at].key != 0 && keys->slots[at].key != key)
        at = (at + 1) & keys->mask;
    return &keys->slots[at];
}

int outbox_keys__add(struct outbox_keys *keys, int64_t key, int64_t place)
{
    struct outbox_key_slot *slot;

    if (key == 0)
        return 0;
    slot = find(keys, key);
    if (slot->key == key) {
        if (place < slot->first)
            slot->first = place;
        return 1;
    }
    slot->key = key;
    slot->first = place;
    return 0;
}

int outbox_keys__has(const struct outbox_keys *keys, int64_t key)
{
    return key != 0 && keys->slots != NULL && find(keys, key)->key == key;
}

int64_t outbox_keys__first(const struct outbox_keys *keys, int64_t key)
{
    return outbox_keys__has(keys, key) ? find(keys, key)->first : -1;
}

int outbox_keys__before(const struct outbox_keys *keys, int64_t key, int64_t place)
{
    return outbox_keys__has(keys, key) && find(keys, key)->first < place;
}
