/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The setting topic.map: "orders=shop.orders,audit.*=log.{rest},*=events.{topic}". */
#ifndef OUTBOX_TOPIC_MAP_H
#define OUTBOX_TOPIC_MAP_H

#include <outbox/message.h>

struct outbox_topic_rule {
    const char *from, *to; /* into text; from without its "*" */
    size_t from_size;
    int prefix; /* it ended in "*" */
};

struct outbox_topic_map {
    char *text;
    struct outbox_topic_rule *rules;
    size_t count;
};

/* OUTBOX_OK; OUTBOX_ERR_CONF with a reason; OUTBOX_ERR_NOMEM. Free it after a failure, too. */
int outbox_topic_map__parse(const char *text, struct outbox_topic_map *map, const char **reason);
void outbox_topic_map__free(struct outbox_topic_map *map);

/* Adds the name that a message's topic has: 0 when memory is out. The first rule that fits counts; without one it is the
 * topic. */
int outbox_topic_map__name(const struct outbox_topic_map *map, const outbox_record *record, outbox_buffer *name);

#endif
