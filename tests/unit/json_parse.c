/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages read from JSON: what each member becomes, and every way in which a line can be wrong. */
#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static outbox_parsed *parse(const char *text, int keep_id)
{
    outbox_parsed *parsed = NULL;
    outbox_error *err = NULL;
    int rc = outbox_message_from_json(text, strlen(text), keep_id, &parsed, &err);

    cr_expect_eq(rc, OUTBOX_OK, "%s: %s", text, outbox_error_message(err));
    cr_expect_null(err, "%s: an error without a failure", text);
    outbox_error_free(err);
    return parsed;
}

Test(json_parse, every_member)
{
    static const char text[] =
        " { \"id\": \"x\", \"topic\": \"t\\u00e9\", \"partition_key\": \"k\", \"payload\": \"a\\u0000b\", "
        "\"headers\": {\"one\": \"1\", \"two\": \"\"}, \"content_type\": \"c\", \"message_type\": \"m\", "
        "\"dedup_key\": \"d\", \"available_at\": \"1970-01-01T00:00:01.5Z\", \"max_attempts\": 7, \"attempts\": 3, "
        "\"created_at\": 0, \"published_at\": [], \"state\": {}, \"last_error\": 1, \"lane\": \"x\", \"seq\": false, "
        "\"token\": 1.5 } \r\n\t";
    outbox_parsed *parsed = parse(text, 1);
    const outbox_message *m = outbox_parsed_message(parsed);

    cr_assert_not_null(m);
    cr_expect_eq(m->size, sizeof(*m));
    cr_expect_str_eq(m->id, "x");
    cr_expect_str_eq(m->topic, "t\xc3\xa9");
    cr_expect_str_eq(m->partition_key, "k");
    cr_expect_eq(m->payload_size, 3u);
    cr_expect_arr_eq((const char *)m->payload, "a\0b", 4);
    cr_assert_eq(m->header_count, 2u);
    cr_expect_str_eq(m->headers[0].name, "one");
    cr_expect_str_eq(m->headers[0].value, "1");
    cr_expect_str_eq(m->headers[1].name, "two");
    cr_expect_str_eq(m->headers[1].value, "");
    cr_expect_str_eq(m->content_type, "c");
    cr_expect_str_eq(m->message_type, "m");
    cr_expect_str_eq(m->dedup_key, "d");
    cr_expect_eq(m->available_at, 1500000);
    cr_expect_eq(m->delay_ms, 0);
    cr_expect_eq(m->max_attempts, 7);
    outbox_parsed_free(parsed);
}

/* null is as good as not there; an id only counts when it is asked for, whatever it is. */
Test(json_parse, members_that_say_nothing)
{
    static const char *const texts[] = {
        "{\"topic\":\"t\"}",
        "{\"topic\":\"t\",\"id\":null,\"partition_key\":null,\"payload\":null,\"payload_base64\":null,\"headers\":null,"
        "\"content_type\":null,\"message_type\":null,\"dedup_key\":null,\"available_at\":null,\"delay_ms\":null,"
        "\"max_attempts\":null,\"attempts\":null,\"token\":null}",
        "{\"topic\":\"t\",\"id\":\"x\"}",
        "{\"topic\":\"t\",\"id\":17}",
        "{\"topic\":\"t\",\"headers\":{}}",
        "{\"topic\":\"t\",\"available_at\":\"1969-12-31T23:59:59Z\",\"delay_ms\":5}",
        "{\"topic\":\"t\",\"available_at\":\"1970-01-01T00:00:00Z\"}",
        "{\"topic\":\"t\",\"delay_ms\":0}",
    };
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        outbox_parsed *parsed = parse(texts[i], 0);
        const outbox_message *m = outbox_parsed_message(parsed);

        cr_assert_not_null(m, "%s", texts[i]);
        cr_expect(m->id == NULL && m->partition_key == NULL && m->payload_size == 0 && m->headers == NULL &&
                      m->header_count == 0 && m->content_type == NULL && m->message_type == NULL &&
                          m->dedup_key == NULL &&
                      m->available_at == 0 && m->max_attempts == 0,
                  "%s says something", texts[i]);
        outbox_parsed_free(parsed);
    }
}

Test(json_parse, payloads)
{
    static const struct {
        const char *text, *payload;
        size_t size;
    } cases[] = {
        { "{\"topic\":\"t\",\"payload\":\"\"}", "", 0 },
        { "{\"topic\":\"t\",\"payload\":\"\\u20ac\\ud83d\\ude00\"}", "\xe2\x82\xac\xf0\x9f\x98\x80", 7 },
        { "{\"topic\":\"t\",\"payload\":\"\\u0000\"}", "\0", 1 },
        { "{\"topic\":\"t\",\"payload\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t", 8 },
        { "{\"topic\":\"t\",\"payload_base64\":\"\"}", "", 0 },
        { "{\"topic\":\"t\",\"payload_base64\":\"AP8=\"}", "\0\xff", 2 },
        { "{\"topic\":\"t\",\"payload\":null,\"payload_base64\":\"AP8=\"}", "\0\xff", 2 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_parsed *parsed = parse(cases[i].text, 0);
        const outbox_message *m = outbox_parsed_message(parsed);

        cr_assert_not_null(m, "%s", cases[i].text);
        cr_expect(m->payload_size == cases[i].size && memcmp(m->payload, cases[i].payload, cases[i].size) == 0,
                  "%s: another payload, of %zu bytes", cases[i].text, m->payload_size);
        outbox_parsed_free(parsed);
    }
}

Test(json_parse, numbers)
{
    static const struct {
        const char *text;
        int64_t delay;
        int attempts;
    } cases[] = {
        { "{\"topic\":\"t\",\"delay_ms\":1}", 1, 0 },
        { "{\"topic\":\"t\",\"delay_ms\":9223372036854}", INT64_C(9223372036854), 0 },
        { "{\"topic\":\"t\",\"max_attempts\":1}", 0, 1 },
        { "{\"topic\":\"t\",\"max_attempts\":2147483647}", 0, INT_MAX },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outbox_parsed *parsed = parse(cases[i].text, 0);
        const outbox_message *m = outbox_parsed_message(parsed);

        cr_assert_not_null(m, "%s", cases[i].text);
        cr_expect_eq(m->delay_ms, cases[i].delay, "%s: delay %" PRId64, cases[i].text, m->delay_ms);
        cr_expect_eq(m->max_attempts, cases[i].attempts, "%s: %d attempts", cases[i].text, m->max_attempts);
        outbox_parsed_free(parsed);
    }
}

/* What is wrong is said by a stable name and with the member. */
static const struct {
    const char *text, *name, *says;
} wrong[] = {
    { "", "json.syntax", "not valid JSON at byte" },
    { " ", "json.syntax", "not valid JSON at byte" },
    { "{", "json.syntax", "at byte 1" },
    { "{\"topic\"", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\"", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\"} x", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\"}{}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",}", "json.syntax", "not valid JSON at byte" },
    { "{'topic':'t'}", "json.syntax", "not valid JSON at byte" },
    { "{topic:\"t\"}", "json.syntax", "not valid JSON at byte" },
    { "// x\n{\"topic\":\"t\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\nu\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\\x\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\xff\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\xc0\xaf\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\xed\xa0\x80\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\ud800\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\ud800x\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\ud800\\u0041\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\udc00\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\udc00\\ud800\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"\\u12\"}", "json.syntax", "not valid JSON at byte" },
    { "\xef\xbb\xbf{\"topic\":\"t\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"a\",\"topic\":\"b\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"a\",\"headers\":{\"x\":\"1\",\"x\":\"2\"}}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"a\",\"t\\u006fpic\":\"b\"}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",\"delay_ms\":99999999999999999999}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",\"delay_ms\":-99999999999999999999}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",\"delay_ms\":1e999}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",\"delay_ms\":01}", "json.syntax", "not valid JSON at byte" },
    { "{\"topic\":\"t\",\"delay_ms\":NaN}", "json.syntax", "not valid JSON at byte" },
    { "{\"a\\u0000b\":\"t\"}", "json.syntax", "not valid JSON at byte" },
    { "[]", "json.no_object", "an array" },
    { "[{\"topic\":\"t\"}]", "json.no_object", "an array" },
    { "\"topic\"", "json.no_object", "a string" },
    { "1", "json.no_object", "an integer" },
    { "1.5", "json.no_object", "a fraction" },
    { "null", "json.no_object", "null" },
    { "true", "json.no_object", "true" },
    { "false", "json.no_object", "false" },
    { "{}", "json.no_topic", "topic" },
    { "{\"payload\":\"x\"}", "json.no_topic", "topic" },
    { "{\"topic\":null}", "json.no_topic", "topic" },
    { "{\"topic\":1}", "json.wrong_type", "\"topic\" must be a string, and is an integer" },
    { "{\"topic\":\"t\",\"partition_key\":1.5}", "json.wrong_type", "\"partition_key\"" },
    { "{\"topic\":\"t\",\"content_type\":[]}", "json.wrong_type",
      "\"content_type\" must be a string, and is an array" },
    { "{\"topic\":\"t\",\"message_type\":{}}", "json.wrong_type",
      "\"message_type\" must be a string, and is an object" },
    { "{\"topic\":\"t\",\"dedup_key\":true}", "json.wrong_type", "\"dedup_key\" must be a string, and is true" },
    { "{\"topic\":\"t\",\"id\":1}", "json.wrong_type", "\"id\"" },
    { "{\"topic\":\"t\",\"payload\":1}", "json.wrong_type", "\"payload\" must be a string, and is an integer" },
    { "{\"topic\":\"t\",\"payload\":{\"a\":1}}", "json.wrong_type", "as text in quotes" },
    { "{\"topic\":\"t\",\"payload\":[1]}", "json.wrong_type", "as text in quotes" },
    { "{\"topic\":\"t\",\"payload_base64\":1}", "json.wrong_type", "\"payload_base64\"" },
    { "{\"topic\":\"t\",\"headers\":[]}", "json.wrong_type", "\"headers\" must be an object, and is an array" },
    { "{\"topic\":\"t\",\"headers\":\"x\"}", "json.wrong_type", "\"headers\"" },
    { "{\"topic\":\"t\",\"available_at\":5}", "json.wrong_type", "\"available_at\"" },
    { "{\"topic\":\"t\",\"delay_ms\":\"5\"}", "json.wrong_type", "\"delay_ms\" must be an integer, and is a string" },
    { "{\"topic\":\"t\",\"delay_ms\":5.0}", "json.wrong_type", "\"delay_ms\"" },
    { "{\"topic\":\"t\",\"max_attempts\":true}", "json.wrong_type", "\"max_attempts\"" },
    { "{\"topic\":\"a\\u0000b\"}", "json.nul", "\"topic\"" },
    { "{\"topic\":\"t\",\"partition_key\":\"\\u0000\"}", "json.nul", "\"partition_key\"" },
    { "{\"topic\":\"t\",\"id\":\"\\u0000\"}", "json.nul", "\"id\"" },
    { "{\"topic\":\"t\",\"headers\":{\"x\":1}}", "json.header", "\"x\"" },
    { "{\"topic\":\"t\",\"headers\":{\"x\":null}}", "json.header", "null" },
    { "{\"topic\":\"t\",\"headers\":{\"a\":\"b\",\"x\":\"\\u0000\"}}", "json.header", "\"x\"" },
    { "{\"topic\":\"t\",\"payload\":\"a\",\"payload_base64\":\"\"}", "json.two_payloads", "leave one out" },
    { "{\"topic\":\"t\",\"payload_base64\":\"YQ==\",\"payload\":\"a\"}", "json.two_payloads", "leave one out" },
    { "{\"topic\":\"t\",\"payload_base64\":\"YQ=\"}", "json.base64", "length of 3" },
    { "{\"topic\":\"t\",\"payload_base64\":\"Y*==\"}", "json.base64", "character 2" },
    { "{\"topic\":\"t\",\"payload_base64\":\"YQ\\u0000=\"}", "json.base64", "character 3" },
    { "{\"topic\":\"t\",\"available_at\":\"tomorrow\"}", "json.time", "\"tomorrow\"" },
    { "{\"topic\":\"t\",\"available_at\":\"2023-02-29T00:00:00Z\"}", "json.time", "2023-02-29" },
    { "{\"topic\":\"t\",\"available_at\":\"\"}", "json.time", "RFC 3339" },
    { "{\"topic\":\"t\",\"available_at\":\"2026-01-01T00:00:00Z\",\"delay_ms\":5}", "json.two_times", "leave one out" },
    { "{\"topic\":\"t\",\"delay_ms\":-1}", "json.range", "is -1; it must be from 0 to 9223372036854" },
    { "{\"topic\":\"t\",\"delay_ms\":9223372036855}", "json.range", "9223372036855" },
    { "{\"topic\":\"t\",\"delay_ms\":9223372036854775807}", "json.range", "9223372036854775807" },
    { "{\"topic\":\"t\",\"max_attempts\":0}", "json.range", "from 1 to 2147483647" },
    { "{\"topic\":\"t\",\"max_attempts\":-1}", "json.range", "-1" },
    { "{\"topic\":\"t\",\"max_attempts\":2147483648}", "json.range", "2147483648" },
    { "{\"topic\":\"t\",\"Topic\":\"u\"}", "json.unknown_member", "\"Topic\"" },
    { "{\"topic\":\"t\",\"\":1}", "json.unknown_member", "\"\"" },
    { "{\"topic\":\"t\",\"payload64\":null}", "json.unknown_member", "\"payload64\"" },
};

Test(json_parse, what_is_no_message)
{
    size_t i;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        outbox_parsed *parsed = NULL;
        outbox_error *err = NULL;
        int rc = outbox_message_from_json(wrong[i].text, strlen(wrong[i].text), 1, &parsed, &err);

        cr_expect_eq(rc, OUTBOX_ERR_INVALID, "%s is taken", wrong[i].text);
        cr_expect_null(parsed, "%s is refused, and gives a message", wrong[i].text);
        cr_expect_str_eq(outbox_error_name(err), wrong[i].name, "%s: %s, not %s (%s)", wrong[i].text,
                         outbox_error_name(err),
                         wrong[i].name, outbox_error_message(err));
        cr_expect_not_null(strstr(outbox_error_message(err), wrong[i].says), "%s: \"%s\" is not in: %s", wrong[i].text,
                           wrong[i].says, outbox_error_message(err));
        outbox_error_free(err);
        outbox_parsed_free(parsed);
    }
}

/* Deeper than any stack likes: refused, not followed. */
Test(json_parse, depth)
{
    static const size_t depths[] = { 10, 2000, 3000, 1000000 };
    size_t d;

    for (d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
        size_t size = 32 + 2 * depths[d];
        char *text = malloc(size);
        outbox_parsed *parsed = NULL;
        outbox_error *err = NULL;
        int n = sprintf(text, "{\"topic\":\"t\",\"state\":");

        memset(text + n, '[', depths[d]);
        memset(text + n + depths[d], ']', depths[d]);
        text[(size_t)n + 2 * depths[d]] = '}';
        cr_expect_eq(outbox_message_from_json(text, (size_t)n + 2 * depths[d] + 1, 0, &parsed, &err),
                     depths[d] <= 2000 ? OUTBOX_OK : OUTBOX_ERR_INVALID, "depth %zu: %s", depths[d],
                     outbox_error_message(err));
        if (depths[d] > 2000)
            cr_expect_str_eq(outbox_error_name(err), "json.syntax", "depth %zu: %s", depths[d], outbox_error_name(err));
        outbox_error_free(err);
        outbox_parsed_free(parsed);
        free(text);
    }
}

/* Only so many bytes are read as were given. */
Test(json_parse, every_beginning_is_refused)
{
    static const char text[] = "{\"topic\":\"t\xc3\xa9\","
                               "\"headers\":{\"a\":\"\\u20ac\"},\"delay_ms\":12,\"payload_base64\":\"YQ==\"}";
    size_t size;

    for (size = 0; size < sizeof(text) - 1; size++) {
        outbox_parsed *parsed = NULL;
        outbox_error *err = NULL;
        char *copy = malloc(size + 1); /* what is read beyond it is found by valgrind */

        memcpy(copy, text, size);
        cr_expect_eq(outbox_message_from_json(copy, size, 1, &parsed, &err), OUTBOX_ERR_INVALID, "%zu bytes are taken",
                     size);
        cr_expect_str_eq(outbox_error_name(err), "json.syntax", "%zu bytes: %s", size, outbox_error_name(err));
        outbox_error_free(err);
        outbox_parsed_free(parsed);
        free(copy);
    }
    outbox_parsed_free(parse(text, 1));
}

Test(json_parse, nothing_to_read)
{
    outbox_parsed *parsed = NULL;
    outbox_error *err = NULL;

    cr_expect_eq(outbox_message_from_json(NULL, 0, 0, &parsed, &err), OUTBOX_ERR_INVALID);
    cr_expect_str_eq(outbox_error_name(err), "json.no_text");
    outbox_error_free(err);
    cr_expect_eq(outbox_message_from_json("{}", 2, 0, NULL, NULL), OUTBOX_ERR_INVALID);
    cr_expect_null(outbox_parsed_message(NULL));
    outbox_parsed_free(NULL);
}
