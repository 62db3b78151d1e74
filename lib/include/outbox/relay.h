/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/relay.h
 * The relay: threads that claim, publish and settle; and the cleaner.
 */
#ifndef OUTBOX_RELAY_H
#define OUTBOX_RELAY_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/**
 * What the relay tells the application. Each may be NULL. Called on relay threads, after the database has
 * committed the outcome; must not call the relay they came from. Since 0.1.
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
    uint64_t wakeups;      /**< outbox_relay_wake() calls */
    uint64_t db_errors;    /**< database errors, after each of which the relay went on */
    uint64_t cleaned;      /**< rows removed by its cleaner */
    uint64_t broker_down;  /**< 1 while the broker is taken for down: nothing gets through, nothing is charged */
    uint64_t outages;      /**< how often it was */
    uint64_t probes;       /**< messages tried, one at a time, to find out whether it is back */
    uint64_t splits;       /**< deliveries sent again in halves: the publisher failed and did not say on what */
} outbox_relay_stats;

/** Starts stats. Since 0.1. */
#define OUTBOX_RELAY_STATS_INIT { sizeof(outbox_relay_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

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
 * @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_CONNECT, OUTBOX_ERR_SCHEMA, OUTBOX_ERR_CONF, OUTBOX_ERR_SYSTEM, and the
 *         database's errors. Since 0.1.
 */
OUTBOX_API int outbox_relay_start(outbox_relay *relay, outbox_error **err);

/**
 * Asks the relay to stop: workers finish and settle the batch in hand, for relay.drain_timeout at the most, and
 * release their lanes. Returns at once.
 *
 * @param[in] relay  a relay. Any thread; not from a signal handler. Since 0.1.
 */
OUTBOX_API void outbox_relay_stop(outbox_relay *relay);

/**
 * Asks the relay to stop without waiting for the publisher: what was not answered yet is sent again later.
 *
 * @param[in] relay  a relay. Any thread; not from a signal handler. Since 0.1.
 */
OUTBOX_API void outbox_relay_hurry(outbox_relay *relay);

/**
 * Waits until the relay has stopped.
 *
 * @param[in]  relay  a relay
 * @param[out] err    why it ended, when it did so by itself
 * @return OUTBOX_OK after a stop; OUTBOX_ERR_STATE when it was not started. Since 0.1.
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
 * Publishes what is ready now, then stops by itself: until no free lane has work. Messages that wait for a retry or
 * their time are left.
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
 * @param[in] relay  a relay. Any thread; cheap. Since 0.1.
 */
OUTBOX_API void outbox_relay_wake(outbox_relay *relay);

/**
 * Copies the counters.
 *
 * @param[in]     relay  a relay
 * @param[in,out] stats  from OUTBOX_RELAY_STATS_INIT
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID. Any thread. Since 0.1.
 */
OUTBOX_API int outbox_relay_stats_get(outbox_relay *relay, outbox_relay_stats *stats);

/** Stops, waits and frees. @param[in] relay  or NULL. Since 0.1. */
OUTBOX_API void outbox_relay_free(outbox_relay *relay);

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

/** Starts the thread. @param[in] cleaner  a cleaner @param[out] err  why not, or NULL @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_SYSTEM. Since 0.1. */
OUTBOX_API int outbox_cleaner_start(outbox_cleaner *cleaner, outbox_error **err);
/** Asks it to stop after the batch in hand. @param[in] cleaner  a cleaner. Any thread. Since 0.1. */
OUTBOX_API void outbox_cleaner_stop(outbox_cleaner *cleaner);
/** Waits until it has stopped. @param[in] cleaner  a cleaner @param[out] err  why not, or NULL @return OUTBOX_OK, OUTBOX_ERR_STATE. Since 0.1. */
OUTBOX_API int outbox_cleaner_join(outbox_cleaner *cleaner, outbox_error **err);
/** Start and join; returns at once when clean.interval is 0 or nothing is ever to be removed. @param[in] cleaner  a cleaner @param[out] err  why not, or NULL @return OUTBOX_OK, OUTBOX_ERR_STATE, OUTBOX_ERR_SYSTEM. Since 0.1. */
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
 * @return OUTBOX_OK; OUTBOX_NONE when another cleaner is at work; the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_clean(outbox_conn *conn, const outbox_conf *conf, int64_t *removed, outbox_error **err);

OUTBOX_END_DECLS

#endif
