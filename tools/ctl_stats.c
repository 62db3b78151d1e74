/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <inttypes.h>

static const outbox_state states[] = { OUTBOX_PENDING, OUTBOX_SCHEDULED, OUTBOX_RETRYING,
                                       OUTBOX_HELD,    OUTBOX_DEAD,      OUTBOX_DELIVERED };

#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

static int print_json(struct ctl *ctl, const outbox_counts *counts)
{
    json_t *by_state = json_object();

    for (size_t i = 0; i < STATE_COUNT; i++)
        json_object_set_new(by_state, outbox_state_name(states[i]), json_integer(counts->by_state[states[i]]));
    return ctl_print_json(ctl, json_pack("{s:s, s:o, s:I, s:i, s:i}", "driver", outbox_conn_driver(ctl->conn), "states",
                                         by_state, "oldest_pending_ms", (json_int_t)(counts->oldest_pending_us / 1000),
                                         "lanes", counts->lanes, "lanes_held", counts->lanes_held));
}

int ctl_stats(struct ctl *ctl)
{
    outbox_counts counts = { .size = sizeof(counts) };
    outbox_error *err = NULL;
    char age[32];

    if (outbox_count(ctl->conn, &counts, &err) != OUTBOX_OK)
        return cli_error(&ctl->cli, "cannot count", err);
    if (ctl->json)
        return print_json(ctl, &counts);
    for (size_t i = 0; i < STATE_COUNT; i++) {
        int64_t n = counts.by_state[states[i]];
        printf("%s%-9s %12" PRId64 "%s\n", n > 0 ? ctl_state_colour(states[i]) : cli_colour(stdout, CLI_DIM),
               outbox_state_name(states[i]), n, cli_colour(stdout, CLI_PLAIN));
    }
    cli_format_duration(counts.oldest_pending_us, age, sizeof(age));
    if (counts.by_state[OUTBOX_PENDING] > 0)
        printf("The oldest pending message is %s old.\n", age);
    printf("%d of %d lanes are leased.\n", counts.lanes_held, counts.lanes);
    return CLI_OK;
}
