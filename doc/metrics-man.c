/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints outbox_metrics(7) from the table of metrics, so that the page never says anything else than the library. */
#include "man.h"

#include <outbox/metrics.h>

#include <stdio.h>

static const char *const head[] = {
    ".\\\" SPDX-License-Identifier: LGPL-2.1-or-later",
    ".\\\" Made from the table of metrics in the library: change it there.",
    ".Dd November 23, 2026",
    ".Dt OUTBOX_METRICS 7",
    ".Os",
    ".Sh NAME",
    ".Nm outbox_metrics",
    ".Nd metrics of a transactional outbox and its relays",
    ".Sh DESCRIPTION",
    ".Xr outboxd 8",
    "with",
    ".Fl -listen",
    "serves them at",
    ".Pa /metrics",
    "in the text format of Prometheus, and at",
    ".Pa /metrics.json",
    "as JSON; programs get both from",
    ".Xr outbox_metrics_get 3 .",
    "Each has the label",
    ".Cm outbox ,",
    "the name of the outbox.",
    "Counters begin at 0 when the relay is made.",
    ".Pp",
    "The JSON form is an object whose",
    ".Cm metrics",
    "is a list of objects with",
    ".Cm name , type , unit , help",
    "and",
    ".Cm samples ,",
    "each of which has",
    ".Cm labels",
    "and a",
    ".Cm value ;",
    "for a histogram",
    ".Cm buckets",
    "with their upper bound",
    ".Cm le",
    "and the",
    ".Cm count",
    "of all below it,",
    ".Cm sum",
    "and",
    ".Cm count .",
    ".Ss Counting what waits",
    "A thread with a connection of its own counts, at most once every",
    ".Cm metrics.interval ,",
    "and not while nobody asks.",
    "Its cost does not grow with the backlog.",
    "Of each lane up to 100 pending messages are counted; how many more there are",
    "is estimated from how densely these lie among the numbers up to the lane's last.",
    "Of the others, 10000 rows are counted each time, lane after lane, so that all",
    "were counted after a few times; until then what is known is multiplied up.",
    "Scheduled messages count as pending until a relay has met them, and those of",
    "transactions that committed late not at all.",
    ".Xr outboxctl 1",
    "with",
    ".Cm stats",
    "counts exactly, and looks at every row.",
    ".Pp",
    "What the database does not tell is left out.",
    ".Sh METRICS",
    ".Bl -tag -width Ds",
};

static const char *const foot[] = {
    ".El",
    ".Sh FILES",
    "Alert rules for Prometheus and a dashboard for Grafana are among the",
    "documentation:",
    ".Pa prometheus-rules.yml",
    "and",
    ".Pa grafana-dashboard.json .",
    ".Sh SEE ALSO",
    ".Xr outboxctl 1 ,",
    ".Xr outbox_metrics 3 ,",
    ".Xr outbox.conf 5 ,",
    ".Xr outbox 7 ,",
    ".Xr outboxd 8",
};

int main(void)
{
    outbox_metric_info info = { .size = sizeof(info) };

    man_lines(head, sizeof(head) / sizeof(head[0]));
    for (size_t i = 0; outbox_metric_describe(i, &info) == OUTBOX_OK; i++) {
        printf(".It Cm %s\n", info.name);
        man_text(info.help);
        printf(".br\n%c%s%s%s", info.type[0] - 'a' + 'A', info.type + 1, info.unit[0] != '\0' ? ", in " : "", info.unit);
        printf("%s%s.\n", info.label[0] != '\0' ? "; has also " : "", info.label);
    }
    man_lines(foot, sizeof(foot) / sizeof(foot[0]));
    return fflush(stdout) != 0 || ferror(stdout);
}
