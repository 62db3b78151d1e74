/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/consumer.h
 * Claims lanes of an outbox, for programs that publish by themselves.
 * The pull interface: claim a batch, renew, settle with verdicts, release. For programs with an event loop
 * of their own. The relay claims and answers by it too, and settles in the same way; what it does beside is that it takes
 * several lanes at once where it can, takes a charged attempt back, makes a lane suspect when a publisher hangs, and renews from another thread.
 *
 *     while ((rc = outbox_consumer_claim(consumer, &batch, &err)) == OUTBOX_OK) {
 *         for (i = 0; i < outbox_batch_count(batch); i++)
 *             outbox_batch_answer(batch, i, send(outbox_batch_message(batch, i)), -1, NULL);
 *         rc = outbox_batch_settle(batch, &err);
 *         outbox_batch_free(batch);
 *     }
 *
 * @threads A consumer and its batches are used by one thread at a time, which is the one that uses the connection.
 * @example pull.c
 */
#ifndef OUTBOX_CONSUMER_H
#define OUTBOX_CONSUMER_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/**
 * Makes a consumer on a connection. relay.*, retry.*, ordering.* and clean.retention of the conf apply.
 *
 * @param[in]  conn      from outbox_conn_open(), or borrowed with no transaction open and autocommit on; used by the
 *                       consumer until it is freed, and by nothing else
 * @param[in]  conf      settings, or NULL for the defaults; copied
 * @param[in]  owner     a name for the leases: unique to this process and up to 150 characters; NULL: one is made
 * @param[out] consumer  free it with outbox_consumer_free() before the connection
 * @param[out] err       why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_CONF, OUTBOX_ERR_SCHEMA, OUTBOX_ERR_NOMEM, OUTBOX_ERR_SYSTEM, and
 *         the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_consumer_new(outbox_conn *conn, const outbox_conf *conf, const char *owner,
                                   outbox_consumer **consumer, outbox_error **err);

/** Frees a consumer; its batches must have been freed. @param[in] consumer  or NULL. Since 0.1. */
OUTBOX_API void outbox_consumer_free(outbox_consumer *consumer);

/** The name on the leases. @param[in] consumer  a consumer @return owned by it. Since 0.1. */
OUTBOX_API const char *outbox_consumer_owner(const outbox_consumer *consumer);

/**
 * Leases a lane that has work and reads its first batch.
 *
 * @param[in]  consumer  a consumer
 * @param[out] batch     at least one message; free it with outbox_batch_free()
 * @param[out] err       why not, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE when no free lane has work now, and *batch is NULL; the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_consumer_claim(outbox_consumer *consumer, outbox_batch **batch, outbox_error **err);

/**
 * Renews the leases of all lanes that are held under the consumer's owner name, whichever consumer claimed them.
 *
 * @param[in]  consumer  a consumer; may be another one than the claiming, with a connection of its own
 * @param[out] lanes     how many leases were renewed, or NULL
 * @param[out] err       why not, or NULL
 * @return OUTBOX_OK, and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_consumer_renew(outbox_consumer *consumer, size_t *lanes, outbox_error **err);

/**
 * @page outbox_batch
 * Messages of one leased lane: answered, settled or given back.
 * A batch is what outbox_consumer_claim() returned. It ends with outbox_batch_settle() or outbox_batch_release(), or
 * goes on to the next messages of the lane with outbox_batch_next().
 *
 * @threads A batch is used by one thread at a time, which is the one that uses its consumer's connection.
 */

/** How many messages a batch has. @param[in] batch  a batch @return at least 1. Since 0.1. */
OUTBOX_API size_t outbox_batch_count(const outbox_batch *batch);

/**
 * A message of a batch.
 *
 * @param[in] batch  a batch
 * @param[in] index  0 … count - 1
 * @return owned by the batch; NULL past the end. Since 0.1.
 */
OUTBOX_API const outbox_record *outbox_batch_message(const outbox_batch *batch, size_t index);

/** The lane of a batch. @param[in] batch  a batch @return its number. Since 0.1. */
OUTBOX_API int outbox_batch_lane(const outbox_batch *batch);

/** The fencing token of a batch. @param[in] batch  a batch @return the token. Since 0.1. */
OUTBOX_API int64_t outbox_batch_token(const outbox_batch *batch);

/**
 * Whether the lane's last owner crashed, so that messages come one at a time with the attempt recorded beforehand.
 *
 * @param[in] batch  a batch
 * @return 1 or 0. Since 0.1.
 */
OUTBOX_API int outbox_batch_suspect(const outbox_batch *batch);

/**
 * Notes the verdict on a message. What has no verdict when the batch is settled, or OUTBOX_UNAVAILABLE, stays as it
 * was, and is read again in order. After one that was not published do not send later ones of its topic and
 * key in this batch; they need no verdict.
 *
 * @param[in] batch     a batch
 * @param[in] index     which message
 * @param[in] verdict   what became of it
 * @param[in] retry_ms  for OUTBOX_RETRY and OUTBOX_UNKNOWN: wait at least so many milliseconds; -1: the library's own
 *                      backoff
 * @param[in] reason    kept as last_error; copied; may be NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_batch_answer(outbox_batch *batch, size_t index, outbox_verdict verdict, int64_t retry_ms,
                                   const char *reason);

/**
 * Writes all verdicts in one transaction and releases the lane.
 *
 * @param[in]  batch  a batch; only outbox_batch_free() may follow
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK; OUTBOX_ERR_FENCED when the lease was lost; OUTBOX_ERR_STATE when it was settled or released
 *         already; the database's errors. After any error nothing was written, or, when the connection broke during
 *         commit, all of it. Since 0.1.
 */
OUTBOX_API int outbox_batch_settle(outbox_batch *batch, outbox_error **err);

/**
 * Writes all verdicts, keeps the lane, and reads the next batch into the same object.
 *
 * @param[in]  batch  a batch
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK; OUTBOX_NONE when the lane has no more work now and was released; otherwise as
 *         outbox_batch_settle(). After anything but OUTBOX_OK only outbox_batch_free() may follow. Since 0.1.
 */
OUTBOX_API int outbox_batch_next(outbox_batch *batch, outbox_error **err);

/**
 * Renews the lease of this batch's lane.
 *
 * @param[in]  batch  a batch
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_FENCED, OUTBOX_ERR_STATE (settled or released already), and the database's errors.
 *         Since 0.1.
 */
OUTBOX_API int outbox_batch_renew(outbox_batch *batch, outbox_error **err);

/**
 * Releases the lane and forgets all verdicts: every message is read again, by whoever claims the lane next.
 *
 * @param[in]  batch  a batch; only outbox_batch_free() may follow
 * @param[out] err    why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_FENCED, OUTBOX_ERR_STATE (settled or released already), and the database's errors.
 *         Since 0.1.
 */
OUTBOX_API int outbox_batch_release(outbox_batch *batch, outbox_error **err);

/**
 * Frees a batch; when it was not settled or released, its lease runs out by itself.
 *
 * @param[in] batch  or NULL. Since 0.1.
 */
OUTBOX_API void outbox_batch_free(outbox_batch *batch);

OUTBOX_END_DECLS

#endif
