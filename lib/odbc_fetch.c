/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fetching rows: columns are bound where the driver lets what did not fit be read afterwards, else read one by one. */
#include "odbc_internal.h"
#include "error_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a value of a bound column; longer ones cost a call of their own. */
#define ROOM_TEXT ((size_t)256)
#define ROOM_BYTES ((size_t)2048)
#define ROOM_MESSAGE ((size_t)4096)

/* The rest of a value that did not fit into the scratch space. */
static int fetch_long(outbox_stmt *stmt, SQLUSMALLINT column, SQLSMALLINT ctype, size_t have, SQLLEN total,
                      struct outbox_value *cell, outbox_arena *arena, outbox_error **err)
{
    size_t tail = ctype == SQL_C_CHAR ? 1 : 0;
    size_t room = total != SQL_NO_TOTAL ? (size_t)total : have * 8;
    unsigned char *data;

    for (;;) {
        SQLLEN left = 0;
        SQLRETURN ret;

        data = outbox_arena__alloc(arena, room + 1);
        if (data == NULL)
            return outbox_error__nomem(err);
        memcpy(data, cell->data, have);
        cell->data = data;
        ret = SQLGetData(stmt->handle, column, ctype, data + have, (SQLLEN)(room - have + tail), &left);
        if (ret == SQL_NO_DATA)
            left = 0;
        else if (!SQL_SUCCEEDED(ret))
            return outbox_stmt__fail(stmt, "read a column", err);
        if (left != SQL_NO_TOTAL && (size_t)left <= room - have) {
            cell->size = have + (size_t)left;
            data[cell->size] = '\0';
            return OUTBOX_OK;
        }
        have = room;
        room = left != SQL_NO_TOTAL ? have + (size_t)left : room * 4;
    }
}

static int fetch_bytes(outbox_stmt *stmt, SQLUSMALLINT column, SQLSMALLINT ctype, struct outbox_value *cell,
                       outbox_arena *arena, outbox_error **err)
{
    size_t room = ctype == SQL_C_CHAR ? OUTBOX_SCRATCH - 1 : OUTBOX_SCRATCH;
    SQLLEN size = 0;
    SQLRETURN ret;

    if (stmt->scratch == NULL && (stmt->scratch = malloc(OUTBOX_SCRATCH)) == NULL)
        return outbox_error__nomem(err);
    ret = SQLGetData(stmt->handle, column, ctype, stmt->scratch, OUTBOX_SCRATCH, &size);
    cell->data = NULL;
    cell->size = 0;
    if (!SQL_SUCCEEDED(ret) && ret != SQL_NO_DATA)
        return outbox_stmt__fail(stmt, "read a column", err);
    if (size == SQL_NULL_DATA) {
        cell->type = ctype == SQL_C_CHAR ? OUTBOX_T_NULL_TEXT : OUTBOX_T_NULL_BYTES;
        return OUTBOX_OK;
    }
    cell->type = ctype == SQL_C_CHAR ? OUTBOX_T_TEXT : OUTBOX_T_BYTES;
    if (size == SQL_NO_TOTAL || (size_t)size > room) {
        cell->data = stmt->scratch;
        return fetch_long(stmt, column, ctype, room, size, cell, arena, err);
    }
    cell->size = ret == SQL_NO_DATA ? 0 : (size_t)size;
    cell->data = outbox_arena__copy(arena, stmt->scratch, cell->size);
    return cell->data != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

static int fetch_number(outbox_stmt *stmt, SQLUSMALLINT column, struct outbox_value *cell, outbox_error **err)
{
    SQLBIGINT number = 0;
    SQLLEN size = 0;
    char digits[64] = "";
    int text = stmt->odbc->bindings.number_text;

    if (!SQL_SUCCEEDED(text ? SQLGetData(stmt->handle, column, SQL_C_CHAR, digits, sizeof(digits), &size)
                            : SQLGetData(stmt->handle, column, SQL_C_SBIGINT, &number, sizeof(number), &size)))
        return outbox_stmt__fail(stmt, "read a column", err);
    if (text)
        number = strtoll(digits, NULL, 10);
    cell->type = size == SQL_NULL_DATA ? OUTBOX_T_NULL_INT : OUTBOX_T_INT;
    cell->number = size == SQL_NULL_DATA ? 0 : number;
    return OUTBOX_OK;
}

/* ---- Bound columns ---- */

/* Not where numbers come as text: they are few drivers, and none that was measured. */
static int can_bind(outbox_odbc *odbc)
{
    SQLUINTEGER extensions = 0;

    if (odbc->bindings.number_text)
        return 0;
    if (odbc->binds < 0)
        odbc->binds = SQL_SUCCEEDED(SQLGetInfo(odbc->dbc, SQL_GETDATA_EXTENSIONS, &extensions, sizeof(extensions),
                                               NULL)) && (extensions & SQL_GD_BOUND) != 0;
    return odbc->binds;
}

static size_t room_of(char type)
{
    return type == 'i' ? sizeof(SQLBIGINT) : type == 't' ? ROOM_TEXT : type == 'T' ? ROOM_MESSAGE : ROOM_BYTES;
}

static SQLSMALLINT ctype_of(char type)
{
    return type == 'i' ? SQL_C_SBIGINT : type == 'b' ? SQL_C_BINARY : SQL_C_CHAR;
}

/* Once a statement, as long as it is read in the same way. */
static int bind_columns(outbox_stmt *stmt, const char *types, outbox_error **err)
{
    size_t count = strlen(types), total = 0, at = 0, i;

    if (stmt->types[0] != '\0' && !SQL_SUCCEEDED(SQLFreeStmt(stmt->handle, SQL_UNBIND)))
        return outbox_stmt__fail(stmt, "bind columns", err);
    stmt->types[0] = '\0';
    free(stmt->columns);
    free(stmt->room);
    for (i = 0; i < count; i++)
        total += room_of(types[i]);
    stmt->columns = calloc(count, sizeof(*stmt->columns));
    stmt->room = malloc(total);
    if (stmt->columns == NULL || stmt->room == NULL)
        return outbox_error__nomem(err);
    /* Numbers first: all are aligned then. */
    for (i = 0; i < count; i++)
        if (types[i] == 'i') {
            stmt->columns[i].data = stmt->room + at;
            at += room_of('i');
        }
    for (i = 0; i < count; i++)
        if (types[i] != 'i') {
            stmt->columns[i].data = stmt->room + at;
            at += room_of(types[i]);
        }
    snprintf(stmt->types, sizeof(stmt->types), "%s", types);
    for (i = 0; i < count; i++)
        if (!SQL_SUCCEEDED(SQLBindCol(stmt->handle, (SQLUSMALLINT)(i + 1), ctype_of(types[i]), stmt->columns[i].data,
                                      (SQLLEN)room_of(types[i]), &stmt->columns[i].size)))
            return outbox_stmt__fail(stmt, "bind columns", err);
    return OUTBOX_OK;
}

/* A message that did not fit, whose size is known: in one call, as a driver converts a value from its beginning each time. */
static int fetch_message(outbox_stmt *stmt, SQLUSMALLINT column, size_t size, struct outbox_value *cell, outbox_arena *arena,
                         outbox_error **err)
{
    unsigned char *data = outbox_arena__alloc(arena, size + 1);
    SQLLEN got = 0;

    if (data == NULL)
        return outbox_error__nomem(err);
    cell->type = OUTBOX_T_TEXT;
    cell->data = data;
    if (!SQL_SUCCEEDED(SQLGetData(stmt->handle, column, SQL_C_CHAR, data, (SQLLEN)size + 1, &got)))
        return outbox_stmt__fail(stmt, "read a column", err);
    if (got < 0 || (size_t)got > size)
        return fetch_long(stmt, column, SQL_C_CHAR, size, got, cell, arena, err);
    cell->size = (size_t)got;
    return OUTBOX_OK;
}

static int take_cell(outbox_stmt *stmt, size_t i, struct outbox_value *cell, outbox_arena *arena, outbox_error **err)
{
    const struct column *column = &stmt->columns[i];
    int text = ctype_of(stmt->types[i]) == SQL_C_CHAR, null = column->size == SQL_NULL_DATA;
    SQLBIGINT number;

    if (stmt->types[i] == 'i') {
        memcpy(&number, column->data, sizeof(number));
        cell->type = null ? OUTBOX_T_NULL_INT : OUTBOX_T_INT;
        cell->number = null ? 0 : number;
        return OUTBOX_OK;
    }
    cell->data = NULL;
    cell->size = 0;
    cell->type = text ? OUTBOX_T_NULL_TEXT : OUTBOX_T_NULL_BYTES;
    if (null)
        return OUTBOX_OK;
    if (stmt->types[i] == 'T' && column->size >= (SQLLEN)ROOM_MESSAGE)
        return fetch_message(stmt, (SQLUSMALLINT)(i + 1), (size_t)column->size, cell, arena, err);
    /* It did not fit, or the driver does not know: as a whole, once more. */
    if (column->size < 0 || (size_t)column->size > room_of(stmt->types[i]) - (text ? 1 : 0))
        return fetch_bytes(stmt, (SQLUSMALLINT)(i + 1), ctype_of(stmt->types[i]), cell, arena, err);
    cell->type = text ? OUTBOX_T_TEXT : OUTBOX_T_BYTES;
    cell->size = (size_t)column->size;
    cell->data = outbox_arena__copy(arena, column->data, cell->size);
    return cell->data != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

static int get_cell(outbox_stmt *stmt, size_t i, char type, struct outbox_value *cell, outbox_arena *arena,
                    outbox_error **err)
{
    SQLUSMALLINT column = (SQLUSMALLINT)(i + 1);

    return type == 'i' ? fetch_number(stmt, column, cell, err)
                       : fetch_bytes(stmt, column, ctype_of(type), cell, arena, err);
}

int outbox_stmt__fetch(outbox_stmt *stmt, const char *types, struct outbox_value *cells, outbox_arena *arena,
                       outbox_error **err)
{
    int bound = !stmt->empty && strlen(types) <= OUTBOX_COLUMNS && can_bind(stmt->odbc), rc = OUTBOX_OK;
    SQLRETURN ret;
    size_t i;

    if (bound && strcmp(stmt->types, types) != 0)
        rc = bind_columns(stmt, types, err);
    if (rc != OUTBOX_OK)
        return rc;
    ret = stmt->empty ? SQL_NO_DATA : SQLFetch(stmt->handle);
    if (ret == SQL_NO_DATA)
        return OUTBOX_NONE;
    if (!SQL_SUCCEEDED(ret))
        return outbox_stmt__fail(stmt, "read a row", err);
    for (i = 0; types[i] != '\0' && rc == OUTBOX_OK; i++)
        rc = bound ? take_cell(stmt, i, &cells[i], arena, err) : get_cell(stmt, i, types[i], &cells[i], arena, err);
    return rc;
}
