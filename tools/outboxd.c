/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * outboxd runs relays and their cleaners until it is told to stop: one outbox from the command line, or those of a
 * configuration file.
 *
 * Threads: the main one takes the signals, reads the configuration and tells systemd how it goes; daemon.h has the
 * others. Signals are blocked in all of them, and the main thread waits for them; SIGUSR1 is from a runner whose state
 * has changed.
 */
#include "address.h"
#include "daemon.h"
#include "daemon_http.h"
#include "daemon_notify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum option {
    OPT_DSN,
    OPT_PUBLISHER,
    OPT_SET,
    OPT_CONFIG,
    OPT_CHECK,
    OPT_ONCE,
    OPT_LISTEN,
    OPT_JSON_LOGS,
    OPT_VERBOSE,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION,
    OPT__COUNT
};

static const struct cli_option options[OPT__COUNT] = {
    [OPT_DSN] = { "dsn", 'd', "DSN",
                  N_("The database: a DSN's name, an ODBC connection string, or sqlite:PATH. Default: $OUTBOX_DSN.") },
    [OPT_PUBLISHER] = { "publisher", 'p', "URL",
                        N_("Where messages go: null:, stdout:, file:PATH, exec:COMMAND, or a broker's URL.") },
    [OPT_SET] = { "set", 's', "KEY=VALUE", N_("Changes a setting; can be repeated. See 'outboxctl settings'.") },
    [OPT_CONFIG] = { "config", 'c', "FILE",
                     N_("Reads the outboxes and their settings from a file, again at SIGHUP; what the command line "
                        "says counts more.") },
    [OPT_CHECK] = { "check", 0, NULL,
                    N_("Reads the configuration, says what is wrong with it or which outboxes it has, and exits; loads "
                       "the modules of publishers, and opens nothing.") },
    [OPT_ONCE] = { "once", '1', NULL, N_("Publishes what is ready, also what becomes so meanwhile, then exits.") },
    [OPT_LISTEN] = { "listen", 'l', "ADDRESS",
                     N_("Serves a status page, /metrics, /healthz and /readyz over HTTP at HOST:PORT or unix:PATH; as "
                        "listen in [outboxd] of the configuration.") },
    [OPT_JSON_LOGS] = { "json-logs", 0, NULL,
                        N_("Logs JSON, an object a line, whoever writes to the standard error.") },
    [OPT_VERBOSE] = { "verbose", 'v', NULL, N_("Logs each batch, and each failed try to reach the database.") },
    [OPT_QUIET] = { "quiet", 'q', NULL, N_("Logs warnings and errors only.") },
    [OPT_HELP] = { "help", 'h', NULL, N_("Prints this and exits.") },
    [OPT_VERSION] = { "version", 'V', NULL, N_("Prints the version and what was built, and exits.") },
};

struct outboxd {
    struct cli cli;
    struct daemon_log log;
    struct daemon daemon;
    struct daemon_notify notify;
    struct daemon_http *http;
    char *where; /* it listens; NULL: nowhere */
    sigset_t wanted;
    int signals; /* to stop */
};

static int print_help(const struct cli *cli)
{
    fputs(_("Usage: outboxd --dsn DSN --publisher URL [OPTION]...\n"
            "       outboxd --config FILE [OPTION]...\n"), stdout);
    cli_print_wrapped(stdout,
                      _("Delivers the messages of a transactional outbox, or of several that --config names, until "
                      "SIGTERM or SIGINT, which lets it finish what it has in hand; a second one makes it hurry. SIGHUP "
                      "reads the --config file again; without one it is as SIGTERM."),
                      0);
    fputs(_("\nOptions:\n"), stdout);
    cli_print_options(cli, CLI_BIT(OPT__COUNT) - 1);
    fputs(_("\nExit status: 0 stopped as told, 1 failed, 2 wrong usage.\n"), stdout);
    return CLI_OK;
}

/* ---- the command line ---- */

static int hide_secrets(struct cli *cli)
{
    static const size_t secret[] = { OPT_DSN, OPT_PUBLISHER, OPT_SET };
    int status = CLI_OK;

    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]) && status == CLI_OK; i++)
        status = cli_hide(cli, secret[i]);
    return status;
}

/* ---- the outboxes ---- */

/* Where an outbox is read and its messages go: the command line, the file, the environment. */
static int find_places(const struct outboxd *o, const struct cli_settings *s, const char **dsn, const char **publisher)
{
    const char *of = s->name != NULL ? s->name : "", *colon = s->name != NULL ? ": " : "";

    *dsn = cli_value(&o->cli, OPT_DSN);
    *publisher = cli_value(&o->cli, OPT_PUBLISHER);
    if (s->name != NULL && (*dsn != NULL || *publisher != NULL))
        return cli_usage(&o->cli, "--dsn and --publisher are for one outbox: the configuration has others, with names");
    if (cli_check_publisher(&o->cli, *publisher) != CLI_OK)
        return CLI_USAGE;
    if (*dsn == NULL)
        *dsn = s->dsn != NULL ? s->dsn : getenv("OUTBOX_DSN");
    if (*publisher == NULL)
        *publisher = s->publisher;
    if (*dsn == NULL || **dsn == '\0')
        return cli_usage(&o->cli, "%s%swhich database? Give --dsn, a --config file with dsn, or set OUTBOX_DSN", of,
                         colon);
    if (*publisher == NULL)
        return cli_usage(&o->cli, "%s%swhere do messages go? Give --publisher, or a --config file with publisher", of,
                         colon);
    return CLI_OK;
}

static int load_one(const struct outboxd *o, struct cli_settings **all, size_t *count)
{
    *all = calloc(1, sizeof(**all));
    if (*all == NULL)
        return cli_fail(&o->cli, "out of memory");
    *count = 1;
    return cli_settings_load(&o->cli, NULL, NULL, OPT_SET, *all);
}

static int load_file(const struct outboxd *o, const char *path, struct cli_settings **all, size_t *count,
                     struct cli_server *server)
{
    int status = cli_config_load_all(&o->cli, path, all, count, server);

    for (size_t i = 0; i < *count && status == CLI_OK; i++)
        status = cli_settings_apply(&o->cli, OPT_SET, &(*all)[i]);
    return status;
}

/* Where it is to be asked: the command line wins. */
static int apply_listen(const struct outboxd *o, struct cli_server *server)
{
    const char *listen = cli_value(&o->cli, OPT_LISTEN), *fault;

    if (listen != NULL) {
        free(server->listen);
        server->listen = strdup(listen);
        if (server->listen == NULL)
            return cli_fail(&o->cli, "out of memory");
    }
    fault = server->listen != NULL ? address_fault(server->listen) : NULL;
    return fault == NULL ? CLI_OK : cli_usage(&o->cli, "cannot listen at %s: %s", server->listen, fault);
}

/* All outboxes that are wanted, and what the program itself is set to. Free them by free_settings(), also after a
 * failure. */
static int load(const struct outboxd *o, struct cli_settings **all, size_t *count, struct cli_server *server)
{
    const char *path = cli_value(&o->cli, OPT_CONFIG), *dsn, *publisher;
    int status;

    *all = NULL;
    *count = 0;
    *server = (struct cli_server){ 0 };
    status = path != NULL ? load_file(o, path, all, count, server) : load_one(o, all, count);
    if (status == CLI_OK)
        status = apply_listen(o, server);
    for (size_t i = 0; i < *count && status == CLI_OK; i++)
        status = find_places(o, &(*all)[i], &dsn, &publisher);
    return status;
}

static void free_settings(struct cli_settings *all, size_t count, struct cli_server *server)
{
    cli_server_free(server);
    for (size_t i = 0; i < count; i++)
        cli_settings_free(&all[i]);
    free(all);
}

/* The one that runs as these settings say, or NULL. Those that were handed over to a new one are like none. */
static struct daemon_outbox *find_same(struct outboxd *o, const struct cli_settings *s)
{
    struct daemon_outbox *running = daemon_find(&o->daemon, s->name);

    return running != NULL && running->settings.print != NULL && s->print != NULL &&
                   strcmp(running->settings.print, s->print) == 0
               ? running
               : NULL;
}

/* What has to be made anew, all of it before anything is stopped: made[i] stays NULL for what is as it was. */
static int make_all(struct outboxd *o, struct cli_settings *all, size_t count, struct daemon_outbox **made)
{
    int status = CLI_OK;

    for (size_t i = 0; i < count && status == CLI_OK; i++) {
        const char *dsn, *publisher;
        if (find_same(o, &all[i]) != NULL)
            continue;
        status = find_places(o, &all[i], &dsn, &publisher);
        if (status == CLI_OK)
            status = daemon_make(&o->daemon, &o->cli, &all[i], dsn, publisher, &made[i]);
    }
    for (size_t i = 0; i < count && status != CLI_OK; i++)
        if (made[i] != NULL)
            daemon_free(made[i]);
    return status;
}

static bool is_wanted(struct outboxd *o, const struct daemon_outbox *running, const struct cli_settings *all,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (find_same(o, &all[i]) == running)
            return true;
    return false;
}

static void change_over(struct outboxd *o, const struct cli_settings *all, struct daemon_outbox **made, size_t count)
{
    size_t left = 0, added = 0;

    for (struct daemon_outbox *running = o->daemon.first; running != NULL; running = running->next)
        if (!running->leaving && !is_wanted(o, running, all, count)) {
            daemon_leave(running);
            left++;
        }
    for (size_t i = 0; i < count; i++)
        if (made[i] != NULL) {
            daemon_add(&o->daemon, made[i]);
            added++;
        }
    if (left > 0 || added < count)
        daemon_log_printf(&o->log, OUTBOX_LOG_INFO,
                          "reloaded: %zu outbox%s, %zu of them unchanged; %zu to stop, %zu to start", count,
                          count == 1 ? "" : "es", count - added, left, added);
}

/* A server at another address than the one that is there; NULL when none is wanted, or it stays. */
static int make_server(struct outboxd *o, const struct cli_server *server, struct daemon_http **made)
{
    *made = NULL;
    if (server->listen == NULL || (o->where != NULL && strcmp(server->listen, o->where) == 0))
        return CLI_OK;
    *made = daemon_http_start(server->listen, server, &o->daemon);
    return *made != NULL ? CLI_OK : CLI_FAILED;
}

/* The one before goes, once the new one answers and the questions that it was asked are: one that waits for a database
 * which hangs keeps the reload, and what comes after it, but no outbox. One that stays takes over what else changed. */
static void change_server(struct outboxd *o, struct cli_server *server, struct daemon_http *made)
{
    if (made != NULL || server->listen == NULL) {
        daemon_http_stop(o->http);
        o->http = made;
    } else {
        daemon_http_change(o->http, server);
    }
    free(o->where);
    o->where = server->listen;
    server->listen = NULL;
}

/* At first, and at each reload: all of it, or nothing. */
static int open_all(struct outboxd *o)
{
    struct cli_settings *all;
    struct cli_server server;
    struct daemon_outbox **made = NULL;
    struct daemon_http *http = NULL;
    size_t count;
    int status = load(o, &all, &count, &server);

    if (status == CLI_OK && (made = calloc(count, sizeof(*made))) == NULL)
        status = cli_fail(&o->cli, "out of memory");
    if (status == CLI_OK)
        status = make_server(o, &server, &http);
    if (status == CLI_OK && (status = make_all(o, all, count, made)) != CLI_OK)
        daemon_http_stop(http);
    if (status == CLI_OK) {
        change_over(o, all, made, count);
        change_server(o, &server, http);
    }
    free(made);
    free_settings(all, count, &server);
    return status;
}

/* Whether its publisher is installed. The error tells the package, the name of the outbox is told before it. */
static int check_publisher(struct outboxd *o, const struct cli_settings *s)
{
    const char *dsn, *publisher;
    outbox_error *err = NULL;
    int status = find_places(o, s, &dsn, &publisher);

    if (status != CLI_OK || outbox_publisher_check(publisher, s->conf, &err) == OUTBOX_OK)
        return status;
    cli_error(&o->cli, s->name, err);
    return CLI_USAGE;
}

static int check(struct outboxd *o)
{
    struct cli_settings *all;
    struct cli_server server;
    size_t count;
    int status = load(o, &all, &count, &server);

    for (size_t i = 0; i < count && status == CLI_OK; i++)
        status = check_publisher(o, &all[i]);
    for (size_t i = 0; i < count && status == CLI_OK; i++)
        printf("%s\n", all[i].name != NULL ? all[i].name : "outbox");
    free_settings(all, count, &server);
    return status;
}

/* ---- signals ---- */

/* Before any thread is made, so that all of them block these signals. */
static void block_signals(struct outboxd *o)
{
    sigset_t blocked;

    sigemptyset(&o->wanted);
    sigaddset(&o->wanted, SIGTERM);
    sigaddset(&o->wanted, SIGINT);
    sigaddset(&o->wanted, SIGHUP);
    sigaddset(&o->wanted, SIGUSR1);
    blocked = o->wanted;
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

static void log_complaint(void *user, const char *text)
{
    daemon_log_write(user, OUTBOX_LOG_ERROR, text);
}

static void reload(struct outboxd *o)
{
    daemon_notify_reloading(&o->notify);
    o->cli.say = log_complaint;
    o->cli.say_user = &o->log;
    if (open_all(o) == CLI_OK)
        daemon_poke(&o->daemon);
    else
        daemon_log_write(&o->log, OUTBOX_LOG_ERROR, "nothing was reloaded: all outboxes go on as they are");
    o->cli.say = NULL;
}

static void stop(struct outboxd *o, const char *why)
{
    daemon_log_printf(&o->log, OUTBOX_LOG_INFO, "%s: %s", why,
                      o->signals == 0 ? "stopping, once what is in hand is done" : "stopping at once");
    daemon_notify_stopping(&o->notify);
    daemon_stop(&o->daemon, ++o->signals == 1 ? DAEMON_STOP : DAEMON_HURRY);
}

static void take_signal(struct outboxd *o, int number)
{
    if (number == SIGHUP && cli_has(&o->cli, OPT_CONFIG) && !o->daemon.once) {
        if (o->signals == 0)
            reload(o);
    } else if (number == SIGTERM || number == SIGINT || number == SIGHUP) {
        stop(o, strsignal(number));
    }
}

/* Waits for a signal, or until there is something to tell systemd. */
static void wait_for_signal(struct outboxd *o)
{
    int ms = daemon_notify_wait_ms(&o->notify);
    struct timespec wait = { ms / 1000, ms % 1000 * 1000000L };

    take_signal(o, sigtimedwait(&o->wanted, NULL, &wait));
}

/* Until all have ended: as they were told, because they were done, or because none is left that works. */
static int serve(struct outboxd *o)
{
    struct daemon_count count;
    bool failed = false;

    daemon_notify_open(&o->notify);
    for (;;) {
        failed |= daemon_turn(&o->daemon, &count) != CLI_OK;
        failed |= o->signals == 0 && count.all > 0 && count.of[DAEMON_FAILED] == count.all;
        if (failed && o->signals == 0) {
            o->signals++;
            daemon_stop(&o->daemon, DAEMON_STOP);
            continue;
        }
        if (count.of[DAEMON_ENDED] == count.all && count.leaving == 0)
            return failed ? CLI_FAILED : count.status;
        daemon_notify_tell(&o->notify, &o->daemon, &count);
        wait_for_signal(o);
    }
}

/* ---- all ---- */

/* Before any outbox runs, so that each is told of from its start; a reload may bring somebody who asks. */
static int open_metrics(struct outboxd *o)
{
    outbox_error *err = NULL;

    if (!cli_has(&o->cli, OPT_LISTEN) && !cli_has(&o->cli, OPT_CONFIG))
        return CLI_OK;
    return outbox_metrics_new(&o->daemon.metrics, &err) == OUTBOX_OK ? CLI_OK : cli_error(&o->cli, NULL, err);
}

/* Nothing is in hand any more, but somebody's question may wait for a database that hangs, and with it the server's
 * end: another signal ends the process. */
static void stop_server(struct outboxd *o)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    if (o->http != NULL)
        pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
    daemon_http_stop(o->http);
}

static int serve_all(struct outboxd *o)
{
    int status;

    daemon_log_open(&o->log, cli_has(&o->cli, OPT_JSON_LOGS),
                    cli_has(&o->cli, OPT_VERBOSE)  ? OUTBOX_LOG_DEBUG
                    : cli_has(&o->cli, OPT_QUIET) ? OUTBOX_LOG_WARNING
                                                  : OUTBOX_LOG_INFO);
    daemon_init(&o->daemon, &o->log, cli_has(&o->cli, OPT_ONCE));
    status = open_metrics(o);
    if (status == CLI_OK)
        status = open_all(o);
    if (status == CLI_OK)
        status = serve(o);
    stop_server(o);
    free(o->where);
    daemon_destroy(&o->daemon);
    outbox_metrics_free(o->daemon.metrics);
    daemon_log_close(&o->log);
    return status;
}

static int run(struct outboxd *o)
{
    if (cli_has(&o->cli, OPT_HELP))
        return print_help(&o->cli);
    if (cli_has(&o->cli, OPT_VERSION)) {
        cli_print_version(&o->cli);
        return CLI_OK;
    }
    if (o->cli.argument_count > 0)
        return cli_usage(&o->cli, "\"%s\" is no option", o->cli.arguments[0]);
    if (cli_has(&o->cli, OPT_CHECK))
        return check(o);
    /* What it says from here on goes into logs, into the database and to whoever asks: programs read it, and people with
     * other languages. */
    cli_english();
    block_signals(o);
    return serve_all(o);
}

int main(int argc, char **argv)
{
    struct outboxd o = { .cli = { .program = "outboxd", .options = options, .option_count = OPT__COUNT } };
    int status;

    cli_language();
    status = cli_parse(&o.cli, argc, argv);
    if (status == CLI_OK)
        status = hide_secrets(&o.cli);
    if (status == CLI_OK)
        status = run(&o);
    status = cli_finish(&o.cli, status);
    cli_free(&o.cli);
    return status;
}
