/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets by file: those that systemd passes on as credentials, and files of one line. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CREDENTIAL "credential:"
#define SECRET_MAX 65536 /* larger than any connection string */

static bool ends_in_file(const char *key)
{
    size_t size = strlen(key);

    return size > 5 && strcmp(key + size - 5, "_file") == 0;
}

char *cli_credential(const char *key, const char *value, char *what, size_t size)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY"), *name = value + strlen(CREDENTIAL);
    char *path;

    snprintf(what, size, "out of memory");
    if (!ends_in_file(key) || strncmp(value, CREDENTIAL, strlen(CREDENTIAL)) != 0)
        return strdup(value);
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
        snprintf(what, size, "%.60s: \"%.100s\" names no credential", key, value);
        return NULL;
    }
    if (folder == NULL || folder[0] != '/') {
        snprintf(what, size,
                 "%.60s: there are no credentials: CREDENTIALS_DIRECTORY is not set; the unit has to say "
                 "LoadCredential=%.100s:PATH", key, name);
        return NULL;
    }
    path = malloc(strlen(folder) + strlen(name) + 2);
    if (path != NULL)
        sprintf(path, "%s/%s", folder, name);
    return path;
}

char *cli_read_secret(const char *path, char *what, size_t size)
{
    FILE *from = fopen(path, "re");
    char *text = from != NULL ? calloc(1, SECRET_MAX + 1) : NULL;
    size_t length = 0;

    if (text != NULL)
        length = fread(text, 1, SECRET_MAX, from);
    if (text == NULL || ferror(from)) {
        snprintf(what, size, "cannot read %.300s: %s", path, strerror(errno));
        length = 0;
    } else {
        while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
            text[--length] = '\0';
        if (length == 0 || length >= SECRET_MAX - 2 || strlen(text) != length || strpbrk(text, "\r\n") != NULL) {
            snprintf(what, size, "%.300s must have one line and nothing else", path);
            length = 0;
        }
    }
    if (from != NULL)
        fclose(from);
    if (length > 0)
        return text;
    free(text);
    return NULL;
}
