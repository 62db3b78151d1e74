/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "odbc_internal.h"
#include "connstr.h"
#include "error_internal.h"
#include "secrets.h"
#include "translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_DRIVER                                                                                                      \
    N_("the ODBC driver cannot be loaded: install the database's (Debian: libsqliteodbc, odbc-postgresql), and name "  \
       "it as odbcinst.ini does (`odbcinst -q -d` lists them)")
#define PASSWORD N_("correct the user or the password in the DSN")
#define NO_DATABASE N_("the server has no such database, or lets nobody into it: create it, or correct the DSN")
#define FULL_SERVER                                                                                                    \
    N_("the server has no connection left: open fewer (relays: relay.workers), or raise max_connections")

/* For errors before it is known which database it is, those of connecting above all: drivers give one SQLSTATE to many
 * of them, so what the server wrote counts too. */
static const struct outbox_errclass fallback[] = {
    { "IM002", 0, NULL, OUTBOX_ERR_CONNECT, "database.no_dsn",
      N_("odbc.ini has no such DSN (`odbcinst -q -s` lists them); an SQLite file is named as sqlite:PATH") },
    { "IM", 0, NULL, OUTBOX_ERR_CONNECT, "database.no_driver", NO_DRIVER },
    { "01000", 0, "Can't open lib", OUTBOX_ERR_CONNECT, "database.no_driver", NO_DRIVER },
    { "", 0, "password authentication failed", OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "", 0, "authentication failed for user", OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "", 0, "no password supplied", OUTBOX_ERR_CONNECT, "database.password", N_("the DSN has no password") },
    { "", 0, "not permitted to log in", OUTBOX_ERR_CONNECT, "database.permission",
      N_("the role needs the right to log in") },
    { "", 0, "permission denied for database", OUTBOX_ERR_CONNECT, "database.permission",
      N_("the role needs CONNECT on the database") },
    { "", 0, "no pg_hba.conf entry", OUTBOX_ERR_CONNECT, "database.permission",
      N_("the server's pg_hba.conf lets nobody in from here as this user, to this database: it needs a line that "
         "does") },
    { "", 0, "FATAL: role \"", OUTBOX_ERR_CONNECT, "database.password",
      N_("the server has no such user: create it, or correct the DSN") },
    { "", 0, "FATAL: database \"", OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 0, "Cannot open database", OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 0, "Error while trying to open file", OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 0, "ORA-12154", OUTBOX_ERR_CONNECT, "database.unknown", N_("tnsnames.ora has no such name") },
    { "", 0, "ORA-12514", OUTBOX_ERR_CONNECT, "database.unknown",
      N_("the listener knows no such service: does it run?") },
    { "", 0, "ORA-12505", OUTBOX_ERR_CONNECT, "database.unknown", N_("the listener knows no such SID: does it run?") },
    { "", 0, "SQL1013N", OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 0, "ORA-01033", OUTBOX_ERR_CONNECT, "database.starting", N_("it will be there soon: try again") },
    { "", 0, "ORA-01034", OUTBOX_ERR_CONNECT, "database.starting", N_("the instance does not run: start it") },
    { "", 0, "ORA-01017", OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "", 0, "SQL30082N", OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "", 0, "Your user name and password are not defined", OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "3D000", 0, NULL, OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 1049, "Unknown database", OUTBOX_ERR_CONNECT, "database.unknown", NO_DATABASE },
    { "", 1044, "Access denied", OUTBOX_ERR_CONNECT, "database.permission",
      N_("the user needs rights on the database") },
    { "28", 0, NULL, OUTBOX_ERR_CONNECT, "database.password", PASSWORD },
    { "", 40613, "not currently available", OUTBOX_ERR_CONNECT, "database.starting",
      N_("the service moves this database for the moment: try again") },
    { "", 0, "starting up", OUTBOX_ERR_CONNECT, "database.starting", N_("it will be there soon: try again") },
    { "", 0, "shutting down", OUTBOX_ERR_CONNECT, "database.starting", N_("try again once it is back") },
    { "57P03", 0, NULL, OUTBOX_ERR_CONNECT, "database.starting", N_("it will be there soon: try again") },
    { "", 0, "too many clients", OUTBOX_ERR_CONNECT, "database.connections", FULL_SERVER },
    { "", 0, "remaining connection slots", OUTBOX_ERR_CONNECT, "database.connections", FULL_SERVER },
    { "", 0, "too many connections", OUTBOX_ERR_CONNECT, "database.connections",
      N_("the role or database has no connection left: open fewer (relays: relay.workers), or raise its limit") },
    { "53300", 0, NULL, OUTBOX_ERR_CONNECT, "database.connections", FULL_SERVER },
    { "HY000", 14, "[SQLite]", OUTBOX_ERR_CONNECT, "database.file",
      N_("the file cannot be opened: its folder must exist, and be readable and writable for this user") },
    { "08", 0, NULL, OUTBOX_ERR_LOST, NULL, NULL },
    { "40", 0, NULL, OUTBOX_ERR_CONFLICT, NULL, NULL },
    { "23", 0, NULL, OUTBOX_ERR_DUPLICATE, NULL, NULL },
    { "42S02", 0, NULL, OUTBOX_ERR_SCHEMA, NULL, NULL },
    { "", 0, NULL, 0, NULL, NULL },
};

const struct outbox_errclass *outbox_errclass__find(const struct outbox_errclass *table, const char *state, long native,
                                                    const char *text)
{
    const struct outbox_errclass *row;

    for (row = table; row->status != 0; row++)
        if (strncmp(row->sqlstate, state, strlen(row->sqlstate)) == 0 && (row->native == 0 || row->native == native) &&
            (row->word == NULL || strstr(text, row->word) != NULL))
            break;
    return row;
}

static const char *advice(int status)
{
    switch (status) {
    case OUTBOX_ERR_LOST:
        return N_("the connection is lost: connect again");
    case OUTBOX_ERR_CONNECT:
        return N_("is the server there, and does the DSN say where?");
    case OUTBOX_ERR_CONFLICT:
        return N_("roll back and repeat the transaction");
    case OUTBOX_ERR_DUPLICATE:
        return N_("a row with this key is there already: roll back");
    case OUTBOX_ERR_SCHEMA:
        return N_("the outbox's tables are missing or of another version: run `outboxctl migrate`");
    case OUTBOX_ERR_READONLY:
        return N_("the database takes no writes at present");
    default:
        return N_("the server's log may tell more");
    }
}

static const char *name_of(int status)
{
    switch (status) {
    case OUTBOX_ERR_LOST:
        return "database.lost";
    case OUTBOX_ERR_CONNECT:
        return "database.connect";
    case OUTBOX_ERR_CONFLICT:
        return "database.conflict";
    case OUTBOX_ERR_DUPLICATE:
        return "database.duplicate";
    case OUTBOX_ERR_SCHEMA:
        return "schema.missing";
    case OUTBOX_ERR_READONLY:
        return "database.readonly";
    default:
        return "database.error";
    }
}

/* Drivers have many words for a connection that broke, some of them HY000. They know it afterwards, without asking the
 * server. */
static int is_dead(const outbox_odbc *odbc)
{
    SQLUINTEGER dead = SQL_CD_FALSE;

    return SQL_SUCCEEDED(SQLGetConnectAttr(odbc->dbc, SQL_ATTR_CONNECTION_DEAD, &dead, sizeof(dead), NULL)) &&
           dead == SQL_CD_TRUE;
}

/* One line: drivers put line ends and runs of blanks into their texts, psqlODBC behind them what it was doing itself. */
static void fold(char *text)
{
    char *noise = strstr(text, ";\nError while "), *from = text, *to = text;

    if (noise != NULL)
        *noise = '\0';
    for (; *from != '\0'; from++)
        if ((unsigned char)*from > ' ')
            *to++ = *from;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    to -= to > text && to[-1] == ' ';
    *to = '\0';
}

/* Whose words tell below what went wrong: they are those of client libraries, which know other languages. */
static SQLRETURN connect_in_english(outbox_odbc *odbc, const char *connection_string)
{
    locale_t before = outbox_translate__pause();
    SQLRETURN rc = SQLDriverConnect(odbc->dbc, NULL, (SQLCHAR *)(uintptr_t)connection_string, SQL_NTS, NULL, 0, NULL,
                                    SQL_DRIVER_NOPROMPT);

    outbox_translate__resume(before);
    return rc;
}

/* Reads the first diagnostic of a handle. connecting: the connection string, when there is no connection yet. */
static int fail(outbox_odbc *odbc, SQLSMALLINT type, SQLHANDLE handle, const char *doing, const char *connecting,
                outbox_error **err)
{
    SQLCHAR state[6] = "", text[512] = "";
    SQLINTEGER native = 0;
    SQLSMALLINT size = 0;
    const struct outbox_errclass *row;
    const char *name, *what;
    int status;

    if (!SQL_SUCCEEDED(SQLGetDiagRec(type, handle, 1, state, &native, text, sizeof(text), &size))) {
        snprintf((char *)state, sizeof(state), "HY000");
        snprintf((char *)text, sizeof(text), "the driver gave no reason");
    }
    outbox_secrets__hide_known((char *)text, connecting != NULL ? connecting : "");
    fold((char *)text);
    row = outbox_errclass__find(odbc->errors, (const char *)state, native, (const char *)text);
    status = connecting != NULL ? OUTBOX_ERR_CONNECT : row->status != 0 ? row->status : OUTBOX_ERR_DATABASE;
    if (status == OUTBOX_ERR_DATABASE && is_dead(odbc))
        status = OUTBOX_ERR_LOST;
    name = row->name != NULL ? row->name : name_of(status);
    what = row->advice != NULL ? row->advice : advice(status);
    /* TRANSLATORS: what could not be done, where ("" or a statement), why, and what to do. */
    outbox_error__set(err, status, name, "cannot %s%s: %s [SQLSTATE %s, native %ld]; %s", _(doing), odbc->where, text,
                      state, (long)native, _(what));
    outbox_error__database(err, (const char *)state, native);
    return status;
}

int outbox_stmt__fail(outbox_stmt *stmt, const char *doing, outbox_error **err)
{
    return fail(stmt->odbc, SQL_HANDLE_STMT, stmt->handle, doing, NULL, err);
}

void outbox_odbc__set_errors(outbox_odbc *odbc, const struct outbox_errclass *table)
{
    odbc->errors = table;
}

void outbox_odbc__set_bindings(outbox_odbc *odbc, const struct outbox_bindings *bindings)
{
    odbc->bindings = *bindings;
}

int outbox_odbc__borrow(void *hdbc, outbox_odbc **odbc, outbox_error **err)
{
    *odbc = calloc(1, sizeof(**odbc));
    if (*odbc == NULL)
        return outbox_error__nomem(err);
    (*odbc)->dbc = hdbc;
    (*odbc)->errors = fallback;
    (*odbc)->binds = -1;
    return OUTBOX_OK;
}

/* " (DSN shop)", or " (database shop on localhost)": what people have to look at when it fails. */
static int describe(outbox_odbc *odbc, const char *string, outbox_error **err)
{
    char *dsn = NULL, *database = NULL, *server = NULL;
    int rc = outbox_connstr__get(string, "DSN", &dsn, err);

    if (rc == OUTBOX_OK)
        rc = outbox_connstr__get(string, "Database", &database, err);
    if (rc == OUTBOX_OK)
        rc = outbox_connstr__get(string, "Servername", &server, err);
    if (rc == OUTBOX_OK && server == NULL)
        rc = outbox_connstr__get(string, "Server", &server, err);
    if (rc == OUTBOX_OK && dsn != NULL)
        snprintf(odbc->where, sizeof(odbc->where), " (DSN %.180s)", dsn);
    else if (rc == OUTBOX_OK && database != NULL)
        snprintf(odbc->where, sizeof(odbc->where), " (database %.100s%s%.70s)", database, server != NULL ? " on " : "",
                 server != NULL ? server : "");
    outbox_secrets__hide_known(odbc->where, string);
    free(dsn);
    free(database);
    free(server);
    return rc;
}

int outbox_odbc__open(const char *connection_string, outbox_odbc **out, outbox_error **err)
{
    outbox_odbc *odbc = calloc(1, sizeof(*odbc));
    int rc = OUTBOX_OK;

    *out = NULL;
    if (odbc == NULL)
        return outbox_error__nomem(err);
    odbc->errors = fallback;
    odbc->binds = -1;
    rc = describe(odbc, connection_string, err);
    if (rc != OUTBOX_OK) {
        free(odbc);
        return rc;
    }
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &odbc->env)) ||
        !SQL_SUCCEEDED(SQLSetEnvAttr(odbc->env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0)) ||
        !SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, odbc->env, &odbc->dbc))) {
        rc = outbox_error__set(err, OUTBOX_ERR_CONNECT, "odbc.unusable", "the ODBC driver manager gives no handles");
    } else if (!SQL_SUCCEEDED(connect_in_english(odbc, connection_string))) {
        rc = fail(odbc, SQL_HANDLE_DBC, odbc->dbc, "connect to the database", connection_string, err);
        SQLFreeHandle(SQL_HANDLE_DBC, odbc->dbc);
        odbc->dbc = NULL;
    }
    if (rc != OUTBOX_OK) {
        outbox_odbc__close(odbc);
        return rc;
    }
    *out = odbc;
    return OUTBOX_OK;
}

void outbox_odbc__close(outbox_odbc *odbc)
{
    if (odbc == NULL)
        return;
    if (odbc->env != NULL) {
        if (odbc->dbc != NULL) {
            /* Refused while a transaction is open: what is open here was given up. */
            SQLEndTran(SQL_HANDLE_DBC, odbc->dbc, SQL_ROLLBACK);
            SQLDisconnect(odbc->dbc);
            SQLFreeHandle(SQL_HANDLE_DBC, odbc->dbc);
        }
        SQLFreeHandle(SQL_HANDLE_ENV, odbc->env);
    }
    free(odbc);
}

int outbox_odbc__dbms(outbox_odbc *odbc, char *name, size_t size, outbox_error **err)
{
    SQLSMALLINT got = 0;

    if (!SQL_SUCCEEDED(SQLGetInfo(odbc->dbc, SQL_DBMS_NAME, name, (SQLSMALLINT)size, &got)))
        return fail(odbc, SQL_HANDLE_DBC, odbc->dbc, "ask the connection which database it leads to", NULL, err);
    return OUTBOX_OK;
}

void outbox_odbc__info(outbox_odbc *odbc, enum outbox_odbc_info which, char *text, size_t size)
{
    static const SQLUSMALLINT types[] = { SQL_DM_VER, SQL_DRIVER_NAME, SQL_DRIVER_VER, SQL_DBMS_NAME, SQL_DBMS_VER };
    SQLSMALLINT got = 0;

    if (!SQL_SUCCEEDED(SQLGetInfo(odbc->dbc, types[which], text, (SQLSMALLINT)size, &got)))
        text[0] = '\0';
}

void outbox_odbc__isolation(outbox_odbc *odbc, char *text, size_t size)
{
    static const struct {
        SQLUINTEGER level;
        const char *name;
    } levels[] = { { SQL_TXN_READ_UNCOMMITTED, "read uncommitted" },
                   { SQL_TXN_READ_COMMITTED, "read committed" },
                   { SQL_TXN_REPEATABLE_READ, "repeatable read" },
                   { SQL_TXN_SERIALIZABLE, "serializable" } };
    SQLUINTEGER level = 0;
    size_t i;

    text[0] = '\0';
    if (!SQL_SUCCEEDED(SQLGetInfo(odbc->dbc, SQL_DEFAULT_TXN_ISOLATION, &level, sizeof(level), NULL)))
        return;
    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (levels[i].level == level)
            snprintf(text, size, "%s", levels[i].name);
}

int outbox_odbc__is_borrowed(const outbox_odbc *odbc)
{
    return odbc->env == NULL;
}

int outbox_odbc__autocommit(outbox_odbc *odbc, int on, outbox_error **err)
{
    SQLULEN value = on ? SQL_AUTOCOMMIT_ON : SQL_AUTOCOMMIT_OFF;

    if (!SQL_SUCCEEDED(SQLSetConnectAttr(odbc->dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)value, 0)))
        return fail(odbc, SQL_HANDLE_DBC, odbc->dbc, on ? "end a transaction" : "start a transaction", NULL, err);
    return OUTBOX_OK;
}

int outbox_odbc__is_autocommit(outbox_odbc *odbc, int *on, outbox_error **err)
{
    SQLULEN value = 0; /* drivers write 32 or 64 bits of it */

    if (!SQL_SUCCEEDED(SQLGetConnectAttr(odbc->dbc, SQL_ATTR_AUTOCOMMIT, &value, sizeof(value), NULL)))
        return fail(odbc, SQL_HANDLE_DBC, odbc->dbc, "ask whether autocommit is on", NULL, err);
    *on = value != SQL_AUTOCOMMIT_OFF;
    return OUTBOX_OK;
}

int outbox_odbc__end(outbox_odbc *odbc, int commit, outbox_error **err)
{
    if (!SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, odbc->dbc, commit ? SQL_COMMIT : SQL_ROLLBACK)))
        return fail(odbc, SQL_HANDLE_DBC, odbc->dbc, commit ? N_("commit") : N_("roll back"), NULL, err);
    return OUTBOX_OK;
}

int outbox_odbc__direct(outbox_odbc *odbc, const char *sql, outbox_error **err)
{
    char doing[120];
    SQLHSTMT handle;
    SQLRETURN ret;
    int line, rc = OUTBOX_OK;

    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, odbc->dbc, &handle)))
        return fail(odbc, SQL_HANDLE_DBC, odbc->dbc, "make a statement", NULL, err);
    ret = SQLExecDirect(handle, (SQLCHAR *)(uintptr_t)sql, SQL_NTS);
    if (!SQL_SUCCEEDED(ret) && ret != SQL_NO_DATA) {
        line = (int)strcspn(sql, "\n");
        snprintf(doing, sizeof(doing), _("execute \"%.*s\""), line < 80 ? line : 80, sql);
        rc = fail(odbc, SQL_HANDLE_STMT, handle, doing, NULL, err);
    }
    SQLFreeHandle(SQL_HANDLE_STMT, handle);
    return rc;
}

unsigned outbox_odbc__timeout(outbox_odbc *odbc, unsigned seconds)
{
    unsigned was = odbc->timeout;

    odbc->timeout = seconds;
    return was;
}

/* A driver that knows of no timeout says so here, or nothing at all: its statements wait. */
static SQLRETURN prepare_in_time(outbox_stmt *stmt, const char *sql)
{
    if (stmt->odbc->timeout > 0)
        (void)SQLSetStmtAttr(stmt->handle, SQL_ATTR_QUERY_TIMEOUT, (SQLPOINTER)stmt->odbc->timeout, 0);
    return SQLPrepare(stmt->handle, (SQLCHAR *)(uintptr_t)sql, SQL_NTS);
}

int outbox_odbc__prepare(outbox_odbc *odbc, const char *sql, size_t params, outbox_stmt **out, outbox_error **err)
{
    outbox_stmt *stmt = calloc(1, sizeof(*stmt));
    int rc;

    *out = NULL;
    if (stmt != NULL) {
        stmt->odbc = odbc;
        stmt->params = params;
        stmt->lengths = calloc(params + 1, sizeof(*stmt->lengths));
        stmt->numbers = calloc(params + 1, sizeof(*stmt->numbers));
        stmt->digits = calloc(params + 1, sizeof(*stmt->digits));
    }
    if (stmt == NULL || stmt->lengths == NULL || stmt->numbers == NULL || stmt->digits == NULL) {
        outbox_stmt__free(stmt);
        return outbox_error__nomem(err);
    }
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, odbc->dbc, &stmt->handle))) {
        stmt->handle = NULL;
        rc = fail(odbc, SQL_HANDLE_DBC, odbc->dbc, "make a statement", NULL, err);
    } else if (!SQL_SUCCEEDED(prepare_in_time(stmt, sql))) {
        rc = outbox_stmt__fail(stmt, "prepare a statement", err);
    } else {
        *out = stmt;
        return OUTBOX_OK;
    }
    outbox_stmt__free(stmt);
    return rc;
}

void outbox_stmt__free(outbox_stmt *stmt)
{
    if (stmt == NULL)
        return;
    if (stmt->handle != NULL)
        SQLFreeHandle(SQL_HANDLE_STMT, stmt->handle);
    free(stmt->lengths);
    free(stmt->numbers);
    free(stmt->digits);
    free(stmt->scratch);
    free(stmt->columns);
    free(stmt->room);
    free(stmt);
}

/* Drivers take a type for a longer one than their server has a variable for, unless they are told that it is long. */
static SQLSMALLINT bytes_type(const struct outbox_bindings *b, size_t size)
{
    if (b->longer > 0 && size > b->longer)
        return b->long_bytes;
    return b->bytes != 0 ? b->bytes : SQL_VARBINARY; /* LONGVARBINARY fails on psqlODBC with ByteaAsLongVarBinary=0 */
}

static SQLSMALLINT text_type(const struct outbox_bindings *b, size_t size)
{
    if (b->longer > 0 && size > b->longer)
        return b->long_text;
    return b->text != 0 ? b->text : SQL_VARCHAR;
}

int outbox_stmt__bind(outbox_stmt *stmt, size_t index, const struct outbox_value *value, outbox_error **err)
{
    SQLPOINTER data = (SQLPOINTER)(uintptr_t)(value->data != NULL ? value->data : "");
    SQLSMALLINT ctype = SQL_C_CHAR, type = text_type(&stmt->odbc->bindings, value->size);
    SQLULEN size = value->size > 0 ? value->size : 1;

    stmt->lengths[index] = (SQLLEN)value->size;
    switch (value->type) {
    case OUTBOX_T_NULL_INT:
    case OUTBOX_T_INT:
        if (stmt->odbc->bindings.number_text) {
            stmt->lengths[index] = snprintf(stmt->digits[index], sizeof(stmt->digits[index]), "%lld",
                                            (long long)value->number);
            data = stmt->digits[index];
            type = SQL_VARCHAR;
            size = sizeof(stmt->digits[index]) - 1;
            break;
        }
        ctype = SQL_C_SBIGINT;
        type = SQL_BIGINT;
        stmt->numbers[index] = value->number;
        data = &stmt->numbers[index];
        stmt->lengths[index] = 0;
        size = 19;
        break;
    case OUTBOX_T_NULL_BYTES:
    case OUTBOX_T_BYTES:
        ctype = SQL_C_BINARY;
        type = bytes_type(&stmt->odbc->bindings, value->size);
        break;
    case OUTBOX_T_NULL_TEXT:
    case OUTBOX_T_TEXT:
        break;
    }
    if (value->type == OUTBOX_T_NULL_INT || value->type == OUTBOX_T_NULL_TEXT || value->type == OUTBOX_T_NULL_BYTES)
        stmt->lengths[index] = SQL_NULL_DATA;
    if (!SQL_SUCCEEDED(SQLBindParameter(stmt->handle, (SQLUSMALLINT)(index + 1), SQL_PARAM_INPUT, ctype, type, size, 0,
                                        data, (SQLLEN)value->size, &stmt->lengths[index])))
        return outbox_stmt__fail(stmt, "bind a value", err);
    return OUTBOX_OK;
}

int outbox_stmt__execute(outbox_stmt *stmt, const char *doing, int64_t *rows, outbox_error **err)
{
    SQLRETURN ret = SQLExecute(stmt->handle);
    SQLLEN count = 0;

    if (rows != NULL)
        *rows = 0;
    /* SQL_NO_DATA: an UPDATE or DELETE that met no row, with or without RETURNING, which is success. */
    stmt->empty = ret == SQL_NO_DATA;
    if (stmt->empty)
        return OUTBOX_OK;
    if (!SQL_SUCCEEDED(ret))
        return outbox_stmt__fail(stmt, doing, err);
    if (rows == NULL)
        return OUTBOX_OK;
    if (!SQL_SUCCEEDED(SQLRowCount(stmt->handle, &count)))
        return outbox_stmt__fail(stmt, doing, err);
    *rows = count > 0 ? count : 0;
    return OUTBOX_OK;
}

void outbox_stmt__finish(outbox_stmt *stmt)
{
    SQLFreeStmt(stmt->handle, SQL_CLOSE);
}
