/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log lines: one line of UTF-8 to the callback, whatever databases and brokers say. */
#include "log.h"
#include "text.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

struct seen {
    int count;
    outbox_log_level level;
    char line[4000];
};

static void see(void *user, outbox_log_level level, const char *message)
{
    struct seen *seen = user;

    seen->count++;
    seen->level = level;
    snprintf(seen->line, sizeof(seen->line), "%s", message);
}

Test(log, lines)
{
    static const struct {
        const char *what, *text, *line;
    } cases[] = {
        { "nothing", "", "" },
        { "a line", "lane 5", "lane 5" },
        { "several lines", "ERROR: a\nDETAIL: b\r\n", "ERROR: a DETAIL: b  " },
        { "control characters", "a\tb\x01" "c\x1b[31md\x7f", "a b c [31md " },
        { "a format", "100%s%n", "100%s%n" },
        { "UTF-8", "caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80" },
        { "not UTF-8", "caf\xe9 \xff", "caf? ?" },
    };
    static const outbox_log_level levels[] = { OUTBOX_LOG_ERROR, OUTBOX_LOG_WARNING, OUTBOX_LOG_INFO,
                                               OUTBOX_LOG_DEBUG };
    struct seen seen = { 0 };
    outbox_conf *conf;
    size_t i;

    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    outbox_conf_set_log(conf, see, &seen);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        seen.count = 0;
        outbox_log__write(conf, levels[i % 4], "%s", cases[i].text);
        cr_expect_eq(seen.count, 1, "%s: %d lines", cases[i].what, seen.count);
        cr_expect_eq(seen.level, levels[i % 4], "%s: level %d", cases[i].what, (int)seen.level);
        cr_expect_str_eq(seen.line, cases[i].line, "%s: \"%s\", not \"%s\"", cases[i].what, seen.line, cases[i].line);
    }
    outbox_log__write(conf, OUTBOX_LOG_INFO, "lane %d of %s", 3, "x");
    cr_expect_str_eq(seen.line, "lane 3 of x");
    outbox_conf_free(conf);
}

Test(log, long_lines_are_cut_between_characters)
{
    struct seen seen = { 0 };
    char text[4000];
    outbox_conf *conf;
    size_t before, i;

    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    outbox_conf_set_log(conf, see, &seen);
    for (before = 0; before < 3; before++) {
        memset(text, 'a', before);
        for (i = before; i + 4 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        outbox_log__write(conf, OUTBOX_LOG_INFO, "%s", text);
        cr_expect(strlen(seen.line) > 1300 && strlen(seen.line) < 1400, "%zu bytes", strlen(seen.line));
        cr_expect_geq(outbox_text__length(seen.line, strlen(seen.line)), 0, "cut inside a character, %zu before",
                      before);
    }
    outbox_conf_free(conf);
}

Test(log, without_a_callback_nothing_is_said)
{
    struct seen seen = { 0 };
    outbox_conf *conf;

    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    outbox_log__write(conf, OUTBOX_LOG_ERROR, "%s", "nobody hears this");
    outbox_conf_set_log(conf, see, &seen);
    outbox_conf_set_log(conf, NULL, &seen);
    outbox_log__write(conf, OUTBOX_LOG_ERROR, "%s", "nor this");
    cr_expect_eq(seen.count, 0);
    outbox_conf_free(conf);
}
