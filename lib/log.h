/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log lines go to the callback of the conf, and nowhere without one. */
#ifndef OUTBOX_LOG_H
#define OUTBOX_LOG_H

#include "conf_internal.h"
#include "error_internal.h"

void outbox_log__write(const outbox_conf *conf, outbox_log_level level, const char *format, ...) OUTBOX__PRINTF(3, 4);

/* A duration as people say it: "37 ms", "1.2 s", "42 s", "2 m 30 s", "1 h". Returns text. */
#define OUTBOX_LOG_SECONDS 32
const char *outbox_log__seconds(int64_t us, char text[OUTBOX_LOG_SECONDS]);

#endif
