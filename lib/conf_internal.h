/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings as the library reads them. */
#ifndef OUTBOX_CONF_INTERNAL_H
#define OUTBOX_CONF_INTERNAL_H

#include "conf_table.h"

#include <outbox/conf.h>

enum outbox_conf_key {
#define CONF_ENUM_(symbol, key, type, def, min, max, choices, help) CONF_##symbol,
    OUTBOX_CONF_TABLE(CONF_ENUM_)
#undef CONF_ENUM_
        CONF__COUNT
};

/* Values of choices, in the order in which the table names them. */
enum { SETTLE_AUTO, SETTLE_POSITION, SETTLE_DELETE };
enum { CREATE_ON, CREATE_OFF };
enum { CLEANER_ON, CLEANER_OFF };
enum { LISTEN_AUTO, LISTEN_ON, LISTEN_OFF };
enum { FILE_ON, FILE_OFF };
enum { ORDERING_KEY, ORDERING_NONE };
enum { DEAD_BLOCK, DEAD_CONTINUE };

/* A duration that was given as "forever". */
#define CONF_FOREVER INT64_MAX

struct outbox_conf {
    char *text[CONF__COUNT];      /* as given; NULL: the default */
    int64_t number[CONF__COUNT];  /* microseconds, bytes, index of a choice */
    outbox_log_fn log;
    void *log_user;
    outbox_backoff_fn backoff;
    void *backoff_user;
};

int64_t outbox_conf__number(const outbox_conf *conf, enum outbox_conf_key key);
const char *outbox_conf__text(const outbox_conf *conf, enum outbox_conf_key key);

/* A copy, or a conf of defaults when there is none. */
int outbox_conf__copy(const outbox_conf *conf, outbox_conf **copy, outbox_error **err);

#endif
