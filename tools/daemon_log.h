/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outboxd says: lines on the standard error. */
#ifndef OUTBOX_TOOLS_DAEMON_LOG_H
#define OUTBOX_TOOLS_DAEMON_LOG_H

#include <outbox/conf.h>

enum daemon_log_form {
    DAEMON_LOG_TERMINAL, /* with the time and colours */
    DAEMON_LOG_JOURNAL,  /* "<6>text": the level as systemd reads it, which adds the time itself */
    DAEMON_LOG_JSON      /* an object a line */
};

struct daemon_log {
    enum daemon_log_form form;
    outbox_log_level level; /* nothing that matters less */
};

/* Chooses the form: JSON if asked for, otherwise by what the standard error is. */
void daemon_log_open(struct daemon_log *log, int json, outbox_log_level level);

/* An outbox_log_fn: any thread; each line is one write. `log` is a struct daemon_log. */
void daemon_log_write(void *log, outbox_log_level level, const char *message);

void daemon_log_printf(struct daemon_log *log, outbox_log_level level, const char *format, ...)
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif
