/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conformance suite: what every driver, on every database, with every way to settle, has to do alike.
 * Each program in conformance/ runs it against one target.
 */
#ifndef OUTBOX_TESTS_SUITE_H
#define OUTBOX_TESTS_SUITE_H

#include "lib-test.h"

void suite_enqueue(const struct target *target, const char *only);
void suite_fields(const struct target *target, const char *only);
void suite_lease(const struct target *target, const char *only);
void suite_verdict(const struct target *target, const char *only);
void suite_order(const struct target *target, const char *only);
void suite_late(const struct target *target, const char *only);
void suite_clean(const struct target *target, const char *only);
void suite_admin(const struct target *target, const char *only);
void suite_schema(const struct target *target, const char *only);
void suite_relay(const struct target *target, const char *only);
void suite_hostile(const struct target *target, const char *only);
void suite_broker(const struct target *target, const char *only);
void suite_hang(const struct target *target, const char *only);

/* All of them. argv[1], when given, is a part of the names of the tests to run. Returns the exit status. */
int conformance_main(const char *target, int argc, char **argv);

#endif
