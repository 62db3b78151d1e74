/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings as the library reads them. */
#ifndef OUTBOX_CONF_INTERNAL_H
#define OUTBOX_CONF_INTERNAL_H

#include "conf_table.h"

#include <outbox/conf.h>
#include <outbox/sys/publisher.h>

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

/* What publishers take has their prefix and no row in the table. */
#define CONF_EXTRA_KEY_MAX 120
#define CONF_EXTRA_MAX 8192

struct outbox_extra {
    char *key, *value;
    size_t module; /* so much of the key names the module */
};

/* A scheme that the program opens by itself. */
struct outbox_scheme {
    const char *scheme;
    const outbox_publisher_module *module;
};

struct outbox_conf {
    char *text[CONF__COUNT];      /* as given; NULL: the default */
    int64_t number[CONF__COUNT];  /* microseconds, bytes, index of a choice */
    outbox_log_fn log;
    void *log_user;
    outbox_backoff_fn backoff;
    void *backoff_user;
    outbox_topic_fn topic_map;
    void *topic_map_user;
    struct outbox_extra *extras;
    size_t extra_count;
    struct outbox_scheme *schemes;
    size_t scheme_count;
    int only_looks; /* the doctor's: publishers make no files */
};

int64_t outbox_conf__number(const outbox_conf *conf, enum outbox_conf_key key);
const char *outbox_conf__text(const outbox_conf *conf, enum outbox_conf_key key);

/* A value of a publisher's setting, as the table's are parsed: 0 when it is not in the range, which is told. */
int outbox_conf__parse(const outbox_setting *setting, const char *value, int64_t *number, char *range, size_t size);

/* Whether there is a loadable module of that name: one of ours, installed or not, or somebody else's that is installed. */
int outbox_publisher__is_module(const char *name, size_t size);

/* A copy, or a conf of defaults when there is none. */
int outbox_conf__copy(const outbox_conf *conf, outbox_conf **copy, outbox_error **err);

#endif
