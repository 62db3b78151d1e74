/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other side of the publisher for AMQP 1.0, and a client beside it: a socket that blocks, and qpid-proton. */
#ifndef OUTBOX_TESTS_PUBLISHERS_AMQP1_WIRE_H
#define OUTBOX_TESTS_PUBLISHERS_AMQP1_WIRE_H

#include "broker.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

struct wire {
    pn_connection_driver_t driver;
    int fd;
};

typedef void wire_take(void *user, pn_event_t *event);

/* Takes over the socket; as a server, or a client that logs in with a user, who may be NULL. 0, or -1. */
int wire_open(struct wire *w, int fd, int server, const char *user, const char *password);
/* Before anything is said by a server: TLS, with a client that has a certificate of ca.pem and is known by it. */
int wire_certify(struct wire *w, const struct broker *b);
/* Connects to a port of this machine first. */
int wire_connect(struct wire *w, int port, const char *user, const char *password);
/* Hands over what happened, writes all that is to be said, and waits for more. 0: it has ended. */
int wire_step(struct wire *w, wire_take *take, void *user);
void wire_close(struct wire *w);

/* A peer that answers each message as its content type says: see amqp1_peer.c. */
extern const struct broker_test amqp1_peer_tests[];

#endif
