/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs: what is accepted is one, in lower case, and accepted again. */
#include "fuzz/fuzz.h"
#include "uuid.h"

#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    outbox_id id, again;

    if (!outbox_uuid__parse((const char *)data, size, &id))
        return 0;
    FUZZ_CHECK(size == 36 && strlen(id.text) == 36, "%zu bytes are an id of %zu", size, strlen(id.text));
    FUZZ_CHECK(strspn(id.text, "0123456789abcdef-") == 36, "\"%s\"", id.text);
    FUZZ_CHECK(strncasecmp(id.text, (const char *)data, 36) == 0, "\"%s\" is another", id.text);
    for (size_t i = 0; i < 36; i++)
        FUZZ_CHECK((id.text[i] == '-') == (i == 8 || i == 13 || i == 18 || i == 23), "\"%s\"", id.text);
    FUZZ_CHECK(outbox_uuid__parse(id.text, 36, &again) && strcmp(id.text, again.text) == 0,
               "\"%s\" is refused", id.text);
    return 0;
}
