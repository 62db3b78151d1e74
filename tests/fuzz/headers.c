/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Headers as the database keeps them: accepted only when they can be sent safely, and the same when written again. */
#include "fuzz/fuzz.h"
#include "json.h"
#include "record.h"

#include <stdlib.h>
#include <string.h>

static void check_safe(const char *text)
{
    FUZZ_CHECK(text != NULL && fuzz_utf8(text, strlen(text)) >= 0, "not UTF-8: %s", text != NULL ? text : "NULL");
    for (const char *c = text; *c != '\0'; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 127, "a control character in \"%s\"", text);
}

static void write_and_read(const outbox_header *headers, size_t count)
{
    outbox_arena arena = {NULL};
    outbox_header *again = NULL;
    size_t n = 77;
    char *text = NULL;

    FUZZ_CHECK(outbox_json__headers_encode(headers, count, &text, NULL) == OUTBOX_OK, "not written");
    FUZZ_CHECK(outbox_json__headers_decode(text, strlen(text), &again, &n, outbox_record__alloc, &arena) == OUTBOX_OK,
               "not read back: %s", text);
    FUZZ_CHECK(n == count, "%zu headers became %zu", count, n);
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(fuzz_same(headers[i].name, again[i].name) && fuzz_same(headers[i].value, again[i].value),
                   "header %zu differs", i);
    free(text);
    outbox_arena__free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    outbox_arena arena = {NULL};
    outbox_header *headers = NULL;
    size_t count = 77;
    int rc = outbox_json__headers_decode((const char *)data, size, &headers, &count, outbox_record__alloc, &arena);

    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_INVALID, "%s", outbox_status_name(rc));
    FUZZ_CHECK(rc == OUTBOX_OK || count == 0, "%zu headers of what was refused", count);
    for (size_t i = 0; i < count; i++) {
        check_safe(headers[i].name);
        check_safe(headers[i].value);
        FUZZ_CHECK(headers[i].name[0] != '\0', "header %zu has no name", i);
    }
    if (rc == OUTBOX_OK)
        write_and_read(headers, count);
    outbox_arena__free(&arena);
    return 0;
}
