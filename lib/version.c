/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <outbox/version.h>

const char *outbox_version(void)
{
    return OUTBOX_VERSION;
}

int outbox_version_number(void)
{
    return OUTBOX_VERSION_NUMBER;
}
