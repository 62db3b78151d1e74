/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs: version 7 (RFC 9562) for new messages, any version from callers. */
#ifndef OUTBOX_UUID_H
#define OUTBOX_UUID_H

#include <outbox/types.h>

#include <stddef.h>

/* Makes count ids that sort in their order; OUTBOX_ERR_SYSTEM when the system gives no random bytes. */
int outbox_uuid__make(outbox_id *ids, size_t count, outbox_error **err);

/* Checks 8-4-4-4-12 hexadecimal digits and writes them in lower case; 1 when it is one. */
int outbox_uuid__parse(const char *text, size_t size, outbox_id *id);

/* Random bytes from the system; 0 when it gives none. */
int outbox_uuid__random(void *bytes, size_t size);

#endif
