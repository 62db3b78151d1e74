/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints outbox.conf(5) from the table of settings, so that the page never says anything else than the library. */
#include "man.h"

#include <outbox/conf.h>

#include <stdio.h>

static void print_setting(const outbox_conf_info *info)
{
    printf(".It Cm %s No = Ar %s\n", info->key, info->type);
    man_text(info->help);
    puts(".Pp");
    if (info->range[0] != '\0') {
        puts("Allowed:");
        man_text(info->range);
        puts(".br");
    }
    printf("Default: %s\n", info->default_value[0] != '\0' ? info->default_value : "empty");
}

static const char *const head[] = {
    ".\\\" SPDX-License-Identifier: LGPL-2.1-or-later",
    ".\\\" Made from the table of settings in the library: change it there.",
    ".Dd November 23, 2026",
    ".Dt OUTBOX.CONF 5",
    ".Os",
    ".Sh NAME",
    ".Nm outbox.conf",
    ".Nd settings of a transactional outbox",
    ".Sh DESCRIPTION",
    "Programs set them with",
    ".Fn outbox_conf_set ,",
    ".Xr outboxctl 1",
    "and",
    ".Xr outboxd 8",
    "with",
    ".Fl -set Ar key Ns = Ns Ar value",
    "or in the file that",
    ".Fl -config",
    "names, which has one section, or for several outboxes one each:",
    ".Bd -literal -offset indent",
    "[outbox]",
    "dsn = shop",
    "publisher = file:/var/spool/outbox/events.jsonl",
    "relay.workers = 4",
    ".Ed",
    ".Pp",
    ".Cm dsn",
    "and",
    ".Cm publisher",
    "are what the options of",
    ".Xr outboxd 8",
    "with these names take; its page has what else the file can say, such as",
    ".Cm listen",
    "in the section",
    ".Bq outboxd .",
    "The others are below.",
    "Blank lines and lines that begin with",
    ".Ql \\&;",
    "or",
    ".Ql #",
    "say nothing.",
    ".Pp",
    "What begins with the name of a publisher for a broker and a dot, such as",
    ".Cm redis.window ,",
    "is in that publisher's page, such as",
    ".Xr outbox_redis 7 ,",
    "and is checked when the publisher is opened.",
    ".Pp",
    "A duration is 0 or a number with a unit:",
    ".Cm us , ms , s , m , h",
    "or",
    ".Cm d .",
    "A size is a number of bytes, or has a unit:",
    ".Cm KiB , MiB",
    "or",
    ".Cm GiB .",
    ".Sh SETTINGS",
    ".Bl -tag -width Ds",
};

static const char *const foot[] = {
    ".El",
    ".Sh SEE ALSO",
    ".Xr outboxctl 1 ,",
    ".Xr outbox_conf 3 ,",
    ".Xr odbc.ini 5 ,",
    ".Xr outbox 7 ,",
    ".Xr outboxd 8",
};

int main(void)
{
    outbox_conf_info info;

    man_lines(head, sizeof(head) / sizeof(head[0]));
    for (size_t i = 0; outbox_conf_describe(i, &info) == OUTBOX_OK; i++)
        print_setting(&info);
    man_lines(foot, sizeof(foot) / sizeof(foot[0]));
    return fflush(stdout) != 0 || ferror(stdout);
}
