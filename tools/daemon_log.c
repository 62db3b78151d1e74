/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_log.h"

#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
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

void daemon_log_open(struct daemon_log *log, int json, outbox_log_level level)
{
    log->form = json ? DAEMON_LOG_JSON : isatty(STDERR_FILENO) ? DAEMON_LOG_TERMINAL : DAEMON_LOG_JOURNAL;
    log->level = level;
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

static void write_json(FILE *to, outbox_log_level level, const char *message)
{
    char time_text[32], full[48];
    int ms;
    json_t *line;

    format_time("%Y-%m-%dT%H:%M:%S", 1, time_text, sizeof(time_text), &ms);
    snprintf(full, sizeof(full), "%s.%03dZ", time_text, ms);
    line = json_pack("{s:s, s:s, s:o}", "time", full, "level", level_name(level), "message", json_text(message));
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

/* Made in memory and written in one piece: the publisher's command may write to the same place. */
void daemon_log_write(void *user, outbox_log_level level, const char *message)
{
    const struct daemon_log *log = user;
    char *text = NULL;
    size_t size = 0;
    FILE *to;

    if (level > log->level || (to = open_memstream(&text, &size)) == NULL)
        return;
    if (log->form == DAEMON_LOG_JSON) {
        write_json(to, level, message);
    } else if (log->form == DAEMON_LOG_TERMINAL) {
        write_terminal(to, level, message);
    } else {
        fprintf(to, "<%d>", (int)level);
        cli_print_safe(to, message, strlen(message));
    }
    fputc('\n', to);
    if (fclose(to) == 0 && write(STDERR_FILENO, text, size) < 0)
        size = 0; /* there is no place left to tell it */
    free(text);
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
