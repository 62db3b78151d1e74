/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2() */
#endif
#include "daemon_log.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

static const char *level_name(outbox_log_level level)
{
    switch (level) {
    case OUTBOX_LOG_ERROR: return "error";
    case OUTBOX_LOG_WARNING: return "warning";
    case OUTBOX_LOG_INFO: return "info";
    default: return "debug";
    }
}

static enum cli_colour level_colour(outbox_log_level level)
{
    switch (level) {
    case OUTBOX_LOG_ERROR: return CLI_RED;
    case OUTBOX_LOG_WARNING: return CLI_YELLOW;
    case OUTBOX_LOG_INFO: return CLI_PLAIN;
    default: return CLI_DIM;
    }
}

/* systemd says which file the journal is, in case the standard error was redirected. */
static int is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == device && st.st_ino == inode;
}

/* Whole lines become log lines; *used is how much of the last one is there. One that is too long is cut into pieces. */
static void take_lines(struct daemon_log *log, char *line, size_t size, size_t *used)
{
    char *start = line, *end;

    while ((end = memchr(start, '\n', *used - (size_t)(start - line))) != NULL || *used == size - 1) {
        char *stop = end != NULL ? end : line + *used;
        *stop = '\0';
        if (stop > start && stop[-1] == '\r')
            stop[-1] = '\0';
        if (*start != '\0')
            daemon_log_write(log, OUTBOX_LOG_WARNING, start);
        start = end != NULL ? end + 1 : stop;
        *used -= (size_t)(start - line);
        memmove(line, start, *used);
        start = line;
    }
}

static void *read_others(void *user)
{
    struct daemon_log *log = user;
    struct pollfd ready = { .fd = log->others, .events = POLLIN };
    char line[1024];
    size_t used = 0;

    for (;;) {
        int done = atomic_load(&log->done);
        ssize_t n;
        while ((n = read(log->others, line + used, sizeof(line) - 1 - used)) > 0) {
            used += (size_t)n;
            take_lines(log, line, sizeof(line), &used);
        }
        if (done || n == 0 || (errno != EAGAIN && errno != EINTR))
            return NULL;
        poll(&ready, 1, -1);
    }
}

/* libpq writes to the standard error by itself, and the publisher's command does as it likes. */
static void gather_others(struct daemon_log *log)
{
    int ends[2], copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (copy < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        if (copy >= 0)
            close(copy);
        return;
    }
    log->others = ends[0];
    log->fd = copy;
    /* Only the reading end: a command does not expect that a write is refused. */
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && pthread_create(&log->reader, NULL, read_others, log) == 0) {
        dup2(ends[1], STDERR_FILENO);
    } else {
        close(ends[0]);
        close(copy);
        log->others = -1;
        log->fd = STDERR_FILENO;
    }
    close(ends[1]);
}

void daemon_log_open(struct daemon_log *log, int json, outbox_log_level level)
{
    log->form = json                    ? DAEMON_LOG_JSON
                : isatty(STDERR_FILENO) ? DAEMON_LOG_TERMINAL
                : is_journal()          ? DAEMON_LOG_JOURNAL
                                        : DAEMON_LOG_PLAIN;
    log->level = level;
    log->fd = STDERR_FILENO;
    log->others = -1;
    if (json)
        gather_others(log);
}

void daemon_log_close(struct daemon_log *log)
{
    if (log->others < 0)
        return;
    fflush(stderr);
    atomic_store(&log->done, 1);
    /* Behind all that was written; and it wakes the reader, whoever else still has the pipe. */
    if (write(STDERR_FILENO, "\n", 1) < 0)
        return;
    pthread_join(log->reader, NULL);
    dup2(log->fd, STDERR_FILENO);
    close(log->fd);
    close(log->others);
    log->fd = STDERR_FILENO;
    log->others = -1;
}

static void format_time(const char *format, int utc, char *text, size_t size, int *milliseconds)
{
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME, &now);
    *milliseconds = (int)(now.tv_nsec / 1000000);
    if ((utc ? gmtime_r(&now.tv_sec, &parts) : localtime_r(&now.tv_sec, &parts)) == NULL ||
        strftime(text, size, format, &parts) == 0)
        text[0] = '\0';
}

/* Text that is not UTF-8 is no JSON; what can be read of it still is. */
static json_t *json_text(const char *message)
{
    json_t *text = json_string(message);
    char copy[1400];

    if (text != NULL)
        return text;
    snprintf(copy, sizeof(copy), "%s", message);
    for (char *p = copy; *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_string(copy);
}

static void write_json(FILE *to, outbox_log_level level, const char *outbox, const char *message)
{
    char time_text[32], full[48];
    int ms;
    json_t *line;

    format_time("%Y-%m-%dT%H:%M:%S", 1, time_text, sizeof(time_text), &ms);
    snprintf(full, sizeof(full), "%s.%03dZ", time_text, ms);
    line = json_pack("{s:s, s:s, s:s*, s:o}", "time", full, "level", level_name(level), "outbox", outbox, "message",
                     json_text(message));
    if (line != NULL)
        json_dumpf(line, to, JSON_COMPACT);
    json_decref(line);
}

static void write_terminal(FILE *to, outbox_log_level level, const char *message)
{
    char time_text[32];
    int ms;

    format_time("%H:%M:%S", 0, time_text, sizeof(time_text), &ms);
    fprintf(to, "%s%s.%03d%s %s", cli_colour(stderr, CLI_DIM), time_text, ms, cli_colour(stderr, CLI_PLAIN),
            cli_colour(stderr, level_colour(level)));
    if (level <= OUTBOX_LOG_WARNING)
        fprintf(to, "%s: ", level_name(level));
    cli_print_safe(to, message, strlen(message));
    fputs(cli_colour(stderr, CLI_PLAIN), to);
}

static void write_plain(FILE *to, outbox_log_level level, const char *message)
{
    char time_text[32];
    int ms;

    format_time("%Y-%m-%dT%H:%M:%S", 1, time_text, sizeof(time_text), &ms);
    fprintf(to, "%s.%03dZ %s: ", time_text, ms, level_name(level));
    cli_print_safe(to, message, strlen(message));
}

static void write_text(const struct daemon_log *log, FILE *to, outbox_log_level level, const char *message)
{
    if (log->form == DAEMON_LOG_TERMINAL) {
        write_terminal(to, level, message);
    } else if (log->form == DAEMON_LOG_PLAIN) {
        write_plain(to, level, message);
    } else {
        fprintf(to, "<%d>", (int)level);
        cli_print_safe(to, message, strlen(message));
    }
}

/* Made in memory and written in one piece: the publisher's command may write to the same place. */
void daemon_log_source_write(void *user, outbox_log_level level, const char *message)
{
    const struct daemon_log_source *source = user;
    const struct daemon_log *log = source->log;
    char *text = NULL, named[1400];
    size_t size = 0;
    FILE *to;

    if (level > log->level || (to = open_memstream(&text, &size)) == NULL)
        return;
    if (log->form == DAEMON_LOG_JSON) {
        write_json(to, level, source->outbox, message);
    } else if (source->outbox == NULL) {
        write_text(log, to, level, message);
    } else {
        snprintf(named, sizeof(named), "%s: %s", source->outbox, message);
        write_text(log, to, level, named);
    }
    fputc('\n', to);
    if (fclose(to) == 0 && write(log->fd, text, size) < 0)
        size = 0; /* there is no place left to tell it */
    free(text);
}

void daemon_log_write(void *log, outbox_log_level level, const char *message)
{
    struct daemon_log_source source = { log, NULL };

    daemon_log_source_write(&source, level, message);
}

void daemon_log_source_printf(struct daemon_log_source *source, outbox_log_level level, const char *format, ...)
{
    char line[1400];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    daemon_log_source_write(source, level, line);
}

void daemon_log_printf(struct daemon_log *log, outbox_log_level level, const char *format, ...)
{
    char line[1400];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    daemon_log_write(log, level, line);
}
