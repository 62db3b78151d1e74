/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "man.h"

#include <stdio.h>
#include <string.h>

#define LINE_WIDTH 78

void man_lines(const char *const lines[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        puts(lines[i]);
}

/* "outbox_wake_send()", perhaps with a full stop, is a reference to its page; 0: the word is none. */
static int print_reference(const char *word, size_t length, int in_line)
{
    const char *end = strstr(word, "()");

    if (strncmp(word, "outbox_", 7) != 0 || end == NULL || end > word + length)
        return 0;
    printf("%s.Xr %.*s 3", in_line ? "\n" : "", (int)(end - word), word);
    for (end += 2; end < word + length; end++)
        printf(" %c", *end);
    return 1;
}

/* Text as mdoc takes it: each sentence begins a line, none with a control character; backslashes are themselves. */
void man_text(const char *text)
{
    size_t column = 0;
    int sentence_ends = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (print_reference(text, length, column > 0)) {
            sentence_ends = 1;
            column = LINE_WIDTH;
            text += length + strspn(text + length, " ");
            continue;
        }
        if (column > 0 && (sentence_ends || column + 1 + length > LINE_WIDTH)) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        sentence_ends = text[length - 1] == '.';
        if (column == 0 && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        for (size_t i = 0; i < length; i++)
            printf(text[i] == '\\' ? "\\e" : "%c", text[i]);
        column += length;
        text += length + strspn(text + length, " ");
    }
    putchar('\n');
}
