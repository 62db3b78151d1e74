/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/conn.h
 * Connections: one that the application has already, or one of the library's own.
 * A connection keeps prepared statements and what it has learnt of the database, so keep it as long as the ODBC
 * connection lives.
 *
 * @threads A connection, with all that was made from it, is used by one thread at a time; different connections are
 *          independent.
 * @example borrowed.c
 */
#ifndef OUTBOX_CONN_H
#define OUTBOX_CONN_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/**
 * Uses an ODBC connection of the application's. The library then never sets a connection attribute or
 * closes it, and never ends a transaction that it did not begin: outbox_enqueue() begins one only when none is open.
 *
 * ODBC connections begin in autocommit mode. Switch it off (SQL_ATTR_AUTOCOMMIT), or begin a transaction by SQL, before
 * outbox_enqueue(): otherwise its messages are committed at once, apart from the application's changes.
 *
 * @param[in]  hdbc  an SQLHDBC that is connected; must outlive the outbox_conn
 * @param[in]  conf  settings (schema.*, driver, enqueue.*), or NULL for the defaults; copied
 * @param[out] conn  the connection; close it with outbox_conn_close() before SQLDisconnect()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_CONF, OUTBOX_ERR_UNSUPPORTED, OUTBOX_ERR_LOST,
 *         OUTBOX_ERR_DATABASE, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_conn_borrow(void *hdbc, const outbox_conf *conf, outbox_conn **conn, outbox_error **err);

/**
 * Opens a connection of the library's own, in autocommit mode: call outbox_conn_begin() before messages that must come
 * or go with other changes, or with each other.
 *
 * @param[in]  dsn   a DSN's name, an ODBC connection string (it has a '='), or "sqlite:PATH"
 * @param[in]  conf  settings, or NULL for the defaults; copied
 * @param[out] conn  the connection; close it with outbox_conn_close()
 * @param[out] err   why not, or NULL; never shows a password
 * @return OUTBOX_OK, OUTBOX_ERR_CONNECT, and what outbox_conn_borrow() returns. Since 0.1.
 */
OUTBOX_API int outbox_conn_open(const char *dsn, const outbox_conf *conf, outbox_conn **conn, outbox_error **err);

/**
 * Frees the prepared statements, and disconnects when the connection is the library's own.
 *
 * @param[in] conn  a connection, or NULL. Since 0.1.
 */
OUTBOX_API void outbox_conn_close(outbox_conn *conn);

/**
 * Starts a transaction on a connection of the library's own; for tools and small programs that enqueue without
 * ODBC code of their own.
 *
 * @param[in]  conn  from outbox_conn_open()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE (borrowed, or a transaction is open), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_conn_begin(outbox_conn *conn, outbox_error **err);

/**
 * Commits. When this fails, the transaction must be taken as lost or unknown: nothing in it may be relied upon.
 *
 * @param[in]  conn  with a transaction open from outbox_conn_begin()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE, and the database's errors, also when an earlier statement had already
 *         doomed the transaction. Since 0.1.
 */
OUTBOX_API int outbox_conn_commit(outbox_conn *conn, outbox_error **err);

/**
 * Rolls back.
 *
 * @param[in]  conn  with a transaction open from outbox_conn_begin()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE; OUTBOX_ERR_LOST when it may still be open: close the connection. Since 0.1.
 */
OUTBOX_API int outbox_conn_rollback(outbox_conn *conn, outbox_error **err);

/**
 * Runs one SQL statement of the application's without parameters or results, in the open transaction if there is one.
 *
 * @param[in]  conn  from outbox_conn_open()
 * @param[in]  sql   one statement, UTF-8
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE (borrowed), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_conn_execute(outbox_conn *conn, const char *sql, outbox_error **err);

/**
 * The dialect in use.
 *
 * @param[in] conn  a connection
 * @return "postgresql", "sqlite", "generic" …, a choice of the setting `driver`: static text. Since 0.1.
 */
OUTBOX_API const char *outbox_conn_driver(const outbox_conn *conn);

/**
 * Adds the lane that a key belongs to: the first four bytes, big-endian, of SHA-256(key), modulo the lanes.
 * Every producer in every language must compute the same.
 *
 * @param[in] key    UTF-8, or NULL or "" for none
 * @param[in] lanes  the number of lanes of the outbox
 * @return the lane from 0 to lanes - 1; for no key -1: any lane will do. Any thread. Since 0.1.
 */
OUTBOX_API int outbox_lane_of_key(const char *key, int lanes);

OUTBOX_END_DECLS

#endif
