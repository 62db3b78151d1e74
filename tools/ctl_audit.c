/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who did what to messages by hand, and what is noted of it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctl.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Behind sudo it is who called it that counts. */
static void name_user(char *who, size_t size)
{
    const char *user = getenv("SUDO_USER");
    const struct passwd *entry = user == NULL || user[0] == '\0' ? getpwuid(getuid()) : NULL;
    char host[65] = "host";

    gethostname(host, sizeof(host) - 1);
    if (entry != NULL)
        user = entry->pw_name;
    if (user != NULL && user[0] != '\0')
        snprintf(who, size, "%s at %s", user, host);
    else
        snprintf(who, size, "uid %ld at %s", (long)getuid(), host);
}

int ctl_audit_filter(struct ctl *ctl, outbox_filter *filter)
{
    const char *rate = cli_value(&ctl->cli, CTL_RATE), *who = cli_value(&ctl->cli, CTL_WHO);
    size_t length = rate != NULL ? strspn(rate, "0123456789") : 0;

    if (who != NULL)
        snprintf(ctl->who, sizeof(ctl->who), "%s", who);
    else
        name_user(ctl->who, sizeof(ctl->who));
    filter->who = ctl->who;
    if (rate == NULL)
        return CLI_OK;
    if (length == 0 || length > 9 || strtoll(rate, NULL, 10) == 0 ||
        (rate[length] != '\0' && strcmp(rate + length, "/s") != 0))
        return cli_usage(&ctl->cli, "--rate is \"%s\"; it must be messages a second, from 1, such as 50 or 50/s", rate);
    filter->rate = strtoll(rate, NULL, 10);
    return CLI_OK;
}

struct listing {
    struct ctl *ctl;
    size_t count;
    bool failed;
};

static void format_time(int64_t us, char *text, size_t size)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;

    gmtime_r(&seconds, &parts);
    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static int print_entry(void *user, const outbox_audit_entry *entry)
{
    struct listing *l = user;
    char at[40];

    format_time(entry->at, at, sizeof(at));
    l->count++;
    if (l->ctl->json) {
        l->failed = ctl_print_json(l->ctl, json_pack("{s:s, s:s, s:s, s:s, s:I}", "at", at, "who", entry->who, "what",
                                                     entry->what, "which", entry->which, "messages",
                                                     (json_int_t)entry->messages)) != CLI_OK;
        return l->failed;
    }
    printf("%s  %s  %" PRId64 "  ", at, entry->what, entry->messages);
    cli_print_safe(stdout, entry->which, strlen(entry->which));
    fputs("  by ", stdout);
    cli_print_safe(stdout, entry->who, strlen(entry->who));
    putchar('\n');
    return 0;
}

int ctl_audit(struct ctl *ctl)
{
    struct listing l = { .ctl = ctl };
    outbox_error *err = NULL;
    outbox_filter filter;
    int status = ctl_filter(ctl, &filter);

    if (status != CLI_OK)
        return status;
    if (outbox_audit(ctl->conn, filter.limit, print_entry, &l, &err) != OUTBOX_OK)
        return cli_error(&ctl->cli, "cannot list the audit", err);
    if (l.count == 0 && !ctl->json)
        printf("Nothing was redriven, discarded or purged.\n");
    return l.failed ? CLI_FAILED : CLI_OK;
}
