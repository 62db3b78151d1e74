/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The JSON form of a message: what is read is written and read the same. */
#include "fuzz/fuzz.h"
#include "record.h"
#include "uuid.h"

#include <stdlib.h>
#include <string.h>

/* The last microsecond that can be written. */
#define LAST_US (INT64_C(253402300800) * 1000000 - 1)

static void check_text(const char *text)
{
    FUZZ_CHECK(text == NULL || fuzz_utf8(text, strlen(text)) >= 0, "not UTF-8: %s", text);
}

static void check_message(const outbox_message *m)
{
    check_text(m->id);
    check_text(m->topic);
    check_text(m->partition_key);
    check_text(m->content_type);
    check_text(m->message_type);
    check_text(m->dedup_key);
    FUZZ_CHECK(m->topic != NULL, "no topic");
    FUZZ_CHECK(m->payload != NULL || m->payload_size == 0, "no payload of %zu bytes", m->payload_size);
    FUZZ_CHECK(m->available_at >= 0 && m->delay_ms >= 0 && m->max_attempts >= 0, "negative numbers");
    for (size_t i = 0; i < m->header_count; i++) {
        FUZZ_CHECK(m->headers[i].name != NULL && m->headers[i].value != NULL, "header %zu is not there", i);
        check_text(m->headers[i].name);
        check_text(m->headers[i].value);
    }
}

static void check_same(const outbox_message *a, const outbox_message *b)
{
    int64_t at = a->available_at < LAST_US ? a->available_at : LAST_US;

    FUZZ_CHECK(fuzz_same(a->topic, b->topic) && fuzz_same(a->partition_key, b->partition_key), "topic or key differs");
    FUZZ_CHECK(fuzz_same(a->content_type, b->content_type) && fuzz_same(a->message_type, b->message_type),
               "types differ");
    FUZZ_CHECK(a->payload_size == b->payload_size &&
                   (a->payload_size == 0 || memcmp(a->payload, b->payload, a->payload_size) == 0),
               "the payload differs");
    FUZZ_CHECK(a->max_attempts == b->max_attempts && b->available_at == at, "numbers differ");
    FUZZ_CHECK(a->header_count == b->header_count, "%zu headers became %zu", a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++)
        FUZZ_CHECK(fuzz_same(a->headers[i].name, b->headers[i].name) &&
                       fuzz_same(a->headers[i].value, b->headers[i].value), "header %zu differs", i);
}

static void print_and_parse(const outbox_message *m)
{
    struct outbox_record r = {.topic = m->topic, .partition_key = m->partition_key, .content_type = m->content_type,
                              .message_type = m->message_type, .payload = m->payload != NULL ? m->payload : "",
                              .payload_size = m->payload_size, .headers = (outbox_header *)(uintptr_t)m->headers,
                              .header_count = m->header_count, .max_attempts = m->max_attempts,
                              .available_at = m->available_at};
    int has_id = m->id != NULL && outbox_uuid__parse(m->id, strlen(m->id), &r.id);
    outbox_parsed *parsed = NULL;
    outbox_error *err = NULL;
    char *text = NULL;

    FUZZ_CHECK(outbox_record_to_json(&r, &text, &err) == OUTBOX_OK, "not written");
    FUZZ_CHECK(fuzz_utf8(text, strlen(text)) >= 0, "not UTF-8: %s", text);
    FUZZ_CHECK(strpbrk(text, "\n\r\t\x1b") == NULL, "more than a line: %s", text);
    fuzz_check_error(outbox_message_from_json(text, strlen(text), has_id, &parsed, &err), err);
    FUZZ_CHECK(parsed != NULL, "not read back: %s", text);
    check_same(m, outbox_parsed_message(parsed));
    FUZZ_CHECK(!has_id || strcmp(outbox_parsed_message(parsed)->id, r.id.text) == 0, "the id differs");
    outbox_parsed_free(parsed);
    outbox_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int keep_id = 0; keep_id < 2; keep_id++) {
        outbox_parsed *parsed = NULL;
        outbox_error *err = NULL;
        int rc = outbox_message_from_json((const char *)data, size, keep_id, &parsed, &err);

        FUZZ_CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_INVALID, "%s", outbox_status_name(rc));
        FUZZ_CHECK((rc == OUTBOX_OK) == (parsed != NULL), "%s", outbox_status_name(rc));
        fuzz_check_error(rc, err);
        if (rc != OUTBOX_OK)
            continue;
        FUZZ_CHECK(keep_id || outbox_parsed_message(parsed)->id == NULL, "an id that was not wanted");
        check_message(outbox_parsed_message(parsed));
        print_and_parse(outbox_parsed_message(parsed));
        outbox_parsed_free(parsed);
    }
    return 0;
}
