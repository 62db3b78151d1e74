/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

struct report {
    struct ctl *ctl;
    json_t *list; /* NULL: for people */
    size_t wrong;
    bool blind; /* not all was asked */
};

static const char *const severities[] = { [OUTBOX_FACT] = "fact", [OUTBOX_WARNING] = "warning", [OUTBOX_FAILURE] = "failure" };

static void print_line(const char *label, const char *text, enum cli_colour colour)
{
    if (text == NULL)
        return;
    printf("    %s%s%s", cli_colour(stdout, CLI_DIM), label, cli_colour(stdout, CLI_PLAIN));
    printf("%s", cli_colour(stdout, colour));
    cli_print_safe(stdout, text, strlen(text));
    printf("%s\n", cli_colour(stdout, CLI_PLAIN));
}

static void print_finding(const outbox_finding *f)
{
    enum cli_colour colour = f->severity == OUTBOX_FAILURE ? CLI_RED : f->severity == OUTBOX_WARNING ? CLI_YELLOW : CLI_DIM;

    printf("%s%-21s%s ", cli_colour(stdout, colour), f->name, cli_colour(stdout, CLI_PLAIN));
    cli_print_safe(stdout, f->text, strlen(f->text));
    printf("\n");
    if (f->severity == OUTBOX_FACT)
        return;
    print_line("means: ", f->meaning, CLI_PLAIN);
    print_line("do:    ", f->advice, CLI_PLAIN);
    print_line("       ", f->command, CLI_BLUE);
}

static int take(void *user, const outbox_finding *f)
{
    struct report *r = user;

    r->wrong += f->severity != OUTBOX_FACT;
    r->blind |= strcmp(f->name, "doctor.blind") == 0;
    if (r->list != NULL)
        json_array_append_new(r->list, json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?}", "name", f->name, "severity",
                                                 severities[f->severity], "text", f->text, "meaning", f->meaning, "advice",
                                                 f->advice, "command", f->command));
    else
        print_finding(f);
    return 0;
}

static int read_options(struct ctl *ctl, outbox_doctor_options *options)
{
    static const char *const names[] = { "writer", "relay", "admin" };
    const char *age = cli_value(&ctl->cli, CTL_OLDER_THAN);

    if (age != NULL && (!cli_duration(age, &options->patience_us) || options->patience_us <= 0))
        return cli_usage(&ctl->cli, "--older-than is \"%s\"; it must be a duration above 0, such as 30s or 5m", age);
    for (size_t i = 0; i < ctl->cli.given_count; i++) {
        const struct cli_given *given = &ctl->cli.given[i];
        size_t role = 0;

        if (given->option != CTL_ROLE)
            continue;
        while (role < 3 && strcmp(given->value, names[role]) != 0)
            role++;
        if (role == 3)
            return cli_usage(&ctl->cli, "--role is \"%s\"; it must be writer, relay or admin", given->value);
        options->roles |= 1U << role;
    }
    options->publisher = cli_value(&ctl->cli, CTL_PUBLISHER);
    if (cli_check_publisher(&ctl->cli, options->publisher) != CLI_OK)
        return CLI_USAGE;
    if (options->publisher == NULL)
        options->publisher = ctl->settings.publisher;
    return CLI_OK;
}

/* A DSN may hold a password, which the list of processes would show. */
static char *take_argument(struct ctl *ctl)
{
    char *argument = ctl->cli.argument_count > 0 ? ctl->cli.arguments[0] : NULL, *copy = NULL;

    if (argument != NULL)
        copy = strdup(argument);
    if (copy != NULL)
        memset(argument, '*', strlen(argument));
    return copy;
}

int ctl_doctor(struct ctl *ctl)
{
    outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;
    struct report report = { .ctl = ctl };
    outbox_error *err = NULL;
    char *given = take_argument(ctl);
    const char *dsn = given;
    int rc, status = read_options(ctl, &options);

    if (status == CLI_OK)
        status = ctl_dsn(ctl, &dsn);
    if (status != CLI_OK) {
        free(given);
        return status;
    }
    if (ctl->json)
        report.list = json_array();
    rc = outbox_diagnose(dsn, ctl->settings.conf, &options, take, &report, &err);
    free(given);
    if (rc != OUTBOX_OK) {
        json_decref(report.list);
        return cli_error(&ctl->cli, NULL, err);
    }
    if (ctl->json)
        status = ctl_print_json(ctl, json_pack("{s:b, s:o}", "well", report.wrong == 0, "findings", report.list));
    else if (report.wrong == 0)
        printf("%s.\n", report.blind ? "What was asked is well; doctor.blind says what was not" : "All is well");
    else
        printf("%zu found.\n", report.wrong);
    return status != CLI_OK ? status : report.wrong == 0 ? CLI_OK : CLI_FAILED;
}
