/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outbox_conn_open() is given: the name of a DSN, a connection string, or sqlite:PATH. */
#ifndef OUTBOX_DSN_H
#define OUTBOX_DSN_H

#include "buffer.h"
#include "conf_internal.h"

/* The connection string that it stands for. OUTBOX_ERR_INVALID for a path that no connection string can hold. */
int outbox_dsn__plain(const char *dsn, struct outbox_buffer *out, outbox_error **err);

/* The connection string to connect with; free it. What the driver of its database wants for connections of the
 * library's own is added, unless the string or its DSN has a say in it. */
int outbox_dsn__expand(const char *dsn, const outbox_conf *conf, char **text, outbox_error **err);

#endif
