/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the status page and 'outboxctl top' show of one outbox, as JSON, at a cost that does not grow with its
 * backlog. */
#ifndef OUTBOX_TOOLS_LOOK_H
#define OUTBOX_TOOLS_LOOK_H

#include <outbox/outbox.h>

#include <jansson.h>

/* Lanes and who holds them; of the first messages: topics, dead ones, blocked keys. doc/http-api.md has the form. */
int look_overview(outbox_conn *conn, size_t rows, json_t **overview, outbox_error **err);

/* {"complete", "messages": […]}: those of the first messages that the filter lets through. */
int look_messages(outbox_conn *conn, const outbox_filter *filter, size_t rows, json_t **found, outbox_error **err);

/* One outbox's values of metrics as outbox_metrics_get() writes JSON: {"outbox_messages pending": 3, …}, with the state
 * where there is one. */
json_t *look_metrics(const json_t *all, const char *outbox);

/* A text that came from a database may not be UTF-8, which JSON must be: what can be read of it still is. NULL is
 * null. */
json_t *look_text(const char *text);

#endif
