/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which relative of PostgreSQL it is. That a position misses nothing is proved by PostgreSQL's own xids and snapshots; where
 * others only have functions of these names it could lose messages, and nobody would notice. So who is not known to be
 * PostgreSQL is not taken for it. */
#include "relatives.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* What stands in version() nowhere else. */
static const struct {
    const char *word, *name;
} relatives[] = {
    { "CockroachDB", "CockroachDB" }, { "-YB-", "YugabyteDB" },           { "Redshift", "Amazon Redshift" },
    { "Greenplum", "Greenplum" },     { "Cloudberry", "Cloudberry" },     { "Materialize", "Materialize" },
    { "RisingWave", "RisingWave" },   { "QuestDB", "QuestDB" },           { "CrateDB", "CrateDB" },
    { "openGauss", "openGauss" },     { "GaussDB", "GaussDB" },           { "Postgres-XL", "Postgres-XL" },
    { "Postgres-XC", "Postgres-XC" }, { "Vertica", "Vertica" },
};

/* "PostgreSQL 15.4 …", "PostgreSQL 17beta1 …"; what goes on after the number, like 11.2-YB-2.20, is somebody else's. */
static int is_postgresql(const char *version)
{
    static const char *const stages[] = { "devel", "beta", "rc" };
    const char *at = version + strlen("PostgreSQL ");
    size_t i;

    if (strncmp(version, "PostgreSQL ", strlen("PostgreSQL ")) != 0 || !isdigit((unsigned char)*at))
        return 0;
    at += strspn(at, "0123456789.");
    for (i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strncmp(at, stages[i], strlen(stages[i])) == 0) {
            at += strlen(stages[i]);
            at += strspn(at, "0123456789");
        }
    return *at == ' ' || *at == ',' || *at == '\0';
}

int outbox_postgresql__relative(const char *version, char *name, size_t size)
{
    size_t i;

    for (i = 0; i < sizeof(relatives) / sizeof(relatives[0]); i++)
        if (strstr(version, relatives[i].word) != NULL) {
            snprintf(name, size, "%s", relatives[i].name);
            return 1;
        }
    if (is_postgresql(version))
        return 0;
    snprintf(name, size, "\"%.40s\"", version);
    return 1;
}
