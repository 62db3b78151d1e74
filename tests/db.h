/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain SQL for tests, on an ODBC connection that the library knows nothing of.
 */
#ifndef OUTBOX_TESTS_DB_H
#define OUTBOX_TESTS_DB_H

#include <stddef.h>
#include <stdint.h>
#include <sql.h>
#include <sqlext.h>

#include "tap.h"

struct db {
    SQLHENV env;
    SQLHDBC dbc;
    int quiet;        /* say nothing of errors */
    char error[1024]; /* what the last failed call said, with its SQLSTATE first */
};

/* Connects; dsn as outbox_conn_open() takes it. Returns 0, or -1 with a note. */
int db_open(struct db *db, const char *dsn, int autocommit);
/* The same without a note, and quiet from then on. */
int db_open_quietly(struct db *db, const char *dsn, int autocommit);
void db_close(struct db *db);
int db_commit(struct db *db);
int db_rollback(struct db *db);

/* Runs one statement. Returns 0, or -1 with a note. */
TAP_PRINTF(2) int db_exec(struct db *db, const char *format, ...);
/* The first column of the first row as a number; INT64_MIN without a row, for NULL, or after an error. */
TAP_PRINTF(2) int64_t db_int(struct db *db, const char *format, ...);
/* The first column of the first row as text; NULL without a row, for NULL, or after an error. Free it. */
TAP_PRINTF(2) char *db_text(struct db *db, const char *format, ...);
/* The first columns of all rows, each followed by a newline; NULL after an error. Free it. */
TAP_PRINTF(2) char *db_rows(struct db *db, const char *format, ...);

/* An ODBC connection string for what outbox_conn_open() takes: translates "sqlite:PATH". */
void db_connection_string(const char *dsn, char *text, size_t size);

#endif
