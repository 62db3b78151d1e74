/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a server listens: HOST:PORT, [HOST]:PORT or unix:PATH. */
#ifndef OUTBOX_TOOLS_ADDRESS_H
#define OUTBOX_TOOLS_ADDRESS_H

#include <stddef.h>

/* What is wrong with how it is written, for people; NULL: nothing. Whether it can be reached is another matter. */
const char *address_fault(const char *where);

struct address {
    char host[256];
    const char *port; /* in where; digits, 0 to 65535 */
};

/* Takes HOST:PORT or [HOST]:PORT apart, in which address_fault() finds nothing. */
void address_split(const char *where, struct address *address);

#endif
