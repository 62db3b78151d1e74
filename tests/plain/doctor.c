/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor's call, where no database is needed: what it refuses, and that no connection is a finding. */
#include <stdio.h>
#include <string.h>

#include "lib-test.h"

struct seen_findings {
    int count, stop_at;
    char name[64];
    outbox_severity severity;
};

static int take(void *user, const outbox_finding *f)
{
    struct seen_findings *s = user;

    s->count++;
    snprintf(s->name, sizeof s->name, "%s", f->name);
    s->severity = f->severity;
    CHECK(f->size == sizeof *f && f->text != NULL && f->text[0] != '\0', "%s says nothing", f->name);
    CHECK(strstr(f->text, "s3cr3t") == NULL, "a password in: %s", f->text);
    CHECK(f->severity == OUTBOX_FACT || (f->meaning != NULL && f->command != NULL), "%s has no meaning or no command", f->name);
    CHECK(f->command == NULL || strstr(f->command, "s3cr3t") == NULL, "a password in: %s", f->command);
    return s->count == s->stop_at;
}

static void refused(const char *dsn, const outbox_doctor_options *options, outbox_finding_fn fn, const char *name)
{
    struct seen_findings seen = {0};
    outbox_error *err = NULL;

    CHECK_INT(outbox_diagnose(dsn, NULL, options, fn, &seen, &err), OUTBOX_ERR_INVALID);
    CHECK_STR(outbox_error_name(err), name);
    CHECK_INT(seen.count, 0);
    outbox_error_free(err);
}

static void found(const char *dsn, const char *name)
{
    struct seen_findings seen = {0};
    outbox_error *err = NULL;

    CHECK_INT(outbox_diagnose(dsn, NULL, NULL, take, &seen, &err), OUTBOX_OK);
    CHECK_STR(seen.name, name);
    CHECK_INT(seen.severity, OUTBOX_FAILURE);
    CHECK_INT(seen.count, 1);
    outbox_error_free(err);
}

/* The broker is asked all the same: who looks may miss both. */
static void found_both(const char *publisher, outbox_severity severity, const char *name)
{
    outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;
    struct seen_findings seen = {0};
    outbox_error *err = NULL;

    options.publisher = publisher;
    CHECK_INT(outbox_diagnose("sqlite:/no/such/folder/x.db", NULL, &options, take, &seen, &err), OUTBOX_OK);
    CHECK_STR(seen.name, name);
    CHECK_INT(seen.severity, severity);
    CHECK_INT(seen.count, 2);
    outbox_error_free(err);
    /* One that has seen enough after the first hears no more. */
    seen = (struct seen_findings){.stop_at = 1};
    CHECK_INT(outbox_diagnose("sqlite:/no/such/folder/x.db", NULL, &options, take, &seen, &err), OUTBOX_OK);
    CHECK_INT(seen.count, 1);
}

int main(void)
{
    outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;

    tap_begin("what is refused");
    refused(NULL, NULL, take, "doctor.incomplete");
    refused("", NULL, take, "doctor.incomplete");
    refused("x", NULL, NULL, "doctor.incomplete");
    options.roles = 8;
    refused("x", &options, take, "doctor.bad_value");
    options.roles = 0;
    options.patience_us = -1;
    refused("x", &options, take, "doctor.bad_value");
    options.size = 0;
    refused("x", &options, take, "doctor.incomplete");
    tap_end();

    tap_begin("no connection is a finding");
    found("no_such_dsn", "database.no_dsn");
    found("Driver={None such};PWD=s3cr3t", "database.no_driver");
    found("postgresql://u:s3cr3t@h/d", "conn.url");
    found("sqlite:/no/such/folder/x.db", "database.file");
    tap_end();

    tap_begin("a broker is looked for without a database, too");
    found_both("null:", OUTBOX_FACT, "publisher.reachable");
    found_both("exec:/no/such/command", OUTBOX_FAILURE, "publisher.unreachable");
    found_both("exec:A=b cat", OUTBOX_FACT, "doctor.blind");
    found_both("file:/no/such/folder/events.jsonl", OUTBOX_FAILURE, "publisher.unreachable");
    found_both("redis.example:s3cr3t", OUTBOX_FAILURE, "publisher.no_scheme");
    found_both("file:", OUTBOX_FAILURE, "publisher.file_url");
    tap_end();
    return tap_finish();
}
