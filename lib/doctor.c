/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor: one table of what is asked, and how an answer becomes a finding. To ask more, add a row; when it takes a
 * statement, that is a probe (drivers/probes.h), when it takes more, a function in doctor_look.c. What is no fact has a
 * meaning, and a command unless the probe or the function brings one. */
#include "doctor.h"
#include "buffer.h"
#include "conf_internal.h"
#include "error_internal.h"
#include "log.h"
#include "sized.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_US (300 * INT64_C(1000000))
#define FACT OUTBOX_FACT
#define WARNING OUTBOX_WARNING
#define FAILURE OUTBOX_FAILURE
#define LOOK(function) -1, outbox_doctor__##function
#define ASK(probe) probe, NULL

/* In the order in which it is told. */
static const struct check checks[] = {
    { "library.version", FACT, "which library this is", 0, LOOK(library), "liboutbox %s", NULL, NULL, NULL },
    { "odbc.manager", FACT, "which driver manager this is", 0, LOOK(manager), "unixODBC, interface %s", NULL, NULL, NULL },
    { "odbc.driver", FACT, "which ODBC driver this is", 0, LOOK(driver), "ODBC driver %s", NULL, NULL, NULL },
    { "server.version", FACT, "which server this is", 0, LOOK(server), "%s", NULL, NULL, NULL },
    { "server.isolation", FACT, "which isolation level is the default", 0, LOOK(isolation), "%s", NULL, NULL, NULL },
    { "outbox.dialect", FACT, "which dialect is spoken", 0, LOOK(dialect), "%s", NULL, NULL, NULL },
    { "outbox.schema", FACT, "which tables there are", 0, LOOK(schema), "%s", NULL, NULL, NULL },
    { "server.clock", FACT, "what the server's clock says", 1, LOOK(clock), "%s", NULL, NULL, NULL },
    { "outbox.wake", FACT, "how relays are woken", 1, LOOK(wake), "%s", NULL, NULL, NULL },
    { "publisher.reachable", FACT, "whether the broker can be reached", -1, LOOK(reachable),
      "%s can be reached; nothing was sent", NULL, NULL, NULL },
    { "pooler.transaction", FAILURE, "whether a pooler is in front", 0, LOOK(pooler),
      "two connections are one session of the server (%s): a pooler that shares sessions is in front",
      "settings and notifications get lost or reach others; applications may enqueue so, relays must not connect so",
      "let relays and outboxctl connect to the server itself, or through a pooler in session mode, which the command tries",
      "outboxctl doctor '<DSN without the pooler>'" },
    { "server.readonly", FAILURE, "whether the server takes writes", 1, LOOK(readonly), "the database takes no writes: %s",
      "nothing can be enqueued, leased or settled", "connect to the primary server; if this is the primary, make it writable",
      "outboxctl doctor '<DSN of the primary server>'" },
    { "clock.skew", WARNING, "whether the clocks agree", 1, LOOK(skew), "the server's clock and this machine's differ by %t",
      "leases and waits follow the server's clock and are right; ids, and times that are given as times, are not",
      "let a time service (NTP) set the clocks of both", "timedatectl set-ntp true" },
    { "clock.jump", FAILURE, "whether the server's clock went back", 1, ASK(A_FUTURE),
      "%s lie up to %t in the future (%c)",
      "the server's clock was put back: leases of dead relays and retries last longer by as much",
      "wait until the clock is there, or end the leases once no relay runs",
      "UPDATE {lanes} SET lease_until = 0 WHERE owner IS NOT NULL" },
    { "server.encoding", WARNING, "how the server keeps text", 0, ASK(A_ENCODING), "the database keeps text as %s, not as UTF-8",
      "topics, keys, headers and errors with other letters are refused or, with SQL_ASCII, not checked; payloads are bytes "
      "and safe",
      "move to a database that keeps UTF-8, which the command makes", NULL },
    { "permission.missing", FAILURE, "which rights are missing", 1, LOOK(rights), "%s",
      "the error database.permission, as soon as that is done",
      "grant it, to this role or to one that it is a member of; permissions.md has all that each needs", NULL },
    { "index.missing", FAILURE, "whether all indexes are there", 1, ASK(A_INDEXES), "the index %s is missing or invalid",
      "relays read whole tables, and get slower with each message", "make it; drop one that is invalid first", NULL },
    { "sequence.cached", FAILURE, "whether messages are numbered in order", 1, ASK(A_CACHED),
      "each session takes %d numbers at a time from the sequence %s",
      "a message gets a lower number than others that were written before it: keys are out of order",
      "let it give one at a time, and connect anew; on YugabyteDB set ysql_sequence_cache_minval to 1 before", NULL },
    { "table.distributed", FAILURE, "whether the tables are on one node", 1, LOOK(distributed),
      "the table %s is spread over the nodes of a cluster",
      "transactions and numbers are each node's own there: messages can be lost, or be out of order",
      "make it a local table of the coordinator", NULL },
    { "wake.missing", FAILURE, "whether the wake-up module is there", 1, LOOK(no_wake), "wake.listen is on, but %s",
      "relays do not start",
      "install the module, or set wake.listen to auto in the settings of relays, which the command tries",
      "outboxctl doctor --set wake.listen=auto" },
    { "poll.slow", WARNING, "how often relays look", 1, LOOK(poll), "relays look every %t, and nothing wakes them",
      "a message waits as long", "set relay.poll_interval to a second or so in the settings of relays, which the command tries",
      "outboxctl doctor --set relay.poll_interval=1s" },
    { "lane.stale", WARNING, "whether lanes are held by the dead", 1, ASK(A_STALE),
      "%s holds %c lanes, and its leases ended %t ago",
      "it crashed, hangs or lost its connection; a message of its may have been sent and will be sent again",
      "nothing, when another relay runs: it takes the lanes over once they have work; else start one, with its publisher and "
      "its settings", "systemctl start outboxd" },
    { "relay.missing", FAILURE, "whether a relay is there", 1, ASK(A_UNATTENDED),
      "messages have been waiting in %c lanes for up to %t, and no relay holds any lane",
      "no relay runs on this outbox, or none gets its messages through", "start one, or see its log: journalctl -u outboxd",
      "systemctl start outboxd" },
    { "relay.slow", WARNING, "whether relays keep up", 1, ASK(A_SLOW),
      "messages have been waiting in %c lanes for up to %t, while relays are busy with others",
      "more is written than is published",
      "see what takes the publisher so long; raise relay.workers or relay.batch_size, or let another relay help until they caught "
      "up, with the configuration of the first",
      "outboxd --config <file> --once --set relay.workers=8 --set relay.batch_size=1000" },
    { "publisher.unreachable", FAILURE, "whether the broker can be reached", -1, LOOK(unreachable), "%s",
      "nothing is published; messages wait, and are charged no attempts",
      "see whether the broker runs, then whether the URL, the user and the password are right; relays go on by themselves",
      "outboxctl doctor --publisher <url>" },
    { "publisher.failing", WARNING, "whether the publisher gets messages through", 1, ASK(A_FAILING),
      "%c messages have failed three times and more, the oldest being %t old; one error is: %s",
      "the broker cannot be reached, or does not like them; they die when their attempts are used up",
      "see what the errors say (outboxctl list --state retry has all) and mend that; then send them at once, instead of waiting",
      "outboxctl redrive --all --state retry" },
    { "message.dead", WARNING, "whether messages died", 1, ASK(A_DEAD), "%c messages are dead, the first for %t",
      "they are not sent any more",
      "see why (outboxctl list --state dead) and mend that, then send them again or discard them",
      "outboxctl redrive --all" },
    { "key.blocked", WARNING, "whether keys are blocked", 1, ASK(A_BLOCKED),
      "%c messages wait behind dead ones of their keys, the first for %t", "they wait until those are redriven or discarded",
      "redrive or discard the dead ones; ordering.dead=continue lets later ones pass", "outboxctl redrive --all" },
    { "cleaner.missing", WARNING, "whether a cleaner is there", 1, ASK(A_UNCLEANED),
      "what was published up to %t ago is still there, past clean.retention, and no cleaner ran lately",
      "the tables grow", "let a relay run with relay.cleaner on and clean.interval above 0, or clean by hand",
      "outboxctl clean" },
    { "transaction.long", WARNING, "how old open transactions are", 1, ASK(A_TRANSACTIONS),
      "%s has had a transaction with writes open for %t", "its messages, and locks if it has any, wait for its end",
      "let the application end it; in need, end it for it", NULL },
    { "transaction.long", WARNING, "whether somebody keeps the database locked", 1, LOOK(locked), "%s",
      "nobody else can write until that transaction ends",
      "find the program that has the file open, which the command shows, and let it commit or end it", "fuser -v <file>" },
    { "vacuum.blocked", WARNING, "what keeps dead rows from being removed", 1, ASK(A_SNAPSHOTS),
      "%s has kept a snapshot for %t", "rows that were deleted since cannot be vacuumed, and reads get slower",
      "let it end; in need, end it", NULL },
    { "table.bloat", WARNING, "how many dead rows there are", 1, ASK(A_BLOAT), "%s has %d dead rows, more than living ones",
      "claims read past them", "vacuum it, and see why autovacuum does not", NULL },
    { "doctor.blind", FACT, "what the publisher cannot tell", -1, LOOK(untold),
      "the publisher %s cannot tell whether its broker can be reached", NULL, NULL, NULL },
    { "doctor.blind", FACT, "what is not asked of this database", 1, LOOK(unasked), "%s", NULL, NULL, NULL },
};

#define CHECKS (sizeof(checks) / sizeof(checks[0]))

const struct check *outbox_doctor__checks(size_t *count)
{
    *count = CHECKS;
    return checks;
}

/* ---- Telling ---- */

static int add(struct outbox_buffer *out, const char *text)
{
    return outbox_buffer__add(out, text, strlen(text));
}

static int fill(const char *says, const struct found *f, struct outbox_buffer *out)
{
    char number[OUTBOX_LOG_SECONDS];
    int good = 1;

    for (; *says != '\0' && good; says++) {
        if (*says != '%') {
            good = outbox_buffer__add(out, says, 1);
            continue;
        }
        says++;
        snprintf(number, sizeof(number), "%lld", (long long)(*says == 'c' ? f->count : f->number));
        if (*says == 't')
            outbox_log__seconds(f->number, number);
        good = add(out, *says != 's' ? number : f->subject != NULL ? f->subject : "");
    }
    return good;
}

int outbox_doctor__hand_over(struct doctor *d, const outbox_finding *finding)
{
    d->stopped = d->fn(d->user, finding) != 0;
    return d->stopped ? OUTBOX_NONE : OUTBOX_OK;
}

int outbox_doctor__tell(struct doctor *d, const struct check *c, const struct found *found, outbox_error **err)
{
    outbox_finding finding = { sizeof(finding), c->name, c->severity, NULL, c->meaning, c->advice, found->command };
    struct outbox_buffer text = { NULL, 0, 0 };
    struct outbox_sqltext command = { NULL, NULL, 0 };
    int rc = fill(c->says, found, &text) ? OUTBOX_OK : outbox_error__nomem(err);

    if (rc == OUTBOX_OK && found->command == NULL && c->command != NULL && d->conn != NULL) {
        rc = outbox_sqltext__render(c->command, d->conn->names, 0, &command, err);
        finding.command = command.sql;
    }
    finding.text = text.data;
    if (rc == OUTBOX_OK)
        rc = outbox_doctor__hand_over(d, &finding);
    outbox_buffer__free(&text);
    outbox_sqltext__free(&command);
    return rc;
}

/* A check that failed is a finding too: nobody may think that all is well. */
static int tell_blind(struct doctor *d, const struct check *c, outbox_error *why, outbox_error **err)
{
    int allowed = d->options.roles == OUTBOX_ROLE_WRITER && strcmp(outbox_error_name(why), "database.permission") == 0;
    const struct check blind = { "doctor.blind", allowed ? FACT : WARNING, NULL, 0, -1, NULL, "%s",
                                 "what is wrong there is not told",
                                 "ask again as somebody who may see it, such as the tables' owner",
                                 "outboxctl doctor '<DSN of that user>'" };
    struct outbox_buffer text = { NULL, 0, 0 };
    struct found found = { NULL, NULL, 0, 1 };
    int rc;

    if (outbox_error_status(why) == OUTBOX_ERR_LOST || outbox_error_status(why) == OUTBOX_ERR_NOMEM) {
        rc = outbox_doctor__tell_error(d, why, err);
        return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
    }
    if (!add(&text, "could not find out ") || !add(&text, c->question) || !add(&text, ": ") ||
        !add(&text, outbox_error_message(why))) {
        rc = outbox_error__nomem(err);
    } else {
        found.subject = text.data;
        rc = outbox_doctor__tell(d, &blind, &found, err);
    }
    outbox_buffer__free(&text);
    outbox_error_free(why);
    return rc;
}

/* ---- Asking ---- */

struct asking {
    struct doctor *d;
    const struct check *check;
    outbox_arena arena;
};

static int take_finding(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct asking *a = ctx;
    struct found found = { cells[0].data, cells[1].data, cells[2].number, cells[3].number };
    int rc = found.count > 0 ? outbox_doctor__tell(a->d, a->check, &found, err) : OUTBOX_OK;

    outbox_arena__reset(&a->arena);
    return rc;
}

static const char *find_probe(const outbox_conn *conn, enum outbox_probe probe)
{
    const char *sql = conn->driver.probes != NULL ? conn->driver.probes[probe] : NULL;

    /* The generic driver on a known server has tables of its own. */
    if (probe == A_INDEXES && strcmp(conn->driver.dialect, "generic") == 0)
        return NULL;
    return sql != NULL ? sql : outbox_probes__generic[probe];
}

int outbox_doctor__is_known(const outbox_conn *conn, enum outbox_probe probe)
{
    return find_probe(conn, probe) != NULL;
}

const char *outbox_doctor__probe(const outbox_conn *conn, enum outbox_probe probe)
{
    const char *sql = find_probe(conn, probe);

    return sql != NULL && sql[0] != '\0' ? sql : NULL;
}

static void set_args(const struct doctor *d, struct outbox_args *args)
{
    int64_t retention = outbox_conf__number(d->conf, CONF_CLEAN_RETENTION);

    outbox_args__int(args, P_AGE, d->options.patience_us);
    outbox_args__int(args, P_BOUND, retention < CONF_FOREVER / 4 ? retention + d->options.patience_us : CONF_FOREVER / 4);
    outbox_args__text(args, P_NAME, outbox_conf__text(d->conf, CONF_SCHEMA_NAME));
}

int outbox_doctor__tell_rows(struct doctor *d, const struct check *c, enum outbox_probe probe, outbox_error **err)
{
    struct asking asking = { .d = d, .check = c };
    struct outbox_result result = { OUTBOX_PROBE_TYPES, &asking.arena, take_finding, &asking, 0 };
    struct outbox_args args = { .set = 0 };
    const char *sql = outbox_doctor__probe(d->conn, probe);
    int rc = OUTBOX_OK;

    set_args(d, &args);
    if (sql != NULL)
        rc = outbox_conn__run_once(d->conn, sql, &args, "ask the database", &result, err);
    outbox_arena__free(&asking.arena);
    return rc;
}

static int take_subject(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    char **subject = ctx;

    (void)err;
    free(*subject);
    *subject = strdup(cells[0].data != NULL ? cells[0].data : "");
    return OUTBOX_NONE;
}

int outbox_doctor__ask(struct doctor *d, outbox_conn *conn, enum outbox_probe probe, char **subject, outbox_error **err)
{
    outbox_arena arena = { NULL };
    struct outbox_result result = { OUTBOX_PROBE_TYPES, &arena, take_subject, subject, 0 };
    struct outbox_args args = { .set = 0 };
    const char *sql = outbox_doctor__probe(conn, probe);
    int rc = OUTBOX_OK;

    *subject = NULL;
    set_args(d, &args);
    if (sql != NULL)
        rc = outbox_conn__run_once(conn, sql, &args, "ask the server what it is", &result, err);
    outbox_arena__free(&arena);
    if (rc == OUTBOX_OK && *subject == NULL && result.rows == 0)
        *subject = strdup("");
    return rc != OUTBOX_OK || *subject != NULL ? rc : outbox_error__nomem(err);
}

static int run(struct doctor *d, outbox_error **err)
{
    size_t i;
    int rc = OUTBOX_OK;

    for (i = 0; i < CHECKS && rc == OUTBOX_OK && !d->stopped; i++) {
        const struct check *c = &checks[i];
        outbox_error *why = NULL;

        if (c->tables >= 0 && (d->conn == NULL || (c->tables > 0 && d->no_schema)))
            continue;
        rc = c->look != NULL ? c->look(d, c, &why) : outbox_doctor__tell_rows(d, c, (enum outbox_probe)c->probe, &why);
        if (rc < 0)
            rc = tell_blind(d, c, why, err);
    }
    return rc < 0 ? rc : OUTBOX_OK;
}

static int start(struct doctor *d, const outbox_doctor_options *options, const outbox_conf *conf, outbox_error **err)
{
    size_t size = options != NULL ? options->size : 0;

    if (d->dsn == NULL || d->dsn[0] == '\0' || d->fn == NULL || size > sizeof(d->options) * 4 ||
        (options != NULL && size < sizeof(size_t)))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "doctor.incomplete",
                                 "a DSN and a callback are needed, and options begin as OUTBOX_DOCTOR_OPTIONS_INIT");
    if (options != NULL)
        outbox_sized__take(&d->options, sizeof(d->options), options, size);
    if (d->options.patience_us < 0 || d->options.roles > 7)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "doctor.bad_value", "the options have a role or a time that is none");
    if (d->options.roles == 0)
        d->options.roles = OUTBOX_ROLE_WRITER | OUTBOX_ROLE_RELAY | OUTBOX_ROLE_ADMIN;
    if (d->options.patience_us == 0)
        d->options.patience_us = PATIENCE_US;
    return outbox_conf__copy(conf, &d->conf, err);
}

int outbox_diagnose(const char *dsn, const outbox_conf *conf, const outbox_doctor_options *options, outbox_finding_fn fn,
                    void *user, outbox_error **err)
{
    struct doctor d = { .dsn = dsn, .fn = fn, .user = user };
    outbox_error *why = NULL;
    int rc = start(&d, options, conf, err);

    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(d.conf, "conn.create", "off", err);
    if (rc == OUTBOX_OK) {
        d.conf->only_looks = 1;
        rc = outbox_conn_open(dsn, d.conf, &d.conn, &why);
        if (rc != OUTBOX_OK)
            rc = outbox_doctor__tell_error(&d, why, err);
        if (rc == OUTBOX_OK)
            rc = run(&d, err);
    }
    outbox_publisher_free(d.publisher);
    outbox_error_free(d.unreached);
    outbox_conn_close(d.conn);
    outbox_conf_free(d.conf);
    return rc < 0 ? rc : OUTBOX_OK;
}
