/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings, as KEY=VALUE: what is accepted comes back, lies in its range and is accepted again. */
#include "conf_internal.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key;
    enum outbox_conf_key number;
    long long min, max;
} rows[] = {
#define ROW_(symbol, key, type, def, min, max, choices, help) {key, CONF_##symbol, min, max},
    OUTBOX_CONF_TABLE(ROW_)
#undef ROW_
};

static void accepted(outbox_conf *conf, size_t row, const char *value)
{
    int64_t number = outbox_conf__number(conf, rows[row].number);
    outbox_error *err = NULL;
    outbox_conf *copy = NULL;

    FUZZ_CHECK(fuzz_same(outbox_conf_get(conf, rows[row].key), value), "%s is not what was set", rows[row].key);
    FUZZ_CHECK(fuzz_utf8(value, strlen(value)) >= 0, "%s takes what is not UTF-8", rows[row].key);
    if (rows[row].max > 1000 && number != CONF_FOREVER)
        FUZZ_CHECK(number >= rows[row].min && number <= rows[row].max, "%s became %lld", rows[row].key,
                   (long long)number);
    fuzz_check_error(outbox_conf__copy(conf, &copy, &err), err);
    FUZZ_CHECK(outbox_conf__number(copy, rows[row].number) == number, "%s differs in a copy", rows[row].key);
    err = NULL;
    fuzz_check_error(outbox_conf_set(copy, rows[row].key, outbox_conf_get(conf, rows[row].key), &err), err);
    FUZZ_CHECK(outbox_conf__number(copy, rows[row].number) == number, "%s differs when set again", rows[row].key);
    outbox_conf_free(copy);
}

/* A publisher's own: kept as it is, and its name can be shown. */
static void accepted_extra(outbox_conf *conf, const char *key, const char *value)
{
    FUZZ_CHECK(fuzz_same(outbox_conf_get(conf, key), value), "%s is not what was set", key);
    for (const char *p = key; *p != '\0'; p++)
        FUZZ_CHECK(*p > ' ' && *p < 0x7f, "there is no \"%s\"", key);
    FUZZ_CHECK(strchr(key, '.') != NULL, "there is no \"%s\"", key);
}

static void set(const char *key, const char *value)
{
    outbox_error *err = NULL;
    outbox_conf *conf = NULL;
    char *before;
    size_t row = 0;
    int rc;

    fuzz_check_error(outbox_conf_new(&conf, &err), err);
    while (row < sizeof rows / sizeof *rows && strcmp(rows[row].key, key) != 0)
        row++;
    before = outbox_conf_get(conf, key) != NULL ? strdup(outbox_conf_get(conf, key)) : NULL;
    rc = outbox_conf_set(conf, key, value, &err);
    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_CONF, "%s", outbox_status_name(rc));
    if (rc != OUTBOX_OK && before != NULL)
        FUZZ_CHECK(strstr(outbox_error_message(err), key) != NULL, "no key in: %s", outbox_error_message(err));
    fuzz_check_error(rc, err);
    if (rc == OUTBOX_OK && row == sizeof rows / sizeof *rows)
        accepted_extra(conf, key, value);
    else if (rc == OUTBOX_OK)
        accepted(conf, row, value);
    else
        FUZZ_CHECK(fuzz_same(outbox_conf_get(conf, key), before), "\"%s\" was refused, and changed", key);
    free(before);
    outbox_conf_free(conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *value = strchr(text, '=');

    if (value != NULL) {
        *value = '\0';
        set(text, value + 1);
    }
    free(text);
    return 0;
}
