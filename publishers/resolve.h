/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses of a host, without waiting for a name server longer than one wants: getaddrinfo() cannot be told to end. */
#ifndef OUTBOX_PUBLISHERS_RESOLVE_H
#define OUTBOX_PUBLISHERS_RESOLVE_H

#include <stdatomic.h>
#include <stdint.h>

#include <netdb.h>

/*
 * Returns 0 and addresses for freeaddrinfo(); a code for gai_strerror(); EAI_AGAIN as well when the time, in milliseconds,
 * passed or *cancelled was set, which is seen within a tenth of a second. A name that takes longer is asked for to the end
 * by a thread that nobody waits for.
 */
int outbox_resolve(const char *host, const char *port, int64_t timeout_ms, atomic_int *cancelled,
                   struct addrinfo **list);

#endif
