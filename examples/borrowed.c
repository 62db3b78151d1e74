/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The usual case: an application has an ODBC connection of its own, changes its own table and enqueues a message,
 * and both become true at the same moment, or neither does. Needs `outboxctl migrate` first.
 *
 *     cc borrowed.c $(pkg-config --cflags --libs outbox odbc) -o borrowed
 *     borrowed 'Driver=SQLite3;Database=first.db'
 */
#include <outbox/outbox.h>
#include <sql.h>
#include <sqlext.h>
#include <stdio.h>
#include <string.h>

/* Says what ODBC has to say. Always 0, for `return odbc_failed(…)`. */
static int odbc_failed(SQLSMALLINT type, SQLHANDLE handle, const char *doing)
{
    SQLCHAR state[6] = "", text[512] = "";

    SQLGetDiagRec(type, handle, 1, state, NULL, text, sizeof(text), NULL);
    fprintf(stderr, "borrowed: cannot %s: %s (%s)\n", doing, (const char *)text, (const char *)state);
    return 0;
}

static int execute(SQLHDBC dbc, const char *sql)
{
    SQLHSTMT statement;
    SQLRETURN rc;
    int done = 1;

    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, dbc, &statement)))
        return odbc_failed(SQL_HANDLE_DBC, dbc, "make a statement");
    rc = SQLExecDirect(statement, (SQLCHAR *)sql, SQL_NTS);
    if (!SQL_SUCCEEDED(rc) && rc != SQL_NO_DATA) /* no row was changed: that is no error */
        done = odbc_failed(SQL_HANDLE_STMT, statement, sql);
    SQLFreeHandle(SQL_HANDLE_STMT, statement);
    return done;
}

static int enqueue(outbox_conn *conn)
{
    static const outbox_header headers[] = { { "source", "borrowed.c" } };
    static const char paid[] = "{\"order\": 1, \"paid\": true}";
    outbox_message message = OUTBOX_MESSAGE_INIT;
    outbox_error *err = NULL;
    outbox_id id;

    message.topic = "orders";
    message.partition_key = "order-1"; /* messages about one order stay in order */
    message.payload = paid;
    message.payload_size = strlen(paid);
    message.content_type = "application/json";
    message.message_type = "order.paid";
    message.headers = headers;
    message.header_count = 1;
    if (outbox_enqueue(conn, &message, 1, &id, &err) == OUTBOX_OK) {
        printf("enqueued %s\n", id.text);
        return 1;
    }
    fprintf(stderr, "borrowed: %s\n", outbox_error_message(err));
    outbox_error_free(err);
    return 0;
}

/* The transaction. Beginning, committing and rolling back stay the application's: the library does none of them. */
static int pay_order(SQLHDBC dbc, outbox_conn *conn)
{
    if (execute(dbc, "UPDATE orders SET paid = 1 WHERE id = 1") && enqueue(conn)) {
        if (SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_COMMIT)))
            return 1;
        odbc_failed(SQL_HANDLE_DBC, dbc, "commit");
    }
    SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_ROLLBACK);
    return 0;
}

static int work(SQLHDBC dbc)
{
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    int done;

    if (!execute(dbc, "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, paid INTEGER NOT NULL)"))
        return 0;
    if (outbox_conn_borrow(dbc, NULL, &conn, &err) != OUTBOX_OK) {
        fprintf(stderr, "borrowed: %s\n", outbox_error_message(err));
        outbox_error_free(err);
        return 0;
    }
    SQLSetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)SQL_AUTOCOMMIT_OFF, 0);
    done = pay_order(dbc, conn);
    SQLSetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)SQL_AUTOCOMMIT_ON, 0);
    outbox_conn_close(conn); /* before the connection that it borrowed */
    return done;
}

int main(int argc, char **argv)
{
    SQLHENV env;
    SQLHDBC dbc;
    int done = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: borrowed CONNECTION-STRING\n");
        return 2;
    }
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &env)))
        return 1;
    SQLSetEnvAttr(env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
    if (SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, env, &dbc))) {
        if (SQL_SUCCEEDED(SQLDriverConnect(dbc, NULL, (SQLCHAR *)argv[1], SQL_NTS, NULL, 0, NULL, SQL_DRIVER_NOPROMPT))) {
            done = work(dbc);
            SQLDisconnect(dbc);
        } else {
            odbc_failed(SQL_HANDLE_DBC, dbc, "connect");
        }
        SQLFreeHandle(SQL_HANDLE_DBC, dbc);
    }
    SQLFreeHandle(SQL_HANDLE_ENV, env);
    return !done;
}
