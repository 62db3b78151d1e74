/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_notify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if OUTBOX_WITH_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define STATUS_MS 2000 /* how often the numbers in the status line change */
#define NEVER_MS 60000

static void tell(const char *text)
{
#if OUTBOX_WITH_LIBSYSTEMD
    sd_notify(0, text);
#else
    (void)text;
#endif
}

static bool is_heard(void)
{
#if OUTBOX_WITH_LIBSYSTEMD
    return getenv("NOTIFY_SOCKET") != NULL;
#else
    return false;
#endif
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void daemon_notify_open(struct daemon_notify *n)
{
    *n = (struct daemon_notify){ 0 };
#if OUTBOX_WITH_LIBSYSTEMD
    uint64_t us = 0;
    if (sd_watchdog_enabled(0, &us) > 0)
        n->watchdog_us = us < INT64_MAX ? (int64_t)us : 0;
#endif
}

int daemon_notify_wait_ms(const struct daemon_notify *n)
{
    int64_t ms = is_heard() ? STATUS_MS : NEVER_MS;

    if (n->watchdog_us > 0 && n->watchdog_us / 4000 < ms)
        ms = n->watchdog_us / 4000;
    return ms > 0 ? (int)ms : 1;
}

void daemon_notify_reloading(struct daemon_notify *n)
{
    char text[80];

    n->reloading = true;
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, now_us());
    tell(text);
}

void daemon_notify_stopping(struct daemon_notify *n)
{
    n->stopping = true;
    tell("STOPPING=1");
}

/* ---- the status line ---- */

struct seen {
    uint64_t published, failed, dead;
    size_t down;                    /* brokers */
    char trouble[160];              /* names of outboxes that do not run */
};

static void see(void *user, const char *name, enum daemon_state state, outbox_relay *relay)
{
    struct seen *seen = user;
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;
    size_t used = strlen(seen->trouble);

    if (outbox_relay_stats_get(relay, &s) == OUTBOX_OK) {
        seen->published += s.published;
        seen->failed += s.failed;
        seen->dead += s.dead;
        seen->down += state == DAEMON_RUNNING && s.broker_down != 0;
    }
    if (state != DAEMON_RUNNING && used < sizeof(seen->trouble) - 1)
        snprintf(seen->trouble + used, sizeof(seen->trouble) - used, "%s%s %s", used > 0 ? ", " : "; ", name,
                 daemon_state_name(state));
}

static void tell_status(struct daemon_notify *n, struct daemon *d, const struct daemon_count *count)
{
    struct seen seen = { 0 };
    char status[sizeof(n->status)], down[48] = "";

    daemon_walk(d, see, &seen);
    if (seen.down > 0)
        snprintf(down, sizeof(down), ", %zu with the broker down", seen.down);
    snprintf(status, sizeof(status),
             "STATUS=%zu of %zu outbox%s running%s; %" PRIu64 " published, %" PRIu64 " failed and retried, %" PRIu64
             " dead%s%s",
             count->of[DAEMON_RUNNING], count->all, count->all == 1 ? "" : "es", down, seen.published, seen.failed,
             seen.dead, seen.trouble, count->leaving > 0 ? "; draining what was changed" : "");
    if (strcmp(status, n->status) == 0)
        return;
    memcpy(n->status, status, sizeof(status));
    tell(status);
}

/* ---- the watchdog ---- */

/* Grows with everything that a relay does, be it a look that finds nothing. */
static uint64_t progress_of(struct daemon_outbox *o)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;

    if (outbox_relay_stats_get(o->relay, &s) != OUTBOX_OK)
        return 0;
    return s.claims + s.batches + s.published + s.failed + s.polls + s.looks + s.db_errors + s.probes + s.splits +
           s.cleaned;
}

/* A relay that waits for its next try to connect has nothing else to do; while it tries, it has to come back. */
static bool moves(struct daemon_outbox *o, enum daemon_state state)
{
    uint64_t progress = progress_of(o) + o->tries;
    bool moved = progress != o->seen;

    o->seen = progress;
    return moved || o->resting || state == DAEMON_NEW || state == DAEMON_ENDED || o->stop != DAEMON_GO_ON;
}

/* Systemd restarts what does not move. One outbox that hangs must not take the others down, so all have to. */
static void feed(struct daemon_notify *n, struct daemon *d)
{
    bool any = d->first == NULL;

    if (n->watchdog_us <= 0)
        return;
    pthread_mutex_lock(&d->lock);
    for (struct daemon_outbox *o = d->first; o != NULL; o = o->next)
        any |= moves(o, o->state);
    pthread_mutex_unlock(&d->lock);
    if (any)
        tell("WATCHDOG=1");
}

void daemon_notify_tell(struct daemon_notify *n, struct daemon *d, const struct daemon_count *count)
{
    bool ready = n->ready ? n->reloading : count->of[DAEMON_RUNNING] > 0 || count->tried == count->all;

    if (ready && !n->stopping) {
        n->ready = true;
        n->reloading = false;
        tell("READY=1");
    }
    if (is_heard() && !n->stopping)
        tell_status(n, d, count);
    feed(n, d);
}
