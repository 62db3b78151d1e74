/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Templates: each parameter is one question mark, in order; nothing is left to replace. */
#include "fuzz/fuzz.h"
#include "sqltext.h"

#include <stdlib.h>
#include <string.h>

static const struct outbox_sqlname names[] = {
    {"messages", "\"s\".\"outbox_messages\""}, {"now", "clock()"}, {"limit", "LIMIT :limit"},
    {"id", "CAST(:id AS {text})"},
    {"text", "VARCHAR(10)"}, {NULL, NULL},
};

static size_t count(const char *text, char wanted)
{
    size_t n = 0;

    for (; text != NULL && *text != '\0'; text++)
        n += *text == wanted;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t nrows = size > 0 ? data[0] % 4U : 0;
    char *text = fuzz_text(data + (size > 0), size > 0 ? size - 1 : 0);
    struct outbox_sqltext out;
    outbox_error *err = NULL;
    int rc = outbox_sqltext__render(text, names, nrows, &out, &err);

    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_UNSUPPORTED, "%s", outbox_status_name(rc));
    fuzz_check_error(rc, err);
    if (rc == OUTBOX_OK) {
        FUZZ_CHECK(count(out.sql, '{') == 0, "something is left in %s", out.sql);
        FUZZ_CHECK(count(text, '?') > 0 || count(out.sql, '?') == out.count, "%zu parameters in %s", out.count,
                   out.sql);
        for (size_t i = 0; i < out.count; i++)
            FUZZ_CHECK(out.params[i].param < P__COUNT && (out.params[i].row == 0 || out.params[i].row < nrows),
                       "parameter %zu is %u of row %u", i, out.params[i].param, out.params[i].row);
    }
    outbox_sqltext__free(&out);
    free(text);
    return 0;
}
