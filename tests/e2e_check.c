/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checker: a table of what was committed, against which each delivery is held. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

struct entry {
    char id[37], topic[16], key[32];
    long number, delivered;
    int waits;
    size_t order; /* index of the counter of its topic and key */
};

/* The highest number of a topic and key that was delivered. */
struct counter {
    char topic[16], key[32];
    long highest;
};

enum { LANES = 1024 };

struct checker {
    struct entry *entries;
    struct counter *counters;
    size_t room, counter_room; /* powers of two */
    struct e2e_report *report;
    long token[LANES]; /* the highest of each lane */
};

static uint64_t hash_text(const char *text, uint64_t hash)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash ^ (hash >> 29);
}

/* The entry of an id, or the free place for it. */
static struct entry *find_entry(struct checker *c, const char *id)
{
    size_t i = (size_t)hash_text(id, UINT64_C(14695981039346656037)) & (c->room - 1);

    while (c->entries[i].id[0] && strcmp(c->entries[i].id, id) != 0)
        i = (i + 1) & (c->room - 1);
    return &c->entries[i];
}

static struct counter *find_counter(struct checker *c, const char *topic, const char *key)
{
    size_t i = (size_t)hash_text(key, hash_text(topic, UINT64_C(14695981039346656037))) & (c->counter_room - 1);

    while (c->counters[i].topic[0] && (strcmp(c->counters[i].topic, topic) != 0 || strcmp(c->counters[i].key, key) != 0))
        i = (i + 1) & (c->counter_room - 1);
    return &c->counters[i];
}

static void fault(struct checker *c, long *count, const char *what, const char *line)
{
    ++*count;
    if (c->report->first[0] == '\0')
        snprintf(c->report->first, sizeof c->report->first, "%s: %.*s", what, (int)strcspn(line, "\n"), line);
}

static FILE *open_log(const char *directory, const char *name)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if ((file = fopen(path, "r")) == NULL)
        perror(path);
    return file;
}

static long count_lines(FILE *file)
{
    long lines = 0;
    int c;

    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    rewind(file);
    return lines;
}

static int read_committed(struct checker *c, FILE *file)
{
    char line[256];
    struct entry e, *place;

    while (fgets(line, sizeof line, file) != NULL) {
        memset(&e, 0, sizeof e);
        if (sscanf(line, "%36s %15s %31s %ld", e.id, e.topic, e.key, &e.number) != 4)
            return -1;
        place = find_entry(c, e.id);
        if (place->id[0])
            return -1; /* a producer committed one id twice */
        *place = e;
        c->report->committed++;
    }
    return 0;
}

static void check_order(struct checker *c, const struct entry *e, const char *line)
{
    struct counter *counter;

    if (strcmp(e->key, "-") == 0)
        return;
    counter = find_counter(c, e->topic, e->key);
    snprintf(counter->topic, sizeof counter->topic, "%s", e->topic);
    snprintf(counter->key, sizeof counter->key, "%s", e->key);
    if (e->number < counter->highest)
        fault(c, &c->report->disorder, "out of order", line);
    else
        counter->highest = e->number;
}

/* Whether a delivery comes from an owner of the lane before the last. */
static int is_stale(struct checker *c, long lane, long token)
{
    if (lane < 0 || lane >= LANES)
        return 0;
    if (token < c->token[lane])
        return 1;
    c->token[lane] = token;
    return 0;
}

static int read_delivered(struct checker *c, FILE *file)
{
    char line[256], id[37], topic[16], key[32];
    long number, attempts, fails, lane, token;
    struct entry *e;

    while (fgets(line, sizeof line, file) != NULL) {
        /* What follows is for whoever reads the log. */
        int fields = sscanf(line, "%36s %15s %31s %ld %ld %ld %ld %ld", id, topic, key, &number, &attempts, &fails,
                            &lane, &token);

        if (fields != 6 && fields != 8)
            return -1;
        c->report->delivered++;
        if (fields == 8 && is_stale(c, lane, token)) {
            fault(c, &c->report->stale, "with an old token", line);
            continue;
        }
        e = find_entry(c, id);
        if (e->id[0] == '\0') {
            fault(c, &c->report->phantom, "never committed", line);
            continue;
        }
        if (e->delivered++ > 0) {
            fault(c, &c->report->duplicates, "delivered again", line);
            continue;
        }
        if (e->number != number || strcmp(e->topic, topic) != 0 || strcmp(e->key, key) != 0)
            fault(c, &c->report->altered, "altered", line);
        if (attempts != fails)
            fault(c, &c->report->charged, "wrongly charged", line);
        c->report->charges += attempts > fails ? attempts - fails : 0;
        check_order(c, e, line);
    }
    return 0;
}

/* What waits though all should be through, delivered or not. */
static void read_waiting(struct checker *c, FILE *file)
{
    char line[64];

    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        find_entry(c, line)->waits = 1; /* of an unknown one the place stays free */
        fault(c, &c->report->stuck, "stuck", line);
    }
}

static size_t room_for(long count)
{
    size_t room = 1024;

    while (room < (size_t)count * 2)
        room *= 2;
    return room;
}

static int read_all_committed(struct checker *c, const char *directory, int logs)
{
    FILE *files[128];
    char name[32];
    long lines = 0;
    int rc = 0;

    if (logs > (int)COUNT_OF(files))
        return -1;
    for (int i = 0; i < logs; i++) {
        snprintf(name, sizeof name, "committed.%d", i);
        files[i] = open_log(directory, name);
        lines += files[i] ? count_lines(files[i]) : 0;
    }
    c->room = c->counter_room = room_for(lines);
    c->entries = calloc(c->room, sizeof *c->entries);
    c->counters = calloc(c->counter_room, sizeof *c->counters);
    for (int i = 0; i < logs; i++) {
        if (files[i] == NULL || c->entries == NULL || c->counters == NULL || rc != 0 || read_committed(c, files[i]) != 0)
            rc = -1;
        if (files[i] != NULL)
            fclose(files[i]);
    }
    return rc;
}

int e2e_check(const char *directory, int logs, struct e2e_report *report)
{
    struct checker c = {.report = report};
    char path[256];
    FILE *file;
    int rc;

    memset(report, 0, sizeof *report);
    rc = read_all_committed(&c, directory, logs);
    file = rc == 0 ? open_log(directory, "delivered") : NULL;
    rc = file != NULL ? read_delivered(&c, file) : -1;
    if (file != NULL)
        fclose(file);
    snprintf(path, sizeof path, "%s/waiting", directory);
    file = rc == 0 ? fopen(path, "r") : NULL;
    if (file != NULL) {
        read_waiting(&c, file);
        fclose(file);
    }
    for (size_t i = 0; rc == 0 && i < c.room; i++)
        if (c.entries[i].id[0] && c.entries[i].delivered == 0 && !c.entries[i].waits)
            fault(&c, &report->lost, "lost", c.entries[i].id);
    free(c.entries);
    free(c.counters);
    return rc;
}

long e2e_faults(const struct e2e_report *r)
{
    return r->lost + r->phantom + r->duplicates + r->disorder + r->altered + r->stuck + r->charged + r->stale;
}
