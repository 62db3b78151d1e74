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

/*
 * For client libraries that ask by themselves, and cannot be told to end: asks first, and hands over the name only once the
 * name server answers. It is asked again then, a moment later; one that does not answer that is waited for as long as the
 * system's resolver does. NULL, or why there is no address.
 */
const char *outbox_resolve_first(const char *host, int64_t timeout_ms, atomic_int *cancelled);

#endif
