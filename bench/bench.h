/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What benchmarks share: medians, numbers on a file for later, and what processes cost.
 *
 *     OUTBOX_BENCH_JSON   a file to which each figure is added, an object a line
 */
#ifndef OUTBOX_BENCH_H
#define OUTBOX_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Sorts, and returns the value below which `part` (0 to 1) of them lie; 0 without any. */
double quantile(double *values, size_t count, double part);
double median(double *values, size_t count);

/* Adds a figure to the file, if there is one. */
void record_figure(const char *bench, const char *what, const char *unit, double value);

/* Nanoseconds that a process's threads were on a processor; 0 when it is gone. */
int64_t process_cpu_ns(long pid);
/* How often its threads gave their processor up to wait. */
int64_t process_waits(long pid);

#endif
