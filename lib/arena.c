/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A chain of blocks; a piece that is larger than a block gets one of its own. A reset makes one of them all, so that there
 * is one in the end. */
#include "arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)64 * 1024)
#define KEEP ((size_t)4 * 1024 * 1024) /* over a reset */

struct outbox_arena_block {
    struct outbox_arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

static struct outbox_arena_block *block_new(size_t size)
{
    struct outbox_arena_block *block = malloc(sizeof(*block) + size);

    if (block != NULL) {
        block->next = NULL;
        block->size = size;
        block->used = 0;
    }
    return block;
}

void *outbox_arena__alloc(outbox_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    struct outbox_arena_block *block = arena->head;
    void *piece;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + align - 1) / align * align;
    if (block == NULL || block->size - block->used < size) {
        block = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
        if (block == NULL)
            return NULL;
        block->next = arena->head;
        arena->head = block;
    }
    piece = block->data + block->used;
    block->used += size;
    return piece;
}

void *outbox_arena__copy(outbox_arena *arena, const void *data, size_t size)
{
    unsigned char *piece = size == SIZE_MAX ? NULL : outbox_arena__alloc(arena, size + 1);

    if (piece == NULL)
        return NULL;
    if (size > 0)
        memcpy(piece, data, size);
    piece[size] = '\0';
    return piece;
}

void outbox_arena__reset(outbox_arena *arena)
{
    struct outbox_arena_block *block = arena->head;
    size_t total = 0, size = BLOCK_SIZE;

    if (block == NULL || (block->next == NULL && block->size <= KEEP)) {
        if (block != NULL)
            block->used = 0;
        return;
    }
    for (; block != NULL; block = block->next)
        total += block->used;
    outbox_arena__free(arena);
    while (size < total && size < KEEP)
        size *= 2;
    arena->head = block_new(size); /* without memory, the next one who needs some says so */
}

void outbox_arena__free(outbox_arena *arena)
{
    while (arena->head != NULL) {
        struct outbox_arena_block *block = arena->head;

        arena->head = block->next;
        free(block);
    }
}
