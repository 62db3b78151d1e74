/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether there is the command that an "exec:" publisher is to run. */
#ifndef OUTBOX_PUBLISHERS_EXEC_REACH_H
#define OUTBOX_PUBLISHERS_EXEC_REACH_H

#include <outbox/error.h>

/* The command is not run: it would take that for the start of work. OUTBOX_OK, OUTBOX_NONE when only the shell could
 * tell, or an error that says what is missing. */
int outbox_exec__reach(const char *command, outbox_error **err);

#endif
