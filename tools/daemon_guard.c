/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_guard.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 255

static bool copy(char **to, const char *text)
{
    *to = text != NULL ? strdup(text) : NULL;
    return text == NULL || *to != NULL;
}

bool daemon_guard_make(struct daemon_guard *guard, const struct cli_server *server)
{
    guard->ready = copy(&guard->hosts, server->hosts) && copy(&guard->token, server->admin_token) &&
                   copy(&guard->host, server->listen);
    return guard->ready;
}

void daemon_guard_free(struct daemon_guard *guard)
{
    free(guard->hosts);
    free(guard->host);
    free(guard->token);
    *guard = (struct daemon_guard){ 0 };
}

/* ---- the name ---- */

/* HOST, HOST:PORT, [HOST] or [HOST]:PORT without the port and the brackets. */
static bool take_host(const char *text, char host[HOST_MAX + 1])
{
    bool brackets = text[0] == '[';
    size_t size = strcspn(text + brackets, brackets ? "]" : ":");
    const char *end = text + brackets + size;

    if (size == 0 || size > HOST_MAX || (brackets && *end != ']'))
        return false;
    end += brackets;
    if (*end == ':')
        end += 1 + strspn(end + 1, "0123456789");
    if (*end != '\0')
        return false;
    memcpy(host, text + brackets, size);
    host[size] = '\0';
    return true;
}

static bool is_address(const char *host)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool is_listed(const char *list, const char *host)
{
    size_t size;

    for (; list != NULL && *list != '\0'; list += size) {
        list += strspn(list, " ,\t");
        size = strcspn(list, " ,\t");
        if (size == strlen(host) && size > 0 && strncasecmp(list, host, size) == 0)
            return true;
    }
    return false;
}

enum whose { STRANGE, PROXY, OURS };

static enum whose whose(const struct daemon_guard *guard, const char *given)
{
    char host[HOST_MAX + 1], own[HOST_MAX + 1];

    if (!guard->ready || given == NULL || !take_host(given, host))
        return STRANGE;
    if (is_address(host) || strcasecmp(host, "localhost") == 0 ||
        (guard->host != NULL && strncmp(guard->host, "unix:", 5) != 0 && take_host(guard->host, own) &&
         strcasecmp(own, host) == 0))
        return OURS;
    return is_listed(guard->hosts, host) ? PROXY : STRANGE;
}

static const char strange[] = "the name in the request is none of this server's: write it into hosts, in the section "
                              "[outboxd] of the configuration";

bool daemon_guard_knows(const struct daemon_guard *guard, const char *host, const char **why)
{
    bool knows = host == NULL || whose(guard, host) != STRANGE;

    if (!knows)
        *why = strange;
    return knows;
}

/* ---- the page ---- */

static bool is_own_page(const char *origin, const char *host)
{
    const char *name = origin != NULL ? strstr(origin, "://") : NULL;

    return origin == NULL || (name != NULL && (strncmp(origin, "http:", 5) == 0 || strncmp(origin, "https:", 6) == 0) &&
                              strcasecmp(name + 3, host) == 0);
}

static bool is_own_site(const char *site)
{
    return site == NULL || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
}

/* In a time that tells nothing of how much of it is right. */
static bool is_token(const char *token, const char *given)
{
    size_t length = strlen(token), size;
    unsigned char differs;

    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0)
        return false;
    given += 7;
    size = strlen(given);
    differs = size != length;
    for (size_t i = 0; i < size; i++)
        differs |= (unsigned char)(given[i] ^ token[length > 0 ? i % length : 0]);
    return differs == 0;
}

unsigned daemon_guard_check(const struct daemon_guard *guard, bool local, bool change, daemon_header_fn *header,
                            void *user, const char **why)
{
    const char *host = header(user, "Host");
    enum whose name = whose(guard, host);

    if (name == STRANGE) {
        *why = strange;
        return 403;
    }
    if (!is_own_page(header(user, "Origin"), host) || !is_own_site(header(user, "Sec-Fetch-Site"))) {
        *why = "the request comes from a page of another origin";
        return 403;
    }
    if (local && name == OURS && !change)
        return 200;
    if (guard->token == NULL) {
        *why = change ? "redrive and discard are off: admin_token_file, in the section [outboxd] of the configuration, "
                        "turns them on"
                      : "other hosts reach this address, or a proxy by this name, so messages are only shown to "
                        "whoever has a token: set admin_token_file, in the section [outboxd] of the configuration, or "
                        "listen at 127.0.0.1 and ask by that";
        return 403;
    }
    if (!is_token(guard->token, header(user, "Authorization"))) {
        *why = "the token is missing or wrong";
        return 401;
    }
    return 200;
}
