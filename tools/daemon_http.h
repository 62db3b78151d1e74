/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outboxd tells over HTTP: metrics and health, and a status page with what that asks for.
 *
 * Threads: libmicrohttpd's, one to accept and one for each connection, so that a database that hangs keeps nobody from
 * being told of health. They use the metrics, which any thread may, daemon.h's functions for any thread, the history,
 * and the log. `lock` guards what a reload changes: the hosts and the token. */
#ifndef OUTBOX_TOOLS_DAEMON_HTTP_H
#define OUTBOX_TOOLS_DAEMON_HTTP_H

#include "daemon.h"

struct daemon_http;

/* Listens at HOST:PORT, [HOST]:PORT or unix:PATH. Returns NULL after logging why it cannot. */
struct daemon_http *daemon_http_start(const char *where, const struct cli_server *server, struct daemon *daemon);

/* Takes over all but where it listens; NULL is none. */
void daemon_http_change(struct daemon_http *http, const struct cli_server *server);

/* Answers what it has begun to, and ends; NULL is none. */
void daemon_http_stop(struct daemon_http *http);

#endif
