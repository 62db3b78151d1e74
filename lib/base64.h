/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Base64 (RFC 4648, section 4) for payloads that are not text. None of the libraries that this one depends on has it.
 */
#ifndef OUTBOX_BASE64_H
#define OUTBOX_BASE64_H

#include <stddef.h>

/* How many characters outbox_base64__encode() writes for size bytes; no NUL is among them. */
size_t outbox_base64__encoded_size(size_t size);

/* Writes the text of size bytes to `to`, which has room for outbox_base64__encoded_size(size) characters. */
void outbox_base64__encode(const void *data, size_t size, char *to);

/*
 * Decodes, strictly: no white space, full padding, no stray bits, so that each value has one text only.
 * `to` has room for size / 4 * 3 bytes; *length is how many were written.
 * Returns 0, or the 1-based position of the first character that is wrong.
 */
size_t outbox_base64__decode(const char *text, size_t size, void *to, size_t *length);

#endif
