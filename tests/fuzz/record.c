/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A row as anybody may have written it: whatever it is, its JSON form is one line of UTF-8 that can be enqueued again.
 *
 * Fields are separated by the byte 0x1e: numbers (lane, seq, max_attempts, created_at, available_at, state, attempts,
 * published_at), id, topic, key, payload, headers, content type, message type, last error. One that is missing is NULL.
 */
#include "fuzz/fuzz.h"
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS, ID, TOPIC, KEY, PAYLOAD, HEADERS, CONTENT_TYPE, MESSAGE_TYPE, LAST_ERROR, FIELDS };

/* Where texts and numbers stand among the columns of OUTBOX_RECORD_TYPES. */
static const int text_columns[FIELDS] = {-1, 2, 3, 4, 5, 6, 7, 8, 13};
static const int number_columns[] = {0, 1, 9, 10, 11, 12, 15, 16};

static void fill_numbers(struct outbox_value *cells, const char *text)
{
    for (size_t i = 0; i < sizeof number_columns / sizeof *number_columns; i++) {
        char *end = (char *)(uintptr_t)text;

        cells[number_columns[i]] = (struct outbox_value){OUTBOX_T_INT, strtoll(text, &end, 10), NULL, 0};
        text = *end == ',' ? end + 1 : end;
    }
}

/* Takes the fields apart, in place; each ends with a NUL as columns do. */
static void fill_cells(struct outbox_value *cells, char *text, size_t size)
{
    int field = 0;

    for (int i = 0; i < 17; i++)
        cells[i] = (struct outbox_value){i == 5 ? OUTBOX_T_NULL_BYTES : OUTBOX_T_NULL_TEXT, 0, NULL, 0};
    fill_numbers(cells, "");
    for (char *at = text; field < FIELDS; field++) {
        char *end = memchr(at, 0x1e, size);
        size_t length = end != NULL ? (size_t)(end - at) : size;

        at[length] = '\0';
        if (field == NUMBERS)
            fill_numbers(cells, at);
        else
            cells[text_columns[field]] =
                (struct outbox_value){field == PAYLOAD ? OUTBOX_T_BYTES : OUTBOX_T_TEXT, 0, at, length};
        if (end == NULL)
            break;
        at = end + 1;
        size -= length + 1;
    }
}

static void check_json(const outbox_record *r)
{
    outbox_parsed *parsed = NULL;
    outbox_error *err = NULL;
    char *text = NULL;

    FUZZ_CHECK(outbox_record_to_json(r, &text, NULL) == OUTBOX_OK, "not written");
    FUZZ_CHECK(fuzz_utf8(text, strlen(text)) >= 0, "not UTF-8: %s", text);
    for (const char *c = text; *c != '\0'; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ', "a control character in %s", text);
    fuzz_check_error(outbox_message_from_json(text, strlen(text), 0, &parsed, &err), err);
    FUZZ_CHECK(parsed != NULL, "cannot be enqueued again: %s", text);
    outbox_parsed_free(parsed);
    outbox_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    outbox_arena arena = {NULL};
    struct outbox_value cells[17];
    outbox_record r;
    char *text = fuzz_text(data, size);
    int rc;

    fill_cells(cells, text, size);
    rc = outbox_record__fill(&r, cells, &arena);
    FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_NONE, "%s", outbox_status_name(rc));
    FUZZ_CHECK(strlen(r.id.text) <= 36 && r.topic != NULL && r.payload != NULL, "a field is not there");
    FUZZ_CHECK(r.max_attempts >= 0 && r.attempts >= 0, "%d attempts of %d", r.attempts, r.max_attempts);
    FUZZ_CHECK(strcmp(outbox_state_name(r.state), "?") != 0 || r.state <= 0 || r.state >= OUTBOX_STATE_COUNT, "state");
    check_json(&r);
    outbox_arena__free(&arena);
    free(text);
    return 0;
}
