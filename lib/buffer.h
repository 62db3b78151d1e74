/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes that grow. */
#ifndef OUTBOX_BUFFER_H
#define OUTBOX_BUFFER_H

#include <outbox/message.h>

struct outbox_buffer {
    char *data;
    size_t size;
    size_t room;
};

/* Keeps a NUL behind the bytes, which is not counted. 0 when memory is out. */
int outbox_buffer__add(struct outbox_buffer *buffer, const void *data, size_t size);
void outbox_buffer__free(struct outbox_buffer *buffer);

#endif
