/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The setting topic.map. */
#include "buffer.h"
#include "record.h"
#include "topic_map.h"

#include <criterion/criterion.h>

#include <string.h>

Test(topic_map, names)
{
    static const struct {
        const char *map, *topic, *name;
    } cases[] = {
        { "", "orders", "orders" },
        { "orders=shop", "orders", "shop" },
        { "orders=shop", "orders2", "orders2" },
        { "orders=shop", "order", "order" },
        { "*=events.{topic}", "orders", "events.orders" },
        { "*=fixed", "orders", "fixed" },
        { "audit.*=log.{rest},*=x.{topic}", "audit.login", "log.login" },
        { "audit.*=log.{rest},*=x.{topic}", "orders", "x.orders" },
        { "orders=first,orders=second", "orders", "first" },
        { " a = b , c = d/{key}/{type} ", "c", "d/k/t" },
        { "*={topic}{topic}", "a", "aa" },
        { "*={key}", "a", "k" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_record record = { .topic = cases[i].topic, .partition_key = "k", .message_type = "t" };
        struct outbox_buffer name = { NULL, 0, 0 };
        struct outbox_topic_map map;
        const char *reason;

        cr_assert_eq(outbox_topic_map__parse(cases[i].map, &map, &reason), OUTBOX_OK, "%s: %s", cases[i].map, reason);
        cr_expect(outbox_topic_map__name(&map, &record, &name));
        cr_expect_str_eq(name.data, cases[i].name, "%s: %s became %s", cases[i].map, cases[i].topic, name.data);
        outbox_buffer__free(&name);
        outbox_topic_map__free(&map);
    }
}

Test(topic_map, refused)
{
    static const char *const bad[] = { "orders", "=x", "orders=", "a=b,", "a=b,,c=d", "a*b=c", "**=c", "a={x}", "a={topic",
                                       "a={rest}", "a=b}", "a=b*", "a=b=c,d", " = " };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct outbox_topic_map map;
        const char *reason;
        int rc = outbox_topic_map__parse(bad[i], &map, &reason);

        /* A comma at the end is forgiven. */
        cr_expect_eq(rc, strcmp(bad[i], "a=b,") == 0 ? OUTBOX_OK : OUTBOX_ERR_CONF, "\"%s\": %d", bad[i], rc);
        cr_expect((rc == OUTBOX_OK) == (reason == NULL), "\"%s\"", bad[i]);
        outbox_topic_map__free(&map);
    }
}
