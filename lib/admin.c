/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration that looks: count, list, get. */
#include "admin_internal.h"
#include "error_internal.h"
#include "record.h"
#include "text.h"
#include "uuid.h"

#include <string.h>

#define LIST_DEFAULT 100

static int is_text(const char *text)
{
    return text == NULL || outbox_text__length(text, strlen(text)) >= 0;
}

int outbox_filter__take(const outbox_filter *given, outbox_filter *filter, outbox_id *id, outbox_error **err)
{
    static const outbox_filter none = OUTBOX_FILTER_INIT;

    *filter = none;
    if (given == NULL)
        return OUTBOX_OK;
    if (given->size < sizeof(size_t) || given->size > sizeof(*filter) * 4)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "filter.bad_size",
                                 "the filter's size is not set: start from OUTBOX_FILTER_INIT");
    memcpy(filter, given, given->size < sizeof(*filter) ? given->size : sizeof(*filter));
    if (filter->id != NULL && !outbox_uuid__parse(filter->id, strlen(filter->id), id))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "filter.bad_id",
                                 "\"%.60s\" is not a UUID (8-4-4-4-12 hexadecimal digits)", filter->id);
    if (filter->id != NULL)
        filter->id = id->text;
    if (!is_text(filter->topic) || !is_text(filter->partition_key) || !is_text(filter->who))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "filter.invalid_utf8",
                                 "the filter's topic, key or who is not valid UTF-8");
    if ((int)filter->state < 0 || (int)filter->state >= OUTBOX_STATE_COUNT || filter->older_than_us < 0 ||
        filter->rate < 0)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "filter.bad_value",
                                 "the filter has a state that is none, or an age or a rate below 0");
    return OUTBOX_OK;
}

static int add(struct outbox_buffer *sql, const char *text)
{
    return outbox_buffer__add(sql, text, strlen(text));
}

int outbox_filter__apply(const outbox_filter *filter, int by_state, struct outbox_buffer *sql, struct outbox_args *args)
{
    uint64_t limit = filter->limit; /* where a size_t has 32 bits, none is too large */
    int ok = 1;

    if (filter->id != NULL) {
        ok = ok && add(sql, " AND m.id = {id}");
        outbox_args__text(args, P_ID, filter->id);
    }
    if (filter->topic != NULL) {
        ok = ok && add(sql, " AND m.topic = :topic");
        outbox_args__text(args, P_TOPIC, filter->topic);
    }
    if (filter->partition_key != NULL) {
        ok = ok && add(sql, " AND m.partition_key = :key");
        outbox_args__text(args, P_KEY, filter->partition_key);
    }
    if (filter->older_than_us > 0) {
        ok = ok && add(sql, " AND m.created_at <= {now} - :age");
        outbox_args__int(args, P_AGE, filter->older_than_us);
    }
    if (by_state && filter->state != 0) {
        ok = ok && add(sql, " AND m.state = :state");
        outbox_args__int(args, P_STATE, filter->state);
    }
    ok = ok && add(sql, " ORDER BY m.seq");
    if (limit > 0) {
        ok = ok && add(sql, " {limit}");
        outbox_args__int(args, P_LIMIT, limit < INT64_MAX / 2 ? (int64_t)limit : INT64_MAX / 2);
    }
    return ok;
}

/* ---- count ---- */

static int take_two(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    int64_t *pair = ctx;

    (void)err;
    pair[0] = cells[0].number;
    pair[1] = cells[1].number;
    return OUTBOX_OK;
}

static int take_one(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int64_t *)ctx = cells[0].number;
    return OUTBOX_OK;
}

static int take_state(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    outbox_counts *counts = ctx;

    (void)err;
    if (cells[0].number > 0 && cells[0].number < OUTBOX_STATE_COUNT)
        counts->by_state[cells[0].number] += cells[1].number;
    return OUTBOX_OK;
}

static int count_all(outbox_conn *conn, outbox_counts *counts, outbox_error **err)
{
    struct outbox_args none = { .set = 0 };
    int64_t pending[2] = { 0, 0 }, lanes[2] = { 0, 0 }, now = 0;
    struct outbox_result by_pending = { "ii", NULL, take_two, pending, 0 };
    struct outbox_result by_lane = { "ii", NULL, take_two, lanes, 0 };
    struct outbox_result by_state = { "ii", NULL, take_state, counts, 0 };
    struct outbox_result delivered = { "i", NULL, take_one, &counts->by_state[OUTBOX_DELIVERED], 0 };
    int rc = outbox_conn__run(conn, outbox_conn__form(conn, Q_COUNT_PENDING), &none, 0, "count messages", &by_pending, err);

    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_COUNT_DEFERRED, &none, 0, "count messages", &by_state, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, outbox_conn__form(conn, Q_COUNT_DELIVERED), &none, 0, "count messages", &delivered, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_COUNT_LANES, &none, 0, "count lanes", &by_lane, err);
    if (rc == OUTBOX_OK && pending[0] > 0)
        rc = outbox_conn__now(conn, &now, err);
    counts->by_state[OUTBOX_PENDING] = pending[0];
    counts->oldest_pending_us = now > pending[1] ? now - (pending[1] > 0 ? pending[1] : 0) : 0;
    counts->lanes = (int)lanes[0];
    counts->lanes_held = (int)lanes[1];
    return rc;
}

int outbox_count(outbox_conn *conn, outbox_counts *out, outbox_error **err)
{
    outbox_counts counts;
    size_t size;
    int rc;

    if (conn == NULL || out == NULL || out->size < sizeof(size_t) || out->size > sizeof(counts))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "count.bad_size", "the size of the counts is not set");
    memset(&counts, 0, sizeof(counts));
    size = out->size;
    rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = count_all(conn, &counts, err);
    counts.size = size;
    if (rc == OUTBOX_OK)
        memcpy(out, &counts, size);
    return rc;
}

/* ---- list ---- */

struct listing {
    outbox_arena arena;
    outbox_record_fn fn;
    void *user;
    outbox_state wanted;
    size_t given, limit;
    int stopped;
};

static int take_record(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct listing *l = ctx;
    outbox_record record;
    int rc = outbox_record__fill(&record, cells, &l->arena);

    if (rc < 0)
        return outbox_error__nomem(err);
    /* A message whose time has not come may still be among the new ones: it shows as scheduled all the same. */
    if (l->wanted == 0 || record.state == l->wanted) {
        l->given++;
        l->stopped = l->fn(l->user, &record) != 0 || l->given >= l->limit;
    }
    outbox_arena__reset(&l->arena);
    return l->stopped ? OUTBOX_NONE : OUTBOX_OK;
}

static int list_from(outbox_conn *conn, enum outbox_query query, const outbox_filter *filter, int by_state,
                     struct listing *l, outbox_error **err)
{
    struct outbox_result result = { OUTBOX_RECORD_TYPES, &l->arena, take_record, l, 0 };
    struct outbox_args args = { .set = 0 };
    struct outbox_buffer sql = { NULL, 0, 0 };
    outbox_filter rest = *filter;
    int rc;

    if (l->stopped)
        return OUTBOX_OK;
    rest.limit = filter->limit - l->given;
    /* Scheduled ones are told apart after reading; the limit may only count those. */
    if (!by_state && filter->state == OUTBOX_SCHEDULED)
        rest.limit = 0;
    if (!add(&sql, outbox_conn__sql(conn, query)) || !outbox_filter__apply(&rest, by_state, &sql, &args))
        rc = outbox_error__nomem(err);
    else
        rc = outbox_conn__run_once(conn, sql.data, &args, "list messages", &result, err);
    outbox_buffer__free(&sql);
    return rc;
}

static int list_all(outbox_conn *conn, const outbox_filter *filter, struct listing *l, outbox_error **err)
{
    outbox_state state = filter->state;
    int rc = OUTBOX_OK;

    if (state == 0 || state == OUTBOX_PENDING || state == OUTBOX_SCHEDULED)
        rc = list_from(conn, outbox_conn__form(conn, Q_LIST_PENDING), filter, 0, l, err);
    if (rc == OUTBOX_OK && state != OUTBOX_PENDING && state != OUTBOX_DELIVERED)
        rc = list_from(conn, Q_LIST_DEFERRED, filter, 1, l, err);
    if (rc == OUTBOX_OK && (state == 0 || state == OUTBOX_DELIVERED)) {
        rc = list_from(conn, Q_LIST_DELIVERED, filter, 0, l, err);
        if (rc == OUTBOX_OK && conn->position)
            rc = list_from(conn, Q_LIST_DELIVERED_POSITION, filter, 0, l, err);
    }
    return rc;
}

static int list(outbox_conn *conn, const outbox_filter *given, outbox_record_fn fn, void *user, size_t *count,
                outbox_error **err)
{
    struct listing l = { .fn = fn, .user = user };
    outbox_filter filter;
    outbox_id id;
    int rc = outbox_filter__take(given, &filter, &id, err);

    if (rc == OUTBOX_OK && (conn == NULL || fn == NULL))
        rc = outbox_error__set(err, OUTBOX_ERR_INVALID, "list.incomplete", "a connection and a callback are needed");
    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc != OUTBOX_OK)
        return rc;
    if (filter.limit == 0)
        filter.limit = LIST_DEFAULT;
    l.limit = filter.limit;
    l.wanted = filter.state;
    rc = list_all(conn, &filter, &l, err);
    outbox_arena__free(&l.arena);
    *count = l.given;
    return rc;
}

int outbox_list(outbox_conn *conn, const outbox_filter *filter, outbox_record_fn fn, void *user, outbox_error **err)
{
    size_t count;

    return list(conn, filter, fn, user, &count, err);
}

int outbox_get(outbox_conn *conn, const char *id, outbox_record_fn fn, void *user, outbox_error **err)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    size_t count = 0;
    int rc;

    if (id == NULL)
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "filter.bad_id", "no id was given");
    filter.id = id;
    filter.limit = 1;
    rc = list(conn, &filter, fn, user, &count, err);
    return rc == OUTBOX_OK && count == 0 ? OUTBOX_NONE : rc;
}
