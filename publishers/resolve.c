/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that asks and the one that waits share a question, which the last of them frees; its lock guards all of it. */
#include "resolve.h"
#include "detached.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SLICE_MS 100

struct question {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char host[256], port[16];
    struct addrinfo *list;
    int flags, rc, answered, forgotten;
};

static void question_free(struct question *q)
{
    if (q->list != NULL)
        freeaddrinfo(q->list);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static int ask(const char *host, const char *port, int flags, struct addrinfo **list)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };

    *list = NULL;
    return getaddrinfo(host, port, &hints, list);
}

static void *run(void *arg)
{
    struct question *q = arg;
    struct addrinfo *list;
    int forgotten, rc = ask(q->host, q->port, q->flags, &list);

    pthread_mutex_lock(&q->lock);
    q->rc = rc;
    q->list = list;
    q->answered = 1;
    forgotten = q->forgotten;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
    if (forgotten)
        question_free(q);
    return NULL;
}

static struct question *question_new(const char *host, const char *port, int flags)
{
    struct question *q = calloc(1, sizeof(*q));
    pthread_condattr_t attributes;

    if (q == NULL)
        return NULL;
    snprintf(q->host, sizeof(q->host), "%s", host);
    snprintf(q->port, sizeof(q->port), "%s", port);
    q->flags = flags;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return q;
}

/* With the lock held: until it is answered, in slices, so that a cancel is seen. */
static void wait_for(struct question *q, int64_t timeout_ms, atomic_int *cancelled)
{
    while (!q->answered && !*cancelled && timeout_ms > 0) {
        struct timespec until;
        int64_t slice = timeout_ms < SLICE_MS ? timeout_ms : SLICE_MS;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)slice * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&q->changed, &q->lock, &until);
        timeout_ms -= slice;
    }
}

static int resolve(const char *host, const char *port, int flags, int64_t timeout_ms, atomic_int *cancelled,
                   struct addrinfo **list)
{
    struct question *q;
    int rc, answered;

    if (ask(host, port, AI_NUMERICHOST, list) == 0)
        return 0;
    q = question_new(host, port, flags);
    if (q == NULL)
        return EAI_MEMORY;
    if (!outbox_detached(run, q)) {
        question_free(q);
        return EAI_MEMORY;
    }
    pthread_mutex_lock(&q->lock);
    wait_for(q, timeout_ms, cancelled);
    answered = q->answered;
    q->forgotten = !answered;
    rc = answered ? q->rc : EAI_AGAIN;
    *list = answered ? q->list : NULL;
    if (answered)
        q->list = NULL;
    pthread_mutex_unlock(&q->lock);
    if (answered)
        question_free(q);
    return rc;
}

int outbox_resolve(const char *host, const char *port, int64_t timeout_ms, atomic_int *cancelled,
                   struct addrinfo **list)
{
    return resolve(host, port, AI_ADDRCONFIG, timeout_ms, cancelled, list);
}

/* Any address will do: which of them it can reach, the client library knows itself. */
const char *outbox_resolve_first(const char *host, int64_t timeout_ms, atomic_int *cancelled)
{
    struct addrinfo *list = NULL;
    int rc = resolve(host, "1", 0, timeout_ms, cancelled, &list);

    if (rc != 0)
        return gai_strerror(rc);
    freeaddrinfo(list);
    return NULL;
}
