/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outboxd tells over HTTP: metrics and health, to be read only.
 *
 * Threads: libmicrohttpd's one, which answers all requests; it uses the metrics, which any thread may, daemon_walk()
 * and the log. */
#ifndef OUTBOX_TOOLS_DAEMON_HTTP_H
#define OUTBOX_TOOLS_DAEMON_HTTP_H

#include "daemon.h"

struct daemon_http;

/* Listens at HOST:PORT, [HOST]:PORT or unix:PATH, and tells the daemon's metrics. Returns NULL after logging why it
 * cannot. */
struct daemon_http *daemon_http_start(const char *listen, struct daemon *daemon);

/* Answers what it has begun to, and ends; NULL is none. */
void daemon_http_stop(struct daemon_http *http);

#endif
