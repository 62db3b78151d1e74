/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kafka, by librdkafka: "kafka://HOST:PORT,HOST:PORT", or "kafkas://" with TLS. A loadable module.
 *
 * The producer is idempotent and waits for all replicas (acks=all): what is answered as published is in the log of the
 * partition's leader and of all followers that are in sync. Kafka leaves flushing it to disk to the operating system.
 *
 * Order. An idempotent producer keeps the order of what it sends to a partition, but not through a failure: a broker
 * that refuses a message (for its size, say) takes the ones behind it, which librdkafka numbers anew, and only the
 * experimental enable.gapless.guarantee would stop that, with all else that is on its way. So of one topic and key only
 * one message is on its way at a time, as outbox_delivery_ready() gives them out; the next one goes as soon as it is
 * acknowledged, in the callback that says so. Everything else travels side by side.
 *
 * Who is to blame. Kafka accepts or refuses a whole batch of a partition. When it refuses one for what may be the fault
 * of a single message (too large, an invalid record), those of the batch are sent again one at a time, each in a
 * batch of its own, and only what is refused alone is rejected.
 *
 * Giving up. A producer hands out messages again by itself for as long as it is let: one that was told to give up, or
 * that reaches no broker, must not deliver them later, behind those that the relay sends then. So it is purged, which
 * says of each message whether it can have been sent, and thrown away.
 *
 * Threads. publish() runs on several relay threads at once, each with a producer of its own (struct kafka_link), which nobody
 * else touches: callbacks come inside rd_kafka_poll() and rd_kafka_flush(), on the thread in publish(), so there is nothing
 * to lock, and a thread that only polls would only be one more to wake. Producers without work wait in `idle`.
 * librdkafka's own threads block all signals; of this module they run log_line() only. `lock` guards `idle`, `calls` and
 * `ending`: a producer that is thrown away is freed by a thread of its own, which close() waits for. */
#include "kafka.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK_MS 100             /* how soon a cancel is noticed */
#define SEND_RUN 32              /* messages that are sent between two looks at what is acknowledged */
/* Within which a purged producer says what became of its messages. It does at once, unless a thread of librdkafka's waits
 * for a name server. */
#define PURGE_US INT64_C(5000000)

enum progress { NOT_SENT, SENT, IN_DOUBT, DROPPED, ANSWERED };

/* One call of publish(). */
struct kafka_call {
    struct kafka_call *next;
    outbox_delivery *delivery;
    struct kafka_link *link;
    char *progress;        /* of each message */
    size_t count, owed;    /* all; those that are with the producer */
    int sending;           /* send_ready() runs: it sends what becomes ready meanwhile */
    size_t doubts;         /* refused, perhaps for another's sake */
    int singly;            /* whatever is refused now was alone */
    size_t dropped;        /* unsent, by librdkafka */
    char topic_why[2 * KAFKA_WHY]; /* the first topic of which a message failed, and why */
    int stopped;           /* the producer was purged; nothing more is sent */
    int64_t waits_since;   /* monotonic µs */
    char stop_why[KAFKA_WHY + 64];
    atomic_int cancelled;
};

int64_t kafka_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- verdicts ---- */

static void answer(struct kafka_call *c, size_t index, outbox_verdict verdict, const char *why)
{
    c->progress[index] = ANSWERED;
    outbox_delivery_answer(c->delivery, index, verdict, -1, why);
}

/* What a refusal means: of a whole batch when it may be another's fault, else of the message, or for now. */
enum meaning { FOR_NOW, FOR_GOOD, OF_THE_BATCH };

static enum meaning meaning_of(rd_kafka_resp_err_t err)
{
    static const struct {
        rd_kafka_resp_err_t err;
        enum meaning meaning;
    } table[] = {
        { RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_INVALID_RECORD, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_POLICY_VIOLATION, OF_THE_BATCH },
        { RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, FOR_GOOD },
        { RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, FOR_GOOD },
        { RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, FOR_GOOD },
        { RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, FOR_GOOD },
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].err == err)
            return table[i].meaning;
    return FOR_NOW;
}

/* Nothing more is sent. */
static void give_up(struct kafka_call *c, const char *why, const char *more)
{
    if (!c->stopped)
        snprintf(c->stop_why, sizeof(c->stop_why), "%s%s", why, more);
    c->stopped = 1;
}

/* It failed, but was not refused. What never left has no answer when nothing is sent any more: the call says why. */
static void answer_lost(struct kafka_call *c, size_t index, int maybe_sent, const char *why)
{
    c->progress[index] = NOT_SENT;
    if (maybe_sent)
        answer(c, index, OUTBOX_UNKNOWN, why);
    else if (!c->stopped)
        answer(c, index, OUTBOX_RETRY, why);
}

/* A topic that fails in one partition is given up in all, and what waited for another says no more than that: the reason is
 * what some other message of it failed for, whose report may yet come. */
static int was_dropped(const struct kafka_call *c, const rd_kafka_message_t *m)
{
    return m->err == RD_KAFKA_RESP_ERR__DESTROY && !c->stopped &&
           rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
}

static void answer_dropped(struct kafka_call *c)
{
    char why[3 * KAFKA_WHY];

    if (c->dropped == 0)
        return;
    snprintf(why, sizeof(why), "librdkafka gave it up unsent (%s)%s%s", rd_kafka_err2name(RD_KAFKA_RESP_ERR__DESTROY),
             c->topic_why[0] != '\0' ? " after a failure of the topic " : "", c->topic_why);
    for (size_t i = 0; i < c->count && c->dropped > 0; i++)
        if (c->progress[i] == DROPPED) {
            answer(c, i, OUTBOX_RETRY, why);
            c->dropped--;
        }
}

static void answer_failure(struct kafka_call *c, size_t index, const rd_kafka_message_t *m)
{
    const char *words = rd_kafka_err2str(m->err);
    char why[2 * KAFKA_WHY];

    enum meaning meaning = c->stopped ? FOR_NOW : meaning_of(m->err);

    if (c->topic_why[0] == '\0' && !c->stopped && m->err != RD_KAFKA_RESP_ERR__DESTROY)
        snprintf(c->topic_why, sizeof(c->topic_why), "%s: %s (%s)", rd_kafka_topic_name(m->rkt), words, rd_kafka_err2name(m->err));
    switch (meaning == OF_THE_BATCH && c->singly ? FOR_GOOD : meaning) {
    case OF_THE_BATCH:
        c->progress[index] = IN_DOUBT;
        c->doubts++;
        return;
    case FOR_GOOD:
        snprintf(why, sizeof(why), "Kafka refused it: %s (%s)", words, rd_kafka_err2name(m->err));
        answer(c, index, OUTBOX_REJECT, why);
        return;
    default:
        if (m->err == RD_KAFKA_RESP_ERR__FATAL)
            give_up(c, "the producer failed: ", c->link->why);
        snprintf(why, sizeof(why), "%s (%s)%s%s", words, rd_kafka_err2name(m->err), c->stopped ? ": " : "",
                 c->stopped ? c->stop_why : "");
        answer_lost(c, index, rd_kafka_message_status(m) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED, why);
    }
}

static void send_ready(struct kafka_call *c);

/* The delivery report of a message. */
static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_link *link = opaque;
    struct kafka_call *c = link->call;
    size_t index = (size_t)m->_private;

    (void)rk;
    c->owed--;
    if (was_dropped(c, m)) {
        c->progress[index] = DROPPED;
        c->dropped++;
    } else if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        answer_failure(c, index, m);
    } else {
        link->down_since = 0;
        answer(c, index, OUTBOX_PUBLISHED, NULL);
    }
    if (!c->singly && !c->sending)
        send_ready(c);
}

/* ---- sending ---- */

/* Brokers say little of a name that is none, and librdkafka waits for it to appear. */
static int is_topic(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return size > 0 && size <= 249 && name[size] == '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int is_last_topic(const struct kafka_link *link, const char *name)
{
    return link->topic != NULL && strcmp(rd_kafka_topic_name(link->topic), name) == 0;
}

/* What Kafka cannot take; NULL when it may. */
static const char *misfit(const struct kafka_link *link)
{
    int64_t most = outbox_target_number(link->kafka->target, "max_message");
    size_t size;

    outbox_envelope_payload(link->envelope, &size);
    if (most > 0 && size > (size_t)most)
        return "too large: the payload is larger than kafka.max_message";
    if (!is_last_topic(link, outbox_envelope_topic(link->envelope)) && !is_topic(outbox_envelope_topic(link->envelope)))
        return "its topic is none for Kafka, which takes up to 249 letters, digits, \".\", \"_\" and \"-\": see "
               "topic.map";
    return NULL;
}

static rd_kafka_topic_t *topic_of(struct kafka_link *link, const char *name)
{
    if (is_last_topic(link, name))
        return link->topic;
    if (link->topic != NULL)
        rd_kafka_topic_destroy(link->topic);
    link->topic = rd_kafka_topic_new(link->rk, name, NULL);
    return link->topic;
}

static rd_kafka_headers_t *headers_of(const outbox_envelope *e)
{
    size_t count;
    const outbox_meta *metas = outbox_envelope_metas(e, &count);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(count);

    for (size_t i = 0; headers != NULL && i < count; i++)
        if (rd_kafka_header_add(headers, metas[i].name, (ssize_t)metas[i].name_size, metas[i].value,
                                (ssize_t)metas[i].value_size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_headers_destroy(headers);
            headers = NULL;
        }
    return headers;
}

/* Without a key it must be NULL, not empty: only then it goes to any partition. */
static rd_kafka_resp_err_t produce(struct kafka_link *link, const outbox_record *r, size_t index)
{
    const char *key = outbox_record_partition_key(r);
    rd_kafka_topic_t *topic = topic_of(link, outbox_envelope_topic(link->envelope));
    rd_kafka_headers_t *headers = topic != NULL ? headers_of(link->envelope) : NULL;
    size_t size;
    void *payload = (void *)(uintptr_t)outbox_envelope_payload(link->envelope, &size);
    rd_kafka_vu_t parts[] = {
        { .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic },
        { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
        { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)(uintptr_t)key, key != NULL ? strlen(key) : 0 } },
        { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { payload, size } },
        { .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers },
        { .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)index },
    };
    rd_kafka_resp_err_t code;
    rd_kafka_error_t *err;

    if (headers == NULL)
        return topic == NULL ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR__QUEUE_FULL;
    err = rd_kafka_produceva(link->rk, parts, sizeof(parts) / sizeof(parts[0]));
    if (err == NULL)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    code = rd_kafka_error_code(err);
    rd_kafka_error_destroy(err);
    rd_kafka_headers_destroy(headers);
    return code;
}

/* The producer did not even take it. */
static void answer_refused(struct kafka_call *c, size_t index, rd_kafka_resp_err_t err)
{
    char why[KAFKA_WHY];

    if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        answer(c, index, OUTBOX_REJECT, "too large: larger than kafka.message.max.bytes");
        return;
    }
    snprintf(why, sizeof(why), "librdkafka did not take it: %s (%s)", rd_kafka_err2str(err), rd_kafka_err2name(err));
    if (meaning_of(err) == FOR_GOOD)
        answer(c, index, OUTBOX_REJECT, why);
    else
        answer(c, index, OUTBOX_RETRY, why);
}

static void send_one(struct kafka_call *c, const outbox_record *r, size_t index)
{
    const char *why;
    int rc = outbox_envelope_fill(c->link->envelope, r, &why);
    rd_kafka_resp_err_t err;

    if (rc != OUTBOX_OK) {
        answer(c, index, rc == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, why);
        return;
    }
    why = misfit(c->link);
    if (why != NULL) {
        answer(c, index, OUTBOX_REJECT, why);
        return;
    }
    err = produce(c->link, r, index);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        answer_refused(c, index, err);
        return;
    }
    c->progress[index] = SENT;
    c->owed++;
}

static void send_ready(struct kafka_call *c)
{
    const outbox_record *r;
    size_t index, sent = 0;

    c->sending = 1;
    while (!c->stopped && !c->link->fatal && (r = outbox_delivery_ready(c->delivery, &index)) != NULL) {
        send_one(c, r, index);
        /* What is acknowledged already, while it is in the processor's cache. Reports may be handed out within one here: each
         * is of another message, of which no two with one key are on their way, so their order does not matter. */
        if (++sent % SEND_RUN == 0)
            rd_kafka_poll(c->link->rk, 0);
    }
    c->sending = 0;
}

/* ---- waiting ---- */

/* What is under way is answered with how far it came. */
static void stop(struct kafka_call *c, const char *why, const char *more)
{
    give_up(c, why, more);
    rd_kafka_purge(c->link->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

static void stop_if_hopeless(struct kafka_call *c)
{
    struct kafka_link *link = c->link;
    int64_t since = link->down_since > c->waits_since ? link->down_since : c->waits_since;

    if (atomic_load(&c->cancelled))
        stop(c, "Kafka did not answer in time", "");
    else if (link->fatal)
        stop(c, "the producer failed: ", link->why);
    else if (link->down_since != 0 && kafka_now_us() - since > link->kafka->patience)
        stop(c, "no broker can be reached: ", link->why);
}

/* Until the producer has answered for all that it has. linger.ms does not count here: nothing else is coming. */
static void wait_for_all(struct kafka_call *c)
{
    int64_t until = INT64_MAX;

    c->waits_since = kafka_now_us();
    while (c->owed > 0 && kafka_now_us() < until) {
        rd_kafka_flush(c->link->rk, CHECK_MS);
        if (c->stopped || c->owed == 0)
            continue;
        stop_if_hopeless(c);
        if (c->stopped)
            until = kafka_now_us() + PURGE_US;
    }
}

/* Nothing else is under way in this producer, so each is a batch of its own. */
static void send_doubtful(struct kafka_call *c)
{
    outbox_target_log(c->link->kafka->target, OUTBOX_LOG_INFO,
                      "Kafka refused a batch of %zu messages: they go one at a time", c->doubts);
    c->doubts = 0;
    c->singly = 1;
    for (size_t i = 0; i < c->count; i++) {
        if (c->progress[i] != IN_DOUBT)
            continue;
        if (!c->stopped)
            send_one(c, outbox_delivery_message(c->delivery, i), i);
        wait_for_all(c);
    }
    c->singly = 0;
}

/* What a purged producer still says nothing of may be on its way. */
static void answer_rest(struct kafka_call *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->progress[i] == SENT)
            answer_lost(c, i, 1, c->stop_why);
}

static void send_all(struct kafka_call *c)
{
    do {
        send_ready(c);
        wait_for_all(c);
        if (c->doubts > 0)
            send_doubtful(c);
        else
            break;
    } while (!c->stopped);
    answer_dropped(c);
    if (c->stopped)
        answer_rest(c);
}

/* ---- what the relay calls ---- */

static void call_enter(struct kafka *k, struct kafka_call *c)
{
    pthread_mutex_lock(&k->lock);
    c->next = k->calls;
    k->calls = c;
    pthread_mutex_unlock(&k->lock);
}

static void call_leave(struct kafka *k, struct kafka_call *c)
{
    struct kafka_call **at;

    pthread_mutex_lock(&k->lock);
    for (at = &k->calls; *at != c; at = &(*at)->next)
        continue;
    *at = c->next;
    pthread_mutex_unlock(&k->lock);
    free(c->progress);
}

static int kafka_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct kafka *k = self;
    struct kafka_call c = { .delivery = d, .count = outbox_delivery_count(d) };

    c.progress = calloc(c.count, 1);
    if (c.progress == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.kafka", "out of memory");
    c.link = kafka_link_take(k, err);
    if (c.link == NULL) {
        free(c.progress);
        return OUTBOX_ERR_CONNECT;
    }
    c.link->call = &c;
    call_enter(k, &c);
    send_all(&c);
    call_leave(k, &c);
    kafka_link_leave(k, c.link, !c.stopped && !c.link->fatal);
    return c.stopped ? outbox_error_format(err, OUTBOX_ERR_LOST, "publisher.kafka", "%s: %s",
                                           outbox_target_shown(k->target), c.stop_why) : OUTBOX_OK;
}

static void kafka_cancel(void *self, outbox_delivery *d)
{
    struct kafka *k = self;

    pthread_mutex_lock(&k->lock);
    for (struct kafka_call *c = k->calls; c != NULL; c = c->next)
        if (c->delivery == d)
            atomic_store(&c->cancelled, 1);
    pthread_mutex_unlock(&k->lock);
}

/* A producer of its own asks any broker who is in the cluster. What went wrong it says to its callback only. */
static int kafka_reach(void *self, outbox_error **err)
{
    struct kafka *k = self;
    struct kafka_link *link = kafka_link_new(k, err);
    const struct rd_kafka_metadata *cluster = NULL;
    rd_kafka_resp_err_t said;
    int rc = OUTBOX_OK;

    if (link == NULL)
        return OUTBOX_ERR_CONF;
    said = rd_kafka_metadata(link->rk, 0, NULL, &cluster, (int)(k->patience / 1000));
    rd_kafka_poll(link->rk, 0);
    if (said == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(cluster);
    else
        rc = outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.kafka", "%s cannot be reached: %s",
                                 outbox_target_shown(k->target), link->why[0] != '\0' ? link->why : rd_kafka_err2str(said));
    kafka_link_leave(k, link, 0);
    return rc;
}

static void kafka_close(void *self)
{
    struct kafka *k = self;
    struct kafka_link *next;

    for (struct kafka_link *link = k->idle; link != NULL; link = next) {
        next = link->next;
        kafka_link_free(link);
    }
    kafka_links_end(k);
    if (k->conf != NULL)
        rd_kafka_conf_destroy(k->conf);
    pthread_cond_destroy(&k->ended);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static int kafka_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops kafka_ops = {
        .size = sizeof(kafka_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "kafka",
        .publish = kafka_publish,
        .cancel = kafka_cancel,
        .close = kafka_close,
        .reach = kafka_reach,
    };
    struct kafka *k = calloc(1, sizeof(*k));
    int rc;

    if (k == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.kafka", "out of memory");
    k->target = target;
    k->patience = outbox_target_number(target, "connect_timeout");
    k->conf = rd_kafka_conf_new();
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->ended, NULL);
    rd_kafka_conf_set_dr_msg_cb(k->conf, delivered);
    kafka_link_listen(k->conf);
    rc = outbox_target_path(target)[0] == '\0'
             ? kafka_configure(k->conf, target, err)
             : outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.kafka_url",
                                "the URL of Kafka has brokers, and no path");
    if (rc == OUTBOX_OK) {
        /* The first producer: settings that do not go together are found now. */
        k->idle = kafka_link_new(k, err);
        rc = k->idle != NULL ? OUTBOX_OK : OUTBOX_ERR_CONF;
    }
    if (rc != OUTBOX_OK) {
        kafka_close(k);
        return rc;
    }
    *ops = &kafka_ops;
    *self = k;
    return OUTBOX_OK;
}

OUTBOX_API const outbox_publisher_module *outbox_publisher_kafka(void);

OUTBOX_API const outbox_publisher_module *outbox_publisher_kafka(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .flags = OUTBOX_MODULE_EXTRA_SETTINGS,
        .name = "kafka",
        .settings = kafka_settings,
        .open = kafka_open,
    };

    return &module;
}
