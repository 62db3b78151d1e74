/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs say, in the user's language: the library's catalogue has their messages, too. */
#include "cli.h"

#if OUTBOX_WITH_NLS

#include <langinfo.h>
#include <libintl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* Nothing else of the locale is taken: numbers, times and the order of words are as documented, whoever reads them. Letters
 * are UTF-8, as in messages; where the terminal has others, all is English. Those of "C.UTF-8" are the same in any language,
 * and ODBC's drivers compare keywords: a Turkish "I" is no "i". */
void cli_language(void)
{
    const char *folder = getenv("OUTBOX_LOCALE_PATH"); /* the library reads it too */

    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setlocale(LC_CTYPE, "C");
        return;
    }
    setlocale(LC_CTYPE, "C.UTF-8");
    setlocale(LC_MESSAGES, "");
    bindtextdomain(OUTBOX_TEXT_DOMAIN, folder != NULL ? folder : OUTBOX_LOCALE_DIR);
    bind_textdomain_codeset(OUTBOX_TEXT_DOMAIN, "UTF-8");
    textdomain(OUTBOX_TEXT_DOMAIN);
}

void cli_english(void)
{
    setlocale(LC_MESSAGES, "C");
}

const char *cli_text(const char *text)
{
    return text[0] != '\0' ? gettext(text) : text;
}

#else

void cli_language(void) { }

void cli_english(void) { }

const char *cli_text(const char *text)
{
    return text;
}

#endif
