/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Table names from schema.*: quoted, qualified, whole at the greatest lengths, never with a stranger's SQL. */
#include "conn_internal.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define ADDRESS_(name) &outbox_driver__##name,
static const struct outbox_driver *const drivers[] = { OUTBOX_DRIVERS(ADDRESS_) };
#undef ADDRESS_
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

static outbox_conf *conf;
static struct outbox_sqlname names[OUTBOX_NAMES];
static char *texts[OUTBOX_NAMES];

static void make(void)
{
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_names__free(texts);
    outbox_conf_free(conf);
}

TestSuite(names, .init = make, .fini = drop);

static void set(const char *key, const char *value)
{
    cr_assert_eq(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK, "%s = %s", key, value);
}

static void make_names(const struct outbox_driver *driver)
{
    outbox_names__free(texts);
    cr_assert_eq(outbox_names__make(conf, driver, names, texts, NULL), OUTBOX_OK);
}

static const char *value_of(const char *name)
{
    const struct outbox_sqlname *n;

    for (n = names; n->name != NULL; n++)
        if (strcmp(n->name, name) == 0)
            return n->value;
    return "(none)";
}

static void expect(const char *name, const char *value)
{
    cr_expect_str_eq(value_of(name), value, "{%s} is %s, not %s", name, value_of(name), value);
}

static const char *const tables[] = { "messages", "lanes", "deferred", "published", "positions", "dedup", "meta" };

Test(names, defaults)
{
    size_t d, t;

    for (d = 0; d < DRIVERS; d++) {
        char want[60];

        make_names(drivers[d]);
        for (t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
            char plain[40], on[40];

            snprintf(plain, sizeof(plain), "%s_plain", tables[t]);
            snprintf(on, sizeof(on), "%s_on", tables[t]);
            snprintf(want, sizeof(want), "%soutbox_%s%s", drivers[d]->quote, tables[t], drivers[d]->quote);
            expect(tables[t], want);
            expect(plain, want);
            expect(on, want);
        }
        snprintf(want, sizeof(want), "%soutbox_lane%s", drivers[d]->quote, drivers[d]->quote);
        expect("lane_fn", want);
        snprintf(want, sizeof(want), "%soutbox_enqueue%s", drivers[d]->quote, drivers[d]->quote);
        expect("enqueue_fn", want);
        expect("prefix", "outbox_");
        expect("index", "outbox_");
        expect("lane_count", strcmp(drivers[d]->name, "sqlite") == 0 ? "16" : "64");
        expect("now", drivers[d]->now);
        expect("bytes", drivers[d]->bytes);
        expect("limit", drivers[d]->limit);
        expect("text", drivers[d]->text);
        expect("id", drivers[d]->id);
        expect("number", drivers[d]->number);
        expect("sequence", drivers[d]->sequence);
        expect("uuid", drivers[d]->uuid);
        expect("long_text", drivers[d]->long_text);
        expect("long_bytes", drivers[d]->long_bytes);
        expect("table_end", drivers[d]->table_end);
        expect("if_not_exists", drivers[d]->if_not_exists);
    }
}

Test(names, a_schema_goes_before_all_but_the_plain_ones)
{
    set("schema.name", "Sales");
    set("schema.prefix", "Events_");
    make_names(&outbox_driver__postgresql);
    expect("schema", "\"Sales\"");
    expect("messages", "\"Sales\".\"Events_messages\"");
    expect("messages_plain", "\"Events_messages\"");
    expect("lane_fn", "\"Sales\".\"Events_lane\"");
    expect("prefix", "Events_");
    /* PostgreSQL wants an index named without its schema, SQLite its table. */
    expect("index", "Events_");
    expect("messages_on", "\"Sales\".\"Events_messages\"");
    make_names(&outbox_driver__sqlite);
    expect("messages", "\"Sales\".\"Events_messages\"");
    expect("index", "\"Sales\".Events_");
    expect("messages_on", "\"Events_messages\"");
    make_names(&outbox_driver__mariadb);
    expect("schema", "`Sales`");
    expect("messages", "`Sales`.`Events_messages`");
    expect("messages_plain", "`Events_messages`");
    expect("lane_fn", "`Sales`.`Events_lane`");
}

Test(names, no_prefix)
{
    set("schema.prefix", "");
    make_names(&outbox_driver__sqlite);
    expect("messages", "\"messages\"");
    expect("prefix", "");
    expect("index", "");
}

Test(names, longest)
{
    char schema[80] = "", prefix[80] = "", want[200];
    size_t t;

    memset(schema, 's', 63);
    memset(prefix, 'p', 40);
    set("schema.name", schema);
    set("schema.prefix", prefix);
    make_names(&outbox_driver__postgresql);
    for (t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        snprintf(want, sizeof(want), "\"%s\".\"%s%s\"", schema, prefix, tables[t]);
        expect(tables[t], want);
        /* PostgreSQL cuts names off at 63 characters, and the names of indexes are longer than these by a word. */
        cr_expect_leq(strlen(prefix) + strlen(tables[t]) + strlen("_published"), 63u, "%s", tables[t]);
    }
}

/* What could leave the quotes never gets as far as a name. */
Test(names, hostile_names_are_refused)
{
    static const char *const hostile[] = {
        "a\"; DROP TABLE x; --", "\"", "a\"b", "a.b", "a b", "a'b", "{messages}", ":lane", "[[x]]", "a;", "a--", "a/*",
            "a\\",
        "a\nb", "\xc3\xa9", "\xef\xbc\x82", "1a", "%s", "a`", "]", "$$",
    };
    static const char *const keys[] = { "schema.name", "schema.prefix" };
    char longer[80];
    size_t i, k;

    for (k = 0; k < 2; k++) {
        for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
            cr_expect_eq(outbox_conf_set(conf, keys[k], hostile[i], NULL), OUTBOX_ERR_CONF, "%s = \"%s\" is taken",
                         keys[k],
                         hostile[i]);
        memset(longer, 'a', sizeof(longer));
        longer[k == 0 ? 64 : 41] = '\0';
        cr_expect_eq(outbox_conf_set(conf, keys[k], longer, NULL), OUTBOX_ERR_CONF, "%s of %zu letters", keys[k],
                     strlen(longer));
    }
    make_names(&outbox_driver__postgresql);
    expect("messages", "\"outbox_messages\"");
}

Test(names, lanes)
{
    static const int counts[] = { 1, 2, 9, 10, 64, 99, 100, 999, 1000, 1024 };
    size_t c;

    for (c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        char count[12], want[10000];
        size_t used = (size_t)snprintf(want, sizeof(want), "INSERT INTO {lanes} (lane) VALUES (-1)");
        int i;

        for (i = 0; i < counts[c]; i++)
            used += (size_t)snprintf(want + used, sizeof(want) - used, ", (%d)", i);
        snprintf(count, sizeof(count), "%d", counts[c]);
        set("schema.lanes", count);
        make_names(&outbox_driver__sqlite);
        expect("lane_count", count);
        cr_expect_str_eq(value_of("lane_rows"), want, "%d lanes", counts[c]);
    }
}

Test(names, how_an_outbox_settles)
{
    static const struct {
        const struct outbox_driver *driver;
        const char *setting, *settle;
    } cases[] = {
        { &outbox_driver__mariadb, "auto", "delete" },       { &outbox_driver__mariadb, "delete", "delete" },
        { &outbox_driver__generic, "auto", "delete" },       { &outbox_driver__generic, "delete", "delete" },
        { &outbox_driver__postgresql, "auto", "position" },  { &outbox_driver__postgresql, "position", "position" },
        { &outbox_driver__postgresql, "delete", "delete" },  { &outbox_driver__sqlite, "auto", "position" },
        { &outbox_driver__sqlite, "position", "position" },  { &outbox_driver__sqlite, "delete", "delete" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set("schema.settle", cases[i].setting);
        make_names(cases[i].driver);
        cr_expect_str_eq(value_of("settle"), cases[i].settle, "%s, %s: %s", cases[i].driver->name, cases[i].setting,
                         value_of("settle"));
    }
}

/* Each is there once, and may itself only use names that are there. */
Test(names, the_table_is_whole)
{
    size_t d;

    for (d = 0; d < DRIVERS; d++) {
        const struct outbox_sqlname *n, *other;

        make_names(drivers[d]);
        for (n = names; n->name != NULL; n++) {
            struct outbox_sqltext text;

            cr_assert_lt(n - names, OUTBOX_NAMES - 1, "the table has no end");
            for (other = names; other < n; other++)
                cr_expect_str_neq(other->name, n->name, "{%s} is there twice", n->name);
            cr_expect_eq(outbox_sqltext__render(n->value, names, 0, &text, NULL), OUTBOX_OK, "%s: {%s} is \"%s\"",
                         drivers[d]->name, n->name, n->value);
            outbox_sqltext__free(&text);
        }
    }
}
