/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libpq for benchmarks: what is compared with, never what is measured. All end the program when something fails. */
#ifndef OUTBOX_BENCH_PQ_H
#define OUTBOX_BENCH_PQ_H

#include "lib-test.h"

#include <libpq-fe.h>

/* A connection to the server of tests/with-postgres. */
PGconn *pq_connect(void);
/* A statement; the first value of its result as a number, or 0. */
TAP_PRINTF(2) int64_t pq_number(PGconn *conn, const char *format, ...);
TAP_PRINTF(3) void pq_prepare(PGconn *conn, const char *name, const char *format, ...);
/* With the prefix wherever the statement says {p}. */
void pq_prepare_in(PGconn *conn, const char *prefix, const char *name, const char *sql);

/* Binary parameters, kept as long as the list. */
struct pq_params {
    const char *values[16];
    int lengths[16], formats[16];
    int64_t numbers[16];
    int count;
};

void pq_int8(struct pq_params *p, int64_t number);
void pq_int4(struct pq_params *p, int32_t number);
void pq_bytes(struct pq_params *p, const void *data, size_t size);
void pq_text(struct pq_params *p, const char *text);

/* A prepared statement with a result in binary; free it. */
PGresult *pq_execute(PGconn *conn, const char *name, const struct pq_params *params);
void pq_run(PGconn *conn, const char *name, const struct pq_params *params);
/* A cell of 8 bytes. */
int64_t pq_cell(const PGresult *r, int row, int column);

/* An array of one type in binary, as a parameter. */
struct pq_array {
    char *data;
    size_t size, room;
    int32_t count;
};

void pq_array_begin(struct pq_array *a, uint32_t type);
void pq_array_add(struct pq_array *a, const void *data, size_t size);
void pq_array_add_int8(struct pq_array *a, int64_t number);
void pq_array_param(struct pq_params *p, struct pq_array *a);

enum { PQ_INT8 = 20, PQ_TEXT = 25, PQ_BYTEA = 17, PQ_INT2 = 21, PQ_UUID = 2950 };

#endif
