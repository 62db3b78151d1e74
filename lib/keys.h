/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of numbers other than 0, as keys' hashes are, each with the first place where it was met: open addressing, with
 * room for as many as it was made for. */
#ifndef OUTBOX_KEYS_H
#define OUTBOX_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct outbox_key_slot {
    int64_t key; /* 0: free; 0 is no key */
    int64_t first;
};

struct outbox_keys {
    struct outbox_key_slot *slots; /* NULL: nothing is in it */
    size_t mask, room;
};

/* Empty, for up to count keys; one that was made before is made anew, in its memory when that is enough. 0: out of memory. */
int outbox_keys__make(struct outbox_keys *keys, size_t count);
void outbox_keys__clear(struct outbox_keys *keys);
void outbox_keys__free(struct outbox_keys *keys);

/* 1 when it is there already; the smallest place counts. 0 (no key) is never there. */
int outbox_keys__add(struct outbox_keys *keys, int64_t key, int64_t place);
int outbox_keys__has(const struct outbox_keys *keys, int64_t key);

/* The smallest place where it was met; -1 when it was not. */
int64_t outbox_keys__first(const struct outbox_keys *keys, int64_t key);

/* Whether it was met before that place. */
int outbox_keys__before(const struct outbox_keys *keys, int64_t key, int64_t place);

#endif
