/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/publisher.h
 * What stands between the relay and a broker.
 * The relay hands a publisher a delivery: some messages of one lane or of several. The publisher answers each of them with a
 * verdict, now or later, from any thread. Retries, limits and dead letters are the relay's business.
 *
 * @threads Any.
 * @example relay.c
 */
#ifndef OUTBOX_PUBLISHER_H
#define OUTBOX_PUBLISHER_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** The version of struct outbox_publisher_ops. Since 0.1. */
#define OUTBOX_PUBLISHER_ABI 1

/**
 * The publisher answers something else than OUTBOX_PUBLISHED for a message only if no later message of the same
 * topic and key in the same delivery was or will be sent. A sequential publisher that takes its messages from
 * outbox_delivery_next() is so by itself. Without this flag a delivery holds at most one message of a key.
 * Since 0.1.
 */
#define OUTBOX_PUBLISHER_IN_ORDER 1u

/**
 * What a publisher can do. Slots are only ever added at the end. Since 0.1.
 */
typedef struct outbox_publisher_ops {
    size_t size;      /**< sizeof(outbox_publisher_ops) */
    uint32_t abi;     /**< OUTBOX_PUBLISHER_ABI */
    uint32_t flags;   /**< OUTBOX_PUBLISHER_IN_ORDER or 0 */
    const char *name; /**< for logs; static */
    /**
     * Sends the messages of a delivery. Called on relay threads, several at once when there are several workers.
     * Answers may come later; the delivery lives until each message was answered, also when it was cancelled. A
     * negative return says that the whole call failed; the delivery is gone then. OUTBOX_ERR_LOST and
     * OUTBOX_ERR_CONNECT say that the broker cannot be reached: whatever was not answered counts as OUTBOX_UNAVAILABLE.
     * After anything else the relay looks for the message that is to blame: what was not answered is sent again in
     * halves, in order, until a message fails alone, which counts as OUTBOX_UNKNOWN; the others cost nothing. It must
     * return some time: one that neither returns nor takes or answers a message for relay.publish_timeout loses its
     * lanes to another relay, which sends the same messages. Required.
     */
    int (*publish)(void *self, outbox_delivery *delivery, outbox_error **err);
    /**
     * The relay waits half a second longer; later answers are ignored. Yet each message must be answered some time, with
     * whatever verdict: until then the delivery is kept, so that the publisher may use it. A relay whose publisher owes
     * answers to 64 such deliveries sends nothing more until it gets some. A publish() that cannot answer any more returns
     * an error, such as OUTBOX_ERR_PUBLISH: then it owes nothing. Of what is left, one message alone counts as
     * OUTBOX_UNKNOWN; several cost nothing, and go again one at a time.
     * Called on another thread than publish, possibly while it runs, but not after a call that failed. The relay holds no
     * lock meanwhile: asking it for its statistics is fine. Must return soon: its worker waits. May be NULL.
     */
    void (*cancel)(void *self, outbox_delivery *delivery);
    /** Frees self. No delivery may be used after it returned. May be NULL. */
    void (*close)(void *self);
    /**
     * Says whether the broker can be reached: connects and logs in as publish() would, and sends no message. It uses no
     * connection that publish() uses, may run beside it, and must return after the time that the settings allow for connecting.
     * Returns OUTBOX_OK; OUTBOX_NONE: it cannot tell; OUTBOX_ERR_CONNECT or another error, with the broker's words. May be
     * NULL: then nobody can tell.
     */
    int (*reach)(void *self, outbox_error **err);
} outbox_publisher_ops;

/**
 * Makes a publisher from an application's own functions.
 *
 * @param[in]  ops        copied
 * @param[in]  self       handed to each function; owned by the publisher from now on, if this call succeeds
 * @param[out] publisher  free it with outbox_publisher_free() after the relays that use it
 * @param[out] err        why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_new(const outbox_publisher_ops *ops, void *self, outbox_publisher **publisher,
                                    outbox_error **err);

/**
 * Opens a publisher by URL: "null:", "stdout:", "file:PATH", "exec:COMMAND"; a broker by a loadable module, such as
 * "redis://HOST"; or what outbox_publisher_register() was told.
 *
 * @param[in]  url        where to publish
 * @param[in]  conf       settings, or NULL; copied
 * @param[out] publisher  free it with outbox_publisher_free() after the relays that use it
 * @param[out] err        why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_UNSUPPORTED (no publisher for that scheme, or its module is not
 *         installed), OUTBOX_ERR_CONF (a setting of the module), OUTBOX_ERR_SYSTEM, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_open(const char *url, const outbox_conf *conf, outbox_publisher **publisher,
                                     outbox_error **err);

/**
 * Whether there is a publisher for a URL, without opening it: its scheme is known, and if a module opens it, that is
 * there and can be loaded. What stands behind the scheme, and the settings of a module, are not looked at.
 *
 * @param[in]  url   where to publish
 * @param[in]  conf  with what outbox_publisher_register() was told, or NULL
 * @param[out] err   why not, and what to install, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_UNSUPPORTED, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_check(const char *url, const outbox_conf *conf, outbox_error **err);

/**
 * Sends one message; the simplest publisher. Since 0.1.
 *
 * @param[in]  user        what outbox_publisher_from_callback() was given
 * @param[in]  message     valid during the call
 * @param[out] retry_ms    for OUTBOX_RETRY: wait at least so many milliseconds; starts at -1, the relay's own backoff
 * @param[out] err         may be set with outbox_error_new() to say why not; freed by the library
 * @return a verdict
 * @threads Called on relay threads, several at once when there are several workers, never twice at once for one key.
 */
typedef outbox_verdict (*outbox_publish_fn)(void *user, const outbox_record *message, int64_t *retry_ms,
                                            outbox_error **err);

/**
 * Makes a publisher from one function.
 *
 * @param[in]  fn         called for each message
 * @param[in]  user       handed to fn; must outlive the publisher
 * @param[out] publisher  free it with outbox_publisher_free() after the relays that use it
 * @param[out] err        why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_from_callback(outbox_publish_fn fn, void *user, outbox_publisher **publisher,
                                              outbox_error **err);

/**
 * Asks whether the broker can be reached now. Nothing is sent, so a yes says that the next message gets there, and not that
 * it will be taken. Takes no longer than the publisher's settings allow for connecting to each of its hosts.
 *
 * @param[in]  publisher  a publisher; relays may use it meanwhile
 * @param[out] err        why not, in the broker's words, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE: this publisher cannot tell; OUTBOX_ERR_CONNECT, OUTBOX_ERR_LOST, OUTBOX_ERR_SYSTEM and
 *         what else its connecting fails with; OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_reach(outbox_publisher *publisher, outbox_error **err);

/** Name of a publisher, for logs. @param[in] publisher  a publisher @return static text. Since 0.1. */
OUTBOX_API const char *outbox_publisher_name(const outbox_publisher *publisher);

/** Closes and frees a publisher. @param[in] publisher  or NULL @threads Any, when no relay uses it. Since 0.1. */
OUTBOX_API void outbox_publisher_free(outbox_publisher *publisher);

/**
 * @page outbox_delivery
 * Messages that were handed to a publisher in one call.
 * Each is answered with a verdict, once. A sequential publisher is a loop:
 *
 *     while ((record = outbox_delivery_next(delivery, &index)) != NULL)
 *         outbox_delivery_answer(delivery, index, send(record), -1, NULL);
 *
 * @threads Any, several at once.
 */

/** How many messages a delivery has. @param[in] d  a delivery @return at least 1. Any thread. Since 0.1. */
OUTBOX_API size_t outbox_delivery_count(const outbox_delivery *d);

/**
 * A message of a delivery.
 *
 * @param[in] d      a delivery
 * @param[in] index  0 … count - 1; messages of one key are in order
 * @return a record, valid as long as the delivery; NULL past the end. Any thread. Since 0.1.
 */
OUTBOX_API const outbox_record *outbox_delivery_message(const outbox_delivery *d, size_t index);

/**
 * For sequential publishers: the next message to send. Skips messages whose key had one that was not published, and
 * ends once one was OUTBOX_UNAVAILABLE.
 *
 * @param[in]  d      a delivery
 * @param[out] index  for outbox_delivery_answer()
 * @return the record, valid as long as the delivery; NULL when there is no more to send, or the delivery was cancelled.
 *         Since 0.1.
 */
OUTBOX_API const outbox_record *outbox_delivery_next(outbox_delivery *d, size_t *index);

/**
 * For publishers that have many messages on their way at once: the next message to send. Gives each message once, in an
 * order in which at most one message of a topic and key is given and not answered; skips like outbox_delivery_next().
 * Ask again after an answer: it may have made another one ready. Only inside publish(), by one thread.
 *
 * @param[in]  d      a delivery
 * @param[out] index  for outbox_delivery_answer()
 * @return the record, valid as long as the delivery; NULL when there is none to send now, or when cancel was called.
 *         Since 0.1.
 */
OUTBOX_API const outbox_record *outbox_delivery_ready(outbox_delivery *d, size_t *index);

/**
 * Waits for other threads' answers: until outbox_delivery_ready() has a message, or there is nothing to wait for. Only
 * inside publish(), by one thread; a cancel wakes it up.
 *
 * @param[in] d           a delivery
 * @param[in] timeout_ms  how long at most; -1: as long as it takes
 * @return OUTBOX_OK: look what is ready, or the time passed; OUTBOX_NONE: all that was given is answered and there is
 *         nothing more, or cancel was called: publish() should return soon. Since 0.1.
 */
OUTBOX_API int outbox_delivery_wait(outbox_delivery *d, int timeout_ms);

/**
 * Answers a message. The first answer counts; later ones and those after a cancel are ignored. When the last
 * message has been answered the delivery may be gone: do not touch it again, but in publish() itself, where it stays
 * until publish() returns.
 *
 * @param[in] d         a delivery
 * @param[in] index     which message
 * @param[in] verdict   what became of it
 * @param[in] retry_ms  for OUTBOX_RETRY and OUTBOX_UNKNOWN: wait at least so many milliseconds; -1: the relay's own
 *                      backoff
 * @param[in] reason    why not, UTF-8, kept as the message's last_error; copied; may be NULL
 * @return OUTBOX_OK, or OUTBOX_NONE when the answer was ignored. Any thread. Since 0.1.
 */
OUTBOX_API int outbox_delivery_answer(outbox_delivery *d, size_t index, outbox_verdict verdict, int64_t retry_ms,
                                      const char *reason);

OUTBOX_END_DECLS

#endif
