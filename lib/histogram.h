/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long things took, in fixed buckets. No lock of its own: collect in one that is nobody else's, then add that. */
#ifndef OUTBOX_HISTOGRAM_H
#define OUTBOX_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define OUTBOX_HISTOGRAM_BOUNDS 18

/* Upper bounds, which belong to their buckets; microseconds. */
extern const int64_t outbox_histogram__bounds[OUTBOX_HISTOGRAM_BOUNDS];

struct outbox_histogram {
    uint64_t count[OUTBOX_HISTOGRAM_BOUNDS + 1]; /* of each bucket alone; the last has no bound */
    uint64_t sum;                                /* microseconds */
};

/* What is below 0, as clocks may say, counts as 0. */
void outbox_histogram__observe(struct outbox_histogram *h, int64_t us);
void outbox_histogram__add(struct outbox_histogram *to, const struct outbox_histogram *from);
uint64_t outbox_histogram__total(const struct outbox_histogram *h);

#endif
