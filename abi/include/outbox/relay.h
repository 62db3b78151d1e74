/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/relay.h
 * Threads that claim, publish and settle.
 * A relay has threads of its own: workers, each with a connection of its own, one that renews leases, a cleaner,
 * and one that waits for wake-ups.
 * Any number of relays, in any number of processes and hosts, may work on an outbox.
 *
 * @threads One thread at a time starts, joins, runs and frees a relay.
 * @example relay.c
 */
#ifndef OUTBOX_RELAY_H
#define OUTBOX_RELAY_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/**
 * What the relay tells the application. Each may be NULL. Called on relay threads, several at once, after the
 * database has committed the outcome; must not call the relay they came from. Since 0.1.
 */
typedef struct outbox_hooks {
    size_t size; /**< sizeof(outbox_hooks) */
    void *user;  /**< handed to each hook; must outlive the relay */
    /** A message was published and settled. */
    void (*published)(void *user, const outbox_record *message);
    /** A delivery failed and is retried after retry_ms milliseconds. */
    void (*failed)(void *user, const outbox_record *message, int attempts, int64_t retry_ms, const char *reason);
    /** A message went to the dead letters. */
    void (*dead)(void *user, const outbox_record *message, int attempts, const char *reason);
    /** The cleaner removed count rows. */
    void (*cleaned)(void *user, int64_t count);
} outbox_hooks;

/** Starts hooks with nothing set. Since 0.1. */
#define OUTBOX_HOOKS_INIT { sizeof(outbox_hooks), NULL, NULL, NULL, NULL, NULL }

/** Whether wake-ups from outside reach a relay. Without them it polls; nothing else changes. Since 0.1. */
typedef enum outbox_wake_state {
    OUTBOX_WAKE_NONE = 0, /**< no source of wake-ups for this database, or they are switched off */
    OUTBOX_WAKE_DOWN = 1, /**< a source is there and does not work at present; it tries again by itself */
    OUTBOX_WAKE_UP = 2    /**< wake-ups work */
} outbox_wake_state;

/** Counters of a relay since it was made. Since 0.1. */
typedef struct outbox_relay_stats {
    size_t size;           /**< sizeof(outbox_relay_stats); set it before the call */
    uint64_t claims;       /**< lanes leased */
    uint64_t batches;      /**< batches settled */
    uint64_t published;    /**< messages published and settled */
    uint64_t failed;       /**< deliveries that failed and are retried */
    uint64_t dead;         /**< messages given up */
    uint64_t held;         /**< messages set aside behind an earlier one of their key */
    uint64_t fenced;       /**< batches dropped because the lease was lost */
    uint64_t suspect;      /**< lanes taken over from an owner that crashed */
    uint64_t polls;        /**< claims that found nothing */
    uint64_t wakeups;      /**< hints that there is work: outbox_relay_wake() calls, notifications */
    uint64_t db_errors;    /**< database errors, after each of which the relay went on */
    uint64_t cleaned;      /**< rows removed by its cleaner */
    uint64_t looks;        /**< claims without a hint, by polling */
    uint64_t wake_state;   /**< an outbox_wake_state, now: the best of its sources */
    uint64_t broker_down;  /**< 1 while the broker is taken for down: nothing gets through, nothing is charged */
    uint64_t outages;      /**< how often it was */
    uint64_t probes;       /**< messages tried, one at a time, to find out whether it is back */
    uint64_t splits;       /**< deliveries sent again in halves: the publisher failed and did not say on what */
    uint64_t messages;     /**< messages read from leased lanes, to be published */
    uint64_t rejected;     /**< of the dead, those that the publisher said can never be delivered */
    uint64_t bytes;        /**< payload bytes of the messages published and settled */
} outbox_relay_stats;

/** Starts stats. Since 0.1. */
#define OUTBOX_RELAY_STATS_INIT { sizeof(outbox_relay_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Makes a relay; nothing runs and no connection is made yet.
 *
 * @param[in]  dsn        as outbox_conn_open() takes it; copied
 * @param[in]  conf       settings, or NULL for the defaults; copied
 * @param[in]  publisher  where messages go; must outlive the relay
 * @param[in]  hooks      or NULL; copied
 * @param[out] relay      free it with outbox_relay_free()
 * @param[out] err        why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_CONF, OUTBOX_ERR_NOMEM, OUTBOX_ERR_SYSTEM. Since 0.1.
 */
OUTBOX_API int outbox_relay_new(const char *dsn, const outbox_conf *conf, outbox_publisher *publisher,
                                const outbox_hooks *hooks, outbox_relay **relay, outbox_error **err);

/**
 * Starts the relay's threads and returns once the first connection works.
 *
 * @param[in]  relay  a relay that does not run
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_CONNECT, OUTBOX_ERR_SCHEMA, OUTBOX_ERR_CONF, OUTBOX_ERR_SYSTEM,
 *         OUTBOX_ERR_UNSUPPORTED (wake.listen is on, and cannot be), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_relay_start(outbox_relay *relay, outbox_error **err);

/**
 * Asks the relay to stop: workers finish and settle the batch in hand, for relay.drain_timeout at the most, and
 * release their lanes. Returns at once.
 *
 * @param[in] relay  a relay
 * @threads Any; not from a signal handler. Since 0.1.
 */
OUTBOX_API void outbox_relay_stop(outbox_relay *relay);

/**
 * Asks the relay to stop without waiting for the publisher: what was not answered yet is sent again later.
 *
 * @param[in] relay  a relay
 * @threads Any; not from a signal handler. Since 0.1.
 */
OUTBOX_API void outbox_relay_hurry(outbox_relay *relay);

/**
 * Waits until the relay has stopped.
 *
 * @param[in]  relay  a relay
 * @param[out] err    why it ended, when it did so by itself
 * @return OUTBOX_OK after a stop; OUTBOX_ERR_STATE when it was not started; the
 *         database's errors when one ended it. Since 0.1.
 */
OUTBOX_API int outbox_relay_join(outbox_relay *relay, outbox_error **err);

/**
 * Starts, and blocks until another thread calls outbox_relay_stop(). The same as start and join.
 *
 * @param[in]  relay  a relay that does not run
 * @param[out] err    why not, or NULL
 * @return what outbox_relay_start() and outbox_relay_join() return. Since 0.1.
 */
OUTBOX_API int outbox_relay_run(outbox_relay *relay, outbox_error **err);

/**
 * Publishes what is ready, then stops by itself: until no free lane has work. Messages that wait for a retry or their time
 * are left, unless that comes while it runs; so is what another relay has leased.
 *
 * @param[in]  relay  a relay that does not run
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK; what outbox_relay_start() returns; a database error that ended it; OUTBOX_ERR_PUBLISH when the
 *         broker is down. Since 0.1.
 */
OUTBOX_API int outbox_relay_run_once(outbox_relay *relay, outbox_error **err);

/**
 * Tells the relay that there is work, so that it does not wait for the next poll. Call it after COMMIT.
 *
 * @param[in] relay  a relay
 * @threads Any; cheap. Since 0.1.
 */
OUTBOX_API void outbox_relay_wake(outbox_relay *relay);

/**
 * Tells a relay of another process on this host that there is work, through the socket that wake.socket names. Call it
 * after COMMIT. It waits for nothing, and nothing is lost when it fails: the relay polls.
 *
 * @param[in]  conf  settings, of which only wake.socket matters
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE when wake.socket is not set or no relay listens there; OUTBOX_ERR_SYSTEM;
 *         OUTBOX_ERR_CONF when its path is too long. Any thread.
 *         Since 0.1.
 */
OUTBOX_API int outbox_wake_send(const outbox_conf *conf, outbox_error **err);

/**
 * Copies the counters.
 *
 * @param[in]     relay  a relay
 * @param[in,out] stats  from OUTBOX_RELAY_STATS_INIT
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID
 * @threads Any. Since 0.1.
 */
OUTBOX_API int outbox_relay_stats_get(outbox_relay *relay, outbox_relay_stats *stats);

/** Stops, waits and frees. @param[in] relay  or NULL. Since 0.1. */
OUTBOX_API void outbox_relay_free(outbox_relay *relay);

/**
 * @page outbox_cleaner
 * Removes what is past its retention.
 * A relay has a cleaner already, unless relay.cleaner is off.
 *
 * @threads One thread at a time starts, joins, runs and frees a cleaner.
 */

/**
 * Makes a cleaner that runs apart from a relay; set relay.cleaner=off in relays then. Only one cleaner works on an
 * outbox at a time, however many run.
 *
 * @param[in]  dsn      as outbox_conn_open() takes it; copied
 * @param[in]  conf     settings, or NULL for the defaults; copied
 * @param[in]  hooks    or NULL; copied
 * @param[out] cleaner  free it with outbox_cleaner_free()
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM, OUTBOX_ERR_SYSTEM. Since 0.1.
 */
OUTBOX_API int outbox_cleaner_new(const char *dsn, const outbox_conf *conf, const outbox_hooks *hooks,
                                  outbox_cleaner **cleaner, outbox_error **err);

/**
 * Starts the thread.
 *
 * @param[in] cleaner  a cleaner
 * @param[out] err  why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_SYSTEM. Since 0.1.
 */
OUTBOX_API int outbox_cleaner_start(outbox_cleaner *cleaner, outbox_error **err);
/**
 * Asks it to stop after the batch in hand.
 *
 * @param[in] cleaner  a cleaner
 * @threads Any; not from a signal handler. Since 0.1.
 */
OUTBOX_API void outbox_cleaner_stop(outbox_cleaner *cleaner);
/**
 * Waits until it has stopped.
 *
 * @param[in] cleaner  a cleaner
 * @param[out] err  why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE. Since 0.1.
 */
OUTBOX_API int outbox_cleaner_join(outbox_cleaner *cleaner, outbox_error **err);
/**
 * Start and join; returns at once when clean.interval is 0 or nothing is ever to be removed.
 *
 * @param[in] cleaner  a cleaner
 * @param[out] err  why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_SYSTEM. Since 0.1.
 */
OUTBOX_API int outbox_cleaner_run(outbox_cleaner *cleaner, outbox_error **err);
/** Stops, waits and frees. @param[in] cleaner  or NULL. Since 0.1. */
OUTBOX_API void outbox_cleaner_free(outbox_cleaner *cleaner);

/**
 * One pass of cleaning, now, on a connection of the caller's choice.
 *
 * @param[in]  conn     from outbox_conn_open(), or borrowed with no transaction open and autocommit on
 * @param[in]  conf     settings (clean.*, dedup.window), or NULL for the defaults
 * @param[out] removed  rows removed, or NULL
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE when another cleaner is at work; the database's errors
 * @threads The thread that uses the connection. Since 0.1.
 */
OUTBOX_API int outbox_clean(outbox_conn *conn, const outbox_conf *conf, int64_t *removed, outbox_error **err);

OUTBOX_END_DECLS

#endif
