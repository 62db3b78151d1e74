/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec_answer.h"
#include "text.h"

#include <string.h>

void outbox_exec_answer__clean(char *text)
{
    outbox_text__repair(text);
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t");
}

static void cut_blanks(char *text)
{
    size_t length = strlen(text);

    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
        text[--length] = '\0';
}

/* Whether the line starts with this word; *rest is what follows. */
static int starts_with(char *line, const char *word, char **rest)
{
    size_t length = strlen(word);

    if (strncmp(line, word, length) != 0 || strchr(" \t", line[length]) == NULL)
        return 0; /* strchr() finds the NUL at the end, too */
    *rest = skip_blanks(line + length);
    return 1;
}

/* "500ms", "30s", "5m", "12h", "7d", or 0: what settings take, too. Anything else belongs to the reason. */
static int take_duration(char **text, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
    size_t digits = strspn(*text, "0123456789");
    char *unit = *text + digits;
    size_t length = strcspn(unit, " \t");
    int64_t number = 0;

    if (digits == 0 || digits > 9)
        return 0;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + ((*text)[i] - '0');
    if (length == 0 && number == 0) {
        *ms = 0;
        *text = skip_blanks(unit);
        return 1;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strlen(units[i].name) != length || strncmp(units[i].name, unit, length) != 0)
            continue;
        *ms = number * units[i].ms;
        *text = skip_blanks(unit + length);
        return 1;
    }
    return 0;
}

int outbox_exec_answer__parse(char *line, struct outbox_exec_answer *answer)
{
    char *rest;

    cut_blanks(line);
    answer->retry_ms = -1;
    answer->reason = NULL;
    if (starts_with(line, "ok", &rest)) {
        answer->verdict = OUTBOX_PUBLISHED;
        return 1;
    }
    if (starts_with(line, "retry", &rest)) {
        answer->verdict = OUTBOX_RETRY;
        take_duration(&rest, &answer->retry_ms);
    } else if (starts_with(line, "reject", &rest)) {
        answer->verdict = OUTBOX_REJECT;
    } else if (starts_with(line, "unavailable", &rest)) {
        answer->verdict = OUTBOX_UNAVAILABLE;
    } else {
        return 0;
    }
    outbox_exec_answer__clean(rest);
    answer->reason = rest[0] != '\0' ? rest : "the command gave no reason";
    return 1;
}
