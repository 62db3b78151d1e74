/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the fuzzers share, and how a corpus is replayed where libFuzzer does not bring a main program. */
#define FUZZ_SHARED /* no program of its own */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *format, ...)
{
    const char *base = strrchr(file, '/');
    va_list arguments;

    fprintf(stderr, "# %s:%d: ", base != NULL ? base + 1 : file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    FUZZ_CHECK(text != NULL, "out of memory");
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* The shortest form of a code point; 0 when it has none. */
static size_t encode(uint32_t c, unsigned char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(lead[n] | c);
    return n;
}

long fuzz_utf8(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    long count = 0;

    for (size_t at = 0; at < size; count++) {
        size_t n = p[at] < 0x80 ? 1 : p[at] < 0xe0 ? 2 : p[at] < 0xf0 ? 3 : 4;
        uint32_t c = n == 1 ? p[at] : p[at] & (0xffU >> (n + 1));
        unsigned char again[4];

        if (n > size - at)
            return -1;
        for (size_t i = 1; i < n; i++)
            c = c << 6 | (p[at + i] & 0x3f);
        if (encode(c, again) != n || memcmp(again, p + at, n) != 0)
            return -1;
        at += n;
    }
    return count;
}

void fuzz_check_error(int rc, outbox_error *err)
{
    const char *name = outbox_error_name(err), *message = outbox_error_message(err);

    if (rc >= 0) {
        FUZZ_CHECK(err == NULL, "success with the error \"%s\"", message);
        return;
    }
    FUZZ_CHECK(err != NULL, "%s without an error", outbox_status_name(rc));
    FUZZ_CHECK(outbox_error_status(err) == rc, "returned %d, the error says %d", rc, outbox_error_status(err));
    FUZZ_CHECK(name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._")] == '\0',
               "the error's name is \"%s\"", name);
    FUZZ_CHECK(message[0] != '\0', "the error %s says nothing", name);
    FUZZ_CHECK(fuzz_utf8(message, strlen(message)) >= 0, "the message of %s is not UTF-8: %s", name, message);
    outbox_error_free(err);
}

int fuzz_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

#ifndef OUTBOX_LIBFUZZER

/* Beginnings are tried up to here; longer files count as a whole. */
#define PREFIX_MAX 4096
#define FILES_MAX 256

struct corpus {
    char folder[1024];
    char *names[FILES_MAX];
    size_t count;
};

static int (*test_one)(const uint8_t *data, size_t size);

/* Each input has a memory block of exactly its size, for whatever watches reads. */
static void run_input(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));

    FUZZ_CHECK(copy != NULL, "out of memory");
    if (size > 0)
        memcpy(copy, data, size);
    test_one(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(1 << 20);
    size_t size = file != NULL && data != NULL ? fread(data, 1, 1 << 20, file) : 0;

    if (file == NULL || data == NULL || ferror(file)) {
        fprintf(stderr, "# cannot read %s\n", path);
        return 2;
    }
    fclose(file);
    for (size_t n = 0; n < size && n < PREFIX_MAX; n++)
        run_input(data, n);
    run_input(data, size);
    free(data);
    return 0;
}

/* In a process of its own, so that each file that fails is seen. */
static void replay(const char *folder, const char *name)
{
    char path[1400];
    int status = -1, waited;
    pid_t pid;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    tap_begin("%s", name);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        exit(run_file(path));
    waited = pid > 0 && waitpid(pid, &status, 0) == pid;
    CHECK(waited && WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %x", (unsigned)status);
    tap_end();
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(struct corpus *c)
{
    DIR *directory = opendir(c->folder);
    const struct dirent *entry;

    while (directory != NULL && c->count < FILES_MAX && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && (c->names[c->count] = strdup(entry->d_name)) != NULL)
            c->count++;
    if (directory != NULL)
        closedir(directory);
    qsort(c->names, c->count, sizeof *c->names, by_name);
}

/* Libtool runs programs under the name "lt-NAME". */
static const char *name_of(const char *program)
{
    const char *base = strrchr(program, '/');

    base = base != NULL ? base + 1 : program;
    return strncmp(base, "lt-", 3) == 0 ? base + 3 : base;
}

int fuzz_replay(int argc, char **argv, int (*one)(const uint8_t *data, size_t size))
{
    static struct corpus corpus;
    const char *top = getenv("OUTBOX_SRCDIR");

    test_one = one;
    if (argc > 1)
        return run_file(argv[1]);
    snprintf(corpus.folder, sizeof corpus.folder, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name_of(argv[0]));
    list(&corpus);
    tap_begin("a corpus is there");
    CHECK(corpus.count > 0, "no file in %s", corpus.folder);
    tap_end();
    for (size_t i = 0; i < corpus.count; i++) {
        replay(corpus.folder, corpus.names[i]);
        free(corpus.names[i]);
    }
    return tap_finish();
}

#endif
