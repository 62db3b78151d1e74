/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Databases that call themselves PostgreSQL and are another one. */
#ifndef OUTBOX_RELATIVES_H
#define OUTBOX_RELATIVES_H

#include <stddef.h>

/* By what version() says. 0: it is PostgreSQL itself. 1: it is not, and name is what to call it. */
int outbox_postgresql__relative(const char *version, char *name, size_t size);

#endif
