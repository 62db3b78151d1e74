/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What both programs share: options from a table, settings, errors and colours. */
#ifndef OUTBOX_TOOLS_CLI_H
#define OUTBOX_TOOLS_CLI_H

#include <outbox/outbox.h>

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

/* How a program ends. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#if defined(__GNUC__) || defined(__clang__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define CLI_FORMAT(text) __attribute__((format_arg(text)))
#else
#define CLI_PRINTF(text, first)
#define CLI_FORMAT(text)
#endif

/* An option: parsing, help and checks all come from the table that it stands in. Its number is its place there. */
struct cli_option {
    const char *name;     /* without the dashes */
    char letter;          /* 0: only the long name */
    const char *argument; /* what it is called in the help; NULL: it takes none */
    const char *help;
};

/* More options than this no program has: they are kept as bits. */
#define CLI_OPTION_MAX 64
#define CLI_BIT(option) (UINT64_C(1) << (option))

/* An option that was given. */
struct cli_given {
    size_t option;
    char *value; /* NULL when it takes none */
    char *copy;  /* that is the value now, when the argument was hidden; or NULL */
};

struct cli {
    const char *program;
    const char *command; /* NULL: none, or not yet known */
    const struct cli_option *options;
    size_t option_count;
    struct cli_given *given;
    size_t given_count;
    char **arguments; /* what is no option, in order */
    int argument_count;
    void (*say)(void *user, const char *text); /* takes what cli_fail() and the like say; NULL: the standard error */
    void *say_user;
    bool json;            /* what goes to the standard error is JSON, too */
    struct json_t *more;  /* … and has these members besides; or NULL */
};

/* Before all else: what is said is said in the user's language; or from here on in English, for programs that read it. */
void cli_language(void);
void cli_english(void);
/* A text in that language. N_() marks one in a table, which is translated when it is printed. */
const char *cli_text(const char *text) CLI_FORMAT(1);
#define _(text) cli_text(text)
#define N_(text) text

/* Takes the command line apart. Returns CLI_OK or, after saying why, CLI_USAGE or CLI_FAILED. */
int cli_parse(struct cli *cli, int argc, char **argv);
void cli_free(struct cli *cli);

bool cli_has(const struct cli *cli, size_t option);
/* The value of the last one given, or NULL. */
const char *cli_value(const struct cli *cli, size_t option);
/* Prints those of the options whose bits are set, one a line. */
void cli_print_options(const struct cli *cli, uint64_t which);
/* Prints text in lines that fit, each after so many blanks. */
void cli_print_wrapped(FILE *to, const char *text, int indent);

/* Prints the version of the program and of the library, and what was built. */
void cli_print_version(const struct cli *cli);

/* Says what went wrong, on the standard error; returns CLI_FAILED or CLI_USAGE, so that a caller can return it. */
int cli_fail(const struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
int cli_usage(const struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
/* What is wrong is in a file: --help would not tell. */
int cli_wrong(const struct cli *cli, const char *format, ...) CLI_PRINTF(2, 3);
/* The same for an error of the library, which is freed; `doing` may be NULL. CLI_USAGE when what was given is wrong. */
int cli_error(const struct cli *cli, const char *doing, outbox_error *err);
/* The same in other words, those of whoever called. */
int cli_explain(const struct cli *cli, outbox_error *err, const char *format, ...) CLI_PRINTF(3, 4);
/* What did not work out, and keeps nobody from going on. */
void cli_warn(const struct cli *cli, outbox_error *err, const char *doing);
/* Whether everything printed has arrived; otherwise says so. Returns status, or CLI_FAILED. */
int cli_finish(const struct cli *cli, int status);

enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_RED, CLI_GREEN, CLI_YELLOW, CLI_BLUE, CLI_DIM };
/* The sequence that turns a colour on, or CLI_PLAIN everything off; "" when `to` is no terminal or colours are unwanted. */
const char *cli_colour(FILE *to, enum cli_colour colour);
/* Prints text that came from elsewhere: control characters, which could do things to a terminal, become visible. */
void cli_print_safe(FILE *to, const char *text, size_t size);

/* "500ms", "30s", "5m", "12h", "7d", "0", in microseconds. Returns false when it is none. */
bool cli_duration(const char *text, int64_t *us);
/* "100", "64KiB", "1 GiB", as settings have sizes, in bytes. */
bool cli_size(const char *text, int64_t *bytes);
/* Writes a duration as people say it: "1.2 s", "3 m 20 s", "4 d 2 h". */
void cli_format_duration(int64_t us, char *text, size_t size);
/* The monotonic clock's time in so many milliseconds, for pthread_cond_timedwait(). */
struct timespec cli_deadline(int64_t ms);
/* A number from low to high; says what is wrong otherwise. */
int cli_number(const struct cli *cli, const char *what, const char *text, long long low, long long high, long long *number);

/* Where settings come from: the file first, then the command line. */
struct cli_settings {
    outbox_conf *conf;
    char *dsn;       /* NULL: not given */
    char *publisher; /* NULL: not given */
    char *name;      /* of the outbox; NULL: it has none */
    char *print;     /* all that the file says of it, to see whether it changed; or NULL */
};

/* Reads --config, of which the outbox with this name (NULL: [outbox]), then applies each --set. Returns CLI_OK or, after
 * saying why, another. */
int cli_settings_load(const struct cli *cli, const char *file, const char *name, size_t set_option,
                      struct cli_settings *settings);
int cli_settings_apply(const struct cli *cli, size_t set_option, struct cli_settings *settings);
void cli_settings_free(struct cli_settings *settings);
/* What outboxd itself is set to, in [outboxd]; NULL: not given. */
struct cli_server {
    char *listen;      /* where it serves HTTP */
    char *hosts;       /* names, besides those of this host, by which a browser may ask for the status page */
    char *admin_token; /* what changes have to say; from a file */
};

void cli_server_free(struct cli_server *server);
/* Reads an INI file into settings. */
int cli_config_load(const struct cli *cli, const char *path, const char *name, struct cli_settings *settings);
/* All outboxes of the file, and what it says of outboxd. Free each, the list, and that, also after a failure. */
int cli_config_load_all(const struct cli *cli, const char *path, struct cli_settings **all, size_t *count,
                        struct cli_server *server);

/* The value of a setting: "credential:NAME" of one that ends in _file is a file that systemd put into
 * $CREDENTIALS_DIRECTORY; any other is itself. NULL with what is wrong. */
char *cli_credential(const char *key, const char *value, char *what, size_t size);
/* The one line of a file. NULL with what is wrong. */
char *cli_read_secret(const char *path, char *what, size_t size);

/* Takes the values of an option that may hold passwords out of the list of processes; the copies go with cli_free(). */
int cli_hide(struct cli *cli, size_t option);
/* Refuses the URL of a publisher that has a password, on the command line; NULL is fine. */
int cli_check_publisher(const struct cli *cli, const char *url);

#endif
