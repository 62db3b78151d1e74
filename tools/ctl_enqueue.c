/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Enqueues one message, which the options describe. */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than the library ever accepts: only to not read for ever. */
#define PAYLOAD_MAX ((size_t)2 << 30)

struct payload {
    char *bytes;
    size_t size;
};

static int read_all(struct ctl *ctl, FILE *from, const char *name, struct payload *p)
{
    size_t room = 0, n;

    do {
        if (room - p->size < 65536) {
            char *bytes;
            room = room == 0 ? 65536 : room * 2;
            bytes = room > PAYLOAD_MAX ? NULL : realloc(p->bytes, room);
            if (bytes == NULL)
                return cli_fail(&ctl->cli, "cannot read the payload from %s: there is not enough memory", name);
            p->bytes = bytes;
        }
        n = fread(p->bytes + p->size, 1, room - p->size, from);
        p->size += n;
    } while (n > 0);
    return ferror(from) ? cli_fail(&ctl->cli, "cannot read the payload from %s: %s", name, strerror(errno)) : CLI_OK;
}

static int read_payload(struct ctl *ctl, struct payload *p)
{
    const char *text = cli_value(&ctl->cli, CTL_PAYLOAD), *path = cli_value(&ctl->cli, CTL_PAYLOAD_FILE);
    FILE *file;
    int status;

    if (text != NULL && path != NULL)
        return cli_usage(&ctl->cli, "--payload and --payload-file exclude each other");
    if (text != NULL) {
        p->bytes = strdup(text);
        p->size = strlen(text);
        return p->bytes != NULL ? CLI_OK : cli_fail(&ctl->cli, "out of memory");
    }
    if (path == NULL || strcmp(path, "-") == 0) {
        if (isatty(STDIN_FILENO))
            fputs(_("Reading the payload from the terminal; end it with Ctrl-D on a line of its own.\n"), stderr);
        return read_all(ctl, stdin, "the standard input", p);
    }
    file = fopen(path, "re");
    if (file == NULL)
        return cli_fail(&ctl->cli, "cannot read the payload from %s: %s", path, strerror(errno));
    status = read_all(ctl, file, path, p);
    fclose(file);
    return status;
}

/* NAME=VALUE of each --header. The names are copied, as they are cut off. */
static int read_headers(struct ctl *ctl, outbox_header *headers, size_t *count)
{
    for (size_t i = 0; i < ctl->cli.given_count; i++) {
        const char *text = ctl->cli.given[i].value, *equals;
        if (ctl->cli.given[i].option != CTL_HEADER)
            continue;
        equals = strchr(text, '=');
        if (equals == NULL || equals == text)
            return cli_usage(&ctl->cli, "--header takes NAME=VALUE, and not \"%s\"", text);
        headers[*count].name = strndup(text, (size_t)(equals - text));
        headers[*count].value = equals + 1;
        if (headers[(*count)++].name == NULL)
            return cli_fail(&ctl->cli, "out of memory");
    }
    return CLI_OK;
}

/* The library reads times in the JSON form of a message: so all tools take the same. */
static int read_time(struct ctl *ctl, const char *text, int64_t *us)
{
    json_t *form = json_pack("{s:s, s:s}", "topic", "-", "available_at", text);
    char *line = form != NULL ? json_dumps(form, JSON_COMPACT) : NULL;
    outbox_parsed *parsed = NULL;
    int rc = line != NULL ? outbox_message_from_json(line, strlen(line), 0, &parsed, NULL) : OUTBOX_ERR_NOMEM;

    if (rc == OUTBOX_OK)
        *us = outbox_parsed_message(parsed)->available_at;
    outbox_parsed_free(parsed);
    free(line);
    json_decref(form);
    if (rc != OUTBOX_OK)
        return cli_usage(&ctl->cli, "--available-at is \"%s\"; it must be a time such as 2026-01-31T12:00:00Z", text);
    return CLI_OK;
}

static int read_when(struct ctl *ctl, outbox_message *m)
{
    const char *delay = cli_value(&ctl->cli, CTL_DELAY), *time = cli_value(&ctl->cli, CTL_AVAILABLE_AT);
    const char *attempts = cli_value(&ctl->cli, CTL_MAX_ATTEMPTS);
    long long number = 0;
    int64_t us = 0;
    int status = CLI_OK;

    if (delay != NULL && time != NULL)
        return cli_usage(&ctl->cli, "--delay and --available-at exclude each other");
    if (delay != NULL && !cli_duration(delay, &us))
        return cli_usage(&ctl->cli, "--delay is \"%s\"; it must be a duration such as 500ms, 30s, 5m, 12h or 7d", delay);
    m->delay_ms = us / 1000;
    if (time != NULL)
        status = read_time(ctl, time, &m->available_at);
    if (status == CLI_OK && attempts != NULL)
        status = cli_number(&ctl->cli, "--max-attempts", attempts, 1, INT32_MAX, &number);
    m->max_attempts = (int)number;
    return status;
}

/* The library names a field of the message first, whatever the language; here it was an option. */
static int say_refused(struct ctl *ctl, outbox_error *err)
{
    static const struct {
        const char *field;
        enum ctl_option option;
    } fields[] = {
        { "topic", CTL_TOPIC },
        { "partition_key", CTL_KEY },
        { "content_type", CTL_CONTENT_TYPE },
        { "message_type", CTL_MESSAGE_TYPE },
        { "dedup_key", CTL_DEDUP_KEY },
        { "id", CTL_ID },
    };
    const char *message = outbox_error_message(err);
    size_t length = strcspn(message, " ");

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strlen(fields[i].field) == length && strncmp(fields[i].field, message, length) == 0)
            return cli_explain(&ctl->cli, err, "%s: --%s%s", _("cannot enqueue"),
                               ctl->cli.options[fields[i].option].name, message + length);
    return cli_error(&ctl->cli, "cannot enqueue", err);
}

/* Nothing is wrong with such a message, so that a script can go on: it has a status of its own. */
static int say_duplicate(struct ctl *ctl, const outbox_message *m, outbox_error *err)
{
    if (m->id != NULL && m->dedup_key != NULL)
        cli_explain(&ctl->cli, err, "this message was enqueued before: its --id or its --dedup-key was used within "
                    "dedup.window; nothing was written");
    else if (m->id != NULL || m->dedup_key != NULL)
        cli_explain(&ctl->cli, err, "this message was enqueued before: %s %s was used within dedup.window; nothing was "
                    "written", m->id != NULL ? "--id" : "--dedup-key", m->id != NULL ? m->id : m->dedup_key);
    else
        cli_error(&ctl->cli, "cannot enqueue", err);
    return CTL_DUPLICATE;
}

static int write_one(struct ctl *ctl, const outbox_message *m)
{
    outbox_error *err = NULL;
    outbox_id id;
    int rc = outbox_enqueue(ctl->conn, m, 1, &id, &err);

    if (rc == OUTBOX_ERR_DUPLICATE)
        return say_duplicate(ctl, m, err);
    if (rc != OUTBOX_OK)
        return say_refused(ctl, err);
    ctl_wake(ctl);
    if (ctl->json)
        return ctl_print_json(ctl, json_pack("{s:s}", "id", id.text));
    if (!cli_has(&ctl->cli, CTL_QUIET))
        puts(id.text);
    return CLI_OK;
}

static int enqueue_one(struct ctl *ctl, outbox_header *headers, struct payload *payload)
{
    outbox_message m = OUTBOX_MESSAGE_INIT;
    int status = read_headers(ctl, headers, &m.header_count);

    m.topic = cli_value(&ctl->cli, CTL_TOPIC);
    m.partition_key = cli_value(&ctl->cli, CTL_KEY);
    m.content_type = cli_value(&ctl->cli, CTL_CONTENT_TYPE);
    m.message_type = cli_value(&ctl->cli, CTL_MESSAGE_TYPE);
    m.id = cli_value(&ctl->cli, CTL_ID);
    m.dedup_key = cli_value(&ctl->cli, CTL_DEDUP_KEY);
    m.headers = headers;
    if (status == CLI_OK)
        status = read_when(ctl, &m);
    if (status == CLI_OK && m.topic == NULL)
        status = cli_usage(&ctl->cli, "where to? Give --topic, or '-' to read messages as JSON lines");
    if (status == CLI_OK && m.topic[0] == '\0')
        status = cli_usage(&ctl->cli, "where to? The --topic is empty");
    if (status == CLI_OK)
        status = read_payload(ctl, payload);
    m.payload = payload->bytes;
    m.payload_size = payload->size;
    if (status == CLI_OK)
        status = write_one(ctl, &m);
    for (size_t i = 0; i < m.header_count; i++)
        free((char *)(uintptr_t)headers[i].name);
    return status;
}

/* Options that only make sense for one of the two ways. */
static int check_options(struct ctl *ctl, bool lines)
{
    static const enum ctl_option single[] = { CTL_TOPIC,        CTL_KEY, CTL_PAYLOAD,   CTL_PAYLOAD_FILE,
                                              CTL_HEADER,       CTL_ID,  CTL_DEDUP_KEY, CTL_CONTENT_TYPE,
                                              CTL_MESSAGE_TYPE, CTL_DELAY, CTL_AVAILABLE_AT, CTL_MAX_ATTEMPTS };

    for (size_t i = 0; lines && i < sizeof(single) / sizeof(single[0]); i++)
        if (cli_has(&ctl->cli, single[i]))
            return cli_usage(&ctl->cli, "--%s does not go with --json-lines: it is a member of each JSON object",
                             ctl->cli.options[single[i]].name);
    if (!lines && (cli_has(&ctl->cli, CTL_BATCH) || cli_has(&ctl->cli, CTL_KEEP_ID)))
        return cli_usage(&ctl->cli, "--batch and --keep-id go with --json-lines");
    return CLI_OK;
}

int ctl_enqueue(struct ctl *ctl)
{
    bool dash = ctl->cli.argument_count > 0 && strcmp(ctl->cli.arguments[0], "-") == 0;
    bool lines = dash || cli_has(&ctl->cli, CTL_JSON_LINES);
    struct payload payload = { 0 };
    outbox_header *headers;
    int status = check_options(ctl, lines);

    if (status != CLI_OK)
        return status;
    if (ctl->cli.argument_count > (dash ? 1 : 0))
        return cli_usage(&ctl->cli, "enqueue does not take \"%s\"", ctl->cli.arguments[dash ? 1 : 0]);
    if (lines)
        return ctl_enqueue_lines(ctl);
    headers = calloc(ctl->cli.given_count + 1, sizeof(*headers));
    if (headers == NULL)
        return cli_fail(&ctl->cli, "out of memory");
    status = enqueue_one(ctl, headers, &payload);
    free(headers);
    free(payload.bytes);
    return status;
}
