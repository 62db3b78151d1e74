/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs of peers in C share: the same as peer.js, which says what is said on standard output. */
#ifndef OUTBOX_BENCH_PEERS_PEER_H
#define OUTBOX_BENCH_PEERS_PEER_H

#include <stddef.h>

enum { PEER_KEYS = 1000, PEER_PAYLOAD = 256, PEER_MOST = 1000 };

/* All end the program when something fails. */
struct peer {
    void (*setup)(void);
    /* One transaction of so many messages, whose keys go on from `first`. */
    void (*transact)(long first, size_t count);
    /* Makes what was committed since the last call ready to be drained, where that is a step of its own; or NULL. */
    void (*tick)(void);
    /* Starts the consumer, connections included; returns when so many were taken and noted as such. */
    void (*drain)(long count);
};

/* The text of a message's key; valid until the next 1000 calls. */
const char *peer_key(long n);
int peer_run(int argc, char **argv, const struct peer *peer);

#endif
