/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kafka.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#define BROKERS 3
#define PARTITIONS 4

static int ports[BROKERS];
static char brokers[100], tls_broker[40];

static void file_path(const struct broker *b, const char *name, char path[120])
{
    snprintf(path, 120, "%s/%s", b->directory, name);
}

/* Ports, pipes and certificates, which stay when the cluster is started again. */
static int prepare(struct broker *b)
{
    char path[120];
    int used = 0;

    for (int i = 0; i < BROKERS; i++) {
        ports[i] = broker_port();
        used += snprintf(brokers + used, sizeof brokers - (size_t)used, "%s127.0.0.1:%d", i > 0 ? "," : "", ports[i]);
    }
    b->port = ports[0];
    b->tls_port = broker_port();
    snprintf(tls_broker, sizeof tls_broker, "localhost:%d", b->tls_port);
    for (int i = 0; i < 4; i++) {
        file_path(b, (const char *const[]){ "commands", "answers", "tls-commands", "tls-answers" }[i], path);
        if (mkfifo(path, 0600) != 0)
            return -1;
    }
    return broker_certificates(b);
}

/* The mock speaks no TLS: a cluster of one broker has socat before it, which asks for a client's certificate, and tells
 * clients of socat's port, and of the name in its certificate. */
int kafka_start(struct broker *b)
{
    static char command[900];
    const char *build = getenv("OUTBOX_BUILDDIR");
    char here[200];
    int behind = broker_port();

    if (b->port == 0 && prepare(b) != 0)
        return -1;
    if (build == NULL)
        build = getcwd(here, sizeof here);
    snprintf(command, sizeof command,
             "mock='%s/tests/publishers/kafka_mock'; "
             "setpriv --pdeathsig KILL \"$mock\" tls-commands tls-answers %d=%d & "
             "setpriv --pdeathsig KILL socat OPENSSL-LISTEN:%d,bind=127.0.0.1,fork,reuseaddr,cert=server.pem,key=server.key,"
             "cafile=ca.pem,verify=1 TCP:127.0.0.1:%d & "
             "exec \"$mock\" commands answers %d %d %d",
             build, behind, b->tls_port, b->tls_port, behind, ports[0], ports[1], ports[2]);
    return broker_run(b, (const char *const[]){ "sh", "-c", command, NULL });
}

int kafka_wait(struct broker *b)
{
    for (int i = 0; i < BROKERS; i++)
        if (broker_wait_port(ports[i]) != 0)
            return -1;
    return broker_wait_port(b->tls_port);
}

int kafka_tell(struct broker *b, const char *format, ...)
{
    char command[300], answer[300] = "", path[120];
    int commands, answers;
    struct pollfd fd;
    va_list arguments;
    ssize_t n = 0;

    va_start(arguments, format);
    vsnprintf(command, sizeof command - 1, format, arguments);
    va_end(arguments);
    strcat(command, "\n");
    file_path(b, "commands", path);
    commands = open(path, O_RDWR);
    file_path(b, "answers", path);
    answers = open(path, O_RDWR);
    fd = (struct pollfd){ .fd = answers, .events = POLLIN };
    if (write(commands, command, strlen(command)) == (ssize_t)strlen(command) && poll(&fd, 1, 60000) == 1)
        n = read(answers, answer, sizeof answer - 1);
    answer[n > 0 ? n : 0] = '\0';
    close(commands);
    close(answers);
    return CHECK(strcmp(answer, "ok\n") == 0, "%s: %s", command, answer) ? 0 : -1;
}

static void set_file(outbox_conf *conf, const char *key, const struct broker *b, const char *name)
{
    char path[120];

    file_path(b, name, path);
    CHECK_INT(outbox_conf_set(conf, key, path, NULL), OUTBOX_OK);
}

void kafka_url(struct broker *b, enum broker_way way, char *url, size_t size, outbox_conf *conf)
{
    if (way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA) {
        snprintf(url, size, "kafkas://%s:%d", way == BROKER_WRONG_NAME ? "127.0.0.1" : "localhost", b->tls_port);
        set_file(conf, "kafka.tls.ca_file", b, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
        set_file(conf, "kafka.tls.cert_file", b, "client.pem");
        set_file(conf, "kafka.tls.key_file", b, "client.key");
    } else {
        snprintf(url, size, "kafka://%s", brokers);
    }
    CHECK_INT(outbox_conf_set(conf, "kafka.topic.metadata.propagation.max.ms", "500", NULL), OUTBOX_OK);
    /* By TLS there is always somebody, whom a busy machine lets answer late. */
    CHECK_INT(outbox_conf_set(conf, "kafka.connect_timeout", way == BROKER_BY_TLS ? "60s" : "3s", NULL), OUTBOX_OK);
}

/* One that is there has what it had: no test uses a name twice. Where the cluster is hit once messages were seen in
 * it, it is as slow as a distant one, or all would be there before. */
int kafka_make(struct broker *b, const char *topic, int broken)
{
    if (strcmp(topic, "killed") == 0 && kafka_tell(b, "slow 0 300 20") != 0)
        return -1;
    if (broken)
        return kafka_tell(b, "topic_error %s %d", topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    return kafka_tell(b, "topic %s %d", topic, PARTITIONS);
}

/* ---- By the client library alone ---- */

static void note_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    *(size_t *)opaque += m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_t *producer(size_t *delivered)
{
    static const char *const settings[][2] = { { "enable.idempotence", "true" }, { "partitioner", "murmur2_random" },
                                               { "socket.nagle.disable", "true" } };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[300];

    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why);
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why);
    rd_kafka_conf_set_dr_msg_cb(conf, note_delivered);
    rd_kafka_conf_set_opaque(conf, delivered);
    return rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
}

/* With what the module sends. */
static rd_kafka_headers_t *headers_of(const outbox_record *r)
{
    const char *metas[TAKEN_METAS][2];
    size_t count = parcel_metas(r, metas);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(metas[i][0], "outbox-key") != 0) /* that is the record's */
            rd_kafka_header_add(headers, metas[i][0], -1, metas[i][1], -1);
    return headers;
}

int kafka_baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    size_t delivered = 0;
    rd_kafka_t *rk = producer(&delivered);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);

    (void)b;
    for (size_t i = 0; i < p->count; i++) {
        const outbox_record *r = parcel_record(p, i);
        const char *key = outbox_record_partition_key(r);
        size_t size;
        void *payload = (void *)(uintptr_t)outbox_record_payload(r, &size);
        rd_kafka_vu_t parts[] = {
            {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = handle},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
            {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key, key != NULL ? strlen(key) : 0}},
            {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {payload, size}},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers_of(r)},
        };

        rd_kafka_error_destroy(rd_kafka_produceva(rk, parts, sizeof parts / sizeof parts[0]));
        rd_kafka_poll(rk, 0);
        while (rd_kafka_outq_len(rk) >= (int)window && rd_kafka_poll(rk, 1000) >= 0)
            continue;
    }
    rd_kafka_flush(rk, 60000);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(rk);
    return delivered == p->count ? 0 : -1;
}

/* ---- A consumer ---- */

/* Who takes the messages may kill the cluster, or has had enough: nobody hears of an end then. */
struct reading {
    struct broker *b;
    rd_kafka_t *rk;
    broker_take *take;
    void *user;
    const int *enough;
};

static void hand_over(const rd_kafka_message_t *m, broker_take *take, void *user)
{
    struct taken taken = { .payload = m->payload, .size = m->len };
    char key[300];
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;

    /* Without a key it is NULL, not empty. */
    CHECK(m->key == NULL || m->key_len > 0, "an empty key");
    snprintf(key, sizeof key, "%.*s", (int)m->key_len, m->key != NULL ? (const char *)m->key : "");
    if (m->key != NULL)
        taken_add(&taken, "outbox-key", key);
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
            taken_add(&taken, name, value);
    take(user, &taken);
}

/* All that a partition has now. */
static long read_partition(struct reading *r, rd_kafka_topic_t *topic, int partition)
{
    long n = 0;
    int at_end = 0, failed = rd_kafka_consume_start(topic, partition, RD_KAFKA_OFFSET_BEGINNING) != 0;
    struct patience patience;

    patience_start(&patience);
    while (!at_end && !failed && (r->enough == NULL || !*r->enough)) {
        rd_kafka_message_t *m = rd_kafka_consume(topic, partition, 50);

        rd_kafka_poll(r->rk, 0);
        if (m == NULL) {
            failed = r->b->pid == 0 || !patience_wait(&patience);
            continue;
        }
        at_end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            hand_over(m, r->take, r->user);
            n++;
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consume_stop(topic, partition);
    return failed ? -1 : n;
}

static int set_tls(rd_kafka_conf_t *conf, const struct broker *b, char *why, size_t size)
{
    static const char *const files[][2] = { { "ssl.ca.location", "ca.pem" }, { "ssl.certificate.location", "client.pem" },
                                            { "ssl.key.location", "client.key" } };
    int good = rd_kafka_conf_set(conf, "security.protocol", "ssl", why, size) == RD_KAFKA_CONF_OK;

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[120];

        file_path(b, files[i][1], path);
        good &= rd_kafka_conf_set(conf, files[i][0], path, why, size) == RD_KAFKA_CONF_OK;
    }
    return good;
}

/* Of the cluster behind TLS, when there is a broker to say where its certificates are. */
static rd_kafka_t *consumer(const struct broker *tls)
{
    /* That a partition ends is said by a fetch that finds nothing, and that waits for fetch.wait.max.ms. */
    static const char *const settings[][2] = { { "enable.partition.eof", "true" }, { "log_level", "0" },
                                               { "fetch.wait.max.ms", "5" }, { "fetch.error.backoff.ms", "5" },
                                               { "reconnect.backoff.ms", "10" }, { "reconnect.backoff.max.ms", "50" } };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[300] = "";
    rd_kafka_t *rk;

    rd_kafka_conf_set(conf, "bootstrap.servers", tls != NULL ? tls_broker : brokers, why, sizeof why);
    CHECK(tls == NULL || set_tls(conf, tls, why, sizeof why), "%s", why);
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        CHECK(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) == RD_KAFKA_CONF_OK, "%s", why);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    CHECK(rk != NULL, "no consumer: %s", why);
    return rk;
}

rd_kafka_t *kafka_consumer(void)
{
    return consumer(NULL);
}

/* The topic "tls" is in the cluster behind TLS. */
long kafka_consume_until(struct broker *b, const char *topic, broker_take *take, void *user, const int *enough)
{
    struct reading r = { b, consumer(strcmp(topic, "tls") == 0 ? b : NULL), take, user, enough };
    rd_kafka_topic_t *handle = r.rk != NULL ? rd_kafka_topic_new(r.rk, topic, NULL) : NULL;
    long n = 0;

    if (!CHECK(handle != NULL, "no consumer"))
        return -1;
    for (int i = 0; i < PARTITIONS && n >= 0; i++) {
        long more = read_partition(&r, handle, i);

        n = more < 0 ? -1 : n + more;
    }
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(r.rk);
    return n;
}

long kafka_consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    return kafka_consume_until(b, topic, take, user, NULL);
}
