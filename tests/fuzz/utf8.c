/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8: accepted exactly where a decoder agrees; cutting splits no character; repairing leaves what is right. */
#include "fuzz/fuzz.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static int has_control(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] < ' ' || data[i] == 127)
            return 1;
    return 0;
}

static void repair(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *before = fuzz_text(data, size);
    size_t length = strlen(text);

    outbox_text__repair(text);
    FUZZ_CHECK(strlen(text) == length, "%zu bytes became %zu", length, strlen(text));
    FUZZ_CHECK(fuzz_utf8(text, length) >= 0, "not repaired: %s", text);
    if (fuzz_utf8(before, length) >= 0)
        FUZZ_CHECK(strcmp(text, before) == 0, "%s became %s", before, text);
    for (size_t i = 0; i < length; i++)
        FUZZ_CHECK(text[i] == before[i] || ((unsigned char)before[i] >= 0x80 && text[i] == '?'), "byte %zu changed", i);
    free(text);
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    long count = fuzz_utf8(text, size);

    FUZZ_CHECK(outbox_text__length(text, size) == count, "%ld characters, not %ld",
               outbox_text__length(text, size), count);
    FUZZ_CHECK(outbox_text__has_control(text, size) == has_control(data, size), "control characters");
    for (size_t max = 0; max <= size + 1 && max < 300; max++) {
        size_t cut = outbox_text__cut(text, size, max);

        FUZZ_CHECK(cut <= max && cut <= size && (max < size || cut == size), "%zu cut to %zu at %zu", size, max, cut);
        if (count >= 0)
            FUZZ_CHECK(fuzz_utf8(text, cut) >= 0 && (cut == size || cut + 4 > max), "%zu cut to %zu at %zu",
                       size, max, cut);
    }
    repair(data, size);
    return 0;
}
