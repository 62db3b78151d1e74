/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Base64: what is accepted has one text only; what is written is read back. */
#include "base64.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void decode(const char *text, size_t size)
{
    size_t length = 77, room = size / 4 * 3, wrong;
    char *bytes = malloc(room + 1), *again;

    FUZZ_CHECK(bytes != NULL, "out of memory");
    bytes[room] = 'x';
    wrong = outbox_base64__decode(text, size, bytes, &length);
    FUZZ_CHECK(bytes[room] == 'x', "written past the end");
    FUZZ_CHECK(wrong <= size + 1, "character %zu of %zu is wrong", wrong, size);
    if (wrong == 0) {
        FUZZ_CHECK(length <= room && outbox_base64__encoded_size(length) == size, "%zu bytes of %zu", length, size);
        again = malloc(size + 1);
        FUZZ_CHECK(again != NULL, "out of memory");
        outbox_base64__encode(bytes, length, again);
        FUZZ_CHECK(memcmp(again, text, size) == 0, "another text for the same bytes");
        free(again);
    }
    free(bytes);
}

static void encode(const uint8_t *data, size_t size)
{
    size_t length = outbox_base64__encoded_size(size), back = 77;
    char *text = malloc(length + 1), *bytes = malloc(length / 4 * 3 + 1);

    FUZZ_CHECK(text != NULL && bytes != NULL, "out of memory");
    text[length] = 'x';
    outbox_base64__encode(data, size, text);
    FUZZ_CHECK(text[length] == 'x', "written past the end");
    FUZZ_CHECK(outbox_base64__decode(text, length, bytes, &back) == 0, "not read back");
    FUZZ_CHECK(back == size && (size == 0 || memcmp(bytes, data, size) == 0), "other bytes came back");
    free(text);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode((const char *)data, size);
    encode(data, size);
    return 0;
}
