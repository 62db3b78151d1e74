/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much a batch touches on PostgreSQL, counted by the server. */
#ifndef OUTBOX_TESTS_PLANS_H
#define OUTBOX_TESTS_PLANS_H

#include "lib-test.h"

enum { SMALL = 8000, BATCHES = 10, BATCH_SIZE = 10, LANES = 64, FEW_LANES = 4 };

struct cost {
    int64_t rows, blocks;
};

/* Claims and settles so many batches; those of them that were full. */
typedef int (*settle_fn)(struct fixture *fx, outbox_consumer *consumer, int batches);

extern int lanes;  /* of the next outbox */
extern int others; /* who are connected for longer, and do nothing */

struct cost read_counters(struct fixture *fx);
void wait_until_alone(struct fixture *fx);
int settle_on(struct fixture *fx, outbox_consumer *consumer, int batches);
int settle_each(struct fixture *fx, outbox_consumer *consumer, int batches);
int settle_gathered(struct fixture *fx, outbox_consumer *consumer, int batches);
int settle_failing(struct fixture *fx, outbox_consumer *consumer, int batches);
struct cost per_batch(struct cost before, struct cost after);
struct cost measure_by(struct fixture *fx, settle_fn settle);
void load(struct fixture *fx, long count, int transactions);
void analyze(struct fixture *fx);
int fresh(struct fixture *fx, const struct target *target);
void publish_all(struct fixture *fx);

#endif
