/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to RabbitMQ: hosts in turn, TLS, login, a channel that confirms.
 *
 * Connecting is bounded by amqp.connect_timeout for each step, a name's address among them (resolve.h). There is
 * no backoff here: a link that cannot connect answers OUTBOX_UNAVAILABLE, and the relay then tries one message at a
 * time, after waits that double. */
#include "rabbitmq.h"
#include "resolve.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char *text(const struct rabbitmq_link *link, const char *key)
{
    return outbox_target_text(link->owner->target, key);
}

static int use_tls(const struct rabbitmq_link *link)
{
    return outbox_target_is(link->owner->target, "amqps");
}

void rabbitmq_link_trouble(struct rabbitmq_link *link, const char *what, int status)
{
    snprintf(link->why, sizeof(link->why), "%s: %s", what, amqp_error_string2(status));
}

/* Notes what the server said when it closed connection or channel, else what the library says. 1: success. */
static int is_fine(struct rabbitmq_link *link, const char *what, amqp_rpc_reply_t reply)
{
    const amqp_connection_close_t *close = reply.reply.decoded;

    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return 1;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && close != NULL &&
        (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD || reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD))
        /* Both begin alike: code and text. */
        snprintf(link->why, sizeof(link->why), "%s: %d %.*s", what, close->reply_code, (int)close->reply_text.len,
                 (const char *)close->reply_text.bytes);
    else
        rabbitmq_link_trouble(link, what, reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION
                                              ? reply.library_error : AMQP_STATUS_CONNECTION_CLOSED);
    return 0;
}

static void set_fd(struct rabbitmq_link *link, int fd)
{
    pthread_mutex_lock(&link->owner->lock);
    link->fd = fd;
    pthread_mutex_unlock(&link->owner->lock);
}

void rabbitmq_link_drop(struct rabbitmq_link *link)
{
    if (link->conn == NULL)
        return;
    set_fd(link, -1);
    amqp_destroy_connection(link->conn);
    link->conn = NULL;
    link->open = 0;
    link->tag = 0;
}

/* ---- TLS ---- */

/* librabbitmq knows neither the system's certificates nor another name than the host's; OpenSSL does. */
static int set_trust(struct rabbitmq_link *link, amqp_socket_t *socket, int *status)
{
    SSL_CTX *ctx = amqp_ssl_socket_get_context(socket);
    const char *name = text(link, "tls.server_name"), *ca = text(link, "tls.ca_file");

    *status = AMQP_STATUS_SSL_ERROR;
    if (ca[0] != '\0')
        *status = amqp_ssl_socket_set_cacert(socket, ca);
    else if (SSL_CTX_set_default_verify_paths(ctx) == 1)
        *status = AMQP_STATUS_OK;
    if (*status == AMQP_STATUS_OK && name[0] != '\0') {
        amqp_ssl_socket_set_verify_hostname(socket, 0);
        if (X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(ctx), name, 0) != 1)
            *status = AMQP_STATUS_NO_MEMORY;
    }
    return *status == AMQP_STATUS_OK;
}

/* Also checks the files. */
static int set_tls(struct rabbitmq_link *link, amqp_socket_t *socket)
{
    int verify = strcmp(text(link, "tls.verify"), "off") != 0, status = AMQP_STATUS_OK;
    const char *cert = text(link, "tls.cert_file"), *key = text(link, "tls.key_file");
    const char *password = outbox_target_secret(link->owner->target, "tls.key_password");

    amqp_ssl_socket_set_verify_peer(socket, (amqp_boolean_t)verify);
    amqp_ssl_socket_set_verify_hostname(socket, (amqp_boolean_t)verify);
    if (verify && !set_trust(link, socket, &status)) {
        rabbitmq_link_trouble(link, "amqp.tls.ca_file", status);
        return 0;
    }
    if (password != NULL)
        amqp_ssl_socket_set_key_passwd(socket, password);
    if (cert[0] != '\0')
        status = amqp_ssl_socket_set_key(socket, cert, key[0] != '\0' ? key : cert);
    if (status != AMQP_STATUS_OK)
        rabbitmq_link_trouble(link, "amqp.tls.cert_file and amqp.tls.key_file", status);
    return status == AMQP_STATUS_OK;
}

static amqp_socket_t *make_socket(struct rabbitmq_link *link)
{
    amqp_socket_t *socket = NULL;

    link->conn = amqp_new_connection();
    if (link->conn != NULL)
        socket = use_tls(link) ? amqp_ssl_socket_new(link->conn) : amqp_tcp_socket_new(link->conn);
    if (socket == NULL)
        rabbitmq_link_trouble(link, "cannot make a connection", AMQP_STATUS_NO_MEMORY);
    else if (use_tls(link) && !set_tls(link, socket))
        socket = NULL;
    return socket;
}

int rabbitmq_link_check(const outbox_target *target, outbox_error **err)
{
    struct rabbitmq owner = { .target = target };
    struct rabbitmq_link link = { .owner = &owner, .fd = -1 };
    int fine;

    pthread_mutex_init(&owner.lock, NULL);
    fine = make_socket(&link) != NULL;
    rabbitmq_link_drop(&link);
    pthread_mutex_destroy(&owner.lock);
    return fine ? OUTBOX_OK : outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.amqp_conf", "%s", link.why);
}

/* ---- connecting ---- */

/* A connection that waits for work is not read: the server's heartbeats would end it. The system's do not. */
static void set_keepalive(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 30 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 10 },
        { IPPROTO_TCP, TCP_KEEPCNT, 3 },
        { IPPROTO_TCP, TCP_USER_TIMEOUT, 60000 },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static int login(struct rabbitmq_link *link)
{
    const outbox_target *t = link->owner->target;
    const char *user = outbox_target_secret(t, "user"), *password = outbox_target_secret(t, "password");
    const char *vhost = outbox_target_path(t);
    amqp_rpc_reply_t reply;

    vhost = vhost[0] != '\0' ? vhost : "/";
    if (strcmp(text(link, "auth"), "external") == 0)
        /* RabbitMQ looks at the certificate only; librabbitmq takes an empty name for a lack of memory. */
        reply = amqp_login(link->conn, vhost, 0, RABBITMQ_FRAME_MAX, 0, AMQP_SASL_METHOD_EXTERNAL,
                           user != NULL && user[0] != '\0' ? user : "outbox");
    else
        reply = amqp_login(link->conn, vhost, 0, RABBITMQ_FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN,
                           user != NULL ? user : "guest", password != NULL ? password : user != NULL ? "" : "guest");
    return is_fine(link, "RabbitMQ refused the login", reply);
}

static int connect_to(struct rabbitmq_link *link, const outbox_endpoint *at, atomic_int *cancelled)
{
    struct timeval limit = { .tv_sec = (time_t)(link->owner->timeout / 1000000),
                             .tv_usec = (suseconds_t)(link->owner->timeout % 1000000) };
    const char *host = at->host[0] != '\0' ? at->host : "localhost";
    int port = at->port != 0 ? at->port : use_tls(link) ? 5671 : 5672;
    const char *unknown = outbox_resolve_first(host, link->owner->timeout / 1000, cancelled);
    amqp_socket_t *socket = unknown == NULL ? make_socket(link) : NULL;
    char what[300];
    int status;

    if (unknown != NULL)
        snprintf(link->why, sizeof(link->why), "cannot connect to %.250s, port %d: %s", host, port, unknown);
    if (socket == NULL)
        return 0;
    amqp_set_handshake_timeout(link->conn, &limit);
    amqp_set_rpc_timeout(link->conn, &limit);
    status = amqp_socket_open_noblock(socket, host, port, &limit);
    if (status != AMQP_STATUS_OK) {
        snprintf(what, sizeof(what), "cannot connect to %.250s, port %d", host, port);
        rabbitmq_link_trouble(link, what, status);
        return 0;
    }
    set_fd(link, amqp_get_sockfd(link->conn));
    set_keepalive(link->fd);
    return login(link);
}

/* One that nobody reads may have ended meanwhile, and have frames that say so. */
static int is_alive(struct rabbitmq_link *link)
{
    struct timeval now = { 0, 0 };
    amqp_frame_t frame;

    if (link->conn == NULL)
        return 0;
    return amqp_simple_wait_frame_noblock(link->conn, &frame, &now) == AMQP_STATUS_TIMEOUT;
}

int rabbitmq_link_connect(struct rabbitmq_link *link, atomic_int *cancelled)
{
    struct rabbitmq *r = link->owner;
    size_t count, first;
    const outbox_endpoint *at = outbox_target_endpoints(r->target, &count);

    if (is_alive(link))
        return 1;
    pthread_mutex_lock(&r->lock);
    first = r->turn;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < count && !*cancelled; i++) {
        rabbitmq_link_drop(link);
        if (!connect_to(link, &at[(first + i) % count], cancelled))
            continue;
        pthread_mutex_lock(&r->lock);
        r->turn = (first + i) % count;
        pthread_mutex_unlock(&r->lock);
        return 1;
    }
    rabbitmq_link_drop(link);
    return 0;
}

/* An exchange that is not there would close the channel at the first message: so it is asked for. */
int rabbitmq_link_channel(struct rabbitmq_link *link)
{
    const char *exchange = text(link, "exchange");

    if (link->open)
        return 1;
    link->tag = 0;
    amqp_channel_open(link->conn, RABBITMQ_CHANNEL);
    if (!is_fine(link, "RabbitMQ opens no channel", amqp_get_rpc_reply(link->conn)))
        return 0;
    if (exchange[0] != '\0') {
        amqp_exchange_declare(link->conn, RABBITMQ_CHANNEL, amqp_cstring_bytes(exchange), amqp_cstring_bytes("direct"),
                              1, 0, 0, 0, amqp_empty_table);
        if (!is_fine(link, "the exchange of amqp.exchange", amqp_get_rpc_reply(link->conn)))
            return 0;
    }
    amqp_confirm_select(link->conn, RABBITMQ_CHANNEL);
    if (!is_fine(link, "RabbitMQ confirms nothing", amqp_get_rpc_reply(link->conn)))
        return 0;
    amqp_maybe_release_buffers(link->conn);
    link->open = 1;
    return 1;
}

struct rabbitmq_link *rabbitmq_link_new(struct rabbitmq *r, outbox_error **err)
{
    static const outbox_envelope_style style = {
        .size = sizeof(style),
        .native = OUTBOX_META_BIT(OUTBOX_META_ID) | OUTBOX_META_BIT(OUTBOX_META_CONTENT_TYPE) |
                  OUTBOX_META_BIT(OUTBOX_META_TYPE),
        .cloudevents = "cloudEvents:",
    };
    struct rabbitmq_link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.amqp", "out of memory");
        return NULL;
    }
    link->owner = r;
    link->fd = -1;
    if (outbox_envelope_new(r->target, &style, &link->envelope, err) != OUTBOX_OK) {
        free(link);
        return NULL;
    }
    return link;
}

void rabbitmq_link_free(struct rabbitmq_link *link)
{
    rabbitmq_link_drop(link);
    outbox_envelope_free(link->envelope);
    free(link);
}
