/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A batch of which each message is one text, which costs a driver a call or two instead of one a cell. Not all of them in
 * one text: a server that makes a large value asks its system for memory each time, page by page.
 *
 * The first text is what the statement saw: xbound, if it settled; snapshot, if it reads by position; any deferred message.
 * Semicolons are between them, and NULL is nothing at all:
 *
 *   [xbound] ; [snapshot] ; [seq]
 *
 * Each other one is a message: numbers with a comma between them, a semicolon, and then its values, one behind the other:
 *
 *   seq, created_at, bytes of payload, of topic, of key [, available_at, state, max_attempts, bytes of headers, of
 *   content type, of message type] ; id (36 characters) topic key headers content_type message_type payload (hexadecimal)
 *
 * A number that is missing is NULL, as is the value that it is the size of. What is in brackets is there when any of it is
 * not NULL. A message that is too large is an empty text, or NULL.
 *
 * Where lanes are leased and read by one statement, each begins with a text of its own, with no snapshot when none of its
 * messages follow; NULL, when it could not be leased:
 *
 *   L lane, token, pos, low, suspect ; snap ; xbound ; [snapshot] ; [seq] */
#ifndef OUTBOX_PACKED_H
#define OUTBOX_PACKED_H

#include "odbc.h"

#define OUTBOX_PACKED_ID 36

enum outbox_packed_head { OUTBOX_PACKED_XBOUND, OUTBOX_PACKED_SNAPSHOT, OUTBOX_PACKED_DEFERRED, OUTBOX_PACKED_HEAD };

/* The first text, in place. OUTBOX_NONE: it is none. end: behind it, where a NUL is. */
int outbox_packed__head(char *text, char *end, struct outbox_value head[OUTBOX_PACKED_HEAD]);

enum outbox_packed_lane {
    OUTBOX_PACKED_LANE,
    OUTBOX_PACKED_TOKEN,
    OUTBOX_PACKED_POS,
    OUTBOX_PACKED_LOW,
    OUTBOX_PACKED_SUSPECT,
    OUTBOX_PACKED_SNAP,
    OUTBOX_PACKED_LANE_XBOUND,
    OUTBOX_PACKED_LANE_SNAPSHOT,
    OUTBOX_PACKED_LANE_DEFERRED,
    OUTBOX_PACKED_LANE_CELLS
};

/* A lane's text, in place. OUTBOX_NONE: it is none. */
int outbox_packed__lane(char *text, char *end, struct outbox_value lane[OUTBOX_PACKED_LANE_CELLS]);

/* 1 when a text is as long as its own numbers say, of which seq is the first. It is not where columns hold what no library
 * writes (a NUL within a topic, a number that is a text), or where sizes are of another character set than the
 * connection's. */
int outbox_packed__fits(const char *text, const char *end, int64_t *seq);

/* Takes a message apart, in place: cells get the columns of OUTBOX_RECORD_TYPES, but not the lane; texts and payload stay where
 * they are, with a NUL behind each. id holds the text of the id. OUTBOX_NONE: this is no message. */
int outbox_packed__take(char *text, char *end, char id[OUTBOX_PACKED_ID + 1], struct outbox_value *cells);

#endif
