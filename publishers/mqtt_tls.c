/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS for the publisher for MQTT: certificates, keys and names. */
#include "mqtt_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static int key_password(char *to, int size, int writing, void *arg)
{
    const char *password = outbox_target_secret(arg, "tls.key_password");
    size_t length = password != NULL ? strlen(password) : 0;

    (void)writing;
    if (length == 0 || length >= (size_t)size)
        return 0;
    memcpy(to, password, length);
    return (int)length;
}

/* Whom to trust, and who we are. libmosquitto's own way knows no other name than the host's, and no key with a password. */
SSL_CTX *mqtt_tls_new(const outbox_target *target, const char *host)
{
    const char *ca = outbox_target_text(target, "tls.ca_file"), *name = outbox_target_text(target, "tls.server_name");
    const char *cert = outbox_target_text(target, "tls.cert_file"), *key = outbox_target_text(target, "tls.key_file");
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    X509_VERIFY_PARAM *param = tls != NULL ? SSL_CTX_get0_param(tls) : NULL;
    int ok = tls != NULL && SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1;

    if (ok)
        ok = ca[0] != '\0' ? SSL_CTX_load_verify_locations(tls, ca, NULL) == 1
                           : SSL_CTX_set_default_verify_paths(tls) == 1;
    if (ok && cert[0] != '\0') {
        SSL_CTX_set_default_passwd_cb(tls, key_password);
        SSL_CTX_set_default_passwd_cb_userdata(tls, (void *)(uintptr_t)target);
        ok = SSL_CTX_use_certificate_chain_file(tls, cert) == 1 &&
             SSL_CTX_use_PrivateKey_file(tls, key[0] != '\0' ? key : cert, SSL_FILETYPE_PEM) == 1;
    }
    if (ok && outbox_target_number(target, "tls.verify") == 0) {
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
        name = name[0] != '\0' ? name : host;
        ok = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
    }
    if (ok)
        return tls;
    SSL_CTX_free(tls);
    return NULL;
}

/* Files that cannot be read are found now, and not with the first message. */
int mqtt_tls_check(const outbox_target *target, outbox_error **err)
{
    SSL_CTX *tls;
    char why[200];

    if (!outbox_target_is(target, "mqtts"))
        return OUTBOX_OK;
    tls = mqtt_tls_new(target, "localhost");
    if (tls != NULL) {
        SSL_CTX_free(tls);
        return OUTBOX_OK;
    }
    ERR_error_string_n(ERR_peek_last_error(), why, sizeof(why));
    ERR_clear_error();
    return outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.mqtt_settings",
                               "mqtt.tls.ca_file, cert_file, key_file or key_password cannot be used: %s", why);
}
