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
