/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The only way to a database: connect, prepare, bind, execute, fetch. Every return code of ODBC is looked at here,
 * and every diagnostic becomes an error object with a class that the driver's table gives it. */
#ifndef OUTBOX_ODBC_H
#define OUTBOX_ODBC_H

#include "arena.h"

#include <outbox/types.h>

typedef struct outbox_odbc outbox_odbc;
typedef struct outbox_stmt outbox_stmt;

/* One row of a driver's table: the first that fits a diagnostic gives its class. */
struct outbox_errclass {
    const char *sqlstate; /* the first characters; "" fits any */
    long native;          /* 0 fits any */
    const char *word;     /* part of the text; NULL fits any. For drivers that say HY000 to everything */
    int status;
    const char *name;     /* the error's stable name; NULL: that of its class */
    const char *advice;   /* what to do; NULL: that of its class */
};

enum outbox_type { OUTBOX_T_NULL_TEXT, OUTBOX_T_NULL_INT, OUTBOX_T_NULL_BYTES, OUTBOX_T_INT, OUTBOX_T_TEXT, OUTBOX_T_BYTES };

/* A value to bind, or a cell that was fetched. Text and bytes are borrowed. */
struct outbox_value {
    enum outbox_type type;
    int64_t number;
    const void *data;
    size_t size;
};

int outbox_odbc__open(const char *connection_string, outbox_odbc **odbc, outbox_error **err);
int outbox_odbc__borrow(void *hdbc, outbox_odbc **odbc, outbox_error **err);
void outbox_odbc__close(outbox_odbc *odbc);

/* An entry of odbc.ini or odbcinst.ini, as the driver manager finds them; *value is NULL without one. Free it. */
int outbox_odbc__profile(const char *section, const char *key, const char *file, char **value, outbox_error **err);
/* All that a file DSN says, as a connection string; NULL without such a file. Free it. */
int outbox_odbc__file_dsn(const char *file, char **text, outbox_error **err);

/* The table by which diagnostics are classed from now on; ends with a status of 0. */
void outbox_odbc__set_errors(outbox_odbc *odbc, const struct outbox_errclass *table);
/* The row of such a table that a diagnostic belongs to; its last one, with a status of 0, when none does. */
const struct outbox_errclass *outbox_errclass__find(const struct outbox_errclass *table, const char *state, long native,
                                                    const char *text);

/* What the server calls itself. */
int outbox_odbc__dbms(outbox_odbc *odbc, char *name, size_t size, outbox_error **err);

/* What the driver manager, the ODBC driver and the server say they are; "" where they say nothing. */
enum outbox_odbc_info { OUTBOX_INFO_MANAGER, OUTBOX_INFO_DRIVER, OUTBOX_INFO_DRIVER_VERSION, OUTBOX_INFO_SERVER,
                        OUTBOX_INFO_SERVER_VERSION };
void outbox_odbc__info(outbox_odbc *odbc, enum outbox_odbc_info which, char *text, size_t size);
/* The isolation level that transactions get without a wish of their own, by the ODBC driver; "" where it does not say. */
void outbox_odbc__isolation(outbox_odbc *odbc, char *text, size_t size);
/* How parameters are bound from now on. 0 in a type: SQL_VARCHAR or SQL_VARBINARY; in `longer`: never. */
struct outbox_bindings {
    short text, bytes;           /* type of parameters */
    short long_text, long_bytes; /* of those with more than so many bytes */
    size_t longer;
    int number_text;             /* numbers go as text, for drivers without 64 bits */
};
void outbox_odbc__set_bindings(outbox_odbc *odbc, const struct outbox_bindings *bindings);
int outbox_odbc__is_borrowed(const outbox_odbc *odbc);

/* Transactions of the library's own connections. */
int outbox_odbc__autocommit(outbox_odbc *odbc, int on, outbox_error **err);
int outbox_odbc__is_autocommit(outbox_odbc *odbc, int *on, outbox_error **err);
int outbox_odbc__end(outbox_odbc *odbc, int commit, outbox_error **err);

/* One statement without parameters or results. */
int outbox_odbc__direct(outbox_odbc *odbc, const char *sql, outbox_error **err);

/* Statements that are prepared from now on take no longer, where the driver can see to that; 0: as long as they like.
 * Returns what it was. */
unsigned outbox_odbc__timeout(outbox_odbc *odbc, unsigned seconds);

int outbox_odbc__prepare(outbox_odbc *odbc, const char *sql, size_t params, outbox_stmt **stmt, outbox_error **err);
void outbox_stmt__free(outbox_stmt *stmt);

/* Parameter index from 0. What the value points to must stay until the statement was executed. */
int outbox_stmt__bind(outbox_stmt *stmt, size_t index, const struct outbox_value *value, outbox_error **err);

/* Executes; rows (may be NULL) is the number of rows written, 0 when the driver does not know. `doing` is for the error. */
int outbox_stmt__execute(outbox_stmt *stmt, const char *doing, int64_t *rows, outbox_error **err);

/* Fetches the next row into cells. Columns come as the types say: 'i' a number, 't' text, 'T' text
 * of some kilobytes, 'b' bytes, in that order. Text and bytes land in the arena, with a NUL behind. OUTBOX_NONE after the
 * last row. */
int outbox_stmt__fetch(outbox_stmt *stmt, const char *types, struct outbox_value *cells, outbox_arena *arena,
                       outbox_error **err);

/* Ends a result, so that the statement can be executed again and the transaction can end. */
void outbox_stmt__finish(outbox_stmt *stmt);

#endif
