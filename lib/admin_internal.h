/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_ADMIN_INTERNAL_H
#define OUTBOX_ADMIN_INTERNAL_H

#include "buffer.h"
#include "conn_internal.h"

#include <outbox/admin.h>

/* Checks a filter and copies it, so that one of an older program has the fields that it does not know at 0. Its id is
 * written to *id as the database has it, in lower case. */
int outbox_filter__take(const outbox_filter *given, outbox_filter *filter, outbox_id *id, outbox_error **err);

/* Adds to a statement what the filter asks for, but for its state, and sets the values. by_state: m has a state. */
int outbox_filter__apply(const outbox_filter *filter, int by_state, struct outbox_buffer *sql, struct outbox_args *args);

/* Notes in the audit what is going to be done; id is for outbox_conn__audit_add(). */
int outbox_audit__begin(outbox_conn *conn, const char *what, const outbox_filter *filter, outbox_id *id,
                        outbox_error **err);

#endif
