/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may ask for the status page: a name that a name server could have made up gets nothing, and nothing changes
 * without the token. Lines of the input: where it listens, hosts, the token, and of the request Host, Origin,
 * Sec-Fetch-Site and Authorization; "-": there is none.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../tools/daemon_guard.h"
#include "fuzz/fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum line { LISTEN, HOSTS, TOKEN, HOST, ORIGIN, SITE, AUTHORIZATION, LINES };

static const char *find_header(void *user, const char *name)
{
    static const char *const names[] = {"Host", "Origin", "Sec-Fetch-Site", "Authorization"};
    char *const *lines = user;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return lines[HOST + i];
    return NULL;
}

/* The name in HOST, HOST:PORT, [HOST] or [HOST]:PORT, read from its end; NULL: it is none of these. Free it. */
static char *name_in(const char *text)
{
    char *name = strdup(text);
    size_t size, digits, first;

    FUZZ_CHECK(name != NULL, "out of memory");
    for (size = digits = strlen(name); digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9'; digits--)
        continue;
    if (digits > 0 && name[digits - 1] == ':')
        name[size = digits - 1] = '\0';
    first = name[0] == '[';
    if (first && (size < 3 || name[--size] != ']'))
        size = 0;
    name[size] = '\0';
    size -= size > 0 ? first : 0;
    if (size == 0 || size > 255 || strchr(name + first, first ? ']' : ':') != NULL) {
        free(name);
        return NULL;
    }
    memmove(name, name + first, size + 1);
    return name;
}

static bool is_listed(const char *list, const char *name)
{
    char *copy = strdup(list), *save = NULL;
    bool found = false;

    FUZZ_CHECK(copy != NULL, "out of memory");
    for (char *one = strtok_r(copy, " ,\t", &save); one != NULL; one = strtok_r(NULL, " ,\t", &save))
        found |= strcasecmp(one, name) == 0;
    free(copy);
    return found;
}

/* 0: a stranger's; 1: of `hosts`; 2: ours, which no name server leads to us by. */
static int whose(char *const *lines)
{
    char *name = lines[HOST] != NULL ? name_in(lines[HOST]) : NULL;
    char *own = lines[LISTEN] != NULL && strncmp(lines[LISTEN], "unix:", 5) != 0 ? name_in(lines[LISTEN]) : NULL;
    struct in6_addr address;
    int is = 0;

    if (name != NULL && (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1 ||
                         strcasecmp(name, "localhost") == 0 || (own != NULL && strcasecmp(own, name) == 0)))
        is = 2;
    else if (name != NULL && lines[HOSTS] != NULL && is_listed(lines[HOSTS], name))
        is = 1;
    free(own);
    free(name);
    return is;
}

static bool has_token(char *const *lines)
{
    const char *given = lines[AUTHORIZATION];

    return lines[TOKEN] != NULL && given != NULL && strncasecmp(given, "Bearer ", 7) == 0 &&
           strcmp(given + 7, lines[TOKEN]) == 0;
}

static bool is_own_page(char *const *lines)
{
    const char *origin = lines[ORIGIN], *site = lines[SITE];
    const char *name = origin == NULL ? lines[HOST] : NULL;

    if (origin != NULL && (strncmp(origin, "http:", 5) == 0 || strncmp(origin, "https:", 6) == 0))
        name = strstr(origin, "://");
    return name != NULL && (origin == NULL || strcasecmp(name + 3, lines[HOST]) == 0) &&
           (site == NULL || strcmp(site, "none") == 0 || strcmp(site, "same-origin") == 0);
}

static void check(const struct daemon_guard *guard, char **lines, bool local, bool change)
{
    int is = whose(lines);
    const char *why = NULL;
    unsigned status = daemon_guard_check(guard, local, change, find_header, lines, &why);
    bool open = local && !change && is == 2, page = is != 0 && is_own_page(lines);
    unsigned want = !page ? 403 : open || has_token(lines) ? 200 : lines[TOKEN] != NULL ? 401 : 403;

    FUZZ_CHECK(status == want, "%u, not %u, for %s", status, want, lines[HOST] != NULL ? lines[HOST] : "no name");
    FUZZ_CHECK((status == 200) == (why == NULL), "%u and %s", status, why != NULL ? why : "no reason");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = fuzz_text(data, size), *at = input, *lines[LINES] = { NULL };
    struct cli_server server = { .listen = NULL };
    struct daemon_guard guard = { .ready = false };
    const char *why = NULL;
    bool knows;

    for (size_t i = 0; i < LINES; i++) {
        lines[i] = strsep(&at, "\n");
        if (lines[i] != NULL && strcmp(lines[i], "-") == 0)
            lines[i] = NULL;
    }
    server.listen = lines[LISTEN];
    server.hosts = lines[HOSTS];
    server.admin_token = lines[TOKEN];
    FUZZ_CHECK(!daemon_guard_knows(&guard, "127.0.0.1", &why), "one that is not made lets somebody in");
    FUZZ_CHECK(daemon_guard_make(&guard, &server), "out of memory");
    why = NULL;
    knows = daemon_guard_knows(&guard, lines[HOST], &why);
    FUZZ_CHECK(knows == (lines[HOST] == NULL || whose(lines) != 0), "%s is %s",
               lines[HOST] != NULL ? lines[HOST] : "none", knows ? "known" : "strange");
    FUZZ_CHECK(knows == (why == NULL), "no reason");
    for (int way = 0; way < 4; way++)
        check(&guard, lines, way & 1, way & 2);
    daemon_guard_free(&guard);
    free(input);
    return 0;
}
