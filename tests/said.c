/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "said.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void said_into(const char *path)
{
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    setenv("OUTBOX_TEST_LOG", "4", 1);
    if (file >= 0) {
        dup2(file, STDERR_FILENO);
        close(file);
    }
}

int said_lines(const char *path, const char *word, const char *other)
{
    FILE *file = fopen(path, "re");
    char line[4096];
    int count = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        count += strstr(line, word) != NULL && strstr(line, other) != NULL;
    if (file != NULL)
        fclose(file);
    return count;
}
