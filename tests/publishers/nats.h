/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers of NATS for the tests of its publisher: one with JetStream, the same with TLS, one with a token, one with JWTs. */
#ifndef OUTBOX_TESTS_PUBLISHERS_NATS_H
#define OUTBOX_TESTS_PUBLISHERS_NATS_H

#include "broker.h"

#include <nats/nats.h>

#define NATS_SLOW_MS 60000 /* how long a busy machine's server may take for an answer */

extern int nats_token_port, nats_jwt_port;

struct nats_session {
    natsConnection *nc;
    jsCtx *js;
};

/* For struct broker_kind. A topic is a stream with that subject; a broken one takes no message. */
int nats_start(struct broker *b);
int nats_wait(struct broker *b);
void nats_url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf);
int nats_make(struct broker *b, const char *topic, int broken);
long nats_consume(struct broker *b, const char *topic, broker_take *take, void *user);

/* A connection of the tests' own to the server that has the topic: "tls" is on the one with TLS. 1, or 0. */
int nats_reach(const struct broker *b, const char *topic, struct nats_session *s);
void nats_leave(struct nats_session *s);
void nats_hand_over(natsMsg *m, broker_take *take, void *user);

#endif
