/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loadable modules: files outbox-KIND-NAME.so in the module folder. */
#ifndef OUTBOX_MODULE_H
#define OUTBOX_MODULE_H

#include <outbox/types.h>

/* Opens a module, for good, and finds its one symbol, outbox_KIND_NAME, with "_" for what a name in C has not.
 * OUTBOX_ERR_UNSUPPORTED when there is none, with a text that says what to install. Any thread. */
int outbox_module__find(const char *kind, const char *name, void **entry, outbox_error **err);

/* Whether there is a file of that name; it may be unusable all the same. Any thread. */
int outbox_module__installed(const char *kind, const char *name);

#endif
