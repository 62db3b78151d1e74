/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wake-ups on one host: a Unix datagram socket that the relay binds and whoever enqueued sends an empty datagram to. */
#include "conf_internal.h"
#include "error_internal.h"
#include "waker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define AGAIN_US INT64_C(5000000) /* until the next try for a socket that could not be had */

struct listener {
    const outbox_wake_host *host;
    struct sockaddr_un address;
    int fd;
    ino_t inode; /* of the bound socket: only that is removed */
    int64_t retry_at;
    int told;    /* that it cannot be had */
};

static int make_socket(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int set_address(struct sockaddr_un *address, const char *path)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(address->sun_path))
        return 0;
    strcpy(address->sun_path, path);
    return 1;
}

/* A file that a dead process left answers nobody; a socket that somebody reads is not ours to take. */
static int is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    int fd, stale;

    if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode) || (fd = make_socket()) < 0)
        return 0;
    stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* The file of that name, if it is a socket; 0: none. */
static ino_t socket_inode(const struct listener *l)
{
    struct stat st;

    return lstat(l->address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

static int try_bind(struct listener *l)
{
    const struct sockaddr *address = (const struct sockaddr *)&l->address;

    l->fd = make_socket();
    if (l->fd < 0)
        return errno;
    if (bind(l->fd, address, sizeof(l->address)) != 0 &&
        !(errno == EADDRINUSE && is_stale(&l->address) && unlink(l->address.sun_path) == 0 &&
          bind(l->fd, address, sizeof(l->address)) == 0)) {
        int why = errno;

        close(l->fd);
        l->fd = -1;
        return why;
    }
    /* All that a datagram can do is to let the relay look: the folder says who may send one. */
    chmod(l->address.sun_path, 0666);
    l->inode = socket_inode(l);
    return 0;
}

static int listener_open(const outbox_wake_host *host, void **source, outbox_error **err)
{
    const char *path = outbox_conf__text(host->conf, CONF_WAKE_SOCKET);
    struct listener *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return outbox_error__nomem(err);
    l->host = host;
    l->fd = -1;
    if (!set_address(&l->address, path)) {
        free(l);
        return outbox_error__set(err, OUTBOX_ERR_CONF, "wake.long_path", "wake.socket is too long for this system: %s", path);
    }
    *source = l;
    return OUTBOX_OK;
}

static void tell(const struct listener *l, int why)
{
    int taken = why == EADDRINUSE && socket_inode(l) != 0;
    char text[300];

    snprintf(text, sizeof(text), "no wake-ups through %s: %s", l->address.sun_path,
             taken ? "another relay has it"
                   : why == EADDRINUSE ? "something that is no socket has this name" : strerror(why));
    l->host->log(l->host->ctx, taken ? OUTBOX_LOG_INFO : OUTBOX_LOG_WARNING, text);
}

static void listener_step(void *source, outbox_wake_mood mood, outbox_wake_wait *wait)
{
    struct listener *l = source;
    char byte;
    int got = 0;

    (void)mood;
    if (l->fd < 0 && wait->now >= l->retry_at) {
        int why = try_bind(l);

        if (why != 0 && !l->told)
            tell(l, why);
        l->told = why != 0;
        l->retry_at = wait->now + AGAIN_US;
    }
    /* Many at once are one hint; whoever sends without end must not keep the thread here. */
    while (l->fd >= 0 && got < 1000 && recv(l->fd, &byte, 1, 0) >= 0)
        got++;
    if (got > 0)
        l->host->wake(l->host->ctx, 1);
    wait->fd[0] = l->fd;
    wait->events[0] = POLLIN;
    wait->until = l->fd < 0 ? l->retry_at : INT64_MAX;
    wait->state = l->fd >= 0 ? OUTBOX_WAKE_UP : OUTBOX_WAKE_DOWN;
}

static void listener_close(void *source)
{
    struct listener *l = source;

    if (l->fd >= 0) {
        if (l->inode != 0 && socket_inode(l) == l->inode)
            unlink(l->address.sun_path);
        close(l->fd);
    }
    free(l);
}

const outbox_wake_ops outbox_wake__socket = {
    sizeof(outbox_wake_ops), OUTBOX_WAKE_ABI, "socket", listener_open, listener_step, listener_close,
};

int outbox_wake_send(const outbox_conf *conf, outbox_error **err)
{
    const char *path = conf != NULL ? outbox_conf__text(conf, CONF_WAKE_SOCKET) : "";
    struct sockaddr_un address;
    int fd, sent, why;

    if (path[0] == '\0')
        return OUTBOX_NONE;
    if (!set_address(&address, path))
        return outbox_error__set(err, OUTBOX_ERR_CONF, "wake.long_path", "wake.socket is too long for this system: %s", path);
    fd = make_socket();
    if (fd < 0)
        return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "wake.no_socket", "cannot make a socket: %s", strerror(errno));
    sent = sendto(fd, "", 1, MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof(address)) >= 0;
    why = errno;
    close(fd);
    /* A full queue means that the relay has hints enough. */
    if (sent || why == EAGAIN || why == EWOULDBLOCK || why == ENOBUFS)
        return OUTBOX_OK;
    if (why == ENOENT || why == ECONNREFUSED)
        return OUTBOX_NONE;
    return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "wake.not_sent", "cannot wake the relay through %s: %s", path,
                             strerror(why));
}
