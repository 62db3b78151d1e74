/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes that grow. */
#include "buffer.h"

#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

Test(buffer, bytes_stand_in_their_order)
{
    struct outbox_buffer buffer = { NULL, 0, 0 };
    size_t i, size = 0;

    /* Steps of every size up to 300, so that each place of growth is met. */
    for (i = 0; i <= 300; i++) {
        char step[300];

        memset(step, (int)(i & 0xff), sizeof(step));
        cr_assert(outbox_buffer__add(&buffer, step, i), "step %zu", i);
        size += i;
        cr_assert_eq(buffer.size, size, "step %zu: %zu bytes, not %zu", i, buffer.size, size);
        cr_assert_lt(buffer.size, buffer.room, "step %zu: no room for the NUL", i);
        cr_assert_eq(buffer.data[buffer.size], '\0', "step %zu: no NUL behind", i);
    }
    for (i = 0, size = 0; i <= 300; size += i, i++) {
        size_t j;

        for (j = 0; j < i; j++)
            if ((unsigned char)buffer.data[size + j] != (i & 0xff))
                cr_assert_fail("byte %zu of step %zu is 0x%02x", j, i, (unsigned char)buffer.data[size + j]);
    }
    outbox_buffer__free(&buffer);
    cr_expect(buffer.data == NULL && buffer.size == 0 && buffer.room == 0, "a freed buffer is not empty");
    outbox_buffer__free(&buffer);
}

Test(buffer, nothing_is_the_empty_text)
{
    struct outbox_buffer buffer = { NULL, 0, 0 };

    cr_assert(outbox_buffer__add(&buffer, NULL, 0));
    cr_expect_str_eq(buffer.data, "");
    cr_expect_eq(buffer.size, 0u);
    outbox_buffer__free(&buffer);
}

Test(buffer, nul_is_a_byte)
{
    struct outbox_buffer buffer = { NULL, 0, 0 };

    cr_expect_eq(outbox_buffer_append(&buffer, "a\0b", 3), OUTBOX_OK);
    cr_expect_eq(outbox_buffer_append(&buffer, "c", 1), OUTBOX_OK);
    cr_expect_eq(buffer.size, 4u);
    cr_expect_arr_eq(buffer.data, "a\0bc", 5);
    outbox_buffer__free(&buffer);
}

Test(buffer, what_no_memory_can_hold_is_refused)
{
    /* (A quarter of 32 bits can be had.) */
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 4 + 1,
                                    SIZE_MAX / 4 + (sizeof(size_t) < 8) };
    struct outbox_buffer buffer = { NULL, 0, 0 };
    size_t i;

    cr_assert(outbox_buffer__add(&buffer, "before", 6));
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cr_expect_not(outbox_buffer__add(&buffer, "x", sizes[i]), "%zu bytes", sizes[i]);
        cr_expect_eq(outbox_buffer_append(&buffer, "x", sizes[i]), OUTBOX_ERR_NOMEM, "%zu bytes", sizes[i]);
    }
    cr_expect_str_eq(buffer.data, "before");
    cr_expect_eq(buffer.size, 6u);
    outbox_buffer__free(&buffer);
}
