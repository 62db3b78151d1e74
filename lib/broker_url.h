/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URLs of brokers: scheme://user:password@host:port,host:port/path?query. */
#ifndef OUTBOX_BROKER_URL_H
#define OUTBOX_BROKER_URL_H

#include <outbox/sys/publisher.h>

#define OUTBOX_ENDPOINTS_MAX 64
#define OUTBOX_URL_MAX 8192

struct outbox_broker_url {
    char *scheme, *user, *password, *path; /* decoded; user and password: NULL when there is none */
    char *given; /* the whole, without user and password */
    char *shown; /* the same without query */
    outbox_endpoint *endpoints;
    size_t endpoint_count;
    outbox_header *query; /* decoded; NULL when it was not asked for */
    size_t query_count;
};

/* Takes one apart. with_query: whether the query is, too. The reason says what is wrong, without quoting it: OUTBOX_OK,
 * OUTBOX_ERR_INVALID or OUTBOX_ERR_NOMEM. Free it after a failure, too. */
int outbox_broker_url__parse(const char *text, int with_query, struct outbox_broker_url *url, const char **reason);
void outbox_broker_url__free(struct outbox_broker_url *url);

#endif
