/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getopt_long() */
#endif
#include "cli.h"
#include "look.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* getopt_long() hands back numbers: these are above every letter. */
#define FIRST_NUMBER 1000
#define LINE_WIDTH 80

static void make_getopt(const struct cli *cli, struct option *longs, char *letters)
{
    for (size_t i = 0; i < cli->option_count; i++) {
        const struct cli_option *o = &cli->options[i];
        longs[i] = (struct option){ o->name, o->argument != NULL ? required_argument : no_argument, NULL,
                                    FIRST_NUMBER + (int)i };
        if (o->letter == 0)
            continue;
        *letters++ = o->letter;
        if (o->argument != NULL)
            *letters++ = ':';
    }
    *letters = '\0';
}

static size_t option_of(const struct cli *cli, int c)
{
    size_t i = 0;

    if (c >= FIRST_NUMBER)
        return (size_t)(c - FIRST_NUMBER);
    while (cli->options[i].letter != c)
        i++;
    return i;
}

static int bad_option(const struct cli *cli, char **argv)
{
    if (!cli->json)
        return cli_usage(cli, NULL);
    if (optopt > 0 && optopt < FIRST_NUMBER)
        return cli_usage(cli, "-%c is no option, or its value is missing", optopt);
    return cli_usage(cli, "\"%s\" is no option, or more than one begins so, or its value is missing or too much",
                     argv[optind - 1]);
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option longs[CLI_OPTION_MAX + 1] = { { 0 } };
    char letters[2 * CLI_OPTION_MAX + 1];
    int c;

    make_getopt(cli, longs, letters);
    /* Each element of argv is at most one long option, or as many letters as it has. */
    size_t room = 1;
    for (int i = 1; i < argc; i++)
        room += strlen(argv[i]);
    cli->given = calloc(room, sizeof(*cli->given));
    if (cli->given == NULL)
        return cli_fail(cli, "out of memory");
    opterr = !cli->json; /* it has a sentence for each case, and those in more languages */
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        struct cli_given *g = &cli->given[cli->given_count];
        if (c == '?')
            return bad_option(cli, argv);
        g->option = option_of(cli, c);
        g->value = optarg;
        cli->given_count++;
    }
    cli->arguments = argv + optind;
    cli->argument_count = argc - optind;
    return CLI_OK;
}

void cli_free(struct cli *cli)
{
    for (size_t i = 0; i < cli->given_count; i++)
        free(cli->given[i].copy);
    free(cli->given);
    json_decref(cli->more);
    cli->more = NULL;
    cli->given = NULL;
    cli->given_count = 0;
}

bool cli_has(const struct cli *cli, size_t option)
{
    for (size_t i = 0; i < cli->given_count; i++)
        if (cli->given[i].option == option)
            return true;
    return false;
}

const char *cli_value(const struct cli *cli, size_t option)
{
    for (size_t i = cli->given_count; i > 0; i--)
        if (cli->given[i - 1].option == option)
            return cli->given[i - 1].value;
    return NULL;
}

/* How many characters: bytes of UTF-8 that begin one. */
static int width(const char *text, size_t size)
{
    int n = 0;

    for (size_t i = 0; i < size; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

void cli_print_wrapped(FILE *to, const char *text, int indent)
{
    int column = indent;

    fprintf(to, "%*s", indent, "");
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (column > indent && column + 1 + width(text, length) > LINE_WIDTH) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fwrite(text, 1, length, to);
        column += width(text, length);
        text += length + strspn(text + length, " ");
    }
    fputc('\n', to);
}

void cli_print_options(const struct cli *cli, uint64_t which)
{
    char left[8];

    for (size_t i = 0; i < cli->option_count; i++) {
        const struct cli_option *o = &cli->options[i];
        if ((which & CLI_BIT(i)) == 0)
            continue;
        snprintf(left, sizeof(left), o->letter != 0 ? "-%c, " : "    ", o->letter);
        printf("  %s--%s%s%s\n", left, o->name, o->argument != NULL ? " " : "", o->argument != NULL ? o->argument : "");
        cli_print_wrapped(stdout, _(o->help), 10);
    }
}

static void print_program(const struct cli *cli)
{
    fflush(stdout);
    fprintf(stderr, "%s%s:%s ", cli_colour(stderr, CLI_RED), cli->program, cli_colour(stderr, CLI_PLAIN));
}

/* Programs read one object. Its text may come from anywhere: nothing is left of it that could do things to a terminal. */
static void say_json(const struct cli *cli, const char *kind, const char *name, const outbox_error *err,
                     const char *text)
{
    json_t *all = json_pack("{s:s, s:o}", kind, name, "message", look_text(text));

    if (outbox_error_sqlstate(err)[0] != '\0')
        json_object_set_new(all, "sqlstate", json_string(outbox_error_sqlstate(err)));
    if (outbox_error_native(err) != 0)
        json_object_set_new(all, "native", json_integer(outbox_error_native(err)));
    if (cli->more != NULL)
        json_object_update(all, cli->more);
    fflush(stdout);
    json_dumpf(all, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', stderr);
    json_decref(all);
}

/* To the standard error, or to whoever wants it. */
static void say(const struct cli *cli, const char *name, const outbox_error *err, const char *text)
{
    if (cli->say != NULL) {
        cli->say(cli->say_user, text);
    } else if (cli->json) {
        say_json(cli, "error", name, err, text);
    } else {
        print_program(cli);
        fprintf(stderr, "%s\n", text);
    }
}

#define SAY_MAX 2048

static void say_format(const struct cli *cli, const char *name, const outbox_error *err, const char *format,
                       va_list args)
{
    char text[SAY_MAX];

    vsnprintf(text, sizeof(text), _(format), args);
    say(cli, name, err, text);
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say_format(cli, "failed", NULL, format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_wrong(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say_format(cli, "usage", NULL, format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list args;

    if (format != NULL) {
        va_start(args, format);
        say_format(cli, "usage", NULL, format, args);
        va_end(args);
    }
    if (cli->say == NULL && !cli->json)
        fprintf(stderr, _("Try '%s%s%s --help'.\n"), cli->program, cli->command != NULL ? " " : "",
                cli->command != NULL ? cli->command : "");
    return CLI_USAGE;
}

/* What was given and is wrong at first sight is wrong usage; what fails for the database or the system is not. */
static int end_error(outbox_error *err)
{
    int status = outbox_error_status(err) == OUTBOX_ERR_INVALID ? CLI_USAGE : CLI_FAILED;

    outbox_error_free(err);
    return status;
}

/* "cannot do this: why" */
static void say_why(const struct cli *cli, const char *kind, const char *doing, const outbox_error *err)
{
    const char *message = outbox_error_message(err);
    char text[SAY_MAX];

    if (cli->say != NULL) {
        cli->say(cli->say_user, message);
    } else if (cli->json) {
        snprintf(text, sizeof(text), "%s%s%s", doing != NULL ? _(doing) : "", doing != NULL ? ": " : "", message);
        say_json(cli, kind, outbox_error_name(err), err, text);
    } else {
        print_program(cli);
        if (doing != NULL)
            fprintf(stderr, "%s: ", _(doing));
        cli_print_safe(stderr, message, strlen(message));
        fputc('\n', stderr);
    }
}

int cli_error(const struct cli *cli, const char *doing, outbox_error *err)
{
    say_why(cli, "error", doing, err);
    return end_error(err);
}

void cli_warn(const struct cli *cli, outbox_error *err, const char *doing)
{
    say_why(cli, "warning", doing, err);
    outbox_error_free(err);
}

int cli_explain(const struct cli *cli, outbox_error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say_format(cli, outbox_error_name(err), err, format, args);
    va_end(args);
    return end_error(err);
}

int cli_finish(const struct cli *cli, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    return cli_fail(cli, "cannot write to the standard output: %s", strerror(errno));
}

const char *cli_colour(FILE *to, enum cli_colour colour)
{
    static const char *const sequences[] = { "\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[2m" };
    const char *unwanted = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if ((unwanted != NULL && unwanted[0] != '\0') || terminal == NULL || strcmp(terminal, "dumb") == 0 ||
        !isatty(fileno(to)))
        return "";
    return sequences[colour];
}

void cli_print_safe(FILE *to, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        /* 0xc2 0x80 … 0x9f are control characters, too, and some terminals obey them. */
        bool wide_control = c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0;
        if (c == '\t' || (c >= 0x20 && c != 0x7f && !wide_control))
            fputc(c, to);
        else
            fprintf(to, "\\x%02x", c);
    }
}

struct unit {
    const char *name;
    int64_t factor;
};

/* A number and a unit; 0 needs none. */
static bool scaled(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits + strspn(text + digits, " ");
    long long number;

    if (digits == 0 || digits > 12)
        return false;
    number = strtoll(text, NULL, 10);
    *out = 0;
    if (number == 0 && *unit == '\0')
        return true;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(units[i].name, unit) != 0)
            continue;
        if (number > INT64_MAX / 2 / units[i].factor)
            return false;
        *out = number * units[i].factor;
        return true;
    }
    return false;
}

bool cli_duration(const char *text, int64_t *us)
{
    static const struct unit units[] = { { "us", 1 },           { "ms", 1000 },
                                         { "s", 1000000 },      { "m", 60 * 1000000 },
                                         { "h", INT64_C(3600000000) }, { "d", INT64_C(86400000000) } };

    return scaled(text, units, sizeof(units) / sizeof(units[0]), us);
}

bool cli_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = { { "", 1 }, { "B", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 },
                                         { "k", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 } };

    return scaled(text, units, sizeof(units) / sizeof(units[0]), bytes);
}

void cli_format_duration(int64_t us, char *text, size_t size)
{
    int64_t s = us / 1000000;

    if (us < 1000000)
        snprintf(text, size, "%" PRId64 " ms", us / 1000);
    else if (s < 60)
        snprintf(text, size, "%" PRId64 ".%d s", s, (int)(us % 1000000 / 100000));
    else if (s < 3600)
        snprintf(text, size, "%" PRId64 " m %" PRId64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, size, "%" PRId64 " h %" PRId64 " m", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
}

struct timespec cli_deadline(int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

int cli_number(const struct cli *cli, const char *what, const char *text, long long low, long long high, long long *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || *number < low || *number > high)
        return cli_usage(cli, "%s is \"%s\"; it must be a number from %lld to %lld", what, text, low, high);
    return CLI_OK;
}

/* Whether a setting of a publisher is one that nobody should read in the list of processes, not even at first. */
static bool is_secret(const char *key, size_t size)
{
    static const char *const ends[] = { "password", "token", "secret" };

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t length = strlen(ends[i]);
        if (size >= length && strncmp(key + size - length, ends[i], length) == 0)
            return true;
    }
    return false;
}

/* --set KEY=VALUE */
static int apply_set(const struct cli *cli, const char *text, outbox_conf *conf)
{
    const char *equals = strchr(text, '=');
    outbox_error *err = NULL;
    char *key, *value, what[512];
    int rc;

    if (equals == NULL)
        return cli_usage(cli, "--set takes KEY=VALUE, such as relay.workers=4, and not \"%s\"", text);
    if (is_secret(text, (size_t)(equals - text)))
        return cli_usage(cli, "%.*s is a secret: set %.*s_file, or put it into the file that --config names",
                         (int)(equals - text), text, (int)(equals - text), text);
    key = strndup(text, (size_t)(equals - text));
    if (key == NULL)
        return cli_fail(cli, "out of memory");
    value = cli_credential(key, equals + 1, what, sizeof(what));
    if (value == NULL) {
        free(key);
        return cli_usage(cli, "--set: %s", what);
    }
    rc = outbox_conf_set(conf, key, value, &err);
    free(value);
    free(key);
    if (rc == OUTBOX_OK)
        return CLI_OK;
    cli_error(cli, "--set", err);
    return CLI_USAGE;
}

int cli_settings_apply(const struct cli *cli, size_t set_option, struct cli_settings *settings)
{
    int status = CLI_OK;

    for (size_t i = 0; i < cli->given_count && status == CLI_OK; i++)
        if (cli->given[i].option == set_option)
            status = apply_set(cli, cli->given[i].value, settings->conf);
    return status;
}

int cli_settings_load(const struct cli *cli, const char *file, const char *name, size_t set_option,
                      struct cli_settings *settings)
{
    outbox_error *err = NULL;
    int status = CLI_OK;

    *settings = (struct cli_settings){ 0 };
    if (outbox_conf_new(&settings->conf, &err) != OUTBOX_OK)
        return cli_error(cli, NULL, err);
    if (file != NULL)
        status = cli_config_load(cli, file, name, settings);
    return status == CLI_OK ? cli_settings_apply(cli, set_option, settings) : status;
}

void cli_settings_free(struct cli_settings *settings)
{
    outbox_conf_free(settings->conf);
    free(settings->dsn);
    free(settings->publisher);
    free(settings->name);
    free(settings->print);
    *settings = (struct cli_settings){ 0 };
}

/* A connection string, or a URL with a user; a DSN's name or a path stays, so that one sees which it is. */
static bool may_have_password(const char *argument)
{
    return strcasestr(argument, "pwd") != NULL || strcasestr(argument, "password") != NULL ||
           (strstr(argument, "://") != NULL && strchr(argument, '@') != NULL);
}

int cli_hide(struct cli *cli, size_t option)
{
    for (size_t i = 0; i < cli->given_count; i++) {
        struct cli_given *g = &cli->given[i];
        if (g->option != option || g->copy != NULL || !may_have_password(g->value))
            continue;
        g->copy = strdup(g->value);
        if (g->copy == NULL)
            return cli_fail(cli, "out of memory");
        memset(g->value, '*', strlen(g->value));
        g->value = g->copy;
    }
    return CLI_OK;
}

/* scheme://user:password@… */
static bool has_password(const char *url)
{
    const char *user = strstr(url, "://");
    size_t size = user != NULL ? strcspn(user + 3, "/?#") : 0;
    const char *at = size > 0 ? memchr(user + 3, '@', size) : NULL;

    return at != NULL && memchr(user + 3, ':', (size_t)(at - user - 3)) != NULL && strncmp(url, "exec:", 5) != 0;
}

int cli_check_publisher(const struct cli *cli, const char *url)
{
    if (url == NULL || !has_password(url))
        return CLI_OK;
    return cli_usage(cli, "a publisher's password does not belong on the command line: put the URL into the "
                          "file that --config names, or the password into a file or the environment");
}
