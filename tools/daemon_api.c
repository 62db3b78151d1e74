/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_api.h"

#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Messages looked at of each kind: those that wait to be read, and those set aside. */
#define OVERVIEW_ROWS 2000
#define SEARCH_ROWS 20000
/* Messages that an answer has, and that a change takes. */
#define FOUND_MAX 100
#define CHANGED_MAX 1000

struct question {
    struct daemon *daemon;
    struct daemon_history *history;
    enum daemon_api what;
    bool changes;
    daemon_argument_fn *argument;
    void *user;
};

static const char *argument(const struct question *q, const char *name)
{
    const char *value = q->argument(q->user, name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool daemon_api_changes(enum daemon_api what)
{
    return what == DAEMON_API_REDRIVE || what == DAEMON_API_DISCARD;
}

bool daemon_api_asks_database(enum daemon_api what)
{
    return what != DAEMON_API_OUTBOXES && what != DAEMON_API_HISTORY;
}

/* ---- arguments ---- */

/* By enum daemon_api. */
static const char *const takes[][6] = {
    [DAEMON_API_OUTBOXES] = { NULL },
    [DAEMON_API_HISTORY] = { "outbox", "since" },
    [DAEMON_API_OVERVIEW] = { "outbox" },
    [DAEMON_API_MESSAGES] = { "outbox", "id", "topic", "key", "state" },
    [DAEMON_API_REDRIVE] = { "outbox", "id", "topic", "key", "state" },
    [DAEMON_API_DISCARD] = { "outbox", "id", "topic", "key", "state" },
};

/* What a program got wrong must not make a change of more messages than it meant. */
const char *daemon_api_refuses(enum daemon_api what, const char *name, size_t name_size, const char *value,
                               size_t value_size)
{
    const char *const *known = takes[what];

    while (*known != NULL && strcmp(*known, name) != 0)
        known++;
    if (*known == NULL || strlen(name) != name_size)
        return "there is an argument that is none of this question's";
    if (value != NULL && strlen(value) != value_size)
        return "an argument has a NUL in it";
    if (daemon_api_changes(what) && value_size == 0)
        return "an argument is empty";
    return NULL;
}

/* ---- complaints ---- */

static json_t *complaint(const char *why)
{
    return json_pack("{s:o}", "error", look_text(why));
}

char *daemon_api_complain(const char *why)
{
    json_t *value = complaint(why);
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;

    json_decref(value);
    return text;
}

static unsigned complain(json_t **answer, unsigned status, const char *why)
{
    *answer = complaint(why);
    return status;
}

/* A database that is away is nothing wrong with the question. */
static unsigned complain_of(json_t **answer, int rc, outbox_error *err)
{
    unsigned status = rc == OUTBOX_ERR_INVALID ? 400 : 502;

    *answer = json_pack("{s:o, s:s}", "error", look_text(outbox_error_message(err)), "name", outbox_error_name(err));
    outbox_error_free(err);
    return status;
}

static const char no_outbox[] = "there is no such outbox, or several and none was named";

/* ---- without a database ---- */

static void take_outbox(void *user, const char *name, enum daemon_state state, outbox_relay *relay)
{
    (void)relay;
    json_array_append_new(user, json_pack("{s:s, s:s}", "name", name, "state", daemon_state_name(state)));
}

static unsigned tell_outboxes(const struct question *q, json_t **answer)
{
    json_t *outboxes = json_array();

    daemon_walk(q->daemon, take_outbox, outboxes);
    *answer = json_pack("{s:s, s:b, s:o}", "version", outbox_version(), "changes", q->changes, "outboxes", outboxes);
    return 200;
}

static unsigned tell_history(const struct question *q, json_t **answer)
{
    const char *given = argument(q, "since");
    struct daemon_outbox *outbox;
    long long since = 0;
    char *end;

    errno = 0;
    if (given != NULL && ((since = strtoll(given, &end, 10)) < 0 || errno != 0 || *end != '\0'))
        return complain(answer, 400, "since must be a number of milliseconds since 1970");
    outbox = daemon_pin(q->daemon, argument(q, "outbox"));
    if (outbox == NULL)
        return complain(answer, 404, no_outbox);
    *answer = daemon_history_get(q->history, daemon_outbox_name(outbox), since);
    daemon_unpin(outbox);
    return 200;
}

/* ---- with one ---- */

static unsigned tell_overview(outbox_conn *conn, json_t **answer)
{
    outbox_error *err = NULL;
    int rc = look_overview(conn, OVERVIEW_ROWS, answer, &err);

    return rc == OUTBOX_OK ? 200 : complain_of(answer, rc, err);
}

static unsigned take_filter(const struct question *q, outbox_filter *filter, json_t **answer)
{
    const char *state = argument(q, "state");

    filter->id = argument(q, "id");
    filter->topic = argument(q, "topic");
    filter->partition_key = argument(q, "key");
    filter->limit = daemon_api_changes(q->what) ? CHANGED_MAX : FOUND_MAX;
    if (state != NULL && outbox_state_parse(state, &filter->state) != OUTBOX_OK)
        return complain(answer, 400, "the state must be pending, scheduled, retry, held or dead");
    if (daemon_api_changes(q->what) && state != NULL && filter->state != OUTBOX_DEAD)
        return complain(answer, 400, "only dead messages are changed");
    if (daemon_api_changes(q->what) && filter->id == NULL && filter->topic == NULL && filter->partition_key == NULL)
        return complain(answer, 400, "say of which messages: by id, topic or key");
    return 200;
}

static unsigned tell_messages(const struct question *q, outbox_conn *conn, json_t **answer)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_error *err = NULL;
    unsigned status = take_filter(q, &filter, answer);
    int rc;

    if (status != 200)
        return status;
    rc = look_messages(conn, &filter, SEARCH_ROWS, answer, &err);
    return rc == OUTBOX_OK ? 200 : complain_of(answer, rc, err);
}

/* Dead messages only: what waits is not for a page to remove. Each lane's are changed for good before the next's. */
static unsigned change(const struct question *q, outbox_conn *conn, const outbox_conf *conf, json_t **answer)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_error *err = NULL;
    int64_t count = 0;
    unsigned status = take_filter(q, &filter, answer);
    int rc;

    if (status != 200)
        return status;
    filter.state = OUTBOX_DEAD;
    filter.who = "the status page of outboxd";
    rc = q->what == DAEMON_API_REDRIVE ? outbox_redrive(conn, &filter, &count, &err)
                                       : outbox_discard(conn, &filter, &count, &err);
    if (q->what == DAEMON_API_REDRIVE)
        outbox_wake_send(conf, NULL);
    if (rc < 0)
        status = complain_of(answer, rc, err);
    else
        *answer = json_object();
    json_object_set_new(*answer, "messages", json_integer(count));
    return status;
}

static unsigned ask(const struct question *q, outbox_conn *conn, const outbox_conf *conf, json_t **answer)
{
    return q->what == DAEMON_API_OVERVIEW   ? tell_overview(conn, answer)
           : q->what == DAEMON_API_MESSAGES ? tell_messages(q, conn, answer)
                                            : change(q, conn, conf, answer);
}

static unsigned ask_database(const struct question *q, json_t **answer)
{
    struct daemon_outbox *outbox = daemon_pin(q->daemon, argument(q, "outbox"));
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    unsigned status;
    int rc;

    if (outbox == NULL)
        return complain(answer, 404, no_outbox);
    rc = outbox_conn_open(outbox->dsn, outbox->settings.conf, &conn, &err);
    status = rc == OUTBOX_OK ? ask(q, conn, outbox->settings.conf, answer) : complain_of(answer, rc, err);
    outbox_conn_close(conn);
    daemon_unpin(outbox);
    return status;
}

unsigned daemon_api_answer(struct daemon *d, struct daemon_history *history, enum daemon_api what, bool changes,
                           daemon_argument_fn *find, void *user, char **text)
{
    struct question q = { d, history, what, changes, find, user };
    json_t *answer = NULL;
    unsigned status = what == DAEMON_API_OUTBOXES  ? tell_outboxes(&q, &answer)
                      : what == DAEMON_API_HISTORY ? tell_history(&q, &answer)
                                                   : ask_database(&q, &answer);

    *text = answer != NULL ? json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(answer);
    return *text != NULL ? status : 500;
}
