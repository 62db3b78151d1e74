/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a driver; table.h names them all. */
#include "driver.h"

#include <string.h>

static const struct outbox_driver *const drivers[] = {
#define ADDRESS_(name) &outbox_driver__##name,
    OUTBOX_DRIVERS(ADDRESS_)
#undef ADDRESS_
};

#define COUNT (sizeof(drivers) / sizeof(drivers[0]))

const struct outbox_driver *outbox_driver__at(size_t index)
{
    return index < COUNT ? drivers[index] : NULL;
}

const struct outbox_driver *outbox_driver__find(const char *name)
{
    size_t i;

    for (i = 0; i < COUNT; i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

const struct outbox_driver *outbox_driver__of_dbms(const char *dbms)
{
    const char *const *start;
    size_t i;

    for (i = 0; i < COUNT; i++)
        for (start = drivers[i]->dbms; *start != NULL; start++)
            if (strncmp(dbms, *start, strlen(*start)) == 0)
                return drivers[i];
    return &outbox_driver__generic;
}

const struct outbox_connect *outbox_driver__connect(const char *file)
{
    const char *name = strrchr(file, '/');
    size_t i;

    name = name != NULL ? name + 1 : file;
    for (i = 0; i < COUNT; i++)
        if (drivers[i]->connect != NULL && strstr(name, drivers[i]->connect->library) != NULL)
            return drivers[i]->connect;
    return NULL;
}

const char *outbox_driver__sql(const struct outbox_driver *driver, enum outbox_query query)
{
    return driver->sql[query] != NULL ? driver->sql[query] : outbox_driver__generic.sql[query];
}
