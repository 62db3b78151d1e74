/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages that were held behind a dead one, by relays that let dead ones block, while this consumer does not, or knows
 * of no order: nobody would look at them again, and new messages of their key would pass them. A consumer lets the first
 * of each key go when it starts, and each batch that settles lets the next ones go, so that changing the setting is a
 * restart. The other way there is nothing to do: what is due behind a dead message is held when it is read. */
#include "batch_internal.h"
#include "error_internal.h"

#include <stdlib.h>

#define KEYS 512

struct stranded {
    int64_t lane[KEYS], key[KEYS];
    size_t count;
};

static int take(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct stranded *s = ctx;

    (void)err;
    if (s->count == KEYS)
        return OUTBOX_NONE;
    s->lane[s->count] = cells[0].number;
    s->key[s->count++] = cells[1].number;
    return OUTBOX_OK;
}

/* Under the lane's lock, like all that takes a head away: the statement looks again whether there is none. */
static int promote(outbox_conn *conn, int64_t lane, const int64_t *keys, size_t count, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, lane);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "let messages behind dead ones go", NULL, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__promote(conn, (int)lane, keys, count, 0, err);
    if (rc == OUTBOX_OK)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

static int release_some(outbox_conn *conn, struct stranded *s, outbox_error **err)
{
    struct outbox_result result = { "ii", NULL, take, s, 0 };
    struct outbox_args args = { .set = 0 };
    size_t i, n;
    int rc;

    s->count = 0;
    outbox_args__int(&args, P_LIMIT, KEYS);
    rc = outbox_conn__run(conn, Q_STRANDED, &args, 0, "look for messages behind dead ones", &result, err);
    for (i = 0; i < s->count && rc == OUTBOX_OK; i += n) {
        for (n = 1; i + n < s->count && s->lane[i + n] == s->lane[i]; n++)
            ;
        rc = promote(conn, s->lane[i], s->key + i, n, err);
    }
    return rc;
}

int outbox_consumer__release_stranded(outbox_consumer *consumer, outbox_error **err)
{
    struct stranded *s;
    int rc;

    if (outbox_consumer__dead_blocks(consumer))
        return OUTBOX_OK;
    s = malloc(sizeof(*s));
    if (s == NULL)
        return outbox_error__nomem(err);
    do
        rc = release_some(consumer->conn, s, err);
    while (rc == OUTBOX_OK && s->count == KEYS);
    free(s);
    return rc;
}
