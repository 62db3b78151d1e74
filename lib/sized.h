/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structs that callers make: a program that was compiled against an earlier header has smaller ones, against a later one
 * larger. */
#ifndef OUTBOX_SIZED_H
#define OUTBOX_SIZED_H

#include <stddef.h>
#include <string.h>

/* The size that ends with a member: that of 0.1 with its last one, without what the compiler adds behind. */
#define OUTBOX_SIZE_TO(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

/* Copies what both know; the rest is 0. */
static inline void outbox_sized__take(void *to, size_t room, const void *from, size_t size)
{
    memset(to, 0, room);
    memcpy(to, from, size < room ? size : room);
}

#endif
