/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Schema and prefix, as two lines: accepted exactly when they are plain names, and then every statement of every driver
 * has them within quotes and as one name.
 */
#include "conn_internal.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static int is_plain(const char *name, size_t max)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

    return strlen(name) <= max && strspn(name, letters) == strlen(name) && (name[0] < '0' || name[0] > '9');
}

static int set(outbox_conf *conf, const char *key, const char *value, size_t max)
{
    outbox_error *err = NULL;
    int rc = outbox_conf_set(conf, key, value, &err);

    FUZZ_CHECK((rc == OUTBOX_OK) == is_plain(value, max), "%s \"%s\": %s", key, value, outbox_status_name(rc));
    fuzz_check_error(rc, err);
    return rc == OUTBOX_OK;
}

/* Quotes come in pairs, and what stands between them is a name. */
static void check_quotes(const char *sql)
{
    const char *open = strchr(sql, '"');

    while (open != NULL) {
        const char *close = strchr(open + 1, '"');

        FUZZ_CHECK(close != NULL && close > open + 1, "an open quote in %s", sql);
        for (const char *c = open + 1; c < close; c++)
            FUZZ_CHECK(*c == '_' || (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z'),
                       "no name: %s", open);
        open = strchr(close + 1, '"');
    }
}

static void render_all(const outbox_conf *conf, const struct outbox_driver *driver)
{
    struct outbox_sqlname names[OUTBOX_NAMES];
    char *texts[OUTBOX_NAMES];
    outbox_error *err = NULL;

    fuzz_check_error(outbox_names__make(conf, driver, names, texts, &err), err);
    for (int query = 0; query < Q__COUNT; query++) {
        const char *template_text = outbox_driver__sql(driver, (enum outbox_query)query);
        struct outbox_sqltext out;

        if (template_text == NULL)
            continue;
        err = NULL;
        fuzz_check_error(outbox_sqltext__render(template_text, names, 8, &out, &err), err);
        FUZZ_CHECK(out.sql != NULL && strchr(out.sql, '{') == NULL, "query %d: %s", query, out.sql);
        check_quotes(out.sql);
        outbox_sqltext__free(&out);
    }
    outbox_names__free(texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct outbox_driver *const drivers[] = {&outbox_driver__generic, &outbox_driver__postgresql,
                                                          &outbox_driver__sqlite};
    char *schema = fuzz_text(data, size), *prefix = strchr(schema, '\n');
    outbox_conf *conf = NULL;

    FUZZ_CHECK(outbox_conf_new(&conf, NULL) == OUTBOX_OK, "out of memory");
    if (prefix != NULL)
        *prefix++ = '\0';
    if (set(conf, "schema.name", schema, 63) && set(conf, "schema.prefix", prefix != NULL ? prefix : "", 40))
        for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
            render_all(conf, drivers[i]);
    outbox_conf_free(conf);
    free(schema);
    return 0;
}
