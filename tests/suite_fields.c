/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every field of a message: read back as written, or refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* ---- Read back as written ---- */

/* Publishes what is there and checks its only message against m. */
static void check_message(struct fixture *fx, const outbox_record *r, const outbox_message *m, const char *id)
{
    size_t size = 77, count = 77;
    const void *payload = outbox_record_payload(r, &size);
    const outbox_header *headers = outbox_record_headers(r, &count);

    (void)fx;
    CHECK_STR(outbox_record_id(r), id);
    CHECK_STR(outbox_record_topic(r), m->topic);
    CHECK_STR(outbox_record_partition_key(r), m->partition_key);
    CHECK_STR(outbox_record_content_type(r), m->content_type);
    CHECK_STR(outbox_record_message_type(r), m->message_type);
    CHECK_INT(outbox_record_max_attempts(r), m->max_attempts);
    CHECK_INT(size, m->payload_size);
    CHECK(size == m->payload_size && payload != NULL && (size == 0 || memcmp(payload, m->payload, size) == 0) &&
              ((const char *)payload)[size] == '\0', "the payload of %zu bytes differs", m->payload_size);
    CHECK_INT(count, m->header_count);
    for (size_t i = 0; i < m->header_count && i < count; i++) {
        CHECK_STR(outbox_record_header(r, m->headers[i].name), m->headers[i].value);
        CHECK(headers[i].name != NULL && headers[i].value != NULL, "header %zu is not there", i);
    }
    CHECK_STR(outbox_record_header(r, "no such header"), NULL);
    CHECK(outbox_record_created_at(r) > INT64_C(1600000000000000), "created_at is %lld",
          (long long)outbox_record_created_at(r));
}

struct expected {
    struct fixture *fx;
    const outbox_message *message;
    const char *id;
    int calls;
};

static int check_got(void *user, const outbox_record *record)
{
    struct expected *e = user;

    e->calls++;
    check_message(e->fx, record, e->message, e->id);
    CHECK_INT(outbox_record_attempts(record), 0);
    CHECK_STR(outbox_record_last_error(record), NULL);
    return 0;
}

/* Enqueues, reads through claim and through get, and settles. */
static void round_trip(struct fixture *fx, outbox_consumer *consumer, const outbox_message *m)
{
    outbox_batch *batch = NULL;
    outbox_id id;
    struct expected expected = {fx, m, id.text, 0};

    MUST(outbox_enqueue(fx->conn, m, 1, &id, &fx->err));
    OK(outbox_get(fx->conn, id.text, check_got, &expected, &fx->err));
    CHECK_INT(expected.calls, 1);
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    CHECK_INT(outbox_batch_count(batch), 1);
    check_message(fx, outbox_batch_message(batch, 0), m, id.text);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
}

/* A text of count characters, each the given one. */
static char *repeat(const char *character, size_t count)
{
    size_t one = strlen(character);
    char *text = malloc(count * one + 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * one, character, one);
    text[count * one] = '\0';
    return text;
}

/* Four-byte, right-to-left, combining, quotes, and what SQL or ODBC might take for its own. */
#define STRANGE "😀 שלום e\xcc\x81\xcc\xa3 ' \" \\ ? {fn now()} $1 :x % -- /* \xef\xbf\xbf ﷺ \xe2\x80\xae"

static void test_text(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_header headers[] = {
        {"trace", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {"пусто", ""}, {STRANGE, STRANGE}};
    outbox_message m = text_message(STRANGE, "ключ " STRANGE, STRANGE);

    REQUIRE(consumer != NULL, "no consumer");
    m.headers = headers;
    m.header_count = COUNT_OF(headers);
    m.content_type = "text/plain; charset=\"utf-8\"";
    m.message_type = STRANGE;
    m.max_attempts = 2147483647;
    round_trip(fx, consumer, &m);
}

static void test_lengths(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    char *wide = repeat("😀", 255), *narrow = repeat("x", 200);
    outbox_message m = text_message(wide, wide, "x");

    REQUIRE(consumer != NULL, "no consumer");
    m.content_type = m.message_type = wide;
    m.dedup_key = narrow;
    m.max_attempts = 1;
    round_trip(fx, consumer, &m);
    free(wide);
    free(narrow);
}

static void test_empty_and_null(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m = text_message("t", NULL, "");

    REQUIRE(consumer != NULL, "no consumer");
    round_trip(fx, consumer, &m);
    m.payload = NULL;
    round_trip(fx, consumer, &m);
    m.payload = "\0";
    m.payload_size = 1;
    round_trip(fx, consumer, &m);
    m.content_type = "";
    m.message_type = " ";
    m.topic = " ";
    if (OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err)))
        CHECK_INT(settle_one(fx, consumer, OUTBOX_PUBLISHED, NULL), 1);
}

/* An empty key is no key. */
static void test_empty_key(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};

    REQUIRE(consumer != NULL && send_text(fx, "t", "", "x"), "not sent");
    CHECK_INT(drain(fx, consumer, &seen), 1);
    if (seen.count == 1)
        CHECK_INT(seen.items[0].has_key, 0);
    seen_clear(&seen);
}

static void test_payloads(struct fixture *fx)
{
    static const size_t sizes[] = {1, 255, 256, 4095, 65536, 1000003, 1 << 20};
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    unsigned char *bytes = malloc(10 << 20);
    outbox_message m = OUTBOX_MESSAGE_INIT;

    REQUIRE(consumer != NULL && bytes != NULL, "no consumer");
    for (size_t i = 0; i < 10 << 20; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 257);
    m.topic = "bytes";
    m.payload = bytes;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        m.payload_size = sizes[i];
        round_trip(fx, consumer, &m);
    }
    m.payload_size = 10 << 20;
    round_trip(fx, consumer, &m);
    free(bytes);
}

/* Large and small ones, with and without every option, in one call. */
static void test_mixed(struct fixture *fx)
{
    outbox_message m[20];
    outbox_id ids[COUNT_OF(m)];
    outbox_header header = {"h", "v"};
    char *big = repeat("0123456789abcdef", 20000);

    for (size_t i = 0; i < COUNT_OF(m); i++) {
        m[i] = text_message("t", i % 2 ? "key" : NULL, i % 3 ? "small" : big);
        m[i].headers = i % 4 ? &header : NULL;
        m[i].header_count = i % 4 ? 1 : 0;
        m[i].content_type = i % 5 ? "c" : NULL;
        m[i].message_type = i % 6 ? NULL : "m";
        m[i].max_attempts = i % 7 ? 0 : 9;
    }
    if (OK(outbox_enqueue(fx->conn, m, COUNT_OF(m), ids, &fx->err)))
        for (size_t i = 0; i < COUNT_OF(m); i++) {
            struct expected expected = {fx, &m[i], ids[i].text, 0};

            OK(outbox_get(fx->conn, ids[i].text, check_got, &expected, &fx->err));
            CHECK_INT(expected.calls, 1);
        }
    free(big);
}

/* ---- Refused by name ---- */

/* Enqueues 13 messages of which number 12 is bad: refused, with the field and the number, and nothing written. */
static void refuse(struct fixture *fx, const outbox_message *bad, const char *field)
{
    outbox_message m[13];

    for (size_t i = 0; i < 12; i++)
        m[i] = text_message("t", "k", "good");
    m[12] = *bad;
    EXPECT(outbox_enqueue(fx->conn, m, 13, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK(strstr(fx->message, field) != NULL, "no \"%s\" in: %s", field, fx->message);
    CHECK(strstr(fx->message, "12") != NULL, "no \"12\" in: %s", fx->message);
    CHECK(strncmp(fx->name, "enqueue.", 8) == 0, "the error's name is %s", fx->name);
}

#define REFUSE_WITH(field_, value_, word_)                      \
    do {                                                        \
        outbox_message bad_ = text_message("t", "k", "x");      \
        bad_.field_ = value_;                                   \
        refuse(fx, &bad_, word_);                               \
    } while (0)

static void test_refuse_lengths(struct fixture *fx)
{
    char *wide = repeat("😀", 256), *dedup = repeat("é", 201);

    REFUSE_WITH(topic, NULL, "topic");
    REFUSE_WITH(topic, "", "topic");
    REFUSE_WITH(topic, wide, "topic");
    REFUSE_WITH(partition_key, wide, "partition_key");
    REFUSE_WITH(content_type, wide, "content_type");
    REFUSE_WITH(message_type, wide, "message_type");
    REFUSE_WITH(dedup_key, dedup, "dedup_key");
    CHECK_INT(count_waiting(fx), 0);
    free(wide);
    free(dedup);
}

static void test_refuse_utf8(struct fixture *fx)
{
    /* A lone continuation, a cut one, overlong, a surrogate, past U+10FFFF, Latin-1, an impossible byte. */
    static const char *const texts[] = {"\x80",         "a\xe2\x82",        "\xc0\xaf", "\xe0\x80\xaf",
                                        "\xed\xa0\x80", "\xf4\x90\x80\x80", "caf\xe9",  "\xff"};

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        REFUSE_WITH(topic, texts[i], "topic");
        REFUSE_WITH(partition_key, texts[i], "partition_key");
        REFUSE_WITH(content_type, texts[i], "content_type");
        REFUSE_WITH(message_type, texts[i], "message_type");
        REFUSE_WITH(dedup_key, texts[i], "dedup_key");
    }
    CHECK_INT(count_waiting(fx), 0);
}

static void refuse_headers(struct fixture *fx, const outbox_header *headers, size_t count)
{
    outbox_message bad = text_message("t", "k", "x");

    bad.headers = headers;
    bad.header_count = count;
    refuse(fx, &bad, "header");
}

static void test_refuse_headers(struct fixture *fx)
{
    static const outbox_header bad[] = {{"", "v"},      {NULL, "v"},    {"n", NULL},     {"\xff", "v"}, {"n", "\xff"},
                                        {"a\nb", "v"},  {"n", "a\rb"},  {"n", "\x7f"},   {"n", "\x01"}};
    static const outbox_header twice[] = {{"n", "1"}, {"m", "2"}, {"n", "3"}};

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        refuse_headers(fx, &bad[i], 1);
    refuse_headers(fx, twice, COUNT_OF(twice));
    refuse_headers(fx, NULL, 1);
    CHECK_INT(count_waiting(fx), 0);
}

/* Brokers take a few kilobytes of them. */
static void test_refuse_large_headers(struct fixture *fx)
{
    enum { MOST = 1024 * 1024 };
    char *text = repeat("x", MOST - 2);
    outbox_header headers[] = {{"a", text}, {"b", ""}, {"c", ""}};
    outbox_message m = text_message("t", "k", "x");

    m.headers = headers;
    m.header_count = 3;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "enqueue.headers_too_large");
    CHECK(strstr(fx->message, "1048577") && strstr(fx->message, "1048576"), "no sizes in: %s", fx->message);
    CHECK_INT(count_waiting(fx), 0);
    m.header_count = 2;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
    free(text);
}

static void test_refuse_numbers(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "x");

    REFUSE_WITH(max_attempts, -1, "max_attempts");
    REFUSE_WITH(available_at, -1, "available_at");
    REFUSE_WITH(delay_ms, -1, "delay_ms");
    REFUSE_WITH(id, "", "id");
    REFUSE_WITH(id, "01890a5d-ac96-774b-bcce-b302099a805", "id");
    REFUSE_WITH(id, "01890a5d-ac96-774b-bcce-b302099a80577", "id");
    REFUSE_WITH(id, "01890a5dxac96-774b-bcce-b302099a8057", "id");
    REFUSE_WITH(id, "01890a5g-ac96-774b-bcce-b302099a8057", "id");
    EXPECT(outbox_enqueue(fx->conn, &m, 0, NULL, &fx->err), OUTBOX_ERR_INVALID);
    EXPECT(outbox_enqueue(fx->conn, NULL, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    m.size = 0;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_INT(count_waiting(fx), 0);
}

static void test_refuse_payload(struct fixture *fx)
{
    outbox_message m = text_message("t", "k", "x");
    outbox_conf *conf = fixture_conf(fx);
    outbox_conn *conn = NULL;
    char *bytes = repeat("x", 1025);

    REFUSE_WITH(payload, NULL, "payload");
    OK(outbox_conf_set(conf, "enqueue.max_payload", "1KiB", &fx->err));
    if (OK(outbox_conn_open(fx->dsn, conf, &conn, &fx->err))) {
        m.payload = bytes;
        m.payload_size = 1025;
        EXPECT(outbox_enqueue(conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
        CHECK_STR(fx->name, "enqueue.payload_too_large");
        CHECK(strstr(fx->message, "payload") && strstr(fx->message, "1024"), "no limit in: %s", fx->message);
        CHECK_INT(count_waiting(fx), 0);
        m.payload_size = 1024;
        OK(outbox_enqueue(conn, &m, 1, NULL, &fx->err));
    }
    CHECK_INT(count_waiting(fx), conn != NULL);
    outbox_conn_close(conn);
    outbox_conf_free(conf);
    free(bytes);
}

/* The largest that is allowed by default, and a byte more. MariaDB and Firebird have limits of their own. */
static void test_largest(struct fixture *fx)
{
    enum { MOST = 64 << 20 };
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    unsigned char *bytes = calloc(1, MOST + 1);
    outbox_message m = text_message("t", "k", "");

    REQUIRE(consumer != NULL && bytes != NULL, "no consumer");
    m.payload = bytes;
    m.payload_size = MOST + 1;
    refuse(fx, &m, "payload has 67108865 bytes, enqueue.max_payload allows 67108864");
    CHECK_STR(fx->name, "enqueue.payload_too_large");
    CHECK_INT(count_waiting(fx), 0);
    if (test_all() && (target_is_postgresql(fx->target) || target_is_sqlite(fx->target))) {
        for (size_t i = 0; i < MOST; i++)
            bytes[i] = (unsigned char)(i * 31 + i / 257);
        m.payload_size = MOST;
        round_trip(fx, consumer, &m);
    }
    free(bytes);
}

/* ---- Undecodable rows, as a foreign writer may leave them ---- */

static void test_undecodable(struct fixture *fx)
{
    static const char *const bad[] = {"{not json", "[1]", "{\"a\":1}", "\"text\"", "{\"a\":null}", "{\"a\":\"b\""};
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};
    char *error;

    REQUIRE(consumer != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        REQUIRE(send_text(fx, "bad", "same", "x") && send_text(fx, "good", "same", "y"), "not sent");
        CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET headers = '%s' WHERE topic = 'bad' AND headers IS NULL",
                          fx->prefix, bad[i]), 0);
    }
    CHECK_INT(drain(fx, consumer, &seen), COUNT_OF(bad));
    for (size_t i = 0; i < seen.count; i++)
        CHECK_STR(seen.items[i].topic, "good");
    /* The first of topic "bad" is dead, and holds back the others of its key until it is discarded. */
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    error = db_text(&fx->db, "SELECT last_error FROM %sdeferred WHERE state = 5", fx->prefix);
    CHECK(error != NULL && strstr(error, "header") != NULL, "last_error is %s", error ? error : "NULL");
    free(error);
    seen_clear(&seen);
}

/* Keyless ones die one by one, and a batch with all kinds is settled. */
static void test_undecodable_keyless(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};
    outbox_filter filter = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    REQUIRE(consumer != NULL && send_numbered(fx, "t", 0, 100), "not sent");
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET headers = '{' WHERE %s = 0", fx->prefix,
                      target_is_firebird(fx->target) ? "MOD(seq, 3)" : "seq % 3"), 0);
    count = db_int(&fx->db, "SELECT count(*) FROM %smessages WHERE headers = '{'", fx->prefix);
    CHECK_INT(drain(fx, consumer, &seen), 100 - count);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), count);
    /* They can be seen and discarded. */
    filter.state = OUTBOX_DEAD;
    filter.topic = "t";
    OK(outbox_discard(fx->conn, &filter, &count, &fx->err));
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* Several in one call, which may be one statement: texts that mean something in arrays and literals, nothing at all,
 * and bytes that are no text. */
static void test_together(struct fixture *fx)
{
    static const outbox_header headers[] = {{"quote \"", "back\\slash, {brace}"}, {"NULL", ""}};
    static const unsigned char bytes[] = {0, 1, '\\', '"', 0xff, 0xa5, '}', 0};
    static const char *const texts[] = {"NULL", "{}", "a,b", "\"q\\\"", "gr\xc3\xbc\xc3\x9f", " blank ", "'", "\\"};
    outbox_message m[COUNT_OF(texts)];
    outbox_id ids[COUNT_OF(texts)];

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        m[i] = text_message(texts[i], i % 3 == 0 ? NULL : texts[COUNT_OF(texts) - 1 - i], "");
        m[i].content_type = i % 2 == 0 ? texts[i] : NULL;
        m[i].message_type = i % 4 == 1 ? texts[i] : NULL;
        m[i].max_attempts = i % 2 == 1 ? (int)i : 0;
        m[i].payload = bytes;
        m[i].payload_size = i;
        m[i].headers = headers;
        m[i].header_count = i % 3;
    }
    MUST(outbox_enqueue(fx->conn, m, COUNT_OF(m), ids, &fx->err));
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        struct expected expected = {fx, &m[i], ids[i].text, 0};

        OK(outbox_get(fx->conn, ids[i].text, check_got, &expected, &fx->err));
        CHECK_INT(expected.calls, 1);
    }
}

void suite_fields(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"fields: strange text comes back exactly", test_text, 0},
        {"fields: 255 characters of four bytes", test_lengths, 0},
        {"fields: empty and NULL", test_empty_and_null, 0},
        {"fields: an empty key is no key", test_empty_key, 0},
        {"fields: payloads from 1 byte to 10 MiB", test_payloads, 0},
        {"fields: mixed in one call", test_mixed, 0},
        {"fields: strange ones in one call", test_together, 0},
        {"refused: too long or missing", test_refuse_lengths, 0},
        {"refused: invalid UTF-8", test_refuse_utf8, 0},
        {"refused: headers", test_refuse_headers, 0},
        {"refused: large headers", test_refuse_large_headers, 0},
        {"refused: numbers and ids", test_refuse_numbers, 0},
        {"refused: payload", test_refuse_payload, 0},
        {"fields: 64 MiB, and refused: a byte more", test_largest, 0},
        {"undecodable headers are dead-lettered alone", test_undecodable, 0},
        {"undecodable headers without keys", test_undecodable_keyless, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
