/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Of the tests' ODBC driver for Firebird (firebird_odbc.c): values of parameters and columns. */
#include "firebird_odbc.h"

/* ---- Parameters ---- */

static int write_blob(struct stmt *stmt, isc_tr_handle *tr, ISC_QUAD *id, const char *data, size_t size)
{
    ISC_STATUS_ARRAY status;
    isc_blob_handle blob = 0;
    size_t at = 0;
    int bad = isc_create_blob2(status, &stmt->dbc->db, tr, &blob, id, 0, NULL) != 0;

    for (; !bad && at < size; at += SEGMENT)
        bad = isc_put_segment(status, &blob, (unsigned short)(size - at < SEGMENT ? size - at : SEGMENT), data + at) != 0;
    if (!bad)
        bad = isc_close_blob(status, &blob) != 0;
    if (bad)
        firebird_fail(stmt->dbc, &stmt->diag, status);
    return !bad;
}

static int bind_one(struct stmt *stmt, isc_tr_handle *tr, XSQLVAR *v, const struct param *p)
{
    SQLLEN size = p->length != NULL ? *p->length : 0;
    int blob = (v->sqltype & ~1) == SQL_BLOB;

    if (v->sqlind == NULL)
        v->sqlind = calloc(1, sizeof(ISC_SHORT));
    *v->sqlind = size == SQL_NULL_DATA ? -1 : 0;
    free(v->sqldata);
    v->sqldata = calloc(1, size > 0 && !blob ? (size_t)size + 1 : 16);
    if (p->ctype == SQL_C_SBIGINT) {
        v->sqltype = SQL_INT64 | 1;
        v->sqllen = sizeof(ISC_INT64);
        v->sqlscale = 0;
        if (size != SQL_NULL_DATA)
            memcpy(v->sqldata, p->data, sizeof(ISC_INT64));
        return 1;
    }
    if (blob)
        return size == SQL_NULL_DATA || write_blob(stmt, tr, (ISC_QUAD *)(void *)v->sqldata, p->data, (size_t)size);
    if (size > SEGMENT) {
        firebird_say(&stmt->diag, "22001", 0, "a text is too long");
        return 0;
    }
    v->sqltype = SQL_TEXT | 1;
    v->sqllen = (ISC_SHORT)(size > 0 ? size : 0);
    if (size > 0)
        memcpy(v->sqldata, p->data, (size_t)size);
    return 1;
}

/* Types are set anew each time: what was described last is what was bound last, but for blobs. */
int firebird_bind(struct stmt *stmt, isc_tr_handle *tr)
{
    for (int i = 0; i < stmt->in->sqld; i++)
        if (!bind_one(stmt, tr, &stmt->in->sqlvar[i], &stmt->params[i]))
            return 0;
    return 1;
}

/* ---- Values ---- */

static int read_blob(struct stmt *stmt, ISC_QUAD *id)
{
    ISC_STATUS_ARRAY status;
    isc_blob_handle blob = 0;
    size_t room = 0, size = 0;
    unsigned short got = 0;
    ISC_STATUS rc = isc_open_blob2(status, &stmt->dbc->db, firebird_transaction(stmt), &blob, id, 0, NULL);

    while (rc == 0 || rc == isc_segment) {
        if (room - size < SEGMENT + 1 || room == 0)
            stmt->value = realloc(stmt->value, room = room * 2 + SEGMENT * 2);
        got = 0;
        rc = isc_get_segment(status, &blob, &got, SEGMENT, stmt->value + size);
        size += rc == 0 || rc == isc_segment ? got : 0;
    }
    stmt->value_size = size;
    if (rc != isc_segstr_eof) {
        firebird_fail(stmt->dbc, &stmt->diag, status);
        return 0;
    }
    isc_close_blob(status, &blob);
    return 1;
}

static int64_t number_of(const XSQLVAR *v)
{
    int64_t number = 0;
    int i;

    switch (v->sqltype & ~1) {
    case SQL_SHORT:
        number = *(const ISC_SHORT *)(const void *)v->sqldata;
        break;
    case SQL_LONG:
        number = *(const ISC_LONG *)(const void *)v->sqldata;
        break;
    case SQL_INT64:
        number = *(const ISC_INT64 *)(const void *)v->sqldata;
        break;
    case SQL_DOUBLE:
        return (int64_t)*(const double *)(const void *)v->sqldata;
    case SQL_VARYING:
        return strtoll(v->sqldata + 2, NULL, 10);
    default:
        return strtoll(v->sqldata, NULL, 10);
    }
    for (i = v->sqlscale; i < 0; i++)
        number /= 10;
    return number;
}

static void keep(struct stmt *stmt, const char *data, size_t size)
{
    stmt->value = realloc(stmt->value, size + 1);
    memcpy(stmt->value, data, size);
    stmt->value_size = size;
}

/* CHAR(n) of UTF-8 comes in 4n bytes, of which n characters count. */
static size_t char_size(const XSQLVAR *v)
{
    size_t size = (size_t)v->sqllen, characters = size / 4, at = 0;

    if ((v->sqlsubtype & 0xff) != 4)
        return size;
    for (; at < size && characters > 0; characters--)
        for (at++; at < size && ((unsigned char)v->sqldata[at] & 0xc0) == 0x80;)
            at++;
    return at;
}

static int load(struct stmt *stmt, int column)
{
    XSQLVAR *v = &stmt->out->sqlvar[column];
    char text[30];

    stmt->value_column = column;
    stmt->value_at = 0;
    switch (v->sqltype & ~1) {
    case SQL_BLOB:
        return read_blob(stmt, (ISC_QUAD *)(void *)v->sqldata);
    case SQL_VARYING:
        keep(stmt, v->sqldata + 2, *(const ISC_USHORT *)(const void *)v->sqldata);
        break;
    case SQL_TEXT:
        keep(stmt, v->sqldata, char_size(v));
        break;
    default:
        keep(stmt, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number_of(v)));
        break;
    }
    return 1;
}

static SQLRETURN hand_over(struct stmt *stmt, SQLSMALLINT ctype, char *data, SQLLEN room, SQLLEN *size)
{
    size_t left = stmt->value_size - stmt->value_at, tail = ctype == SQL_C_CHAR ? 1 : 0;
    size_t n = room > (SQLLEN)tail ? (size_t)room - tail : 0;

    if (left == 0 && stmt->value_at > 0)
        return SQL_NO_DATA;
    n = left < n ? left : n;
    memcpy(data, stmt->value + stmt->value_at, n);
    if (tail && room > 0)
        data[n] = '\0';
    if (size != NULL)
        *size = (SQLLEN)left;
    stmt->value_at += n;
    if (n == left)
        return SQL_SUCCESS;
    firebird_say(&stmt->diag, "01004", 0, "more is to come");
    return SQL_SUCCESS_WITH_INFO;
}

API SQLRETURN SQLGetData(SQLHSTMT handle, SQLUSMALLINT number, SQLSMALLINT ctype, SQLPOINTER data, SQLLEN room, SQLLEN *size)
{
    struct stmt *stmt = handle;
    XSQLVAR *v;

    stmt->diag.there = 0;
    if (!stmt->has_row || number < 1 || number > stmt->out->sqld)
        return firebird_say(&stmt->diag, "07009", 0, "there is no such column");
    v = &stmt->out->sqlvar[number - 1];
    if (*v->sqlind < 0) {
        if (size != NULL)
            *size = SQL_NULL_DATA;
        return SQL_SUCCESS;
    }
    if (ctype == SQL_C_SBIGINT) {
        *(SQLBIGINT *)data = number_of(v);
        if (size != NULL)
            *size = sizeof(SQLBIGINT);
        return SQL_SUCCESS;
    }
    if (stmt->value_column != number - 1 && !load(stmt, number - 1))
        return SQL_ERROR;
    return hand_over(stmt, ctype, data, room, size);
}
