/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the user says by the environment, where that chooses code, formats or secrets: a program with more rights than its
 * user must not take what the user names. */
#ifndef OUTBOX_ENVIRONMENT_H
#define OUTBOX_ENVIRONMENT_H

#include <stdlib.h>
#include <unistd.h>

/* NULL: not set, or not to be trusted. */
static inline const char *outbox_environment__getenv(const char *name)
{
#ifdef HAVE_SECURE_GETENV
    return secure_getenv(name);
#else
    return getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
#endif
}

#endif
