/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8: what is, what is not, how long it is, and where it may be cut. */
#include "text.h"

#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#define T(text) text, sizeof(text) - 1

Test(text, length)
{
    static const struct {
        const char *what, *text;
        size_t size;
        long length;
    } cases[] = {
        { "nothing", T(""), 0 },
        { "ASCII", T("abc"), 3 },
        { "NUL", T("a\0b"), 3 },
        { "control characters", T("\x01\x1f\x7f"), 3 },
        { "U+0080, the first of two bytes", T("\xc2\x80"), 1 },
        { "U+07FF, the last", T("\xdf\xbf"), 1 },
        { "U+0800, the first of three", T("\xe0\xa0\x80"), 1 },
        { "U+D7FF, the last before the surrogates", T("\xed\x9f\xbf"), 1 },
        { "U+E000, the first behind them", T("\xee\x80\x80"), 1 },
        { "U+FFFF, no character, but a code point", T("\xef\xbf\xbf"), 1 },
        { "U+10000, the first of four", T("\xf0\x90\x80\x80"), 1 },
        { "U+10FFFF, the last", T("\xf4\x8f\xbf\xbf"), 1 },
        { "one of each length", T("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), 4 },
        { "a combining accent", T("e\xcc\x81"), 2 },
        { "a byte order mark", T("\xef\xbb\xbf" "a"), 2 },
        { "overlong NUL, two bytes", T("\xc0\x80"), -1 },
        { "overlong slash, two bytes", T("\xc0\xaf"), -1 },
        { "overlong U+007F", T("\xc1\xbf"), -1 },
        { "overlong slash, three bytes", T("\xe0\x80\xaf"), -1 },
        { "overlong U+07FF", T("\xe0\x9f\xbf"), -1 },
        { "overlong slash, four bytes", T("\xf0\x80\x80\xaf"), -1 },
        { "overlong U+FFFF", T("\xf0\x8f\xbf\xbf"), -1 },
        { "surrogate U+D800", T("\xed\xa0\x80"), -1 },
        { "surrogate U+DFFF", T("\xed\xbf\xbf"), -1 },
        { "a pair of surrogates", T("\xed\xa0\xbd\xed\xb8\x80"), -1 },
        { "U+110000", T("\xf4\x90\x80\x80"), -1 },
        { "U+140000", T("\xf5\x80\x80\x80"), -1 },
        { "five bytes", T("\xf8\x88\x80\x80\x80"), -1 },
        { "six bytes", T("\xfc\x84\x80\x80\x80\x80"), -1 },
        { "0xfe", T("\xfe"), -1 },
        { "0xff", T("\xff"), -1 },
        { "a continuation alone", T("\x80"), -1 },
        { "a continuation too many", T("\xc3\xa9\xa9"), -1 },
        { "two bytes, cut off", T("a\xc3"), -1 },
        { "three bytes, cut off after two", T("a\xe2\x82"), -1 },
        { "three bytes, cut off after one", T("a\xe2"), -1 },
        { "four bytes, cut off after three", T("\xf0\x9f\x98"), -1 },
        { "four bytes, cut off after one", T("\xf0"), -1 },
        { "two bytes, broken", T("\xc3" "a"), -1 },
        { "three bytes, the third broken", T("\xe2\x82" "a"), -1 },
        { "four bytes, the third broken", T("\xf0\x9f" "a\x80"), -1 },
        { "four bytes, the fourth broken", T("\xf0\x9f\x98" "a"), -1 },
        { "wrong at the end of much that is right", T("0123456789012345678901234567890123456789\xe2\x82\xac\xc0"), -1 },
        { "Latin-1", T("caf\xe9"), -1 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(outbox_text__length(cases[i].text, cases[i].size), cases[i].length, "%s: %ld, not %ld",
                     cases[i].what,
                     outbox_text__length(cases[i].text, cases[i].size), cases[i].length);
}

static size_t encode(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Every number that four bytes can hold: exactly those that Unicode allows are taken, and not one byte less of them. */
Test(text, every_code_point)
{
    uint32_t c;

    for (c = 0; c < 0x200000; c++) {
        char bytes[4];
        size_t size = encode(c, bytes);
        long want = c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? -1 : 1;

        if (outbox_text__length(bytes, size) != want)
            cr_assert_fail("U+%04X: %ld, not %ld", (unsigned)c, outbox_text__length(bytes, size), want);
        if (size > 1 && outbox_text__length(bytes, size - 1) != -1)
            cr_assert_fail("U+%04X without its last byte is taken", (unsigned)c);
    }
}

Test(text, control_characters)
{
    int c;

    for (c = 0; c < 256; c++) {
        char bytes[3] = { 'a', (char)c, 'b' };

        cr_expect_eq(outbox_text__has_control(bytes, 3), c < 0x20 || c == 0x7f, "byte 0x%02x", (unsigned)c);
    }
    /* Eight bytes are looked at at once, then the rest. */
    for (c = 0; c < 256; c++)
        for (size_t at = 0; at < 20; at++) {
            char bytes[21];

            memset(bytes, at % 2 == 0 ? ' ' : '~', sizeof(bytes));
            bytes[at] = (char)c;
            cr_expect_eq(outbox_text__has_control(bytes, 20), c < 0x20 || c == 0x7f, "byte 0x%02x at %zu", (unsigned)c, at);
            cr_expect_eq(outbox_text__is_plain(bytes, 20), c >= 0x20 && c < 0x7f, "byte 0x%02x at %zu", (unsigned)c, at);
            cr_expect_eq(outbox_text__length(bytes, 20), c < 0x80 ? 20 : -1, "byte 0x%02x at %zu", (unsigned)c, at);
        }
    cr_expect_not(outbox_text__has_control("", 0));
    cr_expect_not(outbox_text__has_control("ab\n", 2), "what stands behind the text is looked at");
}

Test(text, cutting_splits_no_character)
{
    static const struct {
        const char *text;
        size_t max, cut;
    } cases[] = {
        { "", 0, 0 },
        { "abc", 5, 3 },
        { "abc", 3, 3 },
        { "abc", 2, 2 },
        { "abc", 0, 0 },
        { "\xc3\xa9", 1, 0 },
        { "a\xc3\xa9", 2, 1 },
        { "a\xc3\xa9", 3, 3 },
        { "a\xc3\xa9" "b", 3, 3 },
        { "\xe2\x82\xac", 2, 0 },
        { "\xe2\x82\xac\xe2\x82\xac", 5, 3 },
        { "\xf0\x9f\x98\x80", 3, 0 },
        { "a\xf0\x9f\x98\x80", 4, 1 },
        { "a\xf0\x9f\x98\x80", 5, 5 },
        { "\x80\x80\x80", 2, 0 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(outbox_text__cut(cases[i].text, strlen(cases[i].text), cases[i].max), cases[i].cut,
                     "case %zu: \"%s\" to %zu bytes is cut at %zu, not %zu", i, cases[i].text, cases[i].max,
                     outbox_text__cut(cases[i].text, strlen(cases[i].text), cases[i].max), cases[i].cut);
}

Test(text, repaired_text_is_utf8)
{
    static const struct {
        const char *text, *repaired;
    } cases[] = {
        { "", "" },
        { "abc", "abc" },
        { "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
        { "caf\xe9", "caf?" },
        { "caf\xe9 au lait", "caf? au lait" },
        { "\xff\xfe", "??" },
        { "a\xe2\x82", "a??" },
        { "a\xe2\x82" "b", "a??b" },
        { "\xed\xa0\x80", "???" },
        { "\xc0\xaf", "??" },
        { "\xe2\xe2\x82\xac", "?\xe2\x82\xac" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];

        strcpy(text, cases[i].text);
        outbox_text__repair(text);
        cr_expect_str_eq(text, cases[i].repaired, "case %zu: \"%s\", not \"%s\"", i, text, cases[i].repaired);
    }
}
