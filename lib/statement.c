/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running the driver's statements: rendered and prepared once per connection, bound, executed, fetched. */
#include "conn_internal.h"
#include "error_internal.h"

#include <stdio.h>
#include <string.h>

/* So that any number takes few statements: a hundred are three. */
static const size_t sizes[OUTBOX_SIZES] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512 };
#define OTHER_PARAMS ((size_t)8)

/* Parameters of one repetition; names in braces that have some are not repeated. */
static size_t params_of_row(const char *template_text)
{
    const char *at = strstr(template_text, "[["), *end = at != NULL ? strstr(at, "]]") : NULL;
    size_t count = 0;

    for (; end != NULL && at < end; at++)
        count += at[0] == ':' && at[1] != ':' && at[-1] != ':';
    return count > 0 ? count : 1;
}

/* Some of what a statement may have is left for what stands around the repeated part. */
size_t outbox_conn__chunk(const outbox_conn *conn, enum outbox_query query, size_t left)
{
    size_t i = OUTBOX_SIZES, most = conn->driver.params;

    if (outbox_sqltext__is_single(outbox_conn__sql(conn, query)))
        return 1;
    most = most > 0 ? (most - OTHER_PARAMS) / params_of_row(outbox_conn__sql(conn, query)) : left;
    while (--i > 0)
        if (sizes[i] <= left && sizes[i] <= most)
            break;
    return sizes[i];
}

void outbox_args__int(struct outbox_args *args, enum outbox_param param, int64_t number)
{
    args->v[param] = (struct outbox_value){ OUTBOX_T_INT, number, NULL, 0 };
    args->set |= (uint64_t)1 << param;
}

void outbox_args__text(struct outbox_args *args, enum outbox_param param, const char *text)
{
    args->v[param] = (struct outbox_value){ text != NULL ? OUTBOX_T_TEXT : OUTBOX_T_NULL_TEXT, 0, text,
                                            text != NULL ? strlen(text) : 0 };
    args->set |= (uint64_t)1 << param;
}

const char *outbox_conn__sql(const outbox_conn *conn, enum outbox_query query)
{
    return outbox_driver__sql(&conn->driver, query);
}

enum outbox_query outbox_conn__form(const outbox_conn *conn, enum outbox_query query)
{
    return conn->position ? query + 1 : query;
}

static int prepare(outbox_conn *conn, const char *sql_template, size_t nrows, struct outbox_cached *slot,
                   outbox_error **err)
{
    int rc = outbox_sqltext__render(sql_template, conn->names, nrows, &slot->text, err);

    if (rc != OUTBOX_OK)
        return rc;
    rc = outbox_odbc__prepare(conn->odbc, slot->text.sql, slot->text.count, &slot->stmt, err);
    if (rc != OUTBOX_OK)
        outbox_sqltext__free(&slot->text);
    return rc;
}

static int bind(const struct outbox_cached *slot, const struct outbox_args *args, outbox_error **err)
{
    size_t i;

    for (i = 0; i < slot->text.count; i++) {
        const struct outbox_sqlparam *p = &slot->text.params[i];
        struct outbox_value value = args->v[p->param];
        int rc;

        if ((args->set & ((uint64_t)1 << p->param)) == 0) {
            if (args->row == NULL)
                return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "driver.unset_parameter",
                                         "a statement of the driver wants a value that is not known here (%u)", p->param);
            args->row(args->ctx, p->row, p->param, &value);
        }
        rc = outbox_stmt__bind(slot->stmt, i, &value, err);
        if (rc != OUTBOX_OK)
            return rc;
    }
    return OUTBOX_OK;
}

static int fetch(outbox_stmt *stmt, struct outbox_result *result, outbox_error **err)
{
    struct outbox_value cells[24];
    int rc;

    while ((rc = outbox_stmt__fetch(stmt, result->types, cells, result->arena, err)) == OUTBOX_OK) {
        result->rows++;
        rc = result->fn != NULL ? result->fn(result->ctx, cells, err) : OUTBOX_OK;
        if (rc != OUTBOX_OK)
            break;
    }
    /* A positive number from the callback: it has seen enough. */
    return rc > 0 ? OUTBOX_OK : rc;
}

static int execute(const struct outbox_cached *slot, const struct outbox_args *args, const char *doing,
                   struct outbox_result *result, outbox_error **err)
{
    int64_t rows = 0;
    int rc = bind(slot, args, err);

    if (rc == OUTBOX_OK)
        rc = outbox_stmt__execute(slot->stmt, doing, result != NULL && result->types == NULL ? &rows : NULL, err);
    if (rc == OUTBOX_OK && result != NULL) {
        result->rows += rows;
        if (result->types != NULL)
            rc = fetch(slot->stmt, result, err);
    }
    outbox_stmt__finish(slot->stmt);
    return rc;
}

/* To take a lane waits for no lock for long: there are others. What a driver has for this is in its own statement; with the
 * generic one the ODBC driver's timeout has to do. */
static int prepare_query(outbox_conn *conn, enum outbox_query query, size_t nrows, struct outbox_cached *slot,
                         outbox_error **err)
{
    const char *sql = outbox_conn__sql(conn, query);
    int impatient = query == Q_TAKE && sql == outbox_driver__generic.sql[Q_TAKE], rc;
    unsigned was = impatient ? outbox_odbc__timeout(conn->odbc, 1) : 0;

    rc = prepare(conn, sql, nrows, slot, err);
    if (impatient)
        outbox_odbc__timeout(conn->odbc, was);
    return rc;
}

int outbox_conn__run(outbox_conn *conn, enum outbox_query query, const struct outbox_args *args, size_t nrows,
                     const char *doing, struct outbox_result *result, outbox_error **err)
{
    struct outbox_cached *slot;
    size_t size = 0;
    int rc = outbox_conn__check(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    while (size < OUTBOX_SIZES - 1 && sizes[size] < nrows)
        size++;
    slot = &conn->cache[query][size];
    if (slot->stmt == NULL)
        rc = prepare_query(conn, query, nrows, slot, err);
    if (rc == OUTBOX_OK)
        rc = execute(slot, args, doing, result, err);
    if (rc < 0) {
        conn->doomed = 1;
        /* The driver may have dropped the plan with the connection or a changed table: prepare it anew next time. */
        outbox_stmt__free(slot->stmt);
        outbox_sqltext__free(&slot->text);
        slot->stmt = NULL;
    }
    return rc;
}

int outbox_conn__run_once(outbox_conn *conn, const char *sql_template, const struct outbox_args *args, const char *doing,
                          struct outbox_result *result, outbox_error **err)
{
    struct outbox_cached slot = { NULL, { NULL, NULL, 0 } };
    int rc = outbox_conn__check(conn, err);

    if (rc == OUTBOX_OK)
        rc = prepare(conn, sql_template, 0, &slot, err);
    if (rc == OUTBOX_OK)
        rc = execute(&slot, args, doing, result, err);
    if (rc < 0)
        conn->doomed = 1;
    outbox_stmt__free(slot.stmt);
    outbox_sqltext__free(&slot.text);
    return rc;
}

static void list_row(const void *ctx, size_t row, int param, struct outbox_value *value)
{
    (void)param;
    *value = (struct outbox_value){ OUTBOX_T_INT, ((const int64_t *)ctx)[row], NULL, 0 };
}

/* "{1,2,3}" */
int outbox_args__list(struct outbox_args *args, enum outbox_param param, struct outbox_buffer *buffer, const int64_t *list,
                      size_t count)
{
    char number[32];
    size_t i;

    buffer->size = 0;
    for (i = 0; i < count; i++) {
        int n = snprintf(number, sizeof(number), "%c%lld", i == 0 ? '{' : ',', (long long)list[i]);

        if (!outbox_buffer__add(buffer, number, (size_t)n))
            return 0;
    }
    if (!outbox_buffer__add(buffer, "}", 1))
        return 0;
    outbox_args__text(args, param, buffer->data);
    return 1;
}

int outbox_conn__run_list(outbox_conn *conn, enum outbox_query query, const struct outbox_args *given,
                          const int64_t *list, size_t count, const char *doing, struct outbox_result *result,
                          outbox_error **err)
{
    struct outbox_args args = *given;
    size_t at, n;
    int rc = OUTBOX_OK;

    if (count == 0)
        return OUTBOX_OK;
    if (!outbox_sqltext__repeats(outbox_conn__sql(conn, query))) {
        if (!outbox_args__list(&args, P_SEQS, &conn->lists[0], list, count))
            return outbox_error__nomem(err);
        return outbox_conn__run(conn, query, &args, 0, doing, result, err);
    }
    for (at = 0; at < count && rc == OUTBOX_OK; at += n) {
        n = outbox_conn__chunk(conn, query, count - at);
        args.row = list_row;
        args.ctx = list + at;
        rc = outbox_conn__run(conn, query, &args, n, doing, result, err);
    }
    return rc;
}
