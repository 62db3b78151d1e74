/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/error.h
 * Why a call failed.
 * Every function that can fail takes an `outbox_error **` as its last parameter. It may be NULL. When the
 * function returns a negative status and the pointer is not NULL, *err is set and the caller frees it with
 * outbox_error_free(); otherwise *err is left as it was, so start it at NULL.
 *
 *     outbox_error *err = NULL;
 *
 *     if (outbox_conn_commit(conn, &err) != OUTBOX_OK) {
 *         fprintf(stderr, "%s: %s\n", outbox_error_name(err), outbox_error_message(err));
 *         again = outbox_error_retryable(err);
 *         outbox_error_free(err);
 *     }
 *
 * @threads An error is read by any number of threads as long as none frees it.
 */
#ifndef OUTBOX_ERROR_H
#define OUTBOX_ERROR_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** The status code that the call returned. @param[in] err  an error @return a negative status. Since 0.1. */
OUTBOX_API int outbox_error_status(const outbox_error *err);

/**
 * A stable name for the exact condition, such as "enqueue.payload_too_large"; for programs and tests.
 *
 * @param[in] err  an error
 * @return text owned by the error. Since 0.1.
 */
OUTBOX_API const char *outbox_error_name(const outbox_error *err);

/**
 * One sentence for people: what failed, on what, why, and what to do. Never contains a password. In the language that the
 * program has set by setlocale(LC_MESSAGES, …) when the error was made, where there is a translation.
 *
 * @param[in] err  an error
 * @return UTF-8 text owned by the error. Since 0.1.
 */
OUTBOX_API const char *outbox_error_message(const outbox_error *err);

/**
 * The five-character SQLSTATE.
 *
 * @param[in] err  an error
 * @return text owned by the error; "" when no database spoke. Since 0.1.
 */
OUTBOX_API const char *outbox_error_sqlstate(const outbox_error *err);

/**
 * The database's or the system's own error number.
 *
 * @param[in] err  an error
 * @return the number; 0 when there is none. Since 0.1.
 */
OUTBOX_API long outbox_error_native(const outbox_error *err);

/** Whether the same transaction may succeed when it is repeated. @param[in] err  an error @return 1 or 0. Since 0.1. */
OUTBOX_API int outbox_error_retryable(const outbox_error *err);

/** Whether the connection is of no more use. @param[in] err  an error @return 1 or 0. Since 0.1. */
OUTBOX_API int outbox_error_fatal(const outbox_error *err);

/**
 * Frees an error.
 *
 * @param[in] err  an error, or NULL. Since 0.1.
 */
OUTBOX_API void outbox_error_free(outbox_error *err);

/**
 * Makes an error, for publishers and codecs that applications write.
 *
 * @param[out] err      receives the error; NULL: nothing is made
 * @param[in]  status   a negative status
 * @param[in]  name     a stable name with a prefix of the application's own; copied
 * @param[in]  message  a sentence for people, UTF-8; copied
 * @return status
 * @threads Any. Since 0.1.
 */
OUTBOX_API int outbox_error_new(outbox_error **err, int status, const char *name, const char *message);

OUTBOX_END_DECLS

#endif
