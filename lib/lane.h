/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From keys to lanes, and from (topic, key) to the number that orders them among the deferred. */
#ifndef OUTBOX_LANE_H
#define OUTBOX_LANE_H

#include <stdint.h>

/* Never 0 for a key; 0 for none: 0 means "not ordered". Only relays compute it, so it may change with a migration. */
int64_t outbox_lane__key_hash(const char *topic, const char *key);

/* The hash takes a microsecond, and the keys of a lane come again and again. Zeroed at first. */
#define OUTBOX_KEY_MEMO 512
struct outbox_key_memo {
    int64_t hash;  /* 0: nothing is here */
    char text[56]; /* the topic and the key, each with its NUL */
};

/* The same number, computed only when it is not in the memo. */
int64_t outbox_lane__known_key_hash(struct outbox_key_memo *memo, const char *topic, const char *key);

/* outbox_lane_of_key(), likewise; the memo is for lanes alone, and for that number of them. */
int outbox_lane__known_lane(struct outbox_key_memo *memo, const char *key, int lanes);

#endif
