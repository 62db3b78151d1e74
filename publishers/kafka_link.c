/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Producers of the publisher for Kafka, and what they say of themselves. */
#include "kafka.h"
#include "detached.h"

#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

/* On the thread in publish(). librdkafka goes on by itself after all of these but one. */
static void trouble(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_link *link = opaque;

    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        link->down_since = kafka_now_us();
    } else if (err == RD_KAFKA_RESP_ERR__FATAL) {
        link->fatal = 1;
        rd_kafka_fatal_error(rk, link->why, sizeof(link->why));
    } else {
        snprintf(link->why, sizeof(link->why), "%s", reason);
    }
}

/* On librdkafka's threads. To it each failure to connect is an error; to us it is not while another broker is there. */
static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct kafka_link *link = rd_kafka_opaque(rk);
    outbox_log_level ours = level <= LOG_CRIT ? OUTBOX_LOG_ERROR : OUTBOX_LOG_WARNING;

    (void)facility;
    outbox_target_log(link->kafka->target, level <= LOG_WARNING ? ours : OUTBOX_LOG_DEBUG, "librdkafka: %s", text);
}

void kafka_link_listen(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_error_cb(conf, trouble);
    rd_kafka_conf_set_log_cb(conf, log_line);
}

void kafka_link_free(struct kafka_link *link)
{
    if (link->topic != NULL)
        rd_kafka_topic_destroy(link->topic);
    if (link->rk != NULL)
        rd_kafka_destroy(link->rk);
    outbox_envelope_free(link->envelope);
    free(link);
}

struct kafka_link *kafka_link_new(struct kafka *k, outbox_error **err)
{
    static const outbox_envelope_style style = {
        .size = sizeof(style), .native = OUTBOX_META_BIT(OUTBOX_META_KEY), .cloudevents = "ce_",
    };
    struct kafka_link *link = calloc(1, sizeof(*link));
    rd_kafka_conf_t *conf;
    char why[KAFKA_WHY];

    if (link == NULL) {
        outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.kafka", "out of memory");
        return NULL;
    }
    link->kafka = k;
    if (outbox_envelope_new(k->target, &style, &link->envelope, err) != OUTBOX_OK) {
        kafka_link_free(link);
        return NULL;
    }
    conf = rd_kafka_conf_dup(k->conf);
    rd_kafka_conf_set_opaque(conf, link);
    link->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (link->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.kafka_conf", "librdkafka makes no producer for %s: %s",
                            outbox_target_shown(k->target), why);
        kafka_link_free(link);
        return NULL;
    }
    return link;
}

struct kafka_link *kafka_link_take(struct kafka *k, outbox_error **err)
{
    struct kafka_link *link;

    pthread_mutex_lock(&k->lock);
    link = k->idle;
    if (link != NULL)
        k->idle = link->next;
    pthread_mutex_unlock(&k->lock);
    return link != NULL ? link : kafka_link_new(k, err);
}

/* ---- The end of a producer ---- */

static void *end(void *user)
{
    struct kafka_link *link = user;
    struct kafka *k = link->kafka;

    kafka_link_free(link);
    pthread_mutex_lock(&k->lock);
    k->ending--;
    pthread_cond_signal(&k->ended);
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* A producer ends when its threads have, one of which may wait for a name server, and cannot be told not to: a call that
 * was cancelled must not wait with it. So a thread does that has nothing else to do. */
static void end_later(struct kafka *k, struct kafka_link *link)
{
    pthread_mutex_lock(&k->lock);
    k->ending++;
    pthread_mutex_unlock(&k->lock);
    if (!outbox_detached(end, link))
        end(link);
}

void kafka_links_end(struct kafka *k)
{
    pthread_mutex_lock(&k->lock);
    while (k->ending > 0)
        pthread_cond_wait(&k->ended, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

void kafka_link_leave(struct kafka *k, struct kafka_link *link, int keep)
{
    link->call = NULL;
    if (!keep) {
        end_later(k, link);
        return;
    }
    pthread_mutex_lock(&k->lock);
    link->next = k->idle;
    k->idle = link;
    pthread_mutex_unlock(&k->lock);
}
