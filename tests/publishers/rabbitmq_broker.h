/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A private RabbitMQ for the tests of publishers, and its queues. */
#ifndef OUTBOX_TESTS_PUBLISHERS_RABBITMQ_BROKER_H
#define OUTBOX_TESTS_PUBLISHERS_RABBITMQ_BROKER_H

#include "broker.h"

#include <amqp.h>

#define RABBITMQ_PASSWORD "pa:ss@word"

/* For struct broker_kind. */
int rabbitmq_start(struct broker *b);
int rabbitmq_wait(struct broker *b);
/* A queue that is durable; a broken topic has none. */
int rabbitmq_make(struct broker *b, const char *topic, int broken);

/* An own connection with a channel, by AMQP 0-9-1; NULL: none. */
amqp_connection_state_t rabbitmq_reach(const struct broker *b);
/* A test of both publishers: whom the server lets in by TLS. */
void rabbitmq_test_certificates(struct broker *b);
/* Sets a setting to the path of a file in the broker's folder; to none, when name is empty. */
void rabbitmq_set_file(outbox_conf *conf, const char *key, const struct broker *b, const char *name);

#endif
