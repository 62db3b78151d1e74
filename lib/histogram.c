/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "histogram.h"

const int64_t outbox_histogram__bounds[OUTBOX_HISTOGRAM_BOUNDS] = {
    1000,    2500,    5000,    10000,    25000,    50000,    100000,    250000,    500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000, 900000000, 3600000000,
};

void outbox_histogram__observe(struct outbox_histogram *h, int64_t us)
{
    size_t i = 0;

    if (us < 0)
        us = 0;
    while (i < OUTBOX_HISTOGRAM_BOUNDS && us > outbox_histogram__bounds[i])
        i++;
    h->count[i]++;
    h->sum += (uint64_t)us;
}

void outbox_histogram__add(struct outbox_histogram *to, const struct outbox_histogram *from)
{
    size_t i;

    for (i = 0; i <= OUTBOX_HISTOGRAM_BOUNDS; i++)
        to->count[i] += from->count[i];
    to->sum += from->sum;
}

uint64_t outbox_histogram__total(const struct outbox_histogram *h)
{
    uint64_t total = 0;
    size_t i;

    for (i = 0; i <= OUTBOX_HISTOGRAM_BOUNDS; i++)
        total += h->count[i];
    return total;
}
