/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 400 };

static struct row rows[ROWS];
static size_t row_count;

struct row *report_row(const char *workload, const char *variant)
{
    struct row *row;

    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i].workload, workload) == 0 && strcmp(rows[i].variant, variant) == 0)
            return &rows[i];
    if (row_count == ROWS) {
        fprintf(stderr, "too many rows\n");
        exit(2);
    }
    row = &rows[row_count++];
    snprintf(row->workload, sizeof row->workload, "%s", workload);
    snprintf(row->variant, sizeof row->variant, "%s", variant);
    return row;
}

void report_add(struct row *row, const struct sample *sample)
{
    if (row->count < REPORT_ROUNDS)
        row->samples[row->count++] = *sample;
}

/* ---- Medians ---- */

static double of(const struct sample *s, size_t member)
{
    double value;

    memcpy(&value, (const char *)s + member, sizeof value);
    return value;
}

/* Of what is known; -1 when nothing is. */
static double middle(const struct row *row, size_t member, double part)
{
    double values[REPORT_ROUNDS];
    size_t n = 0;

    for (size_t i = 0; i < row->count; i++)
        if (of(&row->samples[i], member) >= 0)
            values[n++] = of(&row->samples[i], member);
    return n > 0 ? quantile(values, n, part) : -1;
}

static const struct row *library_of(const struct row *row)
{
    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i].workload, row->workload) == 0)
            return &rows[i];
    return row;
}

/* The library's part of this one, round by round, so that what the machine did meanwhile met both. */
static double ratio(const struct row *row, size_t member, double part)
{
    const struct row *ours = library_of(row);
    double values[REPORT_ROUNDS];
    size_t n = 0;

    for (size_t i = 0; i < row->count && i < ours->count; i++)
        if (of(&row->samples[i], member) > 0 && of(&ours->samples[i], member) > 0)
            values[n++] = of(&ours->samples[i], member) / of(&row->samples[i], member);
    return n > 0 ? quantile(values, n, part) : -1;
}

/* Processor time of both sides, which says more than a clock on a machine that has other things to do. */
static double processor_ratio(const struct row *row)
{
    const struct row *ours = library_of(row);
    double values[REPORT_ROUNDS];
    size_t n = 0;

    for (size_t i = 0; i < row->count && i < ours->count; i++) {
        const struct sample *a = &ours->samples[i], *b = &row->samples[i];

        if (a->client >= 0 && a->server >= 0 && b->client >= 0 && b->server >= 0 && b->client + b->server > 0)
            values[n++] = (a->client + a->server) / (b->client + b->server);
    }
    return n > 0 ? quantile(values, n, 0.5) : -1;
}

/* ---- The table ---- */

static void cell(const char *format, double value)
{
    char text[40] = "";

    if (value >= 0)
        snprintf(text, sizeof text, format, value);
    printf(" %8s |", text);
}

static void print_one(const struct row *row)
{
    char goal[40] = "";

    if (row->goal > 0)
        snprintf(goal, sizeof goal, "%.1f%s", row->goal,
                 ratio(row, offsetof(struct sample, rate), 0.5) >= row->goal ? "" : " missed");
    printf("| %-34s | %-34s |", row->workload, row->variant);
    cell("%.0f", middle(row, offsetof(struct sample, rate), 0.5));
    cell("%.0f", middle(row, offsetof(struct sample, rate), 0));
    cell("%.0f", middle(row, offsetof(struct sample, rate), 1));
    cell("%.2f", row == library_of(row) ? -1 : ratio(row, offsetof(struct sample, rate), 0.5));
    printf(" %-11s |", goal);
    cell("%.2f", row == library_of(row) ? -1 : processor_ratio(row));
    cell("%.2f", middle(row, offsetof(struct sample, client), 0.5));
    cell("%.2f", middle(row, offsetof(struct sample, server), 0.5));
    cell("%.1f", middle(row, offsetof(struct sample, wal), 0.5));
    cell("%.2f", middle(row, offsetof(struct sample, writes), 0.5));
    printf("\n");
}

void report_print(void)
{
    printf("\nEach is a median over the rounds. Ratio: the library's rate to this one's; processor: its processor time a "
           "message, client and server, to this one's.\n\n"
           "| workload                           | variant                            |        /s |   lowest |  highest | "
           "   ratio | goal        | processor| client us| server us| WAL bytes| rows     |\n"
           "| ---------------------------------- | ---------------------------------- | -------- | -------- | -------- | "
           "-------- | ----------- | -------- | -------- | -------- | -------- | -------- |\n");
    for (size_t i = 0; i < row_count; i++)
        print_one(&rows[i]);
    printf("\n");
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].why != NULL)
            printf("%s, %s: %s.\n", rows[i].workload, rows[i].variant, rows[i].why);
    fflush(stdout);
}

/* ---- Files ---- */

static int finish(FILE *file)
{
    int bad = ferror(file);

    return fclose(file) != 0 || bad ? -1 : 0;
}

static void json_samples(FILE *file, const struct row *row)
{
    static const struct {
        const char *name;
        size_t member;
    } members[] = {{"rate", offsetof(struct sample, rate)}, {"client_us", offsetof(struct sample, client)},
                   {"server_us", offsetof(struct sample, server)}, {"wal_bytes", offsetof(struct sample, wal)},
                   {"row_writes", offsetof(struct sample, writes)}};

    for (size_t m = 0; m < sizeof members / sizeof *members; m++) {
        if (middle(row, members[m].member, 0.5) < 0)
            continue;
        fprintf(file, ", \"%s\": [", members[m].name);
        for (size_t i = 0; i < row->count; i++)
            fprintf(file, "%s%.6g", i > 0 ? ", " : "", of(&row->samples[i], members[m].member));
        fprintf(file, "]");
    }
}

int report_json(const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : NULL;

    if (path == NULL)
        return 0;
    if (file == NULL)
        return -1;
    fprintf(file, "[\n");
    for (size_t i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];

        fprintf(file, "{\"workload\": \"%s\", \"variant\": \"%s\"", row->workload, row->variant);
        if (row != library_of(row))
            fprintf(file, ", \"ratio\": %.4g", ratio(row, offsetof(struct sample, rate), 0.5));
        if (row->goal > 0)
            fprintf(file, ", \"goal\": %.4g", row->goal);
        json_samples(file, row);
        fprintf(file, "}%s\n", i + 1 < row_count ? "," : "");
    }
    fprintf(file, "]\n");
    return finish(file);
}

/* One bar a variant, from the lowest to the highest round a line, as a part of the workload's fastest. */
static void svg_row(FILE *file, const struct row *row, double most, size_t y)
{
    double rate = middle(row, offsetof(struct sample, rate), 0.5), low = middle(row, offsetof(struct sample, rate), 0);
    double high = middle(row, offsetof(struct sample, rate), 1), scale = 500 / most;

    fprintf(file, "<text x=\"280\" y=\"%zu\" text-anchor=\"end\">%s</text>\n", y + 11, row->variant);
    fprintf(file, "<rect x=\"290\" y=\"%zu\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>\n", y, rate * scale,
            row == library_of(row) ? "#c33" : "#89b");
    fprintf(file, "<path d=\"M%.1f %zuH%.1f\" stroke=\"#222\"/>\n", 290 + low * scale, y + 6, 290 + high * scale);
    fprintf(file, "<text x=\"800\" y=\"%zu\">%.0f/s</text>\n", y + 11, rate);
}

static double most_of(const struct row *row)
{
    double most = 1;

    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i].workload, row->workload) == 0) {
            double high = middle(&rows[i], offsetof(struct sample, rate), 1);

            most = high > most ? high : most;
        }
    return most;
}

int report_svg(const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    size_t y = 10;

    if (path == NULL)
        return 0;
    if (file == NULL)
        return -1;
    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"%zu\" font-family=\"sans-serif\" "
            "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", row_count * 46 + 30);
    for (size_t i = 0; i < row_count; i++) {
        if (&rows[i] == library_of(&rows[i])) {
            y += 22;
            fprintf(file, "<text x=\"10\" y=\"%zu\" font-weight=\"bold\">%s</text>\n", y, rows[i].workload);
            y += 6;
        }
        svg_row(file, &rows[i], most_of(&rows[i]), y);
        y += 17;
    }
    fprintf(file, "</svg>\n");
    return finish(file);
}
