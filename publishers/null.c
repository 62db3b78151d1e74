/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "null:" accepts everything at once, to measure what the rest costs. */
#include "builtin.h"

static int null_publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    size_t index;

    (void)self, (void)err;
    while (outbox_delivery_next(delivery, &index) != NULL)
        outbox_delivery_answer(delivery, index, OUTBOX_PUBLISHED, -1, NULL);
    return OUTBOX_OK;
}

/* There is nothing to be reached. */
static int null_reach(void *self, outbox_error **err)
{
    (void)self, (void)err;
    return OUTBOX_OK;
}

int outbox_publisher__null_open(const char *rest, const outbox_conf *conf, outbox_publisher **publisher,
                                outbox_error **err)
{
    static const outbox_publisher_ops ops = {
        .size = sizeof(ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "null",
        .publish = null_publish,
        .reach = null_reach,
    };

    (void)conf;
    if (rest[0] != '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.null_url",
                                "publisher \"null:\" takes nothing after the colon");
    return outbox_publisher_new(&ops, NULL, publisher, err);
}
