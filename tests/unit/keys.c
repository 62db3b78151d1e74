/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of keys, beside a list that is searched from its beginning. */
#include "keys.h"

#include <stdlib.h>

#include <criterion/criterion.h>

enum { KEYS = 500 };

static int64_t next_key(unsigned *random)
{
    *random = *random * 1664525u + 1013904223u;
    /* Many come twice, some hash alike, some are negative, and 0 is no key. */
    return ((int64_t)(*random >> 20) % 97 - 40) * ((*random >> 8) % 2 ? 1024 : 1);
}

Test(keys, as_a_list)
{
    struct outbox_keys keys;
    int64_t list[KEYS];
    size_t places[KEYS];
    unsigned random = 4711;

    cr_assert(outbox_keys__make(&keys, KEYS));
    for (size_t i = 0; i < KEYS; i++) {
        int64_t key = next_key(&random);
        int there = 0;

        list[i] = key;
        places[i] = (random >> 3) % 1000;
        for (size_t k = 0; k < i; k++)
            there |= key != 0 && list[k] == key;
        cr_assert_eq(outbox_keys__has(&keys, key), there);
        cr_assert_eq(outbox_keys__add(&keys, key, places[i]), there);
        cr_assert_eq(outbox_keys__has(&keys, key), key != 0);
    }
    for (size_t i = 0; i < KEYS; i++) {
        size_t place = next_key(&random) < 0 ? places[i] : places[i] + 1;
        int before = 0;

        for (size_t k = 0; k < KEYS; k++)
            before |= list[i] != 0 && list[k] == list[i] && places[k] < place;
        cr_assert_eq(outbox_keys__before(&keys, list[i], place), before);
    }
    outbox_keys__clear(&keys);
    for (size_t i = 0; i < KEYS; i++)
        cr_assert_not(outbox_keys__has(&keys, list[i]));
    free(keys.slots);
}
