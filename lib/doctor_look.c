/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor finds out by more than one statement. */
#include "doctor.h"
#include "error_internal.h"
#include "log.h"
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <outbox/version.h>

#define SKEW_US (5 * INT64_C(1000000))
#define QUARTER_US (900 * INT64_C(1000000))
#define POLL_US (5 * INT64_C(1000000))
#define POOLER_TRIES 3

static int tell(struct doctor *d, const struct check *c, const char *subject, int64_t number, outbox_error **err)
{
    struct found found = { subject, NULL, number, 1 };

    return outbox_doctor__tell(d, c, &found, err);
}

int outbox_doctor__library(struct doctor *d, const struct check *c, outbox_error **err)
{
    return tell(d, c, outbox_version(), 0, err);
}

int outbox_doctor__manager(struct doctor *d, const struct check *c, outbox_error **err)
{
    char version[64];

    outbox_odbc__info(d->conn->odbc, OUTBOX_INFO_MANAGER, version, sizeof(version));
    return tell(d, c, version, 0, err);
}

int outbox_doctor__driver(struct doctor *d, const struct check *c, outbox_error **err)
{
    char text[200], name[64], version[64];

    outbox_odbc__info(d->conn->odbc, OUTBOX_INFO_DRIVER, name, sizeof(name));
    outbox_odbc__info(d->conn->odbc, OUTBOX_INFO_DRIVER_VERSION, version, sizeof(version));
    snprintf(text, sizeof(text), "%s %s", name, version);
    return tell(d, c, text, 0, err);
}

int outbox_doctor__server(struct doctor *d, const struct check *c, outbox_error **err)
{
    char text[300], name[100], version[100], *says;
    int rc = outbox_doctor__ask(d, d->conn, A_VERSION, &says, err);

    if (rc == OUTBOX_OK) {
        outbox_odbc__info(d->conn->odbc, OUTBOX_INFO_SERVER, name, sizeof(name));
        outbox_odbc__info(d->conn->odbc, OUTBOX_INFO_SERVER_VERSION, version, sizeof(version));
        snprintf(text, sizeof(text), "%s %.150s", name, says[0] != '\0' ? says : version);
        rc = tell(d, c, text, 0, err);
    }
    free(says);
    return rc;
}

int outbox_doctor__isolation(struct doctor *d, const struct check *c, outbox_error **err)
{
    char text[200], by_driver[40], *level;
    int rc = outbox_doctor__ask(d, d->conn, A_ISOLATION, &level, err), asked = rc == OUTBOX_OK && level[0] != '\0';

    outbox_odbc__isolation(d->conn->odbc, by_driver, sizeof(by_driver));
    if (asked || by_driver[0] != '\0')
        snprintf(text, sizeof(text), "transactions of applications are %.60s%s%s", asked ? level : by_driver,
                 asked ? "" : ", as the ODBC driver says",
                 d->conn->driver.setup != NULL ? ", those of relays read committed" : "");
    else
        snprintf(text, sizeof(text), "the ODBC driver does not say which isolation level transactions of applications get");
    if (rc == OUTBOX_OK)
        rc = tell(d, c, text, 0, err);
    free(level);
    return rc;
}

/* ---- Clocks ---- */

static int64_t here(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int take_number(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int64_t *)ctx = cells[0].number;
    return OUTBOX_OK;
}

/* How far the server's clock is ahead of this machine's, as far as the way there and back lets one tell. */
static int measure(struct doctor *d, int64_t *ahead, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_number, ahead, 0 };
    struct outbox_args args = { .set = 0 };
    int64_t before = here(), after;
    int rc = outbox_conn__run(d->conn, Q_CLOCK, &args, 0, "ask the database for the time", &result, err);

    after = here();
    if (*ahead > after)
        *ahead -= after;
    else if (*ahead < before)
        *ahead -= before;
    else
        *ahead = 0;
    return rc;
}

int outbox_doctor__clock(struct doctor *d, const struct check *c, outbox_error **err)
{
    char text[300], gap[OUTBOX_LOG_SECONDS], *zone;
    int64_t ahead = 0;
    int rc = outbox_doctor__ask(d, d->conn, A_ZONE, &zone, err);

    if (rc == OUTBOX_OK)
        rc = measure(d, &ahead, err);
    if (rc == OUTBOX_OK) {
        outbox_log__seconds(ahead < 0 ? -ahead : ahead, gap);
        snprintf(text, sizeof(text), "the server's clock is %s %s this machine's%s%.80s; times are kept in UTC", gap,
                 ahead < 0 ? "behind" : "ahead of", zone[0] != '\0' ? ", sessions are in time zone " : "", zone);
        rc = tell(d, c, text, 0, err);
    }
    free(zone);
    return rc;
}

/* Time zones differ by quarters of an hour. */
static int is_zone(int64_t gap)
{
    return gap > QUARTER_US / 2 && (gap + SKEW_US) % QUARTER_US < 2 * SKEW_US;
}

int outbox_doctor__skew(struct doctor *d, const struct check *c, outbox_error **err)
{
    struct check zoned = *c;
    int64_t ahead = 0, gap;
    int rc = measure(d, &ahead, err);

    gap = ahead < 0 ? -ahead : ahead;
    if (rc != OUTBOX_OK || gap < SKEW_US)
        return rc;
    if (d->conn->driver.zoned != NULL && is_zone(gap)) {
        zoned.advice = d->conn->driver.zoned;
        zoned.command = "systemctl edit <service>"; /* for its Environment=TZ=UTC */
    }
    return tell(d, &zoned, NULL, gap, err);
}

/* ---- The outbox ---- */

int outbox_doctor__dialect(struct doctor *d, const struct check *c, outbox_error **err)
{
    const struct outbox_driver *driver = &d->conn->driver;
    char text[300];

    snprintf(text, sizeof(text), "dialect %s%s%s; it claims %s%s", driver->name,
             d->conn->relative[0] != '\0' ? ", because the server is " : "", d->conn->relative,
             outbox_conn__sql(d->conn, Q_CLAIM) != NULL ? "in one statement" : "in two steps",
             (driver->flags & OUTBOX_DRIVER_POSITION) != 0 ? ", and can settle by position" : ", and settles by delete");
    return tell(d, c, text, 0, err);
}

/* Everything after it that needs the tables is not asked when this fails. */
int outbox_doctor__schema(struct doctor *d, const struct check *c, outbox_error **err)
{
    outbox_error *why = NULL;
    char text[200];
    int rc = outbox_conn__load(d->conn, &why);

    d->no_schema = rc != OUTBOX_OK;
    if (rc != OUTBOX_OK)
        return outbox_doctor__tell_error(d, why, err);
    snprintf(text, sizeof(text), "tables of version %d, made by the dialect %s: %d lanes, settled by %s", d->conn->version,
             d->conn->dialect, d->conn->lanes, d->conn->position ? "position" : "delete");
    return tell(d, c, text, 0, err);
}

/* Citus says that it is PostgreSQL, and keeps a list. */
int outbox_doctor__distributed(struct doctor *d, const struct check *c, outbox_error **err)
{
    char *list = NULL;
    int rc = outbox_doctor__ask(d, d->conn, A_CITUS, &list, err);

    if (rc == OUTBOX_OK && list[0] != '\0')
        rc = outbox_doctor__tell_rows(d, c, A_DISTRIBUTED, err);
    free(list);
    return rc;
}

/* ---- Wake-ups ---- */

struct wake {
    outbox_arena arena;
    const char *channel;
    outbox_error *why; /* no module */
    int module, file;  /* what there is */
};

static int take_wake(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    ((struct wake *)ctx)->channel = cells[1].data;
    return OUTBOX_OK;
}

/* Free w->arena and w->why whatever it returns. */
static int find_wake(struct doctor *d, struct wake *w, outbox_error **err)
{
    struct outbox_result result = { "tt", &w->arena, take_wake, w, 0 };
    struct outbox_args args = { .set = 0 };
    void *entry;
    int rc = OUTBOX_OK;

    if (outbox_conn__sql(d->conn, Q_WAKE) != NULL)
        rc = outbox_conn__run(d->conn, Q_WAKE, &args, 0, "ask how relays are woken", &result, err);
    if (rc != OUTBOX_OK)
        return rc;
    w->file = d->conn->driver.wake_file && outbox_conf__number(d->conf, CONF_WAKE_FILE) == FILE_ON;
    if (d->conn->driver.wake_module != NULL && w->channel != NULL && w->channel[0] != '\0' &&
        outbox_conf__number(d->conf, CONF_WAKE_LISTEN) != LISTEN_OFF)
        w->module = outbox_module__find("wake", d->conn->driver.wake_module, &entry, &w->why) == OUTBOX_OK;
    return OUTBOX_OK;
}

int outbox_doctor__wake(struct doctor *d, const struct check *c, outbox_error **err)
{
    struct wake w = { .channel = NULL };
    char poll[OUTBOX_LOG_SECONDS], text[600];
    int rc = find_wake(d, &w, err);

    outbox_log__seconds(outbox_conf__number(d->conf, CONF_RELAY_POLL_INTERVAL), poll);
    if (w.module)
        snprintf(text, sizeof(text), "relays are woken through the channel %.63s; the module is there", w.channel);
    else if (w.file)
        snprintf(text, sizeof(text), "relays on this machine are woken by changes to the file");
    else
        snprintf(text, sizeof(text), "relays look every %s%s%.400s", poll, w.why != NULL ? ": " : "",
                 w.why != NULL ? outbox_error_message(w.why) : "");
    if (rc == OUTBOX_OK)
        rc = tell(d, c, text, 0, err);
    outbox_error_free(w.why);
    outbox_arena__free(&w.arena);
    return rc;
}

int outbox_doctor__no_wake(struct doctor *d, const struct check *c, outbox_error **err)
{
    struct wake w = { .channel = NULL };
    int rc = find_wake(d, &w, err);

    if (rc == OUTBOX_OK && !w.module && outbox_conf__number(d->conf, CONF_WAKE_LISTEN) == LISTEN_ON)
        rc = tell(d, c, w.why != NULL ? outbox_error_message(w.why) : "this outbox does not notify", 0, err);
    outbox_error_free(w.why);
    outbox_arena__free(&w.arena);
    return rc;
}

int outbox_doctor__poll(struct doctor *d, const struct check *c, outbox_error **err)
{
    int64_t poll = outbox_conf__number(d->conf, CONF_RELAY_POLL_INTERVAL);
    struct wake w = { .channel = NULL };
    int rc = find_wake(d, &w, err);

    if (rc == OUTBOX_OK && !w.module && !w.file && poll > POLL_US)
        rc = tell(d, c, NULL, poll, err);
    outbox_error_free(w.why);
    outbox_arena__free(&w.arena);
    return rc;
}

/* ---- Between here and the tables ---- */

/* Sessions of two connections that are open at once differ, unless somebody hands one session to both. */
int outbox_doctor__pooler(struct doctor *d, const struct check *c, outbox_error **err)
{
    char *mine = NULL, *others = NULL;
    outbox_conn *other = NULL;
    int i, same = 0, rc = OUTBOX_OK;

    if (outbox_doctor__probe(d->conn, A_SESSION) == NULL)
        return OUTBOX_OK;
    rc = outbox_conn_open(d->dsn, d->conf, &other, err);
    for (i = 0; i < POOLER_TRIES && rc == OUTBOX_OK && !same; i++) {
        free(mine);
        free(others);
        others = NULL;
        rc = outbox_doctor__ask(d, d->conn, A_SESSION, &mine, err);
        if (rc == OUTBOX_OK)
            rc = outbox_doctor__ask(d, other, A_SESSION, &others, err);
        same = rc == OUTBOX_OK && strcmp(mine, others) == 0;
    }
    if (same)
        rc = tell(d, c, mine, 0, err);
    free(mine);
    free(others);
    outbox_conn_close(other);
    return rc;
}

/* A write that changes nothing, in a transaction that is rolled back. Some servers, Firebird for one, refuse it only when
 * there is a row to write: where nobody has found out what tells it, there is one, and gets the value that it has. */
static int try_write(struct doctor *d, outbox_error **why)
{
    struct outbox_args args = { .set = 0 };
    char version[20];
    int rc = outbox_conn__begin(d->conn, why);

    snprintf(version, sizeof(version), "%d", d->conn->version);
    outbox_args__text(&args, P_NAME, outbox_doctor__is_known(d->conn, A_WRITABLE) ? "nothing" : "version");
    outbox_args__text(&args, P_VALUE, version);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(d->conn, Q_META_SET, &args, 0, "try to write", NULL, why);
    outbox_conn__rollback(d->conn);
    return rc;
}

int outbox_doctor__readonly(struct doctor *d, const struct check *c, outbox_error **err)
{
    outbox_error *why = NULL;
    struct found found = { NULL, NULL, 0, 1 };
    char *command = NULL;
    int rc = try_write(d, &why);

    /* Who may not write to that table is refused for it, whatever the server takes: others may tell. */
    if (rc < 0 && strcmp(outbox_error_name(why), "database.permission") == 0) {
        outbox_error_free(why);
        why = NULL;
        rc = outbox_doctor__try_writes(d, &why);
    }
    d->readonly = rc == OUTBOX_ERR_READONLY;
    if (rc == OUTBOX_ERR_NOMEM)
        rc = outbox_error__nomem(err);
    else
        rc = OUTBOX_OK; /* rights are looked at apart */
    if (rc == OUTBOX_OK && d->readonly)
        rc = outbox_doctor__ask(d, d->conn, A_WRITABLE, &command, err);
    if (rc == OUTBOX_OK && d->readonly) {
        found.subject = outbox_error_message(why);
        found.command = command[0] != '\0' ? command : NULL;
        rc = outbox_doctor__tell(d, c, &found, err);
    }
    free(command);
    outbox_error_free(why);
    return rc;
}

/* Of what is asked in the words of each database, what nobody has written for this one; not what it does not have. */
int outbox_doctor__unasked(struct doctor *d, const struct check *c, outbox_error **err)
{
    static const struct {
        enum outbox_probe probe;
        const char *what;
    } all[] = {
        { A_USER, "rights" },     { A_INDEXES, "missing indexes" },     { A_TRANSACTIONS, "long transactions" },
        { A_SESSION, "poolers" }, { A_ENCODING, "how text is kept" },   { A_ZONE, "the time zone" },
    };
    char text[300];
    size_t i, used = 0, count = 0;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!outbox_doctor__is_known(d->conn, all[i].probe))
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", count++ > 0 ? ", " : "", all[i].what);
    if (count == 0)
        return OUTBOX_OK;
    snprintf(text + used, sizeof(text) - used, ": not asked of the dialect %s, so look yourself", d->conn->driver.name);
    return tell(d, c, text, 0, err);
}

/* Where one writes at a time, who cannot write has to wait for somebody. */
int outbox_doctor__locked(struct doctor *d, const struct check *c, outbox_error **err)
{
    outbox_error *why = NULL;
    int rc = d->readonly ? OUTBOX_OK : try_write(d, &why);

    if (rc == OUTBOX_ERR_NOMEM)
        rc = outbox_error__nomem(err);
    else
        rc = rc == OUTBOX_ERR_CONFLICT ? tell(d, c, outbox_error_message(why), 0, err) : OUTBOX_OK;
    outbox_error_free(why);
    return rc;
}
