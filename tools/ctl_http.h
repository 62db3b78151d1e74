/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_TOOLS_CTL_HTTP_H
#define OUTBOX_TOOLS_CTL_HTTP_H

#include <jansson.h>

#include <stdio.h>

/* What outboxd at HOST:PORT, [HOST]:PORT or unix:PATH answers to a path that is safe in a URL. NULL with why not. */
json_t *ctl_http_get(const char *where, const char *path, char *why, size_t size);

#endif
