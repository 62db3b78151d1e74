/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where outboxd listens: HOST:PORT, [HOST]:PORT or unix:PATH. */
#ifndef OUTBOX_TOOLS_DAEMON_LISTEN_H
#define OUTBOX_TOOLS_DAEMON_LISTEN_H

#include "daemon_log.h"

#include <stdbool.h>

/* Zero-initialise all but the log. */
struct daemon_listen {
    struct daemon_log *log;
    char *path; /* of the Unix socket, or NULL */
    bool local; /* a Unix socket or a loopback address */
    bool loopback; /* the latter, which names of strangers may lead a browser to */
};

/* A socket that listens, or -1 after saying why not. */
int daemon_listen_open(struct daemon_listen *l, const char *where);
/* Takes the Unix socket's name away; the socket itself is its user's to close. */
void daemon_listen_close(struct daemon_listen *l);

#endif
