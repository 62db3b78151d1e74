/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The defects that were proven in the outbox that this one re-implements; each test proves that its defect is not here.
 */
#ifndef OUTBOX_TESTS_DEFECTS_H
#define OUTBOX_TESTS_DEFECTS_H

#include "lib-test.h"

void defects_order(const struct target *target, const char *only);
void defects_cost(const struct target *target, const char *only);
void defects_rest(const struct target *target, const char *only);

/* How many statements this process has executed through ODBC. */
long statements_executed(void);

#endif
