/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The publisher for Kafka beyond what all publishers have to do: errors that a cluster makes, batches that are refused
 * for one message, clusters that go and come back, and where a key goes.
 */
#define _GNU_SOURCE
#include "broker.h"
#include "kafka.h"

#include "batch_internal.h"
#include "delivery.h"
#include "lane.h"

#include <librdkafka/rdkafka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRODUCE = 0 };

static int prepare(struct parcel *p, struct broker *b, const char *topic, size_t count, int keys, const char *setting,
                   const char *value)
{
    memset(p, 0, sizeof *p);
    return kafka_make(b, topic, 0) == 0 && parcel_make(p, topic, 0, count, keys) == 0 &&
           broker_open(p, b, BROKER_PLAIN, setting, value) == 0;
}

static void check_there(struct broker *b, struct parcel *p, const char *topic, int keys, long want, long repeated)
{
    struct ledger l;

    ledger_read(&l, b, topic, (long)p->count, keys);
    CHECK_INT(l.distinct, want);
    if (repeated >= 0)
        CHECK_INT(l.repeated, repeated);
    for (size_t i = 0; i < p->count; i++)
        CHECK(l.has[i] || p->items[i].fate != FATE_PUBLISHED, "message %zu counts as published and is not there", i);
    ledger_free(&l);
}

/* A batch is refused for what may be one message's fault: its messages pass one at a time. */
static void test_refused_batch(struct broker *b)
{
    struct parcel p;

    REQUIRE(prepare(&p, b, "batch", 500, 0, NULL, NULL), "not prepared");
    REQUIRE_INT(kafka_tell(b, "errors %d %d 1", PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE), 0);
    CHECK_INT(parcel_send(&p, 0, 500, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 500);
    check_there(b, &p, "batch", 0, 500, 0);
    parcel_free(&p);
}

/* One that is refused alone, too, is rejected with the cluster's words; those behind it of its key wait. */
static void test_refused_alone(struct broker *b)
{
    struct parcel p;

    REQUIRE(prepare(&p, b, "alone", 3, 1, NULL, NULL), "not prepared");
    /* In its batch, and then alone. */
    REQUIRE_INT(kafka_tell(b, "errors %d %d 2", PRODUCE, RD_KAFKA_RESP_ERR_INVALID_RECORD), 0);
    CHECK_INT(parcel_send(&p, 0, 3, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[0].fate, FATE_REJECT);
    CHECK(strstr(p.why, "INVALID_RECORD") != NULL, "%s", p.why);
    CHECK_INT(p.items[1].fate, FATE_NONE);
    CHECK_INT(p.items[2].fate, FATE_NONE);
    check_there(b, &p, "alone", 1, 0, 0);
    /* The next delivery goes on as if nothing had been. */
    CHECK_INT(parcel_send(&p, 1, 2, 60000), DELIVERY_DONE);
    check_there(b, &p, "alone", 1, 2, 0);
    parcel_free(&p);
}

/* What is no fault of a message: the producer goes on by itself, once only each, in order. */
static void test_passing_errors(struct broker *b)
{
    static const int errors[] = { RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                                  RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT };
    char topic[30];

    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct parcel p;

        snprintf(topic, sizeof topic, "passing%zu", i);
        REQUIRE(prepare(&p, b, topic, 1000, 13, NULL, NULL), "not prepared");
        REQUIRE_INT(kafka_tell(b, "errors %d %d 3", PRODUCE, errors[i]), 0);
        CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
        CHECK(parcel_count(&p, FATE_PUBLISHED) == 1000, "error %d: %zu published, %s", errors[i],
              parcel_count(&p, FATE_PUBLISHED), p.why);
        check_there(b, &p, topic, 13, 1000, 0);
        parcel_free(&p);
    }
}

/* A right that is missing can be granted: nothing is rejected. Also what librdkafka drops for it, unsent, which depends on the
 * moment, says why. */
static void test_no_right(struct broker *b)
{
    for (int i = 0; i < 5; i++) {
        struct parcel p;
        char topic[20];

        snprintf(topic, sizeof topic, "right%d", i);
        REQUIRE(prepare(&p, b, topic, 10, 0, NULL, NULL), "not prepared");
        REQUIRE_INT(kafka_tell(b, "errors %d %d 100", PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), 0);
        CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
        CHECK_INT(parcel_count(&p, FATE_RETRY), 10);
        CHECK(strstr(p.why, "TOPIC_AUTHORIZATION_FAILED") != NULL, "%s", p.why);
        REQUIRE_INT(kafka_tell(b, "errors %d 0 0", PRODUCE), 0);
        CHECK(parcel_send_all(&p, 10), "%s", p.why);
        check_there(b, &p, topic, 0, 10, 0);
        parcel_free(&p);
    }
}

/* A name that is none is refused without asking anybody. */
static void test_bad_names(struct broker *b)
{
    static const char *const names[] = { "a b", "gr\xc3\xbc\xc3\x9f", "..", "a/b" };
    struct parcel p;

    REQUIRE(prepare(&p, b, "names", COUNT_OF(names) + 1, 0, NULL, NULL), "not prepared");
    for (size_t i = 0; i < COUNT_OF(names); i++)
        p.items[i].record.topic = names[i];
    CHECK_INT(parcel_send(&p, 0, p.count, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_REJECT), COUNT_OF(names));
    CHECK_INT(p.items[COUNT_OF(names)].fate, FATE_PUBLISHED);
    CHECK(strstr(p.why, "topic.map") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* Larger than the producer's own limit: it alone. */
static void test_own_limit(struct broker *b)
{
    static char large[20000];
    struct parcel p;

    REQUIRE(prepare(&p, b, "limit", 20, 0, "kafka.message.max.bytes", "10000"), "not prepared");
    p.items[7].record.payload = large;
    p.items[7].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 20, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[7].fate, FATE_REJECT);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 19);
    CHECK(strstr(p.why, "kafka.message.max.bytes") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* Tells the cluster something as soon as some messages are there, and many are not. */
struct helper {
    struct broker *b;
    const char *topic;
    const char *first, *then; /* what it is told */
    pthread_t thread;
    long seen;
    int enough;
};

static void count_some(void *user, const struct taken *t)
{
    struct helper *h = user;

    (void)t;
    h->enough = ++h->seen == 50;
}

static void *help(void *user)
{
    struct helper *h = user;
    int there;

    WAIT_FOR((h->seen = 0, kafka_consume_until(h->b, h->topic, count_some, h, &h->enough), h->enough), there);
    if (CHECK(there, "nothing came"))
        kafka_tell(h->b, "%s", h->first);
    if (there && h->then != NULL)
        kafka_tell(h->b, "%s", h->then);
    return NULL;
}

/* A cluster that crashes and comes back with what it had: the producer goes on by itself, and nobody hears of it. */
static void test_comes_back(struct broker *b)
{
    struct helper h = { .b = b, .topic = "back", .first = "down -1", .then = "up -1" };
    struct parcel p;

    REQUIRE(prepare(&p, b, "back", 5000, 29, "kafka.connect_timeout", "60s"), "not prepared");
    REQUIRE_INT(kafka_tell(b, "slow %d 500 20", PRODUCE), 0);
    pthread_create(&h.thread, NULL, help, &h);
    CHECK_INT(parcel_send(&p, 0, p.count, 120000), DELIVERY_DONE);
    pthread_join(h.thread, NULL);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), p.count);
    check_there(b, &p, "back", 29, (long)p.count, -1);
    parcel_free(&p);
}

/* One that stays away: each message is published and there, or unknown, or was not sent; then all go in order. */
static void test_stays_away(struct broker *b)
{
    struct helper h = { .b = b, .topic = "away", .first = "down -1" };
    int outcome;
    struct parcel p;
    struct ledger l;

    REQUIRE(prepare(&p, b, "away", 5000, 29, NULL, NULL), "not prepared");
    REQUIRE_INT(kafka_tell(b, "slow %d 500 20", PRODUCE), 0);
    pthread_create(&h.thread, NULL, help, &h);
    /* Unavailable, unless something was on its way just then, and is answered as unknown. */
    outcome = parcel_send(&p, 0, p.count, 120000);
    pthread_join(h.thread, NULL);
    CHECK(outcome == DELIVERY_UNAVAILABLE || parcel_count(&p, FATE_UNKNOWN) > 0, "outcome %d", outcome);
    CHECK(parcel_count(&p, FATE_PUBLISHED) < p.count, "it was not in the middle");
    CHECK(strstr(p.why, "no broker can be reached") != NULL, "%s", p.why);
    CHECK_INT(parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    REQUIRE_INT(kafka_tell(b, "up -1"), 0);
    ledger_read(&l, b, "away", (long)p.count, 29);
    for (size_t i = 0; i < p.count; i++) {
        CHECK(l.has[i] || p.items[i].fate != FATE_PUBLISHED, "message %zu was acknowledged and is lost", i);
        CHECK(!l.has[i] || p.items[i].fate == FATE_PUBLISHED || p.items[i].fate == FATE_UNKNOWN,
              "message %zu is there, and its fate is %d", i, (int)p.items[i].fate);
    }
    ledger_free(&l);
    CHECK(parcel_send_all(&p, 1000), "%s", p.why);
    check_there(b, &p, "away", 29, (long)p.count, -1);
    parcel_free(&p);
}

/* One partition without a leader: its messages wait, and the others of the delivery do not. */
static void test_no_leader(struct broker *b)
{
    struct parcel p;
    size_t n;

    REQUIRE(prepare(&p, b, "headless", 400, 97, "kafka.message.timeout.ms", "1500"), "not prepared");
    REQUIRE_INT(kafka_tell(b, "leader headless 2 -1"), 0);
    parcel_send(&p, 0, 400, 60000);
    n = parcel_count(&p, FATE_PUBLISHED);
    CHECK(n > 0 && n < 400, "%zu published", n);
    CHECK_INT(parcel_count(&p, FATE_REJECT), 0);
    CHECK(parcel_count(&p, FATE_RETRY) > 0, "%s", p.why);
    REQUIRE_INT(kafka_tell(b, "leader headless 2 1"), 0);
    CHECK(parcel_send_all(&p, 400), "%s", p.why);
    check_there(b, &p, "headless", 97, 400, 0);
    parcel_free(&p);
}

/* ---- Where a message goes ---- */

/* As the clients for Java have it: murmur2 of the key, its sign bit cleared, modulo the partitions. */
static uint32_t murmur2(const char *key)
{
    size_t size = strlen(key), i;
    uint32_t h = 0x9747b28cU ^ (uint32_t)size;

    for (i = 0; i + 4 <= size; i += 4) {
        const unsigned char *at = (const unsigned char *)key + i;
        uint32_t k = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;

        k *= 0x5bd1e995U;
        k ^= k >> 24;
        h = h * 0x5bd1e995U ^ k * 0x5bd1e995U;
    }
    for (size_t left = size % 4; left > 0; left--)
        h ^= (uint32_t)(unsigned char)key[i + left - 1] << (8 * (left - 1));
    if (size % 4 != 0)
        h *= 0x5bd1e995U;
    h ^= h >> 13;
    h *= 0x5bd1e995U;
    return h ^ h >> 15;
}

/* The keys of a partition. */
static long keys_of_partition(const char *topic, int partition, int (*check)(const char *key, int partition))
{
    char key[300];
    rd_kafka_t *rk = kafka_consumer();
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    long n = 0;
    int at_end = 0;

    rd_kafka_consume_start(handle, partition, RD_KAFKA_OFFSET_BEGINNING);
    while (!at_end) {
        rd_kafka_message_t *m = rd_kafka_consume(handle, partition, 1000);

        if (m == NULL)
            continue;
        at_end = m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
        if (!at_end) {
            snprintf(key, sizeof key, "%.*s", (int)m->key_len, m->key != NULL ? (const char *)m->key : "");
            n += check(m->key != NULL ? key : NULL, partition);
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consume_stop(handle, partition);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(rk);
    return n;
}

static int is_javas(const char *key, int partition)
{
    /* Some of the messages have none. */
    return key == NULL ||
           CHECK((int)((murmur2(key) & 0x7fffffffU) % 4) == partition, "key %s is in partition %d", key, partition);
}

static int has_no_key(const char *key, int partition)
{
    (void)partition;
    return CHECK(key == NULL, "a key: %s", key);
}

static void test_places(struct broker *b)
{
    struct parcel p;
    long n = 0, used = 0;

    /* Known values, of Kafka's own tests. */
    CHECK_INT((int32_t)murmur2("21"), -973932308);
    CHECK_INT((int32_t)murmur2("foobar"), -790332482);
    REQUIRE(prepare(&p, b, "keyed", 500, 97, NULL, NULL), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 500, 60000), DELIVERY_DONE);
    for (int i = 0; i < 4; i++)
        n += keys_of_partition("keyed", i, is_javas);
    CHECK_INT(n, 500);
    parcel_free(&p);
    REQUIRE(prepare(&p, b, "keyless", 500, 0, "kafka.sticky.partitioning.linger.ms", "0"), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 500, 60000), DELIVERY_DONE);
    for (int i = 0; i < 4; i++)
        used += keys_of_partition("keyless", i, has_no_key) > 0;
    CHECK(used == 4, "%ld partitions are used", used);
    parcel_free(&p);
}

/* ---- Settings and trouble before anything is sent ---- */

static void expect_refusal(const char *url, const char *key, const char *value, const char *says)
{
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;
    outbox_conf *conf = NULL;
    int rc;

    outbox_conf_new(&conf, NULL);
    rc = outbox_conf_set(conf, key, value, &err);
    if (rc == OUTBOX_OK)
        rc = outbox_publisher_open(url, conf, &publisher, &err);
    CHECK(rc != OUTBOX_OK && strstr(outbox_error_message(err), says) != NULL, "%s = %s: \"%s\" is not in: %s", key,
          value, says, outbox_error_message(err));
    CHECK(strstr(outbox_error_message(err), "s3cr3t") == NULL, "a secret: %s", outbox_error_message(err));
    outbox_error_free(err);
    outbox_conf_free(conf);
    outbox_publisher_free(publisher);
}

/* In front of librdkafka's: what the module sets of SASL, which a librdkafka without libcurl would refuse. */
static char said[600];
static int listening;

OUTBOX_API rd_kafka_conf_res_t rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *why,
                                                 size_t size)
{
    rd_kafka_conf_res_t (*real)(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
    void *symbol = dlsym(RTLD_NEXT, "rd_kafka_conf_set");

    memcpy(&real, &symbol, sizeof real);
    if (!listening || (strncmp(name, "sasl.", 5) != 0 && strcmp(name, "security.protocol") != 0))
        return real(conf, name, value, why, size);
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s=%s\n", name, value);
    return RD_KAFKA_CONF_OK;
}

static void expect_said(const char *url, const char *key, const char *value, const char *want)
{
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;
    outbox_conf *conf = NULL;

    outbox_conf_new(&conf, NULL);
    CHECK_INT(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK);
    said[0] = '\0';
    listening = 1;
    CHECK(outbox_publisher_open(url, conf, &publisher, &err) == OUTBOX_OK, "%s", outbox_error_message(err));
    listening = 0;
    CHECK_STR(said, want);
    outbox_error_free(err);
    outbox_conf_free(conf);
    outbox_publisher_free(publisher);
}

/* Which settings of librdkafka come of a user with a password, and of a client with a secret. */
static void test_login(struct broker *b)
{
    char path[120];

    REQUIRE_INT(broker_write(b, "client.secret", "s3cr3t\n"), 0);
    snprintf(path, sizeof path, "%s/client.secret", b->directory);
    expect_said("kafka://127.0.0.1:1", "kafka.linger.ms", "5", "security.protocol=plaintext\n");
    expect_said("kafka://me@127.0.0.1:1", "kafka.password_file", path,
                "security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN\nsasl.username=me\nsasl.password=s3cr3t\n");
    expect_said("kafkas://me@127.0.0.1:1", "kafka.client_secret_file", path,
                "security.protocol=sasl_ssl\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n"
                "sasl.oauthbearer.client.id=me\nsasl.oauthbearer.client.secret=s3cr3t\n");
    /* To be used, it needs one more setting; and a librdkafka that can do it, or says that it cannot. */
    expect_refusal("kafka://me@127.0.0.1:1", "kafka.client_secret", "s3cr3t", "oauthbearer");
}

static void test_settings(struct broker *b)
{
    (void)b;
    expect_refusal("kafka://127.0.0.1:1", "kafka.acks", "1", "kafka.acks");
    expect_refusal("kafka://127.0.0.1:1", "kafka.transactional.id", "x", "transactional.id");
    expect_refusal("kafka://127.0.0.1:1", "kafka.no.such.thing", "x", "no.such.thing");
    expect_refusal("kafka://127.0.0.1:1", "kafka.linger.ms", "fast", "linger.ms");
    expect_refusal("kafka://127.0.0.1:1", "kafka.sasl.password", "s3cr3t", "kafka.password");
    expect_refusal("kafka://127.0.0.1:1", "kafka.sasl.oauthbearer.client.secret", "s3cr3t", "kafka.client_secret");
    expect_refusal("kafka://me:pw@127.0.0.1:1", "kafka.client_secret", "s3cr3t", "take one away");
    expect_refusal("kafka://127.0.0.1:1/topic", "kafka.linger.ms", "5", "path");
    expect_refusal("kafkas://127.0.0.1:1", "kafka.tls.ca_file", "/nonexistent.pem", "ssl.ca.location");
    expect_refusal("kafka://127.0.0.1:1", "kafka.max.in.flight", "100", "max.in.flight");
}

static void expect_unreachable(const char *url, const char *ca, const char *says)
{
    struct parcel p = {0};
    outbox_conf *conf = NULL;

    outbox_conf_new(&conf, NULL);
    outbox_conf_set(conf, "kafka.connect_timeout", "1s", NULL);
    if (ca != NULL)
        CHECK_INT(outbox_conf_set(conf, "kafka.tls.ca_file", ca, NULL), OUTBOX_OK);
    if (parcel_make(&p, "nobody", 0, 10, 0) == 0 &&
        CHECK(outbox_publisher_open(url, conf, &p.publisher, &p.err) == OUTBOX_OK, "%s", outbox_error_message(p.err))) {
        CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_UNAVAILABLE);
        CHECK_INT(parcel_count(&p, FATE_NONE), 10);
        CHECK(strstr(p.why, says) != NULL && strstr(p.why, "s3cr3t") == NULL, "\"%s\" is not in: %s", says, p.why);
        tap_note("%s", p.why);
    }
    outbox_conf_free(conf);
    parcel_free(&p);
}

/* The mock knows no SASL; what refuses a server is on this side. (TLS with a wrong name: tests/broker_suite.c.) */
static void test_security(struct broker *b)
{
    struct parcel p = {0};
    char url[200], ca[120];

    snprintf(url, sizeof url, "kafka://outbox:s3cr3t@127.0.0.1:%d", b->port);
    expect_unreachable(url, NULL, "SASL");
    /* A server that wants a client's certificate, and gets none. */
    snprintf(ca, sizeof ca, "%s/ca.pem", b->directory);
    snprintf(url, sizeof url, "kafkas://localhost:%d", b->tls_port);
    expect_unreachable(url, ca, "SSL");
    /* By a name that is not in the certificate, since nobody looks: the cluster then tells one that is. */
    REQUIRE(parcel_make(&p, "unverified", 0, 10, 0) == 0 &&
            broker_open(&p, b, BROKER_WRONG_NAME, "kafka.tls.verify", "off") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK(parcel_count(&p, FATE_PUBLISHED) == 10, "%s", p.why);
    parcel_free(&p);
}

/* ---- */

const struct broker_test kafka_verdicts[] = {
    { "a batch that is refused", test_refused_batch },
    { "a message that is refused alone", test_refused_alone },
    { "no right to a topic", test_no_right },
    { "names that are none", test_bad_names },
    { "settings that are refused", test_settings },
    { "who logs in", test_login },
    { NULL, NULL },
};

const struct broker_test kafka_faults[] = {
    { "errors that pass", test_passing_errors },
    { "the producer's own limit", test_own_limit },
    { "a cluster that crashes and comes back", test_comes_back },
    { "a cluster that stays away", test_stays_away },
    { "a partition without a leader", test_no_leader },
    { "where messages go", test_places },
    { "servers that are refused, and that refuse", test_security },
    { NULL, NULL },
};
