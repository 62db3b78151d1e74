/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration that changes: redrive, discard, purge. Each lane is changed in a transaction of its own that locks the
 * lane's row first, as the relay's settling does, so that neither sees half of the other. */
#include "admin_internal.h"
#include "clean.h"
#include "error_internal.h"

#include <stdlib.h>
#include <string.h>

struct picked {
    int64_t *rows; /* lane, seq, key_hash */
    size_t count, room;
};

static int take_pick(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct picked *p = ctx;
    int i;

    if (p->count == p->room) {
        size_t room = p->room * 2 + 256;
        int64_t *grown = realloc(p->rows, room * 3 * sizeof(*grown));

        if (grown == NULL)
            return outbox_error__nomem(err);
        p->rows = grown;
        p->room = room;
    }
    for (i = 0; i < 3; i++)
        p->rows[p->count * 3 + (size_t)i] = cells[i].number;
    p->count++;
    return OUTBOX_OK;
}

static int by_lane(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static int pick(outbox_conn *conn, const outbox_filter *filter, int pending, struct picked *picked, outbox_error **err)
{
    enum outbox_query query = pending ? outbox_conn__form(conn, Q_PICK_PENDING) : Q_PICK_DEFERRED;
    struct outbox_result result = { "iii", NULL, take_pick, picked, 0 };
    struct outbox_args args = { .set = 0 };
    struct outbox_buffer sql = { NULL, 0, 0 };
    const char *text = outbox_conn__sql(conn, query);
    int rc;

    if (!outbox_buffer__add(&sql, text, strlen(text)) || !outbox_filter__apply(filter, !pending, &sql, &args))
        rc = outbox_error__nomem(err);
    else
        rc = outbox_conn__run_once(conn, sql.data, &args, "look for messages", &result, err);
    outbox_buffer__free(&sql);
    if (rc == OUTBOX_OK && picked->count > 1)
        qsort(picked->rows, picked->count, 3 * sizeof(int64_t), by_lane);
    return rc;
}

/* One lane's rows: what is to be done in its transaction, after its lock. */
static int change_lane(outbox_conn *conn, enum outbox_query query, int64_t lane, const int64_t *seqs, size_t n,
                       int64_t delay, const char *audit, int64_t *changed, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, lane);
    outbox_args__int(&args, P_DELAY, delay);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "lock a lane", NULL, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run_list(conn, query, &args, seqs, n, "change messages", &result, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__audit_add(conn, audit, result.rows, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__commit(conn, err);
    else
        outbox_conn__rollback(conn);
    if (rc == OUTBOX_OK)
        *changed += result.rows;
    return rc;
}

/* With a rate, as many at once as come due within a tenth of a second. */
static int change_all(outbox_conn *conn, enum outbox_query query, const struct picked *picked, int64_t rate,
                      const char *audit, int64_t *changed, outbox_error **err)
{
    size_t most = rate == 0 || rate / 10 > 512 ? 512 : rate < 20 ? 1 : (size_t)rate / 10;
    int dead_blocks = outbox_conf__number(conn->conf, CONF_ORDERING_DEAD) == DEAD_BLOCK;
    int64_t *seqs = calloc(picked->count + 1, sizeof(*seqs));
    size_t i, n;
    int rc = seqs != NULL ? OUTBOX_OK : outbox_error__nomem(err);

    for (i = 0; i < picked->count && rc == OUTBOX_OK; i += n) {
        const int64_t *first = &picked->rows[i * 3];

        for (n = 0; i + n < picked->count && first[n * 3] == first[0] && n < most; n++)
            seqs[n] = first[n * 3 + 1];
        if (query == Q_DEFERRED_DELETE) {
            rc = outbox_conn__remove_deferred(conn, (int)first[0], seqs, &first[2], 3, n, dead_blocks, audit, err);
            *changed += rc == OUTBOX_OK ? (int64_t)n : 0;
        } else {
            int64_t delay = rate > 0 ? (int64_t)((double)i / (double)rate * 1e6) : 0;

            rc = change_lane(conn, query, first[0], seqs, n, delay, audit, changed, err);
        }
    }
    free(seqs);
    return rc;
}

static int change(outbox_conn *conn, outbox_filter *filter, int redrive, int64_t *count, outbox_error **err)
{
    int pending = filter->state == OUTBOX_PENDING;
    enum outbox_query query = redrive ? Q_REDRIVE : pending ? Q_DELETE : Q_DEFERRED_DELETE;
    struct picked picked = { NULL, 0, 0 };
    int64_t changed = 0;
    outbox_id audit;
    int rc = outbox_conn__load(conn, err);

    if (rc == OUTBOX_OK)
        rc = pick(conn, filter, pending, &picked, err);
    if (rc == OUTBOX_OK && picked.count > 0)
        rc = outbox_audit__begin(conn, redrive ? "redrive" : "discard", filter, &audit, err);
    if (rc == OUTBOX_OK)
        rc = change_all(conn, query, &picked, filter->rate, audit.text, &changed, err);
    free(picked.rows);
    if (count != NULL)
        *count = changed;
    return rc == OUTBOX_OK && changed == 0 ? OUTBOX_NONE : rc;
}

int outbox_redrive(outbox_conn *conn, const outbox_filter *given, int64_t *count, outbox_error **err)
{
    outbox_filter filter;
    outbox_id id;
    int rc = outbox_filter__take(given, &filter, &id, err);

    if (rc == OUTBOX_OK && conn == NULL)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "redrive.no_connection", "a connection is needed");
    filter.state = OUTBOX_DEAD;
    return rc == OUTBOX_OK ? change(conn, &filter, 1, count, err) : rc;
}

int outbox_discard(outbox_conn *conn, const outbox_filter *given, int64_t *count, outbox_error **err)
{
    outbox_filter filter;
    outbox_id id;
    int rc = outbox_filter__take(given, &filter, &id, err);

    if (rc == OUTBOX_OK && conn == NULL)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "discard.no_connection", "a connection is needed");
    if (rc == OUTBOX_OK && filter.id == NULL && filter.topic == NULL && filter.partition_key == NULL && filter.state == 0)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "discard.no_filter",
                               "discard removes messages for good: name an id, a topic, a key or a state");
    if (rc == OUTBOX_OK && filter.state == OUTBOX_DELIVERED)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "discard.published",
                               "published messages are not discarded: purge removes them");
    if (rc == OUTBOX_OK && filter.state == 0)
        filter.state = OUTBOX_DEAD;
    return rc == OUTBOX_OK ? change(conn, &filter, 0, count, err) : rc;
}

int outbox_purge(outbox_conn *conn, const outbox_filter *given, int64_t *count, outbox_error **err)
{
    struct outbox_clean_limits limits;
    outbox_filter filter;
    int64_t removed = 0;
    outbox_id id, audit;
    int rc = outbox_filter__take(given, &filter, &id, err);

    if (rc == OUTBOX_OK && conn == NULL)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "purge.no_connection", "a connection is needed");
    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_audit__begin(conn, "purge", &filter, &audit, err);
    if (rc != OUTBOX_OK)
        return rc;
    outbox_clean__limits(conn->conf, &limits);
    limits.retention = filter.older_than_us;
    limits.dead_retention = CONF_FOREVER;
    limits.dedup = CONF_FOREVER;
    rc = outbox_clean__pass(conn, &limits, NULL, &removed, err);
    if (rc == OUTBOX_OK && removed > 0)
        rc = outbox_conn__audit_add(conn, audit.text, removed, err);
    if (count != NULL)
        *count = removed;
    return rc;
}
