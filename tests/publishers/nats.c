/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for NATS with a real server and JetStream, read back by a consumer of libnats. */
#include "broker.h"
#include "nats.h"

#include "batch_internal.h"
#include "delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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
    struct nats_session s;
    struct acks acks = { 0, 0 };
    jsOptions options;
    int good = nats_reach(b, topic, &s);

    if (!good)
        return -1;
    jsCtx_Destroy(s.js);
    s.js = NULL;
    jsOptions_Init(&options);
    options.PublishAsync.AckHandler = count_ack;
    options.PublishAsync.AckHandlerClosure = &acks;
    /* With so many on their way, publishing waits by itself until there are fewer. */
    options.PublishAsync.MaxPending = (int64_t)window;
    options.PublishAsync.StallWait = NATS_SLOW_MS;
    good = natsConnection_JetStream(&s.js, s.nc, &options) == NATS_OK;
    for (size_t i = 0; good && i < p->count; i++)
        good = publish_alone(s.js, topic, parcel_record(p, i));
    good = good && js_PublishAsyncComplete(s.js, NULL) == NATS_OK;
    nats_leave(&s);
    return good && acks.good == p->count && acks.bad == 0 ? 0 : -1;
}

/* ---- Its own ---- */

static void set(outbox_conf *conf, const char *key, const char *value)
{
    CHECK_INT(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK);
}

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

    REQUIRE_INT(nats_make(b, "elsewhere", 0), 0);
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

    REQUIRE_INT(nats_make(b, "replayed", 0), 0);
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

    REQUIRE_INT(nats_make(b, "allowed.here", 0), 0);
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

    REQUIRE_INT(nats_make(b, "unheard", 0), 0);
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

    REQUIRE_INT(nats_make(b, "kept", 0), 0);
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

    REQUIRE_INT(nats_make(b, "big", 0), 0);
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

    REQUIRE_INT(nats_make(b, "silent", 0), 0);
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
    REQUIRE_INT(broker_wait_port(nats_token_port), 0);
    snprintf(text, sizeof text, "nats://127.0.0.1:%d?mode=core", nats_token_port);
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

    REQUIRE_INT(broker_wait_port(nats_jwt_port), 0);
    snprintf(text, sizeof text, "nats://127.0.0.1:%d?mode=core", nats_jwt_port);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct parcel p = {0};
        outbox_conf *conf = NULL;

        REQUIRE_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
        snprintf(path, sizeof path, "%s/%s", b->directory, files[i] != NULL ? files[i] : "");
        if (files[i] != NULL)
            set(conf, "nats.credentials_file", path);
        if (parcel_make(&p, "any", 0, 10, 0) == 0 && CHECK_INT(outbox_publisher_open(text, conf, &p.publisher, &p.err), OUTBOX_OK)) {
            int sent, tries = 0;

            do /* nats.c 3.4 signs about one challenge in 300 in a way that the server refuses */
                sent = parcel_send(&p, 0, 10, 60000);
            while (i == 0 && sent != DELIVERY_DONE && ++tries < 5);
            CHECK_INT(sent, i == 0 ? DELIVERY_DONE : DELIVERY_UNAVAILABLE);
            CHECK(parcel_count(&p, i == 0 ? FATE_PUBLISHED : FATE_NONE) == 10, "%s: %s", files[i], p.why);
            CHECK(i == 0 || strstr(p.why, "uthorization") != NULL, "%s", p.why);
        }
        outbox_conf_free(conf);
        parcel_free(&p);
    }
}

/* ---- Without JetStream ---- */

static struct nats_session ear; /* a subscriber's, as long as a test runs */
static natsSubscription *heard;

static void core_url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    nats_url(b, way, text, size, conf);
    set(conf, "nats.mode", "core");
}

/* Who listens is there before anything is sent. */
static int core_make(struct broker *b, const char *topic, int broken)
{
    return !broken && nats_reach(b, topic, &ear) && natsConnection_SubscribeSync(&heard, ear.nc, topic) == NATS_OK &&
           natsSubscription_SetPendingLimits(heard, -1, -1) == NATS_OK &&
           natsConnection_FlushTimeout(ear.nc, NATS_SLOW_MS) == NATS_OK ? 0 : -1;
}

/* All there is, up to a mark that is sent behind it: what the server has read, it has handed out. */
static long core_consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    int marked = natsConnection_PublishString(ear.nc, topic, "mark") != NATS_OK;
    natsMsg *m = NULL;
    long n = 0;

    (void)b;
    if (marked)
        return -1;
    while (!marked && natsSubscription_NextMsg(&m, heard, NATS_SLOW_MS) == NATS_OK) {
        marked = natsMsg_GetDataLength(m) == 4 && memcmp(natsMsg_GetData(m), "mark", 4) == 0;
        if (!marked)
            nats_hand_over(m, take, user);
        n += !marked;
        natsMsg_Destroy(m);
    }
    /* The reading thread has to end before what it reads for is freed. */
    natsConnection_Close(ear.nc);
    natsSubscription_Destroy(heard);
    nats_leave(&ear);
    return marked ? n : -1;
}

/* The suite's, with a subscriber who is there all the time: so nothing is lost but by us. Nobody tells repetitions. */
static void test_hanging_core(struct broker *b)
{
    struct broker_kind kind = *b->kind;
    struct broker core = *b;
    int found = 0;

    kind.flags &= ~BROKER_IDS;
    kind.url = core_url;
    kind.make = core_make;
    kind.consume = core_consume;
    core.kind = &kind;
    for (const struct broker_test *test = broker_trouble; test->name != NULL; test++)
        if (strcmp(test->name, "hanging") == 0 && ++found)
            test->run(&core);
    CHECK_INT(found, 1);
}

/* ---- A relay that is killed ---- */

#define RELAYED 200
#define KEYS 97

static pid_t relay_start(const struct broker *b, const struct fixture *fx)
{
    static const char *const settings[] = { "relay.workers=1", "relay.batch_size=1000", "relay.publish_timeout=1h",
                                            "nats.ack_timeout=1h" };
    char url[60], program[400], log[100];
    const char *argv[20] = { "outboxd", "--dsn", fx->dsn, "--publisher", url };
    pid_t pid = fork();
    size_t n = 5;
    int fd;

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(url, sizeof url, "nats://reader@127.0.0.1:%d", b->port);
    setenv("OUTBOX_NATS_PASSWORD", "reader", 1);
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        argv[n++] = "--set";
        argv[n++] = settings[i];
    }
    snprintf(log, sizeof log, "%s/outboxd.log", b->directory);
    snprintf(program, sizeof program, "%s/outboxd", getenv("OUTBOX_TOOLS"));
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0 && dup2(fd, 1) >= 0 && dup2(fd, 2) >= 0)
        execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int relay_end(pid_t pid, int signal)
{
    int status = 0;

    kill(pid, signal);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static void ignore(void *user, const struct taken *t)
{
    (void)user, (void)t;
}

/* All of a batch is stored, but one message whose acknowledgement never comes, as the only one who gets it does not answer. So
 * nothing of it is settled when the relay is killed, and the next relay sends all of it again. */
static void kill_and_replay(struct broker *b, struct fixture *fx, natsSubscription **mute)
{
    pid_t pid = relay_start(b, fx);
    struct ledger l;
    int done;

    WAIT_FOR(nats_consume(b, "relay", ignore, NULL) == RELAYED, done);
    CHECK(done, "the relay does not send; see outboxd.log");
    relay_end(pid, SIGKILL);
    REQUIRE_INT(count_waiting(fx), RELAYED + 1);
    natsSubscription_Destroy(*mute);
    *mute = NULL;
    REQUIRE_INT(nats_make(b, "mute", 0), 0);
    expire_leases(fx);
    pid = relay_start(b, fx);
    WAIT_FOR(count_waiting(fx) == 0, done);
    CHECK(done, "%lld messages wait", (long long)count_waiting(fx));
    CHECK_INT(relay_end(pid, SIGTERM), 0);
    ledger_read(&l, b, "relay", RELAYED, KEYS);
    CHECK_INT(l.distinct, RELAYED);
    CHECK_INT(l.repeated, 0);
    CHECK_INT(nats_consume(b, "mute", ignore, NULL), 1);
    ledger_free(&l);
}

static void test_killed_relay(struct broker *b)
{
    const char *tools = getenv("OUTBOX_TOOLS");
    char program[400];
    struct fixture fx;
    struct parcel p = {0}, mute = {0};
    struct nats_session s;
    natsSubscription *sub = NULL;

    snprintf(program, sizeof program, "%s/outboxd", tools != NULL ? tools : "");
    if (access(program, X_OK) != 0) {
        tap_skip("no outboxd");
        return;
    }
    REQUIRE(nats_make(b, "relay", 0) == 0 && nats_reach(b, "", &s), "not prepared");
    if (CHECK(natsConnection_SubscribeSync(&sub, s.nc, "mute") == NATS_OK &&
              natsConnection_FlushTimeout(s.nc, NATS_SLOW_MS) == NATS_OK, "not subscribed") &&
        fixture_prepare(&fx, target_find("sqlite/position")) == 0) {
        fixture_set(&fx, "schema.lanes", "1");
        if (fixture_migrate(&fx) == 0 && parcel_make(&mute, "mute", RELAYED, 1, 0) == 0 &&
            parcel_make(&p, "relay", 0, RELAYED, KEYS) == 0 && parcel_enqueue(&mute, &fx, 0, 1) &&
            parcel_enqueue(&p, &fx, 0, RELAYED))
            kill_and_replay(b, &fx, &sub);
        parcel_free(&p);
        parcel_free(&mute);
        fixture_close(&fx);
    }
    natsConnection_Close(s.nc);
    natsSubscription_Destroy(sub);
    nats_leave(&s);
}

static const struct broker_test own[] = {
    { "a token", test_token },
    { "credentials of a JWT and a seed", test_credentials },
    { "no stream for a subject", test_unroutable },
    { "another stream than the one that was named", test_wrong_stream },
    { "a batch that is sent again after a restart is stored once", test_replay },
    { "a batch of a relay that was killed is stored once", test_killed_relay },
    { "a user that may not send to a subject", test_permissions },
    { "the same without JetStream", test_permissions_core },
    { "hanging, without JetStream", test_hanging_core },
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
    .start = nats_start,
    .wait = nats_wait,
    .url = nats_url,
    .make = nats_make,
    .consume = nats_consume,
    .baseline = baseline,
    .tests = own,
};

int main(int argc, char **argv)
{
    int status = broker_main(&kind, argc, argv);

    nats_Close();
    return status;
}
