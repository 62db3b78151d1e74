/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_RECORD_H
#define OUTBOX_RECORD_H

#include "odbc.h"

#include <outbox/message.h>

struct outbox_record {
    outbox_id id;
    const char *topic, *partition_key, *content_type, *message_type, *last_error;
    const void *payload;
    size_t payload_size;
    struct outbox_header *headers;
    size_t header_count;
    int max_attempts, attempts, lane;
    int64_t created_at, available_at, published_at, seq, token;
    outbox_state state;
};

/* Fills a record from the columns of OUTBOX_RECORD_TYPES; texts stay where they are, headers go to the arena.
 * OUTBOX_NONE: the headers cannot be read; everything else is filled. */
int outbox_record__fill(outbox_record *record, const struct outbox_value *cells, outbox_arena *arena);

void *outbox_record__alloc(void *arena, size_t size);

#endif
