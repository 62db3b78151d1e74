/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What version() says on PostgreSQL and on those who call themselves so: none of them is taken for it. */
#include "relatives.h"

#include <criterion/criterion.h>

static const struct {
    const char *version, *name; /* NULL: PostgreSQL itself */
} cases[] = {
    { "PostgreSQL 15.20 (Debian 15.20-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit", NULL },
    { "PostgreSQL 13.23 on aarch64-unknown-linux-gnu, compiled by gcc (GCC) 9.5.0, 64-bit", NULL },
    { "PostgreSQL 18beta1 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit", NULL },
    { "PostgreSQL 17rc1 on x86_64-pc-linux-gnu", NULL },
    { "PostgreSQL 19devel on x86_64-pc-linux-gnu", NULL },
    { "PostgreSQL 16.1, compiled by Visual C++ build 1937, 64-bit", NULL },
    { "PostgreSQL 15.4 (EnterpriseDB Advanced Server 15.4.0) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit", NULL },
    { "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)", "CockroachDB" },
    { "PostgreSQL 11.2-YB-2.20.1.3-b0 on x86_64-pc-linux-gnu, compiled by clang version 16.0.6, 64-bit", "YugabyteDB" },
    { "PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang, 64-bit", "YugabyteDB" },
    { "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.46607",
      "Amazon Redshift" },
    { "PostgreSQL 9.4.26 (Greenplum Database 6.25.3 build commit:367edc6b) on x86_64-unknown-linux-gnu, compiled by gcc",
      "Greenplum" },
    { "PostgreSQL 14.4 (Apache Cloudberry 2.0.0 build dev) on x86_64-pc-linux-gnu, compiled by gcc", "Cloudberry" },
    { "PostgreSQL 9.5.0 on x86_64-unknown-linux-gnu (Materialize v0.26.1)", "Materialize" },
    { "PostgreSQL 13.14.0-RisingWave-2.0.0 (0)", "RisingWave" },
    { "PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB", "QuestDB" },
    { "CrateDB 5.4.2 (built 6d6ff3d/2023-10-16T07:50:20Z, Linux 5.15 amd64, OpenJDK 64-Bit Server VM 20.0.2+9)", "CrateDB" },
    { "(openGauss 3.0.0 build 02c14696) compiled at 2022-04-01 18:12:00 commit 0 last mr", "openGauss" },
    { "PostgreSQL 9.2.4 (GaussDB Kernel V500R002C00 build 1) compiled at 2022-01-01", "GaussDB" },
    { "PostgreSQL 10.6 (Postgres-XL 10r1.1) on x86_64-pc-linux-gnu", "Postgres-XL" },
    /* Nobody knows them, and nobody has proved anything of them. */
    { "PostgreSQL 15.2-NEW-1 on x86_64", "\"PostgreSQL 15.2-NEW-1 on x86_64\"" },
    { "SomethingElse 1.0", "\"SomethingElse 1.0\"" },
    { "PostgreSQL", "\"PostgreSQL\"" },
    { "", "\"\"" },
};

Test(relatives, are_told_from_postgresql)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[60] = "";
        int is = outbox_postgresql__relative(cases[i].version, name, sizeof(name));

        cr_expect_eq(is, cases[i].name != NULL, "%s: %d", cases[i].version, is);
        if (is && cases[i].name != NULL)
            cr_expect_str_eq(name, cases[i].name, "%s", cases[i].version);
    }
}
