/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end-to-end checker finds what it is there to find: each kind of fault, planted in logs that were good. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"

enum { PER_LOG = 500, KEYS = 7 };

static char directory[] = "/tmp/outbox-checker-XXXXXX";

static FILE *create(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return fopen(path, "w");
}

static void message_line(char *line, size_t size, int log, int i)
{
    char key[16] = "-";

    if (i % 10 != 0)
        snprintf(key, sizeof key, "k%d.%d", log, i % KEYS);
    snprintf(line, size, "%08d-%04d-7000-8000-000000000000 t%d %s %d", i, log, i % KEYS % 2, key, i / KEYS + 1);
}

static void write_committed(int log)
{
    char name[32], line[128];
    FILE *file;

    snprintf(name, sizeof name, "committed.%d", log);
    if ((file = create(name)) == NULL)
        return;
    for (int i = 0; i < PER_LOG; i++) {
        message_line(line, sizeof line, log, i);
        fprintf(file, "%s\n", line);
    }
    fclose(file);
}

enum plant { NOTHING, LOSE, REPEAT, INVENT, SWAP, ALTER, CHARGE, FORGIVE };

/* Keys 1 and 2 lie side by side in the log; 8 later comes the next of the same key. */
static void write_delivered(enum plant plant)
{
    char line[128], other[128];
    FILE *file = create("delivered");

    if (file == NULL)
        return;
    for (int i = 0; i < PER_LOG; i++)
        for (int log = 0; log < 2; log++) {
            int here = log == 1 && i == 231, fails = i % 50 == 0;

            message_line(line, sizeof line, log, i);
            message_line(other, sizeof other, log, i + KEYS);
            if (here && plant == LOSE)
                continue;
            if (here && plant == SWAP)
                fprintf(file, "%s 0 0\n", other);
            if (log == 1 && i == 231 + KEYS && plant == SWAP)
                continue;
            fprintf(file, "%s %d %d\n", line, (here && plant == CHARGE) || fails, fails || (here && plant == FORGIVE));
            if (here && plant == REPEAT)
                fprintf(file, "%s 0 0\n", line);
            if (here && plant == INVENT)
                fprintf(file, "99999999-0000-7000-8000-000000000000 t1 k1.1 9 0 0\n");
        }
    fclose(file);
}

static void alter_delivered(void)
{
    char command[256];

    snprintf(command, sizeof command, "sed -i '/^00000231-0001/s/ t[01] / t9 /' %s/delivered", directory);
    CHECK(system(command) == 0, "sed failed");
}

static void expect(const char *name, enum plant plant, long lost, long duplicates, long phantom, long disorder,
                   long altered, long charged)
{
    struct e2e_report r;

    tap_begin("%s", name);
    write_delivered(plant);
    if (plant == ALTER)
        alter_delivered();
    CHECK_INT(e2e_check(directory, 2, &r), 0);
    CHECK_INT(r.stuck, 0);
    CHECK_INT(r.charges, plant == CHARGE);
    CHECK_INT(r.committed, 2 * PER_LOG);
    CHECK_INT(r.delivered, 2 * PER_LOG - lost + duplicates + phantom);
    CHECK_INT(r.lost, lost);
    CHECK_INT(r.duplicates, duplicates);
    CHECK_INT(r.phantom, phantom);
    CHECK_INT(r.disorder, disorder);
    CHECK_INT(r.altered, altered);
    CHECK_INT(r.charged, charged);
    CHECK_INT(e2e_faults(&r) > 0, plant != NOTHING);
    CHECK_INT(r.first[0] != '\0', plant != NOTHING);
    tap_end();
}

/* What comes with an older token of its lane was refused by the broker: it must come again. */
static void expect_stale(int again)
{
    char line[128];
    struct e2e_report r;
    FILE *file;

    tap_begin("an old token does not count, %s", again ? "but what came again does" : "and is no delivery");
    file = create("delivered");
    REQUIRE(file != NULL, "no log");
    for (int i = 0; i < PER_LOG; i++)
        for (int log = 0; log < 2; log++) {
            int old = log == 1 && i == 231;

            message_line(line, sizeof line, log, i);
            fprintf(file, "%s %d %d %d %d\n", line, i % 50 == 0, i % 50 == 0, i % 64, old ? 1 : 2 + i / 64);
            if (old && again)
                fprintf(file, "%s 0 0 %d %d\n", line, i % 64, 2 + i / 64);
        }
    fclose(file);
    CHECK_INT(e2e_check(directory, 2, &r), 0);
    CHECK_INT(r.stale, 1);
    CHECK_INT(r.lost, !again);
    CHECK_INT(e2e_faults(&r), again ? 1 : 2);
    tap_end();
}

/* What waits is stuck, and not lost: whether it was delivered, and so should not wait, or not. */
static void expect_stuck(void)
{
    struct e2e_report r;
    char command[256];
    FILE *file;

    tap_begin("a message that waits for ever is found");
    write_delivered(LOSE);
    file = create("waiting");
    REQUIRE(file != NULL, "no log");
    fclose(file);
    CHECK_INT(e2e_check(directory, 2, &r), 0);
    CHECK_INT(r.stuck, 0);
    CHECK_INT(r.lost, 1);
    file = create("waiting");
    REQUIRE(file != NULL, "no log");
    fprintf(file, "00000231-0001-7000-8000-000000000000\n00000230-0001-7000-8000-000000000000\n");
    fclose(file);
    CHECK_INT(e2e_check(directory, 2, &r), 0);
    CHECK_INT(r.stuck, 2);
    CHECK_INT(r.lost, 0);
    CHECK_INT(e2e_faults(&r), 2);
    CHECK(strncmp(r.first, "stuck: ", 7) == 0, "the first is %s", r.first);
    snprintf(command, sizeof command, "rm %s/waiting", directory);
    CHECK(system(command) == 0, "rm failed");
    tap_end();
}

static void expect_unreadable(void)
{
    struct e2e_report r;
    FILE *file;

    tap_begin("logs that are missing or cut short are no success");
    write_delivered(NOTHING);
    CHECK_INT(e2e_check(directory, 3, &r), -1);
    file = create("delivered");
    REQUIRE(file != NULL, "no log");
    fprintf(file, "00000001-0001-7000-8000-000000000000 t1 k1.1\n");
    fclose(file);
    CHECK_INT(e2e_check(directory, 2, &r), -1);
    file = create("delivered");
    REQUIRE(file != NULL, "no log");
    fclose(file);
    CHECK_INT(e2e_check(directory, 2, &r), 0);
    CHECK_INT(r.lost, 2 * PER_LOG);
    tap_end();
}

int main(void)
{
    char command[128];

    if (mkdtemp(directory) == NULL)
        return 1;
    write_committed(0);
    write_committed(1);
    expect("good logs pass", NOTHING, 0, 0, 0, 0, 0, 0);
    expect("a lost message is found", LOSE, 1, 0, 0, 0, 0, 0);
    expect("a duplicate is found", REPEAT, 0, 1, 0, 0, 0, 0);
    expect("a message that nobody committed is found", INVENT, 0, 0, 1, 0, 0, 0);
    expect("a message before its predecessor is found", SWAP, 0, 0, 0, 1, 0, 0);
    expect("an altered message is found", ALTER, 0, 0, 0, 0, 1, 0);
    expect("an attempt charged without a failure is found", CHARGE, 0, 0, 0, 0, 0, 1);
    expect("a failure that was not charged is found", FORGIVE, 0, 0, 0, 0, 0, 1);
    expect_stale(0);
    expect_stale(1);
    expect_stuck();
    expect_unreadable();
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        return 1;
    return tap_finish();
}
