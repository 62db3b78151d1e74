/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/message.h
 * Messages as applications write them.
 *
 * @threads The thread that uses the connection; others may enqueue on connections of their own.
 * @example first.c
 */
#ifndef OUTBOX_MESSAGE_H
#define OUTBOX_MESSAGE_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** One header: both are UTF-8 without control characters; the name is not empty. Since 0.1. */
typedef struct outbox_header {
    const char *name;  /**< unique within a message */
    const char *value; /**< may be empty */
} outbox_header;

/**
 * A message to enqueue. Start from OUTBOX_MESSAGE_INIT; everything pointed to stays the caller's and is not
 * kept after the call. Since 0.1.
 */
typedef struct outbox_message {
    size_t size;                 /**< sizeof(outbox_message); set by OUTBOX_MESSAGE_INIT */
    const char *topic;           /**< where to: required, 1 to 255 characters of UTF-8, no control characters */
    const char *partition_key;   /**< orders messages of one topic: up to 255 characters; NULL or "": not ordered */
    const void *payload;         /**< any bytes; may be NULL when payload_size is 0 */
    size_t payload_size;         /**< bytes, up to enqueue.max_payload */
    const outbox_header *headers; /**< header_count of them, up to 1 MiB in all; or NULL */
    size_t header_count;         /**< how many headers */
    const char *content_type;    /**< such as "application/json": the same, or NULL */
    const char *message_type;    /**< such as "order.paid": the same, or NULL */
    const char *id;              /**< a UUID, unique within dedup.window among those given so; NULL: a UUIDv7 is made */
    const char *dedup_key;       /**< unique within dedup.window: up to 200 characters; NULL: none */
    int64_t available_at;        /**< not before: microseconds since 1970 UTC; 0: at once */
    int64_t delay_ms;            /**< not before: so long after now by the database's clock; 0: at once */
    int max_attempts;            /**< at least 1; 0: retry.max_attempts of the relay */
} outbox_message;

/** Starts a message with nothing set. Since 0.1. */
#define OUTBOX_MESSAGE_INIT { sizeof(outbox_message), NULL, NULL, NULL, 0, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, 0 }

/**
 * Writes messages to the outbox, in the transaction that is open on the connection. All arguments are checked
 * before anything is written. After an error of the database the transaction must be rolled back. When none is open,
 * the call is a transaction of its own; where it cannot be told whether the application began one by SQL
 * (OUTBOX_ERR_STATE), switch autocommit off.
 *
 * So begin the transaction first. In autocommit mode with none begun, the messages of this call are committed by it, all or
 * none, and are sent whatever becomes of the application's changes.
 *
 * @param[in]  conn      a connection, in the application's transaction
 * @param[in]  messages  count messages; order within a key is their order here
 * @param[in]  count     how many, at least 1
 * @param[out] ids       room for count ids, or NULL; filled before anything is written
 * @param[out] err       names the message by its index, the field and the limit
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID (nothing was written), OUTBOX_ERR_DUPLICATE, OUTBOX_ERR_SCHEMA,
 *         OUTBOX_ERR_STATE, OUTBOX_ERR_SYSTEM (no random bytes for an id), and the database's errors. Since 0.1.
 */
OUTBOX_API int outbox_enqueue(outbox_conn *conn, const outbox_message *messages, size_t count, outbox_id *ids,
                              outbox_error **err);

/**
 * @page outbox_codec
 * Enqueues values of a type of the application's own.
 *
 * @threads The thread that uses the connection.
 * @example codec.c
 */

/** What a codec writes its payload into; see outbox_buffer_append(). Since 0.1. */
typedef struct outbox_buffer outbox_buffer;

/**
 * Adds bytes to the payload that a codec makes.
 *
 * @param[in,out] buffer  the buffer that the codec was given
 * @param[in]     data    bytes; copied
 * @param[in]     size    how many
 * @return OUTBOX_OK, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_buffer_append(outbox_buffer *buffer, const void *data, size_t size);

/**
 * How values of one type become messages. Since 0.1.
 */
typedef struct outbox_codec {
    size_t size;              /**< sizeof(outbox_codec) */
    const char *content_type; /**< given to messages that have none; may be NULL */
    const char *message_type; /**< given to messages that have none; may be NULL */
    /** Encodes one value; returns OUTBOX_OK, or a negative status with outbox_error_new(). */
    int (*encode)(void *user, const void *value, outbox_buffer *payload, outbox_error **err);
    void *user;               /**< handed to encode */
} outbox_codec;

/**
 * Encodes a value and enqueues it: the codec gives the payload, content type and message type.
 *
 * @param[in]  conn     a connection, in the application's transaction
 * @param[in]  codec    how to encode
 * @param[in]  message  everything but the payload
 * @param[in]  value    handed to the codec
 * @param[out] id       the message's id, or NULL
 * @param[out] err      why not, or NULL
 * @return what the codec or outbox_enqueue() returned; OUTBOX_ERR_INVALID when the codec is incomplete. Since 0.1.
 */
OUTBOX_API int outbox_enqueue_value(outbox_conn *conn, const outbox_codec *codec, const outbox_message *message,
                                    const void *value, outbox_id *id, outbox_error **err);

/**
 * @page outbox_record
 * A message that was read back.
 * Text and bytes are owned by the record; optional ones are NULL when absent. Who hands out a record says how long it
 * lives.
 *
 * @threads Any number, as long as the record lives.
 */

/** Its id, lower case. @param[in] r  a record @return 36 characters. Since 0.1. */
OUTBOX_API const char *outbox_record_id(const outbox_record *r);
/** Its topic. @param[in] r  a record @return UTF-8. Since 0.1. */
OUTBOX_API const char *outbox_record_topic(const outbox_record *r);
/** Its key. @param[in] r  a record @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_record_partition_key(const outbox_record *r);
/**
 * Its payload, followed by a NUL that is not counted.
 *
 * @param[in] r  a record
 * @param[out] size  bytes
 * @return never NULL. Since 0.1.
 */
OUTBOX_API const void *outbox_record_payload(const outbox_record *r, size_t *size);
/** Its headers. @param[in] r  a record @param[out] count  how many @return the first, or NULL. Since 0.1. */
OUTBOX_API const outbox_header *outbox_record_headers(const outbox_record *r, size_t *count);
/** The value of a header. @param[in] r  a record @param[in] name  exact @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_record_header(const outbox_record *r, const char *name);
/** Its content type. @param[in] r  a record @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_record_content_type(const outbox_record *r);
/** Its message type. @param[in] r  a record @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_record_message_type(const outbox_record *r);
/** Its own attempt limit. @param[in] r  a record @return 0 when it has none. Since 0.1. */
OUTBOX_API int outbox_record_max_attempts(const outbox_record *r);
/** How many deliveries failed so far. @param[in] r  a record @return 0, 1, …. Since 0.1. */
OUTBOX_API int outbox_record_attempts(const outbox_record *r);
/** When it was enqueued. @param[in] r  a record @return microseconds since 1970 UTC. Since 0.1. */
OUTBOX_API int64_t outbox_record_created_at(const outbox_record *r);
/**
 * When it may go.
 *
 * @param[in] r  a record
 * @return microseconds since 1970 UTC; 0: at once, or not by itself. Since 0.1.
 */
OUTBOX_API int64_t outbox_record_available_at(const outbox_record *r);
/**
 * When it was published.
 *
 * @param[in] r  a record
 * @return microseconds since 1970 UTC; 0: not yet, or not recorded. Since 0.1.
 */
OUTBOX_API int64_t outbox_record_published_at(const outbox_record *r);
/** Why the last delivery failed. @param[in] r  a record @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_record_last_error(const outbox_record *r);
/** Where it stands. @param[in] r  a record @return its state when it was read. Since 0.1. */
OUTBOX_API outbox_state outbox_record_state(const outbox_record *r);
/** Its lane. @param[in] r  a record @return 0 …. Since 0.1. */
OUTBOX_API int outbox_record_lane(const outbox_record *r);
/** Its number: grows in enqueue order within a key. @param[in] r  a record @return > 0. Since 0.1. */
OUTBOX_API int64_t outbox_record_seq(const outbox_record *r);
/**
 * The lane's token when it was claimed: grows with every claim.
 *
 * @param[in] r  a record
 * @return 0 when not claimed. Since 0.1.
 */
OUTBOX_API int64_t outbox_record_token(const outbox_record *r);

/**
 * @page outbox_json
 * Messages as JSON.
 * One object on one line, the same form wherever messages are written or read; the guide json.md that is installed
 * with the documentation describes it.
 *
 * @threads Any; one at a time for each parsed message.
 */

/**
 * The JSON form of a message, the same everywhere: one object without a newline.
 *
 * @param[in]  r     a record
 * @param[out] text  UTF-8; free it with outbox_free()
 * @param[out] err   why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_record_to_json(const outbox_record *r, char **text, outbox_error **err);

/** A message parsed from JSON; owns what its outbox_message points to. Since 0.1. */
typedef struct outbox_parsed outbox_parsed;

/**
 * Parses the JSON form of a message. attempts, created_at and other read-only members are ignored.
 *
 * @param[in]  text     UTF-8
 * @param[in]  size     bytes
 * @param[in]  keep_id  0: a member "id" is ignored too, so that a copy gets a new id
 * @param[out] parsed   free it with outbox_parsed_free()
 * @param[out] err      says what is wrong, and where
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_message_from_json(const char *text, size_t size, int keep_id, outbox_parsed **parsed,
                                        outbox_error **err);
/** The message. @param[in] parsed  from outbox_message_from_json() @return owned by it. Since 0.1. */
OUTBOX_API const outbox_message *outbox_parsed_message(const outbox_parsed *parsed);
/** Frees it. @param[in] parsed  or NULL. Since 0.1. */
OUTBOX_API void outbox_parsed_free(outbox_parsed *parsed);

/** Frees text that a function of this library returned. @param[in] text  or NULL. Since 0.1. */
OUTBOX_API void outbox_free(void *text);

OUTBOX_END_DECLS

#endif
