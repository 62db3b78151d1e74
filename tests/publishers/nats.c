/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for NATS with a real server and JetStream, read back by a consumer of libnats. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nats/nats.h>

/* A quotation mark and a backslash: libnats puts it into JSON as it is. */
#define PASSWORD_CONF "pa:ss\\\"w\\\\rd"
#define PASSWORD_URL "pa%3Ass%22w%5Crd"

static int token_port, jwt_port;

/* A server's settings, and its users' credentials. */
static int make_keys(const struct broker *b)
{
    const char *source = getenv("OUTBOX_SRCDIR");
    char command[500];

    snprintf(command, sizeof command, "script=$(realpath '%s/tests/publishers/nats_keys.py') && cd %s && python3 \"$script\" %d",
             source != NULL ? source : ".", b->directory, jwt_port);
    return system(command) == 0 ? 0 : -1;
}

static int start(struct broker *b)
{
    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        token_port = broker_port();
        jwt_port = broker_port();
        if (broker_certificates(b) != 0 || make_keys(b) != 0)
            return -1;
    }
    broker_write(b, "conf",
                 "listen: \"127.0.0.1:%d\"\n"
                 "jetstream { store_dir: store }\n"
                 "authorization { users = [\n"
                 "  { user: outbox, password: \"" PASSWORD_CONF "\" }\n"
                 "  { user: reader, password: reader }\n"
                 "  { user: limited, password: limited, permissions: { publish: [\"allowed.>\"], subscribe: [\"_INBOX.>\"] } }\n"
                 "  { user: deaf, password: deaf, permissions: { publish: [\">\"], subscribe: [\"nothing\"] } }\n"
                 "] }\n", b->port);
    broker_write(b, "tls.conf",
                 "listen: \"127.0.0.1:%d\"\n"
                 "jetstream { store_dir: tls-store }\n"
                 "tls { cert_file: server.pem, key_file: server.key, ca_file: ca.pem, verify: true }\n"
                 "authorization { users = [\n"
                 "  { user: outbox, password: \"" PASSWORD_CONF "\" }\n"
                 "  { user: reader, password: reader }\n"
                 "] }\n", b->tls_port);
    broker_write(b, "token.conf", "listen: \"127.0.0.1:%d\"\nauthorization { token: \"to\\\"ken\" }\n", token_port);
    /* A server speaks TLS with all or with none, and knows users, a token or an operator: others do. */
    return broker_run(b, (const char *const[]){
        "sh", "-c", "for other in tls token jwt; do setpriv --pdeathsig KILL nats-server -c $other.conf & done; "
        "exec nats-server -c conf", NULL });
}

struct session {
    natsConnection *nc;
    jsCtx *js;
};

#define SLOW_MS 60000 /* how long a busy machine's server may take for an answer */

static void leave(struct session *s)
{
    jsCtx_Destroy(s->js);
    natsConnection_Destroy(s->nc);
}

static natsStatus set_options(const struct broker *b, natsOptions *o, int tls)
{
    char text[200];
    char cert[200], key[200];
    natsStatus s;

    snprintf(text, sizeof text, "nats://reader:reader@localhost:%d", tls ? b->tls_port : b->port);
    s = natsOptions_SetURL(o, text);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(o, SLOW_MS);
    if (s != NATS_OK || !tls)
        return s;
    snprintf(text, sizeof text, "%s/ca.pem", b->directory);
    snprintf(cert, sizeof cert, "%s/client.pem", b->directory);
    snprintf(key, sizeof key, "%s/client.key", b->directory);
    s = natsOptions_LoadCATrustedCertificates(o, text);
    return s == NATS_OK ? natsOptions_LoadCertificatesChain(o, cert, key) : s;
}

/* The topic "tls" is on the server with TLS. */
static int reach(const struct broker *b, const char *topic, struct session *s)
{
    natsOptions *options = NULL;
    jsOptions js;
    int ok;

    memset(s, 0, sizeof *s);
    jsOptions_Init(&js);
    js.Wait = SLOW_MS;
    ok = natsOptions_Create(&options) == NATS_OK && set_options(b, options, strcmp(topic, "tls") == 0) == NATS_OK &&
         natsConnection_Connect(&s->nc, options) == NATS_OK && natsConnection_JetStream(&s->js, s->nc, &js) == NATS_OK;
    natsOptions_Destroy(options);
    if (!ok)
        leave(s);
    return ok;
}

static int answers(const struct broker *b, const char *topic)
{
    struct session s;
    jsAccountInfo *info = NULL;
    int alive;

    if (!reach(b, topic, &s))
        return 0;
    alive = js_GetAccountInfo(&info, s.js, NULL, NULL) == NATS_OK;
    jsAccountInfo_Destroy(info);
    leave(&s);
    return alive;
}

static int wait(struct broker *b)
{
    int there;

    WAIT_FOR(answers(b, "") && answers(b, "tls"), there);
    return there ? 0 : -1;
}

static void set(outbox_conf *conf, const char *key, const char *value)
{
    CHECK_INT(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK);
}

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;
    char path[200];

    snprintf(text, size, "%s://outbox:%s@%s:%d", tls ? "tls" : "nats",
             way == BROKER_WRONG_PASSWORD ? "s3cr3t" : PASSWORD_URL,
             way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    if (!tls)
        return;
    snprintf(path, sizeof path, "%s/%s", b->directory, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    set(conf, "nats.tls.ca_file", path);
    snprintf(path, sizeof path, "%s/client.pem", b->directory);
    set(conf, "nats.tls.cert_file", path);
    snprintf(path, sizeof path, "%s/client.key", b->directory);
    set(conf, "nats.tls.key_file", path);
}

/* Streams have no dots in their names. */
static void stream_of(const char *topic, char *name, size_t size)
{
    snprintf(name, size, "S_%s", topic);
    for (; *name != '\0'; name++)
        *name = *name == '.' || *name == '>' ? '_' : *name;
}

static int make(struct broker *b, const char *topic, int broken)
{
    struct session s;
    jsStreamConfig config;
    char name[80];
    int ok;

    stream_of(topic, name, sizeof name);
    if (!reach(b, topic, &s))
        return -1;
    js_DeleteStream(s.js, name, NULL, NULL);
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = &topic;
    config.SubjectsLen = 1;
    config.MaxMsgSize = broken ? 1 : -1;
    ok = js_AddStream(NULL, s.js, &config, NULL, NULL) == NATS_OK;
    leave(&s);
    return ok ? 0 : -1;
}

static void hand_over(natsMsg *m, broker_take *take, void *user)
{
    struct taken taken = { .payload = natsMsg_GetData(m), .size = (size_t)natsMsg_GetDataLength(m) };
    const char **keys = NULL;
    int count = 0;

    natsMsgHeader_Keys(m, &keys, &count);
    for (int i = 0; i < count; i++) {
        const char *value = NULL;

        if (natsMsgHeader_Get(m, keys[i], &value) == NATS_OK)
            taken_add(&taken, keys[i], value);
    }
    take(user, &taken);
    free(keys);
}

static long consume_all(struct session *s, const char *name, const char *topic, broker_take *take, void *user)
{
    jsStreamInfo *info = NULL;
    jsSubOptions options;
    natsSubscription *sub = NULL;
    natsMsg *m;
    long n = 0, count;

    if (js_GetStreamInfo(&info, s->js, name, NULL, NULL) != NATS_OK)
        return -1;
    count = (long)info->State.Msgs;
    jsStreamInfo_Destroy(info);
    jsSubOptions_Init(&options);
    options.Ordered = true;
    if (count > 0 && js_SubscribeSync(&sub, s->js, topic, NULL, &options, NULL) != NATS_OK)
        return -1;
    for (; n < count && natsSubscription_NextMsg(&m, sub, 20000) == NATS_OK; n++) {
        hand_over(m, take, user);
        natsMsg_Destroy(m);
    }
    /* More may come: the reading thread has to end before what it reads for is freed. */
    natsConnection_Close(s->nc);
    natsSubscription_Destroy(sub);
    return n == count ? n : -1;
}

static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    struct session s;
    char name[80];
    long n;

    stream_of(topic, name, sizeof name);
    if (!reach(b, topic, &s))
        return -1;
    n = consume_all(&s, name, topic, take, user);
    leave(&s);
    return n;
}

/* ---- By the client library alone ---- */

struct acks {
    size_t good, bad;
};

/* On a thread of libnats; all of them are awaited before anybody looks. */
static void count_ack(jsCtx *js, natsMsg *m, jsPubAck *ack, jsPubAckErr *refusal, void *closure)
{
    struct acks *acks = closure;

    (void)js;
    acks->good += ack != NULL;
    acks->bad += refusal != NULL;
    natsMsg_Destroy(m);
}

static int publish_alone(jsCtx *js, const char *topic, const outbox_record *r)
{
    const char *metas[TAKEN_METAS][2];
    size_t size, count = parcel_metas(r, metas);
    const void *payload = outbox_record_payload(r, &size);
    natsMsg *m = NULL;
    natsStatus s = natsMsg_Create(&m, topic, NULL, payload, (int)size);

    for (size_t i = 0; i < count && s == NATS_OK; i++)
        s = natsMsgHeader_Set(m, metas[i][0], metas[i][1]);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(m, "Nats-Msg-Id", outbox_record_id(r));
    if (s == NATS_OK)
        s = js_PublishMsgAsync(js, &m, NULL);
    natsMsg_Destroy(m);
    return s == NATS_OK;
}

static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    struct session s;
    struct acks acks = { 0, 0 };
    jsOptions options;
    int good = reach(b, topic, &s);

    if (!good)
        return -1;
    jsCtx_Destroy(s.js);
    s.js = NULL;
    jsOptions_Init(&options);
    options.PublishAsync.AckHandler = count_ack;
    options.PublishAsync.AckHandlerClosure = &acks;
    good = natsConnection_JetStream(&s.js, s.nc, &options) == NATS_OK;
    for (size_t i = 0; good && i < p->count; i++) {
        good = publish_alone(s.js, topic, parcel_record(p, i));
        if (good && (i + 1 == p->count || i % window == window - 1))
            good = js_PublishAsyncComplete(s.js, NULL) == NATS_OK;
    }
    leave(&s);
    return good && acks.good == p->count && acks.bad == 0 ? 0 : -1;
}

/* ---- Its own ---- */

static int open_as(struct parcel *p, struct broker *b, const char *user, const char *mode, const char *query)
{
    char text[200];
    int rc;

    snprintf(text, sizeof text, "nats://%s:%s@127.0.0.1:%d?mode=%s%s", user, user, b->port, mode, query);
    rc = outbox_publisher_open(text, NULL, &p->publisher, &p->err);
    return CHECK(rc == OUTBOX_OK, "%s", outbox_error_message(p->err)) ? 0 : -1;
}

static void test_unroutable(struct broker *b)
{
    struct parcel p = {0};

    REQUIRE(parcel_make(&p, "no.stream", 0, 10, 3) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_RETRY) + parcel_count(&p, FATE_NONE), 10);
    CHECK_INT(p.items[0].fate, FATE_RETRY);
    CHECK(strstr(p.why, "no stream takes this subject") != NULL, "%s", p.why);
    parcel_free(&p);
}

static void test_wrong_stream(struct broker *b)
{
    struct parcel p = {0};

    REQUIRE_INT(make(b, "elsewhere", 0), 0);
    REQUIRE(parcel_make(&p, "elsewhere", 0, 1, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "nats.stream", "S_other") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[0].fate, FATE_REJECT);
    CHECK(strstr(p.why, "expected stream does not match") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* The whole parcel again, with a new publisher, as after a crash before anything was settled. */
static void test_replay(struct broker *b)
{
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(make(b, "replayed", 0), 0);
    REQUIRE(parcel_make(&p, "replayed", 0, 2000, 97) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&p, 0, 2000, 60000), DELIVERY_DONE);
    outbox_publisher_free(p.publisher);
    REQUIRE_INT(broker_restart(b), 0);
    REQUIRE_INT(broker_open(&p, b, BROKER_PLAIN, NULL, NULL), 0);
    CHECK_INT(parcel_send(&p, 0, 2000, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 2000);
    ledger_read(&l, b, "replayed", 2000, 97);
    CHECK_INT(l.distinct, 2000);
    CHECK_INT(l.repeated, 0);
    ledger_free(&l);
    parcel_free(&p);
}

/* Of 100 messages the 20 that the user may not send are rejected, in the server's words. */
static void check_permissions(struct broker *b, const char *mode)
{
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(make(b, "allowed.here", 0), 0);
    REQUIRE(parcel_make(&p, "allowed.here", 0, 100, 0) == 0 && open_as(&p, b, "limited", mode, "") == 0,
            "not prepared");
    for (size_t i = 40; i < 60; i++)
        p.items[i].record.topic = "forbidden.there";
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    for (size_t i = 0; i < 100; i++)
        CHECK_INT(p.items[i].fate, i >= 40 && i < 60 ? FATE_REJECT : FATE_PUBLISHED);
    CHECK(strstr(p.why, "Permissions Violation for Publish to \"forbidden.there\"") != NULL, "%s", p.why);
    ledger_read(&l, b, "allowed.here", 100, 0);
    CHECK_INT(l.distinct, 80);
    ledger_free(&l);
    parcel_free(&p);
}

static void test_permissions(struct broker *b)
{
    check_permissions(b, "jetstream");
}

static void test_permissions_core(struct broker *b)
{
    check_permissions(b, "core");
}

static void test_deaf(struct broker *b)
{
    struct parcel p = {0};

    REQUIRE_INT(make(b, "unheard", 0), 0);
    REQUIRE(parcel_make(&p, "unheard", 0, 10, 0) == 0 && open_as(&p, b, "deaf", "jetstream", "") == 0, "not prepared");
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_UNKNOWN), 10);
    CHECK(strstr(p.why, "Permissions Violation for Subscription") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* Subjects that mean something else to NATS, and headers by which it is told what to do. */
static void test_subjects(struct broker *b)
{
    static const char *const topics[] = { "$JS.API.STREAM.DELETE.S_kept", "_INBOX.x", "two words", "a..b", ".a", "a.", "a.*",
                                          ">", "kept" };
    struct outbox_header rollup = { "Nats-Rollup", "all" };
    struct parcel p = {0};
    struct ledger l;

    REQUIRE_INT(make(b, "kept", 0), 0);
    REQUIRE(parcel_make(&p, "kept", 0, COUNT_OF(topics) + 1, 0) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    for (size_t i = 0; i < COUNT_OF(topics); i++)
        p.items[i + 1].record.topic = topics[i];
    p.items[COUNT_OF(topics)].record.headers = &rollup;
    p.items[COUNT_OF(topics)].record.header_count = 1;
    CHECK_INT(parcel_send(&p, 0, p.count, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[0].fate, FATE_PUBLISHED);
    for (size_t i = 1; i < p.count; i++)
        CHECK(p.items[i].fate == FATE_REJECT, "message %zu has fate %d", i, (int)p.items[i].fate);
    ledger_read(&l, b, "kept", (long)p.count, 0);
    CHECK_INT(l.distinct, 1);
    ledger_free(&l);
    parcel_free(&p);
}

/* Larger than the server takes at all. */
static void test_max_payload(struct broker *b)
{
    static char large[1100000];
    struct parcel p = {0};

    REQUIRE_INT(make(b, "big", 0), 0);
    REQUIRE(parcel_make(&p, "big", 0, 10, 1) == 0 && broker_open(&p, b, BROKER_PLAIN, NULL, NULL) == 0, "not prepared");
    p.items[4].record.payload = large;
    p.items[4].record.payload_size = sizeof large;
    CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[4].fate, FATE_REJECT);
    CHECK(strstr(p.why, "max_payload of 1048576 bytes") != NULL, "%s", p.why);
    /* Nine messages have a key, one has none: those behind it are held. */
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 5);
    CHECK_INT(parcel_count(&p, FATE_NONE), 4);
    parcel_free(&p);
}

/* A server that hangs is not waited for longer than the setting says, without anybody who cancels. */
static void test_ack_timeout(struct broker *b)
{
    struct parcel p = {0};
    int sent;

    REQUIRE_INT(make(b, "silent", 0), 0);
    REQUIRE(parcel_make(&p, "silent", 0, 20, 0) == 0 &&
            broker_open(&p, b, BROKER_PLAIN, "nats.ack_timeout", "200ms") == 0, "not prepared");
    WAIT_FOR((parcel_send(&p, 0, 10, 60000), parcel_count(&p, FATE_PUBLISHED) == 10), sent); /* a machine may be slow */
    CHECK(sent, "%s", p.why);
    broker_pause(b);
    CHECK_INT(parcel_send(&p, 10, 10, 60000), DELIVERY_DONE);
    broker_resume(b);
    CHECK_INT(parcel_count(&p, FATE_UNKNOWN), 10);
    CHECK(strstr(p.why, "nats.ack_timeout") != NULL, "%s", p.why);
    parcel_free(&p);
}

/* With a token instead of a user, which is not shown when it is wrong. (That server has no JetStream.) */
static void test_token(struct broker *b)
{
    static const char *const tokens[] = { "to\"ken", "s3cr3t" };
    char text[100];

    (void)b;
    REQUIRE_INT(broker_wait_port(token_port), 0);
    snprintf(text, sizeof text, "nats://127.0.0.1:%d?mode=core", token_port);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        struct parcel p = {0};
        outbox_conf *conf = NULL;

        REQUIRE_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
        set(conf, "nats.token", tokens[i]);
        if (parcel_make(&p, "any", 0, 10, 0) == 0 && CHECK_INT(outbox_publisher_open(text, conf, &p.publisher, &p.err), OUTBOX_OK)) {
            CHECK_INT(parcel_send(&p, 0, 10, 60000), i == 0 ? DELIVERY_DONE : DELIVERY_UNAVAILABLE);
            CHECK(parcel_count(&p, i == 0 ? FATE_PUBLISHED : FATE_NONE) == 10, "%s: %s", tokens[i], p.why);
            CHECK(strstr(p.why, "s3cr3t") == NULL, "%s", p.why);
        }
        outbox_conf_free(conf);
        parcel_free(&p);
    }
}

/* With a JWT that an operator's account has signed, and the seed that belongs to it: nobody else gets in. */
static void test_credentials(struct broker *b)
{
    static const char *const files[] = { "user.creds", "stranger.creds", "unknown.creds", NULL };
    char text[100], path[200];

    REQUIRE_INT(broker_wait_port(jwt_port), 0);
    snprintf(text, sizeof text, "nats://127.0.0.1:%d?mode=core", jwt_port);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct parcel p = {0};
        outbox_conf *conf = NULL;

        REQUIRE_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
        snprintf(path, sizeof path, "%s/%s", b->directory, files[i] != NULL ? files[i] : "");
        if (files[i] != NULL)
            set(conf, "nats.credentials_file", path);
        if (parcel_make(&p, "any", 0, 10, 0) == 0 && CHECK_INT(outbox_publisher_open(text, conf, &p.publisher, &p.err), OUTBOX_OK)) {
            CHECK_INT(parcel_send(&p, 0, 10, 60000), i == 0 ? DELIVERY_DONE : DELIVERY_UNAVAILABLE);
            CHECK(parcel_count(&p, i == 0 ? FATE_PUBLISHED : FATE_NONE) == 10, "%s: %s", files[i], p.why);
            CHECK(i == 0 || strstr(p.why, "uthorization") != NULL, "%s", p.why);
        }
        outbox_conf_free(conf);
        parcel_free(&p);
    }
}

static const struct broker_test own[] = {
    { "a token", test_token },
    { "credentials of a JWT and a seed", test_credentials },
    { "no stream for a subject", test_unroutable },
    { "another stream than the one that was named", test_wrong_stream },
    { "a batch that is sent again after a restart is stored once", test_replay },
    { "a user that may not send to a subject", test_permissions },
    { "the same without JetStream", test_permissions_core },
    { "a user that may not get acknowledgements", test_deaf },
    { "subjects and headers that belong to NATS", test_subjects },
    { "larger than the server takes", test_max_payload },
    { "no acknowledgement for too long", test_ack_timeout },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "nats",
    .program = "nats-server",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE | BROKER_IDS | BROKER_OPEN_KEYS,
    .cloudevents = "ce-",
    .limit = "nats.max_message",
    .window = "nats.window",
    .start = start,
    .wait = wait,
    .url = url,
    .make = make,
    .consume = consume,
    .baseline = baseline,
    .tests = own,
};

int main(int argc, char **argv)
{
    int status = broker_main(&kind, argc, argv);

    nats_Close();
    return status;
}
