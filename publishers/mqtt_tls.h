/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef OUTBOX_PUBLISHERS_MQTT_TLS_H
#define OUTBOX_PUBLISHERS_MQTT_TLS_H

#include <outbox/error.h>
#include <outbox/sys/publisher.h>

#include <openssl/ssl.h>

/* For connections to a host; NULL: a file cannot be used, or there is no memory. */
SSL_CTX *mqtt_tls_new(const outbox_target *target, const char *host);
/* Whether certificates and keys can be used; if not, err says so. */
int mqtt_tls_check(const outbox_target *target, outbox_error **err);

#endif
