/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Enqueues messages from the standard input, one JSON object a line, in transactions of --batch messages.
 *
 * A line that is wrong stops it: its transaction is not written at all, and the message says up to which line
 * everything is committed, so that one can go on from there.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_DEFAULT 500
#define BATCH_MAX 100000
/* A transaction also ends here, so that memory is bounded, whatever the payloads. */
#define BATCH_BYTES ((size_t)64 << 20)
/* What a line may have beside its payload: headers, at most 1 MiB of them, and texts, each letter of which may be written
 * as an escape of six; a payload as well. */
#define ESCAPE 6
#define LINE_MORE ((int64_t)ESCAPE * ((1 << 20) + (64 << 10)))
/* How often a transaction is tried that ran into others. */
#define TRIES_MAX 8

struct lines {
    struct ctl *ctl;
    size_t batch; /* messages in a transaction, at the most */
    outbox_parsed **parsed;
    outbox_message *messages;
    outbox_id *ids;
    size_t *numbers; /* the line that each came from */
    size_t count, bytes;
    char *text;       /* a line */
    size_t room, most; /* of it: bytes that it has, and that it may take */
    size_t number;    /* of the line read last */
    size_t committed; /* the last line up to which everything is committed */
    uint64_t total;
    bool progress, quiet;
    bool shared; /* ids may come on the terminal that shows the progress */
    int64_t started_us, shown_us;
};

static int64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void show_progress(struct lines *l)
{
    int64_t now = clock_us();

    if (!l->progress || now - l->shown_us < 100000)
        return;
    l->shown_us = now;
    fprintf(stderr, "\r%" PRIu64 " messages, %.0f/s \x1b[K", l->total,
            (double)l->total * 1e6 / (double)(now - l->started_us + 1));
}

static void clear_progress(struct lines *l)
{
    if (l->progress && l->shown_us != 0)
        fputs("\r\x1b[K", stderr);
    l->shown_us = 0;
}

/* Programs get in one object what people are told by further sentences: where it was, and what is committed. */
static void tell_place(struct lines *l, size_t first, size_t last, bool in_doubt)
{
    if (!l->ctl->json)
        return;
    json_decref(l->ctl->cli.more);
    l->ctl->cli.more = json_pack("{s:I, s:I, s:I, s:I, s:b}", "line", (json_int_t)first, "last_line", (json_int_t)last,
                                 "committed_lines", (json_int_t)l->committed,
                                 "committed_messages", (json_int_t)l->total, "in_doubt", in_doubt);
}

static void say_committed(struct lines *l)
{
    clear_progress(l);
    if (l->ctl->json)
        return;
    if (l->committed == 0)
        fputs(_("Nothing was enqueued.\n"), stderr);
    else
        fprintf(stderr, _("Lines 1 to %zu are committed, %" PRIu64 " messages; nothing after them is.\n"), l->committed,
                l->total);
}

static void forget_batch(struct lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        outbox_parsed_free(l->parsed[i]);
    l->count = l->bytes = 0;
}

/* The transaction once; *at_commit says whether only the commit failed, which may leave it open what happened. */
static int try_batch(struct lines *l, bool *at_commit, outbox_error **err)
{
    outbox_conn *conn = l->ctl->conn;
    int rc = outbox_conn_begin(conn, err);

    *at_commit = false;
    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_enqueue(conn, l->messages, l->count, l->ids, err);
    if (rc != OUTBOX_OK) {
        outbox_conn_rollback(conn, NULL);
        return rc;
    }
    *at_commit = true;
    return outbox_conn_commit(conn, err);
}

/* Tries again what failed only because others were at the same tables. */
static int write_batch(struct lines *l, bool *at_commit, outbox_error **err)
{
    struct timespec pause = { 0, 10000000 };
    int rc;

    for (int tries = 1;; tries++) {
        rc = try_batch(l, at_commit, err);
        if (rc == OUTBOX_OK || rc != OUTBOX_ERR_CONFLICT || tries == TRIES_MAX)
            return rc;
        outbox_error_free(*err);
        *err = NULL;
        nanosleep(&pause, NULL);
        pause.tv_nsec = pause.tv_nsec < 400000000 ? pause.tv_nsec * 2 : pause.tv_nsec;
    }
}

/* Which message the library refuses: it names a place in the batch, people want the line. Writes nothing. */
static size_t find_refused(struct lines *l, int refused, outbox_error **err)
{
    size_t i = 0;

    if (outbox_conn_begin(l->ctl->conn, NULL) != OUTBOX_OK)
        return l->count;
    for (; i < l->count; i++) {
        outbox_error *again = NULL;
        if (outbox_enqueue(l->ctl->conn, &l->messages[i], 1, NULL, &again) == refused) {
            outbox_error_free(*err);
            *err = again;
            break;
        }
        outbox_error_free(again);
    }
    outbox_conn_rollback(l->ctl->conn, NULL);
    return i;
}

static void say_failed(struct lines *l, int rc, bool at_commit, outbox_error *err)
{
    size_t first = l->numbers[0], last = l->numbers[l->count - 1], refused = l->count;
    char doing[96];
    bool in_doubt;

    clear_progress(l);
    if (rc == OUTBOX_ERR_INVALID || rc == OUTBOX_ERR_DUPLICATE)
        refused = find_refused(l, rc, &err);
    if (refused < l->count)
        snprintf(doing, sizeof(doing), _("line %zu"), l->numbers[refused]);
    else
        snprintf(doing, sizeof(doing), _("lines %zu to %zu"), first, last);
    in_doubt = at_commit && rc != OUTBOX_ERR_CONFLICT;
    if (refused < l->count)
        first = last = l->numbers[refused];
    tell_place(l, first, last, in_doubt);
    cli_error(&l->ctl->cli, doing, err);
    if (!in_doubt) {
        say_committed(l);
        return;
    }
    if (l->ctl->json)
        return;
    if (l->committed > 0)
        fprintf(stderr, _("Lines 1 to %zu are committed. "), l->committed);
    fprintf(stderr, _("Whether lines %zu to %zu are, is not known; nothing after them is.\n"), first, last);
}

/* Where the progress is, ids take its place, and it comes back below them. */
static int print_ids(struct lines *l)
{
    if (l->shared)
        clear_progress(l);
    for (size_t i = 0; i < l->count && !l->quiet; i++) {
        if (!l->ctl->json)
            puts(l->ids[i].text);
        else if (ctl_print_json(l->ctl, json_pack("{s:s, s:I}", "id", l->ids[i].text, "line",
                                                  (json_int_t)l->numbers[i])) != CLI_OK)
            return CLI_FAILED;
    }
    if (l->shared)
        fflush(stdout);
    return ferror(stdout) ? CLI_FAILED : CLI_OK;
}

static int commit_batch(struct lines *l)
{
    outbox_error *err = NULL;
    bool at_commit;
    int rc, status;

    if (l->count == 0)
        return CLI_OK;
    rc = write_batch(l, &at_commit, &err);
    if (rc != OUTBOX_OK) {
        say_failed(l, rc, at_commit, err);
        return rc == OUTBOX_ERR_DUPLICATE ? CTL_DUPLICATE : CLI_FAILED;
    }
    ctl_wake(l->ctl);
    l->total += l->count;
    l->committed = l->number;
    status = print_ids(l);
    forget_batch(l);
    show_progress(l);
    return status;
}

/* Takes one line in; empty ones are nothing. */
static int take_line(struct lines *l, const char *text, size_t length)
{
    outbox_error *err = NULL;
    char doing[48];

    if (strspn(text, " \t\r\n") == length)
        return CLI_OK;
    if (outbox_message_from_json(text, length, cli_has(&l->ctl->cli, CTL_KEEP_ID), &l->parsed[l->count], &err) !=
        OUTBOX_OK) {
        clear_progress(l);
        snprintf(doing, sizeof(doing), _("line %zu"), l->number);
        tell_place(l, l->number, l->number, false);
        cli_error(&l->ctl->cli, doing, err);
        say_committed(l);
        return CLI_FAILED;
    }
    l->messages[l->count] = *outbox_parsed_message(l->parsed[l->count]);
    l->numbers[l->count] = l->number;
    l->bytes += length;
    l->count++;
    return l->count == l->batch || l->bytes >= BATCH_BYTES ? commit_batch(l) : CLI_OK;
}

enum line { LINE_READ, LINE_NONE, LINE_TOO_LONG, LINE_NO_MEMORY };

/* The next line, with its end. No more is read, and kept, than any line may be long. */
static enum line read_line(struct lines *l, size_t *length)
{
    int c;

    *length = 0;
    flockfile(stdin);
    while ((c = getc_unlocked(stdin)) != EOF) {
        if (*length == l->most)
            break;
        if (*length == l->room) {
            size_t wider = l->room * 2 + 4096 < l->most ? l->room * 2 + 4096 : l->most;
            char *grown = realloc(l->text, wider + 1); /* and the NUL */

            if (grown == NULL)
                break;
            l->text = grown;
            l->room = wider;
        }
        l->text[(*length)++] = (char)c;
        if (c == '\n')
            break;
    }
    funlockfile(stdin);
    if (l->text != NULL)
        l->text[*length] = '\0';
    if (c == EOF)
        return *length > 0 && !ferror(stdin) ? LINE_READ : LINE_NONE;
    if (*length > 0 && l->text[*length - 1] == '\n')
        return LINE_READ;
    return *length == l->most ? LINE_TOO_LONG : LINE_NO_MEMORY;
}

static int bad_line(struct lines *l, enum line what)
{
    clear_progress(l);
    tell_place(l, l->number + 1, l->number + 1, false);
    if (what == LINE_TOO_LONG)
        cli_fail(&l->ctl->cli, "line %zu is too long: a message of at most enqueue.max_payload=%s takes no more than %zu bytes",
                 l->number + 1, outbox_conf_get(l->ctl->settings.conf, "enqueue.max_payload"), l->most);
    else if (what == LINE_NO_MEMORY)
        cli_fail(&l->ctl->cli, "line %zu is too long: there is no memory for it", l->number + 1);
    else
        cli_fail(&l->ctl->cli, "cannot read line %zu from the standard input: %s", l->number + 1, strerror(errno));
    say_committed(l);
    return CLI_FAILED;
}

/* What some editors and other programs put before UTF-8. It is no part of a message. */
static size_t mark_size(const struct lines *l, size_t length)
{
    return l->number == 1 && length >= 3 && memcmp(l->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static int read_lines(struct lines *l)
{
    enum line what;
    size_t length, mark;
    int status = CLI_OK;

    while (status == CLI_OK && (errno = 0, what = read_line(l, &length)) == LINE_READ) {
        l->number++;
        mark = mark_size(l, length);
        status = take_line(l, l->text + mark, length - mark);
    }
    if (status != CLI_OK)
        return status;
    return what != LINE_NONE || !feof(stdin) ? bad_line(l, what) : commit_batch(l);
}

static int lines_open(struct lines *l)
{
    const char *batch = cli_value(&l->ctl->cli, CTL_BATCH);
    long long number = BATCH_DEFAULT;
    int64_t payload;

    if (batch != NULL) {
        int status = cli_number(&l->ctl->cli, "--batch", batch, 1, BATCH_MAX, &number);
        if (status != CLI_OK)
            return status;
    }
    l->batch = (size_t)number;
    if (!cli_size(outbox_conf_get(l->ctl->settings.conf, "enqueue.max_payload"), &payload))
        return cli_fail(&l->ctl->cli, "enqueue.max_payload is not known");
    payload = payload * ESCAPE + LINE_MORE;
    l->most = (uint64_t)payload < SIZE_MAX / 2 ? (size_t)payload : SIZE_MAX / 2;
    l->quiet = cli_has(&l->ctl->cli, CTL_QUIET);
    l->progress = !l->quiet && isatty(STDERR_FILENO);
    l->shared = l->progress && isatty(STDOUT_FILENO);
    l->started_us = clock_us();
    l->parsed = calloc(l->batch, sizeof(*l->parsed));
    l->messages = calloc(l->batch, sizeof(*l->messages));
    l->ids = calloc(l->batch, sizeof(*l->ids));
    l->numbers = calloc(l->batch, sizeof(*l->numbers));
    if (l->parsed == NULL || l->messages == NULL || l->ids == NULL || l->numbers == NULL)
        return cli_fail(&l->ctl->cli, "out of memory; --batch may be smaller");
    return CLI_OK;
}

int ctl_enqueue_lines(struct ctl *ctl)
{
    struct lines l = { .ctl = ctl };
    int status = lines_open(&l);

    if (status == CLI_OK)
        status = read_lines(&l);
    clear_progress(&l);
    if (status == CLI_OK && l.progress)
        fprintf(stderr, _("%" PRIu64 " messages enqueued.\n"), l.total);
    if (l.parsed != NULL)
        forget_batch(&l);
    free(l.text);
    free(l.parsed);
    free(l.messages);
    free(l.ids);
    free(l.numbers);
    return status;
}
