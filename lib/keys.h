/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of keys, each with the first place where it was met: open addressing, for a known number of keys. */
#ifndef OUTBOX_KEYS_H
#define OUTBOX_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct outbox_key_slot {
    int64_t key; /* 0: free; 0 is no key */
    size_t first;
};

struct outbox_keys {
    struct outbox_key_slot *slots;
    size_t mask;
};

/* For up to count keys. 0: out of memory. Free slots, which may be NULL. */
int outbox_keys__make(struct outbox_keys *keys, size_t count);

/* 1 when it is there already; the smallest place counts. 0 (no key) is never there. */
int outbox_keys__add(struct outbox_keys *keys, int64_t key, size_t place);
int outbox_keys__has(const struct outbox_keys *keys, int64_t key);

/* Whether it was met before that place. */
int outbox_keys__before(const struct outbox_keys *keys, int64_t key, size_t place);
void outbox_keys__clear(struct outbox_keys *keys);

#endif
