/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/conf.h
 * Settings: one table of keys with units, ranges and defaults.
 * outbox.conf(5) has the keys. Whatever takes settings copies them: changing or freeing a conf later changes nothing
 * that runs.
 *
 *     rc = outbox_conf_new(&conf, &err);
 *     if (rc == OUTBOX_OK)
 *         rc = outbox_conf_set(conf, "relay.batch_size", "500", &err);
 *
 * @threads One thread at a time per conf; different confs are independent.
 */
#ifndef OUTBOX_CONF_H
#define OUTBOX_CONF_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** How much a log line matters. Since 0.1. */
typedef enum outbox_log_level {
    OUTBOX_LOG_ERROR = 3,   /**< somebody should act */
    OUTBOX_LOG_WARNING = 4, /**< works, but not as meant */
    OUTBOX_LOG_INFO = 6,    /**< starts, stops, reconnects */
    OUTBOX_LOG_DEBUG = 7    /**< each batch */
} outbox_log_level;

/**
 * Receives log lines. Should return soon. Since 0.1.
 *
 * @param[in] user     what outbox_conf_set_log() was given
 * @param[in] level    how much it matters; the numbers are those of syslog
 * @param[in] message  one line of UTF-8 without a newline; valid during the call
 * @threads Called on the thread that has something to say, library threads among them, several at once; must not call
 *          the library.
 */
typedef void (*outbox_log_fn)(void *user, outbox_log_level level, const char *message);

/**
 * Says how long a failed message waits. Since 0.1.
 *
 * @param[in] user     what outbox_conf_set_backoff() was given
 * @param[in] attempt  how many deliveries of this message failed: 1, 2, …
 * @return milliseconds until the next attempt; negative: the core's own backoff
 * @threads Called on relay threads, several at once.
 */
typedef int64_t (*outbox_backoff_fn)(void *user, int attempt);

/**
 * Names the topic that a broker gets a message under. Since 0.1.
 *
 * @param[in]  user    what outbox_conf_set_topic_map() was given
 * @param[in]  record  the message
 * @param[out] topic   receives UTF-8 and a NUL
 * @param[in]  size    room for it, at least 1024 bytes
 * @return OUTBOX_OK; OUTBOX_NONE: as the setting topic.map says; negative: the message is rejected
 * @threads Called on threads of the publisher, several at once.
 */
typedef int (*outbox_topic_fn)(void *user, const outbox_record *record, char *topic, size_t size);

/** What one setting is; see outbox_conf_describe(). Since 0.1. */
typedef struct outbox_conf_info {
    const char *key;           /**< "relay.batch_size" */
    const char *type;          /**< "integer", "size", "duration", "choice", "text" */
    const char *default_value; /**< as outbox_conf_set() takes it */
    char range[160];           /**< "1 to 10000", or the choices */
    const char *help;          /**< one or two sentences */
} outbox_conf_info;

/**
 * Makes a conf with every default.
 *
 * @param[out] conf  the conf; free it with outbox_conf_free()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_conf_new(outbox_conf **conf, outbox_error **err);

/** Frees a conf. @param[in] conf  a conf, or NULL. Since 0.1. */
OUTBOX_API void outbox_conf_free(outbox_conf *conf);

/**
 * Sets one key. Durations need a unit ("500ms", "30s", "5m", "12h", "7d") or are 0; sizes are bytes or have one
 * ("16MiB").
 *
 * @param[in,out] conf   a conf
 * @param[in]     key    such as "relay.batch_size"
 * @param[in]     value  text; copied
 * @param[out]    err    names the key, the value and what is allowed
 * @return OUTBOX_OK, OUTBOX_ERR_CONF, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_conf_set(outbox_conf *conf, const char *key, const char *value, outbox_error **err);

/**
 * The present value of a key, as text.
 *
 * @param[in] conf  a conf
 * @param[in] key   a key
 * @return text owned by the conf, valid until the key is set again; NULL when there is no such key. Since 0.1.
 */
OUTBOX_API const char *outbox_conf_get(const outbox_conf *conf, const char *key);

/**
 * Describes the settings, one after the other.
 *
 * @param[in]  index  0, 1, …
 * @param[out] info   filled; its pointers are to static text
 * @return OUTBOX_OK, or OUTBOX_NONE past the last one. Any thread. Since 0.1.
 */
OUTBOX_API int outbox_conf_describe(size_t index, outbox_conf_info *info);

/**
 * Where log lines go. Without this, nowhere: the library never prints.
 *
 * @param[in,out] conf  a conf
 * @param[in]     fn    the callback, or NULL
 * @param[in]     user  handed to fn; must outlive whatever was made from this conf. Since 0.1.
 */
OUTBOX_API void outbox_conf_set_log(outbox_conf *conf, outbox_log_fn fn, void *user);

/**
 * Replaces the backoff between attempts.
 *
 * @param[in,out] conf  a conf
 * @param[in]     fn    the callback, or NULL for exponential backoff with full jitter
 * @param[in]     user  handed to fn; must outlive whatever was made from this conf. Since 0.1.
 */
OUTBOX_API void outbox_conf_set_backoff(outbox_conf *conf, outbox_backoff_fn fn, void *user);

/**
 * Names topics for brokers by a function; goes before the setting topic.map. The publishers null, stdout, file and exec
 * show topics as they are.
 *
 * @param[in,out] conf   a conf
 * @param[in]     fn     the callback, or NULL
 * @param[in]     user   handed to fn; must outlive whatever was made from this conf. Since 0.1.
 */
OUTBOX_API void outbox_conf_set_topic_map(outbox_conf *conf, outbox_topic_fn fn, void *user);

OUTBOX_END_DECLS

#endif
