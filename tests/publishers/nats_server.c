/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers of NATS for the tests of its publisher, and what is on them. */
#include "nats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A quotation mark and a backslash: libnats puts it into JSON as it is. */
#define PASSWORD_CONF "pa:ss\\\"w\\\\rd"
#define PASSWORD_URL "pa%3Ass%22w%5Crd"

int nats_token_port, nats_jwt_port;

/* A server's settings, and its users' credentials. */
static int make_keys(const struct broker *b)
{
    const char *source = getenv("OUTBOX_SRCDIR");
    char command[500];

    snprintf(command, sizeof command, "script=$(realpath '%s/tests/publishers/nats_keys.py') && cd %s && python3 \"$script\" %d",
             source != NULL ? source : ".", b->directory, nats_jwt_port);
    return system(command) == 0 ? 0 : -1;
}

int nats_start(struct broker *b)
{
    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        nats_token_port = broker_port();
        nats_jwt_port = broker_port();
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
    broker_write(b, "token.conf", "listen: \"127.0.0.1:%d\"\nauthorization { token: \"to\\\"ken\" }\n", nats_token_port);
    /* A server speaks TLS with all or with none, and knows users, a token or an operator: others do. */
    return broker_run(b, (const char *const[]){
        "sh", "-c", "for other in tls token jwt; do setpriv --pdeathsig KILL nats-server -c $other.conf & done; "
        "exec nats-server -c conf", NULL });
}

void nats_leave(struct nats_session *s)
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
        s = natsOptions_SetTimeout(o, NATS_SLOW_MS);
    if (s != NATS_OK || !tls)
        return s;
    snprintf(text, sizeof text, "%s/ca.pem", b->directory);
    snprintf(cert, sizeof cert, "%s/client.pem", b->directory);
    snprintf(key, sizeof key, "%s/client.key", b->directory);
    s = natsOptions_LoadCATrustedCertificates(o, text);
    return s == NATS_OK ? natsOptions_LoadCertificatesChain(o, cert, key) : s;
}

/* The topic "tls" is on the server with TLS. */
int nats_reach(const struct broker *b, const char *topic, struct nats_session *s)
{
    natsOptions *options = NULL;
    jsOptions js;
    int ok;

    memset(s, 0, sizeof *s);
    jsOptions_Init(&js);
    js.Wait = NATS_SLOW_MS;
    ok = natsOptions_Create(&options) == NATS_OK && set_options(b, options, strcmp(topic, "tls") == 0) == NATS_OK &&
         natsConnection_Connect(&s->nc, options) == NATS_OK && natsConnection_JetStream(&s->js, s->nc, &js) == NATS_OK;
    natsOptions_Destroy(options);
    if (!ok)
        nats_leave(s);
    return ok;
}

static int answers(const struct broker *b, const char *topic)
{
    struct nats_session s;
    jsAccountInfo *info = NULL;
    int alive;

    if (!nats_reach(b, topic, &s))
        return 0;
    alive = js_GetAccountInfo(&info, s.js, NULL, NULL) == NATS_OK;
    jsAccountInfo_Destroy(info);
    nats_leave(&s);
    return alive;
}

int nats_wait(struct broker *b)
{
    int there;

    WAIT_FOR(answers(b, "") && answers(b, "tls"), there);
    return there ? 0 : -1;
}

static void set(outbox_conf *conf, const char *key, const char *value)
{
    CHECK_INT(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK);
}

void nats_url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
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

int nats_make(struct broker *b, const char *topic, int broken)
{
    struct nats_session s;
    jsStreamConfig config;
    char name[80];
    int ok;

    stream_of(topic, name, sizeof name);
    if (!nats_reach(b, topic, &s))
        return -1;
    js_DeleteStream(s.js, name, NULL, NULL);
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = &topic;
    config.SubjectsLen = 1;
    config.MaxMsgSize = broken ? 1 : -1;
    config.Duplicates = INT64_C(3600) * 1000000000; /* as long as a busy machine may take */
    ok = js_AddStream(NULL, s.js, &config, NULL, NULL) == NATS_OK;
    nats_leave(&s);
    return ok ? 0 : -1;
}

void nats_hand_over(natsMsg *m, broker_take *take, void *user)
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

static long consume_all(struct nats_session *s, const char *name, const char *topic, broker_take *take, void *user)
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
        nats_hand_over(m, take, user);
        natsMsg_Destroy(m);
    }
    /* More may come: the reading thread has to end before what it reads for is freed. */
    natsConnection_Close(s->nc);
    natsSubscription_Destroy(sub);
    return n == count ? n : -1;
}

long nats_consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    struct nats_session s;
    char name[80];
    long n;

    stream_of(topic, name, sizeof name);
    if (!nats_reach(b, topic, &s))
        return -1;
    n = consume_all(&s, name, topic, take, user);
    nats_leave(&s);
    return n;
}
