/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A message as one text, and what comes before the first, whatever a server may answer: all that is taken lies in the text,
 * in its place, with a NUL behind.
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

static void check_head(const uint8_t *data, size_t size)
{
    struct outbox_value head[OUTBOX_PACKED_HEAD];
    char *text = fuzz_text(data, size), *end = text + size;
    const char *from = text;

    if (outbox_packed__head(text, end, head) == OUTBOX_OK)
        for (int i = 0; i < OUTBOX_PACKED_DEFERRED; i++)
            check_cell(&head[i], &from, end);
    FUZZ_CHECK(*end == '\0', "written past the end");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int order[] = {3, 4, 6, 7, 8, 5};
    char *text = fuzz_text(data, size), *end = text + size, id[OUTBOX_PACKED_ID + 1];
    const char *from = text;
    struct outbox_value cells[17];

    if (outbox_packed__take(text, end, id, cells) == OUTBOX_OK) {
        FUZZ_CHECK(id[OUTBOX_PACKED_ID] == '\0', "no NUL behind the id");
        FUZZ_CHECK(cells[1].type == OUTBOX_T_INT && cells[5].type == OUTBOX_T_BYTES, "no number, or no payload");
        for (size_t i = 0; i < sizeof order / sizeof *order; i++)
            check_cell(&cells[order[i]], &from, end);
    }
    FUZZ_CHECK(*end == '\0', "written past the end");
    free(text);
    check_head(data, size);
    return 0;
}
