/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of drivers: a new one is one line here, its file, and its folder of migrations. The choices of the setting
 * `driver`, the declarations and the tests come from this. The generic one stands last: it takes what nobody else knows. */
#ifndef OUTBOX_DRIVER_TABLE_H
#define OUTBOX_DRIVER_TABLE_H

/* X(name): outbox_driver__<name> is defined in drivers/<name>.c */
#define OUTBOX_DRIVERS(X)                                                                                               \
    X(postgresql)                                                                                                       \
    X(sqlite)                                                                                                           \
    X(mariadb)                                                                                                          \
    X(firebird)                                                                                                         \
    X(sqlserver)                                                                                                        \
    X(oracle)                                                                                                           \
    X(db2)                                                                                                              \
    X(generic)

/* "auto|postgresql|…": choice N is driver N - 1. */
#define OUTBOX_DRIVER_CHOICE_(name) "|" #name
#define OUTBOX_DRIVER_CHOICES "auto" OUTBOX_DRIVERS(OUTBOX_DRIVER_CHOICE_)

#endif
