/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publishers that need no library of their own. */
#ifndef OUTBOX_PUBLISHERS_BUILTIN_H
#define OUTBOX_PUBLISHERS_BUILTIN_H

#include <outbox/conf.h>
#include <outbox/error.h>
#include <outbox/publisher.h>

/*
 * Each opens what follows the scheme and its colon in a URL. Returns OUTBOX_OK, OUTBOX_ERR_INVALID,
 * OUTBOX_ERR_SYSTEM or OUTBOX_ERR_NOMEM.
 */
typedef int outbox_publisher_open_fn(const char *rest, const outbox_conf *conf, outbox_publisher **publisher,
                                     outbox_error **err);

/* "null:" accepts everything at once: for measuring. */
outbox_publisher_open_fn outbox_publisher__null_open;
/* "stdout:" writes a JSON line a message to the standard output. */
outbox_publisher_open_fn outbox_publisher__stdout_open;
/* "file:PATH" appends a JSON line a message, which is on the disk before the message counts as published. */
outbox_publisher_open_fn outbox_publisher__file_open;
/* "exec:COMMAND" runs a command that gets a JSON line a message and answers a line each. */
outbox_publisher_open_fn outbox_publisher__exec_open;

#endif
