/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds modules: in the folders of $OUTBOX_MODULE_PATH, then where `make install` puts them. */
#include "module.h"
#include "environment.h"
#include "error_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether a file is in the folder; its path then. */
static int in_folder(const char *folder, size_t length, const char *file, char *path, size_t size)
{
    int n = snprintf(path, size, "%.*s/%s", (int)length, folder, file);

    return length > 0 && n > 0 && (size_t)n < size && access(path, R_OK) == 0;
}

static int search(const char *file, char *path, size_t size)
{
    const char *folders = outbox_environment__getenv("OUTBOX_MODULE_PATH");

    while (folders != NULL) {
        const char *colon = strchr(folders, ':');
        size_t length = colon != NULL ? (size_t)(colon - folders) : strlen(folders);

        if (in_folder(folders, length, file, path, size))
            return 1;
        folders = colon != NULL ? colon + 1 : NULL;
    }
    return in_folder(OUTBOX_MODULE_DIR, strlen(OUTBOX_MODULE_DIR), file, path, size);
}

static void name_file(const char *kind, const char *name, char *file, size_t size)
{
    snprintf(file, size, "outbox-%s-%s.so", kind, name);
}

/* In C there is no "+", "-" or "." in a name. */
static void name_symbol(const char *kind, const char *name, char *symbol, size_t size)
{
    char *p;

    snprintf(symbol, size, "outbox_%s_%s", kind, name);
    for (p = symbol; *p != '\0'; p++)
        if (*p == '+' || *p == '-' || *p == '.')
            *p = '_';
}

int outbox_module__installed(const char *kind, const char *name)
{
    char file[80], path[1024];

    name_file(kind, name, file, sizeof(file));
    return search(file, path, sizeof(path));
}

int outbox_module__find(const char *kind, const char *name, void **entry, outbox_error **err)
{
    char file[80], symbol[80], path[1024];
    void *module;

    name_file(kind, name, file, sizeof(file));
    name_symbol(kind, name, symbol, sizeof(symbol));
    if (!search(file, path, sizeof(path)))
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "module.missing",
                                 "the module %s is not installed: install the package liboutbox-%s-%s", file, kind, name);
    /* Never closed: what it left with other libraries, such as thread-local data, must stay callable. */
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (module == NULL)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "module.unusable", "cannot load %s: %s", path, dlerror());
    *entry = dlsym(module, symbol);
    if (*entry == NULL)
        return outbox_error__set(err, OUTBOX_ERR_UNSUPPORTED, "module.unusable", "%s has no function %s: it is no module of "
                                 "liboutbox", path, symbol);
    return OUTBOX_OK;
}
