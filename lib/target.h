/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a publisher sends: the URL, taken apart, and the settings of its module, checked. */
#ifndef OUTBOX_TARGET_H
#define OUTBOX_TARGET_H

#include "broker_url.h"
#include "conf_internal.h"

/* What one row of the module's table is. */
struct outbox_target_value {
    char *text; /* NULL: the default; of a secret: none */
    int64_t number;
};

struct outbox_target {
    const outbox_publisher_module *module;
    outbox_conf *conf;
    struct outbox_broker_url url;
    size_t setting_count;
    struct outbox_target_value *values;
    outbox_header *extra;
    size_t extra_count;
    char *user;
};

/* Reads all that there is to be read: OUTBOX_OK, OUTBOX_ERR_INVALID (the URL), OUTBOX_ERR_CONF, OUTBOX_ERR_SYSTEM (a file
 * with a secret), OUTBOX_ERR_NOMEM. */
int outbox_target__new(const outbox_publisher_module *module, const char *url, const outbox_conf *conf,
                       outbox_target **target, outbox_error **err);
void outbox_target__free(outbox_target *target);

#endif
