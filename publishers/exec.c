/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "exec:COMMAND" hands messages to a command that keeps running: a JSON line each on its standard input, a line each
 * as answer from its standard output, in the same order. It may read ahead, and it may answer late; both pipes are
 * served at the same time, so neither side waits for the other for ever.
 *
 * When the command dies, the oldest message without an answer is the suspect: it alone is OUTBOX_UNKNOWN. The command
 * is started again and gets the others one at a time, so that one message that kills it costs its neighbours nothing.
 * A command that dies twice in a row without having answered anything is broken: the delivery is given up, and the
 * next start waits, longer each time. One that dies without having read anything is broken whatever it was sent: that
 * is told as OUTBOX_UNAVAILABLE, as is what no command got to see.
 *
 * Threads: publish() runs on several relay threads at once, each with a child of its own; children without work wait
 * in `idle`. `lock` guards the publisher, and of a call `cancelled` and its child's pid: cancel() signals the child
 * while publish() may be about to reap it. Everything else belongs to the thread in publish().
 */
#include "builtin.h"
#include "delivery.h"
#include "exec_answer.h"
#include "exec_child.h"
#include "exec_reach.h"
#include "log.h"
#include "sigpipe.h"

#include <outbox/message.h>
#include <outbox/sys/publisher.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define AHEAD_SIZE (64 * 1024) /* lines are made ahead up to this many bytes */
#define CHECK_MS 100 /* how soon a call notices a cancel, or that its child ended while others keep its pipes open */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 1000 /* the relay waits between two tries, too, and longer */
/* How long a command may take to end once its input is closed, and then once it got SIGTERM. */
#define CLOSE_EOF_MS 5000
#define CLOSE_TERM_MS 2000

struct exec {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a call was cancelled */
    outbox_conf *conf; /* for the log */
    char *command;
    struct outbox_exec_child *idle;
    struct call *calls;
    int barren; /* how often in a row a child died without having answered anything */
};

/* One call of publish(). Messages are numbered in the order in which they are sent, which is that of `index`. */
struct call {
    struct call *next;
    struct exec *exec;
    outbox_delivery *delivery;
    struct outbox_exec_child *child;
    int cancelled;
    size_t *index;    /* where in the delivery */
    size_t *end;      /* where its line ends, counted from the child's first byte */
    size_t fetched;   /* how many were taken from the delivery */
    size_t made;      /* how many have a line to this child, or an answer */
    size_t answered;  /* how many have an answer */
    size_t first;     /* the first for this child */
    size_t seen;      /* how many some child may have seen */
    int careful;      /* one at a time */
    int no_more;      /* the delivery has no further message */
    char *ahead;      /* lines that are not written yet */
    size_t from, to, room; /* what of it */
    size_t lines, written; /* bytes of all lines, and of those written, to this child */
    size_t run_answers;    /* answers of this child in this call */
    int barren;            /* children in a row that gave none */
    char why[512];
};

enum run { RUN_DONE, RUN_DIED, RUN_CANCELLED };

static int is_cancelled(struct call *c)
{
    int cancelled;

    pthread_mutex_lock(&c->exec->lock);
    cancelled = c->cancelled;
    pthread_mutex_unlock(&c->exec->lock);
    return cancelled;
}

/* Adds the line of the next message to what is to be written. */
static int make_line(struct call *c)
{
    const outbox_record *r = outbox_delivery_message(c->delivery, c->index[c->made]);
    char *line;
    size_t length;

    if (outbox_record_to_json(r, &line, NULL) != OUTBOX_OK)
        return OUTBOX_ERR_NOMEM;
    length = strlen(line);
    if (c->from > 0)
        memmove(c->ahead, c->ahead + c->from, c->to - c->from);
    c->to -= c->from;
    c->from = 0;
    if (c->room - c->to < length + 1) {
        char *ahead = realloc(c->ahead, c->to + length + 1);
        if (ahead == NULL) {
            outbox_free(line);
            return OUTBOX_ERR_NOMEM;
        }
        c->ahead = ahead;
        c->room = c->to + length + 1;
    }
    memcpy(c->ahead + c->to, line, length);
    c->ahead[c->to + length] = '\n';
    c->to += length + 1;
    c->lines += length + 1;
    c->end[c->made++] = c->lines;
    outbox_free(line);
    return OUTBOX_OK;
}

/* Makes lines as far ahead as is wise. */
static int make_lines(struct call *c)
{
    while (c->to - c->from < AHEAD_SIZE && !(c->careful && c->made > c->answered)) {
        if (c->made == c->fetched) {
            if (c->no_more || outbox_delivery_next(c->delivery, &c->index[c->fetched]) == NULL) {
                c->no_more = 1;
                return OUTBOX_OK;
            }
            c->fetched++;
        }
        if (make_line(c) != OUTBOX_OK)
            return OUTBOX_ERR_NOMEM;
    }
    return OUTBOX_OK;
}

/* A line from the child. Anything that cannot be an answer stops the exchange: what follows could mean anything. */
static int take_answer(void *user, char *line)
{
    struct call *c = user;
    struct outbox_exec_answer answer;
    size_t length = strlen(line);

    /* Some write "\r\n" for the end of a line. */
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0';
    outbox_exec_answer__clean(line);
    if (c->answered >= c->made || c->end[c->answered] > c->written) {
        snprintf(c->why, sizeof(c->why), "the command wrote \"%.100s\" when no message waited for an answer", line);
        return 1;
    }
    if (!outbox_exec_answer__parse(line, &answer)) {
        snprintf(c->why, sizeof(c->why), "the command answered \"%.100s\" instead of ok, retry, reject or unavailable", line);
        return 1;
    }
    outbox_delivery_answer(c->delivery, c->index[c->answered++], answer.verdict, answer.retry_ms, answer.reason);
    c->run_answers++;
    return 0;
}

/* Writes what the pipe takes; 0 when the child does not read any more. */
static int write_ahead(struct call *c)
{
    while (c->from < c->to) {
        ssize_t n = write(c->child->in, c->ahead + c->from, c->to - c->from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        c->from += (size_t)n;
        c->written += (size_t)n;
    }
    return 1;
}

/* One round of waiting, reading and writing. */
static enum run exchange_once(struct call *c, int *writing)
{
    struct pollfd fds[2] = { { .fd = c->child->out, .events = POLLIN },
                             { .fd = *writing && c->from < c->to ? c->child->in : -1, .events = POLLOUT } };
    int ended, n = poll(fds, 2, CHECK_MS);

    if (is_cancelled(c))
        return RUN_CANCELLED;
    /* Asked before reading: what it wrote before it ended is still to be read. */
    ended = n == 0 && outbox_exec_child__reap(c->child, &c->exec->lock, 0);
    if (n > 0 && fds[1].revents != 0)
        *writing = write_ahead(c);
    if ((n > 0 && fds[0].revents != 0) || ended)
        if (outbox_exec_child__read(c->child, take_answer, c) != OUTBOX_EXEC_AGAIN || ended)
            return RUN_DIED;
    /* A child that stopped reading may still answer what it has, and nothing else. */
    if (!*writing && (c->answered == c->made || c->end[c->answered] > c->written)) {
        snprintf(c->why, sizeof(c->why), "the command closed its standard input");
        return RUN_DIED;
    }
    return RUN_DONE;
}

/* Sends what is left to the child and takes its answers. */
static enum run exchange(struct call *c)
{
    int writing = 1;

    c->first = c->made = c->answered;
    c->from = c->to = 0;
    c->lines = c->written = c->run_answers = 0;
    c->why[0] = '\0';
    for (;;) {
        enum run run;
        int rc = make_lines(c);
        if (c->made == c->answered && rc == OUTBOX_OK)
            return RUN_DONE;
        if (c->made == c->answered) {
            outbox_delivery_answer(c->delivery, c->index[c->answered++], OUTBOX_RETRY, -1,
                                   "out of memory while the message was written as JSON");
            c->end[c->made++] = c->lines;
            continue;
        }
        run = exchange_once(c, &writing);
        if (run != RUN_DONE)
            return run;
    }
}

static int child_start(struct call *c)
{
    struct outbox_exec_child *child = malloc(sizeof(*child));
    int number = child == NULL ? ENOMEM : outbox_exec_child__start(child, c->exec->command);

    if (number != 0) {
        free(child);
        snprintf(c->why, sizeof(c->why), "cannot start the command of the exec publisher: %s", strerror(number));
        return OUTBOX_ERR_SYSTEM;
    }
    pthread_mutex_lock(&c->exec->lock);
    c->child = child;
    pthread_mutex_unlock(&c->exec->lock);
    return OUTBOX_OK;
}

/* A child that waits for work must be alive and silent. */
static int child_is_fit(struct exec *e, struct outbox_exec_child *child)
{
    struct pollfd out = { .fd = child->out, .events = POLLIN };

    return child->used == 0 && poll(&out, 1, 0) == 0 && !outbox_exec_child__reap(child, &e->lock, 0);
}

static int child_from_idle(struct call *c)
{
    struct exec *e = c->exec;
    struct outbox_exec_child *child;

    for (;;) {
        pthread_mutex_lock(&e->lock);
        child = e->idle;
        if (child != NULL)
            e->idle = child->next;
        pthread_mutex_unlock(&e->lock);
        if (child == NULL || child_is_fit(e, child))
            break;
        outbox_exec_child__end(child, &e->lock);
        free(child);
    }
    pthread_mutex_lock(&e->lock);
    c->child = child;
    pthread_mutex_unlock(&e->lock);
    return child != NULL;
}

/* Takes the child from the call: back to the idle ones, or out of this world. */
static void child_leave(struct call *c, int keep)
{
    struct exec *e = c->exec;
    struct outbox_exec_child *child = c->child;

    if (child == NULL)
        return;
    if (!keep)
        outbox_exec_child__end(child, &e->lock);
    pthread_mutex_lock(&e->lock);
    c->child = NULL;
    if (keep) {
        child->next = e->idle;
        e->idle = child;
    }
    pthread_mutex_unlock(&e->lock);
    if (!keep)
        free(child);
}

/* Waits before a command is started that died the last times; 0 when the call was cancelled meanwhile. */
static int backoff(struct call *c)
{
    struct exec *e = c->exec;
    struct timespec until;
    long ms;
    int go;

    pthread_mutex_lock(&e->lock);
    ms = e->barren == 0 ? 0 : e->barren > 4 ? BACKOFF_LAST_MS : BACKOFF_FIRST_MS << (e->barren - 1);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (ms > 0 && !c->cancelled && pthread_cond_timedwait(&e->changed, &e->lock, &until) != ETIMEDOUT)
        continue;
    go = !c->cancelled;
    pthread_mutex_unlock(&e->lock);
    return go;
}

/* Whether this child was good for anything; remembered for the next start. */
static void note_run(struct call *c)
{
    c->barren = c->run_answers > 0 ? 0 : c->barren + 1;
    pthread_mutex_lock(&c->exec->lock);
    c->exec->barren = c->run_answers > 0 ? 0 : c->exec->barren + 1;
    pthread_mutex_unlock(&c->exec->lock);
}

/* How much of what was written the child has read: what it left is still in the pipe. */
static size_t bytes_read(const struct call *c)
{
    int left = 0;

    if (ioctl(c->child->in, FIONREAD, &left) != 0 || left < 0)
        return c->written;
    return c->written > (size_t)left ? c->written - (size_t)left : 0;
}

/* The child is gone, or is to go: finds out why, and what it may have seen. */
static void examine(struct call *c)
{
    size_t read = bytes_read(c);
    char how[200];

    for (size_t i = c->answered; i < c->made && read > (i == c->first ? 0 : c->end[i - 1]); i++)
        c->seen = i + 1 > c->seen ? i + 1 : c->seen;
    if (c->why[0] != '\0')
        return;
    /* It closed its output: give it a moment to end by itself, so that we can say how. */
    if (outbox_exec_child__reap(c->child, &c->exec->lock, 200)) {
        outbox_exec_child__describe(c->child, how, sizeof(how));
        snprintf(c->why, sizeof(c->why), "the command ended before it answered: %s", how);
    } else {
        snprintf(c->why, sizeof(c->why), "the command closed its standard output before it answered");
    }
}

/* Answers whatever is left: OUTBOX_UNKNOWN for what a child may have seen; what none has seen is not to blame. */
static void give_up(struct call *c)
{
    size_t index;

    for (; c->answered < c->fetched; c->answered++)
        outbox_delivery_answer(c->delivery, c->index[c->answered],
                               c->answered < c->seen ? OUTBOX_UNKNOWN : OUTBOX_UNAVAILABLE, -1, c->why);
    while (outbox_delivery_next(c->delivery, &index) != NULL)
        outbox_delivery_answer(c->delivery, index, OUTBOX_UNAVAILABLE, -1, c->why);
}

/* Most commands that hang wait for nothing: their answers are in a buffer of their own. */
static void tell_silence(struct call *c)
{
    if (c->run_answers == 0 && bytes_read(c) > 0)
        outbox_log__write(c->exec->conf, OUTBOX_LOG_WARNING,
                          "the command of the exec publisher was ended: it had read %s and answered nothing; does it flush "
                          "its answers (in Python: print(\"ok\", flush=True))?",
                          c->made - c->first == 1 ? "a message" : "messages");
}

/* Everything with one child after the other, as long as they are of use. OUTBOX_NONE: it was cancelled. */
static int send_all(struct call *c)
{
    for (;;) {
        enum run run;
        if (!child_from_idle(c)) {
            if (!backoff(c))
                return OUTBOX_NONE;
            if (child_start(c) != OUTBOX_OK)
                return OUTBOX_ERR_PUBLISH;
        }
        run = exchange(c);
        if (run == RUN_DIED && is_cancelled(c)) /* it was killed just now */
            run = RUN_CANCELLED;
        if (run == RUN_DIED)
            examine(c);
        if (run == RUN_CANCELLED)
            tell_silence(c);
        if (run == RUN_DIED || c->run_answers > 0)
            note_run(c);
        child_leave(c, run == RUN_DONE);
        if (run == RUN_CANCELLED)
            return OUTBOX_NONE;
        if (run == RUN_DONE || (c->answered == c->fetched && c->no_more))
            return OUTBOX_OK;
        if (c->answered < c->seen)
            outbox_delivery_answer(c->delivery, c->index[c->answered++], OUTBOX_UNKNOWN, -1, c->why);
        if (c->barren >= 2)
            return OUTBOX_ERR_PUBLISH;
        c->careful = 1;
    }
}

static void call_enter(struct exec *e, struct call *c)
{
    pthread_mutex_lock(&e->lock);
    c->next = e->calls;
    e->calls = c;
    pthread_mutex_unlock(&e->lock);
    if (!outbox_delivery__is_warned(c->delivery))
        return;
    pthread_mutex_lock(&e->lock);
    c->cancelled = 1; /* cancel() came too early to find it, and does not come again */
    pthread_mutex_unlock(&e->lock);
}

static void call_leave(struct exec *e, struct call *c)
{
    struct call **at;

    pthread_mutex_lock(&e->lock);
    for (at = &e->calls; *at != c; at = &(*at)->next)
        continue;
    *at = c->next;
    pthread_mutex_unlock(&e->lock);
    free(c->index);
    free(c->end);
    free(c->ahead);
}

static int exec_publish(void *self, outbox_delivery *d, outbox_error **err)
{
    struct exec *e = self;
    struct call c = { .exec = e, .delivery = d };
    struct outbox_sigpipe signals;
    size_t room = outbox_delivery_count(d) + 1; /* one more: where the message would be that is not there */
    int rc = OUTBOX_ERR_NOMEM;

    c.index = calloc(room, sizeof(*c.index));
    c.end = calloc(room, sizeof(*c.end));
    call_enter(e, &c);
    if (c.index == NULL || c.end == NULL) {
        snprintf(c.why, sizeof(c.why), "out of memory while a batch was handed to the command");
    } else {
        outbox_sigpipe__hold(&signals);
        rc = send_all(&c);
        outbox_sigpipe__release(&signals);
    }
    if (rc < 0)
        give_up(&c);
    else if (rc == OUTBOX_NONE) /* nobody answers any more: what that means for the messages the relay knows best */
        snprintf(c.why, sizeof(c.why), "the command was ended");
    if (rc != OUTBOX_OK)
        rc = outbox_error_new(err, rc < 0 ? rc : OUTBOX_ERR_PUBLISH, "publisher.exec", c.why);
    call_leave(e, &c);
    return rc;
}

static void exec_cancel(void *self, outbox_delivery *d)
{
    struct exec *e = self;

    pthread_mutex_lock(&e->lock);
    for (struct call *c = e->calls; c != NULL; c = c->next) {
        if (c->delivery != d)
            continue;
        c->cancelled = 1;
        if (c->child != NULL)
            outbox_exec_child__signal(c->child, SIGKILL);
    }
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static int exec_reach(void *self, outbox_error **err)
{
    const struct exec *e = self;

    return outbox_exec__reach(e->command, err);
}

/* Waits until every idle child has ended; 0 when they have not in time. */
static int reap_idle(struct exec *e, long ms)
{
    struct outbox_exec_child *child;

    for (;; ms -= 10) {
        int alive = 0;
        for (child = e->idle; child != NULL; child = child->next)
            alive += !outbox_exec_child__reap(child, &e->lock, 0);
        if (alive == 0 || ms <= 0)
            return alive == 0;
        poll(NULL, 0, 10);
    }
}

/* The end of input asks a command to end; one that does not is told so, and then made to. */
static void exec_close(void *self)
{
    struct exec *e = self;
    struct outbox_exec_child *child;

    for (child = e->idle; child != NULL; child = child->next)
        outbox_exec_child__close_in(child);
    if (!reap_idle(e, CLOSE_EOF_MS)) {
        for (child = e->idle; child != NULL; child = child->next)
            outbox_exec_child__signal(child, SIGTERM);
        reap_idle(e, CLOSE_TERM_MS);
    }
    while ((child = e->idle) != NULL) {
        e->idle = child->next;
        outbox_exec_child__end(child, &e->lock);
        free(child);
    }
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    outbox_conf_free(e->conf);
    free(e->command);
    free(e);
}

static struct exec *exec_new(const char *command, const outbox_conf *conf)
{
    struct exec *e = calloc(1, sizeof(*e));
    pthread_condattr_t attributes;

    if (e != NULL)
        e->command = strdup(command);
    if (e == NULL || e->command == NULL || outbox_conf__copy(conf, &e->conf, NULL) != OUTBOX_OK) {
        if (e != NULL)
            free(e->command);
        free(e);
        return NULL;
    }
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return e;
}

int outbox_publisher__exec_open(const char *rest, const outbox_conf *conf, outbox_publisher **publisher,
                                outbox_error **err)
{
    /* Not in order: when the second of three messages is answered with `retry`, the third may be on its way. */
    static const outbox_publisher_ops ops = {
        .size = sizeof(ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .name = "exec",
        .publish = exec_publish,
        .cancel = exec_cancel,
        .close = exec_close,
        .reach = exec_reach,
    };
    struct exec *e;
    int rc;

    if (rest[strspn(rest, " \t")] == '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.exec_url",
                                "publisher \"exec:\" needs a command after the colon, such as exec:/usr/local/bin/send");
    e = exec_new(rest, conf);
    if (e == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory while a publisher was opened");
    rc = outbox_publisher_new(&ops, e, publisher, err);
    if (rc != OUTBOX_OK)
        exec_close(e);
    return rc;
}
