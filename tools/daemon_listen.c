/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where outboxd listens: a TCP address or a Unix socket. */
#include "daemon_listen.h"

#include "address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int cannot(struct daemon_log *log, const char *where, const char *why)
{
    daemon_log_printf(log, OUTBOX_LOG_ERROR, "cannot listen at %s: %s", where, why);
    return -1;
}

static int make_socket(int family)
{
    int one = 1, fd = socket(family, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd;
}

/* A socket that a process left behind when it was killed; one that somebody listens at stays. */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat file;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && lstat(address->sun_path, &file) == 0 && S_ISSOCK(file.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 && errno == ECONNREFUSED)
        unlink(address->sun_path);
    if (fd >= 0)
        close(fd);
}

/* For the user and the group. */
static int listen_unix(struct daemon_listen *l, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, number;

    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = make_socket(AF_UNIX);
    if (fd < 0)
        return cannot(l->log, path, strerror(errno));
    remove_stale(&address);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        l->path = strdup(path);
        /* Nobody connects before it listens, so nobody gets in between; umask() would be for all threads. */
        if (l->path != NULL && chmod(path, 0660) == 0 && listen(fd, BACKLOG) == 0) {
            daemon_log_printf(l->log, OUTBOX_LOG_INFO, "metrics and health at unix:%s", path);
            l->local = true;
            return fd;
        }
        number = errno;
        unlink(path);
    } else {
        number = errno;
    }
    close(fd);
    return cannot(l->log, path, strerror(number));
}

static int is_loopback(const struct sockaddr *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (address->sa_family == AF_INET) {
        memcpy(&four, (const char *)address + offsetof(struct sockaddr_in, sin_addr), sizeof(four));
        return ntohl(four.s_addr) >> 24 == 127;
    }
    memcpy(&six, (const char *)address + offsetof(struct sockaddr_in6, sin6_addr), sizeof(six));
    return memcmp(&six, &in6addr_loopback, sizeof(six)) == 0;
}

/* Says where, as port 0 is any that is free. */
static void tell_address(struct daemon_listen *l, int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char host[100], port[20];

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    daemon_log_printf(l->log, OUTBOX_LOG_INFO, address.ss_family == AF_INET6 ? "metrics and health at [%s]:%s" :
                      "metrics and health at %s:%s", host, port);
    l->local = l->loopback = is_loopback((struct sockaddr *)&address);
    if (!l->local)
        daemon_log_printf(l->log, OUTBOX_LOG_WARNING, "whoever reaches %s can read metrics: there is no password",
                          host);
}

static int bind_first(const struct addrinfo *list)
{
    int fd = -1;

    for (; list != NULL && fd < 0; list = list->ai_next) {
        fd = make_socket(list->ai_family);
        if (fd >= 0 && (bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)) {
            int number = errno;
            close(fd);
            errno = number;
            fd = -1;
        }
    }
    return fd;
}

static int listen_tcp(struct daemon_listen *l, const char *where)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    struct address address;
    int fd, rc;

    address_split(where, &address);
    rc = getaddrinfo(address.host, address.port, &hints, &list);
    if (rc != 0)
        return cannot(l->log, where, gai_strerror(rc));
    fd = bind_first(list);
    rc = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return cannot(l->log, where, strerror(rc));
    tell_address(l, fd);
    return fd;
}

int daemon_listen_open(struct daemon_listen *l, const char *where)
{
    const char *fault = address_fault(where);

    if (fault != NULL)
        return cannot(l->log, where, fault);
    return strncmp(where, "unix:", 5) == 0 ? listen_unix(l, where + 5) : listen_tcp(l, where);
}

void daemon_listen_close(struct daemon_listen *l)
{
    if (l->path != NULL)
        unlink(l->path);
    free(l->path);
    l->path = NULL;
}
