/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ODBC connection strings: KEY=value;KEY={value};… where a value in braces may have anything, with "}}" for one. */
#ifndef OUTBOX_CONNSTR_H
#define OUTBOX_CONNSTR_H

#include "buffer.h"

struct outbox_connstr_part {
    const char *text;  /* the whole of it, as written */
    size_t size;
    const char *key;   /* without blanks around it */
    size_t key_size;
    const char *value; /* as written, with its braces; without blanks around it */
    size_t value_size;
};

/* The next KEY=value at *at, which is moved on; 0 at the end. */
int outbox_connstr__next(const char **at, struct outbox_connstr_part *part);
int outbox_connstr__is(const struct outbox_connstr_part *part, const char *key);

/* The value of a key, without braces; free it. *value is NULL when the key is not there. */
int outbox_connstr__get(const char *text, const char *key, char **value, outbox_error **err);

/* Adds key={value};. 0 when memory is out. */
int outbox_connstr__add(struct outbox_buffer *out, const char *key, const char *value);

#endif
