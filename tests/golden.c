/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *source_folder(void)
{
    const char *folder = getenv("OUTBOX_SRCDIR");

    return folder != NULL ? folder : ".";
}

const char *build_folder(void)
{
    const char *folder = getenv("OUTBOX_BUILDDIR");

    return folder != NULL ? folder : ".";
}

char *file_read(const char *folder, const char *path)
{
    char name[4096];
    char *text = NULL;
    size_t used = 0, got;
    FILE *file;

    snprintf(name, sizeof(name), "%s/%s", folder, path);
    file = fopen(name, "rb");
    if (file == NULL)
        return NULL;
    do {
        char *grown = realloc(text, used + 65536 + 1);

        if (grown == NULL) {
            free(text);
            fclose(file);
            return NULL;
        }
        text = grown;
        got = fread(text + used, 1, 65536, file);
        used += got;
    } while (got > 0);
    text[used] = '\0';
    fclose(file);
    return text;
}

char *golden_read(const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "tests/golden/%s", name);
    return file_read(source_folder(), path);
}

static int golden_write(const char *name, const char *text)
{
    char path[4096];
    FILE *file;
    int ok;

    snprintf(path, sizeof(path), "%s/tests/golden/%s", source_folder(), name);
    file = fopen(path, "wb");
    if (file == NULL)
        return 0;
    ok = fputs(text, file) >= 0;
    return fclose(file) == 0 && ok;
}

int text_same(const char *got, const char *want, char *why, size_t size)
{
    int line = 1;

    for (;;) {
        size_t g = strcspn(got, "\n"), w = strcspn(want, "\n");

        if (g != w || memcmp(got, want, g) != 0 || got[g] != want[w]) {
            snprintf(why, size, "line %d is \"%.*s\", and should be \"%.*s\"", line, (int)g, got, (int)w, want);
            return 0;
        }
        if (got[g] == '\0')
            return 1;
        got += g + 1;
        want += w + 1;
        line++;
    }
}

int golden_check(const char *name, const char *text, char *why, size_t size)
{
    const char *mode = getenv("OUTBOX_TEST_GOLDEN");
    char *want;
    int same;

    if (mode != NULL && strcmp(mode, "write") == 0 && !golden_write(name, text)) {
        snprintf(why, size, "it cannot be written");
        return 0;
    }
    want = golden_read(name);
    if (want == NULL) {
        snprintf(why, size, "it is not there: OUTBOX_TEST_GOLDEN=write makes it");
        return 0;
    }
    same = text_same(text, want, why, size);
    free(want);
    return same;
}
