/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wake-ups from PostgreSQL: LISTEN on a connection of libpq's. A loadable module; all of it runs on the relay's waker.
 *
 * Commits that notify are serialized by the server, so the trigger on the table of messages notifies only when a relay
 * waits. The sign is an advisory lock (the table's oid, 1):
 *
 *   - A relay that is quiet takes it, exclusively (it is "on watch"), and looks for work after it has it.
 *   - The trigger tries to share it and lets go at once. When it cannot, it notifies.
 *   - A relay whose workers are all busy gives it up and tells the other relays, one of which takes it.
 *
 * What can be missed: a transaction whose insert came before the lock was taken, and which commits after the look. Every
 * later insert finds the lock, whatever its isolation level, as locks know no snapshots. After taking the watch the
 * relay therefore goes on looking, after 1, 2, 4, 8 … ms up to the poll interval: such a transaction is found about as
 * late as it committed after the lock was taken, and never later than a poll interval.
 *
 * Only one relay is on watch, so one notification makes one relay look. Others hear it too and leave it alone; they take
 * over when the watch is given up, and try now and then in case it was lost with its process.
 *
 * A relay on watch that is notified too often gives it up for a moment: polling costs less than that.
 *
 * The connection is proved before it is used: another connection, made in the same way, notifies it. Behind a pooler
 * that shares connections between clients that gets lost, and the lock and the session's settings would stay with a
 * connection that is not ours.
 *
 * A connection that the network cut leaves a session behind that keeps the watch for as long as the server does not
 * notice. Keepalives bound that; a relay that comes back to find its own ends it. */
#include <outbox/error.h>
#include <outbox/sys/wake.h>

#include <libpq-fe.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000)
#define SECOND INT64_C(1000000)
#define ANSWER_S 5                  /* for connecting, one query, or a notification */
#define ANSWER_US (ANSWER_S * SECOND)
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define RETRY_FIRST_US (100 * MS)   /* between two tries to connect, doubling */
#define RETRY_MAX_US (30 * SECOND)
#define WATCH_AGAIN_US (5 * SECOND) /* until the next try for a watch that another relay has */
#define WATCH_SOON_US (50 * MS)     /* for one that nobody has: a trigger just shared the lock, or its owner ends */
#define RATE 150                    /* notifications a second that a watch may bring */
#define BURST 50
#define FLOOD_US (500 * MS)         /* without a watch after more than that */

enum state { DOWN, CONNECTING, PREPARING, PROVING, LISTENING };
enum query { NO_QUERY, Q_LISTEN, Q_SETTINGS, Q_WATCH, Q_UNWATCH, Q_CHECK, Q_BURY, Q_UNLISTEN };
enum proof { NOT_PROVING, PROVER_CONNECTS, PROVER_ASKS, PROVER_DONE };

struct source {
    const outbox_wake_host *host;
    PGconn *conn, *prover;
    enum state state;
    enum query query;     /* whose result is awaited */
    enum proof proof;
    char token[40];       /* of the notification that proves the connection */
    unsigned serial;
    int heard;            /* it came */
    int watching;         /* the lock is ours */
    int other;            /* another relay has it */
    int pid, ghost;       /* of our session in the server; of the last one, which may still be there */
    int told;             /* that there are no wake-ups */
    int pooler;           /* the server's process is not the one that libpq was told of */
    int64_t now, answer_by, retry_at, retry_wait, check_at, watch_at, filled_at;
    double tokens;
    short want[OUTBOX_WAKE_FDS]; /* what libpq waits for */
    const char *why;      /* it does not work */
};

static void say(struct source *s, outbox_log_level level, const char *format, ...)
{
    char text[500];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    s->host->log(s->host->ctx, level, text);
}

/* ---- connections ---- */

static void drop(struct source *s)
{
    PQfinish(s->conn);
    PQfinish(s->prover);
    s->conn = s->prover = NULL;
    s->state = DOWN;
    s->query = NO_QUERY;
    s->proof = NOT_PROVING;
    s->ghost = s->pid > 0 && !s->pooler ? s->pid : s->ghost;
    s->watching = s->other = s->heard = s->pid = 0;
}

/* The first time it is a warning; while it lasts, nothing. */
static void fail(struct source *s, const char *why, const char *said)
{
    size_t n = strlen(said);

    while (n > 0 && (said[n - 1] == '\n' || said[n - 1] == '.'))
        n--;
    if (!s->told)
        say(s, OUTBOX_LOG_WARNING, "no notifications from PostgreSQL, the relay polls: %.*s", (int)n, said);
    s->why = why;
    s->told = 1;
    drop(s);
    s->retry_wait = s->retry_wait == 0 ? RETRY_FIRST_US : s->retry_wait * 2;
    if (s->retry_wait > RETRY_MAX_US)
        s->retry_wait = RETRY_MAX_US;
    s->retry_at = s->now + s->retry_wait;
}

/* The module's own words. */
static void fail_for(struct source *s, const char *why)
{
    fail(s, why, why);
}

/* What libpq or the server say names hosts and users: it is for the log alone. */
static void fail_as_told(struct source *s, const char *said)
{
    fail(s, "the server cannot be listened to: the log says why", said);
}

/* libpq would print what the server says unasked. */
static void ignore_notice(void *ctx, const PGresult *notice)
{
    (void)ctx;
    (void)notice;
}

/* NULL: failed, and told. */
static PGconn *connect_one(struct source *s, const char *name, int index)
{
    /* What comes in dbname, a whole connection string, goes before what stands in front of it. */
    const char *const keys[] = { "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
                                 "dbname", "fallback_application_name", NULL };
    const char *const values[] = { "10", "5", "3", "20000", s->host->where(s->host->ctx), name, NULL };
    PGconn *conn = PQconnectStartParams(keys, values, 1);

    if (conn == NULL || PQstatus(conn) == CONNECTION_BAD) {
        fail_as_told(s, conn != NULL ? PQerrorMessage(conn) : "out of memory");
        PQfinish(conn);
        return NULL;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    s->want[index] = POLLOUT;
    return conn;
}

/* Goes on connecting, when the socket is ready for it: libpq must not be asked before. 1 when connected. */
static int go_on(struct source *s, PGconn *conn, int index, short ready)
{
    PostgresPollingStatusType status = ready != 0 ? PQconnectPoll(conn) : PGRES_POLLING_ACTIVE;

    if (status == PGRES_POLLING_FAILED)
        fail_as_told(s, PQerrorMessage(conn));
    else if (status != PGRES_POLLING_ACTIVE)
        s->want[index] = status == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
    return status == PGRES_POLLING_OK;
}

static void ask(struct source *s, enum query query, const char *sql)
{
    if (!PQsendQuery(s->conn, sql)) {
        fail_as_told(s, PQerrorMessage(s->conn));
        return;
    }
    s->query = query;
    s->answer_by = s->now + ANSWER_US;
}

/* ---- the statements ---- */

/* Nothing that outlasts the transaction but LISTEN, as the session may turn out to be a pooler's. */
static void listen(struct source *s)
{
    char sql[200];

    snprintf(sql, sizeof(sql), "LISTEN \"%s\"; SELECT pg_backend_pid()", s->host->channel);
    ask(s, Q_LISTEN, sql);
}

/* Nothing may end a session that only waits, and nobody must keep it once we are gone. */
static void set_session(struct source *s)
{
    ask(s, Q_SETTINGS,
        "SELECT set_config(name, CASE name WHEN 'tcp_keepalives_idle' THEN '10' WHEN 'tcp_keepalives_interval' THEN '5' "
        "WHEN 'tcp_keepalives_count' THEN '3' WHEN 'tcp_user_timeout' THEN '20000' ELSE '0' END, false) "
        "FROM pg_settings WHERE name IN ('idle_session_timeout', 'statement_timeout', 'lock_timeout', "
        "'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout')");
}

static void notify_sql(struct source *s, char *sql, size_t size)
{
    snprintf(s->token, sizeof(s->token), "%d-%u", PQbackendPID(s->conn), ++s->serial);
    snprintf(sql, size, "SELECT pg_notify('%s', '%s:%s')", s->host->channel, s->host->target, s->token);
    s->heard = 0;
}

static void check(struct source *s)
{
    char sql[300];

    notify_sql(s, sql, sizeof(sql));
    ask(s, Q_CHECK, sql);
}

/* oid as the signed number that an advisory lock takes. */
static int lock_key(const struct source *s)
{
    return (int)(unsigned)strtoul(s->host->target, NULL, 10);
}

/* Answers 0: ours; -1: nobody's; the process that has it. */
static void watch(struct source *s)
{
    char sql[500];

    s->watch_at = s->now + WATCH_AGAIN_US;
    snprintf(sql, sizeof(sql),
             "SELECT CASE WHEN pg_try_advisory_lock(%d, 1) THEN 0 ELSE coalesce((SELECT pid FROM pg_locks WHERE "
             "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND "
             "classid = %s AND objid = 1 AND objsubid = 2 AND mode = 'ExclusiveLock' AND granted LIMIT 1), -1) END",
             lock_key(s), s->host->target);
    ask(s, Q_WATCH, sql);
}

/* Our last session is still there, and has the watch. */
static void bury(struct source *s)
{
    char sql[100];

    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", s->ghost);
    s->ghost = 0;
    ask(s, Q_BURY, sql);
}

static void watch_answer(struct source *s, int answer)
{
    s->watching = answer == 0;
    s->other = answer > 0 && answer != s->ghost;
    if (s->watching)
        s->host->wake(s->host->ctx, 0); /* what came before the lock was there to be seen */
    else if (!s->other)
        s->watch_at = s->now + WATCH_SOON_US;
    if (answer <= 0 || s->other)
        s->ghost = 0;
}

/* hand_over: another relay may take it. */
static void unwatch(struct source *s, int hand_over)
{
    char sql[300];
    int n = snprintf(sql, sizeof(sql), "SELECT pg_advisory_unlock(%d, 1)", lock_key(s));

    if (hand_over)
        snprintf(sql + n, sizeof(sql) - (size_t)n, ", pg_notify('%s', '%s:watch')", s->host->channel, s->host->target);
    s->watching = 0;
    s->watch_at = hand_over ? s->now : s->now + FLOOD_US; /* and when it is quiet again */
    ask(s, Q_UNWATCH, sql);
}

/* ---- what comes in ---- */

/* Whether this notification is one too many. */
static int too_often(struct source *s)
{
    s->tokens += (double)(s->now - s->filled_at) * RATE / SECOND;
    s->tokens = s->tokens > BURST ? BURST : s->tokens;
    s->filled_at = s->now;
    if (s->tokens < 1)
        return 1;
    s->tokens -= 1;
    return 0;
}

static void take_notification(struct source *s, const PGnotify *n, int *hint, int *often)
{
    size_t length = strlen(s->host->target);
    const char *payload = n->extra, *tag = payload + length;

    if (payload[0] == '\0') {
        *hint = 1; /* by hand */
    } else if (strncmp(payload, s->host->target, length) != 0) {
        return; /* another outbox on this channel */
    } else if (tag[0] == '\0') {
        *hint |= !s->other;
        *often |= s->watching && too_often(s);
    } else if (strcmp(tag, ":watch") == 0) {
        if (n->be_pid != PQbackendPID(s->conn)) {
            s->other = 0;
            s->watch_at = s->now;
        }
    } else if (tag[0] == ':' && strcmp(tag + 1, s->token) == 0) {
        s->heard = 1;
    }
}

static void take_notifications(struct source *s)
{
    PGnotify *n;
    int hint = 0, often = 0;

    while ((n = PQnotifies(s->conn)) != NULL) {
        take_notification(s, n, &hint, &often);
        PQfreemem(n);
    }
    if (hint)
        s->host->wake(s->host->ctx, 1);
    if (often && s->query == NO_QUERY)
        unwatch(s, 0);
}

static void prove(struct source *s);

static void lost_proof(struct source *s)
{
    s->retry_wait = RETRY_MAX_US; /* it will not change soon */
    fail_for(s, s->pooler ? "a notification got lost on its way: a connection pooler stands between that does not pass "
                             "on LISTEN; let wake.conninfo lead to the server itself"
                            : "a notification got lost on its way");
}

static void take_result(struct source *s, const PGresult *r)
{
    const char *value = PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "";

    if (PQresultStatus(r) == PGRES_FATAL_ERROR) {
        fail_as_told(s, PQresultErrorMessage(r));
    } else if (s->query == Q_LISTEN && PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1) {
        s->pid = atoi(value);
        s->pooler = s->pid != PQbackendPID(s->conn);
    } else if (s->query == Q_WATCH && PQntuples(r) == 1) {
        watch_answer(s, atoi(value));
    }
}

/* All results of a query, once they are there. */
static void take_results(struct source *s)
{
    enum query query = s->query;

    while (s->query != NO_QUERY && s->state != DOWN && !PQisBusy(s->conn)) {
        PGresult *r = PQgetResult(s->conn);

        if (r == NULL) {
            s->query = NO_QUERY;
            s->answer_by = INT64_MAX;
        } else {
            take_result(s, r);
        }
        PQclear(r);
    }
    if (query == Q_LISTEN && s->query == NO_QUERY && s->state == PREPARING)
        prove(s);
    if (query == Q_UNLISTEN && s->query == NO_QUERY && s->state == PROVING)
        lost_proof(s);
    if (query == Q_CHECK && s->query == NO_QUERY && s->state == LISTENING && s->token[0] != '\0')
        s->answer_by = s->now + ANSWER_US; /* its notification comes with it or soon after */
}

/* ---- proving the connection ---- */

static void prove(struct source *s)
{
    s->state = PROVING;
    s->heard = 0;
    s->answer_by = s->now + ANSWER_US;
    s->prover = connect_one(s, "outbox wake-up, proof", 1);
    if (s->prover != NULL)
        s->proof = PROVER_CONNECTS;
}

static void prover_asks(struct source *s)
{
    char sql[300];

    notify_sql(s, sql, sizeof(sql));
    s->proof = PROVER_ASKS;
    if (!PQsendQuery(s->prover, sql))
        fail_as_told(s, PQerrorMessage(s->prover));
}

static void prover_listens(struct source *s)
{
    PGresult *r;

    if (!PQconsumeInput(s->prover)) {
        fail_as_told(s, PQerrorMessage(s->prover));
        return;
    }
    while (s->proof == PROVER_ASKS && !PQisBusy(s->prover)) {
        r = PQgetResult(s->prover);
        if (r == NULL)
            s->proof = PROVER_DONE;
        else if (PQresultStatus(r) == PGRES_FATAL_ERROR)
            fail_as_told(s, PQresultErrorMessage(r));
        PQclear(r);
    }
    if (s->proof == PROVER_DONE) {
        PQfinish(s->prover);
        s->prover = NULL;
    }
}

static void proved(struct source *s)
{
    PQfinish(s->prover);
    s->prover = NULL;
    s->proof = NOT_PROVING;
    s->state = LISTENING;
    s->token[0] = '\0';
    s->answer_by = INT64_MAX;
    s->watch_at = s->now;
    s->retry_wait = 0;
    s->check_at = s->now + s->host->check_interval;
    if (s->told)
        say(s, OUTBOX_LOG_INFO, "notifications from PostgreSQL work again");
    s->told = 0;
    s->tokens = BURST;
    s->filled_at = s->now;
    s->host->wake(s->host->ctx, 0); /* whatever happened before */
    set_session(s);
}

/* ---- steps ---- */

static void late(struct source *s)
{
    if (s->state == PROVING && s->proof == PROVER_DONE && s->pooler && s->query == NO_QUERY)
        ask(s, Q_UNLISTEN, "UNLISTEN *"); /* for whoever gets the session next */
    else if (s->state == PROVING && s->proof == PROVER_DONE)
        lost_proof(s);
    else if (s->state == LISTENING && s->query == NO_QUERY)
        fail_for(s, "the connection's own notification did not arrive");
    else
        fail_for(s, "no answer for " TEXT(ANSWER_S) " seconds");
}

static void listen_on(struct source *s, outbox_wake_mood mood)
{
    if (s->heard && s->token[0] != '\0') { /* the check went well */
        s->token[0] = '\0';
        s->answer_by = s->query == NO_QUERY ? INT64_MAX : s->answer_by;
    }
    if (s->query != NO_QUERY || s->token[0] != '\0')
        return;
    if (s->ghost != 0 && !s->watching && !s->other && s->watch_at > s->now) {
        bury(s);
    } else if (s->now >= s->check_at) {
        s->check_at = s->now + s->host->check_interval;
        check(s);
    } else if (s->watching && mood == OUTBOX_WAKE_BUSY) {
        unwatch(s, 1);
    } else if (!s->watching && mood == OUTBOX_WAKE_QUIET && s->now >= s->watch_at) {
        watch(s);
    }
}

static void start(struct source *s)
{
    s->conn = connect_one(s, "outbox wake-up", 0);
    if (s->conn == NULL)
        return;
    s->answer_by = s->now + ANSWER_US;
    s->state = CONNECTING;
}

static void read_all(struct source *s)
{
    if (!PQconsumeInput(s->conn)) {
        fail_as_told(s, PQerrorMessage(s->conn));
        return;
    }
    take_results(s);
    if (s->state >= PREPARING)
        take_notifications(s);
}

static void advance(struct source *s, outbox_wake_mood mood, const short *ready)
{
    if (s->state == DOWN && s->now >= s->retry_at) {
        start(s);
    } else if (s->state == CONNECTING && go_on(s, s->conn, 0, ready[0])) {
        s->state = PREPARING;
        listen(s);
    }
    if (s->state >= PREPARING)
        read_all(s);
    if (s->proof == PROVER_CONNECTS && go_on(s, s->prover, 1, ready[1]))
        prover_asks(s);
    if (s->proof == PROVER_ASKS)
        prover_listens(s);
    if (s->state == PROVING && s->heard && s->query == NO_QUERY)
        proved(s);
    if (s->state == LISTENING)
        listen_on(s, mood);
    if (s->state != DOWN && s->now >= s->answer_by)
        late(s);
}

static int64_t next_step(const struct source *s, outbox_wake_mood mood)
{
    int64_t until = s->answer_by;

    if (s->state == DOWN)
        return s->retry_at;
    if (s->state == LISTENING && s->query == NO_QUERY && s->token[0] == '\0') {
        until = s->check_at < until ? s->check_at : until;
        if (!s->watching && mood == OUTBOX_WAKE_QUIET && s->watch_at < until)
            until = s->watch_at;
    }
    return until;
}

static void source_step(void *self, outbox_wake_mood mood, outbox_wake_wait *wait)
{
    struct source *s = self;

    s->now = wait->now;
    advance(s, mood, wait->revents);
    wait->fd[0] = s->conn != NULL ? PQsocket(s->conn) : -1;
    wait->fd[1] = s->prover != NULL ? PQsocket(s->prover) : -1;
    wait->events[0] = s->want[0];
    wait->events[1] = s->want[1];
    wait->until = next_step(s, mood);
    wait->covered = s->state == LISTENING && s->watching;
    wait->state = s->state == LISTENING ? OUTBOX_WAKE_UP : OUTBOX_WAKE_DOWN;
    snprintf(wait->why, sizeof(wait->why), "%s", s->told ? s->why : "");
}

static int source_open(const outbox_wake_host *host, void **self, outbox_error **err)
{
    PQconninfoOption *words;
    struct source *s;

    if (host->conninfo[0] == '\0')
        return outbox_error_new(err, OUTBOX_ERR_CONF, "wake.no_conninfo",
                                "where the server is does not follow from the DSN: set wake.conninfo");
    words = PQconninfoParse(host->conninfo, NULL); /* libpq's own words for what is wrong repeat what it was given */
    if (words == NULL)
        return outbox_error_new(err, OUTBOX_ERR_CONF, "wake.bad_conninfo",
                                "wake.conninfo, or what the DSN gives to libpq, is no connection string of libpq's");
    PQconninfoFree(words);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "memory.exhausted", "out of memory");
    s->host = host;
    s->answer_by = INT64_MAX;
    s->why = "";
    *self = s;
    return OUTBOX_OK;
}

static void source_close(void *self)
{
    drop(self);
    free(self);
}

OUTBOX_API const outbox_wake_ops *outbox_wake_postgresql(void);

const outbox_wake_ops *outbox_wake_postgresql(void)
{
    static const outbox_wake_ops ops = {
        sizeof(ops), OUTBOX_WAKE_ABI, "postgresql", source_open, source_step, source_close,
    };

    return &ops;
}
