/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outboxd tells systemd: that it is ready, reloads and stops, how it goes, and that it still moves. All of it does
 * nothing where systemd does not listen, or without libsystemd. The main thread only. */
#ifndef OUTBOX_TOOLS_DAEMON_NOTIFY_H
#define OUTBOX_TOOLS_DAEMON_NOTIFY_H

#include "daemon.h"

struct daemon_notify {
    int64_t watchdog_us; /* how often systemd wants to hear something; 0: never */
    bool ready, reloading, stopping;
    char status[400];    /* what was told last */
};

void daemon_notify_open(struct daemon_notify *n);
/* How long the main thread may wait before the next daemon_notify_tell(). */
int daemon_notify_wait_ms(const struct daemon_notify *n);
void daemon_notify_reloading(struct daemon_notify *n);
void daemon_notify_stopping(struct daemon_notify *n);
/* Ready, at last, or again after a reload, whose changes may still be draining; the status
 * line; and the watchdog, when any outbox moved since the last time. */
void daemon_notify_tell(struct daemon_notify *n, struct daemon *d, const struct daemon_count *count);

#endif
