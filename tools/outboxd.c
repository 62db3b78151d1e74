/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * outboxd runs a relay and its cleaner until it is told to stop.
 *
 * Threads: the main thread starts the relay and waits for its end. Signals are blocked in every thread and taken by
 * one of their own, which asks the relay to stop, and to hurry when a second one comes. `lock` guards `signals` and
 * `done`. The relay brings its own threads.
 */
#include "cli.h"
#include "daemon_http.h"
#include "daemon_log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_FIRST_MS 500
#define RETRY_LAST_MS 30000

enum option {
    OPT_DSN,
    OPT_PUBLISHER,
    OPT_SET,
    OPT_CONFIG,
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
                  "The database: a DSN's name, an ODBC connection string, or sqlite:PATH. Default: $OUTBOX_DSN." },
    [OPT_PUBLISHER] = { "publisher", 'p', "URL",
                        "Where messages go: null:, stdout:, file:PATH, exec:COMMAND, or a broker's URL." },
    [OPT_SET] = { "set", 's', "KEY=VALUE", "Changes a setting; can be repeated. See 'outboxctl settings'." },
    [OPT_CONFIG] = { "config", 'c', "FILE", "Reads dsn, publisher and settings from the section [outbox] of a file; "
                                            "what the command line says counts more." },
    [OPT_ONCE] = { "once", '1', NULL, "Publishes what is ready, also what becomes so meanwhile, then exits." },
    [OPT_LISTEN] = { "listen", 'l', "ADDRESS",
                     "Serves /metrics, /healthz and /readyz over HTTP at HOST:PORT or unix:PATH." },
    [OPT_JSON_LOGS] = { "json-logs", 0, NULL, "Logs JSON, an object a line, whoever writes to the standard error." },
    [OPT_VERBOSE] = { "verbose", 'v', NULL, "Logs each batch, and each failed try to reach the database." },
    [OPT_QUIET] = { "quiet", 'q', NULL, "Logs warnings and errors only." },
    [OPT_HELP] = { "help", 'h', NULL, "Prints this and exits." },
    [OPT_VERSION] = { "version", 'V', NULL, "Prints the version and what was built, and exits." },
};

struct daemon {
    struct cli cli;
    struct cli_settings settings;
    struct daemon_log log;
    outbox_publisher *publisher;
    outbox_relay *relay;
    outbox_metrics *metrics;
    struct daemon_http *http;
    sigset_t wanted;
    pthread_t signal_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int signals;
    bool done;
};

static int print_help(const struct cli *cli)
{
    printf("Usage: outboxd --dsn DSN --publisher URL [OPTION]...\n");
    cli_print_wrapped(stdout,
                      "Delivers the messages of a transactional outbox until SIGTERM, SIGINT or SIGHUP, which lets it finish "
                      "what it has in hand; a second one makes it hurry. It reads no settings again.",
                      0);
    printf("\nOptions:\n");
    cli_print_options(cli, CLI_BIT(OPT__COUNT) - 1);
    printf("\nExit status: 0 stopped as told, 1 failed, 2 wrong usage.\n");
    return CLI_OK;
}

/* ---- signals ---- */

static void *take_signals(void *user)
{
    struct daemon *d = user;

    for (;;) {
        int number, count;
        bool done;
        if (sigwait(&d->wanted, &number) != 0)
            continue;
        pthread_mutex_lock(&d->lock);
        done = d->done;
        count = number == SIGUSR1 ? d->signals : ++d->signals;
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->lock);
        if (done)
            return NULL;
        if (number == SIGUSR1)
            continue;
        daemon_log_printf(&d->log, OUTBOX_LOG_INFO, "%s: %s", strsignal(number),
                          count == 1 ? "stopping, once what is in hand is done" : "stopping at once");
        if (count == 1)
            outbox_relay_stop(d->relay);
        else
            outbox_relay_hurry(d->relay);
    }
}

/* Before any thread is made, so that all of them block these signals. SIGUSR1 only wakes the thread at the end. */
static void block_signals(struct daemon *d)
{
    sigset_t blocked;

    sigemptyset(&d->wanted);
    sigaddset(&d->wanted, SIGTERM);
    sigaddset(&d->wanted, SIGINT);
    sigaddset(&d->wanted, SIGHUP);
    sigaddset(&d->wanted, SIGUSR1);
    blocked = d->wanted;
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

static int start_signals(struct daemon *d)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    rc = pthread_create(&d->signal_thread, NULL, take_signals, d);
    return rc == 0 ? CLI_OK : cli_fail(&d->cli, "cannot start a thread: %s", strerror(rc));
}

static void stop_signals(struct daemon *d)
{
    pthread_mutex_lock(&d->lock);
    d->done = true;
    pthread_mutex_unlock(&d->lock);
    pthread_kill(d->signal_thread, SIGUSR1);
    pthread_join(d->signal_thread, NULL);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

static bool is_stopping(struct daemon *d)
{
    bool stopping;

    pthread_mutex_lock(&d->lock);
    stopping = d->signals > 0;
    pthread_mutex_unlock(&d->lock);
    return stopping;
}

/* Waits, or returns at once when a signal comes. */
static void wait_ms(struct daemon *d, int ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&d->lock);
    while (d->signals == 0 && pthread_cond_timedwait(&d->changed, &d->lock, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&d->lock);
}

/* ---- the relay ---- */

static int log_error(struct daemon *d, outbox_error *err)
{
    daemon_log_write(&d->log, OUTBOX_LOG_ERROR, outbox_error_message(err));
    outbox_error_free(err);
    return CLI_FAILED;
}

/* A server that is not there yet, may come; what is wrong with the DSN is for somebody to correct. Names of errors and
 * not SQLSTATEs: psqlODBC gives 08001 to nearly all of them. */
static bool may_come_later(int rc, const outbox_error *err)
{
    static const char *const never[] = { "database.no_dsn",     "database.no_driver",  "database.password",
                                         "database.permission", "database.unknown",    "database.file" };
    const char *name = outbox_error_name(err);

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (strcmp(name, never[i]) == 0)
            return false;
    return rc == OUTBOX_ERR_CONNECT || rc == OUTBOX_ERR_LOST || rc == OUTBOX_ERR_CONFLICT || rc == OUTBOX_ERR_READONLY;
}

static time_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Why the relay could not be started yet. */
struct trouble {
    char name[64]; /* of the error that was told last */
    time_t since;
};

/* The same trouble is told once. */
static void tell_trouble(struct daemon *d, struct trouble *trouble, const outbox_error *err, int ms)
{
    bool told = strcmp(trouble->name, outbox_error_name(err)) == 0;

    snprintf(trouble->name, sizeof(trouble->name), "%s", outbox_error_name(err));
    daemon_log_printf(&d->log, told ? OUTBOX_LOG_DEBUG : OUTBOX_LOG_WARNING,
                      "%s; trying again in %d.%d s, then less and less often, in the end every %d s", outbox_error_message(err),
                      ms / 1000, ms % 1000 / 100, RETRY_LAST_MS / 1000);
}

/* Starts the relay, as soon as the database is there. CLI_OK without `*started` when a signal came first. */
static int start_relay(struct daemon *d, bool *started)
{
    outbox_error *err = NULL;
    struct trouble trouble = { "", seconds() };
    int rc;

    *started = false;
    for (int ms = RETRY_FIRST_MS; !is_stopping(d); ms = ms < RETRY_LAST_MS / 2 ? ms * 2 : RETRY_LAST_MS) {
        rc = outbox_relay_start(d->relay, &err);
        if (rc == OUTBOX_OK) {
            *started = true;
            if (trouble.name[0] != '\0')
                daemon_log_printf(&d->log, OUTBOX_LOG_WARNING, "connected to the database, after %lld s",
                                  (long long)(seconds() - trouble.since));
            /* A signal that came while it started may have been too early for it. */
            if (is_stopping(d))
                outbox_relay_stop(d->relay);
            return CLI_OK;
        }
        if (!may_come_later(rc, err))
            return log_error(d, err);
        tell_trouble(d, &trouble, err, ms);
        outbox_error_free(err);
        err = NULL;
        wait_ms(d, ms);
    }
    return CLI_OK;
}

static int run_relay(struct daemon *d)
{
    outbox_error *err = NULL;
    bool started;
    int rc, status;

    daemon_log_printf(&d->log, OUTBOX_LOG_INFO, "outboxd %s starts, publisher %s", outbox_version(),
                      outbox_publisher_name(d->publisher));
    if (cli_has(&d->cli, OPT_ONCE)) {
        rc = outbox_relay_run_once(d->relay, &err);
        return rc == OUTBOX_OK ? CLI_OK : log_error(d, err);
    }
    status = start_relay(d, &started);
    if (status != CLI_OK || !started)
        return status;
    rc = outbox_relay_join(d->relay, &err);
    return rc == OUTBOX_OK ? CLI_OK : log_error(d, err);
}

static void log_stats(struct daemon *d)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;

    if (outbox_relay_stats_get(d->relay, &s) != OUTBOX_OK)
        return;
    daemon_log_printf(&d->log, OUTBOX_LOG_INFO,
                      "stopped: %" PRIu64 " published, %" PRIu64 " failed and retried, %" PRIu64 " dead, %" PRIu64
                      " held, %" PRIu64 " batch%s, %" PRIu64 " fenced, %" PRIu64 " database error%s, %" PRIu64
                      " outage%s of the broker, %" PRIu64 " cleaned",
                      s.published, s.failed, s.dead, s.held, s.batches, s.batches == 1 ? "" : "es", s.fenced, s.db_errors,
                      s.db_errors == 1 ? "" : "s", s.outages, s.outages == 1 ? "" : "s", s.cleaned);
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

/* scheme://user:password@… */
static bool has_password(const char *url)
{
    const char *user = strstr(url, "://");
    size_t size = user != NULL ? strcspn(user + 3, "/?#") : 0;
    const char *at = size > 0 ? memchr(user + 3, '@', size) : NULL;

    return at != NULL && memchr(user + 3, ':', (size_t)(at - user - 3)) != NULL && strncmp(url, "exec:", 5) != 0;
}

static int open_all(struct daemon *d)
{
    const char *dsn = cli_value(&d->cli, OPT_DSN), *publisher = cli_value(&d->cli, OPT_PUBLISHER);
    outbox_error *err = NULL;
    int rc, status = cli_settings_load(&d->cli, cli_value(&d->cli, OPT_CONFIG), OPT_SET, &d->settings);

    if (status != CLI_OK)
        return status;
    if (publisher != NULL && has_password(publisher))
        return cli_usage(&d->cli, "a publisher's password does not belong on the command line: put the URL into the file that "
                                  "--config names, or the password into a file or the environment");
    if (dsn == NULL)
        dsn = d->settings.dsn != NULL ? d->settings.dsn : getenv("OUTBOX_DSN");
    if (publisher == NULL)
        publisher = d->settings.publisher;
    if (dsn == NULL || dsn[0] == '\0')
        return cli_usage(&d->cli, "which database? Give --dsn, a --config file with dsn, or set OUTBOX_DSN");
    if (publisher == NULL)
        return cli_usage(&d->cli, "where do messages go? Give --publisher, or a --config file with publisher");
    outbox_conf_set_log(d->settings.conf, daemon_log_write, &d->log);
    rc = outbox_publisher_open(publisher, d->settings.conf, &d->publisher, &err);
    if (rc != OUTBOX_OK) {
        log_error(d, err);
        return rc == OUTBOX_ERR_INVALID || rc == OUTBOX_ERR_UNSUPPORTED || rc == OUTBOX_ERR_CONF ? CLI_USAGE : CLI_FAILED;
    }
    if (outbox_relay_new(dsn, d->settings.conf, d->publisher, NULL, &d->relay, &err) != OUTBOX_OK)
        return log_error(d, err);
    return CLI_OK;
}

/* The label is the section's name in the configuration. */
static int serve(struct daemon *d)
{
    outbox_error *err = NULL;

    if (!cli_has(&d->cli, OPT_LISTEN))
        return CLI_OK;
    if (outbox_metrics_new(&d->metrics, &err) != OUTBOX_OK ||
        outbox_metrics_add(d->metrics, "outbox", d->relay, &err) != OUTBOX_OK)
        return log_error(d, err);
    d->http = daemon_http_start(cli_value(&d->cli, OPT_LISTEN), d->metrics, &d->log);
    return d->http != NULL ? CLI_OK : CLI_FAILED;
}

static void close_all(struct daemon *d)
{
    daemon_http_stop(d->http);
    outbox_metrics_free(d->metrics);
    outbox_relay_free(d->relay);
    outbox_publisher_free(d->publisher);
    cli_settings_free(&d->settings);
}

static int run(struct daemon *d)
{
    int status;

    if (cli_has(&d->cli, OPT_HELP))
        return print_help(&d->cli);
    if (cli_has(&d->cli, OPT_VERSION)) {
        cli_print_version(&d->cli);
        return CLI_OK;
    }
    if (d->cli.argument_count > 0)
        return cli_usage(&d->cli, "\"%s\" is no option", d->cli.arguments[0]);
    block_signals(d);
    daemon_log_open(&d->log, cli_has(&d->cli, OPT_JSON_LOGS),
                    cli_has(&d->cli, OPT_VERBOSE)  ? OUTBOX_LOG_DEBUG
                    : cli_has(&d->cli, OPT_QUIET) ? OUTBOX_LOG_WARNING
                                                  : OUTBOX_LOG_INFO);
    status = open_all(d);
    if (status == CLI_OK)
        status = serve(d);
    if (status == CLI_OK)
        status = start_signals(d);
    if (status == CLI_OK) {
        status = run_relay(d);
        log_stats(d);
        stop_signals(d);
    }
    close_all(d);
    daemon_log_close(&d->log);
    return status;
}

int main(int argc, char **argv)
{
    struct daemon d = { .cli = { .program = "outboxd", .options = options, .option_count = OPT__COUNT } };
    int status = cli_parse(&d.cli, argc, argv);

    if (status == CLI_OK)
        status = hide_secrets(&d.cli);
    if (status == CLI_OK)
        status = run(&d);
    status = cli_finish(&d.cli, status);
    cli_free(&d.cli);
    return status;
}
