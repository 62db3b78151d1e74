/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a run of benchmarks found: kept round by round, and in the end one table, JSON, and a plot. */
#ifndef OUTBOX_BENCH_REPORT_H
#define OUTBOX_BENCH_REPORT_H

#include <stddef.h>

enum { REPORT_ROUNDS = 64 };

/* Of one round of one variant. What is not known is negative. */
struct sample {
    double rate;   /* a second */
    double client; /* microseconds of processor time a message, of the program that uses the database */
    double server; /* of the server */
    double wal;    /* bytes of the write-ahead log a message */
    double writes; /* rows written a message, of the messages' table */
};

/* A variant of a workload. The first one of a workload is the library; the others are what it is compared with. */
struct row {
    char workload[64], variant[64];
    struct sample samples[REPORT_ROUNDS];
    size_t count;
    double goal;     /* the library's rate is to be so many times this one; 0: no goal */
    const char *why; /* why it is not better, in a line; NULL for none */
};

/* The row of that name, made when there is none. */
struct row *report_row(const char *workload, const char *variant);
void report_add(struct row *row, const struct sample *sample);

/* Prints all as one table. */
void report_print(void);
/* Into files; a path of NULL writes none. 0, or -1. */
int report_json(const char *path);
int report_svg(const char *path);

#endif
