/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands beside a payload, in each style, and what no broker gets. */
#include "record.h"
#include "target.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <jansson.h>

static const outbox_publisher_module module = { .size = sizeof(module), .abi = OUTBOX_PUBLISHER_MODULE_ABI, .name = "mybus" };
static outbox_conf *conf;
static outbox_target *target;
static outbox_envelope *envelope;
static struct outbox_header headers[4];
static outbox_record record;

static void make(void)
{
    static const outbox_record whole = { .id = { "0190aaaa-bbbb-7ccc-8ddd-000000000001" }, .topic = "orders",
        .partition_key = "k", .content_type = "application/json", .message_type = "order.paid", .payload = "{\"a\":1}",
        .payload_size = 7, .created_at = 1767225600000000, .lane = 5, .token = 9, .attempts = 2 };

    record = whole;
    record.headers = headers;
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_envelope_free(envelope);
    outbox_target__free(target);
    outbox_conf_free(conf);
}

TestSuite(envelope, .init = make, .fini = drop);

static void header(const char *name, const char *value)
{
    headers[record.header_count++] = (struct outbox_header){ name, value };
}

static void open_style(const char *mode, uint32_t flags, uint32_t native, const char *prefix)
{
    const outbox_envelope_style style = { sizeof(style), flags, native, prefix };

    cr_assert_eq(outbox_conf_set(conf, "cloudevents", mode, NULL), OUTBOX_OK);
    cr_assert_eq(outbox_target__new(&module, "mybus://h", conf, &target, NULL), OUTBOX_OK);
    cr_assert_eq(outbox_envelope_new(target, &style, &envelope, NULL), OUTBOX_OK);
}

/* All entries as one text. */
static const char *filled(void)
{
    static char text[2000];
    const char *why;
    size_t count, size;
    const outbox_meta *metas;
    int rc = outbox_envelope_fill(envelope, &record, &why);

    cr_assert_eq(rc, OUTBOX_OK, "%s", why);
    metas = outbox_envelope_metas(envelope, &count);
    for (size_t i = text[0] = 0; i < count; i++) {
        size = strlen(text);
        cr_expect_eq(metas[i].name_size, strlen(metas[i].name));
        cr_expect_eq(metas[i].value_size, strlen(metas[i].value));
        snprintf(text + size, sizeof(text) - size, "%s%s=%s", size > 0 ? "|" : "", metas[i].name, metas[i].value);
    }
    return text;
}

#define OURS                                                                                                             \
    "outbox-id=0190aaaa-bbbb-7ccc-8ddd-000000000001|content-type=application/json|outbox-type=order.paid|outbox-key=k|"  \
    "outbox-created-at=2026-01-01T00:00:00.000000Z|outbox-token=5:9|outbox-attempt=3"
#define EVENT(p)                                                                                                         \
    p "specversion=1.0|" p "id=0190aaaa-bbbb-7ccc-8ddd-000000000001|" p "source=/outbox|" p "type=order.paid|" p         \
      "time=2026-01-01T00:00:00.000000Z|" p "partitionkey=k"

Test(envelope, plain)
{
    size_t size;

    header("traceparent", "00-1-2-01");
    header("ce-subject", "s");
    open_style("off", 0, 0, "ce_");
    cr_expect_str_eq(filled(), OURS "|traceparent=00-1-2-01|ce-subject=s");
    cr_expect_str_eq(outbox_envelope_topic(envelope), "orders");
    cr_expect_eq(outbox_envelope_payload(envelope, &size), record.payload);
    cr_expect_eq(size, 7);
    /* Once more: nothing is left of the one before. */
    record.header_count = 0;
    record.partition_key = record.content_type = record.message_type = NULL;
    cr_expect_str_eq(filled(), "outbox-id=0190aaaa-bbbb-7ccc-8ddd-000000000001|outbox-created-at=2026-01-01T00:00:00.000000Z|"
                               "outbox-token=5:9|outbox-attempt=3");
    /* Each of the numbers that are mostly those of the message before. */
    record.lane = 6;
    cr_expect(strstr(filled(), "outbox-token=6:9|outbox-attempt=3") != NULL);
    record.token = 10;
    cr_expect(strstr(filled(), "outbox-token=6:10|outbox-attempt=3") != NULL);
    record.attempts = 0;
    cr_expect(strstr(filled(), "outbox-token=6:10|outbox-attempt=1") != NULL);
}

Test(envelope, native_places)
{
    open_style("off", 0, OUTBOX_META_BIT(OUTBOX_META_ID) | OUTBOX_META_BIT(OUTBOX_META_CONTENT_TYPE) |
                             OUTBOX_META_BIT(OUTBOX_META_CREATED_AT) | OUTBOX_META_BIT(OUTBOX_META_TOKEN), "");
    cr_expect_str_eq(filled(), "outbox-type=order.paid|outbox-key=k|outbox-attempt=3");
    cr_expect_str_eq(outbox_envelope_value(envelope, OUTBOX_META_CONTENT_TYPE), "application/json");
}

Test(envelope, binary_events)
{
    header("ce-subject", "s");
    header("ce-id", "not this one");
    header("x", "y");
    open_style("binary", 0, 0, "ce_");
    cr_expect_str_eq(filled(), OURS "|" EVENT("ce_") "|ce_subject=s|x=y");
    headers[0] = (struct outbox_header){ "ce-source", "/mine" };
    headers[1] = (struct outbox_header){ "ce-type", "a type" };
    cr_expect_not_null(strstr(filled(), "ce_source=/mine|ce_type=a type|ce_time"), "%s", filled());
}

Test(envelope, events_over_http_are_percent_encoded)
{
    header("ce-subject", "gr\xc3\xbc\xc3\x9f \"100%\"");
    open_style("binary", OUTBOX_STYLE_HTTP, 0, "ce-");
    cr_expect_not_null(strstr(filled(), "|ce-subject=gr%C3%BC%C3%9F%20%22100%25%22"), "%s", filled());
}

Test(envelope, structured_events)
{
    size_t size;
    json_t *event;
    const char *text;

    header("ce-subject", "a \"quoted\\\" one");
    header("x", "y");
    open_style("structured", 0, 0, "ce_");
    cr_expect_not_null(strstr(filled(), "content-type=application/cloudevents+json; charset=utf-8|"), "%s", filled());
    cr_expect_null(strstr(filled(), "ce_"));
    text = outbox_envelope_payload(envelope, &size);
    event = json_loadb(text, size, 0, NULL);
    cr_assert_not_null(event, "%s", text);
    cr_expect_str_eq(json_string_value(json_object_get(event, "subject")), "a \"quoted\\\" one");
    cr_expect_str_eq(json_string_value(json_object_get(event, "datacontenttype")), "application/json");
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(event, "data"), "a")), 1);
    cr_expect_null(json_object_get(event, "x"));
    json_decref(event);
    /* Says that it is JSON, and is not. */
    record.payload = "{\"a\":1";
    record.payload_size = 6;
    filled();
    text = outbox_envelope_payload(envelope, &size);
    cr_expect_not_null(strstr(text, "\"data_base64\":\"eyJhIjox\"}"), "%s", text);
    record.payload_size = 0;
    filled();
    text = outbox_envelope_payload(envelope, &size);
    cr_expect_null(strstr(text, "\"data"  "\""), "%s", text);
    cr_expect_null(strstr(text, "data_base64"), "%s", text);
}

static void expect_event(const char *name, const char *want)
{
    size_t size;
    const char *text, *got;
    json_t *event;

    filled();
    text = outbox_envelope_payload(envelope, &size);
    event = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(event, "%.*s", (int)size, text);
    got = json_string_value(json_object_get(event, name));
    if (want == NULL)
        cr_expect_null(got, "%s is \"%s\"", name, got);
    else
        cr_expect(got != NULL && strcmp(got, want) == 0, "%s is \"%s\", not \"%s\"", name, got != NULL ? got : "", want);
    json_decref(event);
}

Test(envelope, structured_events_have_the_trace)
{
    header("Traceparent", "00-1-2-01");
    header("tracestate", "a=1,b=\"2\"");
    open_style("structured", 0, 0, "ce-");
    expect_event("traceparent", "00-1-2-01");
    expect_event("tracestate", "a=1,b=\"2\"");
    cr_expect_not_null(strstr(filled(), "|Traceparent=00-1-2-01|tracestate=a=1"), "%s", filled());
    /* Without a parent a state says nothing. */
    headers[0].name = "x";
    expect_event("tracestate", NULL);
    /* What the message sets itself is not mixed with its headers. */
    headers[0] = (struct outbox_header){ "ce-traceparent", "00-3-4-01" };
    expect_event("traceparent", "00-3-4-01");
    expect_event("tracestate", NULL);
    header("traceparent", "00-1-2-01");
    expect_event("traceparent", "00-3-4-01");
    expect_event("tracestate", NULL);
    record.header_count = 0;
    expect_event("traceparent", NULL);
}

Test(envelope, names_that_are_ours)
{
    header("Outbox-Id", "x");
    header("outbox-attempt", "99");
    header("Content-Type", "x");
    header("outbox-mine", "kept");
    open_style("off", 0, 0, "");
    cr_expect_str_eq(filled(), OURS "|outbox-mine=kept");
    record.content_type = NULL;
    cr_expect_not_null(strstr(filled(), "|Content-Type=x|outbox-mine=kept"), "%s", filled());
}

static void expect_refused(const char *says)
{
    const char *why = NULL;

    cr_expect_eq(outbox_envelope_fill(envelope, &record, &why), OUTBOX_ERR_INVALID);
    cr_expect_str_eq(why, says);
}

Test(envelope, injection)
{
    open_style("off", 0, 0, "");
    header("a", "b\r\nc: d");
    expect_refused("the value of the header \"a\" has a control character in it, such as a line break");
    headers[0] = (struct outbox_header){ "a\n", "b" };
    expect_refused("the name of the header \"a?\" has a control character in it, such as a line break");
    headers[0] = (struct outbox_header){ "", "b" };
    expect_refused("a header has no name");
    headers[0] = (struct outbox_header){ "a", "\xff" };
    expect_refused("the value of the header \"a\" is not UTF-8");
    record.header_count = 0;
    record.topic = "a\rb";
    expect_refused("the topic \"a?b\" has a control character in it, such as a line break");
    record.topic = "";
    expect_refused("the topic has no name left after it was mapped");
    record.topic = "t";
    record.partition_key = "\x7f";
    expect_refused("the partition key has a control character in it, such as a line break");
    record.partition_key = NULL;
    record.message_type = "a\tb";
    expect_refused("the message type has a control character in it, such as a line break");
    record.message_type = NULL;
    record.content_type = "a\nb";
    expect_refused("the content type has a control character in it, such as a line break");
}

Test(envelope, names_over_http_are_tokens)
{
    open_style("off", OUTBOX_STYLE_HTTP, 0, "");
    header("a b", "c");
    expect_refused("the header \"a b\" has a name that HTTP does not allow");
    headers[0].name = "a:b";
    expect_refused("the header \"a:b\" has a name that HTTP does not allow");
}

static int map_topic(void *user, const outbox_record *r, char *topic, size_t size)
{
    int rc = *(int *)user;

    if (rc == OUTBOX_OK)
        snprintf(topic, size, "%s-by-%s", outbox_record_topic(r), outbox_record_partition_key(r));
    return rc;
}

Test(envelope, a_function_maps_topics)
{
    int rc = OUTBOX_OK;

    outbox_conf_set_topic_map(conf, map_topic, &rc);
    cr_assert_eq(outbox_conf_set(conf, "topic.map", "*=x.{topic}", NULL), OUTBOX_OK);
    open_style("off", 0, 0, "");
    filled();
    cr_expect_str_eq(outbox_envelope_topic(envelope), "orders-by-k");
    rc = OUTBOX_NONE;
    filled();
    cr_expect_str_eq(outbox_envelope_topic(envelope), "x.orders");
    rc = OUTBOX_ERR_INVALID;
    expect_refused("the topic \"orders\" was refused by the program's function that maps topics");
}

Test(envelope, a_map_that_cannot_be_read)
{
    const outbox_envelope_style style = { sizeof(style), 0, 0, "" };
    outbox_error *err = NULL;

    cr_assert_eq(outbox_conf_set(conf, "topic.map", "orders", NULL), OUTBOX_OK);
    cr_assert_eq(outbox_target__new(&module, "mybus://h", conf, &target, NULL), OUTBOX_OK);
    cr_expect_eq(outbox_envelope_new(target, &style, &envelope, &err), OUTBOX_ERR_CONF);
    cr_expect_str_eq(outbox_error_name(err), "conf.bad_value");
    outbox_error_free(err);
}
