/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages written as JSON: every member, every escape, what is not text, and that it can be read again. */
#include "arena.h"
#include "json.h"
#include "record.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ID "018f3c2e-7b1a-7c00-8000-0123456789ab"
#define P(text) .payload = text, .payload_size = sizeof(text) - 1

static struct outbox_header two[] = { { (char *)"trace-id", (char *)"a\"b" }, { (char *)"empty", (char *)"" } };

static const struct {
    const char *what;
    struct outbox_record record;
    const char *json;
} cases[] = {
    { "the least", { .id = { ID }, .topic = "t", P("") },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload\":\"\",\"attempts\":0}" },
    { "all",
      { .id = { ID }, .topic = "orders", .partition_key = "k", P("{\"a\":1}"), .headers = two, .header_count = 2,
        .content_type = "application/json", .message_type = "paid", .attempts = 3, .max_attempts = 5, .created_at = 1,
        .available_at = 1500000, .published_at = -1, .state = OUTBOX_RETRYING, .last_error = "no", .lane = 7, .seq = 9 },
      "{\"id\":\"" ID "\",\"topic\":\"orders\",\"partition_key\":\"k\",\"payload\":\"{\\\"a\\\":1}\","
      "\"headers\":{\"trace-id\":\"a\\\"b\",\"empty\":\"\"},"
      "\"content_type\":\"application/json\",\"message_type\":\"paid\","
      "\"attempts\":3,\"max_attempts\":5,\"created_at\":\"1970-01-01T00:00:00.000001Z\","
      "\"available_at\":\"1970-01-01T00:00:01.500000Z\",\"published_at\":\"1969-12-31T23:59:59.999999Z\","
      "\"state\":\"retry\",\"last_error\":\"no\",\"lane\":7,\"seq\":9}" },
    /* Whoever gets it from a relay would take "pending" for wrong. */
    { "in a relay's hands", { .id = { ID }, .topic = "t", P(""), .state = OUTBOX_PENDING, .lane = 7, .seq = 9, .token = 4 },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload\":\"\",\"attempts\":0,\"lane\":7,\"seq\":9,\"token\":4}" },
    { "lane 0", { .id = { ID }, .topic = "t", P("x"), .lane = 0, .seq = 1 },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload\":\"x\",\"attempts\":0,\"lane\":0,\"seq\":1}" },
    { "the largest numbers",
      { .id = { ID }, .topic = "t", P(""), .attempts = INT32_MAX, .max_attempts = INT32_MAX, .seq = INT64_MAX,
        .token = INT64_MAX, .lane = 1023 },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload\":\"\",\"attempts\":2147483647,\"max_attempts\":2147483647,"
      "\"lane\":1023,\"seq\":9223372036854775807,\"token\":9223372036854775807}" },
    { "escapes", { .id = { ID }, .topic = "\"\\/\b\f\n\r\t\x01\x0b\x1f\x7f", P("a\nb") },
      "{\"id\":\"" ID "\",\"topic\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u000b\\u001f\x7f\",\"payload\":\"a\\nb\","
      "\"attempts\":0}" },
    { "characters of all lengths", { .id = { ID }, .topic = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                     P("\xf0\x9f\x98\x80") },
      "{\"id\":\"" ID "\",\"topic\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\",\"payload\":\"\xf0\x9f\x98\x80\","
      "\"attempts\":0}" },
    { "a payload with a NUL", { .id = { ID }, .topic = "t", P("a\0b") },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload_base64\":\"YQBi\",\"attempts\":0}" },
    { "a payload that is not UTF-8", { .id = { ID }, .topic = "t", P("\xff\xfe") },
      "{\"id\":\"" ID "\",\"topic\":\"t\",\"payload_base64\":\"//4=\",\"attempts\":0}" },
    { "text that some other program wrote", { .id = { "not a \"uuid\"" }, .topic = "caf\xe9\xc3", P(""),
                                              .last_error = "\xed\xa0\x80x" },
      "{\"id\":\"not a \\\"uuid\\\"\",\"topic\":\"caf\xef\xbf\xbd\xef\xbf\xbd\",\"payload\":\"\",\"attempts\":0,"
      "\"last_error\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"}" },
};

Test(json, records)
{
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = NULL;

        cr_assert_eq(outbox_record_to_json(&cases[i].record, &text, NULL), OUTBOX_OK, "%s", cases[i].what);
        cr_expect_str_eq(text, cases[i].json, "%s:\n%s, not\n%s", cases[i].what, text, cases[i].json);
        outbox_free(text);
    }
}

static void expect_text(const char *what, const char *name, const char *got, const char *want)
{
    cr_expect((got == NULL && want == NULL) || (got != NULL && want != NULL && strcmp(got, want) == 0),
              "%s: %s is \"%s\", not \"%s\"", what, name, got != NULL ? got : "(none)", want != NULL ? want : "(none)");
}

/* All but the last case, whose text was mended. */
Test(json, records_can_be_read_again)
{
    size_t i, h;

    for (i = 0; i + 1 < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct outbox_record *r = &cases[i].record;
        outbox_parsed *parsed = NULL;
        outbox_error *err = NULL;
        const outbox_message *m;
        char *text = NULL;

        cr_assert_eq(outbox_record_to_json(r, &text, NULL), OUTBOX_OK);
        cr_expect_eq(outbox_message_from_json(text, strlen(text), 1, &parsed, &err), OUTBOX_OK, "%s: %s", cases[i].what,
                     outbox_error_message(err));
        outbox_error_free(err);
        outbox_free(text);
        m = outbox_parsed_message(parsed);
        if (m == NULL)
            continue;
        expect_text(cases[i].what, "id", m->id, r->id.text);
        expect_text(cases[i].what, "topic", m->topic, r->topic);
        expect_text(cases[i].what, "partition_key", m->partition_key, r->partition_key);
        expect_text(cases[i].what, "content_type", m->content_type, r->content_type);
        expect_text(cases[i].what, "message_type", m->message_type, r->message_type);
        cr_expect(m->payload_size == r->payload_size && memcmp(m->payload, r->payload, r->payload_size) == 0,
                  "%s: another payload", cases[i].what);
        cr_expect_eq(m->available_at, r->available_at, "%s: available_at", cases[i].what);
        cr_expect_eq(m->max_attempts, r->max_attempts, "%s: max_attempts", cases[i].what);
        cr_assert_eq(m->header_count, r->header_count, "%s: %zu headers", cases[i].what, m->header_count);
        for (h = 0; h < m->header_count; h++) {
            expect_text(cases[i].what, "a header's name", m->headers[h].name, r->headers[h].name);
            expect_text(cases[i].what, r->headers[h].name, m->headers[h].value, r->headers[h].value);
        }
        outbox_parsed_free(parsed);
    }
}

/* Every byte value, alone and among others, in text and in a payload: what is written is JSON, and one line. */
Test(json, every_byte_gives_valid_json)
{
    int c, form;

    for (c = 1; c < 256; c++)
        for (form = 0; form < 2; form++) {
            char bytes[4] = { (char)c, '\0', 'z', '\0' };
            struct outbox_record r = { .id = { ID }, .topic = bytes, .payload = bytes, .payload_size = form ? 3 : 1 };
            outbox_parsed *parsed = NULL;
            char *text = NULL;

            if (form)
                bytes[1] = 'y';
            cr_assert_eq(outbox_record_to_json(&r, &text, NULL), OUTBOX_OK);
            cr_assert_null(strchr(text, '\n'), "byte 0x%02x: a line end", (unsigned)c);
            if (outbox_message_from_json(text, strlen(text), 0, &parsed, NULL) != OUTBOX_OK)
                cr_assert_fail("byte 0x%02x: %s", (unsigned)c, text);
            if (outbox_parsed_message(parsed)->payload_size != r.payload_size ||
                memcmp(outbox_parsed_message(parsed)->payload, bytes, r.payload_size) != 0)
                cr_assert_fail("byte 0x%02x: another payload", (unsigned)c);
            outbox_parsed_free(parsed);
            outbox_free(text);
        }
}

Test(json, a_large_payload)
{
    static char payload[3000001];
    struct outbox_record r = { .id = { ID }, .topic = "t", .payload = payload, .payload_size = sizeof(payload) };
    outbox_parsed *parsed = NULL;
    char *text = NULL;
    int form;

    for (form = 0; form < 2; form++) { /* as text that is all escapes, and as base64 */
        memset(payload, form == 0 ? '\x01' : '\xfe', sizeof(payload));
        cr_assert_eq(outbox_record_to_json(&r, &text, NULL), OUTBOX_OK);
        cr_assert_eq(outbox_message_from_json(text, strlen(text), 0, &parsed, NULL), OUTBOX_OK, "form %d", form);
        cr_expect_eq(outbox_parsed_message(parsed)->payload_size, sizeof(payload), "form %d", form);
        cr_expect_eq(memcmp(outbox_parsed_message(parsed)->payload, payload, sizeof(payload)), 0, "form %d", form);
        outbox_parsed_free(parsed);
        outbox_free(text);
    }
}

Test(json, nothing_to_write)
{
    static const struct outbox_record r = { .id = { ID }, .topic = "t", P("") };
    outbox_error *err = NULL;
    char *text = NULL;

    cr_expect_eq(outbox_record_to_json(NULL, &text, &err), OUTBOX_ERR_INVALID);
    cr_expect_str_eq(outbox_error_name(err), "json.no_record");
    outbox_error_free(err);
    cr_expect_eq(outbox_record_to_json(&r, NULL, NULL), OUTBOX_ERR_INVALID);
}

static void *take(void *arena, size_t size)
{
    return outbox_arena__alloc(arena, size);
}

Test(json, headers_come_back)
{
    static const outbox_header headers[] = { { "a", "" }, { "b", "x" }, { "\xc3\xa9", "\xf0\x9f\x98\x80" }, { "q\"\\",
                                                                                                              "\"\\" },
                                             { " ", " " } };
    size_t given, i;

    for (given = 0; given <= sizeof(headers) / sizeof(headers[0]); given++) {
        outbox_arena arena = { NULL };
        struct outbox_header *back;
        size_t count;
        char *text;

        cr_assert_eq(outbox_json__headers_encode(headers, given, &text, NULL), OUTBOX_OK);
        cr_assert_eq(outbox_json__headers_decode(text, strlen(text), &back, &count, take, &arena), OUTBOX_OK, "%s",
                     text);
        cr_assert_eq(count, given, "%s: %zu headers", text, count);
        for (i = 0; i < count; i++) {
            cr_expect_str_eq(back[i].name, headers[i].name, "%s: name %zu", text, i);
            cr_expect_str_eq(back[i].value, headers[i].value, "%s: value %zu", text, i);
        }
        if (given == 0)
            cr_expect(strcmp(text, "{}") == 0 && back == NULL, "no headers: %s", text);
        outbox_free(text);
        outbox_arena__free(&arena);
    }
}

Test(json, headers_that_cannot_be_read)
{
    static const char *const texts[] = {
        "x", "{", "[]", "null", "1", "\"a\"", "{}x", "{\"a\":1}", "{\"a\":null}", "{\"a\":[]}", "{\"a\":{}}",
            "{\"a\":true}",
        "{\"\":\"x\"}", "{\"a\":\"x\",\"a\":\"y\"}", "{\"a\":\"\\n\"}", "{\"a\\t\":\"x\"}", "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\u007f\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\\ud800\"}", "{'a':'b'}", "{\"a\":\"b\",}", "{a:\"b\"}",
    };
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        outbox_arena arena = { NULL };
        struct outbox_header *headers = two;
        size_t count = 9;

        cr_expect_eq(outbox_json__headers_decode(texts[i], strlen(texts[i]), &headers, &count, take, &arena),
                     OUTBOX_ERR_INVALID, "%s is taken", texts[i]);
        cr_expect(headers == NULL && count == 0, "%s is refused, and gives headers", texts[i]);
        outbox_arena__free(&arena);
    }
}

static void *refuse_after(void *left, size_t size)
{
    static unsigned char room[4096];
    static size_t used;
    void *piece = room + used;

    if ((*(int *)left)-- <= 0)
        return NULL;
    used += (size + 15) / 16 * 16;
    return piece;
}

Test(json, headers_without_memory)
{
    static const char text[] = "{\"a\":\"b\",\"c\":\"d\"}";
    struct outbox_header *headers;
    size_t count;
    int given, left;

    /* The array, and two texts each. */
    for (given = 0; given <= 5; given++) {
        left = given;
        cr_expect_eq(outbox_json__headers_decode(text, strlen(text), &headers, &count, refuse_after, &left),
                     given < 5 ? OUTBOX_ERR_NOMEM : OUTBOX_OK, "after %d pieces of memory", given);
    }
}

Test(json, no_headers)
{
    static const struct {
        const char *text;
        size_t size;
    } none[] = { { NULL, 0 }, { NULL, 5 }, { "", 0 }, { "{}", 2 }, { "{ }", 3 }, { "{}x", 2 } };
    size_t i;

    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        outbox_arena arena = { NULL };
        struct outbox_header *headers = two;
        size_t count = 9;

        cr_expect_eq(outbox_json__headers_decode(none[i].text, none[i].size, &headers, &count, take, &arena), OUTBOX_OK,
                     "case %zu", i);
        cr_expect(headers == NULL && count == 0, "case %zu gives %zu headers", i, count);
        outbox_arena__free(&arena);
    }
}

Test(json, states_have_names)
{
    static const char *const names[] = { "?", "pending", "scheduled", "retry", "held", "dead", "published", "?" };
    outbox_state state;
    int i;

    for (i = 0; i <= OUTBOX_STATE_COUNT; i++) {
        cr_expect_str_eq(outbox_state_name((outbox_state)i), names[i], "state %d is %s", i,
                         outbox_state_name((outbox_state)i));
        if (names[i][0] != '?')
            cr_expect(outbox_state_parse(names[i], &state) == OUTBOX_OK && (int)state == i, "\"%s\" is not read",
                      names[i]);
    }
    cr_expect_str_eq(outbox_state_name((outbox_state)-1), "?");
    cr_expect_eq(outbox_state_parse("?", &state), OUTBOX_NONE);
    cr_expect_eq(outbox_state_parse("", &state), OUTBOX_NONE);
    cr_expect_eq(outbox_state_parse("Pending", &state), OUTBOX_NONE);
    cr_expect_eq(outbox_state_parse(NULL, &state), OUTBOX_NONE);
}
