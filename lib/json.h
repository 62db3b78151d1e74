/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The headers of a message as the text that the database keeps: a JSON object whose values are strings.
 */
#ifndef OUTBOX_JSON_H
#define OUTBOX_JSON_H

#include <outbox/message.h>

/*
 * Writes headers as JSON: "{}" when there are none. *text is from malloc().
 * Names and values must have been checked before: here nothing is refused.
 * Returns OUTBOX_OK or OUTBOX_ERR_NOMEM.
 */
int outbox_json__headers_encode(const outbox_header *headers, size_t count, char **text, outbox_error **err);

/*
 * Reads them back. All memory comes from alloc(ctx, size), which may return NULL and never gets anything back.
 * No text (NULL or a length of 0) is no headers. Refused, as a publisher may rely on it: anything but an object of
 * strings, a name that is empty or stands there twice, control characters.
 * Returns OUTBOX_OK, OUTBOX_ERR_INVALID or OUTBOX_ERR_NOMEM; *headers is NULL when *count is 0.
 */
int outbox_json__headers_decode(const char *text, size_t length, struct outbox_header **headers, size_t *count,
                                void *(*alloc)(void *ctx, size_t size), void *ctx);

#endif
