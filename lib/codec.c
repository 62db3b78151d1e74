/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values become messages. */
#include "buffer.h"
#include "error_internal.h"
#include "sized.h"

int outbox_enqueue_value(outbox_conn *conn, const outbox_codec *codec, const outbox_message *message, const void *value,
                         outbox_id *id, outbox_error **err)
{
    struct outbox_buffer payload = { NULL, 0, 0 };
    outbox_message copy;
    int rc;

    if (codec == NULL || codec->size < OUTBOX_SIZE_TO(outbox_codec, user) || codec->encode == NULL || message == NULL ||
        message->size < OUTBOX_SIZE_TO(outbox_message, max_attempts))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "codec.incomplete",
                                 "a codec with an encode function and a message from OUTBOX_MESSAGE_INIT are needed");
    outbox_sized__take(&copy, sizeof(copy), message, message->size);
    copy.size = sizeof(copy);
    rc = codec->encode(codec->user, value, &payload, err);
    if (rc == OUTBOX_OK) {
        copy.payload = payload.data;
        copy.payload_size = payload.size;
        if (copy.content_type == NULL)
            copy.content_type = codec->content_type;
        if (copy.message_type == NULL)
            copy.message_type = codec->message_type;
        rc = outbox_enqueue(conn, &copy, 1, id, err);
    } else {
        outbox_error__set(err, rc, "codec.failed", "the codec could not encode the value (%s)", outbox_status_name(rc));
    }
    outbox_buffer__free(&payload);
    return rc;
}
