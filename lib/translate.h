/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages in the language of the program that the library is in. */
#ifndef OUTBOX_TRANSLATE_H
#define OUTBOX_TRANSLATE_H

#include <locale.h>

/* Marks a part of a message for translators, where it stands in a table; outbox_translate() finds it later. */
#define N_(text) text

/* The text in the language that the program set by setlocale(LC_MESSAGES, …), always in UTF-8; or the text itself. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format_arg(1)))
#endif
const char *outbox_translate(const char *text);
#define _(text) outbox_translate(text)

/* Has this thread get English from other libraries, whose words are compared, until outbox_translate__resume(). Returns what
 * that takes. */
locale_t outbox_translate__pause(void);
void outbox_translate__resume(locale_t before);

#endif
