/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections by AMQP 1.0, for the publisher. A link belongs to the thread in publish(); only amqp1_link_wake() may
 * come from any other. */
#ifndef OUTBOX_PUBLISHERS_AMQP1_H
#define OUTBOX_PUBLISHERS_AMQP1_H

#include "flight.h"

#include <outbox/sys/publisher.h>

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/session.h>
#include <proton/ssl.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#define AMQP1_WHY 400

/* What a connection is made of. */
struct amqp1_login {
    const outbox_target *target;
    int tls;
    const char *mechanism; /* of SASL */
    int64_t connect_ms, heartbeat_ms;
};

/* An address that messages go to: a sending link, in a session of its own, so that a peer that ends the session for
 * what one address was sent ends nothing else. */
struct amqp1_sender {
    struct amqp1_sender *next;
    char *address;
    pn_session_t *session;
    pn_link_t *link;
    size_t in_flight;
    int attached; /* the peer has taken it */
};

struct amqp1_link;

/* What happens in amqp1_link_step(). */
struct amqp1_events {
    void (*delivery)(void *user, size_t index, pn_delivery_t *delivery);
    /* The peer has taken it; nothing was sent before. */
    void (*attached)(void *user, struct amqp1_sender *sender);
    /* The peer has ended it; condition: why, NULL: it did not say. It is gone afterwards. */
    void (*ended)(void *user, const struct amqp1_sender *sender, const char *condition, const char *why);
};

struct amqp1_link {
    struct outbox_link base;
    const struct amqp1_login *login;
    int fd, wake[2];
    atomic_int cancelled;
    pn_connection_driver_t driver;
    int driving, opened, lost;
    struct amqp1_sender *senders; /* the one that was used last is the first */
    size_t sender_count;
    uint64_t names;
    int64_t used_ms;
    outbox_envelope *envelope;
    pn_message_t *message;
    char *bytes; /* the message that was made last */
    size_t size, room;
    const struct amqp1_events *events;
    void *user;
    char why[AMQP1_WHY]; /* why it is lost */
};

/* Whether certificates and keys can be used; if not, err says which. */
int amqp1_link_check_tls(const outbox_target *target, outbox_error **err);

/* Not connected yet; NULL: why not is in err. */
struct amqp1_link *amqp1_link_new(const struct amqp1_login *login, outbox_error **err);
/* Says goodbye if that takes no time. */
void amqp1_link_free(struct amqp1_link *link);
/* 0: link->why says why not. */
int amqp1_link_connect(struct amqp1_link *link, const outbox_endpoint *at);
/* Whether it is still there, and will be for the next moment. */
int amqp1_link_is_fit(struct amqp1_link *link);
/* Writes and reads what it can, and tells of it; waits until something came, at most so long. 0: it is lost. */
int amqp1_link_step(struct amqp1_link *link, int64_t timeout_ms);
/* Ends the waiting, now and from then on. Any thread. */
void amqp1_link_wake(void *link);

/* The sender for an address; NULL: there are too many, and all have messages on their way, or there is no memory. */
struct amqp1_sender *amqp1_link_sender(struct amqp1_link *link, const char *address);

/* Makes bytes of what is in the link's envelope. NULL: done; else why not. */
const char *amqp1_message_make(struct amqp1_link *link, const outbox_record *record);
/* Where the message goes, by the setting amqp1.address; NULL: no memory. */
char *amqp1_message_address(const struct amqp1_link *link);

#endif
