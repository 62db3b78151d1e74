/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "text.h"

#include <stdint.h>
#include <string.h>

/* Bytes in the character that starts here; 0 when none does. The second byte's range carries the rules against
 * overlong forms and surrogates (Unicode, table 3-7). */
static size_t character(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t n, i;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* How many bytes from the start on are printable ASCII, which most texts are to their end; eight at a time. As none of
 * them has its top bit set, what is added to one carries into none. */
static size_t plain(const unsigned char *p, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t eight;
    size_t at = 0;

    for (; size - at >= sizeof(eight); at += sizeof(eight)) {
        memcpy(&eight, p + at, sizeof(eight));
        if ((eight & tops) != 0 || ((eight + ones * 0x60) & tops) != tops || ((eight + ones) & tops) != 0)
            break; /* one of them is above 0x7f, below 0x20, or 0x7f */
    }
    while (at < size && p[at] >= 0x20 && p[at] < 0x7f)
        at++;
    return at;
}

long outbox_text__length(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t at = plain(p, size), n;
    long count = (long)at;

    while (at < size) {
        n = character(p + at, size - at);
        if (n == 0)
            return -1;
        at += n;
        count++;
    }
    return count;
}

int outbox_text__is_plain(const char *text, size_t size)
{
    return plain((const unsigned char *)text, size) == size;
}

int outbox_text__has_control(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i;

    for (i = plain(p, size); i < size; i++)
        if (p[i] < 0x20 || p[i] == 0x7f)
            return 1;
    return 0;
}

size_t outbox_text__cut(const char *text, size_t size, size_t max)
{
    if (size <= max)
        return size;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

void outbox_text__repair(char *text)
{
    unsigned char *p = (unsigned char *)text;
    size_t left = strlen(text), n;

    for (; left > 0; p += n, left -= n) {
        n = character(p, left);
        if (n == 0) {
            *p = '?';
            n = 1;
        }
    }
}
