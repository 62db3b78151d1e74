/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches: messages and their verdicts. */
#include "batch_internal.h"
#include "error_internal.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define REASON_MAX 1000

size_t outbox_batch_count(const outbox_batch *batch)
{
    return batch->count;
}

struct outbox_item *outbox_batch__item(const outbox_batch *batch, size_t index)
{
    return index < batch->count ? &batch->items[index] : NULL;
}

const outbox_record *outbox_batch_message(const outbox_batch *batch, size_t index)
{
    return index < batch->count ? &batch->items[index].record : NULL;
}

int outbox_batch_lane(const outbox_batch *batch)
{
    return batch->lane;
}

int64_t outbox_batch_token(const outbox_batch *batch)
{
    return batch->token;
}

int outbox_batch_suspect(const outbox_batch *batch)
{
    return batch->single;
}

int outbox_batch_answer(outbox_batch *batch, size_t index, outbox_verdict verdict, int64_t retry_ms, const char *reason)
{
    struct outbox_item *item = outbox_batch__item(batch, index);

    if (item == NULL || (int)verdict < OUTBOX_PUBLISHED || (int)verdict > OUTBOX_UNAVAILABLE)
        return OUTBOX_ERR_INVALID;
    item->fate = (enum fate)verdict;
    item->spared = 0;
    item->delay = retry_ms < 0 ? -1 : retry_ms > INT64_MAX / 2000 ? INT64_MAX / 2 : retry_ms * 1000;
    item->reason = NULL;
    if (reason != NULL) {
        size_t size = strlen(reason);

        /* What a broker says may be no UTF-8: the database would refuse it, and the verdict with it. */
        if (outbox_text__length(reason, size) < 0) {
            reason = "the publisher gave a reason that is not valid UTF-8";
            size = strlen(reason);
        }
        item->reason = outbox_arena__copy(&batch->arena, reason, outbox_text__cut(reason, size, REASON_MAX));
        if (item->reason == NULL)
            return OUTBOX_ERR_NOMEM;
    }
    if (verdict == OUTBOX_UNAVAILABLE)
        outbox_item__spare(item);
    return OUTBOX_OK;
}

void outbox_item__spare(struct outbox_item *item)
{
    item->spared = 1;
    item->fate = item->charged ? FATE_RETRY : FATE_NONE;
}

int outbox_batch__max_attempts(const outbox_batch *batch, const outbox_record *record)
{
    return record->max_attempts > 0 ? record->max_attempts
                                    : (int)outbox_conf__number(batch->consumer->conf, CONF_RETRY_MAX_ATTEMPTS);
}

static int check_open(const outbox_batch *batch, outbox_error **err)
{
    if (batch->open)
        return OUTBOX_OK;
    return outbox_error__set(err, OUTBOX_ERR_STATE, "batch.closed", "this batch was settled or released already");
}

int outbox_batch_settle(outbox_batch *batch, outbox_error **err)
{
    int rc = check_open(batch, err);

    return rc != OUTBOX_OK ? rc : outbox_batch__settle(batch, 0, err);
}

int outbox_batch_next(outbox_batch *batch, outbox_error **err)
{
    int rc = check_open(batch, err);

    if (rc == OUTBOX_OK)
        rc = outbox_batch__settle(batch, 1, err);
    if (rc == OUTBOX_OK)
        rc = outbox_batch__read(batch, err);
    if (rc == OUTBOX_NONE) {
        rc = outbox_batch__fence(batch, 0, err);
        return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
    }
    return rc;
}

int outbox_batch_renew(outbox_batch *batch, outbox_error **err)
{
    int rc = check_open(batch, err);
    struct outbox_args args = { .set = 0 };
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, batch->lane);
    outbox_args__int(&args, P_TOKEN, batch->token);
    outbox_args__int(&args, P_LEASE, outbox_consumer__lease_us(batch->consumer));
    rc = outbox_conn__run(batch->consumer->conn, Q_RENEW, &args, 0, "renew a lease", &result, err);
    if (rc == OUTBOX_OK && result.rows != 1)
        return outbox_error__set(err, OUTBOX_ERR_FENCED, "lease.lost",
                                 "the lease of lane %d was lost to another relay", batch->lane);
    return rc;
}

int outbox_batch_release(outbox_batch *batch, outbox_error **err)
{
    int rc = check_open(batch, err);

    return rc != OUTBOX_OK ? rc : outbox_batch__fence(batch, 0, err);
}

void outbox_batch__recycle(outbox_batch *batch)
{
    outbox_consumer *consumer = batch->consumer;

    if (consumer->spare != NULL)
        outbox_batch_free(batch);
    else
        consumer->spare = batch;
}

void outbox_batch_free(outbox_batch *batch)
{
    if (batch == NULL)
        return;
    outbox_arena__free(&batch->arena);
    outbox_arena__free(&batch->lane_arena);
    outbox_arena__free(&batch->ahead.arena);
    free(batch->parts);
    free(batch->items);
    free(batch->aside);
    free(batch);
}
