/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that is freed all at once: one batch's messages, one call's texts. */
#ifndef OUTBOX_ARENA_H
#define OUTBOX_ARENA_H

#include <stddef.h>

struct outbox_arena_block;

/* Zero-initialise; one thread at a time. */
typedef struct outbox_arena {
    struct outbox_arena_block *head;
} outbox_arena;

/* Aligned for any type; NULL when memory is out. */
void *outbox_arena__alloc(outbox_arena *arena, size_t size);

/* A copy with a NUL behind it, which is not counted. */
void *outbox_arena__copy(outbox_arena *arena, const void *data, size_t size);

/* Forgets everything but keeps memory for as much as there was, up to a bound: who needs as much each time asks for it
 * once. */
void outbox_arena__reset(outbox_arena *arena);

void outbox_arena__free(outbox_arena *arena);

#endif
