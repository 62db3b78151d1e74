/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int outbox_buffer__add(struct outbox_buffer *buffer, const void *data, size_t size)
{
    if (size > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4)
        return 0;
    if (buffer->size + size + 1 > buffer->room) {
        size_t need = buffer->size + size + 1, room = need + need / 2 + 64; /* three quarters of what there can be */
        char *grown = realloc(buffer->data, room);

        if (grown == NULL)
            return 0;
        buffer->data = grown;
        buffer->room = room;
    }
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 1;
}

void outbox_buffer__free(struct outbox_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->room = 0;
}

int outbox_buffer_append(outbox_buffer *buffer, const void *data, size_t size)
{
    return outbox_buffer__add(buffer, data, size) ? OUTBOX_OK : OUTBOX_ERR_NOMEM;
}
