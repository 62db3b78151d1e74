/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec_reach.h"
#include "exec_child.h"

#include <outbox/sys/publisher.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REACH_MS 10000 /* how long the shell may take to say whether it knows a command */

/* The program that a command begins with, into word; 0 when only the shell knows what that is. */
static int first_word(const char *command, char word[], size_t size)
{
    const char *start = command + strspn(command, " \t");
    size_t length = strspn(start, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-");

    if (length == 0 || start[0] == '-' || start[0] == '+' || length >= size ||
        (start[length] != '\0' && strchr(" \t\n;|&", start[length]) == NULL))
        return 0;
    snprintf(word, size, "%.*s", (int)length, start);
    return 1;
}

/* Asks the shell, which alone knows its own words: 1, 0, or -1 when that takes too long. */
static int shell_knows(const char *word)
{
    struct outbox_exec_child child;
    char command[PATH_MAX + 40];
    int ended;

    snprintf(command, sizeof(command), "command -v %s >/dev/null", word);
    if (outbox_exec_child__start(&child, command) != 0)
        return -1;
    ended = outbox_exec_child__reap(&child, NULL, REACH_MS);
    outbox_exec_child__end(&child, NULL);
    return !ended || !WIFEXITED(child.status) ? -1 : WEXITSTATUS(child.status) == 0;
}

/* A folder may be executable, too. */
static int is_program(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        errno = EISDIR;
    return !S_ISDIR(st.st_mode) && access(path, X_OK) == 0;
}

int outbox_exec__reach(const char *command, outbox_error **err)
{
    char word[PATH_MAX];
    int known;

    if (!first_word(command, word, sizeof(word)))
        return OUTBOX_NONE;
    if (strchr(word, '/') != NULL)
        return is_program(word) ? OUTBOX_OK
                                : outbox_error_format(err, OUTBOX_ERR_SYSTEM, "publisher.exec",
                                                      "the command %s cannot be run: %s", word, strerror(errno));
    known = shell_knows(word);
    if (known != 0)
        return known > 0 ? OUTBOX_OK : OUTBOX_NONE;
    return outbox_error_format(err, OUTBOX_ERR_SYSTEM, "publisher.exec",
                               "there is no command %s in the PATH of this program", word);
}
