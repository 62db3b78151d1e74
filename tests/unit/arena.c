/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory of a batch: pieces are aligned, apart from each other, and stay until all go. */
#include "arena.h"

#include <criterion/criterion.h>

#include <malloc.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#define BLOCK ((size_t)64 * 1024)

Test(arena, pieces_are_aligned_and_apart)
{
    static const size_t sizes[] = { 1, 7, 16, 100, 0, 4095, BLOCK - 1, BLOCK, BLOCK + 1, 3, 10 * BLOCK, 5, 65000, 500,
                                    37 };
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]), ROUNDS = 20 };
    outbox_arena arena = { NULL };
    unsigned char *pieces[COUNT * ROUNDS];
    size_t i, j;

    for (i = 0; i < COUNT * ROUNDS; i++) {
        pieces[i] = outbox_arena__alloc(&arena, sizes[i % COUNT]);
        cr_assert_not_null(pieces[i], "piece %zu of %zu bytes", i, sizes[i % COUNT]);
        cr_assert_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0u, "piece %zu of %zu bytes is at %p", i,
                     sizes[i % COUNT], (void *)pieces[i]);
        memset(pieces[i], (int)(i & 0xff), sizes[i % COUNT]);
    }
    for (i = 0; i < COUNT * ROUNDS; i++)
        for (j = 0; j < sizes[i % COUNT]; j++)
            if (pieces[i][j] != (i & 0xff))
                cr_assert_fail("byte %zu of piece %zu was written by piece %d", j, i, pieces[i][j]);
    outbox_arena__free(&arena);
    cr_expect_null(arena.head);
}

Test(arena, a_copy_ends_with_a_nul)
{
    static const char text[] = "a\0b\xff";
    outbox_arena arena = { NULL };
    char *copy = outbox_arena__copy(&arena, text, 4);

    cr_assert_not_null(copy);
    cr_expect_arr_eq(copy, text, 4);
    cr_expect_eq(copy[4], '\0');
    copy = outbox_arena__copy(&arena, NULL, 0);
    cr_assert_not_null(copy);
    cr_expect_str_eq(copy, "");
    outbox_arena__free(&arena);
}

/* An arena that a batch after the other uses asks for memory once, also when one is a little larger than the last. */
Test(arena, a_reset_keeps_room_for_as_much)
{
    outbox_arena arena = { NULL };
    unsigned char *before = NULL;
    int round;

    for (round = 0; round < 5; round++) {
        unsigned char *small = outbox_arena__alloc(&arena, 3008);
        unsigned char *large = outbox_arena__alloc(&arena, 5 * BLOCK + (size_t)round * 1000);

        cr_assert(small != NULL && large != NULL);
        cr_expect(round < 1 || large == small + 3008, "round %d has several blocks", round);
        cr_expect(round < 2 || small == before, "round %d has another block", round);
        before = small;
        outbox_arena__reset(&arena);
        outbox_arena__reset(&arena);
    }
    outbox_arena__free(&arena);
    outbox_arena__free(&arena);
    cr_expect_null(arena.head);
}

Test(arena, a_reset_keeps_no_more_than_is_bearable)
{
    outbox_arena arena = { NULL };
    size_t i;

    cr_assert_not_null(outbox_arena__alloc(&arena, 80 * BLOCK));
    outbox_arena__reset(&arena);
    for (i = 0; i < 3; i++) {
        cr_assert_not_null(arena.head);
        cr_expect_leq(malloc_usable_size(arena.head), 65 * BLOCK, "time %zu", i);
        cr_assert_not_null(outbox_arena__alloc(&arena, 40 * BLOCK));
        cr_assert_not_null(outbox_arena__alloc(&arena, 40 * BLOCK));
        outbox_arena__reset(&arena);
    }
    outbox_arena__free(&arena);
}

Test(arena, what_no_memory_can_hold_is_refused)
{
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX / 2 + 1, SIZE_MAX / 2 };
    outbox_arena arena = { NULL };
    char *before = outbox_arena__copy(&arena, "before", 6);
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        cr_expect_null(outbox_arena__alloc(&arena, sizes[i]), "a piece of %zu bytes", sizes[i]);
    cr_expect_null(outbox_arena__copy(&arena, before, SIZE_MAX));
    cr_expect_null(outbox_arena__copy(&arena, before, SIZE_MAX - 1));
    cr_expect_str_eq(before, "before");
    cr_expect_not_null(outbox_arena__alloc(&arena, 8), "it is of no more use");
    outbox_arena__free(&arena);
}
