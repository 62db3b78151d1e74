/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network between the library and its PostgreSQL that tests can spoil: one thread forwards between a port of
 * 127.0.0.1 and the server's socket.
 */
#ifndef OUTBOX_TESTS_PROXY_H
#define OUTBOX_TESTS_PROXY_H

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { PROXY_LINKS = 256 };

/* `lock` guards all of it; `port` does not change. */
struct proxy {
    pthread_mutex_t lock;
    pthread_t thread;
    struct sockaddr_un server;
    int listener, port, stop, cut, mute, dribble;
    int pair[PROXY_LINKS][2]; /* towards the library, towards the server; -1: closed */
    int dead[PROXY_LINKS];    /* was cut once, and stays so */
    int count, accepted;
};

/* Returns 0 when there is no port. */
int proxy_start(struct proxy *p);
void proxy_stop(struct proxy *p);

/* 1: packets vanish, and nobody says so; what is connected stays dead. 0: who connects anew gets through. */
void proxy_cut(struct proxy *p, int cut);
/* 1: who connects is accepted and never answered. */
void proxy_mute(struct proxy *p, int mute);
/* 1: what the server says comes byte by byte. */
void proxy_dribble(struct proxy *p, int dribble);
/* How many have connected so far. */
int proxy_accepted(struct proxy *p);

#endif
