/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration file: an INI file with one section.
 *
 *     [outbox]
 *     dsn = Driver=PostgreSQL;Servername=db;Database=shop
 *     publisher = file:/var/spool/outbox/events.jsonl
 *     relay.workers = 4
 *
 * libinih cuts lines that are too long for it, takes " ;" inside a line for a comment and an indented line for more
 * of the value before. Each of these would change a connection string in silence, so the reader below, which hands
 * over line by line, refuses the first two and takes away the indent.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

/* Names that were set, to find one that is set twice. */
#define NAMES_MAX 256

struct file {
    const struct cli *cli;
    const char *path;
    struct cli_settings *settings;
    FILE *stream;
    char *line;
    size_t room;
    int number; /* of the line */
    bool failed;
    char *names[NAMES_MAX];
    size_t name_count;
};

static int file_fail(struct file *f, const char *what)
{
    if (!f->failed)
        cli_fail(f->cli, "%s:%d: %s", f->path, f->number, what);
    f->failed = true;
    return 0;
}

/* Whether libinih would see a comment inside the line: any white space before a semicolon will do. */
static bool has_comment(const char *line)
{
    if (*line == ';' || *line == '#' || *line == '\0')
        return false;
    for (; line[1] != '\0'; line++)
        if (isspace((unsigned char)line[0]) && line[1] == ';')
            return true;
    return false;
}

static char *file_read_line(char *to, int size, void *user)
{
    struct file *f = user;
    ssize_t length = f->failed ? -1 : getline(&f->line, &f->room, f->stream);
    const char *start = f->line;

    if (length < 0)
        return NULL;
    f->number++;
    while (isspace((unsigned char)*start) && *start != '\n')
        start++;
    if (strlen(start) != (size_t)(f->line + length - start)) {
        file_fail(f, "the line contains a NUL byte");
        return NULL;
    }
    if ((int)strlen(start) >= size) {
        file_fail(f, "the line is too long; put a long connection string into odbc.ini and name the DSN here");
        return NULL;
    }
    if (has_comment(start)) {
        file_fail(f, "\" ;\" would begin a comment: take the blank before the semicolon away, or move the comment to a "
                     "line of its own");
        return NULL;
    }
    return strcpy(to, start);
}

static int set_text(struct file *f, char **to, const char *value)
{
    *to = strdup(value);
    return *to != NULL ? 1 : file_fail(f, "out of memory");
}

static int set_once(struct file *f, const char *name)
{
    for (size_t i = 0; i < f->name_count; i++)
        if (strcmp(f->names[i], name) == 0) {
            char what[128];
            snprintf(what, sizeof(what), "\"%.80s\" is set a second time", name);
            return file_fail(f, what);
        }
    if (f->name_count == NAMES_MAX)
        return file_fail(f, "there are too many settings");
    f->names[f->name_count] = strdup(name);
    return f->names[f->name_count++] != NULL ? 1 : file_fail(f, "out of memory");
}

static int file_take(void *user, const char *section, const char *name, const char *value)
{
    struct file *f = user;
    outbox_error *err = NULL;

    if (f->failed)
        return 0;
    if (strcmp(section, "outbox") != 0)
        return file_fail(f, section[0] == '\0' ? "settings must stand in the section [outbox]"
                                               : "this section is not known; there is only [outbox]");
    if (!set_once(f, name))
        return 0;
    if (strcmp(name, "dsn") == 0)
        return set_text(f, &f->settings->dsn, value);
    if (strcmp(name, "publisher") == 0)
        return set_text(f, &f->settings->publisher, value);
    if (outbox_conf_set(f->settings->conf, name, value, &err) == OUTBOX_OK)
        return 1;
    file_fail(f, outbox_error_message(err));
    outbox_error_free(err);
    return 0;
}

int cli_config_load(const struct cli *cli, const char *path, struct cli_settings *settings)
{
    struct file f = { .cli = cli, .path = path, .settings = settings };
    int rc;

    f.stream = fopen(path, "re");
    /* A folder opens, too, and cannot be read. */
    if (f.stream != NULL && ungetc(fgetc(f.stream), f.stream) == EOF && ferror(f.stream)) {
        int why = errno;
        fclose(f.stream);
        f.stream = NULL;
        errno = why;
    }
    if (f.stream == NULL)
        return cli_fail(cli, "cannot read the configuration %s: %s", path, strerror(errno));
    rc = ini_parse_stream(file_read_line, &f, file_take, &f);
    if (rc != 0 && !f.failed)
        f.number = rc;
    if (rc != 0)
        file_fail(&f, "this is neither [outbox], nor KEY = VALUE, nor a comment");
    else if (ferror(f.stream))
        file_fail(&f, strerror(errno));
    fclose(f.stream);
    free(f.line);
    for (size_t i = 0; i < f.name_count; i++)
        free(f.names[i]);
    return f.failed ? CLI_USAGE : CLI_OK;
}
