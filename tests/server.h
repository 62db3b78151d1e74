/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A broker's server that a test starts, kills and stops on its own: a process in a folder of its own, with a free port of
 * 127.0.0.1. It dies with the test.
 */
#ifndef OUTBOX_TESTS_SERVER_H
#define OUTBOX_TESTS_SERVER_H

#include <sys/types.h>

struct server {
    char folder[64];
    int port;
    pid_t pid;           /* 0: it does not run */
    const char *argv[24]; /* how it is started; ends with NULL */
};

/* Makes the folder, and finds a port. Returns 0, or -1. */
int server_prepare(struct server *s);
/* Whether a program is there, also where ordinary users do not look. */
int server_installed(const char *program);
/* Starts it, and waits until it takes connections. Returns 0, or -1 with a note. */
int server_start(struct server *s);
/* Sends a signal: SIGSTOP, SIGCONT. */
void server_signal(const struct server *s, int number);
/* Ends it with SIGTERM or SIGKILL, and waits until it is gone. */
void server_stop(struct server *s, int number);
/* Kills it if it runs, and removes the folder. */
void server_free(struct server *s);

/* A file in its folder; the path is static until the next call but seven. */
const char *server_file(const struct server *s, const char *name);
/* Writes such a file. */
void server_write(const struct server *s, const char *name, const char *format, ...);
/* Makes ca.pem, and server.pem with server.key for `names` ("DNS:localhost,IP:127.0.0.1"), and client.pem with client.key.
 * Returns 0, or -1. */
int server_certificates(const struct server *s, const char *names);

#endif
