/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs that make manual pages from tables share. */
#ifndef OUTBOX_DOC_MAN_H
#define OUTBOX_DOC_MAN_H

#include <stddef.h>

void man_lines(const char *const lines[], size_t count);

/* Text as mdoc takes it: each sentence begins a line, and names of functions are references. */
void man_text(const char *text);

#endif
