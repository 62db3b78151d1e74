/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One lock guards all that is here, and is never held while the driver manager is called. */
#define _GNU_SOURCE
#include "interpose.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sql.h>
#include <sqlext.h>

#define STEP 120

const char *const interpose_names[] = {
    "SQLAllocHandle", "SQLBindParameter", "SQLDisconnect", "SQLDriverConnect", "SQLEndTran", "SQLExecDirect",
    "SQLExecute", "SQLFetch", "SQLFreeHandle", "SQLFreeStmt", "SQLGetConnectAttr", "SQLGetData", "SQLGetDiagRec",
    "SQLGetInfo", "SQLPrepare",
    "SQLRowCount", "SQLSetConnectAttr", "SQLSetEnvAttr", "SQLSetStmtAttr", NULL,
};

/* A handle that is allocated. */
struct entry {
    SQLHANDLE handle, dbc; /* dbc: its connection, or itself */
    int dead;              /* of a connection: it is lost */
    const struct interpose_reason *reason; /* the diagnostic of its last call, when that was planted */
    char sql[STEP - 30];
};

static const struct interpose_reason gone = {"08S01", 26, "the connection was lost before", 1, 0};
static const struct interpose_reason warning = {"01000", 0, "a warning that changes nothing", 0, 0};

static struct {
    pthread_mutex_t lock;
    struct entry entries[4096];
    size_t used;
    long handles;
    int on, hit, weighty;
    enum interpose_mode mode;
    long number, calls;
    const struct interpose_reason *reason;
    char step[STEP];
    char *shared;
    size_t shared_size;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

void interpose_begin(enum interpose_mode mode, long number, const struct interpose_reason *reason)
{
    pthread_mutex_lock(&state.lock);
    state.mode = mode;
    state.number = number;
    state.reason = reason;
    state.calls = 0;
    state.hit = 0;
    state.step[0] = '\0';
    state.on = 1;
    pthread_mutex_unlock(&state.lock);
}

long interpose_end(void)
{
    long calls;

    pthread_mutex_lock(&state.lock);
    state.on = 0;
    calls = state.calls;
    pthread_mutex_unlock(&state.lock);
    return calls;
}

void interpose_count_weighty(int weighty)
{
    state.weighty = weighty;
}

void interpose_hold(int held)
{
    pthread_mutex_lock(&state.lock);
    state.on = !held;
    pthread_mutex_unlock(&state.lock);
}

int interpose_hit(void)
{
    return state.hit;
}

const char *interpose_step(void)
{
    return state.step;
}

void interpose_leave_words(char *shared, size_t size)
{
    state.shared = shared;
    state.shared_size = size;
}

long interpose_handles(void)
{
    long handles;

    pthread_mutex_lock(&state.lock);
    handles = state.handles;
    pthread_mutex_unlock(&state.lock);
    return handles;
}

/* ---- Handles; with the lock held ---- */

static struct entry *find(SQLHANDLE handle)
{
    for (size_t i = 0; i < state.used; i++)
        if (handle != NULL && state.entries[i].handle == handle)
            return &state.entries[i];
    return NULL;
}

static void note_handle(SQLHANDLE handle, SQLHANDLE parent, SQLSMALLINT type)
{
    struct entry *e = NULL;

    for (size_t i = 0; i < state.used && e == NULL; i++)
        if (state.entries[i].handle == NULL)
            e = &state.entries[i];
    if (e == NULL && state.used < sizeof state.entries / sizeof *state.entries)
        e = &state.entries[state.used++];
    if (e == NULL)
        abort(); /* more handles than any test has */
    memset(e, 0, sizeof *e);
    e->handle = handle;
    e->dbc = type == SQL_HANDLE_DBC ? handle : type == SQL_HANDLE_STMT ? parent : NULL;
    state.handles++;
}

static int is_dead(SQLHANDLE handle)
{
    const struct entry *e = find(handle), *connection = e != NULL ? find(e->dbc) : NULL;

    return connection != NULL && connection->dead;
}

static void note_sql(SQLHSTMT stmt, const SQLCHAR *sql)
{
    struct entry *e;

    pthread_mutex_lock(&state.lock);
    if ((e = find(stmt)) != NULL)
        snprintf(e->sql, sizeof e->sql, "%s", (const char *)sql);
    pthread_mutex_unlock(&state.lock);
}

/* ---- What every call goes through ---- */

SQLRETURN __real_SQLAllocHandle(SQLSMALLINT type, SQLHANDLE parent, SQLHANDLE *handle);
SQLRETURN __real_SQLDisconnect(SQLHDBC dbc);
SQLRETURN __real_SQLEndTran(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT how);
SQLRETURN __real_SQLExecDirect(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size);
SQLRETURN __real_SQLGetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER room,
                                   SQLINTEGER *got);
SQLRETURN __real_SQLFreeHandle(SQLSMALLINT type, SQLHANDLE handle);

/* What can happen to a call. */
enum ability {
    NOT_UNDONE = 1, /* releases something: when it fails, it is done all the same */
    DEAD_TOO = 2,   /* works on a dead connection */
    NO_ROWS = 4,    /* can say that there was no row */
    WEIGHTY = 8     /* reaches the server */
};

struct call {
    SQLHANDLE handle;
    enum interpose_mode mode;
    int done; /* the call is not to be made: its result is */
    SQLRETURN result;
};

static void name_step(const char *function, SQLHANDLE handle, const char *sql)
{
    const struct entry *e = find(handle);

    snprintf(state.step, sizeof state.step, "%s %s", function, sql != NULL ? sql : e != NULL ? e->sql : "");
    for (char *p = state.step; *p != '\0'; p++)
        *p = *p == '\n' ? ' ' : *p;
    if (state.shared != NULL && (state.mode == INTERPOSE_DIE_BEFORE || state.mode == INTERPOSE_DIE_AFTER))
        snprintf(state.shared, state.shared_size, "%s", state.step);
}

static void plant(SQLHANDLE handle, const struct interpose_reason *reason)
{
    struct entry *e = find(handle);

    if (e != NULL)
        e->reason = reason;
}

/* What the server does when its client is gone; the driver's connection stays, for our own purposes. */
static void roll_back(SQLHDBC dbc)
{
    SQLULEN automatic = SQL_AUTOCOMMIT_OFF;
    SQLHSTMT stmt;

    __real_SQLGetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, &automatic, sizeof automatic, NULL);
    if (automatic == SQL_AUTOCOMMIT_OFF) {
        __real_SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_ROLLBACK);
    } else if (SQL_SUCCEEDED(__real_SQLAllocHandle(SQL_HANDLE_STMT, dbc, &stmt))) {
        __real_SQLExecDirect(stmt, (SQLCHAR *)(size_t)"ROLLBACK", SQL_NTS);
        __real_SQLFreeHandle(SQL_HANDLE_STMT, stmt);
    }
}

/* The planted failure of a call, done or not. */
static SQLRETURN fail(SQLHANDLE handle)
{
    const struct interpose_reason *reason;
    struct entry *e, *connection;
    SQLHDBC lost = NULL;

    pthread_mutex_lock(&state.lock);
    reason = state.reason;
    plant(handle, reason);
    e = find(handle);
    connection = e != NULL ? find(e->dbc) : NULL;
    if (reason->lost && connection != NULL) {
        connection->dead = 1;
        lost = connection->handle;
    }
    pthread_mutex_unlock(&state.lock);
    if (lost != NULL)
        roll_back(lost);
    return SQL_ERROR;
}

/* Only of a statement that writes can a driver say that it met no row. */
static int is_write(SQLHANDLE handle)
{
    const struct entry *e = find(handle);

    return e != NULL && strncmp(e->sql, "SELECT", 6) != 0;
}

static struct call enter(const char *function, SQLHANDLE handle, const char *sql, int abilities)
{
    struct call call = {handle, INTERPOSE_COUNT, 0, SQL_ERROR};

    pthread_mutex_lock(&state.lock);
    plant(handle, NULL);
    if (is_dead(handle) && !(abilities & DEAD_TOO)) {
        plant(handle, &gone);
        call.done = 1;
    }
    if (state.on && (abilities & WEIGHTY || !state.weighty) && ++state.calls == state.number) {
        name_step(function, handle, sql);
        state.hit = state.mode != INTERPOSE_NO_DATA || ((abilities & NO_ROWS) && is_write(handle));
        if (!call.done && state.hit)
            call.mode = state.mode;
    }
    pthread_mutex_unlock(&state.lock);
    if (call.mode == INTERPOSE_DIE_BEFORE)
        kill(getpid(), SIGKILL);
    if (call.mode == INTERPOSE_BEFORE && (abilities & NOT_UNDONE))
        call.mode = INTERPOSE_AFTER;
    if (call.mode == INTERPOSE_BEFORE) {
        call.result = fail(handle);
        call.done = 1;
    }
    return call;
}

static SQLRETURN leave(const struct call *call, SQLRETURN result)
{
    if (call->mode == INTERPOSE_DIE_AFTER)
        kill(getpid(), SIGKILL);
    if (call->mode == INTERPOSE_AFTER && (SQL_SUCCEEDED(result) || result == SQL_NO_DATA))
        return fail(call->handle);
    if (call->mode == INTERPOSE_NO_DATA && SQL_SUCCEEDED(result))
        return SQL_NO_DATA;
    if (call->mode == INTERPOSE_INFO && result == SQL_SUCCESS) {
        pthread_mutex_lock(&state.lock);
        plant(call->handle, &warning);
        pthread_mutex_unlock(&state.lock);
        return SQL_SUCCESS_WITH_INFO;
    }
    return result;
}

/* ---- The functions ---- */

SQLRETURN __wrap_SQLAllocHandle(SQLSMALLINT type, SQLHANDLE parent, SQLHANDLE *handle);
SQLRETURN __wrap_SQLAllocHandle(SQLSMALLINT type, SQLHANDLE parent, SQLHANDLE *handle)
{
    struct call call = enter("SQLAllocHandle", parent, NULL, 0);
    SQLRETURN ret;

    *handle = SQL_NULL_HANDLE;
    if (call.done)
        return call.result;
    ret = __real_SQLAllocHandle(type, parent, handle);
    if (SQL_SUCCEEDED(ret) && call.mode == INTERPOSE_AFTER) {
        __real_SQLFreeHandle(type, *handle); /* no caller frees what it did not get */
        *handle = SQL_NULL_HANDLE;
    } else if (SQL_SUCCEEDED(ret)) {
        pthread_mutex_lock(&state.lock);
        note_handle(*handle, parent, type);
        pthread_mutex_unlock(&state.lock);
    }
    return leave(&call, ret);
}

SQLRETURN __wrap_SQLFreeHandle(SQLSMALLINT type, SQLHANDLE handle);
SQLRETURN __wrap_SQLFreeHandle(SQLSMALLINT type, SQLHANDLE handle)
{
    struct call call = enter("SQLFreeHandle", handle, NULL, NOT_UNDONE | DEAD_TOO);
    struct entry *e, saved = {.handle = NULL};
    SQLRETURN ret;

    /* Before it is freed: another thread may be given the same address at once. */
    pthread_mutex_lock(&state.lock);
    if ((e = find(handle)) != NULL) {
        saved = *e;
        e->handle = NULL;
        state.handles--;
    }
    pthread_mutex_unlock(&state.lock);
    ret = __real_SQLFreeHandle(type, handle);
    if (!SQL_SUCCEEDED(ret) && saved.handle != NULL) {
        pthread_mutex_lock(&state.lock);
        note_handle(handle, saved.dbc, type);
        pthread_mutex_unlock(&state.lock);
    }
    return leave(&call, ret);
}

SQLRETURN __real_SQLSetEnvAttr(SQLHENV env, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetEnvAttr(SQLHENV env, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetEnvAttr(SQLHENV env, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size)
{
    struct call call = enter("SQLSetEnvAttr", env, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLSetEnvAttr(env, attribute, value, size));
}

SQLRETURN __real_SQLDriverConnect(SQLHDBC dbc, SQLHWND window, SQLCHAR *in, SQLSMALLINT in_size, SQLCHAR *out,
                                  SQLSMALLINT out_size, SQLSMALLINT *got, SQLUSMALLINT completion);
SQLRETURN __wrap_SQLDriverConnect(SQLHDBC dbc, SQLHWND window, SQLCHAR *in, SQLSMALLINT in_size, SQLCHAR *out,
                                  SQLSMALLINT out_size, SQLSMALLINT *got, SQLUSMALLINT completion);
SQLRETURN __wrap_SQLDriverConnect(SQLHDBC dbc, SQLHWND window, SQLCHAR *in, SQLSMALLINT in_size, SQLCHAR *out,
                                  SQLSMALLINT out_size, SQLSMALLINT *got, SQLUSMALLINT completion)
{
    struct call call = enter("SQLDriverConnect", dbc, NULL, WEIGHTY);
    SQLRETURN ret;

    if (call.done)
        return call.result;
    ret = __real_SQLDriverConnect(dbc, window, in, in_size, out, out_size, got, completion);
    if (SQL_SUCCEEDED(ret) && call.mode == INTERPOSE_AFTER)
        __real_SQLDisconnect(dbc); /* after an error there is no connection */
    return leave(&call, ret);
}

SQLRETURN __wrap_SQLDisconnect(SQLHDBC dbc);
SQLRETURN __wrap_SQLDisconnect(SQLHDBC dbc)
{
    struct call call = enter("SQLDisconnect", dbc, NULL, NOT_UNDONE | DEAD_TOO | WEIGHTY);

    return leave(&call, __real_SQLDisconnect(dbc));
}

SQLRETURN __wrap_SQLEndTran(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT how);
SQLRETURN __wrap_SQLEndTran(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT how)
{
    struct call call = enter("SQLEndTran", handle, how == SQL_COMMIT ? "COMMIT" : "ROLLBACK", WEIGHTY);

    return call.done ? call.result : leave(&call, __real_SQLEndTran(type, handle, how));
}

SQLRETURN __real_SQLGetInfo(SQLHDBC dbc, SQLUSMALLINT what, SQLPOINTER value, SQLSMALLINT size, SQLSMALLINT *got);
SQLRETURN __wrap_SQLGetInfo(SQLHDBC dbc, SQLUSMALLINT what, SQLPOINTER value, SQLSMALLINT size, SQLSMALLINT *got);
SQLRETURN __wrap_SQLGetInfo(SQLHDBC dbc, SQLUSMALLINT what, SQLPOINTER value, SQLSMALLINT size, SQLSMALLINT *got)
{
    struct call call = enter("SQLGetInfo", dbc, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLGetInfo(dbc, what, value, size, got));
}

SQLRETURN __real_SQLSetStmtAttr(SQLHSTMT stmt, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetStmtAttr(SQLHSTMT stmt, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetStmtAttr(SQLHSTMT stmt, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size)
{
    struct call call = enter("SQLSetStmtAttr", stmt, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLSetStmtAttr(stmt, attribute, value, size));
}

SQLRETURN __real_SQLSetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size);
SQLRETURN __wrap_SQLSetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size)
{
    struct call call = enter("SQLSetConnectAttr", dbc, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLSetConnectAttr(dbc, attribute, value, size));
}

SQLRETURN __wrap_SQLGetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER room,
                                   SQLINTEGER *got);
SQLRETURN __wrap_SQLGetConnectAttr(SQLHDBC dbc, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER room,
                                   SQLINTEGER *got)
{
    struct call call = enter("SQLGetConnectAttr", dbc, NULL, DEAD_TOO);
    SQLRETURN ret;

    if (call.done)
        return call.result;
    ret = __real_SQLGetConnectAttr(dbc, attribute, value, room, got);
    pthread_mutex_lock(&state.lock);
    if (SQL_SUCCEEDED(ret) && attribute == SQL_ATTR_CONNECTION_DEAD && is_dead(dbc))
        *(SQLUINTEGER *)value = SQL_CD_TRUE;
    pthread_mutex_unlock(&state.lock);
    return leave(&call, ret);
}

SQLRETURN __wrap_SQLExecDirect(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size);
SQLRETURN __wrap_SQLExecDirect(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size)
{
    struct call call = enter("SQLExecDirect", stmt, (const char *)sql, WEIGHTY);

    return call.done ? call.result : leave(&call, __real_SQLExecDirect(stmt, sql, size));
}

SQLRETURN __real_SQLPrepare(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size);
SQLRETURN __wrap_SQLPrepare(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size);
SQLRETURN __wrap_SQLPrepare(SQLHSTMT stmt, SQLCHAR *sql, SQLINTEGER size)
{
    struct call call = enter("SQLPrepare", stmt, (const char *)sql, 0);

    note_sql(stmt, sql);
    return call.done ? call.result : leave(&call, __real_SQLPrepare(stmt, sql, size));
}

SQLRETURN __real_SQLBindParameter(SQLHSTMT stmt, SQLUSMALLINT number, SQLSMALLINT in_out, SQLSMALLINT ctype,
                                  SQLSMALLINT type, SQLULEN size, SQLSMALLINT digits, SQLPOINTER value, SQLLEN room,
                                  SQLLEN *length);
SQLRETURN __wrap_SQLBindParameter(SQLHSTMT stmt, SQLUSMALLINT number, SQLSMALLINT in_out, SQLSMALLINT ctype,
                                  SQLSMALLINT type, SQLULEN size, SQLSMALLINT digits, SQLPOINTER value, SQLLEN room,
                                  SQLLEN *length);
SQLRETURN __wrap_SQLBindParameter(SQLHSTMT stmt, SQLUSMALLINT number, SQLSMALLINT in_out, SQLSMALLINT ctype,
                                  SQLSMALLINT type, SQLULEN size, SQLSMALLINT digits, SQLPOINTER value, SQLLEN room,
                                  SQLLEN *length)
{
    struct call call = enter("SQLBindParameter", stmt, NULL, 0);

    if (call.done)
        return call.result;
    return leave(&call, __real_SQLBindParameter(stmt, number, in_out, ctype, type, size, digits, value, room, length));
}

SQLRETURN __real_SQLExecute(SQLHSTMT stmt);
SQLRETURN __wrap_SQLExecute(SQLHSTMT stmt);
SQLRETURN __wrap_SQLExecute(SQLHSTMT stmt)
{
    struct call call = enter("SQLExecute", stmt, NULL, NO_ROWS | WEIGHTY);

    return call.done ? call.result : leave(&call, __real_SQLExecute(stmt));
}

SQLRETURN __real_SQLRowCount(SQLHSTMT stmt, SQLLEN *rows);
SQLRETURN __wrap_SQLRowCount(SQLHSTMT stmt, SQLLEN *rows);
SQLRETURN __wrap_SQLRowCount(SQLHSTMT stmt, SQLLEN *rows)
{
    struct call call = enter("SQLRowCount", stmt, NULL, NO_ROWS);
    SQLRETURN ret;

    if (call.done)
        return call.result;
    ret = __real_SQLRowCount(stmt, rows);
    if (call.mode == INTERPOSE_NO_DATA) {
        *rows = -1;
        return ret;
    }
    return leave(&call, ret);
}

SQLRETURN __real_SQLFetch(SQLHSTMT stmt);
SQLRETURN __wrap_SQLFetch(SQLHSTMT stmt);
SQLRETURN __wrap_SQLFetch(SQLHSTMT stmt)
{
    struct call call = enter("SQLFetch", stmt, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLFetch(stmt));
}

SQLRETURN __real_SQLGetData(SQLHSTMT stmt, SQLUSMALLINT column, SQLSMALLINT type, SQLPOINTER value, SQLLEN room,
                            SQLLEN *got);
SQLRETURN __wrap_SQLGetData(SQLHSTMT stmt, SQLUSMALLINT column, SQLSMALLINT type, SQLPOINTER value, SQLLEN room,
                            SQLLEN *got);
SQLRETURN __wrap_SQLGetData(SQLHSTMT stmt, SQLUSMALLINT column, SQLSMALLINT type, SQLPOINTER value, SQLLEN room,
                            SQLLEN *got)
{
    struct call call = enter("SQLGetData", stmt, NULL, 0);

    return call.done ? call.result : leave(&call, __real_SQLGetData(stmt, column, type, value, room, got));
}

SQLRETURN __real_SQLFreeStmt(SQLHSTMT stmt, SQLUSMALLINT option);
SQLRETURN __wrap_SQLFreeStmt(SQLHSTMT stmt, SQLUSMALLINT option);
SQLRETURN __wrap_SQLFreeStmt(SQLHSTMT stmt, SQLUSMALLINT option)
{
    struct call call = enter("SQLFreeStmt", stmt, NULL, DEAD_TOO);

    return call.done ? call.result : leave(&call, __real_SQLFreeStmt(stmt, option));
}

static SQLRETURN give_text(const struct interpose_reason *reason, SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *got)
{
    int size = (int)strlen(reason->text) + reason->padding;

    if (got != NULL)
        *got = (SQLSMALLINT)size;
    for (int i = 0; i < room; i++)
        text[i] = (SQLCHAR)(i + 1 == room || i >= size ? '\0' : i < (int)strlen(reason->text) ? reason->text[i] : 'x');
    return size < room ? SQL_SUCCESS : SQL_SUCCESS_WITH_INFO;
}

SQLRETURN __real_SQLGetDiagRec(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number, SQLCHAR *sqlstate,
                               SQLINTEGER *native, SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *got);
SQLRETURN __wrap_SQLGetDiagRec(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number, SQLCHAR *sqlstate,
                               SQLINTEGER *native, SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *got);
SQLRETURN __wrap_SQLGetDiagRec(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number, SQLCHAR *sqlstate,
                               SQLINTEGER *native, SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *got)
{
    const struct interpose_reason *reason;
    const struct entry *e;

    pthread_mutex_lock(&state.lock);
    e = find(handle);
    reason = e != NULL ? e->reason : NULL;
    pthread_mutex_unlock(&state.lock);
    if (reason == NULL)
        return __real_SQLGetDiagRec(type, handle, number, sqlstate, native, text, room, got);
    if (reason->text == NULL || number > 1)
        return SQL_NO_DATA;
    memcpy(sqlstate, reason->state, 6);
    *native = reason->native;
    return give_text(reason, text, room, got);
}
