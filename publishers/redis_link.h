/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to Redis: a socket that never blocks, TLS, commands that wait to be written, replies that were read.
 *
 * Used by one thread at a time, the one in publish(); redis_link_wake() may come from any other. */
#ifndef OUTBOX_PUBLISHERS_REDIS_LINK_H
#define OUTBOX_PUBLISHERS_REDIS_LINK_H

#include <outbox/sys/publisher.h>

#include <stdatomic.h>

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

struct redis_link {
    int fd; /* -1: not connected */
    int wake[2];
    atomic_int cancelled;
    SSL *ssl;
    short wants; /* what TLS waits for before it can go on, as in struct pollfd */
    redisReader *reader;
    char *out; /* commands, from what is not written yet */
    size_t from, to, room;
    uint64_t queued, written; /* bytes of commands since it was connected */
    int no_memory;
    char why[400]; /* why it is lost */
};

enum redis_step { REDIS_MOVED, REDIS_TIMEOUT, REDIS_LOST, REDIS_CANCELLED };

/* What a TLS connection needs; NULL with an error: certificates or keys cannot be used. */
SSL_CTX *redis_link_tls(const outbox_target *target, outbox_error **err);

/* 0: no memory, or no file descriptors. */
int redis_link_init(struct redis_link *link);
void redis_link_free(struct redis_link *link);

/* Connects, proves who both are, and says which database is meant; one after the other of the hosts, from *turn on.
 * Returns REDIS_MOVED when it is connected. */
enum redis_step redis_link_connect(struct redis_link *link, const outbox_target *target, SSL_CTX *tls, unsigned *turn);
void redis_link_disconnect(struct redis_link *link);

/* Whether nobody has ended it while it was idle. */
int redis_link_is_fit(const struct redis_link *link);

/* A command of n arguments begins; then each argument. */
void redis_link_begin(struct redis_link *link, size_t n);
void redis_link_add(struct redis_link *link, const void *data, size_t size);

/* Writes and reads what it can; waits until something moved, at most so long. */
enum redis_step redis_link_step(struct redis_link *link, int64_t timeout_ms);

/* The next reply, to be freed by freeReplyObject(); NULL: none yet. 0: it is no reply, the link is of no use. */
int redis_link_reply(struct redis_link *link, redisReply **reply);

/* Makes a step return REDIS_CANCELLED, this one or the next. */
void redis_link_wake(struct redis_link *link);

/* Monotonic milliseconds. */
int64_t redis_link_clock(void);

#endif
