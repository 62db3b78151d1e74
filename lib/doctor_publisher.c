/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the broker can be reached. The publisher is asked, since only it knows how one speaks to its broker; nothing
 * is sent. That takes no database: who looks for what is wrong may miss both. */
#include "doctor.h"
#include "buffer.h"
#include "delivery.h"
#include "error_internal.h"

#include <stdio.h>
#include <string.h>

#include <outbox/sys/publisher.h>

/* Programs that come with the broker, or are known to its keepers, and tell whether it is this one's fault.
 * %u: the URL, quoted; %h: hosts with ports; %a: the first host and its port, as arguments. */
static const struct {
    const char *scheme;
    int port; /* when the URL has none */
    const char *command;
} commands[] = {
    { "redis", 6379, "redis-cli -u %u PING" },
    { "rediss", 6379, "redis-cli -u %u PING" },
    { "kafka", 9092, "kcat -L -b %h" },
    { "kafkas", 9092, "kcat -L -X security.protocol=ssl -b %h" },
    { "nats", 4222, "nats rtt --server %u" },
    { "tls", 4222, "nats rtt --server %u" },
    { "http", 80, "curl -gsvI %u" },
    { "https", 443, "curl -gsvI %u" },
    { "amqp", 5672, "nc -vz %a" },
    { "amqps", 5671, "nc -vz %a" },
    { "amqp1", 5672, "nc -vz %a" },
    { "amqp1s", 5671, "nc -vz %a" },
    { "mqtt", 1883, "nc -vz %a" },
    { "mqtts", 8883, "nc -vz %a" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))
#define PACKAGE_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-"

static int add(struct outbox_buffer *out, const char *text)
{
    return outbox_buffer__add(out, text, strlen(text));
}

/* One word for the shell, whatever is in it. */
static int add_quoted(struct outbox_buffer *out, const char *text)
{
    int good = add(out, "'");

    for (; *text != '\0' && good; text++)
        good = *text == '\'' ? add(out, "'\\''") : outbox_buffer__add(out, text, 1);
    return good && add(out, "'");
}

/* A command takes all hosts as one word, or the first and its port as two. */
static int add_hosts(struct outbox_buffer *out, const outbox_target *target, int port, int all)
{
    size_t count, i;
    const outbox_endpoint *at = outbox_target_endpoints(target, &count);
    struct outbox_buffer hosts = { NULL, 0, 0 };
    int good = 1;

    for (i = 0; good && i < (all ? count : 1); i++) {
        char number[16];
        int v6 = all && strchr(at[i].host, ':') != NULL;

        snprintf(number, sizeof(number), "%s%s%d", v6 ? "]" : "", all ? ":" : "", at[i].port != 0 ? at[i].port : port);
        if (i > 0)
            good = add(&hosts, ",");
        good = good && (!v6 || add(&hosts, "[")) && add(&hosts, at[i].host[0] != '\0' ? at[i].host : "localhost");
        if (good && !all)
            good = add_quoted(out, hosts.data) && add(out, " ") && add(out, number);
        else
            good = good && add(&hosts, number);
    }
    if (good && all)
        good = add_quoted(out, hosts.data);
    outbox_buffer__free(&hosts);
    return good;
}

static int fill(struct outbox_buffer *out, const char *command, const outbox_target *target, int port)
{
    int good = 1;

    for (; *command != '\0' && good; command++) {
        if (*command != '%')
            good = outbox_buffer__add(out, command, 1);
        else if (*++command == 'u')
            good = add_quoted(out, outbox_target_shown(target));
        else
            good = add_hosts(out, target, port, *command == 'h');
    }
    return good;
}

/* Those that are built in have no target. The shell looks for a command as the publisher's shell does. */
static int fill_built_in(struct outbox_buffer *out, const char *url)
{
    static const struct {
        const char *scheme, *command, *ends_at;
    } all[] = {
        { "file:", "ls -ld ", "\n" },
        { "exec:", "command -v ", " \t\n" },
    };
    struct outbox_buffer word = { NULL, 0, 0 };
    size_t i;
    int good = 1;

    for (i = 0; i < sizeof(all) / sizeof(all[0]) && good; i++) {
        size_t length = strlen(all[i].scheme);

        if (strncmp(url, all[i].scheme, length) != 0)
            continue;
        good = outbox_buffer__add(&word, url + length, strcspn(url + length, all[i].ends_at)) && add(out, all[i].command) &&
               add_quoted(out, word.data);
    }
    outbox_buffer__free(&word);
    return good;
}

/* What tells more; nothing where the check's own command has to do. */
static int find_command(struct outbox_buffer *out, const char *url, const outbox_target *target, outbox_error **err)
{
    size_t i;

    if (target == NULL)
        return fill_built_in(out, url) ? OUTBOX_OK : outbox_error__nomem(err);
    for (i = 0; i < COMMANDS; i++)
        if (outbox_target_is(target, commands[i].scheme))
            return fill(out, commands[i].command, target, commands[i].port) ? OUTBOX_OK : outbox_error__nomem(err);
    return OUTBOX_OK;
}

static const char *shown(const outbox_publisher *p)
{
    return p->target != NULL ? outbox_target_shown(p->target) : p->ops.name;
}

static int tell(struct doctor *d, const struct check *c, const char *subject, const char *command, outbox_error **err)
{
    struct found found = { subject, command, 0, 1 };

    return outbox_doctor__tell(d, c, &found, err);
}

/* Asked once, first; the rest of what comes of it is told where it belongs. */
int outbox_doctor__reachable(struct doctor *d, const struct check *c, outbox_error **err)
{
    if (d->options.publisher == NULL)
        return OUTBOX_OK;
    d->reached = outbox_publisher_open(d->options.publisher, d->conf, &d->publisher, &d->unreached);
    if (d->reached == OUTBOX_OK)
        d->reached = outbox_publisher_reach(d->publisher, &d->unreached);
    if (d->reached == OUTBOX_ERR_NOMEM)
        return outbox_error__nomem(err);
    return d->reached == OUTBOX_OK ? tell(d, c, shown(d->publisher), NULL, err) : OUTBOX_OK;
}

/* Relays with it do not start, and say the same. A module that is not there has the name of its package in the text. */
static int tell_refused(struct doctor *d, outbox_error **err)
{
    const struct check refused = { outbox_error_name(d->unreached), OUTBOX_FAILURE, NULL, -1, -1, NULL, "%s",
                                   "relays with this publisher do not start", NULL, NULL };
    const char *package = strstr(outbox_error_message(d->unreached), "liboutbox-");
    char command[200];

    if (package != NULL && strcmp(refused.name, "module.missing") == 0)
        snprintf(command, sizeof(command), "apt-get install %.*s", (int)strspn(package, PACKAGE_LETTERS), package);
    else
        snprintf(command, sizeof(command), "outboxctl doctor --publisher <url>");
    return tell(d, &refused, outbox_error_message(d->unreached), command, err);
}

int outbox_doctor__unreachable(struct doctor *d, const struct check *c, outbox_error **err)
{
    struct outbox_buffer command = { NULL, 0, 0 };
    int rc;

    if (d->reached >= 0)
        return OUTBOX_OK;
    if (d->publisher == NULL)
        return tell_refused(d, err);
    rc = find_command(&command, d->options.publisher, d->publisher->target, err);
    if (rc == OUTBOX_OK)
        rc = tell(d, c, outbox_error_message(d->unreached), command.data, err);
    outbox_buffer__free(&command);
    return rc;
}

/* No fault of the publisher's: it may be older than the question. */
int outbox_doctor__untold(struct doctor *d, const struct check *c, outbox_error **err)
{
    return d->reached == OUTBOX_NONE ? tell(d, c, shown(d->publisher), NULL, err) : OUTBOX_OK;
}
