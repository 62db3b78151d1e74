/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t outbox_base64__encoded_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

void outbox_base64__encode(const void *data, size_t size, char *to)
{
    const unsigned char *from = data;

    for (; size >= 3; size -= 3, from += 3) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = alphabet[bits >> 6 & 63];
        *to++ = alphabet[bits & 63];
    }
    if (size > 0) {
        uint32_t bits = (uint32_t)from[0] << 16 | (size > 1 ? (uint32_t)from[1] << 8 : 0);
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = size > 1 ? alphabet[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
}

/* The six bits that a character stands for, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t outbox_base64__decode(const char *text, size_t size, void *to, size_t *length)
{
    unsigned char *out = to;
    size_t padding = 0;

    *length = 0;
    if (size % 4 != 0)
        return size + 1;
    if (size > 0 && text[size - 1] == '=')
        padding = text[size - 2] == '=' ? 2 : 1;

    for (size_t at = 0; at < size; at += 4) {
        uint32_t bits = 0;
        size_t here = at + 4 == size ? padding : 0;
        for (size_t i = 0; i < 4; i++) {
            int value = i < 4 - here ? value_of(text[at + i]) : 0;
            if (value < 0)
                return at + i + 1;
            bits = bits << 6 | (uint32_t)value;
        }
        /* Bits that padding cuts off must be 0, or two texts would mean the same bytes. */
        if ((here == 1 && (bits & 0xff) != 0) || (here == 2 && (bits & 0xffff) != 0))
            return at + 4 - here;
        for (size_t i = 0; i < 3 - here; i++)
            *out++ = (unsigned char)(bits >> (16 - 8 * i));
    }
    *length = (size_t)(out - (unsigned char *)to);
    return 0;
}
