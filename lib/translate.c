/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages come from a catalogue of the library's own, which no program has to know of. It is loaded by the first message,
 * and not at all where the program has set no locale. */
#include "translate.h"
#include "environment.h"

#include <string.h>

#if OUTBOX_WITH_NLS

#include <libintl.h>
#include <pthread.h>

/* A catalogue has formats, hence not from whomever. Errors are UTF-8, whatever the program's locale has. */
static void find_catalogue(void)
{
    const char *folder = outbox_environment__getenv("OUTBOX_LOCALE_PATH");

    bindtextdomain(OUTBOX_TEXT_DOMAIN, folder != NULL ? folder : OUTBOX_LOCALE_DIR);
    bind_textdomain_codeset(OUTBOX_TEXT_DOMAIN, "UTF-8");
}

const char *outbox_translate(const char *text)
{
    static pthread_once_t found = PTHREAD_ONCE_INIT;

    pthread_once(&found, find_catalogue);
    /* (The translation of nothing is what a catalogue says of itself.) */
    return text[0] != '\0' ? dgettext(OUTBOX_TEXT_DOMAIN, text) : text;
}

#else

const char *outbox_translate(const char *text)
{
    return text;
}

#endif

#ifdef HAVE_USELOCALE

/* Not where all is English anyway: what else the thread's locale says must stay as drivers find it. */
static int is_english(void)
{
    const char *language = setlocale(LC_MESSAGES, NULL);

    return uselocale((locale_t)0) == LC_GLOBAL_LOCALE && language != NULL && strcmp(language, "C") == 0;
}

locale_t outbox_translate__pause(void)
{
    locale_t copy = is_english() ? (locale_t)0 : duplocale(uselocale((locale_t)0)), english;

    if (copy == (locale_t)0)
        return copy;
    english = newlocale(LC_MESSAGES_MASK, "C", copy);
    if (english == (locale_t)0)
        freelocale(copy);
    return english != (locale_t)0 ? uselocale(english) : english;
}

void outbox_translate__resume(locale_t before)
{
    if (before != (locale_t)0)
        freelocale(uselocale(before));
}

#else

locale_t outbox_translate__pause(void)
{
    return (locale_t)0;
}

void outbox_translate__resume(locale_t before)
{
    (void)before;
}

#endif
