/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outboxd says: lines on the standard error.
 *
 * Threads: with JSON, one of its own turns what others write to the standard error, such as libpq and the publisher's
 * command, into the same form. `done` ends it; it owns the pipe's reading end. */
#ifndef OUTBOX_TOOLS_DAEMON_LOG_H
#define OUTBOX_TOOLS_DAEMON_LOG_H

#include <outbox/conf.h>

#include <pthread.h>
#include <stdatomic.h>

enum daemon_log_form {
    DAEMON_LOG_TERMINAL, /* with the time and colours */
    DAEMON_LOG_PLAIN,    /* with the date and no colours: files, pipes */
    DAEMON_LOG_JOURNAL,  /* "<6>text": the level as systemd reads it, which adds the time itself */
    DAEMON_LOG_JSON      /* an object a line */
};

struct daemon_log {
    enum daemon_log_form form;
    outbox_log_level level; /* nothing that matters less */
    int fd;                 /* where lines go: the standard error, as it was at first */
    int others;             /* the reading end of what the standard error is now, or -1 */
    pthread_t reader;
    atomic_int done;
};

/* Chooses the form: JSON if asked for, otherwise by what the standard error is. Signals are to be blocked before. */
void daemon_log_open(struct daemon_log *log, int json, outbox_log_level level);
/* Writes what is left, and gives the standard error back. */
void daemon_log_close(struct daemon_log *log);

/* An outbox_log_fn: any thread; each line is one write. `log` is a struct daemon_log. */
void daemon_log_write(void *log, outbox_log_level level, const char *message);

/* What one outbox of several says: its name goes before the text, and in JSON beside it. */
struct daemon_log_source {
    const struct daemon_log *log;
    const char *outbox; /* NULL: there is only one */
};

/* An outbox_log_fn, for a struct daemon_log_source. */
void daemon_log_source_write(void *source, outbox_log_level level, const char *message);
void daemon_log_source_printf(struct daemon_log_source *source, outbox_log_level level, const char *format, ...)
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

void daemon_log_printf(struct daemon_log *log, outbox_log_level level, const char *format, ...)
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif
