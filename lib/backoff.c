/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backoff.h"
#include "uuid.h"

int64_t outbox_backoff__random(int64_t bound)
{
    uint64_t bits;

    if (bound <= 0)
        return 0;
    /* Without random bytes the whole wait is as good a choice as any. */
    if (!outbox_uuid__random(&bits, sizeof(bits)))
        return bound;
    return (int64_t)(bits % ((uint64_t)bound + 1));
}

int64_t outbox_backoff__delay(const outbox_conf *conf, int attempt)
{
    int64_t bound = outbox_conf__number(conf, CONF_RETRY_BACKOFF_MIN);
    int64_t max = outbox_conf__number(conf, CONF_RETRY_BACKOFF_MAX);
    int i;

    if (conf->backoff != NULL) {
        int64_t ms = conf->backoff(conf->backoff_user, attempt);

        if (ms >= 0)
            return ms < INT64_MAX / 2000 ? ms * 1000 : INT64_MAX / 2;
    }
    for (i = 1; i < attempt && bound < max; i++)
        bound *= 2;
    return outbox_backoff__random(bound < max ? bound : max);
}
