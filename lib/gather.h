/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A batch from several lanes. */
#ifndef OUTBOX_GATHER_H
#define OUTBOX_GATHER_H

#include "batch_internal.h"

/* How many lanes the next batch is to come from, most at the most; 0: it has to be leased and read as any database can. */
size_t outbox_consumer__gathers(const outbox_consumer *consumer, size_t most);

/* The next batch is to come from one lane. */
void outbox_consumer__shrink(outbox_consumer *consumer);

/* Leases so many lanes for an empty batch, with what is new in them, for outbox_batch__read() to take apart. OUTBOX_NONE: no lane
 * has work. */
#define OUTBOX_GATHER_RACED 100 /* some has, which others took meanwhile or which has to come by itself: lease one */
int outbox_batch__gather(outbox_batch *batch, size_t lanes, outbox_error **err);

/* Says which messages are of which part, once it is known which of them are delivered. */
void outbox_batch__divide(outbox_batch *batch);

/* A part as a batch of its own, with items that are the whole batch's. Only its two arenas are to be freed. */
void outbox_batch__view(const outbox_batch *batch, size_t index, outbox_batch *view);

/* As outbox_batch__settle() and outbox_batch__fence(), without keeping the lanes. What was done is not done again: after a
 * conflict the rest can be tried once more. OUTBOX_ERR_FENCED: of some part the lease was lost; all others are settled. */
int outbox_batch__settle_gathered(outbox_batch *batch, outbox_error **err);
int outbox_batch__release_gathered(outbox_batch *batch, outbox_error **err);

/* 1 when there was little: no lane has more, and nothing goes one at a time. */
int outbox_batch__is_small(const outbox_batch *batch);

/* "lane 3", or "12 lanes". */
#define OUTBOX_BATCH_LANES 32
const char *outbox_batch__lanes(const outbox_batch *batch, char text[OUTBOX_BATCH_LANES]);

#endif
