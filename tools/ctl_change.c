/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands that move or remove messages. */
#include "ctl.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* What a command does, and how it says so. */
struct change {
    int (*apply)(outbox_conn *conn, const outbox_filter *filter, int64_t *count, outbox_error **err);
    const char *doing; /* "cannot redrive" */
    const char *done;  /* "redriven" */
    outbox_state state; /* of the messages it is about, unless --state says otherwise */
    const char *const *advice; /* what to do about a message in another state, by its state */
};

static const char *const redrive_advice[OUTBOX_STATE_COUNT] = {
    [OUTBOX_PENDING] = N_("a relay takes it as soon as one runs; 'outboxctl doctor' says what keeps it waiting"),
    [OUTBOX_SCHEDULED] = N_("it is sent when its time comes, as 'outboxctl show' tells"),
    [OUTBOX_RETRYING] = N_("it is sent again by itself, at the time that 'outboxctl show' tells; to send it now, say "
                           "--state retry"),
    [OUTBOX_HELD] = N_("it goes by itself after the message of its topic and key that it waits for: redrive or discard "
                       "that one, if it is dead"),
    [OUTBOX_DEAD] = N_("to send it again, leave --state out or say --state dead"),
    [OUTBOX_DELIVERED] = N_("to send it once more, enqueue it again"),
};

static const char *const discard_advice[OUTBOX_STATE_COUNT] = {
    [OUTBOX_PENDING] = N_("to remove it all the same, say --state pending"),
    [OUTBOX_SCHEDULED] = N_("to remove it all the same, say --state scheduled"),
    [OUTBOX_RETRYING] = N_("to remove it all the same, say --state retry"),
    [OUTBOX_HELD] = N_("to remove it all the same, say --state held"),
    [OUTBOX_DEAD] = N_("to remove it, leave --state out or say --state dead"),
    [OUTBOX_DELIVERED] = N_("'outboxctl purge' removes those that were published"),
};

static int print_count(struct ctl *ctl, const char *done, int64_t count, bool dry_run)
{
    if (ctl->json)
        return ctl_print_json(ctl, json_pack("{s:I, s:b}", done, (json_int_t)count, "dry_run", dry_run));
    printf("%" PRId64 " message%s %s%s.\n", count, count == 1 ? "" : "s", dry_run ? "would be " : "", done);
    return CLI_OK;
}

static int count_one(void *user, const outbox_record *record)
{
    int64_t *count = user;

    (void)record;
    ++*count;
    return 0;
}

/* Counts what a change would touch. */
static int count_only(const struct change *change, outbox_conn *conn, const outbox_filter *filter, int64_t *count,
                      outbox_error **err)
{
    outbox_filter which = *filter;
    int rc;

    if ((int)which.state == 0)
        which.state = change->state;
    if (which.limit == 0)
        which.limit = INT32_MAX;
    *count = 0;
    rc = outbox_list(conn, &which, count_one, count, err);
    return rc == OUTBOX_OK && *count == 0 ? OUTBOX_NONE : rc;
}

static int take_state(void *user, const outbox_record *record)
{
    *(outbox_state *)user = outbox_record_state(record);
    return 1;
}

/* A message that was named, and is in no state for this: in which, and what to do. */
static int say_unfit(struct ctl *ctl, const struct change *change, const outbox_filter *filter)
{
    const char *id = filter->id;
    outbox_state state = (outbox_state)0;
    outbox_error *err = NULL;
    int rc = outbox_get(ctl->conn, id, take_state, &state, &err);

    if (rc < 0)
        return cli_error(&ctl->cli, change->doing, err);
    if (rc == OUTBOX_NONE)
        return cli_fail(&ctl->cli, "%s %s: there is no such message; published ones are gone unless clean.retention "
                        "keeps them", _(change->doing), id);
    if (state == filter->state) /* it has changed meanwhile */
        return cli_fail(&ctl->cli, "%s %s: it has changed in between, and its state is %s; try again", _(change->doing),
                        id, outbox_state_name(state));
    return cli_fail(&ctl->cli, "%s %s: its state is %s; %s", _(change->doing), id, outbox_state_name(state),
                    _(change->advice[state]));
}

static int change_some(struct ctl *ctl, const struct change *change, const outbox_filter *filter, int64_t *total)
{
    outbox_error *err = NULL;
    int64_t count = 0;
    int rc = cli_has(&ctl->cli, CTL_DRY_RUN) ? count_only(change, ctl->conn, filter, &count, &err)
                                             : change->apply(ctl->conn, filter, &count, &err);

    if (rc < 0)
        return cli_error(&ctl->cli, change->doing, err);
    *total += rc == OUTBOX_OK ? count : 0;
    if (rc == OUTBOX_NONE && filter->id != NULL)
        return say_unfit(ctl, change, filter);
    return CLI_OK;
}

/* By ids, by a filter, or all. */
static int change_messages(struct ctl *ctl, const struct change *change)
{
    bool state = cli_has(&ctl->cli, CTL_STATE), all = cli_has(&ctl->cli, CTL_ALL);
    bool filtered = cli_has(&ctl->cli, CTL_TOPIC) || cli_has(&ctl->cli, CTL_KEY) ||
                    cli_has(&ctl->cli, CTL_OLDER_THAN) || cli_has(&ctl->cli, CTL_LIMIT);
    int ids = ctl->cli.argument_count;
    outbox_filter filter;
    int64_t total = 0;
    int worst = CLI_OK, status = ctl_filter(ctl, &filter);

    if (status != CLI_OK)
        return status;
    if (ids > 0 && (filtered || all))
        return cli_usage(&ctl->cli, "give either ids, or a filter, or --all");
    if (ids == 0 && !filtered && !state && !all)
        return cli_usage(&ctl->cli, "which messages? Give ids, a filter such as --topic, or --all");
    /* The library asks for more than --all, on purpose; here it has been said. */
    if ((int)filter.state == 0)
        filter.state = change->state;
    for (int i = 0; i < ids; i++) {
        filter.id = ctl->cli.arguments[i];
        status = change_some(ctl, change, &filter, &total);
        worst = status > worst ? status : worst;
    }
    if (ids == 0)
        worst = change_some(ctl, change, &filter, &total);
    if (worst == CLI_OK || ids > 1)
        status = print_count(ctl, change->done, total, cli_has(&ctl->cli, CTL_DRY_RUN));
    return worst != CLI_OK ? worst : status;
}

int ctl_redrive(struct ctl *ctl)
{
    static const struct change change = { outbox_redrive, N_("cannot redrive"), "redriven", OUTBOX_DEAD,
                                          redrive_advice };
    const char *state = cli_value(&ctl->cli, CTL_STATE);
    int status;

    if (state != NULL && strcmp(state, outbox_state_name(OUTBOX_DEAD)) != 0 &&
        strcmp(state, outbox_state_name(OUTBOX_RETRYING)) != 0)
        return cli_usage(&ctl->cli, "--state is \"%s\"; only messages that are dead or in retry are redriven", state);
    status = change_messages(ctl, &change);
    if (!cli_has(&ctl->cli, CTL_DRY_RUN))
        ctl_wake(ctl);
    return status;
}

int ctl_discard(struct ctl *ctl)
{
    static const struct change change = { outbox_discard, N_("cannot discard"), "discarded", OUTBOX_DEAD,
                                          discard_advice };

    return change_messages(ctl, &change);
}

struct published {
    int64_t before, count;
};

static int count_published(void *user, const outbox_record *record)
{
    struct published *p = user;
    int64_t at = outbox_record_published_at(record);

    p->count += p->before == INT64_MAX || (at != 0 && at <= p->before);
    return 0;
}

/* A filter's age is since a message was made, so this looks at all that were published. */
static int count_purged(struct ctl *ctl, const outbox_filter *filter, int64_t *count, outbox_error **err)
{
    struct published p = { INT64_MAX, 0 };
    outbox_filter which = OUTBOX_FILTER_INIT;
    struct timespec now;
    int rc;

    if (filter->older_than_us > 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        p.before = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - filter->older_than_us;
    }
    which.state = OUTBOX_DELIVERED;
    which.limit = INT32_MAX;
    rc = outbox_list(ctl->conn, &which, count_published, &p, err);
    *count = p.count;
    return rc;
}

int ctl_purge(struct ctl *ctl)
{
    bool dry_run = cli_has(&ctl->cli, CTL_DRY_RUN);
    outbox_filter filter;
    outbox_error *err = NULL;
    int64_t count = 0;
    int status = ctl_filter(ctl, &filter);
    int rc;

    if (status != CLI_OK)
        return status;
    if (cli_has(&ctl->cli, CTL_ALL) == cli_has(&ctl->cli, CTL_OLDER_THAN))
        return cli_usage(&ctl->cli, "which messages? Give --older-than DURATION, or --all");
    rc = dry_run ? count_purged(ctl, &filter, &count, &err) : outbox_purge(ctl->conn, &filter, &count, &err);
    if (rc < 0)
        return cli_error(&ctl->cli, "cannot purge", err);
    if (rc == OUTBOX_NONE)
        return cli_fail(&ctl->cli, "cannot purge: another cleaner is at work; try again");
    return print_count(ctl, "purged", count, dry_run);
}

int ctl_clean(struct ctl *ctl)
{
    outbox_error *err = NULL;
    int64_t count = 0;
    int rc = outbox_clean(ctl->conn, ctl->settings.conf, &count, &err);

    if (rc < 0)
        return cli_error(&ctl->cli, "cannot clean", err);
    if (ctl->json)
        return ctl_print_json(ctl, json_pack("{s:I, s:b}", "removed", (json_int_t)count, "busy", rc == OUTBOX_NONE));
    if (rc == OUTBOX_NONE)
        printf("Another cleaner is at work, which does the same.\n");
    else
        printf("%" PRId64 " row%s removed.\n", count, count == 1 ? "" : "s");
    return CLI_OK;
}
