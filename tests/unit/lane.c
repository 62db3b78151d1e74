/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lane of a key is a contract with every producer in every language: it is compared with numbers that other
 * programs computed, in tests/golden/lanes.tsv and key-hashes.tsv, whose first lines say how.
 */
#include "golden.h"
#include "lane.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts a line off a text, and its fields apart at the tabs; returns how many there are. */
static int take_line(char **text, char *fields[], int room)
{
    char *line = *text, *end = strchr(line, '\n');
    int count = 0;

    *text = end != NULL ? end + 1 : line + strlen(line);
    if (end != NULL)
        *end = '\0';
    while (line != NULL && count < room) {
        char *tab = strchr(line, '\t');

        if (tab != NULL)
            *tab = '\0';
        fields[count++] = line;
        line = tab != NULL ? tab + 1 : NULL;
    }
    return count;
}

Test(lane, lanes_are_those_of_other_programs)
{
    char *all = golden_read("lanes.tsv"), *at = all, *fields[12], *counts[12];
    int columns = 0, rows = 0, i;

    cr_assert_not_null(all, "tests/golden/lanes.tsv is not there");
    while (*at != '\0') {
        int n;

        if (*at == '#') {
            at = strchr(at, '\n') + 1;
            continue;
        }
        n = take_line(&at, fields, 12);
        if (columns == 0) { /* the head: "key", and the numbers of lanes */
            columns = n;
            memcpy(counts, fields, sizeof(fields));
            continue;
        }
        cr_assert_eq(n, columns, "key \"%s\": %d columns, not %d", fields[0], n, columns);
        for (i = 1; i < n; i++)
            cr_expect_eq(outbox_lane_of_key(fields[0], atoi(counts[i])), atoi(fields[i]),
                         "key \"%s\" of %s lanes: lane %d, not %s", fields[0], counts[i],
                         outbox_lane_of_key(fields[0], atoi(counts[i])), fields[i]);
        rows++;
    }
    cr_expect_geq(rows, 40, "only %d keys were compared", rows);
    free(all);
}

Test(lane, hashes_are_those_of_other_programs)
{
    char *all = golden_read("key-hashes.tsv"), *at = all, *fields[4];
    int rows = 0;

    cr_assert_not_null(all, "tests/golden/key-hashes.tsv is not there");
    while (*at != '\0') {
        if (*at == '#') {
            at = strchr(at, '\n') + 1;
            continue;
        }
        cr_assert_eq(take_line(&at, fields, 4), 3, "\"%s\": not three columns", fields[0]);
        cr_expect_eq(outbox_lane__key_hash(fields[0], fields[1]), strtoll(fields[2], NULL, 10),
                     "topic \"%s\", key \"%s\": %lld, not %s", fields[0], fields[1],
                     (long long)outbox_lane__key_hash(fields[0], fields[1]), fields[2]);
        rows++;
    }
    cr_expect_geq(rows, 10, "only %d keys were compared", rows);
    free(all);
}

Test(lane, no_key_has_no_lane_and_no_hash)
{
    static const char *const none[] = { NULL, "" };
    size_t i;

    for (i = 0; i < 2; i++) {
        cr_expect_eq(outbox_lane_of_key(none[i], 64), -1, "key %zu of none has a lane", i);
        cr_expect_eq(outbox_lane__key_hash("topic", none[i]), 0, "key %zu of none has a hash", i);
    }
    cr_expect_eq(outbox_lane_of_key("key", 0), -1);
    cr_expect_eq(outbox_lane_of_key("key", -5), -1);
}

/* 0 stands for no key and databases have signed numbers. */
Test(lane, a_hash_is_above_0)
{
    char key[24];
    int i, wrong = 0;

    for (i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        wrong += outbox_lane__key_hash("t", key) <= 0;
    }
    cr_expect_eq(wrong, 0, "%d of 20000 hashes are not above 0", wrong);
}

/* No lane is left out, and none gets far more than its share. */
Test(lane, keys_spread_over_all_lanes)
{
    static const int counts[] = { 1, 2, 7, 64, 1000 };
    size_t c;
    int i;

    for (c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        int seen[1000] = { 0 }, most = 0, least = 1 << 30;

        for (i = 0; i < counts[c] * 200; i++) {
            char key[24];
            int lane;

            snprintf(key, sizeof(key), "order-%d", i);
            lane = outbox_lane_of_key(key, counts[c]);
            cr_assert(lane >= 0 && lane < counts[c], "%d lanes: \"%s\" got lane %d", counts[c], key, lane);
            seen[lane]++;
        }
        for (i = 0; i < counts[c]; i++) {
            most = seen[i] > most ? seen[i] : most;
            least = seen[i] < least ? seen[i] : least;
        }
        cr_expect(least > 100 && most < 300, "%d lanes, 200 keys each: from %d to %d", counts[c], least, most);
    }
}

/* Many more than there is room for, some too long for it, and each of them twice, so that they find one another. */
Test(lane, the_memo_tells_keys_apart)
{
    static struct outbox_key_memo memo[OUTBOX_KEY_MEMO];
    char key[100];
    int round, i;

    for (round = 0; round < 2; round++)
        for (i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "%0*d", i % 97 + 1, i);
            cr_expect_eq(outbox_lane__known_key_hash(memo, "orders", key), outbox_lane__key_hash("orders", key));
            cr_expect_eq(outbox_lane__known_key_hash(memo, "orders", key), outbox_lane__key_hash("orders", key));
        }
    cr_expect_eq(outbox_lane__known_key_hash(memo, "a", "bc"), outbox_lane__key_hash("a", "bc"));
    cr_expect_eq(outbox_lane__known_key_hash(memo, "ab", "c"), outbox_lane__key_hash("ab", "c"));
    cr_expect_neq(outbox_lane__known_key_hash(memo, "a", "bc"), outbox_lane__known_key_hash(memo, "ab", "c"));
    cr_expect_eq(outbox_lane__known_key_hash(memo, "a", ""), 0);
    cr_expect_eq(outbox_lane__known_key_hash(memo, "a", NULL), 0);
}

Test(lane, the_memo_knows_lanes)
{
    static struct outbox_key_memo memo[OUTBOX_KEY_MEMO];
    char key[100];
    int i;

    for (i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "%0*d", i % 97 + 1, i % 1700);
        cr_expect_eq(outbox_lane__known_lane(memo, key, 64), outbox_lane_of_key(key, 64));
        cr_expect_eq(outbox_lane__known_lane(memo, key, 64), outbox_lane_of_key(key, 64));
    }
    cr_expect_eq(outbox_lane__known_lane(memo, "", 64), -1);
    cr_expect_eq(outbox_lane__known_lane(memo, NULL, 64), -1);
}
