/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Settings: every row of conf_table.h by what the table says of it, so that a new setting is covered by being there.
 */
#include "conf_internal.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { INTEGER, SIZE, DURATION, CHOICE, TEXT, NAME, SECRET };

static const struct row {
    const char *key;
    enum type type;
    const char *def;
    long long min, max;
    const char *choices, *help;
} rows[] = {
#define ROW_(symbol, key, type, def, min, max, choices, help) { key, type, def, min, max, choices, help },
    OUTBOX_CONF_TABLE(ROW_)
#undef ROW_
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static outbox_conf *conf;

static void make(void)
{
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_conf_free(conf);
}

TestSuite(conf, .init = make, .fini = drop);

static int has_word(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (; words != NULL; words = strchr(words, '|') != NULL ? strchr(words, '|') + 1 : NULL)
        if (strncmp(words, word, n) == 0 && (words[n] == '|' || words[n] == '\0'))
            return 1;
    return 0;
}

static void expect_taken(const struct row *row, const char *value, int64_t number)
{
    enum outbox_conf_key key = (enum outbox_conf_key)(row - rows);
    outbox_error *err = NULL;
    int rc = outbox_conf_set(conf, row->key, value, &err);

    cr_expect_eq(rc, OUTBOX_OK, "%s = \"%s\" is refused: %s", row->key, value, outbox_error_message(err));
    cr_expect_null(err, "%s = \"%s\": an error without a failure", row->key, value);
    outbox_error_free(err);
    if (rc != OUTBOX_OK)
        return;
    cr_expect_eq(outbox_conf__number(conf, key), number, "%s = \"%s\" became %" PRId64 ", not %" PRId64, row->key,
                 value,
                 outbox_conf__number(conf, key), number);
    cr_expect_str_eq(outbox_conf_get(conf, row->key), value, "%s = \"%s\" reads back as \"%s\"", row->key, value,
                     outbox_conf_get(conf, row->key));
}

/* Refused, with an error that names the key, the value and what is allowed; what was set before stays. */
static void expect_refused(const struct row *row, const char *value)
{
    enum outbox_conf_key key = (enum outbox_conf_key)(row - rows);
    int64_t before = outbox_conf__number(conf, key);
    const char *text = outbox_conf_get(conf, row->key), *message;
    outbox_conf_info info;
    outbox_error *err = NULL;
    char quoted[120];
    int rc = outbox_conf_set(conf, row->key, value, &err);

    cr_expect_eq(rc, OUTBOX_ERR_CONF, "%s = \"%s\" is taken", row->key, value);
    if (rc == OUTBOX_OK)
        return;
    message = outbox_error_message(err);
    snprintf(quoted, sizeof(quoted), "\"%.100s\"", value);
    outbox_conf_describe((size_t)key, &info);
    cr_expect_eq(outbox_error_status(err), rc, "%s = \"%s\": status %d", row->key, value, outbox_error_status(err));
    cr_expect_str_eq(outbox_error_name(err), "conf.bad_value", "%s = \"%s\": %s", row->key, value,
                     outbox_error_name(err));
    cr_expect_not_null(strstr(message, row->key), "%s = \"%s\": the key is not in: %s", row->key, value, message);
    cr_expect_not_null(strstr(message, info.range), "%s = \"%s\": the range is not in: %s", row->key, value, message);
    if (row->type == SECRET)
        cr_expect(value[0] == '\0' || strstr(message, quoted) == NULL, "%s: the secret is in: %s", row->key, message);
    else if (value[0] >= ' ' && strchr(value, '\xff') == NULL && strchr(value, '\xc3') == NULL)
        cr_expect_not_null(strstr(message, quoted), "%s = \"%s\": the value is not in: %s", row->key, value, message);
    cr_expect_eq(outbox_conf__number(conf, key), before, "%s = \"%s\" is refused, and changed it", row->key, value);
    cr_expect_eq(outbox_conf_get(conf, row->key), text, "%s = \"%s\" is refused, and changed it", row->key, value);
    outbox_error_free(err);
}

Test(conf, defaults_are_in_range)
{
    size_t i;

    cr_assert_eq(ROWS, (size_t)CONF__COUNT);
    for (i = 0; i < ROWS; i++) {
        int64_t number = outbox_conf__number(conf, (enum outbox_conf_key)i);

        cr_expect_str_eq(outbox_conf_get(conf, rows[i].key), rows[i].def, "%s starts as another than its default",
                         rows[i].key);
        if (rows[i].type == INTEGER || rows[i].type == SIZE || rows[i].type == DURATION)
            cr_expect(has_word(rows[i].choices, rows[i].def) ? number == CONF_FOREVER
                                                              : number >= rows[i].min && number <= rows[i].max,
                      "%s starts as %" PRId64 ", out of its range", rows[i].key, number);
        if (rows[i].type == CHOICE)
            cr_expect(has_word(rows[i].choices, rows[i].def), "%s starts as \"%s\", which is no choice", rows[i].key,
                      rows[i].def);
        expect_taken(&rows[i], rows[i].def, number);
    }
}

/* The bounds themselves are taken; one beyond is not. */
Test(conf, ranges_end_where_the_table_says)
{
    static const char *const units[] = { [INTEGER] = "", [SIZE] = "", [DURATION] = "us" };
    char text[64];
    size_t i;

    for (i = 0; i < ROWS; i++) {
        if (rows[i].type != INTEGER && rows[i].type != SIZE && rows[i].type != DURATION)
            continue;
        cr_expect_leq(rows[i].min, rows[i].max, "%s: its range is empty", rows[i].key);
        snprintf(text, sizeof(text), "%lld%s", rows[i].min, units[rows[i].type]);
        expect_taken(&rows[i], text, rows[i].min);
        snprintf(text, sizeof(text), "%lld%s", rows[i].max, units[rows[i].type]);
        expect_taken(&rows[i], text, rows[i].max);
        snprintf(text, sizeof(text), "%lld%s", rows[i].min - 1, units[rows[i].type]);
        expect_refused(&rows[i], text);
        snprintf(text, sizeof(text), "%lld%s", rows[i].max + 1, units[rows[i].type]);
        expect_refused(&rows[i], text);
    }
}

static const char *const bad[][20] = {
    [INTEGER] = { "", " ", "x", "1x", "-1", "+1", "1.5", "0x10", "1e3", " 1", "1k", "1 s", "1,000",
                  "99999999999999999999999", "forever", "\xd9\xa1" },
    [SIZE] = { "", "x", "MiB", "-1", "+1", "1.5MiB", "16mib", "16MB", "16Kib", "1 MiB B", " 1", "forever",
               "9223372036854775807GiB", "99999999999999999999999" },
    [DURATION] = { "", "x", "s", "5", "-1s", "+1s", "1.5s", "1S", "1 fortnight", "1s1s", " 1s", "Forever", "forever ",
                   "9223372036854775807d", "99999999999999999999999s" },
    [CHOICE] = { "", "x", "|", " ", "ON", "Auto", "auto ", "auto|position", "ke", "keys", "0", "1" },
    [TEXT] = { "a\nb", "a\tb", "\x01", "\x7f", "\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf" },
    [SECRET] = { "user=u password=s3cr3t\n", "\x01s3cr3t", "s3cr3t\xff" },
    [NAME] = { "1a", "a b", "a-b", "a.b", "a\"b", "a'b", "a;b", "a`b", "a]b", "\xc3\xa9", "a\nb", "$a", "a\\b",
               "{lanes}",
               ":lane", "a\"; DROP TABLE x; --" },
};

Test(conf, bad_values_are_refused)
{
    size_t i, b;

    for (i = 0; i < ROWS; i++)
        for (b = 0; b < sizeof(bad[0]) / sizeof(bad[0][0]) && bad[rows[i].type][b] != NULL; b++)
            expect_refused(&rows[i], bad[rows[i].type][b]);
}

Test(conf, texts_have_a_longest_length)
{
    char text[2100];
    size_t i;

    for (i = 0; i < ROWS; i++) {
        if (rows[i].type != TEXT && rows[i].type != NAME && rows[i].type != SECRET)
            continue;
        cr_assert_lt(rows[i].max, (long long)sizeof(text) - 2, "%s: longer than this test", rows[i].key);
        memset(text, 'a', sizeof(text));
        text[rows[i].max + 1] = '\0';
        expect_refused(&rows[i], text);
        text[rows[i].max] = '\0';
        expect_taken(&rows[i], text, 0);
    }
}

Test(conf, choices_are_numbered_in_their_order)
{
    size_t i;

    for (i = 0; i < ROWS; i++) {
        const char *p = rows[i].choices;
        int64_t index = 0;

        if (rows[i].type != CHOICE)
            continue;
        cr_assert_not_null(p, "%s: no choices", rows[i].key);
        while (p != NULL) {
            char word[40];
            const char *bar = strchr(p, '|');

            snprintf(word, sizeof(word), "%.*s", (int)(bar != NULL ? (size_t)(bar - p) : strlen(p)), p);
            expect_taken(&rows[i], word, index++);
            p = bar != NULL ? bar + 1 : NULL;
        }
    }
}

/* The library reads choices by these numbers. */
Test(conf, choices_have_the_numbers_that_the_code_uses)
{
    static const struct {
        const char *key, *value;
        enum outbox_conf_key symbol;
        int number;
    } cases[] = {
        { "schema.settle", "auto", CONF_SCHEMA_SETTLE, SETTLE_AUTO },
        { "schema.settle", "position", CONF_SCHEMA_SETTLE, SETTLE_POSITION },
        { "schema.settle", "delete", CONF_SCHEMA_SETTLE, SETTLE_DELETE },
        { "relay.cleaner", "on", CONF_RELAY_CLEANER, CLEANER_ON },
        { "relay.cleaner", "off", CONF_RELAY_CLEANER, CLEANER_OFF },
        { "ordering", "key", CONF_ORDERING, ORDERING_KEY },
        { "ordering", "none", CONF_ORDERING, ORDERING_NONE },
        { "ordering.dead", "block", CONF_ORDERING_DEAD, DEAD_BLOCK },
        { "ordering.dead", "continue", CONF_ORDERING_DEAD, DEAD_CONTINUE },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(outbox_conf_set(conf, cases[i].key, cases[i].value, NULL), OUTBOX_OK, "%s = %s is refused",
                     cases[i].key, cases[i].value);
        cr_expect_eq(outbox_conf__number(conf, cases[i].symbol), cases[i].number, "%s = %s is number %" PRId64,
                     cases[i].key, cases[i].value, outbox_conf__number(conf, cases[i].symbol));
    }
}

Test(conf, units)
{
    static const struct {
        const char *key, *value;
        int64_t number;
    } cases[] = {
        { "clean.retention", "0", 0 },
        { "clean.retention", "0s", 0 },
        { "clean.retention", "1us", 1 },
        { "clean.retention", "100ms", 100000 },
        { "clean.retention", "1s", 1000000 },
        { "clean.retention", "90s", 90000000 },
        { "clean.retention", "5m", 300000000 },
        { "clean.retention", "5min", 300000000 },
        { "clean.retention", "12h", INT64_C(43200000000) },
        { "clean.retention", "7d", INT64_C(604800000000) },
        { "clean.retention", "7 d", INT64_C(604800000000) },
        { "clean.retention", "007d", INT64_C(604800000000) },
        { "clean.retention", "3650d", INT64_C(315360000000000) },
        { "clean.retention", "forever", CONF_FOREVER },
        { "clean.dead_retention", "forever", CONF_FOREVER },
        { "dedup.window", "forever", CONF_FOREVER },
        { "enqueue.max_payload", "0", 0 },
        { "enqueue.max_payload", "12", 12 },
        { "enqueue.max_payload", "12B", 12 },
        { "enqueue.max_payload", "3KiB", 3072 },
        { "enqueue.max_payload", "3k", 3072 },
        { "enqueue.max_payload", "16MiB", 16777216 },
        { "enqueue.max_payload", "16M", 16777216 },
        { "enqueue.max_payload", "16 MiB", 16777216 },
        { "enqueue.max_payload", "1GiB", 1073741824 },
        { "enqueue.max_payload", "1G", 1073741824 },
        { "relay.workers", "010", 10 },
    };
    size_t i, row;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (row = 0; row < ROWS && strcmp(rows[row].key, cases[i].key) != 0; row++)
            ;
        cr_assert_lt(row, ROWS, "no setting %s", cases[i].key);
        expect_taken(&rows[row], cases[i].value, cases[i].number);
    }
}

Test(conf, only_some_durations_may_be_forever)
{
    size_t i;

    for (i = 0; i < ROWS; i++) {
        if (rows[i].type != DURATION)
            continue;
        if (rows[i].choices != NULL)
            expect_taken(&rows[i], "forever", CONF_FOREVER);
        else
            expect_refused(&rows[i], "forever");
    }
}

Test(conf, unknown_keys_are_refused)
{
    static const char *const keys[] = { "", "relay", "relay.", "relay.workers ", "Relay.Workers", "relay_workers",
                                        "relay.lease2", "clean.retention.days", "redis.mo de", "redis.m\303\266de" };
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        outbox_error *err = NULL;

        cr_expect_eq(outbox_conf_set(conf, keys[i], "1", &err), OUTBOX_ERR_CONF, "key \"%s\" is taken", keys[i]);
        cr_expect_str_eq(outbox_error_name(err), "conf.unknown_key", "key \"%s\": %s", keys[i], outbox_error_name(err));
        cr_expect_not_null(strstr(outbox_error_message(err), keys[i]), "key \"%s\" is not in: %s", keys[i],
                           outbox_error_message(err));
        cr_expect_null(outbox_conf_get(conf, keys[i]), "key \"%s\" has a value", keys[i]);
        outbox_error_free(err);
    }
    cr_expect_null(outbox_conf_get(conf, NULL));
}

Test(conf, nothing_is_not_a_setting)
{
    const struct {
        const char *what;
        outbox_conf *conf;
        const char *key, *value;
    } cases[] = { { "no conf", NULL, "ordering", "key" }, { "no key", conf, NULL, "key" },
                  { "no value", conf, "ordering", NULL } };
    size_t i;

    for (i = 0; i < 3; i++) {
        outbox_error *err = NULL;

        cr_expect_eq(outbox_conf_set(cases[i].conf, cases[i].key, cases[i].value, &err), OUTBOX_ERR_CONF, "%s",
                     cases[i].what);
        cr_expect_str_eq(outbox_error_name(err), "conf.null", "%s: %s", cases[i].what, outbox_error_name(err));
        outbox_error_free(err);
    }
    cr_expect_eq(outbox_conf_new(NULL, NULL), OUTBOX_ERR_INVALID);
    outbox_conf_free(NULL);
}

Test(conf, every_setting_is_described)
{
    static const char *const types[] = { "integer", "size", "duration", "choice", "text", "text", "text" };
    outbox_conf_info info;
    size_t i, j;

    for (i = 0; i < ROWS; i++) {
        cr_assert_eq(outbox_conf_describe(i, &info), OUTBOX_OK);
        cr_expect_str_eq(info.key, rows[i].key);
        cr_expect_str_eq(info.type, types[rows[i].type], "%s is a %s", rows[i].key, info.type);
        cr_expect_str_eq(info.default_value, rows[i].def, "%s: default %s", rows[i].key, info.default_value);
        cr_expect_str_eq(info.help, rows[i].help, "%s: help", rows[i].key);
        cr_expect_gt(strlen(info.range), 0u, "%s: no range", rows[i].key);
        cr_expect_lt(strlen(info.range), sizeof(info.range) - 1, "%s: its range is cut off", rows[i].key);
        cr_expect(info.help[0] >= 'A' && info.help[strlen(info.help) - 1] == '.', "%s: its help is no sentence",
                  rows[i].key);
        for (j = 0; j < i; j++)
            cr_expect_str_neq(rows[i].key, rows[j].key, "%s is there twice", rows[i].key);
    }
    cr_expect_eq(outbox_conf_describe(ROWS, &info), OUTBOX_NONE);
    cr_expect_eq(outbox_conf_describe(SIZE_MAX, &info), OUTBOX_NONE);
    cr_expect_eq(outbox_conf_describe(0, NULL), OUTBOX_NONE);
}

Test(conf, ranges_read_well)
{
    static const struct {
        enum outbox_conf_key key;
        const char *range;
    } cases[] = {
        { CONF_SCHEMA_NAME, "letters, digits and _, not starting with a digit, up to 63" },
        { CONF_SCHEMA_LANES, "0 to 1024" },
        { CONF_SCHEMA_SETTLE, "auto|position|delete" },
        { CONF_ENQUEUE_MAX_PAYLOAD, "0 to 1024MiB bytes" },
        { CONF_RELAY_BATCH_BYTES, "1 to 4096MiB bytes" },
        { CONF_RELAY_POLL_INTERVAL, "1ms to 1h" },
        { CONF_RELAY_LEASE, "1s to 1d" },
        { CONF_RELAY_NAME, "up to 60 bytes" },
        { CONF_CLEAN_RETENTION, "0 to 3650d, or forever" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_conf_info info;

        outbox_conf_describe((size_t)cases[i].key, &info);
        cr_expect_str_eq(info.range, cases[i].range, "%s: \"%s\", not \"%s\"", info.key, info.range, cases[i].range);
    }
}

static void log_fn(void *user, outbox_log_level level, const char *message)
{
    (void)user, (void)level, (void)message;
}

static int64_t backoff_fn(void *user, int attempt)
{
    (void)user;
    return attempt;
}

Test(conf, a_copy_stands_alone)
{
    outbox_conf *copy = NULL, *defaults = NULL;
    int user;
    size_t i;

    outbox_conf_set(conf, "relay.workers", "7", NULL);
    outbox_conf_set(conf, "relay.name", "first", NULL);
    outbox_conf_set_log(conf, log_fn, &user);
    outbox_conf_set_backoff(conf, backoff_fn, &user);
    cr_assert_eq(outbox_conf__copy(conf, &copy, NULL), OUTBOX_OK);
    outbox_conf_set(conf, "relay.workers", "9", NULL);
    outbox_conf_set(conf, "relay.name", "second", NULL);
    cr_expect_eq(outbox_conf__number(copy, CONF_RELAY_WORKERS), 7);
    cr_expect_str_eq(outbox_conf__text(copy, CONF_RELAY_NAME), "first");
    cr_expect(copy->log == log_fn && copy->log_user == &user, "the log callback was not copied");
    cr_expect(copy->backoff == backoff_fn && copy->backoff_user == &user, "the backoff callback was not copied");
    outbox_conf_free(copy);

    cr_assert_eq(outbox_conf__copy(NULL, &defaults, NULL), OUTBOX_OK);
    for (i = 0; i < ROWS; i++)
        cr_expect_str_eq(outbox_conf__text(defaults, (enum outbox_conf_key)i), rows[i].def, "%s", rows[i].key);
    outbox_conf_free(defaults);
}
