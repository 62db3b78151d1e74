/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two halves of the module for RabbitMQ share: sending (rabbitmq.c) and connecting (rabbitmq_link.c). */
#ifndef OUTBOX_PUBLISHERS_RABBITMQ_H
#define OUTBOX_PUBLISHERS_RABBITMQ_H

#include <outbox/error.h>
#include <outbox/sys/publisher.h>

#include <amqp.h>
#include <amqp_framing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define RABBITMQ_CHANNEL 1
#define RABBITMQ_FRAME_MAX 131072
#define RABBITMQ_WHY 512

struct rabbitmq {
    const outbox_target *target;
    int64_t timeout; /* for connecting; µs */
    pthread_mutex_t lock;
    struct rabbitmq_link *idle;
    struct rabbitmq_call *calls;
    size_t turn; /* the host that answered last */
};

/* A connection, with one channel that confirms. */
struct rabbitmq_link {
    struct rabbitmq_link *next;
    struct rabbitmq *owner;
    amqp_connection_state_t conn;
    outbox_envelope *envelope;
    int fd;               /* -1: none; guarded by the owner's lock, because cancel() shuts it down */
    uint64_t tag;         /* how many messages were sent on this channel */
    int open;             /* the channel is */
    char why[RABBITMQ_WHY]; /* why it does not work */
};

/* Makes a link without a connection; NULL with an error. */
struct rabbitmq_link *rabbitmq_link_new(struct rabbitmq *r, outbox_error **err);
/* Connects to the first host that answers, unless it is connected. A cancel is noticed while a host's name is looked for, and
 * before the next one. Returns 1, or 0 with link->why. */
int rabbitmq_link_connect(struct rabbitmq_link *link, atomic_int *cancelled);
/* Opens the channel, unless it is open. Returns 1, or 0 with link->why. */
int rabbitmq_link_channel(struct rabbitmq_link *link);
/* Drops the connection; a farewell is not waited for. */
void rabbitmq_link_drop(struct rabbitmq_link *link);
void rabbitmq_link_free(struct rabbitmq_link *link);
/* Notes why, after a call of the library that failed. */
void rabbitmq_link_trouble(struct rabbitmq_link *link, const char *what, int status);
/* Checks the settings that a connection would find wrong only later. */
int rabbitmq_link_check(const outbox_target *target, outbox_error **err);

#endif
