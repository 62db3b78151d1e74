/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_CONNINFO_H
#define OUTBOX_CONNINFO_H

#include <outbox/types.h>

/* What libpq connects with to where a connection string of psqlODBC leads: server, port, database, user, password,
 * encryption, and what pqopt says; from the string, and from the DSN that it names. Free it; NULL when it cannot be told. */
int outbox_postgresql__conninfo(const char *connection_string, char **conninfo, outbox_error **err);

#endif
