/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lane.h"

#include <outbox/conn.h>

#include <sha2.h>
#include <string.h>

int outbox_lane_of_key(const char *key, int lanes)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA2_CTX ctx;
    uint32_t head;

    if (key == NULL || key[0] == '\0' || lanes < 1)
        return -1;
    SHA256Init(&ctx);
    SHA256Update(&ctx, (const uint8_t *)key, strlen(key));
    SHA256Final(digest, &ctx);
    head = (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
    return (int)(head % (uint32_t)lanes);
}

int64_t outbox_lane__key_hash(const char *topic, const char *key)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA2_CTX ctx;
    uint64_t head = 0;
    int i;

    if (key == NULL || key[0] == '\0')
        return 0;
    SHA256Init(&ctx);
    /* The NUL goes in too: it keeps ("a", "bc") and ("ab", "c") apart. */
    SHA256Update(&ctx, (const uint8_t *)topic, strlen(topic) + 1);
    SHA256Update(&ctx, (const uint8_t *)key, strlen(key));
    SHA256Final(digest, &ctx);
    for (i = 0; i < 8; i++)
        head = head << 8 | digest[i];
    /* Positive, so that it is the same number in every database's BIGINT. */
    head &= INT64_MAX;
    return head != 0 ? (int64_t)head : 1;
}

/* Where these are, or would be, in a memo; NULL when they have no room there. */
static struct outbox_key_memo *find(struct outbox_key_memo *memo, const char *topic, const char *key, int *known)
{
    size_t topic_size = strlen(topic) + 1, key_size = key != NULL ? strlen(key) + 1 : 0, i;
    uint32_t place = 2166136261U; /* FNV-1a: only a place in the memo depends on it */
    struct outbox_key_memo *m;

    if (key_size <= 1 || topic_size + key_size > sizeof(memo->text))
        return NULL;
    for (i = 0; i < topic_size; i++)
        place = (place ^ (unsigned char)topic[i]) * 16777619U;
    for (i = 0; i < key_size; i++)
        place = (place ^ (unsigned char)key[i]) * 16777619U;
    m = &memo[(place ^ place >> 16) % OUTBOX_KEY_MEMO];
    *known = m->hash != 0 && memcmp(m->text, topic, topic_size) == 0 && memcmp(m->text + topic_size, key, key_size) == 0;
    memcpy(m->text, topic, topic_size);
    memcpy(m->text + topic_size, key, key_size);
    return m;
}

int64_t outbox_lane__known_key_hash(struct outbox_key_memo *memo, const char *topic, const char *key)
{
    int known = 0;
    struct outbox_key_memo *m = find(memo, topic, key, &known);

    if (m == NULL)
        return outbox_lane__key_hash(topic, key);
    if (!known)
        m->hash = outbox_lane__key_hash(topic, key);
    return m->hash;
}

int outbox_lane__known_lane(struct outbox_key_memo *memo, const char *key, int lanes)
{
    int known = 0;
    struct outbox_key_memo *m = find(memo, "", key, &known);

    if (m == NULL)
        return outbox_lane_of_key(key, lanes);
    if (!known)
        m->hash = outbox_lane_of_key(key, lanes) + 1;
    return (int)m->hash - 1;
}
