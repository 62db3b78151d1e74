/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "proxy.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

/* Every packet that arrives is dropped before TCP sees it: nothing is acknowledged, as behind a broken cable. */
static void drop_packets(int fd, int drop)
{
    struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
    struct sock_fprog program = {1, &nothing};

    if (drop)
        CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    else
        CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &program, sizeof program), 0);
}

void proxy_cut(struct proxy *p, int cut)
{
    pthread_mutex_lock(&p->lock);
    p->cut = cut;
    drop_packets(p->listener, cut);
    for (int i = 0; i < p->count && cut; i++)
        if (p->pair[i][0] >= 0 && !p->dead[i]) {
            drop_packets(p->pair[i][0], 1);
            p->dead[i] = 1;
        }
    pthread_mutex_unlock(&p->lock);
}

static void set(struct proxy *p, int *field, int value)
{
    pthread_mutex_lock(&p->lock);
    *field = value;
    pthread_mutex_unlock(&p->lock);
}

void proxy_mute(struct proxy *p, int mute)
{
    set(p, &p->mute, mute);
}

void proxy_dribble(struct proxy *p, int dribble)
{
    set(p, &p->dribble, dribble);
}

int proxy_accepted(struct proxy *p)
{
    int accepted;

    pthread_mutex_lock(&p->lock);
    accepted = p->accepted;
    pthread_mutex_unlock(&p->lock);
    return accepted;
}

static void take_in(struct proxy *p)
{
    int near = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), far = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int slot = 0, at_once = 1;

    while (slot < p->count && p->pair[slot][0] >= 0)
        slot++;
    if (near < 0 || p->cut || slot == PROXY_LINKS ||
        (!p->mute && connect(far, (struct sockaddr *)&p->server, sizeof p->server) != 0)) {
        close(near);
        close(far);
        return;
    }
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    p->accepted++;
    p->pair[slot][0] = near;
    p->pair[slot][1] = far;
    p->dead[slot] = p->mute;
    p->count += slot == p->count;
}

static void forward(struct proxy *p, int link, int from)
{
    char data[65536];
    size_t room = p->dribble && from == 1 ? 1 : sizeof data;
    ssize_t size = recv(p->pair[link][from], data, room, MSG_DONTWAIT), sent = 0, n = 1;

    while (size > sent && n > 0 && (n = send(p->pair[link][!from], data + sent, (size_t)(size - sent), MSG_NOSIGNAL)) > 0)
        sent += n;
    if (size > 0 && n > 0)
        return;
    for (int side = 0; side < 2; side++) {
        close(p->pair[link][side]);
        p->pair[link][side] = -1;
    }
}

static void *run(void *arg)
{
    struct proxy *p = arg;

    for (;;) {
        struct pollfd fds[1 + 2 * PROXY_LINKS];
        int links;

        pthread_mutex_lock(&p->lock);
        links = 2 * p->count;
        fds[0] = (struct pollfd){p->cut ? -1 : p->listener, POLLIN, 0};
        for (int i = 0; i < links; i++)
            fds[1 + i] = (struct pollfd){!p->dead[i / 2] ? p->pair[i / 2][i % 2] : -1, POLLIN, 0};
        pthread_mutex_unlock(&p->lock);
        poll(fds, (nfds_t)(1 + links), 20);
        pthread_mutex_lock(&p->lock);
        if (p->stop)
            break;
        if (fds[0].revents != 0 && !p->cut)
            take_in(p);
        for (int i = 0; i < links; i++)
            if (fds[1 + i].revents != 0 && !p->dead[i / 2] && p->pair[i / 2][i % 2] >= 0)
                forward(p, i / 2, i % 2);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int proxy_start(struct proxy *p)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;

    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->server.sun_family = AF_UNIX;
    snprintf(p->server.sun_path, sizeof p->server.sun_path, "%.80s/.s.PGSQL.%.8s", getenv("PGHOST"), getenv("PGPORT"));
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(p->listener, (struct sockaddr *)&name, size) != 0 || listen(p->listener, 16) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&name, &size) != 0)
        return 0;
    p->port = ntohs(name.sin_port);
    return pthread_create(&p->thread, NULL, run, p) == 0;
}

void proxy_stop(struct proxy *p)
{
    set(p, &p->stop, 1);
    pthread_join(p->thread, NULL);
    close(p->listener);
    for (int i = 0; i < p->count; i++)
        for (int side = 0; side < 2; side++)
            if (p->pair[i][side] >= 0)
                close(p->pair[i][side]);
    pthread_mutex_destroy(&p->lock);
}
