/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of numbers other than 0, as keys' hashes are: open addressing, with room for as many as it was made for. */
#ifndef OUTBOX_KEYS_H
#define OUTBOX_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct outbox_keys {
    int64_t *slots; /* 0: empty */
    size_t mask;
};

/* 0: out of memory. */
int outbox_keys__make(struct outbox_keys *keys, size_t count);
void outbox_keys__clear(struct outbox_keys *keys);
void outbox_keys__free(struct outbox_keys *keys);

/* Where it is, or would be: an index of slots. */
size_t outbox_keys__place(const struct outbox_keys *keys, int64_t key);

/* 0 is in no set, and none without slots has anything. */
int outbox_keys__has(const struct outbox_keys *keys, int64_t key);

/* 1 when it was there already. */
int outbox_keys__add(struct outbox_keys *keys, int64_t key);

#endif
