/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keywords: compared without case, and alike whatever locale the program has. In a Turkish one an "I" is no "i" to
 * strcasecmp(), so that it takes "UID" for another word than "uid". */
#ifndef OUTBOX_ASCII_H
#define OUTBOX_ASCII_H

#include <stddef.h>
#include <stdint.h> /* SIZE_MAX, where all of both counts */

static inline int outbox_ascii__lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

/* Whether two texts, of which at most `size` characters count, are the same. */
static inline int outbox_ascii__same(const char *a, const char *b, size_t size)
{
    for (; size > 0 && *a != '\0' && outbox_ascii__lower(*a) == outbox_ascii__lower(*b); size--) {
        a++;
        b++;
    }
    return size == 0 || (*a == '\0' && *b == '\0');
}

#endif
