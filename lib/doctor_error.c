/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors as findings: of connecting, of the tables, and of whatever breaks on the way. Their texts say what to do; here
 * stands what follows from them, and a command. */
#include "doctor.h"
#include "buffer.h"
#include "error_internal.h"

#include <stdlib.h>
#include <string.h>

/* What is in < > only people know. */
static const struct {
    const char *error, *meaning, *command;
} errors[] = {
    { "conf.settle_differs", "the outbox was made to settle in another way than schema.settle says",
      "outboxctl doctor --set schema.settle=auto" },
    { "conn.bad_path", "no file can be opened by that name", "outboxctl doctor 'sqlite:<path>'" },
    { "conn.charset", "letters beyond English ones would be kept as others", "outboxctl doctor '<DSN>;<character set>'" },
    { "conn.url", "ODBC knows no URLs", "odbcinst -q -s" },
    { "odbc.unusable", "unixODBC does not work on this machine", "odbcinst -j" },
    { "database.no_driver", "ODBC cannot load what speaks to the database", "odbcinst -q -d" },
    { "database.no_dsn", "neither the user's nor the system's odbc.ini knows the name", "odbcinst -q -s" },
    { "database.password", "the server is there, and refused the user", "odbcinst -q -s -n <DSN>" },
    { "database.unknown", "the server is there, and has no such database", "CREATE DATABASE <database>" },
    { "database.permission", "the server is there, and the user has too few rights",
      "GRANT CONNECT ON DATABASE <database> TO <user>" },
    { "database.connections", "the server is there, and full", "ALTER SYSTEM SET max_connections = <more>" },
    { "database.starting", "the server is there, and not ready", "outboxctl doctor" },
    { "database.connect", "no server answers where the DSN says", "systemctl start <service>" },
    { "database.lost", "the server went away, or ends connections; relays connect again by themselves",
      "systemctl start <service>" },
    { "database.file", "there is no database", "outboxctl migrate" },
    { "database.full", "nothing can be enqueued, leased or settled", "df -h" },
    { "database.resources", "the server is there, and cannot do its work", "journalctl -n 100 -u <service>" },
    { "database.io", "the server cannot read or write its files", "journalctl -n 100 -u <service>" },
    { "database.corrupt", "what is in the damaged files may be lost", "journalctl -n 100 -u <service>" },
    { "database.encoding", "the database keeps other letters than are sent", "outboxctl migrate --dsn <DSN>" },
    { "driver.mismatch", "the setting driver is for another database", "outboxctl doctor --set driver=auto" },
    { "driver.relative", "the setting driver is for another database", "outboxctl doctor --set driver=auto" },
    { "driver.no_position", "this driver cannot tell which messages of this outbox are published",
      "outboxctl doctor --set driver=auto" },
    { "driver.other_dialect", "this driver's statements are for other tables", "outboxctl doctor --set driver=<dialect>" },
    { "schema.missing", "there is no outbox, or it has another schema.name or schema.prefix", "outboxctl migrate" },
    { "schema.version", "the tables were made by another version of the library", "outboxctl --version" },
    { "schema.incomplete", "some of the outbox was dropped, and messages may be lost", "outboxctl migrate --print" },
    { "schema.routines", "plain SQL cannot enqueue", "SELECT name, line, text FROM user_errors" },
};

/* Of all others. */
static const struct {
    int status;
    const char *meaning;
} statuses[] = {
    { OUTBOX_ERR_CONNECT, "no connection can be made: nothing is enqueued or published" },
    { OUTBOX_ERR_CONFLICT, "somebody else was in the way, or the server is too slow" },
    { OUTBOX_ERR_READONLY, "nothing can be enqueued, leased or settled" },
    { OUTBOX_ERR_CONF, "programs with this setting do not start" },
    { OUTBOX_ERR_INVALID, "programs that are told so do not start" },
    { OUTBOX_ERR_SCHEMA, "the tables are not as the library needs them" },
    { OUTBOX_ERR_UNSUPPORTED, "the library cannot use this outbox so" },
};

static const char *find_meaning(int status)
{
    size_t i;

    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].status == status)
            return statuses[i].meaning;
    return "the server refuses what every program asks first";
}

/* What is known of the connection can make a command exact; else *command stays. Free own. */
static int make_exact(struct doctor *d, const char *name, const char **command, struct outbox_buffer *own,
                      outbox_error **err)
{
    struct outbox_sqltext grant = { NULL, NULL, 0 };
    outbox_error *ignored = NULL;
    char *user = NULL;
    int rc = OUTBOX_OK;

    if (strcmp(name, "schema.version") == 0 && d->conn->version < OUTBOX_SCHEMA_VERSION)
        *command = "outboxctl migrate";
    if (strcmp(name, "database.permission") != 0 || outbox_doctor__probe(d->conn, A_USER) == NULL ||
        outbox_doctor__ask(d, d->conn, A_USER, &user, &ignored) != OUTBOX_OK) {
        outbox_error_free(ignored);
        free(user);
        return OUTBOX_OK;
    }
    /* It is the first table that is read: what else is missing shows once that is granted. */
    rc = outbox_sqltext__render("GRANT SELECT ON {meta} TO ", d->conn->names, 0, &grant, err);
    if (rc == OUTBOX_OK && (!outbox_buffer__add(own, grant.sql, strlen(grant.sql)) ||
                            !outbox_buffer__add(own, user, strlen(user))))
        rc = outbox_error__nomem(err);
    if (rc == OUTBOX_OK)
        *command = own->data;
    outbox_sqltext__free(&grant);
    free(user);
    return rc;
}

int outbox_doctor__tell_error(struct doctor *d, outbox_error *why, outbox_error **err)
{
    outbox_finding finding = { sizeof(finding), outbox_error_name(why), OUTBOX_FAILURE, outbox_error_message(why),
                               find_meaning(outbox_error_status(why)), NULL, "man 7 outbox_errors" };
    struct outbox_buffer own = { NULL, 0, 0 };
    size_t i;
    int rc = OUTBOX_OK;

    if (outbox_error_status(why) == OUTBOX_ERR_NOMEM) {
        outbox_error_free(why);
        return outbox_error__nomem(err);
    }
    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(errors[i].error, finding.name) == 0) {
            finding.meaning = errors[i].meaning;
            finding.command = errors[i].command;
        }
    if (d->conn != NULL)
        rc = make_exact(d, finding.name, &finding.command, &own, err);
    if (rc == OUTBOX_OK)
        rc = outbox_doctor__hand_over(d, &finding);
    outbox_error_free(why);
    outbox_buffer__free(&own);
    return rc;
}
