/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A batch as one text, which costs a driver a few calls instead of one a cell and a row.
 *
 * Each message is numbers with a comma between them, a semicolon, and then its values, one behind the other:
 *
 *   seq, created_at, bytes of payload, of topic, of key [, available_at, state, max_attempts, bytes of headers, of
 *   content type, of message type] ; id (36 characters) topic key headers content_type message_type payload (hexadecimal)
 *
 * A number that is missing is NULL, as is the value that it is the size of. What is in brackets is there when any of it is
 * not NULL. */
#ifndef OUTBOX_PACKED_H
#define OUTBOX_PACKED_H

#include "odbc.h"

#define OUTBOX_PACKED_ID 36

/* Takes the message at *at apart, in place, and moves *at behind it: cells get the columns of OUTBOX_RECORD_TYPES, but not
 * the lane; texts and payload stay where they are, with a NUL behind each. id holds the text of the id. OUTBOX_NONE: this
 * is no message. *end must be NUL. */
int outbox_packed__take(char **at, char *end, char id[OUTBOX_PACKED_ID + 1], struct outbox_value *cells);

#endif
