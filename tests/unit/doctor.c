/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever the doctor finds, it says what that means, and gives a command. tests/conformance/doctor sees the same of all that
 * it causes. */
#include "doctor.h"
#include "error_internal.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

/* Whose commands are made where it was found out. */
static const char *const own[] = { "server.encoding", "permission.missing", "index.missing", "transaction.long",
                                   "vacuum.blocked",  "table.bloat",        "sequence.cached", "table.distributed" };

static int has_own(const struct check *c)
{
    size_t i;

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(own[i], c->name) == 0)
            return 1;
    return 0;
}

Test(doctor, checks)
{
    size_t count, i, wrong = 0;
    const struct check *all = outbox_doctor__checks(&count);

    for (i = 0; i < count; i++) {
        if (all[i].severity == OUTBOX_FACT)
            continue;
        wrong++;
        cr_expect(all[i].meaning != NULL && all[i].meaning[0] != '\0', "%s means nothing", all[i].name);
        cr_expect(all[i].advice != NULL && all[i].advice[0] != '\0', "%s has no advice", all[i].name);
        cr_expect((all[i].command != NULL && all[i].command[0] != '\0') || has_own(&all[i]), "%s has no command", all[i].name);
    }
    cr_expect(wrong > 15, "only %zu checks look for what is wrong", wrong);
}

static int take(void *user, const outbox_finding *f)
{
    int *told = user;

    *told += f->severity == OUTBOX_FAILURE && f->meaning != NULL && f->meaning[0] != '\0' && f->command != NULL &&
             f->command[0] != '\0';
    return 0;
}

/* Those of connecting and of the tables, as outbox_errors(7) lists them, and one that nobody has heard of. */
static const struct {
    int status;
    const char *name;
} errors[] = {
    { OUTBOX_ERR_CONNECT, "database.connect" },     { OUTBOX_ERR_CONNECT, "database.no_dsn" },
    { OUTBOX_ERR_CONNECT, "database.no_driver" },   { OUTBOX_ERR_CONNECT, "database.password" },
    { OUTBOX_ERR_CONNECT, "database.unknown" },     { OUTBOX_ERR_CONNECT, "database.permission" },
    { OUTBOX_ERR_CONNECT, "database.connections" }, { OUTBOX_ERR_CONNECT, "database.starting" },
    { OUTBOX_ERR_CONNECT, "database.file" },        { OUTBOX_ERR_CONNECT, "odbc.unusable" },
    { OUTBOX_ERR_LOST, "database.lost" },           { OUTBOX_ERR_DATABASE, "database.resources" },
    { OUTBOX_ERR_DATABASE, "database.full" },       { OUTBOX_ERR_DATABASE, "database.io" },
    { OUTBOX_ERR_DATABASE, "database.corrupt" },    { OUTBOX_ERR_DATABASE, "database.encoding" },
    { OUTBOX_ERR_DATABASE, "database.error" },      { OUTBOX_ERR_CONFLICT, "database.lock_timeout" },
    { OUTBOX_ERR_READONLY, "database.readonly" },   { OUTBOX_ERR_INVALID, "conn.charset" },
    { OUTBOX_ERR_INVALID, "conn.bad_path" },        { OUTBOX_ERR_INVALID, "conn.url" },
    { OUTBOX_ERR_CONF, "conf.settle_differs" },     { OUTBOX_ERR_CONF, "driver.mismatch" },
    { OUTBOX_ERR_SCHEMA, "schema.missing" },        { OUTBOX_ERR_SCHEMA, "schema.version" },
    { OUTBOX_ERR_SCHEMA, "schema.incomplete" },     { OUTBOX_ERR_SCHEMA, "schema.routines" },
    { OUTBOX_ERR_UNSUPPORTED, "driver.relative" },  { OUTBOX_ERR_UNSUPPORTED, "driver.other_dialect" },
    { OUTBOX_ERR_STATE, "never.heard_of" },
};

Test(doctor, errors)
{
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        int told = 0;
        struct doctor d = { .fn = take, .user = &told };
        outbox_error *why = NULL, *err = NULL;

        outbox_error_new(&why, errors[i].status, errors[i].name, "as it is told");
        cr_expect(outbox_doctor__tell_error(&d, why, &err) == OUTBOX_OK && told == 1,
                  "%s is told without what it means or a command", errors[i].name);
        outbox_error_free(err);
    }
}
