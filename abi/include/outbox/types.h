/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/types.h
 * Names that every other header uses.
 * Status codes, verdicts, states, and the types of objects.
 *
 * @threads Any.
 */
#ifndef OUTBOX_TYPES_H
#define OUTBOX_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define OUTBOX_BEGIN_DECLS extern "C" {
#define OUTBOX_END_DECLS }
#else
#define OUTBOX_BEGIN_DECLS
#define OUTBOX_END_DECLS
#endif

/* Marks a function that the shared library exports. */
#if defined(__GNUC__) || defined(__clang__)
#define OUTBOX_API __attribute__((visibility("default")))
#else
#define OUTBOX_API
#endif

/**
 * What a function returns: OUTBOX_OK, OUTBOX_NONE, or a negative error.
 * Since 0.1.
 */
typedef enum outbox_status {
    OUTBOX_NONE = 1,              /**< success, and there was nothing: no message, no such row */
    OUTBOX_OK = 0,                /**< success */
    OUTBOX_ERR_NOMEM = -1,        /**< out of memory */
    OUTBOX_ERR_INVALID = -2,      /**< an argument or a message is not acceptable; nothing was written */
    OUTBOX_ERR_CONF = -3,         /**< a setting is unknown, out of range, or contradicts the database */
    OUTBOX_ERR_CONNECT = -4,      /**< no connection could be made */
    OUTBOX_ERR_LOST = -5,         /**< the connection is gone: connect again */
    OUTBOX_ERR_CONFLICT = -6,     /**< deadlock, serialization failure, lock timeout, busy: repeat the transaction */
    OUTBOX_ERR_DUPLICATE = -7,    /**< the id or dedup_key was used before; roll back */
    OUTBOX_ERR_FENCED = -8,       /**< the lease was lost to another relay; nothing was written */
    OUTBOX_ERR_SCHEMA = -9,       /**< the tables are missing or of another version: migrate */
    OUTBOX_ERR_READONLY = -10,    /**< the database refuses writes at present */
    OUTBOX_ERR_DATABASE = -11,    /**< any other error of the database or its driver */
    OUTBOX_ERR_PUBLISH = -12,     /**< the publisher failed as a whole */
    OUTBOX_ERR_STATE = -13,       /**< the call does not fit the object's state */
    OUTBOX_ERR_UNSUPPORTED = -14, /**< this database, driver or build cannot do that */
    OUTBOX_ERR_SYSTEM = -15       /**< the operating system refused: a thread, a file, a process */
} outbox_status;

/**
 * What a publisher says of one message. Since 0.1.
 */
typedef enum outbox_verdict {
    OUTBOX_PUBLISHED = 1, /**< the broker has it, durably; it will not be sent again */
    OUTBOX_RETRY = 2,     /**< not sent; try again later; costs an attempt */
    OUTBOX_REJECT = 3,    /**< never acceptable; goes to the dead letters at once */
    OUTBOX_UNKNOWN = 4,   /**< may have been sent; goes again with the same id, in order; costs an attempt */
    OUTBOX_UNAVAILABLE = 5 /**< the broker cannot be reached, whatever the message: goes again, in order, once it can;
                                costs nothing while nothing gets through */
} outbox_verdict;

/**
 * Where a message stands. Since 0.1.
 *
 * States follow from the table that holds the row and from the position of its lane; no column is updated.
 */
typedef enum outbox_state {
    OUTBOX_PENDING = 1,   /**< waits to be read by a relay */
    OUTBOX_SCHEDULED = 2, /**< waits for its available_at */
    OUTBOX_RETRYING = 3,  /**< failed, waits for its next attempt */
    OUTBOX_HELD = 4,      /**< waits behind an earlier message of its key */
    OUTBOX_DEAD = 5,      /**< given up; see last_error; redrive or discard it */
    OUTBOX_DELIVERED = 6  /**< published, and kept for the retention time */
} outbox_state;

/** How many values outbox_state has, counting the unused 0; for arrays indexed by state. Since 0.1. */
#define OUTBOX_STATE_COUNT 7

/** A message id as text: 36 characters, lower case, and a NUL. Since 0.1. */
typedef struct outbox_id {
    char text[37]; /**< ends with a NUL */
} outbox_id;

typedef struct outbox_error outbox_error;         /**< why a call failed. Since 0.1. */
typedef struct outbox_conf outbox_conf;           /**< settings. Since 0.1. */
typedef struct outbox_conn outbox_conn;           /**< one ODBC connection, used by one thread at a time. Since 0.1. */
typedef struct outbox_record outbox_record;       /**< a message read back; owned by what it came from. Since 0.1. */
typedef struct outbox_publisher outbox_publisher; /**< sends messages to a broker. Since 0.1. */
typedef struct outbox_delivery outbox_delivery;   /**< messages handed to a publisher in one call. Since 0.1. */
typedef struct outbox_consumer outbox_consumer;   /**< claims lanes and reads batches. Since 0.1. */
typedef struct outbox_batch outbox_batch;         /**< messages of one leased lane. Since 0.1. */
typedef struct outbox_metrics outbox_metrics;     /**< what relays and their outboxes are like. Since 0.1. */
typedef struct outbox_relay outbox_relay;         /**< threads that claim, publish and settle. Since 0.1. */
typedef struct outbox_cleaner outbox_cleaner;     /**< a thread that removes what is past retention. Since 0.1. */

OUTBOX_BEGIN_DECLS

/**
 * Name of a status code, such as "OUTBOX_ERR_FENCED"; "OUTBOX_ERR_?" for a number that is none. Static. Since 0.1.
 *
 * @param[in] status  a status code
 * @return a static string, never NULL
 */
OUTBOX_API const char *outbox_status_name(int status);

/**
 * Name of a state as the tools write it: "pending", "scheduled", "retry", "held", "dead", "published".
 *
 * @param[in] state  a state
 * @return a static string; "?" for a number that is no state. Since 0.1.
 */
OUTBOX_API const char *outbox_state_name(outbox_state state);

/**
 * The state of that name.
 *
 * @param[in]  name   as outbox_state_name() writes it
 * @param[out] state  the state
 * @return OUTBOX_OK, or OUTBOX_NONE when no state has that name. Since 0.1.
 */
OUTBOX_API int outbox_state_parse(const char *name, outbox_state *state);

OUTBOX_END_DECLS

#endif
