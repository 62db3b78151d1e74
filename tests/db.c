/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "db.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(struct db *db, SQLSMALLINT type, SQLHANDLE handle, const char *what)
{
    SQLCHAR state[6] = "?????", text[512] = "no diagnostics";
    SQLINTEGER native = 0;

    SQLGetDiagRec(type, handle, 1, state, &native, text, sizeof text, NULL);
    snprintf(db->error, sizeof db->error, "%s %d %s", (char *)state, (int)native, (char *)text);
    if (!db->quiet)
        tap_note("%.500s: %s", what, db->error);
    return -1;
}

void db_connection_string(const char *dsn, char *text, size_t size)
{
    if (strncmp(dsn, "sqlite:", 7) == 0)
        snprintf(text, size, "Driver=SQLite3;Database=%s;Timeout=20000;JournalMode=WAL;SyncPragma=NORMAL;FKSupport=1",
                 dsn + 7);
    else if (strchr(dsn, '=') != NULL)
        snprintf(text, size, "%s", dsn);
    else
        snprintf(text, size, "DSN=%s", dsn);
}

static int connect_to(struct db *db, const char *dsn, int autocommit, int quiet)
{
    char text[1024];

    memset(db, 0, sizeof *db);
    db->quiet = quiet;
    db_connection_string(dsn, text, sizeof text);
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &db->env)))
        return -1;
    SQLSetEnvAttr(db->env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, db->env, &db->dbc)))
        return -1;
    if (!SQL_SUCCEEDED(SQLDriverConnect(db->dbc, NULL, (SQLCHAR *)text, SQL_NTS, NULL, 0, NULL, SQL_DRIVER_NOPROMPT))) {
        complain(db, SQL_HANDLE_DBC, db->dbc, "connect");
        db_close(db);
        return -1;
    }
    if (!autocommit)
        SQLSetConnectAttr(db->dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)SQL_AUTOCOMMIT_OFF, 0);
    return 0;
}

int db_open(struct db *db, const char *dsn, int autocommit)
{
    return connect_to(db, dsn, autocommit, 0);
}

int db_open_quietly(struct db *db, const char *dsn, int autocommit)
{
    return connect_to(db, dsn, autocommit, 1);
}

void db_close(struct db *db)
{
    if (db->dbc) {
        SQLEndTran(SQL_HANDLE_DBC, db->dbc, SQL_ROLLBACK);
        SQLDisconnect(db->dbc);
        SQLFreeHandle(SQL_HANDLE_DBC, db->dbc);
    }
    if (db->env)
        SQLFreeHandle(SQL_HANDLE_ENV, db->env);
    db->dbc = NULL;
    db->env = NULL;
}

int db_commit(struct db *db)
{
    if (SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, db->dbc, SQL_COMMIT)))
        return 0;
    return complain(db, SQL_HANDLE_DBC, db->dbc, "COMMIT");
}

int db_rollback(struct db *db)
{
    if (SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, db->dbc, SQL_ROLLBACK)))
        return 0;
    return complain(db, SQL_HANDLE_DBC, db->dbc, "ROLLBACK");
}

/* Runs the statement; returns its handle, or NULL. */
static SQLHSTMT run(struct db *db, const char *format, va_list arguments)
{
    char small[2048], *sql = small;
    va_list again;
    SQLHSTMT stmt = NULL;
    SQLRETURN rc;
    int size;

    va_copy(again, arguments);
    size = vsnprintf(small, sizeof small, format, arguments);
    if (size >= (int)sizeof small && (sql = malloc((size_t)size + 1)) != NULL)
        vsnprintf(sql, (size_t)size + 1, format, again);
    va_end(again);
    if (sql == NULL || !SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, db->dbc, &stmt)))
        return NULL;
    rc = SQLExecDirect(stmt, (SQLCHAR *)sql, SQL_NTS);
    if (!SQL_SUCCEEDED(rc) && rc != SQL_NO_DATA) {
        complain(db, SQL_HANDLE_STMT, stmt, sql);
        SQLFreeHandle(SQL_HANDLE_STMT, stmt);
        stmt = NULL;
    }
    if (sql != small)
        free(sql);
    return stmt;
}

int db_exec(struct db *db, const char *format, ...)
{
    va_list arguments;
    SQLHSTMT stmt;

    va_start(arguments, format);
    stmt = run(db, format, arguments);
    va_end(arguments);
    if (stmt == NULL)
        return -1;
    /* A SELECT runs to its end, for what it calls. */
    if (SQL_SUCCEEDED(SQLFetch(stmt)))
        while (SQL_SUCCEEDED(SQLFetch(stmt)))
            ;
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    return 0;
}

/* Column 1 of the present row, in a string to be freed. */
static char *column_text(SQLHSTMT stmt)
{
    char *text = malloc(65536);
    SQLLEN size = 0;

    if (text == NULL)
        return NULL;
    text[0] = '\0';
    if (!SQL_SUCCEEDED(SQLGetData(stmt, 1, SQL_C_CHAR, text, 65536, &size)) || size == SQL_NULL_DATA) {
        free(text);
        return NULL;
    }
    return text;
}

char *db_text(struct db *db, const char *format, ...)
{
    va_list arguments;
    SQLHSTMT stmt;
    char *text;

    va_start(arguments, format);
    stmt = run(db, format, arguments);
    va_end(arguments);
    if (stmt == NULL)
        return NULL;
    text = SQL_SUCCEEDED(SQLFetch(stmt)) ? column_text(stmt) : NULL;
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    return text;
}

int64_t db_int(struct db *db, const char *format, ...)
{
    va_list arguments;
    SQLHSTMT stmt;
    char *text;
    int64_t number;

    va_start(arguments, format);
    stmt = run(db, format, arguments);
    va_end(arguments);
    if (stmt == NULL)
        return INT64_MIN;
    text = SQL_SUCCEEDED(SQLFetch(stmt)) ? column_text(stmt) : NULL;
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    number = text ? strtoll(text, NULL, 10) : INT64_MIN;
    free(text);
    return number;
}

char *db_rows(struct db *db, const char *format, ...)
{
    va_list arguments;
    SQLHSTMT stmt;
    char *all = calloc(1, 1), *text, *more;
    size_t size = 0;

    va_start(arguments, format);
    stmt = run(db, format, arguments);
    va_end(arguments);
    while (stmt != NULL && all != NULL && SQL_SUCCEEDED(SQLFetch(stmt))) {
        text = column_text(stmt);
        more = realloc(all, size + (text ? strlen(text) : 4) + 2);
        if (more == NULL)
            free(all);
        else
            size += (size_t)sprintf(more + size, "%s\n", text ? text : "NULL");
        all = more;
        free(text);
    }
    if (stmt == NULL) {
        free(all);
        return NULL;
    }
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    return all;
}
