/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8: what databases and brokers will accept as text. */
#ifndef OUTBOX_TEXT_H
#define OUTBOX_TEXT_H

#include <stddef.h>

/* How many characters; -1 when the bytes are not UTF-8 (overlong forms, surrogates and values past U+10FFFF are not). */
long outbox_text__length(const char *text, size_t size);

/* 1 when all of it is printable ASCII, which is soon seen. */
int outbox_text__is_plain(const char *text, size_t size);

/* 1 when there is a byte below 0x20, or 0x7f. */
int outbox_text__has_control(const char *text, size_t size);

/* Where to cut so that at most max bytes stay and no character is split. */
size_t outbox_text__cut(const char *text, size_t size, size_t max);

/* Replaces each byte that is no UTF-8 by a question mark. */
void outbox_text__repair(char *text);

#endif
