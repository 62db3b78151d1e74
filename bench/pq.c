/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pq.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(PGconn *conn, const char *what)
{
    fprintf(stderr, "%s%s\n", PQerrorMessage(conn), what);
    exit(2);
}

PGconn *pq_connect(void)
{
    PGconn *conn = PQconnectdb("");

    if (PQstatus(conn) != CONNECTION_OK)
        give_up(conn, "");
    PQclear(PQexec(conn, "SET client_min_messages = warning"));
    return conn;
}

static void check(PGconn *conn, const PGresult *r, const char *what)
{
    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
        give_up(conn, what);
}

int64_t pq_number(PGconn *conn, const char *format, ...)
{
    char sql[4000];
    va_list args;
    PGresult *r;
    int64_t n;

    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    r = PQexec(conn, sql);
    check(conn, r, sql);
    n = PQntuples(r) > 0 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return n;
}

void pq_prepare(PGconn *conn, const char *name, const char *format, ...)
{
    char sql[4000];
    va_list args;
    PGresult *r;

    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    r = PQprepare(conn, name, sql, 0, NULL);
    check(conn, r, sql);
    PQclear(r);
}

void pq_prepare_in(PGconn *conn, const char *prefix, const char *name, const char *sql)
{
    char text[4000] = "";
    const char *at;
    size_t used = 0;

    for (at = sql; *at != '\0' && used < sizeof text - 64; at++)
        if (strncmp(at, "{p}", 3) == 0) {
            used += (size_t)snprintf(text + used, 64, "%s", prefix);
            at += 2;
        } else {
            text[used++] = *at;
            text[used] = '\0';
        }
    pq_prepare(conn, name, "%s", text);
}

static void add(struct pq_params *p, const void *value, size_t size, int format)
{
    p->values[p->count] = value;
    p->lengths[p->count] = (int)size;
    p->formats[p->count++] = format;
}

void pq_int8(struct pq_params *p, int64_t number)
{
    p->numbers[p->count] = (int64_t)htobe64((uint64_t)number);
    add(p, &p->numbers[p->count], 8, 1);
}

void pq_int4(struct pq_params *p, int32_t number)
{
    uint32_t n = htobe32((uint32_t)number);

    memcpy(&p->numbers[p->count], &n, 4);
    add(p, &p->numbers[p->count], 4, 1);
}

void pq_bytes(struct pq_params *p, const void *data, size_t size)
{
    add(p, data, size, 1);
}

void pq_text(struct pq_params *p, const char *text)
{
    add(p, text, strlen(text), 0);
}

PGresult *pq_execute(PGconn *conn, const char *name, const struct pq_params *p)
{
    PGresult *r = p != NULL ? PQexecPrepared(conn, name, p->count, p->values, p->lengths, p->formats, 1)
                            : PQexecPrepared(conn, name, 0, NULL, NULL, NULL, 1);

    check(conn, r, name);
    return r;
}

void pq_run(PGconn *conn, const char *name, const struct pq_params *params)
{
    PQclear(pq_execute(conn, name, params));
}

int64_t pq_cell(const PGresult *r, int row, int column)
{
    uint64_t n;

    memcpy(&n, PQgetvalue(r, row, column), 8);
    return (int64_t)be64toh(n);
}

static void append(struct pq_array *a, const void *data, size_t size)
{
    if (a->size + size > a->room) {
        a->room = (a->size + size) * 2 + 1024;
        a->data = realloc(a->data, a->room);
        if (a->data == NULL)
            exit(2);
    }
    memcpy(a->data + a->size, data, size);
    a->size += size;
}

static void append_int4(struct pq_array *a, uint32_t number)
{
    number = htobe32(number);
    append(a, &number, 4);
}

/* Dimensions, whether there are NULLs, the type; of the one dimension the size, to be filled in, and the first index. */
void pq_array_begin(struct pq_array *a, uint32_t type)
{
    a->size = 0;
    a->count = 0;
    append_int4(a, 1);
    append_int4(a, 0);
    append_int4(a, type);
    append_int4(a, 0);
    append_int4(a, 1);
}

void pq_array_add(struct pq_array *a, const void *data, size_t size)
{
    append_int4(a, (uint32_t)size);
    append(a, data, size);
    a->count++;
}

void pq_array_add_int8(struct pq_array *a, int64_t number)
{
    number = (int64_t)htobe64((uint64_t)number);
    pq_array_add(a, &number, 8);
}

void pq_array_param(struct pq_params *p, struct pq_array *a)
{
    uint32_t count = htobe32((uint32_t)a->count);

    memcpy(a->data + 12, &count, 4);
    pq_bytes(p, a->data, a->size);
}
