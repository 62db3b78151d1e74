/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords: wiped before their memory is freed, and in what drivers and driver managers say: overwritten with '*', in
 * place. */
#ifndef OUTBOX_SECRETS_H
#define OUTBOX_SECRETS_H

/* What stands behind PWD=, Password= and the like, in connection strings, libpq's words and URIs. Rather too much. */
void outbox_secrets__hide(char *text);

/* Those of this connection string too, wherever they stand: libpq quotes pieces of what it cannot read. */
void outbox_secrets__hide_known(char *text, const char *connection_string);

/* Overwrites a text and frees it; NULL is fine. */
void outbox_secrets__free(char *text);

#endif
