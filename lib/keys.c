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
    keys->slots = calloc(size, sizeof(*keys->slots));
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

/* Hashes are spread already; numbers in a row are, too. */
size_t outbox_keys__place(const struct outbox_keys *keys, int64_t key)
{
    size_t at = (size_t)key & keys->mask;

    while (keys->slots[at] != 0 && keys->slots[at] != key)
        at = (at + 1) & keys->mask;
    return at;
}

int outbox_keys__has(const struct outbox_keys *keys, int64_t key)
{
    return key != 0 && keys->slots != NULL && keys->slots[outbox_keys__place(keys, key)] == key;
}

int outbox_keys__add(struct outbox_keys *keys, int64_t key)
{
    size_t at = outbox_keys__place(keys, key);

    if (keys->slots[at] == key)
        return 1;
    keys->slots[at] = key;
    return 0;
}
