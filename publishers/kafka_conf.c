/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the settings of the publisher for Kafka to those of librdkafka. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const outbox_setting kafka_settings[] = {
    { "user", OUTBOX_SETTING_TEXT, "", 0, 255, NULL, "User of SASL; empty: that of the URL." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password of the user." },
    { "client_secret", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL,
      "Secret by which librdkafka gets a token for the user to log in with (OAuth, OIDC), instead of a password." },
    { "max_message", OUTBOX_SETTING_SIZE, "0", 0, INT64_C(1) << 30, NULL,
      "Largest payload: larger ones are rejected without being sent; 0: kafka.message.max.bytes alone decides." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 100000, INT64_C(3600000000), NULL,
      "How long messages wait while no broker can be reached, before they are given back to the relay." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

/* librdkafka's own words for a value name the value, which may be a secret: they are shown for what is none. */
static int set(rd_kafka_conf_t *conf, const char *name, const char *value, int secret, outbox_error **err)
{
    char why[KAFKA_WHY];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
        return OUTBOX_OK;
    return outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.kafka_conf", "kafka.%s: %s", name,
                               secret ? "librdkafka does not take the value" : why);
}

/* What the promises of this publisher rest on, and what has a setting of its own, where it is kept secret. */
static int set_extra(rd_kafka_conf_t *conf, const outbox_header *extra, outbox_error **err)
{
    static const struct {
        const char *name, *instead;
    } ours[] = {
        { "bootstrap.servers", "name the brokers in the URL" },
        { "metadata.broker.list", "name the brokers in the URL" },
        { "acks", "messages count as published once all replicas in sync have them" },
        { "request.required.acks", "messages count as published once all replicas in sync have them" },
        { "transactional.id", "transactions are not used" },
        { "sasl.username", "set kafka.user" },
        { "sasl.password", "set kafka.password" },
        { "ssl.key.password", "set kafka.tls.key_password" },
        { "ssl.key.pem", "set kafka.tls.key_file" },
        { "ssl.keystore.password", "set kafka.tls.cert_file and kafka.tls.key_file" },
        { "sasl.oauthbearer.client.secret", "set kafka.client_secret" },
    };

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcmp(ours[i].name, extra->name) == 0)
            return outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.kafka_conf", "kafka.%s cannot be set: %s",
                                       extra->name, ours[i].instead);
    return set(conf, extra->name, extra->value, 0, err);
}

static int set_brokers(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err)
{
    size_t count, size, used = 0;
    const outbox_endpoint *at = outbox_target_endpoints(t, &count);
    char *list;
    int rc;

    for (size_t i = size = 0; i < count; i++)
        size += strlen(at[i].host) + 20;
    list = malloc(size + 1);
    if (list == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.kafka", "out of memory");
    list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *host = at[i].host[0] != '\0' ? at[i].host : "localhost";
        int v6 = strchr(host, ':') != NULL;

        used += (size_t)snprintf(list + used, size + 1 - used, "%s%s%s%s:%d", i > 0 ? "," : "", v6 ? "[" : "", host,
                                 v6 ? "]" : "", at[i].port != 0 ? at[i].port : 9092);
    }
    rc = set(conf, "bootstrap.servers", list, 0, err);
    free(list);
    return rc;
}

/* Who logs in: by a token that librdkafka gets for a secret, by name and password, or nobody. */
static int set_login(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err)
{
    const char *user = outbox_target_secret(t, "user"), *password = outbox_target_secret(t, "password");
    const char *client = outbox_target_secret(t, "client_secret");
    const struct {
        const char *name, *value; /* no value: not set */
        int secret;
    } rows[] = {
        { "sasl.mechanism", client != NULL ? "OAUTHBEARER" : "PLAIN", 0 },
        { "sasl.oauthbearer.method", client != NULL ? "oidc" : NULL, 0 },
        { client != NULL ? "sasl.oauthbearer.client.id" : "sasl.username", user, 0 },
        { client != NULL ? "sasl.oauthbearer.client.secret" : "sasl.password",
          client != NULL ? client : password != NULL ? password : "", 1 },
    };
    int rc = OUTBOX_OK;

    if (client != NULL && password != NULL)
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.kafka_conf",
                                "kafka.password and kafka.client_secret are two ways to log in: take one away");
    if (user == NULL && client == NULL)
        return OUTBOX_OK;
    for (size_t i = 0; rc == OUTBOX_OK && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].value != NULL)
            rc = set(conf, rows[i].name, rows[i].value, rows[i].secret, err);
    return rc;
}

/* From the settings that all modules have to librdkafka's names. */
static int set_security(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err)
{
    static const struct {
        const char *ours, *theirs;
    } texts[] = {
        { "tls.ca_file", "ssl.ca.location" },
        { "tls.cert_file", "ssl.certificate.location" },
        { "tls.key_file", "ssl.key.location" },
    };
    static const char *const protocols[2][2] = { { "plaintext", "sasl_plaintext" }, { "ssl", "sasl_ssl" } };
    const char *key_password = outbox_target_secret(t, "tls.key_password");
    int tls = outbox_target_is(t, "kafkas"), rc = OUTBOX_OK;
    int login = outbox_target_secret(t, "user") != NULL || outbox_target_secret(t, "client_secret") != NULL;

    if (outbox_target_text(t, "tls.server_name")[0] != '\0')
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.kafka_conf",
                                "kafka.tls.server_name cannot be set: each broker is known by the name that it tells");
    rc = set(conf, "security.protocol", protocols[tls][login], 0, err);
    rc = rc == OUTBOX_OK ? set_login(conf, t, err) : rc;
    for (size_t i = 0; rc == OUTBOX_OK && i < sizeof(texts) / sizeof(texts[0]); i++)
        if (outbox_target_text(t, texts[i].ours)[0] != '\0')
            rc = set(conf, texts[i].theirs, outbox_target_text(t, texts[i].ours), 0, err);
    if (rc == OUTBOX_OK && key_password != NULL && key_password[0] != '\0')
        rc = set(conf, "ssl.key.password", key_password, 1, err);
    if (rc == OUTBOX_OK && strcmp(outbox_target_text(t, "tls.verify"), "off") == 0) {
        rc = set(conf, "enable.ssl.certificate.verification", "false", 0, err);
        rc = rc == OUTBOX_OK ? set(conf, "ssl.endpoint.identification.algorithm", "none", 0, err) : rc;
    }
    return rc;
}

/* Ours, which kafka.NAME changes; then the fixed ones. */
int kafka_configure(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err)
{
    static const char *const first[][2] = {
        { "client.id", "outbox" },
        { "enable.idempotence", "true" },
        { "partitioner", "murmur2_random" }, /* where the clients for Java put a key */
        /* What is on its way is bounded by the relay's batches. */
        { "queue.buffering.max.messages", "0" },
        { "queue.buffering.max.kbytes", "2147483647" },
        /* Longer than an election takes, and shorter than relay.publish_timeout: one partition without a leader must
         * not hold the others of a batch. */
        { "message.timeout.ms", "60000" },
        { "reconnect.backoff.max.ms", "2000" },
        /* A batch is sent at once, and its last, short segment must not wait for an acknowledgement of TCP's. */
        { "socket.nagle.disable", "true" },
        { "log.connection.close", "false" },
    };
    size_t count = 0;
    const outbox_header *extra = outbox_target_extra(t, &count);
    int rc = OUTBOX_OK;

    for (size_t i = 0; rc == OUTBOX_OK && i < sizeof(first) / sizeof(first[0]); i++)
        rc = set(conf, first[i][0], first[i][1], 0, err);
    rc = rc == OUTBOX_OK ? set_security(conf, t, err) : rc;
    for (size_t i = 0; rc == OUTBOX_OK && i < count; i++)
        rc = set_extra(conf, &extra[i], err);
    rc = rc == OUTBOX_OK ? set(conf, "acks", "all", 0, err) : rc;
    return rc == OUTBOX_OK ? set_brokers(conf, t, err) : rc;
}
