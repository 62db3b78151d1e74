/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The allocator of tests/fault/memory. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "memory.h"

atomic_long number, fail_at, failed, live;
atomic_int armed, from_then_on;
atomic_int allocating[MEMORY_THREADS];

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void __wrap_free(void *old);

static void note_thread(void)
{
    static const char *const names[MEMORY_THREADS] = {"outbox-keeper", "outbox-cleaner", "outbox-relay0"};
    char name[16] = "";

    prctl(PR_GET_NAME, name);
    for (int i = 0; i < MEMORY_THREADS; i++)
        if (strcmp(name, names[i]) == 0)
            allocating[i] = 1;
}

static int fails(void)
{
    long now;
    int fail;

    if (!armed)
        return 0;
    note_thread();
    now = ++number;
    fail = fail_at > 0 && (now == fail_at || (from_then_on && now > fail_at));
    failed += fail;
    return fail;
}

static void *counted(void *made)
{
    live += made != NULL;
    return made;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *made = fails() ? NULL : __real_realloc(old, size);

    return old == NULL ? counted(made) : made;
}

char *__wrap_strndup(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    char *copy = __wrap_malloc(length + 1);

    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

void __wrap_free(void *old)
{
    live -= old != NULL;
    __real_free(old);
}
