/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for Redis with a real server, read back by a client of hiredis. */
#include "broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

static int start(struct broker *b)
{
    char port[8], tls_port[8];

    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        if (broker_certificates(b) != 0)
            return -1;
    }
    snprintf(port, sizeof port, "%d", b->port);
    snprintf(tls_port, sizeof tls_port, "%d", b->tls_port);
    return broker_run(b, (const char *const[]){
        "redis-server", "--bind", "127.0.0.1", "--port", port, "--tls-port", tls_port, "--tls-cert-file", "server.pem",
        "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem", "--appendonly", "yes", "--appendfsync", "always",
        "--save", "", "--requirepass", "pa:ss@word", "--daemonize", "no", NULL });
}

/* An own connection; NULL: none. */
static redisContext *reach(const struct broker *b)
{
    redisContext *c = redisConnect("127.0.0.1", b->port);
    redisReply *reply = c != NULL && c->err == 0 ? redisCommand(c, "AUTH %s", "pa:ss@word") : NULL;
    int in = reply != NULL && reply->type == REDIS_REPLY_STATUS;

    freeReplyObject(reply);
    if (in)
        return c;
    if (c != NULL)
        redisFree(c);
    return NULL;
}

static int answers(const struct broker *b)
{
    redisContext *c = reach(b);
    redisReply *reply = c != NULL ? redisCommand(c, "PING") : NULL;
    int alive = reply != NULL && reply->type == REDIS_REPLY_STATUS;

    freeReplyObject(reply);
    if (c != NULL)
        redisFree(c);
    return alive;
}

static int wait(struct broker *b)
{
    int there;

    WAIT_FOR(answers(b), there);
    return there ? 0 : -1;
}

static void set_file(outbox_conf *conf, const char *key, const struct broker *b, const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    CHECK_INT(outbox_conf_set(conf, key, path, NULL), OUTBOX_OK);
}

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;

    if (way == BROKER_WRONG_PASSWORD)
        snprintf(text, size, "redis://:s3cr3t@127.0.0.1:%d/0", b->port);
    else
        snprintf(text, size, "%s://:pa%%3Ass%%40word@%s:%d/0", tls ? "rediss" : "redis",
                 way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    if (!tls)
        return;
    set_file(conf, "redis.tls.ca_file", b, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    set_file(conf, "redis.tls.cert_file", b, "client.pem");
    set_file(conf, "redis.tls.key_file", b, "client.key");
}

static int make(struct broker *b, const char *topic, int broken)
{
    redisContext *c = reach(b);
    redisReply *reply;
    int ok;

    if (c == NULL)
        return -1;
    freeReplyObject(redisCommand(c, "DEL %s", topic));
    reply = broken ? redisCommand(c, "SET %s text", topic) : redisCommand(c, "PING");
    ok = reply != NULL && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    redisFree(c);
    return ok ? 0 : -1;
}

static void hand_over(const redisReply *entry, broker_take *take, void *user)
{
    const redisReply *fields = entry->element[1];
    struct taken taken = {0};

    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (i == 0) {
            taken.payload = fields->element[1]->str;
            taken.size = fields->element[1]->len;
            continue;
        }
        taken_add(&taken, fields->element[i]->str, fields->element[i + 1]->str);
    }
    take(user, &taken);
}

static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    redisContext *c = reach(b);
    char from[64] = "-";
    long n = 0;
    redisReply *reply;
    size_t got = 1;

    while (c != NULL && got > 0 && (reply = redisCommand(c, "XRANGE %s %s + COUNT 1000", topic, from)) != NULL) {
        got = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
        for (size_t i = 0; i < got; i++)
            hand_over(reply->element[i], take, user);
        n += (long)got;
        if (got > 0)
            snprintf(from, sizeof from, "(%s", reply->element[got - 1]->element[0]->str);
        freeReplyObject(reply);
    }
    if (c == NULL || c->err != 0)
        n = -1;
    if (c != NULL)
        redisFree(c);
    return n;
}

/* ---- A small program that does the same ---- */

#define FIELDS 40

static int append(redisContext *c, const char *topic, const outbox_record *r)
{
    const char *argv[FIELDS] = { "XADD", topic, "*", "payload", NULL, "outbox-id", outbox_record_id(r), "content-type",
                                 outbox_record_content_type(r), "outbox-type", outbox_record_message_type(r),
                                 "outbox-created-at", "2026-01-01T00:00:00.000000Z", "outbox-token", "3:7",
                                 "outbox-attempt", "1" };
    size_t sizes[FIELDS], count, n = 17;
    const outbox_header *headers = outbox_record_headers(r, &count);

    for (size_t i = 0; i < count; i++) {
        argv[n++] = headers[i].name;
        argv[n++] = headers[i].value;
    }
    if (outbox_record_partition_key(r) != NULL) {
        argv[n++] = "outbox-key";
        argv[n++] = outbox_record_partition_key(r);
    }
    for (size_t i = 0; i < n; i++)
        sizes[i] = argv[i] != NULL ? strlen(argv[i]) : 0;
    argv[4] = outbox_record_payload(r, &sizes[4]);
    return redisAppendCommandArgv(c, (int)n, argv, sizes);
}

static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    redisContext *c = reach(b);
    size_t sent = 0, acked = 0;
    int good = c != NULL;

    while (good && acked < p->count) {
        void *reply = NULL;

        while (sent < p->count && sent - acked < window)
            good &= append(c, topic, parcel_record(p, sent++)) == REDIS_OK;
        for (size_t i = 0; good && i < window / 2 && acked < sent; i++, acked++) {
            good = redisGetReply(c, &reply) == REDIS_OK && ((redisReply *)reply)->type == REDIS_REPLY_STRING;
            freeReplyObject(reply);
        }
    }
    if (c != NULL)
        redisFree(c);
    return good ? 0 : -1;
}

/* ---- What only Redis does ---- */

/* One command of one word each; 1 when the server agrees. */
static int tell(const struct broker *b, const char *command)
{
    redisContext *c = reach(b);
    redisReply *reply = c != NULL ? redisCommand(c, command) : NULL;
    int good = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    CHECK(good, "%s: %s", command, reply != NULL ? reply->str : "not connected");
    freeReplyObject(reply);
    if (c != NULL)
        redisFree(c);
    return good;
}

static long length_of(const struct broker *b, const char *topic)
{
    redisContext *c = reach(b);
    redisReply *reply = c != NULL ? redisCommand(c, "XLEN %s", topic) : NULL;
    long n = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? (long)reply->integer : -1;

    freeReplyObject(reply);
    if (c != NULL)
        redisFree(c);
    return n;
}

static int prepare(struct parcel *p, struct broker *b, const char *topic, size_t count, const char *key,
                   const char *value)
{
    memset(p, 0, sizeof *p);
    return CHECK_INT(make(b, topic, 0), 0) && parcel_make(p, topic, 0, count, 5) == 0 &&
           broker_open(p, b, BROKER_PLAIN, key, value) == 0;
}

/* The server takes nothing, says so, and takes everything later. */
static void takes_nothing(struct broker *b, const char *begin, const char *end, const char *says)
{
    struct parcel p;

    REQUIRE(prepare(&p, b, "nothing", 500, NULL, NULL), "not prepared");
    parcel_send(&p, 0, 100, 60000);
    CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), 100);
    if (tell(b, begin)) {
        parcel_send(&p, 100, 400, 60000);
        CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), 100);
        CHECK(parcel_count(&p, OUTBOX_UNAVAILABLE) > 0, "nothing is unavailable");
        CHECK_INT(parcel_count(&p, OUTBOX_REJECT) + parcel_count(&p, OUTBOX_UNKNOWN), 0);
        CHECK(strncmp(p.why, says, strlen(says)) == 0, "%s", p.why);
    }
    tell(b, end);
    CHECK(parcel_send_all(&p, 100), "%s", p.why);
    CHECK_INT(length_of(b, "nothing"), 500);
    parcel_free(&p);
}

static void test_out_of_memory(struct broker *b)
{
    takes_nothing(b, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM ");
}

static void test_readonly(struct broker *b)
{
    takes_nothing(b, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "READONLY ");
}

static void test_user(struct broker *b)
{
    struct parcel p = {0};
    outbox_conf *conf = NULL;
    char text[100], path[200];

    REQUIRE(tell(b, "ACL SETUSER writer on >wr1te ~allowed +xadd") && make(b, "allowed", 0) == 0 &&
            broker_write(b, "writer.password", "wr1te\n") == 0 && parcel_make(&p, "allowed", 0, 100, 0) == 0 &&
            outbox_conf_new(&conf, NULL) == OUTBOX_OK, "not prepared");
    snprintf(path, sizeof path, "%s/writer.password", b->directory);
    CHECK_INT(outbox_conf_set(conf, "redis.password_file", path, NULL), OUTBOX_OK);
    /* The first host is not there. */
    snprintf(text, sizeof text, "redis://writer@127.0.0.1:1,127.0.0.1:%d", b->port);
    CHECK(outbox_publisher_open(text, conf, &p.publisher, &p.err) == OUTBOX_OK, "%s", outbox_error_message(p.err));
    outbox_conf_free(conf);
    if (p.publisher != NULL) {
        parcel_send(&p, 0, 100, 60000);
        CHECK(parcel_count(&p, OUTBOX_PUBLISHED) == 100, "%s", p.why);
    }
    CHECK_INT(length_of(b, "allowed"), 100);
    tell(b, "ACL SETUSER writer resetkeys ~other");
    parcel_send(&p, 0, 100, 60000);
    CHECK_INT(parcel_count(&p, OUTBOX_REJECT), 100);
    CHECK(strncmp(p.why, "NOPERM ", 7) == 0, "%s", p.why);
    tell(b, "ACL DELUSER writer");
    parcel_free(&p);
}

/* ---- Channels ---- */

#define CHANNEL_COUNT 500
#define CHANNEL_KEYS 5

static const char *const traces[][2] = {
    { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    { "tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" },
};

static int open_channel(struct parcel *p, struct broker *b, const char *events)
{
    outbox_conf *conf = NULL;
    char text[200];
    int rc = outbox_conf_new(&conf, NULL);

    url(b, BROKER_PLAIN, text, sizeof text, conf);
    rc = rc == OUTBOX_OK ? outbox_conf_set(conf, "redis.mode", "pubsub", &p->err) : rc;
    rc = rc == OUTBOX_OK ? outbox_conf_set(conf, "cloudevents", events, &p->err) : rc;
    rc = rc == OUTBOX_OK ? outbox_publisher_open(text, conf, &p->publisher, &p->err) : rc;
    outbox_conf_free(conf);
    return CHECK(rc == OUTBOX_OK, "%s", outbox_error_message(p->err)) ? 0 : -1;
}

/* What a channel brings, message by message: which one it is, once each, and in the order of its key. */
struct listener {
    redisContext *c;
    const struct parcel *p;
    size_t count, of[CHANNEL_COUNT]; /* numbers of messages, as they came */
};

static int subscribe(struct listener *l, const struct broker *b)
{
    redisReply *reply = NULL;
    int good;

    l->c = reach(b);
    reply = l->c != NULL ? redisCommand(l->c, "SUBSCRIBE channel") : NULL;
    good = reply != NULL && reply->type == REDIS_REPLY_ARRAY;
    freeReplyObject(reply);
    return good;
}

/* The message that has this payload; CHANNEL_COUNT: none. An event has its number at the end of its id. */
static size_t number_of(const struct listener *l, const redisReply *payload, int events)
{
    json_t *event = events ? json_loadb(payload->str, payload->len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *id = json_string_value(json_object_get(event, "id"));
    size_t n = 0, size;

    for (; n < CHANNEL_COUNT; n++) {
        const outbox_record *r = parcel_record(l->p, n);
        const void *bytes = outbox_record_payload(r, &size);

        if (events ? id != NULL && strcmp(id, outbox_record_id(r)) == 0
                   : size == payload->len && memcmp(bytes, payload->str, size) == 0)
            break;
    }
    for (size_t i = 0; events && n < CHANNEL_COUNT && i < COUNT_OF(traces); i++)
        CHECK_STR(json_string_value(json_object_get(event, traces[i][0])), traces[i][1]);
    json_decref(event);
    return n;
}

/* All there is, up to a mark that is sent behind it: a server hands out what it gets in that order. */
static void listen_to_all(struct listener *l, const struct broker *b, int events)
{
    redisReply *reply = NULL;

    tell(b, "PUBLISH channel mark");
    while (redisGetReply(l->c, (void **)&reply) == REDIS_OK && strcmp(reply->element[2]->str, "mark") != 0) {
        size_t n = number_of(l, reply->element[2], events);

        if (CHECK(n < CHANNEL_COUNT, "message %zu is none that was sent", l->count) &&
            CHECK(l->count < CHANNEL_COUNT, "too many"))
            l->of[l->count++] = n;
        freeReplyObject(reply);
        reply = NULL;
    }
    CHECK(reply != NULL, "the mark is missing: %s", l->c->errstr);
    freeReplyObject(reply);
    redisFree(l->c);
}

static void check_channel(struct broker *b, const char *events)
{
    struct parcel p = {0};
    struct listener l = { .p = &p };
    long last[CHANNEL_KEYS + 1];
    char seen[CHANNEL_COUNT] = {0};

    REQUIRE(subscribe(&l, b) && parcel_make(&p, "channel", 0, CHANNEL_COUNT, CHANNEL_KEYS) == 0 &&
            open_channel(&p, b, events) == 0, "not prepared");
    parcel_send(&p, 0, CHANNEL_COUNT, 60000);
    CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), CHANNEL_COUNT);
    listen_to_all(&l, b, strcmp(events, "structured") == 0);
    CHECK_INT(l.count, CHANNEL_COUNT);
    memset(last, -1, sizeof last);
    for (size_t i = 0; i < l.count; i++) {
        const char *key = outbox_record_partition_key(parcel_record(&p, l.of[i]));
        long n = (long)l.of[i], *before = &last[key != NULL ? atol(key + 1) : CHANNEL_KEYS];

        CHECK(!seen[n]++, "message %ld came twice", n);
        CHECK(key == NULL || *before < n, "message %ld came after %ld, both of key %s", n, *before, key);
        *before = n;
    }
    parcel_free(&p);
}

static void test_channel(struct broker *b)
{
    check_channel(b, "off");
}

/* What a channel has no place for beside a payload is in the event, the trace above all. */
static void test_channel_events(struct broker *b)
{
    check_channel(b, "structured");
}

/* What was sent before is found to be there; what is not there, and cannot be any more, is rejected. */
static void test_own_ids(struct broker *b)
{
    struct parcel p;
    struct ledger l;

    REQUIRE(prepare(&p, b, "ids", 100, "redis.stream_id", "seq"), "not prepared");
    for (size_t i = 0; i < 100; i++)
        CHECK_INT(i != 50 ? parcel_send(&p, i, 1, 60000) : 0, 0);
    CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), 99);
    for (int again = 0; again < 2; again++) {
        parcel_send(&p, 0, 100, 60000);
        CHECK_INT(parcel_count(&p, OUTBOX_REJECT), 1);
        CHECK(strstr(p.why, "redis.stream_id") != NULL, "%s", p.why);
    }
    ledger_read(&l, b, "ids", 100, 5);
    CHECK_INT(l.distinct, 99);
    CHECK_INT(l.repeated, 0);
    CHECK(!l.has[50], "it is there");
    ledger_free(&l);
    parcel_free(&p);
}

static void test_length(struct broker *b)
{
    struct parcel p;
    long length;

    REQUIRE(prepare(&p, b, "short", 2000, "redis.stream_maxlen", "100"), "not prepared");
    parcel_send(&p, 0, 2000, 60000);
    CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), 2000);
    length = length_of(b, "short");
    CHECK(length >= 100 && length < 400, "%ld entries", length);
    parcel_free(&p);
}

/* Nobody cancels it: it gives the connection up by itself. */
static void test_silence(struct broker *b)
{
    struct parcel p;
    int sent;

    REQUIRE(prepare(&p, b, "silent", 200, "redis.reply_timeout", "200ms"), "not prepared");
    WAIT_FOR((parcel_send(&p, 0, 100, 60000), parcel_count(&p, OUTBOX_PUBLISHED) == 100), sent); /* a disk may be slow */
    CHECK(sent, "%s", p.why);
    broker_pause(b);
    parcel_send(&p, 100, 100, 60000);
    broker_resume(b);
    CHECK_INT(parcel_count(&p, OUTBOX_PUBLISHED), 100);
    CHECK(parcel_count(&p, OUTBOX_UNKNOWN) > 0, "nothing is unknown");
    CHECK(strstr(p.why, "redis.reply_timeout") != NULL, "%s", p.why);
    CHECK(parcel_send_all(&p, 100), "%s", p.why);
    parcel_free(&p);
}

static const struct broker_test tests[] = {
    { "the server is out of memory", test_out_of_memory },
    { "the server is a replica", test_readonly },
    { "a user with few rights, on the second host", test_user },
    { "a channel", test_channel },
    { "a channel that gets events", test_channel_events },
    { "ids of entries that tell what is there", test_own_ids },
    { "a stream that is kept short", test_length },
    { "a server that is silent", test_silence },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "redis",
    .program = "redis-server",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE,
    .cloudevents = "ce-",
    .limit = "redis.max_message",
    .window = "redis.window",
    .start = start,
    .wait = wait,
    .url = url,
    .make = make,
    .consume = consume,
    .baseline = baseline,
    .tests = tests,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
