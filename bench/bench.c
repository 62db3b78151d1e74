/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double quantile(double *values, size_t count, double part)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare);
    return values[(size_t)((double)(count - 1) * part + 0.5)];
}

double median(double *values, size_t count)
{
    return quantile(values, count, 0.5);
}

void record_figure(const char *bench, const char *what, const char *unit, double value)
{
    const char *path = getenv("OUTBOX_BENCH_JSON");
    FILE *file = path != NULL && path[0] != '\0' ? fopen(path, "a") : NULL;

    if (file == NULL)
        return;
    fprintf(file, "{\"bench\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"value\":%.6g}\n", bench, what, unit, value);
    fclose(file);
}

/* ---- /proc ---- */

static int64_t first_number(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    char line[256];
    long long n = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%lld", &n) == 1)
            break;
    fclose(file);
    return n;
}

/* Of all threads: what stands for a process there is its first thread's alone. */
static int64_t sum_threads(long pid, const char *name, const char *key)
{
    char path[300];
    struct dirent *entry;
    int64_t sum = 0;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    if ((folder = opendir(path)) == NULL)
        return 0;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%.20s/%s", pid, entry->d_name, name);
        sum += first_number(path, key);
    }
    closedir(folder);
    return sum;
}

int64_t process_cpu_ns(long pid)
{
    return sum_threads(pid, "schedstat", "");
}

int64_t process_waits(long pid)
{
    return sum_threads(pid, "status", "voluntary_ctxt_switches:");
}
