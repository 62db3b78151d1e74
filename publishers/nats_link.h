/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections to NATS, for the publisher. */
#ifndef OUTBOX_PUBLISHERS_NATS_LINK_H
#define OUTBOX_PUBLISHERS_NATS_LINK_H

#include "flight.h"

#include <outbox/sys/publisher.h>

#include <nats/nats.h>

enum outbox_nats_mode { JETSTREAM, CORE };

struct outbox_nats_report;

struct outbox_nats_link {
    struct outbox_link base;
    natsConnection *nc;
    natsSubscription *sub;
    char inbox[300];
    struct outbox_nats_report *report;
    outbox_envelope *envelope;
    uint64_t serial; /* of the call */
    natsMsg **taken; /* by outbox_nats_link__messages() */
    size_t room;
};

/* What a connection is made of. */
struct outbox_nats_login {
    const outbox_target *target;
    enum outbox_nats_mode mode;
    int64_t connect_ms;
    char *user, *password, *token; /* as they stand in JSON */
};

/* Connects; NULL: why not is in err. A cancel is noticed while the host's name is looked for. */
struct outbox_nats_link *outbox_nats_link__new(const struct outbox_nats_login *login, const outbox_endpoint *at,
                                               atomic_int *cancelled, outbox_error **err);
void outbox_nats_link__free(struct outbox_nats_link *link);
/* Puts the messages that came into link->taken, to be destroyed by whoever takes them; waits for the first. Returns how many;
 * closed: there will be no more. */
size_t outbox_nats_link__messages(struct outbox_nats_link *link, int64_t wait_ms, int *closed);
/* Ends the waiting, now and from then on. Any thread. */
void outbox_nats_link__wake(void *link);
/* Takes the next refusal that the server told on the connection; free it. NULL: there is none. */
char *outbox_nats_link__refusal(struct outbox_nats_link *link);
/* Ends the connection; afterwards all that the server said is among the refusals. 0: that takes too long. */
int outbox_nats_link__end(struct outbox_nats_link *link);
/* What went wrong, for people. */
void outbox_nats__say(char *why, size_t size, const char *what, natsStatus s);

#endif
