/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A message of an outbox as a request: its URL, its headers and its body. */
#include "http.h"
#include "ascii.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *append_encoded(char *to, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            *to++ = *text;
            continue;
        }
        *to++ = '%';
        *to++ = hex[(unsigned char)*text >> 4];
        *to++ = hex[(unsigned char)*text & 15];
    }
    *to = '\0';
    return to;
}

/* The URL with the topic, every character of which that could mean something in a URL is encoded. */
static char *make_url(const char *pattern, const char *topic)
{
    const char *p, *mark;
    size_t marks = 0;
    char *url, *to;

    for (p = pattern; (p = strstr(p, HTTP_TOPIC_MARK)) != NULL; p += strlen(HTTP_TOPIC_MARK))
        marks++;
    url = to = malloc(strlen(pattern) + marks * strlen(topic) * 3 + 1);
    for (p = pattern; url != NULL && (mark = strstr(p, HTTP_TOPIC_MARK)) != NULL; p = mark + strlen(HTTP_TOPIC_MARK)) {
        memcpy(to, p, (size_t)(mark - p));
        to = append_encoded(to + (mark - p), topic);
    }
    if (url != NULL)
        strcpy(to, p);
    return url;
}

/* Headers that say how a request travels, or who sends it: a message has no say in that. */
static int is_reserved(const outbox_meta *meta)
{
    static const char *const names[] = {
        "authorization", "connection", "content-length", "cookie", "expect", "host", "idempotency-key", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
    };
    size_t i;

    for (i = 0; meta->kind == OUTBOX_META_HEADER && i < sizeof(names) / sizeof(names[0]); i++)
        if (outbox_ascii__same(meta->name, names[i], SIZE_MAX))
            return 1;
    return 0;
}

/* Returns 0 when there is no memory. */
static int add_header(struct http_slot *slot, const char *name, const char *value)
{
    /* libcurl writes a header without a value only when a semicolon takes the colon's place. */
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    struct curl_slist *more = NULL;

    if (line != NULL) {
        snprintf(line, size, value[0] != '\0' ? "%s: %s" : "%s;", name, value);
        more = curl_slist_append(slot->headers, line);
    }
    free(line);
    if (more != NULL)
        slot->headers = more;
    return more != NULL;
}

static int add_headers(struct http_slot *slot, const outbox_record *r, const char **fault)
{
    char topic[256 * 4 * 3];
    size_t count, i;
    const outbox_meta *metas = outbox_envelope_metas(slot->envelope, &count);
    int has_type = 0, ok = 1;

    for (i = 0; i < count && ok; i++) {
        if (is_reserved(&metas[i])) {
            *fault = "a header of the message is one that only the connection may have, such as Host or Content-Length";
            return 0;
        }
        has_type |= outbox_ascii__same(metas[i].name, "content-type", SIZE_MAX);
        ok = add_header(slot, metas[i].name, metas[i].value);
    }
    if (strlen(outbox_envelope_topic(slot->envelope)) * 3 < sizeof(topic)) {
        append_encoded(topic, outbox_envelope_topic(slot->envelope));
        ok = ok && add_header(slot, "outbox-topic", topic);
    }
    ok = ok && add_header(slot, "idempotency-key", outbox_record_id(r));
    /* libcurl would say that it is a form, and would wait for a 100 before a large one. */
    if (!has_type)
        ok = ok && add_header(slot, "content-type", "application/octet-stream");
    if (ok) {
        struct curl_slist *more = curl_slist_append(slot->headers, "Expect:");
        ok = more != NULL;
        slot->headers = ok ? more : slot->headers;
    }
    return ok;
}

int http_request_make(struct http_slot *slot, const char *pattern, const outbox_record *r, const char **fault)
{
    const char *topic = outbox_envelope_topic(slot->envelope);
    const void *payload;
    size_t size;
    char *url;

    if (strstr(pattern, HTTP_TOPIC_MARK) != NULL && (strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)) {
        *fault = "a topic that is \".\" or \"..\" would name another place of the URL";
        return 0;
    }
    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    if (!add_headers(slot, r, fault) || (url = make_url(pattern, topic)) == NULL)
        return 0;
    payload = outbox_envelope_payload(slot->envelope, &size);
    curl_easy_setopt(slot->easy, CURLOPT_URL, url);
    curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, payload);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    free(url);
    return 1;
}
