/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor's parts: doctor.c has the table of checks, doctor_look.c those that are more than a statement, and
 * doctor_rights.c what each role needs, doctor_publisher.c whether the broker is there, doctor_error.c what errors mean. */
#ifndef OUTBOX_DOCTOR_INTERNAL_H
#define OUTBOX_DOCTOR_INTERNAL_H

#include "conn_internal.h"
#include "probes.h"

#include <outbox/doctor.h>
#include <outbox/publisher.h>

struct doctor {
    const char *dsn;
    outbox_conf *conf;
    outbox_conn *conn;
    outbox_doctor_options options;
    outbox_finding_fn fn;
    void *user;
    int stopped;  /* the callback has seen enough */
    int no_schema; /* what needs the tables is not asked */
    int readonly; /* nor what needs to write */
    outbox_publisher *publisher; /* that is asked; NULL: none, or it could not be opened */
    int reached;                 /* whether its broker could be: OUTBOX_OK, OUTBOX_NONE when it cannot tell, or an error */
    outbox_error *unreached;     /* why not */
};

/* What a check found. In its texts %s stands for the subject, %d for the number, %t for the number as a duration, and %c
 * for the count. */
struct found {
    const char *subject; /* NULL: "" */
    const char *command; /* NULL: the check's */
    int64_t number, count;
};

struct check {
    const char *name;
    outbox_severity severity;
    const char *question; /* what is asked, for when it could not be */
    int tables;           /* it needs the outbox's tables; -1: not even a connection */
    int probe;            /* enum outbox_probe: each row is a finding. -1: look does it */
    int (*look)(struct doctor *d, const struct check *c, outbox_error **err);
    const char *says;
    const char *meaning, *advice; /* or NULL */
    const char *command;          /* with {names} of tables, and with <words> for what only people know; or NULL */
};

/* The table. */
const struct check *outbox_doctor__checks(size_t *count);
/* To whoever wants to hear it; OUTBOX_NONE when that is enough. */
int outbox_doctor__hand_over(struct doctor *d, const outbox_finding *finding);
/* Tells of a finding; OUTBOX_ERR_NOMEM, or OUTBOX_NONE when nobody wants to hear more. */
int outbox_doctor__tell(struct doctor *d, const struct check *c, const struct found *found, outbox_error **err);
/* Tells of an error as a finding of its name, and frees it. */
int outbox_doctor__tell_error(struct doctor *d, outbox_error *why, outbox_error **err);

/* Asks the dialect, and tells of each row as a finding. */
int outbox_doctor__tell_rows(struct doctor *d, const struct check *c, enum outbox_probe probe, outbox_error **err);
/* Asks the dialect for the subject of its first row, "" when that is not asked or there is none; free it. */
int outbox_doctor__ask(struct doctor *d, outbox_conn *conn, enum outbox_probe probe, char **subject, outbox_error **err);
/* NULL when there is nothing to ask: nobody has written that, or this database has no such thing; is_known tells which. */
const char *outbox_doctor__probe(const outbox_conn *conn, enum outbox_probe probe);
int outbox_doctor__is_known(const outbox_conn *conn, enum outbox_probe probe);

int outbox_doctor__library(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__manager(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__driver(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__server(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__dialect(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__schema(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__isolation(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__clock(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__skew(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__wake(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__no_wake(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__poll(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__pooler(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__readonly(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__locked(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__unasked(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__distributed(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__rights(struct doctor *d, const struct check *c, outbox_error **err);
/* Tries the writes of the roles that are looked at. OUTBOX_ERR_READONLY as soon as one says so, else OUTBOX_OK, or that it
 * cannot be told. */
int outbox_doctor__try_writes(struct doctor *d, outbox_error **why);
int outbox_doctor__reachable(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__unreachable(struct doctor *d, const struct check *c, outbox_error **err);
int outbox_doctor__untold(struct doctor *d, const struct check *c, outbox_error **err);

#endif
