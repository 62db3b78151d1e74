/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "address.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char forms[] = "write HOST:PORT, [HOST]:PORT or unix:PATH";

/* getaddrinfo() takes a port modulo 65536. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtol(text, NULL, 10) <= 65535;
}

static bool in_brackets(const char *where, const char *colon)
{
    return where[0] == '[' && colon > where && colon[-1] == ']';
}

const char *address_fault(const char *where)
{
    const char *colon = strrchr(where, ':');
    size_t around, size;

    if (strncmp(where, "unix:", 5) == 0)
        return where[5] != '\0' && strlen(where + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path)
                   ? NULL : "the path is empty, or too long for a socket";
    if (colon == NULL || (!in_brackets(where, colon) && strchr(where, ':') != colon))
        return forms;
    around = in_brackets(where, colon) ? 2 : 0;
    size = (size_t)(colon - where);
    if (size <= around || size - around >= sizeof(((struct address *)NULL)->host))
        return forms;
    return is_port(colon + 1) ? NULL : "the port must be a number from 0 to 65535";
}

void address_split(const char *where, struct address *address)
{
    const char *colon = strrchr(where, ':');
    size_t before = in_brackets(where, colon), size = (size_t)(colon - where) - 2 * before;

    memcpy(address->host, where + before, size);
    address->host[size] = '\0';
    address->port = colon + 1;
}
