/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the names in braces stand for. Schema and prefix were checked when they were set, so quoting is enough. */
#include "conn_internal.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const tables[] = { "messages", "lanes", "deferred", "published", "positions", "dedup", "meta", "status",
                                      "audit" };
static const struct {
    const char *name, *function;
} functions[] = { { "lane_fn", "lane" }, { "enqueue_fn", "enqueue" }, { "notify_fn", "notify" } };

struct names {
    struct outbox_sqlname *names;
    char **texts;
    size_t count;
    int failed;
};

static void add(struct names *n, const char *name, char *text)
{
    if (text == NULL) {
        n->failed = 1;
        return;
    }
    n->texts[n->count] = text;
    n->names[n->count].name = name;
    n->names[n->count].value = text;
    n->count++;
}

static char *print(const char *format, const char *a, const char *b, const char *c)
{
    char *text = malloc(200);

    if (text != NULL)
        snprintf(text, 200, format, a, b, c);
    return text;
}

static char *qualified(const char *schema, const char *prefix, const char *name)
{
    return schema[0] != '\0' ? print("\"%s\".\"%s%s\"", schema, prefix, name) : print("\"%s%s%s\"", prefix, name, "");
}

static char *lane_rows(int lanes)
{
    size_t room = (size_t)lanes * 8 + 60;
    char *text = malloc(room), *p = text;
    int i;

    if (text == NULL)
        return NULL;
    p += sprintf(p, "INSERT INTO {lanes} (lane) VALUES (-1)");
    for (i = 0; i < lanes; i++)
        p += sprintf(p, ", (%d)", i);
    return text;
}

/* Every {table} has a {table_plain} without the schema, for places where SQL wants it so. */
static void add_tables(struct names *n, const char *schema, const char *prefix)
{
    static const char *const plain[] = { "messages_plain", "lanes_plain", "deferred_plain", "published_plain",
                                         "positions_plain", "dedup_plain", "meta_plain", "status_plain", "audit_plain" };
    size_t i;

    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        add(n, tables[i], qualified(schema, prefix, tables[i]));
        add(n, plain[i], print("\"%s%s%s\"", prefix, tables[i], ""));
    }
    for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        add(n, functions[i].name, qualified(schema, prefix, functions[i].function));
}

int outbox_names__make(const outbox_conf *conf, const struct outbox_driver *driver, struct outbox_sqlname *names,
                       char **texts, outbox_error **err)
{
    const char *schema = outbox_conf__text(conf, CONF_SCHEMA_NAME), *prefix = outbox_conf__text(conf, CONF_SCHEMA_PREFIX);
    int lanes = (int)outbox_conf__number(conf, CONF_SCHEMA_LANES);
    int settle = (int)outbox_conf__number(conf, CONF_SCHEMA_SETTLE);
    int position = settle == SETTLE_POSITION || (settle == SETTLE_AUTO && (driver->flags & OUTBOX_DRIVER_POSITION) != 0);
    struct names n = { names, texts, 0, 0 };
    char count[20];

    memset(names, 0, OUTBOX_NAMES * sizeof(*names));
    memset(texts, 0, OUTBOX_NAMES * sizeof(*texts));
    snprintf(count, sizeof(count), "%d", lanes);
    add_tables(&n, schema, prefix);
    add(&n, "schema", print("\"%s%s%s\"", schema, "", ""));
    add(&n, "prefix", strdup(prefix));
    add(&n, "prefix_qualified", schema[0] != '\0' ? print("\"%s\".%s%s", schema, prefix, "") : strdup(prefix));
    add(&n, "lane_count", strdup(count));
    add(&n, "lane_rows", lane_rows(lanes));
    add(&n, "channel", strdup(outbox_conf__text(conf, CONF_WAKE_CHANNEL)));
    add(&n, "settle", strdup(position ? "position" : "delete"));
    add(&n, "now", strdup(driver->now));
    add(&n, "bytes", strdup(driver->bytes));
    add(&n, "limit", strdup(driver->limit));
    add(&n, "text", strdup(driver->text));
    add(&n, "id", strdup(driver->id));
    if (n.failed) {
        outbox_names__free(texts);
        return outbox_error__nomem(err);
    }
    return OUTBOX_OK;
}

void outbox_names__free(char **texts)
{
    size_t i;

    for (i = 0; i < OUTBOX_NAMES; i++)
        free(texts[i]);
    memset(texts, 0, OUTBOX_NAMES * sizeof(*texts));
}
