/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two files of the tests' ODBC driver for Firebird share. */
#ifndef OUTBOX_TESTS_FIREBIRD_ODBC_H
#define OUTBOX_TESTS_FIREBIRD_ODBC_H

#include <ibase.h>
#include <sql.h>
#include <sqlext.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define API __attribute__((visibility("default")))
#define MOST_PARAMS 4096
#define SEGMENT 32000

struct diag {
    char state[6];
    SQLINTEGER native;
    char text[1024];
    int there;
};

struct env {
    struct diag diag;
};

struct stmt;

struct dbc {
    struct diag diag;
    isc_db_handle db;
    isc_tr_handle tr; /* of several statements, without autocommit */
    int autocommit, dead, hide_states;
    char lock_timeout; /* seconds */
    struct stmt *stmts;
};

struct param {
    SQLSMALLINT ctype;
    SQLPOINTER data;
    SQLLEN *length;
};

struct stmt {
    struct diag diag;
    struct dbc *dbc;
    struct stmt *next;
    isc_stmt_handle handle;
    isc_tr_handle own; /* in autocommit */
    XSQLDA *in, *out;
    int type;          /* isc_info_sql_stmt_… */
    int open;          /* there is a cursor */
    int single;        /* one row is there to be fetched, without a cursor */
    int has_row;
    SQLLEN rows;
    struct param *params;
    char *value;       /* of the column that was read last, and how far */
    size_t value_size, value_at;
    int value_column;
};

/* Notes a diagnostic; SQL_ERROR. */
SQLRETURN firebird_say(struct diag *diag, const char *state, SQLINTEGER native, const char *text);
SQLRETURN firebird_fail(struct dbc *dbc, struct diag *diag, const ISC_STATUS *status);
/* The transaction in which the statement runs. */
isc_tr_handle *firebird_transaction(struct stmt *stmt);
/* Parameters as they were bound, for this execution; 0 after a failure. */
int firebird_bind(struct stmt *stmt, isc_tr_handle *tr);

#endif
