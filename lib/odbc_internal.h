/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What odbc.c and odbc_fetch.c share. */
#ifndef OUTBOX_ODBC_INTERNAL_H
#define OUTBOX_ODBC_INTERNAL_H

#include "odbc.h"

#include <sql.h>
#include <sqlext.h>

#define OUTBOX_SCRATCH ((size_t)16 * 1024)
#define OUTBOX_COLUMNS 24 /* that are bound at the most */

struct outbox_odbc {
    SQLHENV env; /* NULL when the connection is borrowed */
    SQLHDBC dbc;
    const struct outbox_errclass *errors;
    SQLULEN timeout; /* seconds that a statement may take; 0: any time */
    struct outbox_bindings bindings;
    int binds;       /* columns can be bound, as what does not fit can be read afterwards; below 0: not asked yet */
    char where[200]; /* for errors: what it was connected to; "" when borrowed */
};

/* A column that each fetch fills: one call a row instead of one a cell. */
struct column {
    unsigned char *data;
    SQLLEN size; /* that of the value, which may be more than there is room for; SQL_NULL_DATA, SQL_NO_TOTAL */
};

struct outbox_stmt {
    outbox_odbc *odbc;
    SQLHSTMT handle;
    SQLLEN *lengths;   /* one a parameter: ODBC reads them when it executes */
    int64_t *numbers;
    char (*digits)[24]; /* the same, where they go as text */
    size_t params;
    unsigned char *scratch; /* for what is not bound; made when it is needed */
    int empty; /* executed, and there is no result to fetch from */
    char types[OUTBOX_COLUMNS + 1]; /* of the columns that are bound; "" when none are */
    struct column *columns;
    unsigned char *room; /* of all columns */
};

/* The first diagnostic of a statement, as an error. */
int outbox_stmt__fail(outbox_stmt *stmt, const char *doing, outbox_error **err);

#endif
