/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From keys to lanes, and from (topic, key) to the number that orders them among the deferred. */
#ifndef OUTBOX_LANE_H
#define OUTBOX_LANE_H

#include <stdint.h>

/* Never 0 for a key; 0 for none: 0 means "not ordered". Only relays compute it, so it may change with a migration. */
int64_t outbox_lane__key_hash(const char *topic, const char *key);

#endif
