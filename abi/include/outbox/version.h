/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/version.h
 * The version that a program is compiled against, and the one that it runs with.
 *
 * @threads Any.
 */
#ifndef OUTBOX_VERSION_H
#define OUTBOX_VERSION_H

#include <outbox/types.h>

/** The first number of the version that a program is compiled against. Since 0.1. */
#define OUTBOX_VERSION_MAJOR 0
/** The second number. Since 0.1. */
#define OUTBOX_VERSION_MINOR 1
/** The third number. Since 0.1. */
#define OUTBOX_VERSION_PATCH 0
/** All of it, as text: "1.2.3". Since 0.1. */
#define OUTBOX_VERSION "0.1.0"

/** A version as one number that compares: 1.2.3 is 10203. Since 0.1. */
#define OUTBOX_VERSION_ENCODE(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))
/** All of it as one number, for #if. Since 0.1. */
#define OUTBOX_VERSION_NUMBER OUTBOX_VERSION_ENCODE(0, 1, 0)

OUTBOX_BEGIN_DECLS

/**
 * The version of the library at run time, which may be newer than OUTBOX_VERSION.
 *
 * @return "major.minor.patch"; static, never NULL. Since 0.1.
 */
OUTBOX_API const char *outbox_version(void);

/**
 * The same as a number, to be compared with OUTBOX_VERSION_ENCODE.
 *
 * @return major * 10000 + minor * 100 + patch. Since 0.1.
 */
OUTBOX_API int outbox_version_number(void);

OUTBOX_END_DECLS

#endif
