/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A very small shop, for the demonstration: it sells books and tells the world about each order, in one transaction
 * of the database. When the customer's card is declined, neither the order nor the message has ever been.
 *
 *     shop CONNECTION-STRING open                            makes the tables, with ten books
 *     shop CONNECTION-STRING buy ORDER CUSTOMER good|declined
 *     shop CONNECTION-STRING books                           how many are left
 */
#include <outbox/outbox.h>
#include <sql.h>
#include <sqlext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what ODBC has to say; always 0. */
static int odbc_failed(SQLSMALLINT type, SQLHANDLE handle, const char *doing)
{
    SQLCHAR state[6] = "", text[512] = "";

    SQLGetDiagRec(type, handle, 1, state, NULL, text, sizeof(text), NULL);
    fprintf(stderr, "shop: cannot %s: %s (%s)\n", doing, (const char *)text, (const char *)state);
    return 0;
}

/* Runs a statement with up to two text parameters; *number is the first column of its first row, if wanted. */
static int run_sql(SQLHDBC dbc, const char *sql, const char *first, const char *second, SQLINTEGER *number)
{
    const char *values[] = { first, second };
    SQLHSTMT s;
    SQLRETURN rc = SQL_SUCCESS;
    SQLLEN length[2], got;
    int done = 0;

    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, dbc, &s)))
        return odbc_failed(SQL_HANDLE_DBC, dbc, "make a statement");
    for (SQLUSMALLINT i = 0; i < 2 && values[i] != NULL && SQL_SUCCEEDED(rc); i++) {
        length[i] = SQL_NTS;
        rc = SQLBindParameter(s, (SQLUSMALLINT)(i + 1), SQL_PARAM_INPUT, SQL_C_CHAR, SQL_VARCHAR, 100, 0,
                              (SQLPOINTER)values[i], 0, &length[i]);
    }
    if (SQL_SUCCEEDED(rc))
        rc = SQLExecDirect(s, (SQLCHAR *)sql, SQL_NTS);
    if (SQL_SUCCEEDED(rc) && number != NULL) {
        rc = SQLFetch(s);
        if (SQL_SUCCEEDED(rc))
            rc = SQLGetData(s, 1, SQL_C_SLONG, number, sizeof(*number), &got);
    }
    done = SQL_SUCCEEDED(rc) || odbc_failed(SQL_HANDLE_STMT, s, sql);
    SQLFreeHandle(SQL_HANDLE_STMT, s);
    return done;
}

static int open_shop(SQLHDBC dbc)
{
    return run_sql(dbc, "CREATE TABLE shelf (book VARCHAR(20) PRIMARY KEY, copies INTEGER NOT NULL)", NULL, NULL, NULL) &&
           run_sql(dbc, "CREATE TABLE orders (id VARCHAR(20) PRIMARY KEY, customer VARCHAR(100) NOT NULL)", NULL, NULL,
                   NULL) &&
           run_sql(dbc, "INSERT INTO shelf VALUES ('outbox', 10)", NULL, NULL, NULL);
}

static int tell_the_world(SQLHDBC dbc, const char *order, const char *customer)
{
    outbox_message message = OUTBOX_MESSAGE_INIT;
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    char payload[256];
    int done;

    snprintf(payload, sizeof(payload), "{\"order\":\"%s\",\"customer\":\"%s\"}", order, customer);
    message.topic = "orders";
    message.partition_key = customer; /* a customer's orders arrive in order */
    message.payload = payload;
    message.payload_size = strlen(payload);
    message.content_type = "application/json";
    message.message_type = "order.placed";
    done = outbox_conn_borrow(dbc, NULL, &conn, &err) == OUTBOX_OK &&
           outbox_enqueue(conn, &message, 1, NULL, &err) == OUTBOX_OK;
    if (!done)
        fprintf(stderr, "shop: %s\n", outbox_error_message(err));
    outbox_conn_close(conn);
    outbox_error_free(err);
    return done;
}

/* One transaction: the shelf, the order and the message. */
static int buy(SQLHDBC dbc, const char *order, const char *customer, const char *card)
{
    int done;

    SQLSetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)SQL_AUTOCOMMIT_OFF, 0);
    done = run_sql(dbc, "UPDATE shelf SET copies = copies - 1 WHERE book = 'outbox'", NULL, NULL, NULL) &&
           run_sql(dbc, "INSERT INTO orders (id, customer) VALUES (?, ?)", order, customer, NULL) &&
           tell_the_world(dbc, order, customer);
    if (done && strcmp(card, "good") != 0) {
        printf("order %s: the card is declined, the transaction rolls back\n", order);
        SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_ROLLBACK);
        return 1;
    }
    if (done && SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_COMMIT))) {
        printf("order %s: the transaction commits\n", order);
        return 1;
    }
    SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_ROLLBACK);
    return 0;
}

static int count_books(SQLHDBC dbc)
{
    SQLINTEGER copies = 0;

    if (!run_sql(dbc, "SELECT copies FROM shelf WHERE book = 'outbox'", NULL, NULL, &copies))
        return 0;
    printf("%d\n", (int)copies);
    return 1;
}

static int work(SQLHDBC dbc, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[2], "open") == 0)
        return open_shop(dbc);
    if (argc == 6 && strcmp(argv[2], "buy") == 0)
        return buy(dbc, argv[3], argv[4], argv[5]);
    if (argc == 3 && strcmp(argv[2], "books") == 0)
        return count_books(dbc);
    fprintf(stderr, "usage: shop CONNECTION-STRING open | buy ORDER CUSTOMER good|declined | books\n");
    return 0;
}

int main(int argc, char **argv)
{
    SQLHENV env;
    SQLHDBC dbc;
    int done = 0;

    if (argc < 3)
        return !work(NULL, 0, argv);
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &env)))
        return 1;
    SQLSetEnvAttr(env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
    if (SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, env, &dbc))) {
        if (SQL_SUCCEEDED(SQLDriverConnect(dbc, NULL, (SQLCHAR *)argv[1], SQL_NTS, NULL, 0, NULL, SQL_DRIVER_NOPROMPT))) {
            done = work(dbc, argc, argv);
            SQLDisconnect(dbc);
        } else {
            odbc_failed(SQL_HANDLE_DBC, dbc, "connect");
        }
        SQLFreeHandle(SQL_HANDLE_DBC, dbc);
    }
    SQLFreeHandle(SQL_HANDLE_ENV, env);
    return !done;
}
