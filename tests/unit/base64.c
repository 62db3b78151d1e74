/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Base64: the vectors of RFC 4648, every byte both ways, and all that is not exactly it. */
#include "base64.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

Test(base64, vectors_of_the_rfc)
{
    static const struct {
        const char *plain, *text;
        size_t size;
    } cases[] = {
        { "", "", 0 }, { "f", "Zg==", 1 }, { "fo", "Zm8=", 2 }, { "foo", "Zm9v", 3 }, { "foob", "Zm9vYg==", 4 },
        { "fooba", "Zm9vYmE=", 5 }, { "foobar", "Zm9vYmFy", 6 }, { "\0", "AA==", 1 }, { "\0\0\0", "AAAA", 3 },
        { "\xff\xff\xff", "////", 3 }, { "\xfb\xef\xbe", "++++", 3 }, { "\xff", "/w==", 1 }, { "\xff\xfe", "//4=", 2 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[20] = "", plain[20] = "";
        size_t length = 99, wrong;

        cr_expect_eq(outbox_base64__encoded_size(cases[i].size), strlen(cases[i].text), "size of \"%s\"",
                     cases[i].text);
        outbox_base64__encode(cases[i].plain, cases[i].size, text);
        cr_expect_str_eq(text, cases[i].text, "\"%s\", not \"%s\"", text, cases[i].text);
        wrong = outbox_base64__decode(cases[i].text, strlen(cases[i].text), plain, &length);
        cr_expect_eq(wrong, 0u, "\"%s\": wrong at %zu", cases[i].text, wrong);
        cr_expect_eq(length, cases[i].size, "\"%s\": %zu bytes", cases[i].text, length);
        cr_expect_eq(memcmp(plain, cases[i].plain, cases[i].size), 0, "\"%s\" became other bytes", cases[i].text);
    }
}

Test(base64, every_length_and_byte_comes_back)
{
    unsigned char plain[600], back[600];
    char text[900];
    size_t size, length, i;

    for (i = 0; i < sizeof(plain); i++)
        plain[i] = (unsigned char)(i * 151 + i / 256);
    for (size = 0; size < sizeof(plain); size++) {
        size_t room = outbox_base64__encoded_size(size);

        memset(text, '!', sizeof(text));
        outbox_base64__encode(plain, size, text);
        cr_assert(text[room] == '!' && (room == 0 || text[room - 1] != '!'), "%zu bytes: not %zu characters", size,
                  room);
        cr_assert_eq(outbox_base64__decode(text, room, back, &length), 0u, "%zu bytes", size);
        cr_assert_eq(length, size, "%zu bytes came back as %zu", size, length);
        cr_assert_eq(memcmp(plain, back, size), 0, "%zu bytes came back as others", size);
    }
}

Test(base64, what_is_not_base64)
{
    static const struct {
        const char *text;
        size_t wrong; /* the first character that is wrong, from 1; behind the end: the length */
    } cases[] = {
        { "A", 2 }, { "AA", 3 }, { "AAA", 4 }, { "AAAAA", 6 }, { "Zg=", 4 }, { "Zg", 3 }, { "=", 2 },
        { "====", 1 }, { "A===", 2 }, { "AA=A", 3 }, { "=AAA", 1 }, { "A=AA", 2 }, { "AA==AAAA", 3 }, { "AAA=AAAA", 4 },
        { "AAAA====", 5 }, { "AAAAA===", 6 }, { " AAA", 1 }, { "AAA ", 4 }, { "AA\nA", 3 }, { "AAA\n", 4 },
        { "A-A_", 2 }, { "AA_A", 3 }, { "AAA.", 4 }, { "AAAA*AAA", 5 }, { "\xc3\xa9" "AA", 1 }, { "AAA\xff", 4 },
        /* Bits that are cut off and not 0: another text of the same bytes. */
        { "Zh==", 2 }, { "Zm9=", 3 }, { "//5=", 3 }, { "Zm9vYh==", 6 }, { "AB==", 2 }, { "AAB=", 3 },
        { "/x==", 2 }, { "A@AA", 2 }, { "A[AA", 2 }, { "A`AA", 2 }, { "A{AA", 2 }, { "A:AA", 2 }, { "A,AA", 2 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char plain[20];
        size_t length = 99, wrong = outbox_base64__decode(cases[i].text, strlen(cases[i].text), plain, &length);

        cr_expect_eq(wrong, cases[i].wrong, "\"%s\": wrong at %zu, not %zu", cases[i].text, wrong, cases[i].wrong);
        cr_expect_eq(length, 0u, "\"%s\": %zu bytes came of it", cases[i].text, length);
    }
    cr_expect_eq(outbox_base64__decode("AA\0A", 4, (char[20]){ 0 }, &(size_t){ 0 }), 3u, "a NUL is taken");
}

/* A character is taken if, and only if, it is of the alphabet. */
Test(base64, each_character)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int c;

    for (c = 1; c < 256; c++) {
        char text[5] = { 'A', (char)c, 'A', 'A', '\0' }, plain[3];
        size_t length;
        int taken = outbox_base64__decode(text, 4, plain, &length) == 0;

        cr_expect_eq(taken, strchr(alphabet, c) != NULL, "character 0x%02x is %s", (unsigned)c,
                     taken ? "taken" : "refused");
    }
}
