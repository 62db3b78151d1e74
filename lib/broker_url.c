/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "broker_url.h"
#include "secrets.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at;

    if (c >= 'A' && c <= 'F')
        c = (char)(c - 'A' + 'a');
    at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* A piece with its %XX decoded; what it says must be text. */
static int decode(const char *from, size_t size, char **to, const char **reason)
{
    char *out = malloc(size + 1), *p = out;
    size_t i;

    *to = out;
    if (out == NULL)
        return OUTBOX_ERR_NOMEM;
    for (i = 0; i < size; i++) {
        if (from[i] != '%') {
            *p++ = from[i];
            continue;
        }
        if (size - i < 3 || hex(from[i + 1]) < 0 || hex(from[i + 2]) < 0) {
            *p = '\0'; /* whoever wipes it looks for its end */
            *reason = "a \"%\" in it is not followed by two hexadecimal digits";
            return OUTBOX_ERR_INVALID;
        }
        *p++ = (char)(hex(from[i + 1]) * 16 + hex(from[i + 2]));
        i += 2;
    }
    *p = '\0';
    if (outbox_text__length(out, (size_t)(p - out)) >= 0 && !outbox_text__has_control(out, (size_t)(p - out)))
        return OUTBOX_OK;
    *reason = "it is not UTF-8, or has a control character";
    return OUTBOX_ERR_INVALID;
}

static int parse_port(const char *text, size_t size, int *port)
{
    size_t i;

    *port = 0;
    for (i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 5)
            return 0;
        *port = *port * 10 + (text[i] - '0');
    }
    return size > 0 && *port > 0 && *port < 65536;
}

/* "host", "host:port", "[address]:port" */
static int parse_endpoint(const char *text, size_t size, outbox_endpoint *endpoint, const char **reason)
{
    const char *colon, *end = text + size, *host = text, *host_end;
    char *name;
    int rc;

    endpoint->port = 0;
    if (size > 0 && text[0] == '[') {
        host++;
        host_end = memchr(text, ']', size);
        colon = host_end != NULL ? host_end + 1 : NULL;
        if (host_end == NULL || (colon != end && *colon != ':')) {
            *reason = "the brackets around an IPv6 address are not in order";
            return OUTBOX_ERR_INVALID;
        }
    } else {
        colon = memchr(text, ':', size);
        host_end = colon = colon != NULL ? colon : end;
    }
    if (colon != end && !parse_port(colon + 1, (size_t)(end - colon - 1), &endpoint->port)) {
        *reason = "a port must be a number from 1 to 65535 (an IPv6 address needs brackets around it)";
        return OUTBOX_ERR_INVALID;
    }
    rc = decode(host, (size_t)(host_end - host), &name, reason);
    endpoint->host = name;
    return rc;
}

static int parse_endpoints(const char *text, size_t size, struct outbox_broker_url *url, const char **reason)
{
    const char *end = text + size;
    size_t n = 1, i;
    int rc = OUTBOX_OK;

    for (i = 0; i < size; i++)
        n += text[i] == ',';
    if (n > OUTBOX_ENDPOINTS_MAX) {
        *reason = "it has too many hosts";
        return OUTBOX_ERR_INVALID;
    }
    url->endpoints = calloc(n, sizeof(*url->endpoints));
    if (url->endpoints == NULL)
        return OUTBOX_ERR_NOMEM;
    while (rc == OUTBOX_OK && url->endpoint_count < n) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t length = (size_t)((comma != NULL ? comma : end) - text);

        if (length == 0 && n > 1) {
            *reason = "between two commas there is no host";
            return OUTBOX_ERR_INVALID;
        }
        rc = parse_endpoint(text, length, &url->endpoints[url->endpoint_count++], reason);
        text = comma != NULL ? comma + 1 : end;
    }
    return rc;
}

static int parse_query(const char *text, struct outbox_broker_url *url, const char **reason)
{
    const char *p;
    size_t n = 1;

    for (p = text; *p != '\0'; p++)
        n += *p == '&';
    url->query = calloc(n, sizeof(*url->query));
    if (url->query == NULL)
        return OUTBOX_ERR_NOMEM;
    while (*text != '\0') {
        size_t size = strcspn(text, "&"), name = strcspn(text, "=&");
        outbox_header *pair = &url->query[url->query_count++];
        char *decoded;
        int rc;

        if (name == 0 || name == size) {
            *reason = "its query must be NAME=VALUE&NAME=VALUE";
            return OUTBOX_ERR_INVALID;
        }
        rc = decode(text, name, &decoded, reason);
        pair->name = decoded;
        if (rc == OUTBOX_OK) {
            rc = decode(text + name + 1, size - name - 1, &decoded, reason);
            pair->value = decoded;
        }
        if (rc != OUTBOX_OK)
            return rc;
        text += size + (text[size] == '&');
    }
    return OUTBOX_OK;
}

static int parse_userinfo(const char *text, size_t size, struct outbox_broker_url *url, const char **reason)
{
    const char *colon = memchr(text, ':', size);
    size_t user = colon != NULL ? (size_t)(colon - text) : size;
    int rc = user > 0 ? decode(text, user, &url->user, reason) : OUTBOX_OK;

    if (rc == OUTBOX_OK && colon != NULL && user + 1 < size)
        rc = decode(colon + 1, size - user - 1, &url->password, reason);
    return rc;
}

/* Without what stands before the "@". */
static int note_text(const char *text, size_t scheme, const char *hosts, size_t shown, struct outbox_broker_url *url)
{
    size_t room = scheme + 4 + strlen(hosts);

    url->scheme = strndup(text, scheme);
    url->given = malloc(room);
    url->shown = malloc(room);
    if (url->scheme == NULL || url->given == NULL || url->shown == NULL)
        return OUTBOX_ERR_NOMEM;
    snprintf(url->given, room, "%s://%s", url->scheme, hosts);
    snprintf(url->shown, room, "%s://%.*s", url->scheme, (int)shown, hosts);
    return OUTBOX_OK;
}

int outbox_broker_url__parse(const char *text, int with_query, struct outbox_broker_url *url, const char **reason)
{
    size_t scheme = strcspn(text, ":"), authority, path;
    const char *hosts, *at = NULL, *p;
    int rc = OUTBOX_OK;

    memset(url, 0, sizeof(*url));
    *reason = "";
    if (strncmp(text + scheme, "://", 3) != 0 || strlen(text) > OUTBOX_URL_MAX) {
        *reason = "it must look like SCHEME://HOST:PORT/PATH";
        return OUTBOX_ERR_INVALID;
    }
    hosts = text + scheme + 3;
    authority = strcspn(hosts, "/?#");
    for (p = hosts; p < hosts + authority; p++)
        if (*p == '@')
            at = p;
    if (at != NULL) {
        rc = parse_userinfo(hosts, (size_t)(at - hosts), url, reason);
        authority -= (size_t)(at + 1 - hosts);
        hosts = at + 1;
    }
    path = strcspn(hosts + authority, "?#");
    if (rc == OUTBOX_OK && strchr(hosts + authority, '#') != NULL) {
        *reason = "a \"#\" in it must be written as %23";
        rc = OUTBOX_ERR_INVALID;
    }
    if (rc == OUTBOX_OK)
        rc = note_text(text, scheme, hosts, authority + path, url);
    if (rc == OUTBOX_OK)
        rc = parse_endpoints(hosts, authority, url, reason);
    if (rc == OUTBOX_OK)
        rc = decode(hosts + authority + (path > 0), path - (path > 0), &url->path, reason);
    if (rc == OUTBOX_OK && with_query && hosts[authority + path] == '?')
        rc = parse_query(hosts + authority + path + 1, url, reason);
    return rc;
}

void outbox_broker_url__free(struct outbox_broker_url *url)
{
    size_t i;

    for (i = 0; i < url->endpoint_count; i++)
        free((char *)(uintptr_t)url->endpoints[i].host);
    for (i = 0; i < url->query_count; i++) {
        free((char *)(uintptr_t)url->query[i].name);
        free((char *)(uintptr_t)url->query[i].value);
    }
    free(url->endpoints);
    free(url->query);
    free(url->scheme);
    free(url->user);
    outbox_secrets__free(url->password);
    free(url->path);
    free(url->given);
    free(url->shown);
    memset(url, 0, sizeof(*url));
}
