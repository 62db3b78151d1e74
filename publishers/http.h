/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two halves of the module for HTTP share: connections and answers (http.c), and requests (http_request.c). */
#ifndef OUTBOX_PUBLISHERS_HTTP_H
#define OUTBOX_PUBLISHERS_HTTP_H

#include <outbox/sys/publisher.h>

#include <curl/curl.h>
#include <stddef.h>

/* What is kept of an answer's body as the reason. */
#define HTTP_BODY_KEPT 400
/* Where the topic stands in a URL. */
#define HTTP_TOPIC_MARK "{topic}"

/* One request at a time. */
struct http_slot {
    CURL *easy;
    struct curl_slist *headers;
    outbox_envelope *envelope; /* its own: the payload may be the envelope's */
    size_t index;
    int busy;
    int whole; /* all headers of the answer came: libcurl takes a connection that ends among them for the end of the answer */
    size_t received;
    char body[HTTP_BODY_KEPT + 1];
    char error[CURL_ERROR_SIZE];
};

/* Prepares the request for what is in the slot's envelope, to a URL with {topic}. 0: why not is in fault, or, when that is
 * NULL, there is no memory. */
int http_request_make(struct http_slot *slot, const char *url, const outbox_record *record, const char **fault);

#endif
