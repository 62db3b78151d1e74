/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the commands of outboxctl share. */
#ifndef OUTBOX_TOOLS_CTL_H
#define OUTBOX_TOOLS_CTL_H

#include "cli.h"

#include <jansson.h>

/* How outboxctl ends besides: the message, or one of them, was enqueued before. */
enum { CTL_DUPLICATE = 3 };

/* Every option of every command; the table is in outboxctl.c, in this order. */
enum ctl_option {
    CTL_DSN,
    CTL_SET,
    CTL_CONFIG,
    CTL_OUTBOX,
    CTL_JSON,
    CTL_HELP,
    CTL_VERSION,
    CTL_LIST,
    CTL_PRINT,
    CTL_DIALECT,
    CTL_TOPIC,
    CTL_KEY,
    CTL_PAYLOAD,
    CTL_PAYLOAD_FILE,
    CTL_HEADER,
    CTL_CONTENT_TYPE,
    CTL_MESSAGE_TYPE,
    CTL_ID,
    CTL_DEDUP_KEY,
    CTL_DELAY,
    CTL_AVAILABLE_AT,
    CTL_MAX_ATTEMPTS,
    CTL_JSON_LINES,
    CTL_BATCH,
    CTL_KEEP_ID,
    CTL_QUIET,
    CTL_STATE,
    CTL_OLDER_THAN,
    CTL_LIMIT,
    CTL_ALL,
    CTL_DRY_RUN,
    CTL_RATE,
    CTL_WHO,
    CTL_ROLE,
    CTL_ONCE,
    CTL_CONNECT,
    CTL_PUBLISHER,
    CTL__COUNT
};

struct ctl;

struct ctl_command {
    const char *name;
    const char *arguments; /* for the help: what follows the options, or "" */
    int arguments_max;     /* how many may follow */
    uint64_t options;      /* those it takes besides the common ones */
    bool offline;          /* needs no database */
    const char *help;
    int (*run)(struct ctl *ctl);
};

/* One run of outboxctl. */
struct ctl {
    struct cli cli;
    const struct ctl_command *command;
    struct cli_settings settings;
    outbox_conn *conn; /* NULL for commands without a database */
    char who[200];     /* for the audit */
    bool json;
};

int ctl_migrate(struct ctl *ctl);
int ctl_enqueue(struct ctl *ctl);
int ctl_enqueue_lines(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_list(struct ctl *ctl);
int ctl_show(struct ctl *ctl);
int ctl_redrive(struct ctl *ctl);
int ctl_discard(struct ctl *ctl);
int ctl_purge(struct ctl *ctl);
int ctl_audit(struct ctl *ctl);
int ctl_clean(struct ctl *ctl);
int ctl_settings(struct ctl *ctl);
int ctl_top(struct ctl *ctl);
int ctl_doctor(struct ctl *ctl);

/* The DSN, unless there is one already: from --dsn, the configuration or OUTBOX_DSN. CLI_USAGE, said, without one. */
int ctl_dsn(struct ctl *ctl, const char **dsn);

/* Connects, if the command did not do so already. */
int ctl_connect(struct ctl *ctl);
/* Tells a relay on this host that something was committed; when that fails it polls, so it is only said. */
void ctl_wake(struct ctl *ctl);
/* The filter that the options ask for. */
int ctl_filter(struct ctl *ctl, outbox_filter *filter);
/* What it says besides of how fast, and by whom. */
int ctl_audit_filter(struct ctl *ctl, outbox_filter *filter);
/* Prints a value as one line and frees it. */
int ctl_print_json(struct ctl *ctl, json_t *value);
/* The names that --dialect takes, written into text. */
#define CTL_DIALECTS_SIZE 200
const char *ctl_dialects(char *text, size_t size);
/* The colour of a state. */
const char *ctl_state_colour(outbox_state state);

#endif
