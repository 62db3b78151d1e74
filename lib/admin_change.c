/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration that changes: redrive, discard, purge. Each lane is changed in a transaction of its own that locks the
 * lane's row first, as the relay's settling does, so that neither sees half of the other. */
#include "admin_internal.h"
#include "clean.h"
#include "error_internal.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 4096

/* One page of what a filter fits. */
struct picked {
    int64_t rows[PAGE * 3]; /* lane, seq, key_hash */
    size_t count;
};

/* What is being done. */
struct job {
    outbox_conn *conn;
    outbox_filter filter;
    int redrive;
    outbox_id audit;          /* "" before there was anything to do */
    int64_t changed, found;
    struct picked *page;
};

static int take_pick(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct picked *p = ctx;
    int i;

    (void)err;
    if (p->count == PAGE)
        return OUTBOX_NONE;
    for (i = 0; i < 3; i++)
        p->rows[p->count * 3 + (size_t)i] = cells[i].number;
    p->count++;
    return OUTBOX_OK;
}

/* Runs a query of those that pick, between other texts, with the filter; limit: 0 is none. */
static int look(struct job *job, int deferred, const char *before, const char *more, const char *after, size_t limit,
                struct outbox_args *args, struct outbox_result *result, outbox_error **err)
{
    enum outbox_query query = deferred ? Q_PICK_DEFERRED : outbox_conn__form(job->conn, Q_PICK_PENDING);
    const char *text = outbox_conn__sql(job->conn, query);
    struct outbox_buffer sql = { NULL, 0, 0 };
    outbox_filter filter = job->filter;
    int rc;

    filter.limit = limit;
    outbox_args__int(args, P_STATE, filter.state);
    if (!outbox_buffer__add(&sql, before, strlen(before)) || !outbox_buffer__add(&sql, text, strlen(text)) ||
        !outbox_buffer__add(&sql, more, strlen(more)) || !outbox_filter__apply(&filter, deferred, &sql, args) ||
        !outbox_buffer__add(&sql, after, strlen(after)))
        rc = outbox_error__nomem(err);
    else
        rc = outbox_conn__run_once(job->conn, sql.data, args, "look for messages", result, err);
    outbox_buffer__free(&sql);
    return rc;
}

static int take_bound(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int64_t *)ctx = cells[0].type == OUTBOX_T_NULL_INT ? 0 : cells[0].number;
    return OUTBOX_OK;
}

/* A limit is for the oldest of all lanes: up to which seq they are. */
static int find_bound(struct job *job, int deferred, int64_t *bound, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_bound, bound, 0 };
    struct outbox_args args = { .set = 0 };

    *bound = INT64_MAX;
    if (job->filter.limit == 0)
        return OUTBOX_OK;
    return look(job, deferred, "SELECT MAX(o.seq) FROM (", "", ") o", job->filter.limit - (size_t)job->changed, &args,
                &result, err);
}

static int pick(struct job *job, int deferred, int lane, int64_t after, int64_t bound, outbox_error **err)
{
    struct outbox_result result = { "iii", NULL, take_pick, job->page, 0 };
    struct outbox_args args = { .set = 0 };

    job->page->count = 0;
    outbox_args__int(&args, P_LANE, lane);
    outbox_args__int(&args, P_SEQ, after);
    outbox_args__int(&args, P_BOUND, bound);
    return look(job, deferred, "", " AND m.lane = :lane AND m.seq > :seq AND m.seq <= :bound", "", PAGE, &args,
                &result, err);
}

/* One lane's rows: what is to be done in its transaction, after its lock. */
static int change_lane(outbox_conn *conn, enum outbox_query query, const struct outbox_args *given, int64_t lane,
                       const int64_t *seqs, size_t n, const char *audit, int64_t *changed, outbox_error **err)
{
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    struct outbox_args args = *given;
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, lane);
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
static int change_page(struct job *job, enum outbox_query query, outbox_error **err)
{
    int64_t rate = job->filter.rate;
    size_t most = rate == 0 || rate / 10 > 512 ? 512 : rate < 20 ? 1 : (size_t)rate / 10;
    struct outbox_args args = { .set = 0 };
    int64_t seqs[512];
    size_t i, n;
    int rc = OUTBOX_OK;

    outbox_args__int(&args, P_STATE, job->filter.state);
    for (i = 0; i < job->page->count && rc == OUTBOX_OK; i += n) {
        const int64_t *first = &job->page->rows[i * 3];

        for (n = 0; i + n < job->page->count && n < most; n++)
            seqs[n] = first[n * 3 + 1];
        if (query == Q_DISCARD_DEFERRED) {
            rc = outbox_conn__remove_deferred(job->conn, query, &args, (int)first[0], seqs, &first[2], 3, n,
                                              job->audit.text, &job->changed, err);
        } else {
            outbox_args__int(&args, P_DELAY, rate > 0 ? (int64_t)((double)job->found / (double)rate * 1e6) : 0);
            rc = change_lane(job->conn, query, &args, first[0], seqs, n, job->audit.text, &job->changed, err);
        }
        job->found += (int64_t)n;
    }
    return rc;
}

/* Of one table, the deferred or the messages: lane by lane and page by page, as there may be any number of them. */
static int change_some(struct job *job, int deferred, outbox_error **err)
{
    enum outbox_query query = job->redrive ? Q_REDRIVE
                              : deferred   ? Q_DISCARD_DEFERRED
                                           : outbox_conn__form(job->conn, Q_DISCARD_PENDING);
    int64_t bound, after;
    int rc = find_bound(job, deferred, &bound, err), lane;

    for (lane = 0; lane < job->conn->lanes && rc == OUTBOX_OK; lane++) {
        after = 0;
        do {
            rc = pick(job, deferred, lane, after, bound, err);
            if (rc == OUTBOX_OK && job->page->count > 0 && job->audit.text[0] == '\0')
                rc = outbox_audit__begin(job->conn, job->redrive ? "redrive" : "discard", &job->filter, &job->audit, err);
            if (rc == OUTBOX_OK && job->page->count > 0) {
                after = job->page->rows[(job->page->count - 1) * 3 + 1];
                rc = change_page(job, query, err);
            }
        } while (rc == OUTBOX_OK && job->page->count == PAGE);
    }
    return rc;
}

/* Scheduled messages may be in either table. A relay moves them to the deferred when it reads them, so these are looked at
 * again; those there already are the older ones, for a limit. */
static int change(outbox_conn *conn, const outbox_filter *filter, int redrive, int64_t *count, outbox_error **err)
{
    struct job job = { .conn = conn, .filter = *filter, .redrive = redrive };
    int rc = outbox_conn__load(conn, err), looks = filter->state == OUTBOX_SCHEDULED ? 3 : 1, i;

    if (rc == OUTBOX_OK && (job.page = malloc(sizeof(*job.page))) == NULL)
        rc = outbox_error__nomem(err);
    for (i = 0; i < looks && rc == OUTBOX_OK && (filter->limit == 0 || (size_t)job.changed < filter->limit); i++)
        rc = change_some(&job, filter->state != OUTBOX_PENDING && i != 1, err);
    free(job.page);
    if (count != NULL)
        *count = job.changed;
    return rc == OUTBOX_OK && job.changed == 0 ? OUTBOX_NONE : rc;
}

int outbox_redrive(outbox_conn *conn, const outbox_filter *given, int64_t *count, outbox_error **err)
{
    outbox_filter filter;
    outbox_id id;
    int rc = outbox_filter__take(given, &filter, &id, err);

    if (rc == OUTBOX_OK && conn == NULL)
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "redrive.no_connection", "a connection is needed");
    if (filter.state != OUTBOX_RETRYING)
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
