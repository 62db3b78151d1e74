/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "redis://HOST:PORT/DATABASE" and "rediss://…" (TLS) add messages to streams (XADD), or send them to channels (PUBLISH).
 *
 * A delivery is a pipeline on one connection: commands are written as messages become ready, replies come in the order of
 * commands, and each reply answers its message. A message becomes ready once the one of its key before it was published,
 * so that one that fails holds back those behind it. When the connection is lost, what was written whole and not answered
 * is unknown; what was not is left to the relay as not sent.
 *
 * Threads: publish() runs on several relay threads at once, each with a link of its own; links without work wait in
 * `idle`. `lock` guards both lists, `turn`, and which delivery a busy link works on; all else of a link belongs to the
 * thread in publish(), but for its cancelled flag and wake pipe.
 */
#include "redis_link.h"
#include "sigpipe.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No more is made ahead of what the socket takes. */
#define AHEAD_SIZE (256 * 1024)

enum { MODE_STREAM, MODE_PUBSUB };
enum { ID_AUTO, ID_SEQ };

/* What waits for a reply. */
struct flight {
    size_t index;
    uint64_t end; /* where its command ends, counted as redis_link.queued */
    int is_check; /* whether the entry is there already, after XADD said that the id is too small */
};

struct busy {
    struct redis_link link;
    struct busy *next;
    outbox_delivery *delivery;
    outbox_envelope *envelope;
    struct flight *flights; /* a ring */
    size_t first, count;
    int unfit; /* of no more use: a reply says so */
    char why[512];
};

struct redis {
    const outbox_target *target;
    SSL_CTX *tls;
    int64_t mode, id, maxlen, window, max_message, reply_timeout;
    char maxlen_text[24];
    pthread_mutex_t lock;
    struct busy *idle, *busy;
    unsigned turn;
};

/* ---- Commands -------------------------------------------------------------------- */

static void add_text(struct redis_link *link, const char *text)
{
    redis_link_add(link, text, strlen(text));
}

static void id_of(const outbox_record *record, char text[32])
{
    snprintf(text, 32, "%" PRId64 "-0", outbox_record_seq(record));
}

static void put_entry(const struct redis *r, struct busy *b, const outbox_record *record)
{
    struct redis_link *link = &b->link;
    size_t size, count, i;
    const void *payload = outbox_envelope_payload(b->envelope, &size);
    const outbox_meta *metas = outbox_envelope_metas(b->envelope, &count);
    char id[32] = "*";

    if (r->id == ID_SEQ)
        id_of(record, id);
    redis_link_begin(link, 5 + (r->maxlen > 0 ? 3 : 0) + 2 * count);
    add_text(link, "XADD");
    add_text(link, outbox_envelope_topic(b->envelope));
    if (r->maxlen > 0) {
        add_text(link, "MAXLEN");
        add_text(link, "~");
        add_text(link, r->maxlen_text);
    }
    add_text(link, id);
    add_text(link, "payload");
    redis_link_add(link, payload, size);
    for (i = 0; i < count; i++) {
        redis_link_add(link, metas[i].name, metas[i].name_size);
        redis_link_add(link, metas[i].value, metas[i].value_size);
    }
}

static void put_publish(struct busy *b)
{
    size_t size;
    const void *payload = outbox_envelope_payload(b->envelope, &size);

    redis_link_begin(&b->link, 3);
    add_text(&b->link, "PUBLISH");
    add_text(&b->link, outbox_envelope_topic(b->envelope));
    redis_link_add(&b->link, payload, size);
}

static void put_check(struct busy *b, const outbox_record *record)
{
    char id[32];

    id_of(record, id);
    redis_link_begin(&b->link, 4);
    add_text(&b->link, "XRANGE");
    add_text(&b->link, outbox_envelope_topic(b->envelope));
    add_text(&b->link, id);
    add_text(&b->link, id);
}

static void take_off(const struct redis *r, struct busy *b, size_t index, int is_check)
{
    b->flights[(b->first + b->count++) % (size_t)r->window] = (struct flight){ index, b->link.queued, is_check };
}

/* Writes a message's command, or answers it when there is none. */
static void send_message(const struct redis *r, struct busy *b, const outbox_record *record, size_t index)
{
    char text[120];
    const char *why;
    size_t size;
    int rc = outbox_envelope_fill(b->envelope, record, &why);

    if (rc != OUTBOX_OK) {
        outbox_delivery_answer(b->delivery, index, rc == OUTBOX_ERR_NOMEM ? OUTBOX_RETRY : OUTBOX_REJECT, -1, why);
        return;
    }
    outbox_envelope_payload(b->envelope, &size);
    if (size > (size_t)r->max_message) {
        snprintf(text, sizeof(text), "the payload has %zu bytes, and redis.max_message allows %" PRId64, size,
                 r->max_message);
        outbox_delivery_answer(b->delivery, index, OUTBOX_REJECT, -1, text);
        return;
    }
    if (r->mode == MODE_PUBSUB)
        put_publish(b);
    else
        put_entry(r, b, record);
    take_off(r, b, index, 0);
}

/* ---- Replies ---------------------------------------------------------------------- */

/* What an error of the server says of a message. Whatever is not here is about this message, and refused for good. */
static const struct {
    const char *prefix;
    outbox_verdict verdict;
    int unfit; /* another connection may do better */
} errors[] = {
    { "OOM ", OUTBOX_UNAVAILABLE, 0 },        { "READONLY ", OUTBOX_UNAVAILABLE, 1 }, { "LOADING ", OUTBOX_UNAVAILABLE, 0 },
    { "MASTERDOWN ", OUTBOX_UNAVAILABLE, 1 }, { "MISCONF ", OUTBOX_UNAVAILABLE, 0 },
    { "NOREPLICAS ", OUTBOX_UNAVAILABLE, 0 },
    { "CLUSTERDOWN ", OUTBOX_UNAVAILABLE, 1 }, { "MOVED ", OUTBOX_UNAVAILABLE, 1 },   { "ASK ", OUTBOX_UNAVAILABLE, 1 },
    { "NOAUTH ", OUTBOX_UNAVAILABLE, 1 },     { "BUSY ", OUTBOX_UNAVAILABLE, 0 },     { "TRYAGAIN ", OUTBOX_RETRY, 0 },
    { "UNBLOCKED ", OUTBOX_RETRY, 0 },
};

static void answer_error(struct busy *b, size_t index, const char *text)
{
    outbox_verdict verdict = OUTBOX_REJECT;
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strncmp(text, errors[i].prefix, strlen(errors[i].prefix)) != 0)
            continue;
        verdict = errors[i].verdict;
        b->unfit |= errors[i].unfit;
    }
    outbox_delivery_answer(b->delivery, index, verdict, -1, text);
}

/* With explicit ids: an id that is not larger than the last may be this message's own, from the time before. */
static int is_small_id(const struct redis *r, const redisReply *reply)
{
    return r->mode == MODE_STREAM && r->id == ID_SEQ &&
           strstr(reply->str, "equal or smaller than the target stream top item") != NULL;
}

static int entry_has_id(const redisReply *reply, const char *id)
{
    const redisReply *fields;
    size_t i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->elements != 2)
        return 0;
    fields = reply->element[0]->element[1];
    for (i = 0; i + 1 < fields->elements; i += 2)
        if (strcmp(fields->element[i]->str, "outbox-id") == 0 && strcmp(fields->element[i + 1]->str, id) == 0)
            return 1;
    return 0;
}

static void take_check(struct busy *b, size_t index, const redisReply *reply)
{
    const outbox_record *record = outbox_delivery_message(b->delivery, index);

    if (reply->type == REDIS_REPLY_ERROR)
        answer_error(b, index, reply->str);
    else if (entry_has_id(reply, outbox_record_id(record)))
        outbox_delivery_answer(b->delivery, index, OUTBOX_PUBLISHED, -1, NULL);
    else
        outbox_delivery_answer(b->delivery, index, OUTBOX_REJECT, -1,
                               "the stream has a later entry, and not this one: redis.stream_id = seq needs a stream that "
                               "gets the messages of one lane only, in order");
}

static void take_reply(const struct redis *r, struct busy *b, const redisReply *reply)
{
    struct flight flight = b->flights[b->first];
    const char *why;

    b->first = (b->first + 1) % (size_t)r->window;
    b->count--;
    if (flight.is_check) {
        take_check(b, flight.index, reply);
    } else if (reply->type != REDIS_REPLY_ERROR) {
        outbox_delivery_answer(b->delivery, flight.index, OUTBOX_PUBLISHED, -1, NULL);
    } else if (is_small_id(r, reply)) {
        const outbox_record *record = outbox_delivery_message(b->delivery, flight.index);

        if (outbox_envelope_fill(b->envelope, record, &why) == OUTBOX_OK) {
            put_check(b, record);
            take_off(r, b, flight.index, 1);
        } else {
            outbox_delivery_answer(b->delivery, flight.index, OUTBOX_RETRY, -1, why);
        }
    } else {
        answer_error(b, flight.index, reply->str);
    }
}

static int take_replies(const struct redis *r, struct busy *b)
{
    redisReply *reply;

    for (;;) {
        if (!redis_link_reply(&b->link, &reply))
            return 0;
        if (reply == NULL)
            return 1;
        if (b->count == 0) {
            snprintf(b->link.why, sizeof(b->link.why), "a reply came that nothing had asked for: %.200s",
                     reply->str != NULL ? reply->str : "");
            freeReplyObject(reply);
            return 0;
        }
        take_reply(r, b, reply);
        freeReplyObject(reply);
    }
}

/* ---- A delivery ------------------------------------------------------------------- */

/* Everything that is ready and has room: many at once, as the server takes one large piece faster than many small ones. */
static void send_ready(const struct redis *r, struct busy *b)
{
    const outbox_record *record;
    size_t index;

    if (b->count > (size_t)r->window / 2)
        return;
    while (b->count < (size_t)r->window && b->link.to - b->link.from < AHEAD_SIZE &&
           (record = outbox_delivery_ready(b->delivery, &index)) != NULL)
        send_message(r, b, record, index);
}

/* The link is lost: what the server got whole may have been done. The rest is left without an answer. */
static void give_up(const struct redis *r, struct busy *b)
{
    for (; b->count > 0; b->count--) {
        const struct flight *flight = &b->flights[b->first];

        if (flight->end <= b->link.written)
            outbox_delivery_answer(b->delivery, flight->index, OUTBOX_UNKNOWN, -1, b->why);
        b->first = (b->first + 1) % (size_t)r->window;
    }
}

static int run(const struct redis *r, struct busy *b)
{
    int64_t since = redis_link_clock();

    for (;;) {
        enum redis_step step;
        int64_t left;

        send_ready(r, b);
        if (b->count == 0)
            return 1;
        left = since + r->reply_timeout - redis_link_clock();
        step = left > 0 ? redis_link_step(&b->link, left) : REDIS_TIMEOUT;
        if (left <= 0) {
            snprintf(b->link.why, sizeof(b->link.why), "no reply in time (redis.reply_timeout)");
            return 0;
        }
        if (step == REDIS_LOST || step == REDIS_CANCELLED)
            return take_replies(r, b) && b->count == 0;
        if (step == REDIS_MOVED)
            since = redis_link_clock();
        if (!take_replies(r, b))
            return 0;
    }
}

static int connect_link(struct redis *r, struct busy *b)
{
    unsigned turn;
    enum redis_step step;

    if (redis_link_is_fit(&b->link))
        return 1;
    pthread_mutex_lock(&r->lock);
    turn = r->turn;
    pthread_mutex_unlock(&r->lock);
    step = redis_link_connect(&b->link, r->target, r->tls, &turn);
    pthread_mutex_lock(&r->lock);
    r->turn = turn;
    pthread_mutex_unlock(&r->lock);
    return step == REDIS_MOVED;
}

static void free_busy(struct busy *b)
{
    outbox_envelope_free(b->envelope);
    redis_link_free(&b->link);
    free(b->flights);
    free(b);
}

static struct busy *new_busy(const struct redis *r, outbox_error **err)
{
    static const outbox_envelope_style style = { sizeof(style), 0, 0, "ce-" };
    struct busy *b = calloc(1, sizeof(*b));

    int rc = OUTBOX_ERR_NOMEM;

    if (b != NULL) {
        b->flights = malloc((size_t)r->window * sizeof(*b->flights));
        rc = redis_link_init(&b->link) ? OUTBOX_OK : OUTBOX_ERR_SYSTEM;
    }
    if (rc == OUTBOX_OK)
        rc = b->flights != NULL ? outbox_envelope_new(r->target, &style, &b->envelope, err) : OUTBOX_ERR_NOMEM;
    if (rc == OUTBOX_OK)
        return b;
    if (err == NULL || *err == NULL)
        outbox_error_new(err, rc, "publisher.redis_open",
                         "the publisher redis has no memory or no file descriptors for one more connection");
    if (b != NULL)
        free_busy(b);
    return NULL;
}

static struct busy *enter(struct redis *r, outbox_delivery *d, outbox_error **err)
{
    struct busy *b;

    pthread_mutex_lock(&r->lock);
    b = r->idle;
    if (b != NULL)
        r->idle = b->next;
    pthread_mutex_unlock(&r->lock);
    if (b == NULL)
        b = new_busy(r, err);
    if (b == NULL)
        return NULL;
    b->delivery = d;
    b->first = b->count = 0;
    b->unfit = 0;
    pthread_mutex_lock(&r->lock);
    b->link.cancelled = 0;
    b->next = r->busy;
    r->busy = b;
    pthread_mutex_unlock(&r->lock);
    return b;
}

static void leave(struct redis *r, struct busy *b)
{
    struct busy **at;

    pthread_mutex_lock(&r->lock);
    for (at = &r->busy; *at != b; at = &(*at)->next)
        continue;
    *at = b->next;
    b->delivery = NULL;
    b->next = r->idle;
    r->idle = b;
    pthread_mutex_unlock(&r->lock);
}

static int fail(struct redis *r, struct busy *b, const char *what, outbox_error **err)
{
    snprintf(b->why, sizeof(b->why), "%s %s: %s", outbox_target_shown(r->target), what, b->link.why);
    give_up(r, b);
    redis_link_disconnect(&b->link);
    return outbox_error_new(err, OUTBOX_ERR_LOST, "publisher.redis", b->why);
}

static int redis_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct redis *r = self;
    struct outbox_sigpipe signals;
    struct busy *b = enter(r, d, err);
    int rc = OUTBOX_OK;

    if (b == NULL)
        return OUTBOX_ERR_NOMEM;
    outbox_sigpipe__hold(&signals);
    if (!connect_link(r, b))
        rc = fail(r, b, "cannot be reached", err);
    else if (!run(r, b))
        rc = fail(r, b, "was lost", err);
    else if (b->unfit)
        redis_link_disconnect(&b->link);
    outbox_sigpipe__release(&signals);
    if (b->unfit) {
        pthread_mutex_lock(&r->lock);
        r->turn++; /* another host may be the one that takes writes */
        pthread_mutex_unlock(&r->lock);
    }
    leave(r, b);
    return rc;
}

static void redis_cancel(void *self, outbox_delivery *d)
{
    struct redis *r = self;
    struct busy *b;

    pthread_mutex_lock(&r->lock);
    for (b = r->busy; b != NULL; b = b->next)
        if (b->delivery == d)
            redis_link_wake(&b->link);
    pthread_mutex_unlock(&r->lock);
}

/* On a connection of its own, which is made as publish() makes them, and ends with a PING. */
static int redis_reach(void *self, outbox_error **err)
{
    struct redis *r = self;
    struct outbox_sigpipe signals;
    struct busy *b = new_busy(r, err);
    int rc = OUTBOX_OK;

    if (b == NULL)
        return err != NULL && *err != NULL ? outbox_error_status(*err) : OUTBOX_ERR_NOMEM;
    outbox_sigpipe__hold(&signals);
    if (!connect_link(r, b))
        rc = outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.redis", "%s cannot be reached: %s",
                                 outbox_target_shown(r->target), b->link.why);
    free_busy(b);
    outbox_sigpipe__release(&signals);
    return rc;
}

static void redis_close(void *self)
{
    struct redis *r = self;

    while (r->idle != NULL) {
        struct busy *b = r->idle;

        r->idle = b->next;
        free_busy(b);
    }
    SSL_CTX_free(r->tls);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- Opening ---------------------------------------------------------------------- */

static const outbox_setting settings[] = {
    { "mode", OUTBOX_SETTING_CHOICE, "stream", 0, 0, "stream|pubsub",
      "stream: each message is an entry of the stream that is named like its topic. pubsub: it is published to the "
      "channel, without its headers, and lost where nobody listens." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 255, NULL,
      "User of the server's ACL; empty: that of the URL, or the default one." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password." },
    { "stream_id", OUTBOX_SETTING_CHOICE, "auto", 0, 0, "auto|seq",
      "Ids of entries. auto: the server's. seq: the message's number, so that a message that is sent twice is there once; "
      "for streams that get the messages of one lane only, in order." },
    { "stream_maxlen", OUTBOX_SETTING_INTEGER, "0", 0, INT64_C(1000000000000), NULL,
      "About how many entries a stream keeps; 0: all." },
    { "max_message", OUTBOX_SETTING_SIZE, "512MiB", 1, INT64_C(1) << 40, NULL,
      "Largest payload that is sent: the server's proto-max-bulk-len, beyond which it ends the connection." },
    { "window", OUTBOX_SETTING_INTEGER, "1000", 1, 100000, NULL, "Most messages on their way at once on one connection." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 10000, INT64_C(3600000000), NULL,
      "How long connecting to one host may take." },
    { "reply_timeout", OUTBOX_SETTING_DURATION, "30s", 10000, INT64_C(3600000000), NULL,
      "How long the server may be silent while it owes a reply; then the connection is given up." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

static int check(const outbox_target *target, outbox_error **err)
{
    const char *database = outbox_target_path(target);

    if (strlen(database) > 9 || database[strspn(database, "0123456789")] != '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.redis_url",
                                "the path of a redis: URL is the number of a database, such as redis://host/0");
    if (outbox_target_secret(target, "user") != NULL && outbox_target_secret(target, "password") == NULL)
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.redis_user",
                                "a user of Redis needs a password: set redis.password_file, or OUTBOX_REDIS_PASSWORD in "
                                "the environment");
    return OUTBOX_OK;
}

static int redis_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops redis_ops = {
        .size = sizeof(redis_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "redis",
        .publish = redis_publish,
        .cancel = redis_cancel,
        .close = redis_close,
        .reach = redis_reach,
    };
    struct redis *r;
    struct busy *first;
    SSL_CTX *tls = NULL;
    int rc = check(target, err);

    if (rc == OUTBOX_OK && outbox_target_is(target, "rediss") && (tls = redis_link_tls(target, err)) == NULL)
        rc = OUTBOX_ERR_CONF;
    if (rc != OUTBOX_OK)
        return rc;
    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        SSL_CTX_free(tls);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    r->target = target;
    r->tls = tls;
    r->mode = outbox_target_number(target, "mode");
    r->id = outbox_target_number(target, "stream_id");
    r->maxlen = outbox_target_number(target, "stream_maxlen");
    snprintf(r->maxlen_text, sizeof(r->maxlen_text), "%" PRId64, r->maxlen);
    r->window = outbox_target_number(target, "window");
    r->max_message = outbox_target_number(target, "max_message");
    r->reply_timeout = outbox_target_number(target, "reply_timeout") / 1000;
    pthread_mutex_init(&r->lock, NULL);
    first = new_busy(r, err);
    *ops = &redis_ops;
    *self = r;
    if (first != NULL) {
        r->idle = first;
        return OUTBOX_OK;
    }
    redis_close(r);
    return OUTBOX_ERR_CONF;
}

OUTBOX_API const outbox_publisher_module *outbox_publisher_redis(void);

const outbox_publisher_module *outbox_publisher_redis(void)
{
    static const outbox_publisher_module module = {
        sizeof(module), OUTBOX_PUBLISHER_MODULE_ABI, 0, "redis", settings, redis_open,
    };

    return &module;
}
