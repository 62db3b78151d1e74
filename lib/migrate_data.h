/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The SQL templates that the build puts into the library (build-aux/embed-migrations). */
#ifndef OUTBOX_MIGRATE_DATA_H
#define OUTBOX_MIGRATE_DATA_H

struct outbox__migration {
    const char *dialect; /* NULL ends the table */
    int number;
    const char *name;
    const char *sql; /* a template: the names in braces are not filled in */
};

/* All dialects', each in ascending order of number. */
extern const struct outbox__migration outbox__migrations[];

#endif
