/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which right of which role is missing: each is tried out, on no row, since only the server knows what its roles, groups and
 * grants amount to. doc/permissions.md grants what stands here. */
#include "doctor.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define W OUTBOX_ROLE_WRITER
#define R OUTBOX_ROLE_RELAY
#define A OUTBOX_ROLE_ADMIN

/* Where a right is needed. */
enum where {
    EVERYWHERE,
    RESTORING, /* an outbox must be put right after a restore */
    CALLING    /* the time is told by a function of the outbox's own */
};

struct right {
    unsigned roles;
    const char *privilege, *table;
    const char *purpose;
    const char *attempt;
    enum where where;
};

/* By a column: to read none, Firebird asks for no right. */
#define READ(roles, table, column, purpose)                                                                             \
    { roles, "SELECT", "{" table "}", purpose, "SELECT 1 FROM {" table "} WHERE " column " IS NULL AND 1 = 0", EVERYWHERE }
#define REMOVE(roles, table, purpose) { roles, "DELETE", "{" table "}", purpose, "DELETE FROM {" table "} WHERE 1 = 0", EVERYWHERE }
#define CHANGE(roles, table, column, purpose)                                                                            \
    { roles, "UPDATE", "{" table "}", purpose, "UPDATE {" table "} SET " column " = " column " WHERE 1 = 0", EVERYWHERE }
#define WRITE(roles, table, columns, values, purpose)                                                                    \
    { roles, "INSERT", "{" table "}", purpose,                                                                          \
      "INSERT INTO {" table "} (" columns ") SELECT " values " FROM {meta} WHERE 1 = 0", EVERYWHERE }
/* Some databases want to know the type of a parameter that stands alone. */
#define NUMBER "CAST(:lane AS {number})"
#define TEXT "CAST(:topic AS {text})"
#define MESSAGE "lane, id, topic, payload"
#define VALUES NUMBER ", {id}, " TEXT ", NULL"

static const struct right rights[] = {
    READ(W | R | A, "meta", "name", "learn what the outbox is"),
    { W | R | A, "EXECUTE", "FUNCTION {now_fn}", "tell the time", "SELECT {now} FROM {meta} WHERE 1 = 0", CALLING },
    WRITE(W, "messages", MESSAGE, VALUES, "enqueue"),
    WRITE(W, "dedup", "dedup_key", TEXT, "refuse an id or dedup_key that comes again"),
    READ(R | A, "lanes", "token", "lease lanes"),
    CHANGE(R | A, "lanes", "token", "lease lanes"),
    READ(R | A, "messages", "seq", "read messages"),
    REMOVE(R | A, "messages", "remove what was published or discarded"),
    READ(R | A, "deferred", "seq", "read messages that wait"),
    WRITE(R, "deferred", MESSAGE ", seq, state, attempts, key_hash, deferred_at, created_at",
          VALUES ", " NUMBER ", " NUMBER ", " NUMBER ", " NUMBER ", " NUMBER ", " NUMBER, "set failed messages aside"),
    CHANGE(R | A, "deferred", "attempts", "retry"),
    REMOVE(R | A, "deferred", "remove what was retried or discarded"),
    READ(R | A, "published", "seq", "list what was published"),
    WRITE(R, "published", MESSAGE ", seq, attempts, published_at, created_at",
          VALUES ", " NUMBER ", " NUMBER ", " NUMBER ", " NUMBER, "keep what was published"),
    REMOVE(R | A, "published", "remove what is past its retention"),
    READ(R | A, "positions", "pos", "tell when messages were published"),
    WRITE(R, "positions", "lane, pos, low, published_at", NUMBER ", " NUMBER ", " NUMBER ", " NUMBER, "note when it published"),
    REMOVE(R | A, "positions", "remove what is past its retention"),
    READ(R | A, "dedup", "dedup_key", "remove what is past dedup.window"),
    REMOVE(R | A, "dedup", "remove what is past dedup.window"),
    READ(A, "status", "id", "list"),
    READ(A, "audit", "id", "list the audit"),
    WRITE(A, "audit", "id, who, what, which, messages", TEXT ", " TEXT ", " TEXT ", " TEXT ", " NUMBER, "write the audit"),
    CHANGE(A, "audit", "messages", "write the audit"),
    { R, "UPDATE (value)", "{meta}", "go on after a restore", "UPDATE {meta} SET value = value WHERE 1 = 0", RESTORING },
    { R, "UPDATE (tx)", "{messages}", "go on after a restore", "UPDATE {messages} SET tx = tx WHERE 1 = 0", RESTORING },
    { R, "UPDATE (seq)", "{messages}", "go on when numbers began again", "UPDATE {messages} SET seq = DEFAULT WHERE 1 = 0",
      RESTORING },
};

static const char *role_names(unsigned roles, char text[60])
{
    snprintf(text, 60, "%s%s%s%s%s", (roles & W) != 0 ? "writer" : "", (roles & W) != 0 && (roles & (R | A)) != 0 ? ", " : "",
             (roles & R) != 0 ? "relay" : "", (roles & R) != 0 && (roles & A) != 0 ? ", " : "", (roles & A) != 0 ? "admin" : "");
    return text;
}

static int tell_missing(struct doctor *d, const struct check *c, const struct right *r, const char *user, outbox_error **err)
{
    char names[60], text[400], command[400];
    struct outbox_sqltext table;
    struct found found = { text, command, 0, 1 };
    int rc = outbox_sqltext__render(r->table, d->conn->names, 0, &table, err);

    if (rc != OUTBOX_OK)
        return rc;
    snprintf(text, sizeof(text), "%s may not %s on %s, which %s needs to %s", user, r->privilege, table.sql,
             role_names(r->roles & d->options.roles, names), r->purpose);
    snprintf(command, sizeof(command), "GRANT %s ON %s TO %s", r->privilege, table.sql, user);
    outbox_sqltext__free(&table);
    return outbox_doctor__tell(d, c, &found, err);
}

static int attempt(struct doctor *d, const struct right *r, outbox_error **err)
{
    struct outbox_result result = { strncmp(r->attempt, "SELECT", 6) == 0 ? "i" : NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };

    outbox_args__int(&args, P_LANE, 0);
    outbox_args__text(&args, P_ID, "00000000-0000-0000-0000-000000000000");
    outbox_args__text(&args, P_TOPIC, "doctor");
    return outbox_conn__run_once(d->conn, r->attempt, &args, "try out a right", &result, err);
}

/* Whether a right is looked at here. */
static int is_asked(const struct doctor *d, const struct right *r)
{
    return (r->roles & d->options.roles) != 0 && (r->where != RESTORING || outbox_conn__sql(d->conn, Q_SYSTEM) != NULL) &&
           (r->where != CALLING || strstr(d->conn->driver.now, "{now_fn}") != NULL);
}

int outbox_doctor__try_writes(struct doctor *d, outbox_error **why)
{
    size_t i;

    for (i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
        int rc = is_asked(d, &rights[i]) && strcmp(rights[i].privilege, "SELECT") != 0 ? attempt(d, &rights[i], why) : OUTBOX_OK;

        if (rc == OUTBOX_ERR_READONLY || rc == OUTBOX_ERR_LOST || rc == OUTBOX_ERR_NOMEM)
            return rc;
        outbox_error_free(*why);
        *why = NULL;
    }
    return OUTBOX_OK;
}

int outbox_doctor__rights(struct doctor *d, const struct check *c, outbox_error **err)
{
    char *user = NULL;
    size_t i;
    int rc = OUTBOX_OK;

    /* Databases without users have no rights; a server that takes no writes refuses all of them alike. */
    if (d->readonly || outbox_doctor__probe(d->conn, A_USER) == NULL)
        return OUTBOX_OK;
    rc = outbox_doctor__ask(d, d->conn, A_USER, &user, err);
    for (i = 0; i < sizeof(rights) / sizeof(rights[0]) && rc == OUTBOX_OK; i++) {
        outbox_error *why = NULL;

        if (!is_asked(d, &rights[i]) || attempt(d, &rights[i], &why) == OUTBOX_OK)
            continue;
        if (strcmp(outbox_error_name(why), "database.permission") == 0) {
            rc = tell_missing(d, c, &rights[i], user, err);
            outbox_error_free(why);
        } else {
            rc = outbox_error_status(why);
            *err = why; /* run() gives a place for it */
        }
    }
    free(user);
    return rc;
}
