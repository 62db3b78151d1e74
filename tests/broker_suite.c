/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each publisher has to do with a real server; see broker.h. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"
#include "lane.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int prepare(struct parcel *p, struct broker *b, const char *topic, size_t count, int keys)
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

    REQUIRE(prepare(&p, b, "many", MANY, KEYS), "not prepared");
    for (size_t i = 0; i < MANY; i += BATCH)
        CHECK_INT(parcel_send(&p, i, BATCH, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), MANY);
    ledger_read(&l, b, "many", MANY, KEYS);
    CHECK_INT(l.distinct, MANY);
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

    REQUIRE(prepare(&p, b, "injected", 100, 5), "not prepared");
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

    REQUIRE(prepare(&p, b, "taken", 100, 5), "not prepared");
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

/* ---- Servers in trouble ---- */

struct assault {
    struct broker *b;
    const char *topic;
    void (*act)(struct broker *b);
    int done;
    long seen;
    pthread_t thread;
};

/* Some are acknowledged by then, however slowly the publisher runs. */
#define UNDER_WAY 200

/* As soon as some messages are there, whatever else the consumer would find: it may never catch up with the publisher. */
static void hit(void *user, const struct taken *t)
{
    struct assault *a = user;

    (void)t;
    if (++a->seen < UNDER_WAY || a->done)
        return;
    a->act(a->b);
    a->done = 1;
}

/* As soon as the first messages are there. */
static void *assault_run(void *user)
{
    struct assault *a = user;
    int there;

    WAIT_FOR((a->seen = 0, a->b->kind->consume(a->b, a->topic, hit, a), a->done), there);
    CHECK(there, "nothing came");
    return NULL;
}

/* Sends all in one delivery, so that the server is hit in the middle of it. */
static void send_under(struct assault *a, struct parcel *p, long timeout_ms)
{
    pthread_create(&a->thread, NULL, assault_run, a);
    parcel_send(p, 0, p->count, timeout_ms);
    pthread_join(a->thread, NULL);
}

static void check_all_there(struct broker *b, struct parcel *p, const char *topic)
{
    struct ledger l;

    CHECK(parcel_send_all(p, BATCH), "%zu of %zu are published: %s", parcel_count(p, FATE_PUBLISHED), p->count, p->why);
    ledger_read(&l, b, topic, (long)p->count, KEYS);
    if (b->kind->flags & BROKER_DURABLE)
        CHECK_INT(l.distinct, (long)p->count);
    if (b->kind->flags & BROKER_IDS)
        CHECK_INT(l.repeated, 0);
    tap_note("%ld of %zu messages came twice", l.repeated, p->count);
    ledger_free(&l);
}

static void test_killed(struct broker *b)
{
    struct assault a = { .b = b, .topic = "killed", .act = broker_kill };
    struct parcel p, later = {0};
    struct ledger l;

    REQUIRE(prepare(&p, b, "killed", 3 * MANY, KEYS), "not prepared");
    send_under(&a, &p, 60000);
    CHECK(parcel_count(&p, FATE_PUBLISHED) > 0 && parcel_count(&p, FATE_PUBLISHED) < p.count,
          "it was not in the middle");
    tap_note("of %zu messages %zu were published and %zu are unknown: %s", p.count, parcel_count(&p, FATE_PUBLISHED),
             parcel_count(&p, FATE_UNKNOWN), p.why);
    CHECK_INT(parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    /* Nobody is there: nothing can be said to be published, nor is anything to blame. */
    REQUIRE(parcel_make(&later, "killed", 3 * MANY, 10, KEYS) == 0 && broker_open(&later, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&later, 0, 10, 60000), DELIVERY_UNAVAILABLE);
    CHECK_INT(parcel_count(&later, FATE_NONE), 10);
    parcel_free(&later);
    REQUIRE_INT(broker_restart(b), 0);
    if (b->kind->flags & BROKER_DURABLE) {
        ledger_read(&l, b, "killed", (long)p.count, KEYS);
        for (size_t i = 0; i < p.count; i++)
            CHECK(l.has[i] || p.items[i].fate != FATE_PUBLISHED, "message %zu was acknowledged and is lost", i);
        for (size_t i = 0; i < p.count; i++)
            CHECK(!l.has[i] || p.items[i].fate == FATE_PUBLISHED || p.items[i].fate == FATE_UNKNOWN,
                  "message %zu is there, and its fate is %d", i, (int)p.items[i].fate);
        ledger_free(&l);
    }
    check_all_there(b, &p, "killed");
    parcel_free(&p);
}

static void test_hanging(struct broker *b)
{
    struct parcel p;

    REQUIRE(prepare(&p, b, "hanging", 3000, KEYS), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
    broker_pause(b);
    parcel_send(&p, 1000, 1000, 300);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 1000);
    CHECK_INT(parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    /* Connecting hangs now, too. (The same messages: no relay would send those behind them now.) */
    parcel_send(&p, 1000, 1000, 300);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 1000);
    broker_resume(b);
    check_all_there(b, &p, "hanging");
    parcel_free(&p);
}

static void test_closed_while_busy_elsewhere(struct broker *b)
{
    struct parcel p;

    REQUIRE(prepare(&p, b, "again", 2000, KEYS), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
    REQUIRE_INT(broker_restart(b), 0);
    /* The connection that is left of the server before is seen to be dead before anything is sent by it. */
    CHECK_INT(parcel_send(&p, 1000, 1000, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 2000);
    check_all_there(b, &p, "again");
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

    if (!(b->kind->flags & BROKER_TLS)) {
        tap_skip("no TLS");
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

/* ---- With a relay ---- */

#define RELAYED 3000

static int enqueue_all(struct fixture *fx, const char *topic)
{
    struct parcel p = {0};
    int ok = parcel_make(&p, topic, 0, RELAYED, KEYS) == 0 && OK(outbox_conn_begin(fx->conn, &fx->err));

    for (size_t i = 0; ok && i < RELAYED; i++) {
        const outbox_record *r = &p.items[i].record;
        outbox_message m = OUTBOX_MESSAGE_INIT;

        m.id = r->id.text;
        m.topic = topic;
        m.partition_key = r->partition_key;
        m.payload = r->payload;
        m.payload_size = r->payload_size;
        m.headers = r->headers;
        m.header_count = r->header_count;
        m.content_type = r->content_type;
        m.message_type = r->message_type;
        ok = OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    }
    ok = ok && OK(outbox_conn_commit(fx->conn, &fx->err));
    parcel_free(&p);
    return ok;
}

static void relay_through(struct fixture *fx, struct broker *b, const char *topic)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    struct assault a = { .b = b, .topic = topic, .act = broker_kill };
    struct ledger l;
    char url[300];
    int done;

    b->kind->url(b, BROKER_PLAIN, url, sizeof url, fx->conf);
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.batch_size", "50");
    fixture_set(fx, "retry.max_attempts", "1000000");
    fixture_set(fx, "breaker.wait_max", "200ms");
    MUST(outbox_publisher_open(url, fx->conf, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    MUST(outbox_relay_start(relay, &fx->err));
    assault_run(&a);
    broker_restart(b);
    WAIT_FOR(count_waiting(fx) == 0, done);
    CHECK(done, "%lld messages wait", (long long)count_waiting(fx));
    outbox_relay_stop(relay);
    OK(outbox_relay_join(relay, &fx->err));
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    ledger_read(&l, b, topic, RELAYED, KEYS);
    if (b->kind->flags & BROKER_DURABLE)
        CHECK_INT(l.distinct, RELAYED);
    tap_note("%ld of %d messages came twice", l.repeated, RELAYED);
    ledger_free(&l);
}

static void test_relay(struct broker *b)
{
    struct fixture fx;

    REQUIRE_INT(b->kind->make(b, "relayed", 0), 0);
    if (fixture_open(&fx, target_find("sqlite/position")) == 0 && enqueue_all(&fx, "relayed"))
        relay_through(&fx, b, "relayed");
    fixture_close(&fx);
}

/* ---- */

static const struct broker_test tests[] = {
    { "many messages, byte for byte and in order", test_many },
    { "metadata as documented", test_metadata },
    { "CloudEvents, binary and structured", test_cloudevents },
    { "topics are mapped", test_mapping },
    { "one that is too large", test_too_large },
    { "one with a line break in a header", test_injection },
    { "a topic that the server refuses", test_refused },
    { "a wrong password", test_password },
    { "TLS", test_tls },
    { "TLS with a wrong name, and a wrong authority", test_wrong_name },
    { "TLS with the name that a setting says", test_server_name },
    { "restarted between two deliveries", test_closed_while_busy_elsewhere },
    { "hanging", test_hanging },
    { "killed in the middle", test_killed },
    { "a relay, and the server killed meanwhile", test_relay },
    { NULL, NULL },
};

static void run_all(struct broker *b, const struct broker_test *test, const char *only)
{
    int64_t start;

    for (; test != NULL && test->name != NULL; test++) {
        if (only != NULL && strstr(test->name, only) == NULL)
            continue;
        tap_begin("%s: %s", b->kind->name, test->name);
        start = monotonic_us();
        test->run(b);
        tap_note("%.1f s", (double)(monotonic_us() - start) / SECOND_US);
        tap_end();
    }
}

static int installed(const char *program)
{
    char command[200];

    snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin:/usr/lib/rabbitmq/bin command -v %s >/dev/null", program);
    return system(command) == 0;
}

int broker_main(const struct broker_kind *kind, int argc, char **argv)
{
    struct broker b = { .kind = kind };
    char command[100];

    if (kind->program != NULL && !installed(kind->program)) {
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
    if (argc > 1 || !kind->own_later || getenv("OUTBOX_TEST_BROKERS") != NULL || test_long())
        run_all(&b, kind->tests, argc > 1 ? argv[1] : NULL);
    broker_kill(&b);
    snprintf(command, sizeof command, "rm -rf -- '%s'", b.directory);
    if (getenv("OUTBOX_TEST_KEEP") == NULL && system(command) != 0)
        tap_note("could not remove %s", b.directory);
    return tap_finish();
}
