/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs say, in the user's language: the library's catalogue has their messages, too. */
#include "cli.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#if OUTBOX_WITH_NLS

#include <libintl.h>
#include <unistd.h>

/* A catalogue has formats: a program with more rights than its user must not take one that the user names. */
static const char *user_folder(void)
{
#ifdef HAVE_SECURE_GETENV
    return secure_getenv("OUTBOX_LOCALE_PATH");
#else
    return getuid() == geteuid() && getgid() == getegid() ? getenv("OUTBOX_LOCALE_PATH") : NULL;
#endif
}

static void find_language(void)
{
    const char *folder = user_folder();

    setlocale(LC_MESSAGES, "");
    bindtextdomain(OUTBOX_TEXT_DOMAIN, folder != NULL ? folder : OUTBOX_LOCALE_DIR);
    bind_textdomain_codeset(OUTBOX_TEXT_DOMAIN, "UTF-8");
    textdomain(OUTBOX_TEXT_DOMAIN);
}

const char *cli_text(const char *text)
{
    return text[0] != '\0' ? gettext(text) : text;
}

#else

static void find_language(void) { }

const char *cli_text(const char *text)
{
    return text;
}

#endif

/* Nothing else of the locale is taken: numbers, times and the order of words are as documented, whoever reads them. Letters
 * are UTF-8, as in messages, and some drivers go by that; where the terminal has others, all is English. Those of "C.UTF-8"
 * are the same in any language, and ODBC's drivers compare keywords: a Turkish "I" is no "i". */
void cli_language(void)
{
    bool utf8 = setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;

    if (!utf8 || setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        setlocale(LC_CTYPE, "C");
    if (utf8)
        find_language();
}

void cli_english(void)
{
    setlocale(LC_MESSAGES, "C");
}
