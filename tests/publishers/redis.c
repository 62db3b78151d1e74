/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for Redis with a real server, read back by a client of hiredis. */
#include "broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

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

static const struct broker_kind kind = {
    .name = "redis",
    .program = "redis-server",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE,
    .cloudevents = "ce-",
    .limit = "redis.max_message",
    .start = start,
    .wait = wait,
    .url = url,
    .make = make,
    .consume = consume,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
