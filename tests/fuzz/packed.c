/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A batch as one text, whatever a server may answer: all that is taken lies in the text, in its place, with a NUL behind,
 * and nothing of what follows is touched.
 */
#include "fuzz/fuzz.h"
#include "packed.h"

#include <stdlib.h>
#include <string.h>

static void check_cell(const struct outbox_value *cell, const char **from, const char *end)
{
    if (cell->type != OUTBOX_T_TEXT && cell->type != OUTBOX_T_BYTES)
        return;
    FUZZ_CHECK((const char *)cell->data >= *from && (const char *)cell->data + cell->size < end, "outside of its message");
    FUZZ_CHECK(((const char *)cell->data)[cell->size] == '\0', "no NUL behind it");
    *from = (const char *)cell->data + cell->size + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int order[] = {3, 4, 6, 7, 8, 5};
    char *text = fuzz_text(data, size), *at = text, *end = text + size, id[OUTBOX_PACKED_ID + 1];
    struct outbox_value cells[17];

    while (at < end) {
        const char *from = at;

        if (outbox_packed__take(&at, end, id, cells) != OUTBOX_OK)
            break;
        FUZZ_CHECK(at > from && at <= end, "it does not end, or beyond the text");
        FUZZ_CHECK(memcmp(at, data + (at - text), (size_t)(end - at)) == 0, "what follows was written to");
        FUZZ_CHECK(*end == '\0' && id[OUTBOX_PACKED_ID] == '\0', "written past the end");
        FUZZ_CHECK(cells[1].type == OUTBOX_T_INT && cells[5].type == OUTBOX_T_BYTES, "no number, or no payload");
        for (size_t i = 0; i < sizeof order / sizeof *order; i++)
            check_cell(&cells[order[i]], &from, at);
    }
    free(text);
    return 0;
}
