/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small ODBC driver for Firebird on its client library, for the tests alone: it lets the conformance suite run on a
 * real server where no driver is packaged. It has what lib/odbc.c and tests/db.c call, for UTF-8, and no more.
 *
 *   Driver={Firebird};Database=HOST/PORT:PATH;UID=…;PWD=…
 *
 * Diagnostics are as the well-known driver gives them: the SQLSTATE of the server, SQLCODE as the native number. With
 * States=HY000 every SQLSTATE is that, as it is with versions before 3, and it says less of itself. Transactions read
 * committed, and wait ten seconds for a lock, or LockTimeout; in autocommit each statement has one of its own, which ends
 * with it.
 *
 * One thread a connection; nothing is shared between connections.
 */
#include "firebird_odbc.h"

/* ---- Diagnostics ---- */

SQLRETURN firebird_say(struct diag *diag, const char *state, SQLINTEGER native, const char *text)
{
    snprintf(diag->state, sizeof diag->state, "%s", state);
    snprintf(diag->text, sizeof diag->text, "[Firebird test driver]%s", text);
    diag->native = native;
    diag->there = 1;
    return SQL_ERROR;
}

static int is_lost(ISC_STATUS code)
{
    static const ISC_STATUS lost[] = {isc_network_error, isc_net_read_err, isc_net_write_err, isc_net_connect_err,
                                      isc_lost_db_connection, isc_shutdown, isc_att_shutdown,
                                      isc_bad_db_handle};

    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        if (code == lost[i])
            return 1;
    return 0;
}

SQLRETURN firebird_fail(struct dbc *dbc, struct diag *diag, const ISC_STATUS *status)
{
    const ISC_STATUS *at = status;
    char state[6] = "HY000", text[900] = "[Firebird]", line[400];

    if (is_lost(status[1]))
        dbc->dead = 1;
    if (!dbc->hide_states)
        fb_sqlstate(state, status);
    while (fb_interpret(line, sizeof line, &at) > 0 && strlen(text) + strlen(line) + 2 < sizeof text) {
        strcat(text, line);
        strcat(text, "\n");
    }
    return firebird_say(diag, state, isc_sqlcode(status), text);
}

/* ---- Transactions ---- */

static int start(struct dbc *dbc, struct diag *diag, isc_tr_handle *tr)
{
    const char tpb[] = {isc_tpb_version3, isc_tpb_write, isc_tpb_read_committed, isc_tpb_rec_version, isc_tpb_wait,
                        isc_tpb_lock_timeout, 2, dbc->lock_timeout, 0};
    ISC_STATUS_ARRAY status;

    if (*tr != 0)
        return 1;
    if (isc_start_transaction(status, tr, 1, &dbc->db, (unsigned short)sizeof tpb, tpb) == 0)
        return 1;
    firebird_fail(dbc, diag, status);
    return 0;
}

isc_tr_handle *firebird_transaction(struct stmt *stmt)
{
    return stmt->dbc->autocommit ? &stmt->own : &stmt->dbc->tr;
}

static SQLRETURN end(struct dbc *dbc, struct diag *diag, isc_tr_handle *tr, int commit)
{
    ISC_STATUS_ARRAY status;

    if (*tr == 0)
        return SQL_SUCCESS;
    if ((commit ? isc_commit_transaction(status, tr) : isc_rollback_transaction(status, tr)) == 0)
        return SQL_SUCCESS;
    firebird_fail(dbc, diag, status);
    /* Without an end the handle would be kept for good. */
    if (commit)
        isc_rollback_transaction(status, tr);
    *tr = 0;
    return SQL_ERROR;
}

static void close_cursor(struct stmt *stmt)
{
    ISC_STATUS_ARRAY status;
    struct diag unheard = {.there = 0};

    if (stmt->open)
        isc_dsql_free_statement(status, &stmt->handle, DSQL_close);
    stmt->open = stmt->single = stmt->has_row = 0;
    stmt->value_column = -1;
    end(stmt->dbc, &unheard, &stmt->own, 1);
}

/* ---- Handles ---- */

API SQLRETURN SQLAllocHandle(SQLSMALLINT type, SQLHANDLE parent, SQLHANDLE *out)
{
    struct stmt *stmt;
    struct dbc *dbc;

    if (type == SQL_HANDLE_ENV)
        *out = calloc(1, sizeof(struct env));
    if (type == SQL_HANDLE_DBC && (*out = dbc = calloc(1, sizeof *dbc)) != NULL)
        dbc->autocommit = 1;
    if (type == SQL_HANDLE_STMT && (*out = stmt = calloc(1, sizeof *stmt)) != NULL) {
        stmt->dbc = parent;
        stmt->params = calloc(MOST_PARAMS, sizeof *stmt->params);
        stmt->next = stmt->dbc->stmts;
        stmt->dbc->stmts = stmt;
    }
    return *out != NULL ? SQL_SUCCESS : SQL_ERROR;
}

static void free_sqlda(XSQLDA *sqlda)
{
    for (int i = 0; sqlda != NULL && i < sqlda->sqln; i++) {
        free(sqlda->sqlvar[i].sqldata);
        free(sqlda->sqlvar[i].sqlind);
    }
    free(sqlda);
}

static void drop_statement(struct stmt *stmt)
{
    ISC_STATUS_ARRAY status;

    close_cursor(stmt);
    if (stmt->handle != 0)
        isc_dsql_free_statement(status, &stmt->handle, DSQL_drop);
    stmt->handle = 0;
    free_sqlda(stmt->in);
    free_sqlda(stmt->out);
    stmt->in = stmt->out = NULL;
}

static void free_statement(struct stmt *stmt)
{
    struct stmt **at = &stmt->dbc->stmts;

    drop_statement(stmt);
    while (*at != stmt)
        at = &(*at)->next;
    *at = stmt->next;
    free(stmt->params);
    free(stmt->value);
    free(stmt);
}

API SQLRETURN SQLFreeHandle(SQLSMALLINT type, SQLHANDLE handle)
{
    if (type == SQL_HANDLE_STMT)
        free_statement(handle);
    else
        free(handle);
    return SQL_SUCCESS;
}

API SQLRETURN SQLFreeStmt(SQLHSTMT handle, SQLUSMALLINT option)
{
    struct stmt *stmt = handle;

    if (option == SQL_DROP)
        free_statement(stmt);
    else if (option == SQL_CLOSE)
        close_cursor(stmt);
    else if (option == SQL_RESET_PARAMS)
        memset(stmt->params, 0, MOST_PARAMS * sizeof *stmt->params);
    return SQL_SUCCESS;
}

API SQLRETURN SQLSetEnvAttr(SQLHENV env, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size)
{
    (void)env, (void)attribute, (void)value, (void)size;
    return SQL_SUCCESS;
}

/* ---- Connections ---- */

/* The value of a key, without braces. */
static void value_of(const char *text, const char *key, char *value, size_t size)
{
    size_t length = strlen(key), n;

    value[0] = '\0';
    for (; *text != '\0'; text += *text == ';') {
        if (strncasecmp(text, key, length) == 0 && text[length] == '=') {
            const char *from = text + length + 1;

            n = *from == '{' ? strcspn(++from, "}") : strcspn(from, ";");
            snprintf(value, size, "%.*s", (int)n, from);
        }
        text += strcspn(text, ";");
    }
}

static size_t add_item(char *dpb, size_t at, char item, const char *value)
{
    size_t size = strlen(value);

    dpb[at++] = item;
    dpb[at++] = (char)size;
    memcpy(dpb + at, value, size);
    return at + size;
}

API SQLRETURN SQLDriverConnect(SQLHDBC handle, SQLHWND window, SQLCHAR *in, SQLSMALLINT in_size, SQLCHAR *out,
                               SQLSMALLINT out_room, SQLSMALLINT *out_size, SQLUSMALLINT prompt)
{
    struct dbc *dbc = handle;
    ISC_STATUS_ARRAY status;
    char text[1024], database[300], user[100], password[100], states[20], charset[30], seconds[10], dpb[700];
    size_t n = 1;

    (void)window, (void)prompt;
    snprintf(text, sizeof text, "%.*s", in_size == SQL_NTS ? (int)strlen((char *)in) : in_size, (char *)in);
    value_of(text, "Database", database, sizeof database);
    value_of(text, "UID", user, sizeof user);
    value_of(text, "PWD", password, sizeof password);
    value_of(text, "States", states, sizeof states);
    value_of(text, "CHARSET", charset, sizeof charset);
    value_of(text, "LockTimeout", seconds, sizeof seconds);
    dbc->lock_timeout = (char)(seconds[0] != '\0' ? atoi(seconds) : 10);
    dbc->hide_states = strcmp(states, "HY000") == 0;
    dpb[0] = isc_dpb_version1;
    n = add_item(dpb, n, isc_dpb_user_name, user);
    n = add_item(dpb, n, isc_dpb_password, password);
    n = add_item(dpb, n, isc_dpb_lc_ctype, charset[0] != '\0' ? charset : "UTF8");
    if (out != NULL && out_room > 0)
        snprintf((char *)out, (size_t)out_room, "%s", text);
    if (out_size != NULL)
        *out_size = (SQLSMALLINT)strlen(text);
    if (isc_attach_database(status, 0, database, &dbc->db, (short)n, dpb) != 0)
        return firebird_fail(dbc, &dbc->diag, status);
    return SQL_SUCCESS;
}

API SQLRETURN SQLDisconnect(SQLHDBC handle)
{
    struct dbc *dbc = handle;
    ISC_STATUS_ARRAY status;

    while (dbc->stmts != NULL)
        free_statement(dbc->stmts);
    end(dbc, &dbc->diag, &dbc->tr, 0);
    if (dbc->db != 0)
        isc_detach_database(status, &dbc->db);
    dbc->db = 0;
    return SQL_SUCCESS;
}

API SQLRETURN SQLGetInfo(SQLHDBC handle, SQLUSMALLINT what, SQLPOINTER value, SQLSMALLINT room, SQLSMALLINT *size)
{
    const char *text = what == SQL_DBMS_NAME ? "Firebird" : what == SQL_DRIVER_ODBC_VER ? "03.51" : NULL;
    const struct dbc *dbc = handle;

    if (text != NULL) {
        snprintf(value, (size_t)room, "%s", text);
        if (size != NULL)
            *size = (SQLSMALLINT)strlen(text);
    } else if (what == SQL_CURSOR_COMMIT_BEHAVIOR || what == SQL_CURSOR_ROLLBACK_BEHAVIOR) {
        *(SQLUSMALLINT *)value = SQL_CB_CLOSE;
    } else if (what == SQL_DEFAULT_TXN_ISOLATION && !dbc->hide_states) {
        *(SQLUINTEGER *)value = SQL_TXN_READ_COMMITTED;
    } else {
        return SQL_ERROR;
    }
    return SQL_SUCCESS;
}

API SQLRETURN SQLEndTran(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT how)
{
    struct dbc *dbc = handle;

    if (type != SQL_HANDLE_DBC)
        return SQL_ERROR;
    for (struct stmt *stmt = dbc->stmts; stmt != NULL; stmt = stmt->next)
        close_cursor(stmt);
    return end(dbc, &dbc->diag, &dbc->tr, how == SQL_COMMIT);
}

API SQLRETURN SQLSetConnectAttr(SQLHDBC handle, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER size)
{
    struct dbc *dbc = handle;
    int on = (SQLULEN)value != SQL_AUTOCOMMIT_OFF;

    (void)size;
    if (attribute != SQL_ATTR_AUTOCOMMIT)
        return SQL_SUCCESS;
    if (on && !dbc->autocommit && SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_COMMIT) != SQL_SUCCESS)
        return SQL_ERROR;
    dbc->autocommit = on;
    return SQL_SUCCESS;
}

API SQLRETURN SQLGetConnectAttr(SQLHDBC handle, SQLINTEGER attribute, SQLPOINTER value, SQLINTEGER room, SQLINTEGER *size)
{
    struct dbc *dbc = handle;

    (void)room, (void)size;
    if (attribute == SQL_ATTR_AUTOCOMMIT)
        *(SQLUINTEGER *)value = dbc->autocommit ? SQL_AUTOCOMMIT_ON : SQL_AUTOCOMMIT_OFF;
    else if (attribute == SQL_ATTR_CONNECTION_DEAD)
        *(SQLUINTEGER *)value = dbc->dead ? SQL_CD_TRUE : SQL_CD_FALSE;
    else
        return SQL_ERROR;
    return SQL_SUCCESS;
}

/* ---- Statements ---- */

static XSQLDA *new_sqlda(int n)
{
    XSQLDA *sqlda = calloc(1, (size_t)XSQLDA_LENGTH(n > 0 ? n : 1));

    sqlda->version = SQLDA_VERSION1;
    sqlda->sqln = (ISC_SHORT)(n > 0 ? n : 1);
    return sqlda;
}

/* Columns get room for what was described. */
static void make_room(XSQLDA *out)
{
    for (int i = 0; i < out->sqld; i++) {
        XSQLVAR *v = &out->sqlvar[i];

        v->sqldata = calloc(1, (size_t)v->sqllen + 16);
        v->sqlind = calloc(1, sizeof(ISC_SHORT));
        v->sqltype |= 1;
    }
}

static int describe(struct stmt *stmt)
{
    static const char items[] = {isc_info_sql_stmt_type};
    ISC_STATUS_ARRAY status;
    char answer[20];

    stmt->out = new_sqlda(64);
    stmt->in = new_sqlda(MOST_PARAMS);
    if (isc_dsql_describe(status, &stmt->handle, 1, stmt->out) != 0 ||
        isc_dsql_describe_bind(status, &stmt->handle, 1, stmt->in) != 0 ||
        isc_dsql_sql_info(status, &stmt->handle, sizeof items, items, sizeof answer, answer) != 0) {
        firebird_fail(stmt->dbc, &stmt->diag, status);
        return 0;
    }
    stmt->type = (int)isc_vax_integer(answer + 3, (short)isc_vax_integer(answer + 1, 2));
    make_room(stmt->out);
    return 1;
}

API SQLRETURN SQLPrepare(SQLHSTMT handle, SQLCHAR *sql, SQLINTEGER size)
{
    struct stmt *stmt = handle;
    ISC_STATUS_ARRAY status;
    isc_tr_handle *tr = firebird_transaction(stmt);
    char *text = size == SQL_NTS ? strdup((char *)sql) : strndup((char *)sql, (size_t)size);
    int good = 0;

    stmt->diag.there = 0;
    drop_statement(stmt);
    if (start(stmt->dbc, &stmt->diag, tr)) {
        if (isc_dsql_allocate_statement(status, &stmt->dbc->db, &stmt->handle) != 0 ||
            isc_dsql_prepare(status, tr, &stmt->handle, 0, text, SQL_DIALECT_V6, NULL) != 0)
            firebird_fail(stmt->dbc, &stmt->diag, status);
        else
            good = describe(stmt);
    }
    free(text);
    if (!good)
        drop_statement(stmt);
    end(stmt->dbc, &stmt->diag, &stmt->own, good);
    return good ? SQL_SUCCESS : SQL_ERROR;
}

API SQLRETURN SQLBindParameter(SQLHSTMT handle, SQLUSMALLINT number, SQLSMALLINT direction, SQLSMALLINT ctype,
                               SQLSMALLINT type, SQLULEN size, SQLSMALLINT digits, SQLPOINTER data, SQLLEN room,
                               SQLLEN *length)
{
    struct stmt *stmt = handle;

    (void)direction, (void)type, (void)size, (void)digits, (void)room;
    if (number < 1 || number > MOST_PARAMS)
        return firebird_say(&stmt->diag, "07009", 0, "too many parameters");
    stmt->params[number - 1] = (struct param){ctype, data, length};
    return SQL_SUCCESS;
}

static SQLLEN count_rows(struct stmt *stmt)
{
    static const char items[] = {isc_info_sql_records};
    ISC_STATUS_ARRAY status;
    char answer[128], *at = answer + 3;
    SQLLEN rows = 0;

    if (isc_dsql_sql_info(status, &stmt->handle, sizeof items, items, sizeof answer, answer) != 0 ||
        answer[0] != isc_info_sql_records)
        return -1;
    while (*at != isc_info_end) {
        int what = *at, size = (int)isc_vax_integer(at + 1, 2);

        if (what == isc_info_req_update_count || what == isc_info_req_delete_count || what == isc_info_req_insert_count)
            rows += isc_vax_integer(at + 3, (short)size);
        at += 3 + size;
    }
    return rows;
}

API SQLRETURN SQLExecute(SQLHSTMT handle)
{
    struct stmt *stmt = handle;
    struct dbc *dbc = stmt->dbc;
    ISC_STATUS_ARRAY status;
    isc_tr_handle *tr = firebird_transaction(stmt);
    int single = stmt->type == isc_info_sql_stmt_exec_procedure;
    int query = stmt->type == isc_info_sql_stmt_select || stmt->type == isc_info_sql_stmt_select_for_upd;

    stmt->diag.there = 0;
    close_cursor(stmt);
    if (!start(dbc, &stmt->diag, tr) || !firebird_bind(stmt, tr)) {
        end(dbc, &dbc->diag, &stmt->own, 0);
        return SQL_ERROR;
    }
    if (isc_dsql_execute2(status, tr, &stmt->handle, 1, stmt->in->sqld > 0 ? stmt->in : NULL,
                          single && stmt->out->sqld > 0 ? stmt->out : NULL) != 0) {
        firebird_fail(dbc, &stmt->diag, status);
        end(dbc, &dbc->diag, &stmt->own, 0);
        return SQL_ERROR;
    }
    stmt->open = query;
    stmt->single = single && stmt->out->sqld > 0;
    stmt->rows = query ? -1 : count_rows(stmt);
    if (query)
        return SQL_SUCCESS;
    return end(dbc, &stmt->diag, &stmt->own, 1);
}

API SQLRETURN SQLExecDirect(SQLHSTMT handle, SQLCHAR *sql, SQLINTEGER size)
{
    SQLRETURN rc = SQLPrepare(handle, sql, size);

    return rc == SQL_SUCCESS ? SQLExecute(handle) : rc;
}

API SQLRETURN SQLNumResultCols(SQLHSTMT handle, SQLSMALLINT *count)
{
    struct stmt *stmt = handle;

    *count = stmt->out != NULL ? stmt->out->sqld : 0;
    return SQL_SUCCESS;
}

API SQLRETURN SQLRowCount(SQLHSTMT handle, SQLLEN *count)
{
    *count = ((struct stmt *)handle)->rows;
    return SQL_SUCCESS;
}

API SQLRETURN SQLFetch(SQLHSTMT handle)
{
    struct stmt *stmt = handle;
    ISC_STATUS_ARRAY status;
    ISC_STATUS rc;

    stmt->diag.there = 0;
    stmt->value_column = -1;
    stmt->has_row = 0;
    if (stmt->single) {
        stmt->single = 0;
        stmt->has_row = 1;
        return SQL_SUCCESS;
    }
    if (!stmt->open)
        return SQL_NO_DATA;
    rc = isc_dsql_fetch(status, &stmt->handle, 1, stmt->out);
    if (rc == 100)
        return SQL_NO_DATA;
    if (rc != 0)
        return firebird_fail(stmt->dbc, &stmt->diag, status);
    stmt->has_row = 1;
    return SQL_SUCCESS;
}

/* Every handle begins with its diagnostics. */
API SQLRETURN SQLGetDiagRec(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number, SQLCHAR *state, SQLINTEGER *native,
                            SQLCHAR *text, SQLSMALLINT room, SQLSMALLINT *size)
{
    const struct diag *diag = handle;

    (void)type;
    if (number != 1 || !diag->there)
        return SQL_NO_DATA;
    if (state != NULL)
        memcpy(state, diag->state, sizeof diag->state);
    if (native != NULL)
        *native = diag->native;
    if (text != NULL && room > 0)
        snprintf((char *)text, (size_t)room, "%s", diag->text);
    if (size != NULL)
        *size = (SQLSMALLINT)strlen(diag->text);
    return room > (SQLSMALLINT)strlen(diag->text) ? SQL_SUCCESS : SQL_SUCCESS_WITH_INFO;
}

/* The driver manager asks for records only where this is there too. */
API SQLRETURN SQLGetDiagField(SQLSMALLINT type, SQLHANDLE handle, SQLSMALLINT number, SQLSMALLINT field, SQLPOINTER value,
                              SQLSMALLINT room, SQLSMALLINT *size)
{
    (void)type, (void)handle, (void)number, (void)field, (void)value, (void)room, (void)size;
    return SQL_NO_DATA;
}
