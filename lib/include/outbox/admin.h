/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/admin.h
 * Counts, lists and changes the messages of an outbox.
 * What outboxctl(1) does, for programs. A filter says which messages are meant; filters of older programs, which
 * are shorter, are understood.
 *
 *     outbox_filter filter = OUTBOX_FILTER_INIT;
 *     int64_t count;
 *
 *     filter.topic = "orders";
 *     rc = outbox_redrive(conn, &filter, &count, &err);
 *
 * @threads The thread that uses the connection.
 */
#ifndef OUTBOX_ADMIN_H
#define OUTBOX_ADMIN_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/**
 * @page outbox_migrate
 * Makes the tables of an outbox, and brings them to this version.
 * Each dialect has numbered migrations. All that are outstanding run in one transaction, and are never undone.
 *
 * @threads The thread that uses the connection.
 */

/** What one migration is. Since 0.1. */
typedef struct outbox_migration {
    size_t size;      /**< sizeof(outbox_migration); set it before the call */
    int number;       /**< 1, 2, … */
    const char *name; /**< static */
    int applied;      /**< 1 or 0 */
} outbox_migration;

/**
 * Brings the tables to the version of this library. Safe to repeat, and safe when several processes do it at once.
 * schema.lanes and schema.settle take effect when the outbox is created.
 *
 * @param[in]  conn     from outbox_conn_open(), or borrowed with no transaction open and autocommit on
 * @param[out] applied  how many migrations were applied now, or NULL
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_SCHEMA (made by a newer library), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_migrate(outbox_conn *conn, int *applied, outbox_error **err);

/**
 * Describes the migrations for a connection's dialect, one after the other.
 *
 * @param[in]     conn       a connection
 * @param[in]     index      0, 1, …
 * @param[in,out] migration  filled
 * @param[out]    err        why not, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE past the last; the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_migration_get(outbox_conn *conn, size_t index, outbox_migration *migration, outbox_error **err);

/**
 * The SQL of all migrations of a dialect, for people who apply them by hand; needs no database.
 *
 * @param[in]  dialect  a driver: "postgresql", "sqlite", …; the setting `driver` lists them
 * @param[in]  conf     schema.*, or NULL for the defaults
 * @param[out] sql      UTF-8; free it with outbox_free()
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_UNSUPPORTED, OUTBOX_ERR_CONF, OUTBOX_ERR_NOMEM.
 * @threads Any. Since 0.1.
 */
OUTBOX_API int outbox_migrations_print(const char *dialect, const outbox_conf *conf, char **sql, outbox_error **err);

/** @page outbox_admin */

/** How many messages are where. Since 0.1. */
typedef struct outbox_counts {
    size_t size;                            /**< sizeof(outbox_counts); set it before the call */
    int64_t by_state[OUTBOX_STATE_COUNT];   /**< indexed by outbox_state */
    int64_t oldest_pending_us;              /**< age of the oldest pending message, in microseconds; 0 without one */
    int lanes;                              /**< how many lanes there are */
    int lanes_held;                         /**< how many are leased now */
} outbox_counts;

/**
 * Counts messages by state.
 *
 * @param[in]     conn    a connection
 * @param[in,out] counts  filled
 * @param[out]    err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID (the size is not set), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_count(outbox_conn *conn, outbox_counts *counts, outbox_error **err);

/** Which messages an administrative call is about; fields at 0 or NULL do not restrict. Since 0.1. */
typedef struct outbox_filter {
    size_t size;               /**< sizeof(outbox_filter) */
    outbox_state state;        /**< in this state; 0: in any */
    const char *id;            /**< with this id */
    const char *topic;         /**< to this topic, exactly */
    const char *partition_key; /**< with this key, exactly */
    int64_t older_than_us;     /**< created (purge: published) at least so long ago, in microseconds */
    size_t limit;              /**< at most so many; 0: list: 100, others: all */
    const char *who;           /**< for the audit: who asks for it; NULL: the process's user id and host */
    int64_t rate;              /**< redrive: so many a second, spread by available_at; 0: all at once */
} outbox_filter;

/** Starts a filter that lets everything through. Since 0.1. */
#define OUTBOX_FILTER_INIT { sizeof(outbox_filter), (outbox_state)0, NULL, NULL, NULL, 0, 0, NULL, 0 }

/**
 * Receives one record. Since 0.1.
 *
 * @param[in] user    what the call was given
 * @param[in] record  valid during the callback
 * @return 0 to go on, anything else to stop
 * @threads Called on the thread that made the call; must not use its connection.
 */
typedef int (*outbox_record_fn)(void *user, const outbox_record *record);

/**
 * Lists messages, oldest first within each state.
 *
 * @param[in]  conn    a connection
 * @param[in]  filter  which, or NULL
 * @param[in]  fn      called for each; must not use conn
 * @param[in]  user    handed to fn
 * @param[out] err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_list(outbox_conn *conn, const outbox_filter *filter, outbox_record_fn fn, void *user,
                           outbox_error **err);

/**
 * Gets one message by id, wherever it is.
 *
 * @param[in]  conn  a connection
 * @param[in]  id    a UUID
 * @param[in]  fn    called once if it is there
 * @param[in]  user  handed to fn
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_NONE (no such message), OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_get(outbox_conn *conn, const char *id, outbox_record_fn fn, void *user, outbox_error **err);

/**
 * Looks at the first messages of each lane, so many rows in all, and of those set aside (scheduled, retry, held, dead), as
 * many again; and at one more of each, to know whether there is more. The cost does not grow with the backlog. A key means
 * its lane alone. Records come without payload and headers; published messages are not looked at.
 *
 * @param[in]  conn      a connection
 * @param[in]  filter    which of them, or NULL; without a limit it is 100
 * @param[in]  rows      how many of each kind to look at; 0: 2000
 * @param[in]  fn        called for each that the filter lets through; must not use conn
 * @param[in]  user      handed to fn
 * @param[out] complete  1 when all that waits was looked at, 0 when there is more; or NULL
 * @param[out] err       why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_peek(outbox_conn *conn, const outbox_filter *filter, size_t rows, outbox_record_fn fn, void *user,
                           int *complete, outbox_error **err);

/** Who holds a lane. Since 0.1. */
typedef struct outbox_lane_info {
    size_t size;       /**< sizeof(outbox_lane_info) of the library; members are only added at the end */
    int lane;          /**< 0, 1, …; -1 is the cleaner's, which has no messages */
    const char *owner; /**< the relay that leased it, or NULL: nobody */
    int64_t lease_us;  /**< until the lease ends, in microseconds; below 0 it has ended, and its owner crashed or hangs */
    int suspect;       /**< other than 0: a relay went away with messages in hand, so they go one at a time */
} outbox_lane_info;

/**
 * Receives one lane. Since 0.1.
 *
 * @param[in] user  what the call was given
 * @param[in] lane  valid during the callback
 * @return 0 to go on, anything else to stop
 */
typedef int (*outbox_lane_fn)(void *user, const outbox_lane_info *lane);

/**
 * Lists all lanes, in order.
 *
 * @param[in]  conn  a connection
 * @param[in]  fn    called for each; must not use conn
 * @param[in]  user  handed to fn
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_lanes(outbox_conn *conn, outbox_lane_fn fn, void *user, outbox_error **err);

/**
 * Sends dead letters again: oldest first, attempts back at 0. Order within a key is kept. With a rate they come due
 * one after the other, which needs nobody to wait for it. Redrive, discard and purge are noted in the audit.
 * With the filter's state OUTBOX_RETRYING it is about messages that wait for their next attempt, and not about dead
 * ones: they are due now, and keep their attempts.
 *
 * @param[in]  conn    from outbox_conn_open(), or borrowed with no transaction open and autocommit on
 * @param[in]  filter  which of the dead, or NULL for all; any state but OUTBOX_RETRYING is ignored
 * @param[out] count   how many, or NULL
 * @param[out] err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_NONE (none matched), OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_redrive(outbox_conn *conn, const outbox_filter *filter, int64_t *count, outbox_error **err);

/**
 * Removes messages that were not published, dead ones unless the filter's state says otherwise. One that a relay
 * has in hand may still be published.
 *
 * @param[in]  conn    as for outbox_redrive()
 * @param[in]  filter  which; must name an id, a topic, a key or a state
 * @param[out] count   how many, or NULL
 * @param[out] err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_NONE (none matched), OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_discard(outbox_conn *conn, const outbox_filter *filter, int64_t *count, outbox_error **err);

/**
 * Removes published messages before their retention ends; only older_than_us of the filter applies.
 *
 * @param[in]  conn    as for outbox_redrive()
 * @param[in]  filter  which, or NULL for all
 * @param[out] count   how many, or NULL
 * @param[out] err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_NONE (another cleaner is at work), OUTBOX_ERR_INVALID, and the database's errors.
 *         Since 0.1.
 */
OUTBOX_API int outbox_purge(outbox_conn *conn, const outbox_filter *filter, int64_t *count, outbox_error **err);

/** What was done to messages by hand. Since 0.1. */
typedef struct outbox_audit_entry {
    size_t size;      /**< sizeof(outbox_audit_entry) of the library; members are only added at the end */
    int64_t at;       /**< when it began: microseconds since 1970, UTC */
    const char *who;  /**< as the filter said, or the process's user id and host */
    const char *what; /**< "redrive", "discard" or "purge" */
    const char *which; /**< the filter, for people */
    int64_t messages; /**< how many */
} outbox_audit_entry;

/**
 * Receives one entry. Since 0.1.
 *
 * @param[in] user   what the call was given
 * @param[in] entry  valid during the callback
 * @return 0 to go on, anything else to stop
 */
typedef int (*outbox_audit_fn)(void *user, const outbox_audit_entry *entry);

/**
 * Lists what was redriven, discarded and purged, the latest first. An entry is written before anything is changed, and
 * its number in the transactions that change messages.
 *
 * @param[in]  conn   a connection
 * @param[in]  limit  at most so many; 0: 100
 * @param[in]  fn     called for each; must not use conn
 * @param[in]  user   handed to fn
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_audit(outbox_conn *conn, size_t limit, outbox_audit_fn fn, void *user, outbox_error **err);

OUTBOX_END_DECLS

#endif
