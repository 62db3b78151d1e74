/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asks outboxd, which answers one short question a connection: no more of HTTP than that takes. */
#include "ctl_http.h"

#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_SECONDS 20
#define ANSWER_MAX (16u * 1024 * 1024)

/* The time for sending is that for connecting, too. */
static int make_socket(int family)
{
    const struct timeval wait = { WAIT_SECONDS, 0 };
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    }
    return fd;
}

static int connect_to(int fd, const struct sockaddr *address, socklen_t size)
{
    int number = connect(fd, address, size) == 0 ? 0 : errno;

    if (number == 0)
        return fd;
    close(fd);
    errno = number == EINPROGRESS || number == EAGAIN ? ETIMEDOUT : number;
    return -1;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = make_socket(AF_UNIX);
    return fd >= 0 ? connect_to(fd, (const struct sockaddr *)&address, sizeof(address)) : -1;
}

static int connect_first(const struct addrinfo *list)
{
    int fd = -1;

    for (; list != NULL && fd < 0; list = list->ai_next) {
        fd = make_socket(list->ai_family);
        if (fd >= 0)
            fd = connect_to(fd, list->ai_addr, list->ai_addrlen);
    }
    return fd;
}

static int connect_tcp(const char *where)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    struct address address;
    int fd = -1;

    address_split(where, &address);
    errno = EHOSTUNREACH;
    if (getaddrinfo(address.host, address.port, &hints, &list) == 0) {
        fd = connect_first(list);
        freeaddrinfo(list);
    }
    return fd;
}

static int connect_somewhere(const char *where)
{
    return strncmp(where, "unix:", 5) == 0 ? connect_unix(where + 5) : connect_tcp(where);
}

static int send_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
        if (n < 0)
            return -1;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

/* All that comes until the other side closes. NULL when that fails. */
static char *receive_all(int fd)
{
    size_t used = 0, room = 65536;
    char *text = malloc(room + 1), *grown;
    ssize_t n;

    while (text != NULL && (n = recv(fd, text + used, room - used, 0)) != 0) {
        if (n < 0 || used + (size_t)n >= ANSWER_MAX) {
            free(text);
            return NULL;
        }
        used += (size_t)n;
        if (used == room) {
            room *= 2;
            grown = realloc(text, room + 1);
            if (grown == NULL)
                free(text);
            text = grown;
        }
    }
    if (text != NULL)
        text[used] = '\0';
    return text;
}

/* The JSON of an answer, which says itself when something is wrong. */
static json_t *take_answer(const char *text, char *why, size_t size)
{
    const char *body = text != NULL ? strstr(text, "\r\n\r\n") : NULL, *error;
    json_t *value = body != NULL ? json_loads(body + 4, 0, NULL) : NULL;

    if (value == NULL) {
        snprintf(why, size, "this is no answer of outboxd's");
        return NULL;
    }
    if (strncmp(text, "HTTP/1.", 7) == 0 && strstr(text, " 200 ") == text + 8)
        return value;
    error = json_string_value(json_object_get(value, "error"));
    snprintf(why, size, "%s", error != NULL ? error : "outboxd does not tell");
    json_decref(value);
    return NULL;
}

json_t *ctl_http_get(const char *where, const char *path, char *why, size_t size)
{
    const char *fault = address_fault(where);
    int fd = fault == NULL ? connect_somewhere(where) : -1;
    char request[1024], *text = NULL;
    json_t *value = NULL;

    if (fd < 0) {
        snprintf(why, size, "cannot connect to %s: %s", where, fault != NULL ? fault : strerror(errno));
        return NULL;
    }
    snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path,
             strncmp(where, "unix:", 5) == 0 ? "localhost" : where);
    if (send_all(fd, request, strlen(request)) == 0)
        text = receive_all(fd);
    if (text == NULL)
        snprintf(why, size, "%s does not answer: %s", where, strerror(errno));
    else
        value = take_answer(text, why, size);
    free(text);
    close(fd);
    return value;
}
