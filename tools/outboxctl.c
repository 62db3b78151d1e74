/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* outboxctl looks after an outbox: its tables, its messages, its dead letters. */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

static struct cli_option options[CTL__COUNT] = {
    [CTL_DSN] = { "dsn", 'd', "DSN",
                  N_("The database: a DSN's name, an ODBC connection string, or sqlite:PATH. Default: $OUTBOX_DSN.") },
    [CTL_SET] = { "set", 's', "KEY=VALUE", N_("Changes a setting; can be repeated. See 'outboxctl settings'.") },
    [CTL_CONFIG] = { "config", 'c', "FILE", N_("Reads the DSN and settings from a file, as outboxd does.") },
    [CTL_OUTBOX] = { "outbox", 'o', "NAME", N_("Which outbox of --config, when that has several.") },
    [CTL_JSON] = { "json", 'j', NULL, N_("Prints JSON, for programs.") },
    [CTL_HELP] = { "help", 'h', NULL, N_("Prints this, or what a command does, and exits.") },
    [CTL_VERSION] = { "version", 'V', NULL, N_("Prints the version and what was built, and exits.") },
    [CTL_LIST] = { "list", 0, NULL, N_("Lists the migrations and which of them were applied, and changes nothing.") },
    [CTL_PRINT] = { "print", 0, NULL, N_("Prints the SQL of all migrations, and changes nothing; needs no database.") },
    [CTL_DIALECT] = { "dialect", 0, "NAME", NULL }, /* dialect_help() */
    [CTL_TOPIC] = { "topic", 't', "TOPIC", N_("The topic, exactly.") },
    [CTL_KEY] = { "key", 'k', "KEY",
                  N_("The partition key, exactly: messages of one topic and key are delivered in order.") },
    [CTL_PAYLOAD] = { "payload", 'p', "TEXT", N_("The payload.") },
    [CTL_PAYLOAD_FILE] = { "payload-file", 'f', "FILE",
                           N_("Reads the payload from a file, or from the standard input for '-', which is the "
                              "default.") },
    [CTL_HEADER] = { "header", 'H', "NAME=VALUE", N_("Adds a header; can be repeated.") },
    [CTL_CONTENT_TYPE] = { "content-type", 0, "TYPE", N_("The content type, such as application/json.") },
    [CTL_MESSAGE_TYPE] = { "message-type", 0, "TYPE", N_("The message type, such as order.paid.") },
    [CTL_ID] = { "id", 0, "UUID", N_("The id, refused when it was given so within dedup.window. Default: a new UUIDv7.") },
    [CTL_DEDUP_KEY] = { "dedup-key", 0, "KEY", N_("Refuses the message when this key was used within dedup.window.") },
    [CTL_DELAY] = { "delay", 0, "DURATION",
                    N_("Delivers it no sooner than so long from now: 500ms, 30s, 5m, 12h, 7d.") },
    [CTL_AVAILABLE_AT] = { "available-at", 0, "TIME", N_("Delivers it no sooner than then: 2026-01-31T12:00:00Z.") },
    [CTL_MAX_ATTEMPTS] = { "max-attempts", 0, "N", N_("Gives it up after so many failed deliveries.") },
    [CTL_JSON_LINES] = { "json-lines", 'l', NULL,
                         N_("Reads messages from the standard input, one JSON object a line, as the stdout: publisher "
                            "writes them. The argument '-' says the same.") },
    [CTL_BATCH] = { "batch", 'b', "N", N_("With --json-lines: messages in a transaction, 1 to 100000. Default: 500.") },
    [CTL_KEEP_ID] = { "keep-id", 0, NULL,
                      N_("With --json-lines: keeps the ids of the input, as --id does.") },
    [CTL_QUIET] = { "quiet", 'q', NULL, N_("Prints no ids and no progress.") },
    [CTL_STATE] = { "state", 0, "STATE", N_("In this state: pending, scheduled, retry, held, dead or published.") },
    [CTL_OLDER_THAN] = { "older-than", 0, "DURATION", N_("At least so old: 30s, 5m, 12h, 7d.") },
    [CTL_LIMIT] = { "limit", 'n', "N", N_("At most so many; 'list' and 'audit' show 100 without it.") },
    [CTL_ALL] = { "all", 'a', NULL, N_("All of them; without it, something must be said of which.") },
    [CTL_DRY_RUN] = { "dry-run", 0, NULL, N_("Only counts the messages, and changes nothing.") },
    [CTL_RATE] = { "rate", 'r', "N/s", N_("Spreads them, so that N come due a second.") },
    [CTL_WHO] = { "who", 0, "NAME", N_("Who does it, for the audit. Default: the user's name and the host.") },
    [CTL_ROLE] = { "role", 0, "ROLE",
                   N_("Whose rights to look at: writer, relay or admin; can be repeated. Default: all.") },
    [CTL_ONCE] = { "once", '1', NULL, N_("Prints what there is now, and ends.") },
    [CTL_CONNECT] = { "connect", 0, "ADDRESS",
                      N_("Asks outboxd where it listens, HOST:PORT or unix:PATH, instead of the database.") },
    [CTL_PUBLISHER] = { "publisher", 0, "URL",
                        N_("Whose broker shall be reachable, as outboxd takes it. Default: the publisher of --config.") },
};

#define B(option) CLI_BIT(CTL_##option)
#define COMMON (B(DSN) | B(SET) | B(CONFIG) | B(OUTBOX) | B(JSON) | B(HELP))
#define MESSAGE                                                                                                         \
    (B(TOPIC) | B(KEY) | B(PAYLOAD) | B(PAYLOAD_FILE) | B(HEADER) | B(CONTENT_TYPE) | B(MESSAGE_TYPE) | B(ID) |         \
     B(DEDUP_KEY) | B(DELAY) | B(AVAILABLE_AT) | B(MAX_ATTEMPTS))
#define WHICH (B(TOPIC) | B(KEY) | B(OLDER_THAN) | B(LIMIT))

static int help(struct ctl *ctl);

static const char *dialect_help(void)
{
    static char text[CTL_DIALECTS_SIZE + 40];
    char names[CTL_DIALECTS_SIZE];

    snprintf(text, sizeof(text), _("With --print: %s."), ctl_dialects(names, sizeof(names)));
    return text;
}

static const struct ctl_command commands[] = {
    { "migrate", "", 0, B(LIST) | B(PRINT) | B(DIALECT), true,
      N_("Creates the tables, or brings them to the version of this program. Safe to repeat."), ctl_migrate },
    { "enqueue", "[-]", -1, MESSAGE | B(JSON_LINES) | B(BATCH) | B(KEEP_ID) | B(QUIET), false,
      N_("Writes a message, or many from the standard input, and prints their ids once they are committed."),
      ctl_enqueue },
    { "stats", "", 0, 0, false, N_("Counts the messages by state, and the lanes."), ctl_stats },
    { "list", "", 0, WHICH | B(STATE), false, N_("Lists messages, oldest first within each state."), ctl_list },
    { "show", "ID", 1, 0, false, N_("Shows one message with its headers and payload."), ctl_show },
    { "redrive", "[ID]...", -1, WHICH | B(STATE) | B(ALL) | B(DRY_RUN) | B(RATE) | B(WHO), false,
      N_("Sends dead messages again, oldest first, with their attempts back at 0; or those in --state retry now."),
      ctl_redrive },
    { "discard", "[ID]...", -1, WHICH | B(STATE) | B(ALL) | B(DRY_RUN) | B(WHO), false,
      N_("Removes messages that were not published: dead ones, or those in --state."), ctl_discard },
    { "purge", "", 0, B(OLDER_THAN) | B(ALL) | B(DRY_RUN) | B(WHO), false,
      N_("Removes published messages before their retention ends."), ctl_purge },
    { "audit", "", 0, B(LIMIT), false,
      N_("Lists what was redriven, discarded and purged, by whom, the latest first."), ctl_audit },
    { "clean", "", 0, 0, false, N_("Does now what the cleaner does: removes what is past its retention."), ctl_clean },
    { "top", "", 0, B(ONCE) | B(CONNECT), true,
      N_("Shows what waits, who holds the lanes, dead letters and blocked keys, every second; q quits."), ctl_top },
    { "doctor", "[DSN]", 1, B(OLDER_THAN) | B(ROLE) | B(PUBLISHER), true,
      N_("Looks for what is wrong with the database, the outbox and the broker, and says what to do. Changes nothing."),
      ctl_doctor },
    { "settings", "", 0, 0, true, N_("Lists every setting with its value, range and meaning."), ctl_settings },
    { "help", "[COMMAND]", 1, 0, true, N_("Tells what a command does, as its --help."), help },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(const struct ctl *ctl)
{
    const struct ctl_command *c = ctl->command;

    if (c != NULL) {
        printf(_("Usage: outboxctl %s [OPTION]...%s%s\n"), c->name, c->arguments[0] != '\0' ? " " : "", c->arguments);
        cli_print_wrapped(stdout, _(c->help), 0);
        fputs(_("\nOptions:\n"), stdout);
        cli_print_options(&ctl->cli, c->options | COMMON);
        return CLI_OK;
    }
    fputs(_("Usage: outboxctl COMMAND [OPTION]... [ARGUMENT]...\n"), stdout);
    fputs(_("Looks after a transactional outbox.\n\nCommands:\n"), stdout);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("  %s%s%s\n", commands[i].name, commands[i].arguments[0] != '\0' ? " " : "", commands[i].arguments);
        cli_print_wrapped(stdout, _(commands[i].help), 10);
    }
    fputs(_("\nOptions of every command:\n"), stdout);
    cli_print_options(&ctl->cli, COMMON | B(VERSION));
    fputs(_("\n'outboxctl COMMAND --help' tells more. Exit status: 0 done, 1 failed, 2 wrong usage,\n"
            "3 enqueued before.\n"), stdout);
    return CLI_OK;
}

static int find_command(struct ctl *ctl)
{
    const char *name;

    if (ctl->cli.argument_count == 0)
        return CLI_OK;
    name = ctl->cli.arguments[0];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            ctl->command = &commands[i];
    if (ctl->command == NULL)
        return cli_usage(&ctl->cli, "there is no command \"%s\"", name);
    ctl->cli.command = name;
    ctl->cli.arguments++;
    ctl->cli.argument_count--;
    return CLI_OK;
}

/* "help enqueue" is "enqueue --help". */
static int help(struct ctl *ctl)
{
    ctl->command = NULL;
    ctl->cli.command = NULL;
    if (ctl->cli.argument_count > 0) {
        int status = find_command(ctl);
        if (status != CLI_OK)
            return status;
    }
    return print_help(ctl);
}

/* Options are taken before and after the command, so only now can it be said which of them it knows. */
static int check_usage(const struct ctl *ctl)
{
    const struct ctl_command *c = ctl->command;

    if (c == NULL)
        return cli_usage(&ctl->cli, "which command?");
    for (size_t i = 0; i < ctl->cli.given_count; i++) {
        size_t option = ctl->cli.given[i].option;
        if (((c->options | COMMON) & CLI_BIT(option)) == 0)
            return cli_usage(&ctl->cli, "%s does not take --%s", c->name, options[option].name);
    }
    /* top asks an outboxd that has several. */
    if (cli_has(&ctl->cli, CTL_OUTBOX) && !cli_has(&ctl->cli, CTL_CONFIG) && !cli_has(&ctl->cli, CTL_CONNECT))
        return cli_usage(&ctl->cli, "--outbox names one of a configuration: say --config too");
    if (c->arguments_max >= 0 && ctl->cli.argument_count > c->arguments_max)
        return cli_usage(&ctl->cli, "%s does not take \"%s\"", c->name, ctl->cli.arguments[c->arguments_max]);
    return CLI_OK;
}

void ctl_wake(struct ctl *ctl)
{
    outbox_error *err = NULL;

    if (outbox_wake_send(ctl->settings.conf, &err) < 0)
        cli_warn(&ctl->cli, err, "the relay was not woken and polls");
}

int ctl_dsn(struct ctl *ctl, const char **dsn)
{
    if (*dsn == NULL)
        *dsn = cli_value(&ctl->cli, CTL_DSN);
    if (*dsn == NULL)
        *dsn = ctl->settings.dsn != NULL ? ctl->settings.dsn : getenv("OUTBOX_DSN");
    if (*dsn == NULL || (*dsn)[0] == '\0')
        return cli_usage(&ctl->cli, "which database? Give --dsn or set OUTBOX_DSN, for example to sqlite:/tmp/outbox.db");
    return CLI_OK;
}

int ctl_connect(struct ctl *ctl)
{
    const char *dsn = NULL;
    bool creates = ctl->command->run == ctl_migrate && !cli_has(&ctl->cli, CTL_LIST);
    outbox_error *err = NULL;
    int status = ctl_dsn(ctl, &dsn);

    if (status != CLI_OK)
        return status;
    if (!creates && outbox_conf_set(ctl->settings.conf, "conn.create", "off", &err) != OUTBOX_OK)
        return cli_error(&ctl->cli, NULL, err);
    if (outbox_conn_open(dsn, ctl->settings.conf, &ctl->conn, &err) != OUTBOX_OK)
        return cli_error(&ctl->cli, NULL, err);
    return CLI_OK;
}

static int run(struct ctl *ctl)
{
    int status = find_command(ctl);

    if (status != CLI_OK)
        return status;
    if (cli_has(&ctl->cli, CTL_VERSION)) {
        cli_print_version(&ctl->cli);
        return CLI_OK;
    }
    if (cli_has(&ctl->cli, CTL_HELP))
        return print_help(ctl);
    status = check_usage(ctl);
    if (status == CLI_OK)
        status = cli_settings_load(&ctl->cli, cli_value(&ctl->cli, CTL_CONFIG), cli_value(&ctl->cli, CTL_OUTBOX),
                                   CTL_SET, &ctl->settings);
    if (status == CLI_OK && !ctl->command->offline)
        status = ctl_connect(ctl);
    return status == CLI_OK ? ctl->command->run(ctl) : status;
}

/* Before it is known whether the command line can be taken apart: whoever wants JSON wants it then, too. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct ctl ctl = { .cli = { .program = "outboxctl", .options = options, .option_count = CTL__COUNT } };
    int status;

    cli_language();
    options[CTL_DIALECT].help = dialect_help();
    ctl.cli.json = wants_json(argc, argv);
    if (ctl.cli.json)
        cli_english();
    status = cli_parse(&ctl.cli, argc, argv);
    ctl.json = cli_has(&ctl.cli, CTL_JSON);
    if (status == CLI_OK)
        ctl.cli.json = ctl.json;
    if (ctl.json)
        cli_english();
    if (status == CLI_OK)
        status = cli_hide(&ctl.cli, CTL_DSN);
    if (status == CLI_OK)
        status = cli_hide(&ctl.cli, CTL_SET);
    if (status == CLI_OK)
        status = cli_hide(&ctl.cli, CTL_PUBLISHER);
    if (status == CLI_OK)
        status = run(&ctl);
    status = cli_finish(&ctl.cli, status);
    outbox_conn_close(ctl.conn);
    cli_settings_free(&ctl.settings);
    cli_free(&ctl.cli);
    return status;
}

int ctl_filter(struct ctl *ctl, outbox_filter *filter)
{
    const outbox_filter start = OUTBOX_FILTER_INIT;
    const char *state = cli_value(&ctl->cli, CTL_STATE);
    const char *age = cli_value(&ctl->cli, CTL_OLDER_THAN);
    const char *limit = cli_value(&ctl->cli, CTL_LIMIT);
    long long number;

    *filter = start;
    filter->topic = cli_value(&ctl->cli, CTL_TOPIC);
    filter->partition_key = cli_value(&ctl->cli, CTL_KEY);
    if (state != NULL && outbox_state_parse(state, &filter->state) != OUTBOX_OK)
        return cli_usage(&ctl->cli, "--state is \"%s\"; it must be pending, scheduled, retry, held, dead or published",
                         state);
    if (age != NULL && !cli_duration(age, &filter->older_than_us))
        return cli_usage(&ctl->cli, "--older-than is \"%s\"; it must be a duration such as 30s, 5m, 12h or 7d", age);
    if (limit != NULL) {
        int status = cli_number(&ctl->cli, "--limit", limit, 1, 1000000000, &number);
        if (status != CLI_OK)
            return status;
        filter->limit = (size_t)number;
    }
    return ctl_audit_filter(ctl, filter);
}

int ctl_print_json(struct ctl *ctl, json_t *value)
{
    int rc = value == NULL ? -1 : json_dumpf(value, stdout, JSON_COMPACT);

    json_decref(value);
    if (rc != 0)
        return cli_fail(&ctl->cli, "cannot print JSON: out of memory, or the standard output is closed");
    putchar('\n');
    return CLI_OK;
}

const char *ctl_state_colour(outbox_state state)
{
    static const enum cli_colour colours[OUTBOX_STATE_COUNT] = {
        [OUTBOX_SCHEDULED] = CLI_BLUE, [OUTBOX_RETRYING] = CLI_YELLOW,  [OUTBOX_HELD] = CLI_YELLOW,
        [OUTBOX_DEAD] = CLI_RED,       [OUTBOX_DELIVERED] = CLI_GREEN,
    };

    return (int)state > 0 && (int)state < OUTBOX_STATE_COUNT ? cli_colour(stdout, colours[state]) : "";
}
