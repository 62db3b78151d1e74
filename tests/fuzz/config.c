/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration file: a connection string or a publisher is taken as it stands there, or not at all. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../tools/cli.h"
#include "fuzz/fuzz.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int complaints;

/* In place of the one that prints. */
int cli_fail(const struct cli *cli, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    (void)cli;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    FUZZ_CHECK(strchr(text, ':') != NULL && text[strlen(text) - 1] != ' ', "says \"%s\"", text);
    complaints++;
    return CLI_FAILED;
}

/* Likewise. */
int cli_wrong(const struct cli *cli, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cli_fail(cli, "%s", text);
    return CLI_USAGE;
}

/* It is a complaint, too. */
int cli_usage(const struct cli *cli, const char *format, ...)
{
    (void)format;
    cli_fail(cli, "usage:");
    return CLI_USAGE;
}

int cli_error(const struct cli *cli, const char *doing, outbox_error *err)
{
    (void)doing;
    outbox_error_free(err);
    return cli_fail(cli, "error:");
}

/* No file is opened, whatever the input names. */
char *cli_credential(const char *key, const char *value, char *what, size_t size)
{
    (void)key, (void)what, (void)size;
    return strdup(value);
}

char *cli_read_secret(const char *path, char *what, size_t size)
{
    (void)path;
    snprintf(what, size, "no file");
    return NULL;
}

/* Whether a line, without the blanks around it, is KEY, = or :, and exactly this value. */
static int is_line(const char *line, size_t size, const char *key, const char *value)
{
    while (size > 0 && isspace((unsigned char)line[size - 1]))
        size--;
    while (size > 0 && isspace((unsigned char)*line))
        line++, size--;
    if (size < strlen(key) || memcmp(line, key, strlen(key)) != 0)
        return 0;
    line += strlen(key), size -= strlen(key);
    while (size > 0 && isspace((unsigned char)*line))
        line++, size--;
    if (size == 0 || (*line != '=' && *line != ':'))
        return 0;
    line++, size--;
    while (size > 0 && isspace((unsigned char)*line))
        line++, size--;
    return size == strlen(value) && memcmp(line, value, size) == 0;
}

static void check_unchanged(const uint8_t *data, size_t size, const char *key, const char *value)
{
    const char *at = (const char *)data, *end = at + size;

    while (value != NULL && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline != NULL ? newline : end) - at);

        if (is_line(at, length, key, value))
            return;
        at += length + 1;
    }
    FUZZ_CHECK(value == NULL, "no line sets %s to \"%s\"", key, value);
}

/* The same file as one of several outboxes, as outboxd takes it. */
static void check_all(const struct cli *cli, const char *path)
{
    struct cli_server server = { .listen = NULL };
    struct cli_settings *all;
    size_t count;
    int status;

    complaints = 0;
    status = cli_config_load_all(cli, path, &all, &count, &server);
    FUZZ_CHECK(complaints == (status != CLI_OK), "status %d with %d complaints for all", status, complaints);
    FUZZ_CHECK(status != CLI_OK || count > 0, "no outbox");
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(status != CLI_OK || all[i].print != NULL, "an outbox of which nothing is kept");
        FUZZ_CHECK(all[i].name == NULL || strlen(all[i].name) <= 40, "a name of %zu bytes", strlen(all[i].name));
        outbox_conf_free(all[i].conf);
        free(all[i].dsn);
        free(all[i].publisher);
        free(all[i].name);
        free(all[i].print);
    }
    free(all);
    FUZZ_CHECK(server.listen == NULL || server.listen[0] != '\0', "an address that is empty");
    cli_server_free(&server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cli cli = {.program = "fuzz"};
    struct cli_settings settings = { .conf = NULL };
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC), status;

    FUZZ_CHECK(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size), "no file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    FUZZ_CHECK(outbox_conf_new(&settings.conf, NULL) == OUTBOX_OK, "out of memory");
    complaints = 0;
    status = cli_config_load(&cli, path, NULL, &settings);
    FUZZ_CHECK(complaints == (status != CLI_OK), "status %d with %d complaints", status, complaints);
    if (status == CLI_OK) {
        check_unchanged(data, size, "dsn", settings.dsn);
        check_unchanged(data, size, "publisher", settings.publisher);
    }
    check_all(&cli, path);
    outbox_conf_free(settings.conf);
    free(settings.dsn);
    free(settings.publisher);
    free(settings.name);
    free(settings.print);
    close(fd);
    return 0;
}
