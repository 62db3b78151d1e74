/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each publisher has to do with a real server that is well; see broker.h. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define MANY 10000
#define BATCH 1000
#define KEYS 97

/* A conf with the way to the server, and perhaps one more setting. */
static outbox_conf *make_conf(struct broker *b, enum broker_way way, char *url, size_t size)
{
    outbox_conf *conf = NULL;

    if (CHECK(outbox_conf_new(&conf, NULL) == OUTBOX_OK, "no conf"))
        b->kind->url(b, way, url, size, conf);
    return conf;
}

static void set(outbox_conf *conf, const char *key, const char *value)
{
    outbox_error *err = NULL;

    CHECK(outbox_conf_set(conf, key, value, &err) == OUTBOX_OK, "%s", outbox_error_message(err));
    outbox_error_free(err);
}

/* Opens the publisher for a parcel; key may be NULL. */
int broker_open(struct parcel *p, struct broker *b, enum broker_way way, const char *key, const char *value)
{
    char url[300];
    outbox_conf *conf = make_conf(b, way, url, sizeof url);
    int rc;

    if (conf == NULL)
        return -1;
    if (key != NULL)
        set(conf, key, value);
    rc = outbox_publisher_open(url, conf, &p->publisher, &p->err);
    outbox_conf_free(conf);
    return CHECK(rc == OUTBOX_OK, "%s: %s", url, outbox_error_message(p->err)) ? 0 : -1;
}

int broker_prepare(struct parcel *p, struct broker *b, const char *topic, size_t count, int keys)
{
    memset(p, 0, sizeof *p);
    return CHECK_INT(b->kind->make(b, topic, 0), 0) && parcel_make(p, topic, 0, count, keys) == 0 &&
           broker_open(p, b, BROKER_PLAIN, NULL, NULL) == 0;
}

/* ---- All that goes well ---- */

static void test_many(struct broker *b)
{
    struct parcel p;
    struct ledger l;

    REQUIRE(broker_prepare(&p, b, "many", MANY, KEYS), "not prepared");
    for (size_t i = 0; i < MANY; i += BATCH)
        CHECK_INT(parcel_send(&p, i, BATCH, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), MANY);
    ledger_read(&l, b, "many", MANY, KEYS);
    CHECK_INT(l.distinct, MANY);
    CHECK_INT(l.repeated, 0);
    ledger_free(&l);
    parcel_free(&p);
}

/* What the publisher is compared with (broker_bench.c) sends the same; in no order of keys, which it need not keep. */
static void test_baseline(struct broker *b)
{
    struct parcel p = {0};
    struct ledger l;

    if (b->kind->baseline == NULL) {
        tap_skip("nothing to compare with");
        return;
    }
    REQUIRE_INT(b->kind->make(b, "alone", 0), 0);
    REQUIRE_INT(parcel_make(&p, "alone", 0, 500, 500), 0);
    CHECK_INT(b->kind->baseline(b, "alone", &p, 64), 0);
    ledger_read(&l, b, "alone", 500, 500);
    CHECK_INT(l.distinct, 500);
    CHECK_INT(l.repeated, 0);
    ledger_free(&l);
    parcel_free(&p);
}

/* What one message had, kept for a look. */
struct kept {
    struct taken taken;
    char *payload, *texts[2 * TAKEN_METAS];
    long count;
};

static void keep(void *user, const struct taken *t)
{
    struct kept *k = user;

    if (k->count++ > 0)
        return;
    k->taken.size = t->size;
    k->taken.payload = k->payload = malloc(t->size + 1);
    memcpy(k->payload, t->payload, t->size);
    k->payload[t->size] = '\0';
    for (size_t i = 0; i < t->count; i++) {
        k->texts[2 * i] = strdup(t->metas[i].name);
        k->texts[2 * i + 1] = strdup(t->metas[i].value);
        taken_add(&k->taken, k->texts[2 * i], k->texts[2 * i + 1]);
    }
}

static void kept_free(struct kept *k)
{
    free(k->payload);
    for (size_t i = 0; i < COUNT_OF(k->texts); i++)
        free(k->texts[i]);
}

/* Sends one message with settings, and takes it from its topic. */
static int send_one(struct broker *b, struct parcel *p, struct kept *k, const char *topic, const char *key,
                    const char *value)
{
    memset(p, 0, sizeof *p);
    memset(k, 0, sizeof *k);
    if (!CHECK_INT(b->kind->make(b, topic, 0), 0) || parcel_make(p, topic, 20, 1, KEYS) != 0 ||
        broker_open(p, b, BROKER_PLAIN, key, value) != 0)
        return 0;
    CHECK_INT(parcel_send(p, 0, 1, 60000), DELIVERY_DONE);
    CHECK(p->items[0].fate == FATE_PUBLISHED, "%s", p->why);
    CHECK_INT(b->kind->consume(b, topic, keep, k), 1);
    return k->count == 1;
}

static void expect(const struct kept *k, const char *prefix, const char *name, const char *want)
{
    char whole[80];
    const char *got;

    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    got = taken_meta(&k->taken, whole);
    CHECK(got != NULL && strcmp(got, want) == 0, "%s is \"%s\", not \"%s\"", whole, got != NULL ? got : "(none)", want);
}

static void test_metadata(struct broker *b)
{
    static const char *const want[][2] = {
        { "outbox-id", "0190aaaa-bbbb-7ccc-8ddd-000000000014" }, { "content-type", "application/octet-stream" },
        { "outbox-type", "thing.made" }, { "outbox-key", "k20" }, { "outbox-created-at", "2026-01-01T00:00:00.000020Z" },
        { "outbox-token", "3:7" }, { "outbox-attempt", "1" }, { "n", "20" },
        { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }, { "x-text", "gr\xc3\xbc\xc3\x9f" },
        { "tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" },
    };
    struct parcel p;
    struct kept k;

    if (send_one(b, &p, &k, "meta", NULL, NULL)) {
        for (size_t i = 0; i < COUNT_OF(want); i++)
            expect(&k, "", want[i][0], want[i][1]);
        CHECK_INT(k.taken.size, 20 * 37 % 800);
    }
    kept_free(&k);
    parcel_free(&p);
}

static void test_cloudevents(struct broker *b)
{
    static const char *const want[][2] = {
        { "specversion", "1.0" }, { "id", "0190aaaa-bbbb-7ccc-8ddd-000000000014" }, { "source", "/outbox" },
        { "type", "thing.made" }, { "time", "2026-01-01T00:00:00.000020Z" }, { "partitionkey", "k20" },
    };
    /* Beside the event they are headers, as always; in it, attributes. */
    static const char *const traces[][2] = {
        { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
        { "tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" },
    };
    struct parcel p;
    struct kept k;

    if (send_one(b, &p, &k, "binary", "cloudevents", "binary")) {
        for (size_t i = 0; i < COUNT_OF(want); i++)
            expect(&k, b->kind->cloudevents, want[i][0], want[i][1]);
        expect(&k, "", "content-type", "application/octet-stream");
        CHECK(k.taken.size == p.items[0].record.payload_size &&
              memcmp(k.payload, p.items[0].record.payload, k.taken.size) == 0, "the payload is another one");
    }
    kept_free(&k);
    parcel_free(&p);
    if (send_one(b, &p, &k, "structured", "cloudevents", "structured")) {
        json_t *event = json_loads(k.payload, 0, NULL);

        for (size_t i = 0; i < COUNT_OF(want); i++)
            CHECK_STR(json_string_value(json_object_get(event, want[i][0])), want[i][1]);
        for (size_t i = 0; i < COUNT_OF(traces); i++) {
            CHECK_STR(json_string_value(json_object_get(event, traces[i][0])), traces[i][1]);
            expect(&k, "", traces[i][0], traces[i][1]);
        }
        CHECK_STR(json_string_value(json_object_get(event, "datacontenttype")), "application/octet-stream");
        CHECK(json_string_length(json_object_get(event, "data_base64")) == (20 * 37 % 800 + 2) / 3 * 4, "data_base64");
        expect(&k, "", "content-type", "application/cloudevents+json; charset=utf-8");
        json_decref(event);
    }
    kept_free(&k);
    parcel_free(&p);
}

static void test_mapping(struct broker *b)
{
    struct parcel p;
    struct ledger l;

    memset(&p, 0, sizeof p);
    REQUIRE_INT(b->kind->make(b, "shop.orders", 0), 0);
    REQUIRE(parcel_make(&p, "orders", 0, 10, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "topic.map", "orders=shop.{topic},*=other") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 10);
    ledger_read(&l, b, "shop.orders", 10, 0);
    CHECK_INT(l.distinct, 10);
    ledger_free(&l);
    parcel_free(&p);
}

/* ---- Messages that must not pass ---- */

/* The middle one of its key is refused: those before are there, those behind are not, all other keys are. */
static void check_middle(struct broker *b, struct parcel *p, const char *topic, size_t middle)
{
    struct ledger l;
    long left = 0;

    for (size_t i = 0; i < p->count; i++) {
        int behind = i > middle && p->items[i].key_hash == p->items[middle].key_hash;
        enum fate want = i == middle ? FATE_REJECT : behind ? FATE_NONE : FATE_PUBLISHED;

        CHECK(p->items[i].fate == want && !p->items[i].unanswered, "message %zu: fate %d, not %d", i,
              (int)p->items[i].fate, (int)want);
        left += want != FATE_PUBLISHED;
    }
    ledger_read(&l, b, topic, (long)p->count, 5);
    CHECK_INT(l.distinct, (long)p->count - left);
    CHECK_INT(l.repeated, 0);
    CHECK(!l.has[middle], "what was refused is there");
    ledger_free(&l);
}

static void test_too_large(struct broker *b)
{
    static char large[5000];
    struct parcel p = {0};

    if (b->kind->limit == NULL) {
        tap_skip("no limit");
        return;
    }
    REQUIRE_INT(b->kind->make(b, "large", 0), 0);
    REQUIRE(parcel_make(&p, "large", 0, 100, 5) == 0 && broker_open(&p, b, BROKER_PLAIN, b->kind->limit, "1000") == 0,
            "not prepared");
    p.items[47].record.payload = large;
    p.items[47].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK(strstr(p.why, b->kind->limit) != NULL, "\"%s\" does not name %s", p.why, b->kind->limit);
    check_middle(b, &p, "large", 47);
    parcel_free(&p);
}

static void test_injection(struct broker *b)
{
    struct parcel p;

    REQUIRE(broker_prepare(&p, b, "injected", 100, 5), "not prepared");
    p.items[47].record.headers[2].value = "a\r\nevil: yes";
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK_STR(p.why, "the value of the header \"x-text\" has a control character in it, such as a line break");
    check_middle(b, &p, "injected", 47);
    parcel_free(&p);
}

/* A topic that the server refuses messages for: it says why, and the others pass. */
static void test_refused(struct broker *b)
{
    struct parcel p;
    struct ledger l;

    REQUIRE(broker_prepare(&p, b, "taken", 100, 5), "not prepared");
    REQUIRE_INT(b->kind->make(b, "refusing", 1), 0);
    for (size_t i = 40; i < 60; i++) {
        p.items[i].record.topic = "refusing";
        p.items[i].record.partition_key = NULL;
        p.items[i].key_hash = 0;
    }
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_REJECT), 20);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 80);
    for (size_t i = 40; i < 60; i++)
        CHECK_INT(p.items[i].fate, FATE_REJECT);
    CHECK(p.why[0] != '\0', "no reason");
    tap_note("refused: %s", p.why);
    ledger_read(&l, b, "taken", 100, 5);
    CHECK_INT(l.distinct, 80);
    ledger_free(&l);
    parcel_free(&p);
}

/* ---- Who is who ---- */

static void refused_way(struct broker *b, enum broker_way way)
{
    struct parcel p = {0};

    REQUIRE_INT(b->kind->make(b, "nobody", 0), 0);
    REQUIRE(parcel_make(&p, "nobody", 0, 10, 0) == 0 && broker_open(&p, b, way, NULL, NULL) == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_UNAVAILABLE);
    CHECK_INT(parcel_count(&p, FATE_NONE), 10);
    CHECK(p.why[0] != '\0' && strstr(p.why, "s3cr3t") == NULL, "what is said: %s", p.why);
    tap_note("%s", p.why);
    parcel_free(&p);
}

static void test_password(struct broker *b)
{
    if (!(b->kind->flags & BROKER_PASSWORD))
        tap_skip("no passwords");
    else
        refused_way(b, BROKER_WRONG_PASSWORD);
}

static void test_tls(struct broker *b)
{
    struct parcel p = {0};
    struct ledger l;

    if (!(b->kind->flags & BROKER_TLS)) {
        tap_skip("no TLS");
        return;
    }
    REQUIRE_INT(b->kind->make(b, "tls", 0), 0);
    REQUIRE(parcel_make(&p, "tls", 0, 1000, KEYS) == 0 && broker_open(&p, b, BROKER_BY_TLS, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
    CHECK(parcel_count(&p, FATE_PUBLISHED) == 1000, "%s", p.why);
    ledger_read(&l, b, "tls", 1000, KEYS);
    CHECK_INT(l.distinct, 1000);
    ledger_free(&l);
    parcel_free(&p);
}

static void test_wrong_name(struct broker *b)
{
    if (!(b->kind->flags & BROKER_TLS)) {
        tap_skip("no TLS");
        return;
    }
    refused_way(b, BROKER_WRONG_NAME);
    refused_way(b, BROKER_WRONG_CA);
}

/* By an address that is not in the certificate, and with the name that is. */
static void test_server_name(struct broker *b)
{
    struct parcel p = {0};
    char key[60];

    if (!(b->kind->flags & BROKER_TLS) || b->kind->flags & BROKER_TOLD_NAMES) {
        tap_skip("no TLS, or each server is known by the name that it tells");
        return;
    }
    snprintf(key, sizeof key, "%.*s.tls.server_name", (int)strcspn(b->kind->limit, "."), b->kind->limit);
    REQUIRE_INT(b->kind->make(b, "tls", 0), 0);
    REQUIRE(parcel_make(&p, "tls", 0, 10, 0) == 0 && broker_open(&p, b, BROKER_WRONG_NAME, key, "localhost") == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK(parcel_count(&p, FATE_PUBLISHED) == 10, "%s", p.why);
    parcel_free(&p);
}

/* With the client's key in a file that has a password; what is said when it cannot be opened. */
static int open_locked(struct parcel *p, struct broker *b, const char *password)
{
    char url[300], key[60], path[200];
    int size = (int)strcspn(b->kind->limit, "."), rc;
    outbox_conf *conf = make_conf(b, BROKER_BY_TLS, url, sizeof url);

    snprintf(path, sizeof path, "%s/locked.key", b->directory);
    snprintf(key, sizeof key, "%.*s.tls.key_file", size, b->kind->limit);
    set(conf, key, path);
    snprintf(key, sizeof key, "%.*s.tls.key_password", size, b->kind->limit);
    set(conf, key, password);
    rc = outbox_publisher_open(url, conf, &p->publisher, &p->err);
    outbox_conf_free(conf);
    if (rc != OUTBOX_OK)
        snprintf(p->why, sizeof p->why, "%s", outbox_error_message(p->err));
    return rc;
}

static void test_locked_key(struct broker *b)
{
    static const char *const passwords[] = { BROKER_KEY_PASSWORD, "s3cr3t" };
    int keys = !(b->kind->flags & BROKER_OPEN_KEYS);

    if (!(b->kind->flags & BROKER_TLS)) {
        tap_skip("no TLS");
        return;
    }
    REQUIRE_INT(b->kind->make(b, "tls", 0), 0);
    for (size_t i = 0; i < COUNT_OF(passwords); i++) {
        struct parcel p = {0};
        int good = i == 0 && keys, rc;

        REQUIRE_INT(parcel_make(&p, "tls", 0, 10, 0), 0);
        rc = open_locked(&p, b, passwords[i]);
        CHECK(rc == OUTBOX_OK || !good, "%s", p.why);
        CHECK(rc != OUTBOX_OK || keys, "it opens a key with a password");
        if (rc == OUTBOX_OK)
            CHECK_INT(parcel_send(&p, 0, 10, 60000), good ? DELIVERY_DONE : DELIVERY_UNAVAILABLE);
        CHECK(parcel_count(&p, good ? FATE_PUBLISHED : FATE_NONE) == 10, "%s", p.why);
        CHECK(good || (p.why[0] != '\0' && strstr(p.why, passwords[i]) == NULL), "what is said: %s", p.why);
        if (!good)
            tap_note("%s", p.why);
        parcel_free(&p);
    }
}

/* ---- */

static const struct broker_test tests[] = {
    { "many messages, byte for byte and in order", test_many },
    { "the client library alone sends the same", test_baseline },
    { "metadata as documented", test_metadata },
    { "CloudEvents, binary and structured", test_cloudevents },
    { "topics are mapped", test_mapping },
    { "one that is too large", test_too_large },
    { "one with a line break in a header", test_injection },
    { "a topic that the server refuses", test_refused },
    { "a name server that does not answer", broker_test_silent_name },
    { "a wrong password", test_password },
    { "TLS", test_tls },
    { "TLS with a wrong name, and a wrong authority", test_wrong_name },
    { "TLS with the name that a setting says", test_server_name },
    { "TLS with a key that has a password", test_locked_key },
    { NULL, NULL },
};

static void run_all(struct broker *b, const struct broker_test *test, const char *only)
{
    for (; test != NULL && test->name != NULL; test++) {
        if (only != NULL && strstr(test->name, only) == NULL)
            continue;
        tap_begin("%s: %s", b->kind->name, test->name);
        test->run(b);
        tap_end();
    }
}

int broker_installed(const char *program)
{
    char command[200];

    snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin:/usr/lib/rabbitmq/bin command -v %s >/dev/null", program);
    return system(command) == 0;
}

int broker_main(const struct broker_kind *kind, int argc, char **argv)
{
    struct broker b = { .kind = kind };
    char command[100];

    if (kind->program != NULL && !broker_installed(kind->program)) {
        if (getenv("OUTBOX_TEST_REQUIRE") == NULL)
            return tap_skip_all("%s is not installed", kind->program);
        printf("not ok - %s is not installed\n", kind->program);
        return 1;
    }
    snprintf(b.directory, sizeof b.directory, "/tmp/outbox-broker-XXXXXX");
    if (mkdtemp(b.directory) == NULL || kind->start(&b) != 0 || kind->wait(&b) != 0) {
        printf("not ok - %s does not start; see %s/log\n", kind->name, b.directory);
        broker_kill(&b);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        tap_begin("%s: the publisher beside its client library", kind->name);
        broker_bench(&b);
        tap_end();
    }
    run_all(&b, tests, argc > 1 ? argv[1] : NULL);
    run_all(&b, broker_trouble, argc > 1 ? argv[1] : NULL);
    run_all(&b, kind->tests, argc > 1 ? argv[1] : NULL);
    if (argc > 1 || getenv("OUTBOX_TEST_BROKERS") != NULL || test_long())
        run_all(&b, kind->later, argc > 1 ? argv[1] : NULL);
    broker_kill(&b);
    snprintf(command, sizeof command, "rm -rf -- '%s'", b.directory);
    if (getenv("OUTBOX_TEST_KEEP") == NULL && system(command) != 0)
        tap_note("could not remove %s", b.directory);
    return tap_finish();
}
