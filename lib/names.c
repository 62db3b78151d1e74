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
} functions[] = { { "lane_fn", "lane" }, { "enqueue_fn", "enqueue" }, { "enqueue_once_fn", "enqueue_once" },
                  { "enqueue_alone_fn", "enqueue_alone" }, { "notify_fn", "notify" }, { "now_fn", "now" } };

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

static char *plain_name(const char *quote, const char *prefix, const char *name)
{
    char text[120];

    snprintf(text, sizeof(text), "%s%s", prefix, name);
    return print("%s%s%s", quote, text, quote);
}

static char *qualified(const char *quote, const char *schema, const char *prefix, const char *name)
{
    char *quoted_schema, *quoted, *text = NULL;

    quoted = plain_name(quote, prefix, name);
    if (schema[0] == '\0' || quoted == NULL)
        return quoted;
    quoted_schema = plain_name(quote, schema, "");
    if (quoted_schema != NULL)
        text = print("%s%s%s", quoted_schema, ".", quoted);
    free(quoted_schema);
    free(quoted);
    return text;
}

static char *with_schema(const char *quote, const char *schema, const char *prefix)
{
    char *quoted = plain_name(quote, schema, ""), *text = quoted != NULL ? print("%s%s%s", quoted, ".", prefix) : NULL;

    free(quoted);
    return text;
}

static char *lane_rows(const char *insert_new, int lanes)
{
    size_t room = (size_t)lanes * 8 + 60 + strlen(insert_new);
    char *text = malloc(room), *p = text;
    int i;

    if (text == NULL)
        return NULL;
    p += sprintf(p, "%s {lanes} (lane) VALUES (-1)", insert_new);
    for (i = 0; i < lanes; i++)
        p += sprintf(p, ", (%d)", i);
    return text;
}

/* Every {table} has a {table_plain} without the schema, for places where SQL wants it so, and a {table_on}, as it
 * stands after the ON of CREATE INDEX. */
static void add_tables(struct names *n, const struct outbox_driver *driver, const char *schema, const char *prefix)
{
    int index_schema = (driver->flags & OUTBOX_DRIVER_INDEX_SCHEMA) != 0;
    const char *quote = driver->quote;
    static const char *const plain[] = { "messages_plain", "lanes_plain", "deferred_plain", "published_plain",
                                         "positions_plain", "dedup_plain", "meta_plain", "status_plain", "audit_plain" };
    static const char *const on[] = { "messages_on", "lanes_on", "deferred_on", "published_on",
                                      "positions_on", "dedup_on", "meta_on", "status_on", "audit_on" };
    size_t i;

    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        add(n, tables[i], qualified(quote, schema, prefix, tables[i]));
        add(n, plain[i], plain_name(quote, prefix, tables[i]));
        add(n, on[i], qualified(quote, index_schema ? "" : schema, prefix, tables[i]));
    }
    for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        add(n, functions[i].name, qualified(quote, schema, prefix, functions[i].function));
    add(n, "schema", plain_name(quote, schema, ""));
    add(n, "prefix", strdup(prefix));
    add(n, "index", schema[0] != '\0' && index_schema ? with_schema(quote, schema, prefix) : strdup(prefix));
}

int outbox_names__make(const outbox_conf *conf, const struct outbox_driver *driver, struct outbox_sqlname *names,
                       char **texts, outbox_error **err)
{
    const char *schema = outbox_conf__text(conf, CONF_SCHEMA_NAME), *prefix = outbox_conf__text(conf, CONF_SCHEMA_PREFIX);
    int asked = (int)outbox_conf__number(conf, CONF_SCHEMA_LANES);
    int lanes = asked > 0 ? asked : driver->lanes > 0 ? driver->lanes : OUTBOX_LANES;
    int settle = (int)outbox_conf__number(conf, CONF_SCHEMA_SETTLE);
    int position = settle == SETTLE_POSITION || (settle == SETTLE_AUTO && (driver->flags & OUTBOX_DRIVER_POSITION) != 0);
    struct names n = { names, texts, 0, 0 };
    char count[20];

    memset(names, 0, OUTBOX_NAMES * sizeof(*names));
    memset(texts, 0, OUTBOX_NAMES * sizeof(*texts));
    snprintf(count, sizeof(count), "%d", lanes);
    add_tables(&n, driver, schema, prefix);
    add(&n, "lane_count", strdup(count));
    add(&n, "lane_rows", lane_rows(driver->insert_new, lanes));
    add(&n, "channel", strdup(outbox_conf__text(conf, CONF_WAKE_CHANNEL)));
    add(&n, "settle", strdup(position ? "position" : "delete"));
    add(&n, "now", strdup(driver->now));
    add(&n, "bytes", strdup(driver->bytes));
    add(&n, "limit", strdup(driver->limit));
    add(&n, "text", strdup(driver->text));
    add(&n, "id", strdup(driver->id));
    add(&n, "number", strdup(driver->number));
    add(&n, "sequence", strdup(driver->sequence));
    add(&n, "uuid", strdup(driver->uuid));
    add(&n, "long_text", strdup(driver->long_text));
    add(&n, "long_bytes", strdup(driver->long_bytes));
    add(&n, "table_end", strdup(driver->table_end));
    add(&n, "if_not_exists", strdup(driver->if_not_exists));
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
