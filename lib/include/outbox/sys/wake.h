/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/sys/wake.h
 * The contract of wake-up sources, for those who write one.
 * Programs do not need it. A source tells a relay that there may be work, so that the relay need not wait for its next
 * poll. All its functions are called on one thread, the relay's waker, and none may block: a source waits by naming file
 * descriptors and a time. Nothing depends on a source: what it misses is found by polling.
 *
 * A loadable module is a file outbox-wake-NAME.so in the module folder, with one visible symbol, the function
 * outbox_wake_NAME of the type outbox_wake_entry.
 *
 * @threads Called on the relay's waker, one at a time for a relay; several relays have a thread each.
 */
#ifndef OUTBOX_SYS_WAKE_H
#define OUTBOX_SYS_WAKE_H

#include <outbox/conf.h>
#include <outbox/relay.h>

OUTBOX_BEGIN_DECLS

/** The version of this contract; a source with another one is not used. Since 0.1. */
#define OUTBOX_WAKE_ABI 1

/** How many file descriptors a source may wait for. Since 0.1. */
#define OUTBOX_WAKE_FDS 2

/** What the relay is like now. Since 0.1. */
typedef enum outbox_wake_mood {
    OUTBOX_WAKE_BETWEEN = 0, /**< neither: change nothing */
    OUTBOX_WAKE_QUIET = 1,   /**< a worker waits, and there was no work for a while: wake-ups are wanted */
    OUTBOX_WAKE_BUSY = 2     /**< all workers are busy for a while: wake-ups are of no use */
} outbox_wake_mood;

/** What a source waits for, as it says after each step. Since 0.1. */
typedef struct outbox_wake_wait {
    size_t size;                    /**< sizeof(outbox_wake_wait); set by the relay */
    int fd[OUTBOX_WAKE_FDS];        /**< file descriptors; -1: none */
    short events[OUTBOX_WAKE_FDS];  /**< as in struct pollfd: what to wait for */
    short revents[OUTBOX_WAKE_FDS]; /**< in: what there was; 0 after a time or a change of mood */
    int64_t now;                    /**< in: monotonic microseconds */
    int64_t until;                  /**< when to be called at the latest, monotonic microseconds; INT64_MAX: never */
    int covered;                    /**< 1: for all that is committed from now on, a wake-up is sure to come */
    outbox_wake_state state;        /**< how it is */
    char why[200];                  /**< why it does not work, when it does not: one line, shown to whoever asks for the
                                         relay's health, so not what a server said */
} outbox_wake_wait;

/** What a source is given; valid until close. Since 0.1. */
typedef struct outbox_wake_host {
    size_t size;        /**< sizeof(outbox_wake_host) */
    void *ctx;          /**< for the functions below */
    const char *dsn;    /**< the database, as outbox_conn_open() takes it */
    const char *target; /**< what the driver says to watch: the file of a database, the identity of an outbox */
    const char *channel; /**< on which the database notifies; "" when it does not */
    const outbox_conf *conf; /**< the relay's settings */
    const char *conninfo;   /**< where the database's own client library connects to; "" when that is not known */
    int64_t check_interval; /**< microseconds between two proofs that the source works */
    /** There may be work. sure: 0 when it may become visible a little later only. */
    void (*wake)(void *ctx, int sure);
    /** A line for the log, without secrets. */
    void (*log)(void *ctx, outbox_log_level level, const char *text);
    /** conninfo, looked up anew: the DSN may lead elsewhere by now. From step() only; valid until the next call. */
    const char *(*where)(void *ctx);
} outbox_wake_host;

/** A source. New members are added at the end only. Since 0.1. */
typedef struct outbox_wake_ops {
    size_t size;      /**< sizeof(outbox_wake_ops) */
    uint32_t abi;     /**< OUTBOX_WAKE_ABI */
    const char *name; /**< for the log */
    /** Makes one; connects to nothing yet. Returns OUTBOX_OK, or why not. */
    int (*open)(const outbox_wake_host *host, void **source, outbox_error **err);
    /** Does what can be done without waiting, and says what to wait for. */
    void (*step)(void *source, outbox_wake_mood mood, outbox_wake_wait *wait);
    /** Frees it. */
    void (*close)(void *source);
} outbox_wake_ops;

/** The entry of a module. @return its functions: static, never NULL. Since 0.1. */
typedef const outbox_wake_ops *(*outbox_wake_entry)(void);

OUTBOX_END_DECLS

#endif
