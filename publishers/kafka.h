/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the module for Kafka share: sending (kafka.c), producers (kafka_link.c), settings (kafka_conf.c). */
#ifndef OUTBOX_PUBLISHERS_KAFKA_H
#define OUTBOX_PUBLISHERS_KAFKA_H

#include <outbox/error.h>
#include <outbox/sys/publisher.h>

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#define KAFKA_WHY 512

struct kafka_call;

struct kafka {
    const outbox_target *target;
    rd_kafka_conf_t *conf; /* each producer gets a copy */
    int64_t patience;      /* how long no broker may be reachable; µs */
    pthread_mutex_t lock;
    struct kafka_link *idle;
    struct kafka_call *calls;
    size_t ending;          /* links that are being freed */
    pthread_cond_t ended;
};

/* A producer. */
struct kafka_link {
    struct kafka_link *next;
    struct kafka *kafka;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic; /* of the last message */
    outbox_envelope *envelope;
    struct kafka_call *call;       /* whose messages it sends */
    int64_t down_since;      /* no broker was reachable, and nothing got through since; monotonic µs; 0: not so */
    int fatal;               /* it will never send again */
    char why[KAFKA_WHY];      /* the last trouble with a broker */
};

extern const outbox_setting kafka_settings[];

/* Sets all that a producer needs but callbacks. Returns OUTBOX_OK, OUTBOX_ERR_CONF, OUTBOX_ERR_NOMEM. */
int kafka_configure(rd_kafka_conf_t *conf, const outbox_target *t, outbox_error **err);

int64_t kafka_now_us(void);

/* Sets what hears of trouble, and of lines for a log. */
void kafka_link_listen(rd_kafka_conf_t *conf);
/* NULL: why not is in err. */
struct kafka_link *kafka_link_new(struct kafka *k, outbox_error **err);
/* One without work, or a new one. */
struct kafka_link *kafka_link_take(struct kafka *k, outbox_error **err);
/* Keeps it for the next, or has it freed, which nobody waits for. */
void kafka_link_leave(struct kafka *k, struct kafka_link *link, int keep);
void kafka_link_free(struct kafka_link *link);
/* Waits until all that was left to be freed is. */
void kafka_links_end(struct kafka *k);

#endif
