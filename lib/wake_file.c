/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wake-ups from a database that is a file: inotify tells when its folder's files of that name change.
 *
 * The folder is watched and not the file, because logs and journals come and go: that its journal goes commits a
 * transaction. Else SQLite writes first and shows the transaction a moment later, so a hint from here is never sure. */
#include "error_internal.h"
#include "waker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_SYS_INOTIFY_H
#include <sys/inotify.h>

struct watcher {
    const outbox_wake_host *host;
    int fd;
    char *name; /* of the database, without its folder */
};

static int add_watch(int fd, const char *path, const char *slash)
{
    char *folder = slash == NULL ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    int rc = folder != NULL ? inotify_add_watch(fd, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE) : -1;

    free(folder);
    return rc;
}

static void watcher_close(void *source)
{
    struct watcher *w = source;

    if (w->fd >= 0)
        close(w->fd);
    free(w->name);
    free(w);
}

static int watcher_open(const outbox_wake_host *host, void **source, outbox_error **err)
{
    const char *slash = strrchr(host->target, '/');
    struct watcher *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return outbox_error__nomem(err);
    w->host = host;
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    w->name = strdup(slash != NULL ? slash + 1 : host->target);
    if (w->fd < 0 || w->name == NULL || add_watch(w->fd, host->target, slash) < 0) {
        int why = errno;

        watcher_close(w);
        return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "wake.no_watch", "cannot watch %s for changes: %s", host->target,
                                 strerror(why));
    }
    *source = w;
    return OUTBOX_OK;
}

/* The database, its log or its journal; not the -shm file, which readers change too. */
static int concerns(const struct watcher *w, const char *name)
{
    size_t length = strlen(w->name);

    return strncmp(name, w->name, length) == 0 &&
           (name[length] == '\0' || strcmp(name + length, "-wal") == 0 || strcmp(name + length, "-journal") == 0);
}

static void watcher_step(void *source, outbox_wake_mood mood, outbox_wake_wait *wait)
{
    _Alignas(struct inotify_event) char buffer[4096];
    struct watcher *w = source;
    ssize_t got = read(w->fd, buffer, sizeof(buffer));
    int hit = 0;

    (void)mood;
    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const void *)(buffer + at);

        /* Too many to be told one by one is a change as well. */
        hit |= (event->mask & IN_Q_OVERFLOW) != 0 || (event->len > 0 && concerns(w, event->name));
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    if (hit)
        w->host->wake(w->host->ctx, 0);
    wait->fd[0] = w->fd;
    wait->events[0] = POLLIN;
    wait->state = OUTBOX_WAKE_UP;
}

#else

static int watcher_open(const outbox_wake_host *host, void **source, outbox_error **err)
{
    (void)source;
    return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "wake.no_watch",
                             "this system cannot tell when %s changes", host->target);
}

static void watcher_step(void *source, outbox_wake_mood mood, outbox_wake_wait *wait)
{
    (void)source;
    (void)mood;
    (void)wait;
}

static void watcher_close(void *source)
{
    (void)source;
}

#endif

const outbox_wake_ops outbox_wake__file = {
    sizeof(outbox_wake_ops), OUTBOX_WAKE_ABI, "file", watcher_open, watcher_step, watcher_close,
};
