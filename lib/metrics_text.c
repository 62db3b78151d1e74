/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics as text and as JSON. Numbers are written without the locale's help. */
#include "error_internal.h"
#include "metrics_internal.h"

#include <outbox/version.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS 40

/* "0.0025", "30" */
static const char *seconds(int64_t us, char text[SECONDS])
{
    size_t length = (size_t)snprintf(text, SECONDS, "%" PRId64 ".%06d", us / 1000000, (int)(us % 1000000));

    while (text[length - 1] == '0')
        length--;
    length -= text[length - 1] == '.';
    text[length] = '\0';
    return text;
}

static int64_t number(const struct outbox_metric *row, const struct outbox_metrics_values *values)
{
    const char *at = (const char *)values + row->offset;
    int64_t n;
    int i;

    if (row->kind == METRIC_INFO)
        return 1;
    if (row->kind == METRIC_INT) {
        memcpy(&i, at, sizeof(i));
        return i;
    }
    memcpy(&n, at, sizeof(n));
    return n;
}

static const struct outbox_histogram *histogram(const struct outbox_metric *row,
                                                const struct outbox_metrics_values *values)
{
    return (const struct outbox_histogram *)(const void *)((const char *)values + row->offset);
}

static int is_shown(const struct outbox_metric *row, const struct outbox_metrics_values *values)
{
    return !row->of_backlog || values->backlog.valid;
}

/* ---- text ---- */

static int add(struct outbox_buffer *to, const char *text)
{
    return outbox_buffer__add(to, text, strlen(text));
}

int outbox_metrics__escape(struct outbox_buffer *to, const char *text)
{
    int ok = 1;

    for (; *text != '\0' && ok; text++)
        switch (*text) {
        case '\\': ok = add(to, "\\\\"); break;
        case '"': ok = add(to, "\\\""); break;
        case '\n': ok = add(to, "\\n"); break;
        default: ok = outbox_buffer__add(to, text, 1);
        }
    return ok;
}

static int add_label(struct outbox_buffer *to, const char *name, const char *value)
{
    return add(to, ",") && add(to, name) && add(to, "=\"") && outbox_metrics__escape(to, value) && add(to, "\"");
}

/* The name with its labels; the suffix and le are for histograms. */
static int add_name(struct outbox_buffer *to, const struct outbox_metric *row, const struct outbox_metrics_values *values,
                    const char *suffix, const char *le)
{
    int ok = add(to, row->name) && add(to, suffix) && add(to, "{outbox=\"") && outbox_metrics__escape(to, values->name) &&
             add(to, "\"");

    if (ok && row->kind == METRIC_INFO)
        ok = add_label(to, "version", outbox_version()) && add_label(to, "publisher", values->publisher);
    else if (ok && row->label != NULL)
        ok = add_label(to, row->label, row->value);
    if (ok && le != NULL)
        ok = add_label(to, "le", le);
    return ok && add(to, "} ");
}

static int add_number(struct outbox_buffer *to, uint64_t n)
{
    char text[SECONDS];

    snprintf(text, sizeof(text), "%" PRIu64 "\n", n);
    return add(to, text);
}

static int add_histogram(struct outbox_buffer *to, const struct outbox_metric *row,
                         const struct outbox_metrics_values *values)
{
    const struct outbox_histogram *h = histogram(row, values);
    char text[SECONDS];
    uint64_t below = 0;
    size_t i;

    for (i = 0; i <= OUTBOX_HISTOGRAM_BOUNDS; i++) {
        const char *le = i < OUTBOX_HISTOGRAM_BOUNDS ? seconds(outbox_histogram__bounds[i], text) : "+Inf";

        below += h->count[i];
        if (!add_name(to, row, values, "_bucket", le) || !add_number(to, below))
            return 0;
    }
    return add_name(to, row, values, "_sum", NULL) && add(to, seconds((int64_t)h->sum, text)) && add(to, "\n") &&
           add_name(to, row, values, "_count", NULL) && add_number(to, below);
}

static int add_sample(struct outbox_buffer *to, const struct outbox_metric *row,
                      const struct outbox_metrics_values *values)
{
    char text[SECONDS];

    if (row->kind == METRIC_HISTOGRAM)
        return add_histogram(to, row, values);
    if (!add_name(to, row, values, "", NULL))
        return 0;
    if (row->kind == METRIC_TIME)
        return add(to, seconds(number(row, values), text)) && add(to, "\n");
    return add_number(to, (uint64_t)number(row, values));
}

static int add_head(struct outbox_buffer *to, const struct outbox_metric *row)
{
    return add(to, "# HELP ") && add(to, row->name) && add(to, " ") && add(to, row->help) && add(to, "\n# TYPE ") &&
           add(to, row->name) && add(to, " ") && add(to, row->type) && add(to, "\n");
}

int outbox_metrics__text(const struct outbox_metrics_values *values, size_t count, char **text, outbox_error **err)
{
    struct outbox_buffer to = { NULL, 0, 0 };
    size_t i, k;
    int ok = 1;

    for (i = 0; i < outbox_metrics__rows && ok; i++) {
        const struct outbox_metric *row = &outbox_metrics__table[i];

        if (row->help != NULL)
            ok = add_head(&to, row);
        for (k = 0; k < count && ok; k++)
            if (is_shown(row, &values[k]))
                ok = add_sample(&to, row, &values[k]);
    }
    if (!ok) {
        outbox_buffer__free(&to);
        return outbox_error__nomem(err);
    }
    *text = to.data;
    return OUTBOX_OK;
}

/* ---- JSON ---- */

static json_t *json_seconds(int64_t us)
{
    return json_real((double)us / 1e6);
}

static json_t *json_labels(const struct outbox_metric *row, const struct outbox_metrics_values *values)
{
    json_t *labels = json_pack("{s:s}", "outbox", values->name);

    if (row->kind == METRIC_INFO) {
        json_object_set_new(labels, "version", json_string(outbox_version()));
        json_object_set_new(labels, "publisher", json_string(values->publisher));
    } else if (row->label != NULL) {
        json_object_set_new(labels, row->label, json_string(row->value));
    }
    return labels;
}

static json_t *json_histogram(const struct outbox_metric *row, const struct outbox_metrics_values *values)
{
    const struct outbox_histogram *h = histogram(row, values);
    json_t *buckets = json_array();
    uint64_t below = 0;
    size_t i;

    for (i = 0; i <= OUTBOX_HISTOGRAM_BOUNDS; i++) {
        json_t *le = i < OUTBOX_HISTOGRAM_BOUNDS ? json_seconds(outbox_histogram__bounds[i]) : json_string("+Inf");

        below += h->count[i];
        json_array_append_new(buckets, json_pack("{s:o, s:I}", "le", le, "count", (json_int_t)below));
    }
    return json_pack("{s:o, s:o, s:o, s:I}", "labels", json_labels(row, values), "buckets", buckets, "sum",
                     json_seconds((int64_t)h->sum), "count", (json_int_t)below);
}

static json_t *json_sample(const struct outbox_metric *row, const struct outbox_metrics_values *values)
{
    int64_t n = row->kind != METRIC_HISTOGRAM ? number(row, values) : 0;

    if (row->kind == METRIC_HISTOGRAM)
        return json_histogram(row, values);
    return json_pack("{s:o, s:o}", "labels", json_labels(row, values), "value",
                     row->kind == METRIC_TIME ? json_seconds(n) : json_integer(n));
}

int outbox_metrics__json(const struct outbox_metrics_values *values, size_t count, char **text, outbox_error **err)
{
    json_t *all = json_array(), *samples = NULL, *root;
    size_t i, k;

    for (i = 0; i < outbox_metrics__rows; i++) {
        const struct outbox_metric *row = &outbox_metrics__table[i];

        if (row->help != NULL) {
            json_decref(samples);
            samples = json_array();
            json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:O}", "name", row->name, "type", row->type, "unit",
                                                 row->unit, "help", row->help, "samples", samples));
        }
        for (k = 0; k < count; k++)
            if (is_shown(row, &values[k]))
                json_array_append_new(samples, json_sample(row, &values[k]));
    }
    json_decref(samples);
    root = json_pack("{s:o}", "metrics", all);
    *text = root != NULL ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    return *text != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}
