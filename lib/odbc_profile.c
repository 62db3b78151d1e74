/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What odbc.ini and odbcinst.ini say, the user's and the system's. */
#include "error_internal.h"
#include "odbc.h"

#include <odbcinst.h>

#include <string.h>

int outbox_odbc__profile(const char *section, const char *key, const char *file, char **value, outbox_error **err)
{
    char text[1024] = "";

    *value = NULL;
    if (SQLGetPrivateProfileString(section, key, "", text, sizeof(text), file) <= 0 || text[0] == '\0')
        return OUTBOX_OK;
    *value = strdup(text);
    return *value != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}

int outbox_odbc__file_dsn(const char *file, char **text, outbox_error **err)
{
    char all[4096] = "";
    WORD size = 0;

    *text = NULL;
    if (!SQLReadFileDSN(file, "ODBC", NULL, all, sizeof(all) - 1, &size) || all[0] == '\0')
        return OUTBOX_OK;
    *text = strdup(all);
    return *text != NULL ? OUTBOX_OK : outbox_error__nomem(err);
}
