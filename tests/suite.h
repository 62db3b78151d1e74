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
void suite_heads(const struct target *target, const char *only);
void suite_late(const struct target *target, const char *only);
void suite_numbers(const struct target *target, const char *only);
void suite_keeper(const struct target *target, const char *only);
void suite_gather(const struct target *target, const char *only);
void suite_gather_relay(const struct target *target, const char *only);
void suite_clean(const struct target *target, const char *only);
void suite_admin(const struct target *target, const char *only);
void suite_peek(const struct target *target, const char *only);
void suite_schema(const struct target *target, const char *only);
void suite_relay(const struct target *target, const char *only);
void suite_hostile(const struct target *target, const char *only);
void suite_broker(const struct target *target, const char *only);
void suite_hang(const struct target *target, const char *only);
void suite_answers(const struct target *target, const char *only);
void suite_builtin(const struct target *target, const char *only);

/* Steps of suite_order.c. Answers the first message of a batch, everything else there stays without a verdict; drains and
 * compares what came of a key; enqueues for a later time. */
void answer_head(struct fixture *fx, outbox_consumer *consumer, outbox_verdict verdict);
void drained_of(struct fixture *fx, outbox_consumer *consumer, const char *key, const char *words);
void send_later(struct fixture *fx, const char *key, const char *word, int64_t delay_ms, int64_t at);

/* All of them. argv[1], when given, is a part of the names of the tests to run. Returns the exit status. */
int conformance_main(const char *target, int argc, char **argv);

/* One message in each state but delivered; ids indexed by state. */
int one_of_each(struct fixture *fx, outbox_consumer *consumer, outbox_id ids[OUTBOX_STATE_COUNT]);
/* A retry that does not come due while a test looks at it. */
outbox_consumer *patient_consumer(struct fixture *fx);

/* What metrics tell is what was counted, in an outbox that is small enough. */
void check_backlog(struct fixture *fx, const outbox_counts *counts, int64_t blocked);

#endif
