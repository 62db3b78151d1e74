/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "redis_link.h"
#include "resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define DEFAULT_PORT 6379
#define READ_SIZE 65536

int64_t redis_link_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- TLS ------------------------------------------------------------------------ */

static const char *tls_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

    return text != NULL ? text : "no reason given";
}

static int key_password(char *to, int size, int writing, void *user)
{
    const char *password = user;
    size_t length = password != NULL ? strlen(password) : 0;

    (void)writing;
    if (length == 0 || length >= (size_t)size)
        return 0;
    memcpy(to, password, length);
    return (int)length;
}

static int load_own(SSL_CTX *tls, const outbox_target *target)
{
    const char *cert = outbox_target_text(target, "tls.cert_file"), *key = outbox_target_text(target, "tls.key_file");

    SSL_CTX_set_default_passwd_cb(tls, key_password);
    SSL_CTX_set_default_passwd_cb_userdata(tls, (void *)(uintptr_t)outbox_target_secret(target, "tls.key_password"));
    if (cert[0] == '\0' && key[0] == '\0')
        return 1;
    return SSL_CTX_use_certificate_chain_file(tls, cert) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls, key[0] != '\0' ? key : cert, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_check_private_key(tls) == 1;
}

SSL_CTX *redis_link_tls(const outbox_target *target, outbox_error **err)
{
    const char *ca = outbox_target_text(target, "tls.ca_file"), *what = "tls.ca_file";
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    int ok = tls != NULL;

    ERR_clear_error();
    if (ok) {
        SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_verify(tls, outbox_target_number(target, "tls.verify") == 0 ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                           NULL);
        ok = ca[0] != '\0' ? SSL_CTX_load_verify_locations(tls, ca, NULL) == 1
                           : SSL_CTX_set_default_verify_paths(tls) == 1;
    }
    if (ok) {
        what = "tls.cert_file and tls.key_file";
        ok = load_own(tls, target);
    }
    if (ok)
        return tls;
    outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.redis_tls", "redis.%s: cannot be used: %s", what,
                        tls_reason());
    SSL_CTX_free(tls);
    return NULL;
}

static int tls_begin(struct redis_link *link, const outbox_target *target, SSL_CTX *tls, const char *host)
{
    const char *said = outbox_target_text(target, "tls.server_name"), *name = said[0] != '\0' ? said : host;
    X509_VERIFY_PARAM *param;
    unsigned char address[16];

    link->ssl = SSL_new(tls);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->fd) != 1)
        return 0;
    param = SSL_get0_param(link->ssl);
    SSL_set_connect_state(link->ssl);
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(link->ssl, name) == 1 && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

/* What an operation of TLS that returned n means: its n, 0 for later, -1 for never. */
static int tls_result(struct redis_link *link, int n)
{
    long verified;

    if (n > 0)
        return n;
    switch (SSL_get_error(link->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        link->wants = POLLIN;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        link->wants = POLLOUT;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        snprintf(link->why, sizeof(link->why), "the server closed the connection");
        return -1;
    default:
        verified = SSL_get_verify_result(link->ssl);
        snprintf(link->why, sizeof(link->why), "TLS: %s",
                 verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_reason());
        return -1;
    }
}

/* ---- Reading and writing ---------------------------------------------------------- */

static int socket_result(struct redis_link *link, ssize_t n)
{
    if (n > 0)
        return (int)n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    snprintf(link->why, sizeof(link->why), "%s", n == 0 ? "the server closed the connection" : strerror(errno));
    return -1;
}

static int link_read(struct redis_link *link, char *to, size_t size)
{
    if (link->ssl == NULL)
        return socket_result(link, recv(link->fd, to, size, 0));
    ERR_clear_error();
    return tls_result(link, SSL_read(link->ssl, to, (int)size));
}

static int link_write(struct redis_link *link, const char *from, size_t size)
{
    if (size > INT32_MAX / 2)
        size = INT32_MAX / 2;
    if (link->ssl == NULL)
        return socket_result(link, send(link->fd, from, size, MSG_NOSIGNAL));
    ERR_clear_error();
    return tls_result(link, SSL_write(link->ssl, from, (int)size));
}

/* 1: some went, 0: none could, -1: lost. */
static int write_some(struct redis_link *link)
{
    int n, moved = 0;

    while (link->from < link->to) {
        n = link_write(link, link->out + link->from, link->to - link->from);
        if (n <= 0)
            return n < 0 ? -1 : moved;
        link->from += (size_t)n;
        link->written += (uint64_t)n;
        moved = 1;
    }
    link->from = link->to = 0;
    return moved;
}

static int read_some(struct redis_link *link)
{
    char data[READ_SIZE];
    int n = link_read(link, data, sizeof(data));

    if (n > 0 && redisReaderFeed(link->reader, data, (size_t)n) != REDIS_OK) {
        snprintf(link->why, sizeof(link->why), "a reply could not be read: %s", link->reader->errstr);
        return -1;
    }
    return n;
}

static void drain(int fd)
{
    char bytes[64];

    while (read(fd, bytes, sizeof(bytes)) > 0)
        continue;
}

enum redis_step redis_link_step(struct redis_link *link, int64_t timeout_ms)
{
    struct pollfd fds[2] = { { link->fd, POLLIN, 0 }, { link->wake[0], POLLIN, 0 } };
    int wrote, got;

    if (link->no_memory) {
        snprintf(link->why, sizeof(link->why), "out of memory");
        return REDIS_LOST;
    }
    link->wants = 0;
    wrote = write_some(link);
    if (wrote < 0)
        return REDIS_LOST;
    if (link->wants != 0)
        fds[0].events |= link->wants;
    else if (link->from < link->to)
        fds[0].events |= POLLOUT;
    if (link->ssl != NULL && SSL_pending(link->ssl) > 0)
        timeout_ms = 0;
    if (timeout_ms < 0 || (wrote > 0 && link->from < link->to))
        timeout_ms = 0;
    if (poll(fds, 2, (int)timeout_ms) < 0 && errno != EINTR) {
        snprintf(link->why, sizeof(link->why), "poll: %s", strerror(errno));
        return REDIS_LOST;
    }
    if (link->cancelled) {
        drain(link->wake[0]);
        snprintf(link->why, sizeof(link->why), "the relay gave up waiting");
        return REDIS_CANCELLED;
    }
    got = read_some(link);
    if (got < 0)
        return REDIS_LOST;
    return got > 0 || wrote > 0 || (fds[0].revents & POLLOUT) != 0 ? REDIS_MOVED : REDIS_TIMEOUT;
}

int redis_link_reply(struct redis_link *link, redisReply **reply)
{
    void *got = NULL;

    *reply = NULL;
    if (redisReaderGetReply(link->reader, &got) != REDIS_OK) {
        snprintf(link->why, sizeof(link->why), "a reply could not be read: %s", link->reader->errstr);
        return 0;
    }
    *reply = got;
    return 1;
}

static int reserve(struct redis_link *link, size_t size)
{
    size_t room = link->room;
    char *out;

    if (link->to + size <= room)
        return 1;
    if (link->from > 0) {
        memmove(link->out, link->out + link->from, link->to - link->from);
        link->to -= link->from;
        link->from = 0;
    }
    if (link->to + size <= room)
        return 1;
    room = (link->to + size) * 3 / 2 + 4096;
    out = realloc(link->out, room);
    if (out == NULL) {
        link->no_memory = 1;
        return 0;
    }
    link->out = out;
    link->room = room;
    return 1;
}

static void put(struct redis_link *link, const void *data, size_t size)
{
    memcpy(link->out + link->to, data, size);
    link->to += size;
    link->queued += size;
}

static void put_count(struct redis_link *link, char mark, size_t n)
{
    char text[32], *p = text + sizeof(text);

    *--p = '\n';
    *--p = '\r';
    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    *--p = mark;
    put(link, p, (size_t)(text + sizeof(text) - p));
}

void redis_link_begin(struct redis_link *link, size_t n)
{
    if (reserve(link, 32))
        put_count(link, '*', n);
}

void redis_link_add(struct redis_link *link, const void *data, size_t size)
{
    if (!reserve(link, size + 40))
        return;
    put_count(link, '$', size);
    if (size > 0)
        put(link, data, size);
    put(link, "\r\n", 2);
}

/* ---- Connecting -------------------------------------------------------------------- */

static int set_flags(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

int redis_link_init(struct redis_link *link)
{
    memset(link, 0, sizeof(*link));
    link->fd = -1;
    if (pipe(link->wake) != 0) {
        link->wake[0] = link->wake[1] = -1;
        return 0;
    }
    return set_flags(link->wake[0]) && set_flags(link->wake[1]);
}

void redis_link_disconnect(struct redis_link *link)
{
    SSL_free(link->ssl);
    if (link->fd >= 0)
        close(link->fd);
    if (link->reader != NULL)
        redisReaderFree(link->reader);
    link->ssl = NULL;
    link->reader = NULL;
    link->fd = -1;
    link->from = link->to = 0;
    link->queued = link->written = 0;
    link->no_memory = 0;
}

void redis_link_free(struct redis_link *link)
{
    redis_link_disconnect(link);
    if (link->wake[0] >= 0) {
        close(link->wake[0]);
        close(link->wake[1]);
    }
    free(link->out);
}

void redis_link_wake(struct redis_link *link)
{
    link->cancelled = 1;
    while (write(link->wake[1], "", 1) < 0 && errno == EINTR)
        continue;
}

int redis_link_is_fit(const struct redis_link *link)
{
    struct pollfd fd = { link->fd, POLLIN, 0 };

    return link->fd >= 0 && poll(&fd, 1, 0) == 0;
}

/* Waits for the socket; 0: not in time, cancelled, or lost. */
static int wait_for(struct redis_link *link, short events, int64_t deadline)
{
    struct pollfd fds[2] = { { link->fd, events, 0 }, { link->wake[0], POLLIN, 0 } };

    for (;;) {
        int64_t left = deadline - redis_link_clock();

        if (link->cancelled) {
            snprintf(link->why, sizeof(link->why), "the relay gave up waiting");
            return 0;
        }
        if (left <= 0) {
            snprintf(link->why, sizeof(link->why), "no answer in time (redis.connect_timeout)");
            return 0;
        }
        if (poll(fds, 2, (int)left) > 0 && fds[0].revents != 0)
            return 1;
    }
}

static int connect_address(struct redis_link *link, int family, const struct sockaddr *address, socklen_t size,
                           int64_t deadline)
{
    int on = 1, error = 0;
    socklen_t length = sizeof(error);

    link->fd = socket(family, SOCK_STREAM, 0);
    if (link->fd < 0 || !set_flags(link->fd)) {
        snprintf(link->why, sizeof(link->why), "%s", strerror(errno));
        return 0;
    }
    if (family != AF_UNIX) {
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    if (connect(link->fd, address, size) == 0)
        return 1;
    if (errno != EINPROGRESS && errno != EAGAIN) {
        snprintf(link->why, sizeof(link->why), "%s", strerror(errno));
        return 0;
    }
    if (!wait_for(link, POLLOUT, deadline))
        return 0;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
        return 1;
    snprintf(link->why, sizeof(link->why), "%s", strerror(error));
    return 0;
}

static int connect_unix(struct redis_link *link, const char *path, int64_t deadline)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(link->why, sizeof(link->why), "the path of the socket is too long");
        return 0;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect_address(link, AF_UNIX, (const struct sockaddr *)&address, sizeof(address), deadline);
}

static int connect_host(struct redis_link *link, const outbox_endpoint *endpoint, int64_t deadline)
{
    struct addrinfo *list = NULL, *a;
    const char *host = endpoint->host[0] != '\0' ? endpoint->host : "localhost";
    char port[8];
    int rc, connected = 0;

    snprintf(port, sizeof(port), "%d", endpoint->port != 0 ? endpoint->port : DEFAULT_PORT);
    rc = outbox_resolve(host, port, deadline - redis_link_clock(), &link->cancelled, &list);
    if (rc != 0) {
        snprintf(link->why, sizeof(link->why), "%s", gai_strerror(rc));
        return 0;
    }
    for (a = list; a != NULL && !connected && !link->cancelled; a = a->ai_next) {
        redis_link_disconnect(link);
        connected = connect_address(link, a->ai_family, a->ai_addr, a->ai_addrlen, deadline);
    }
    freeaddrinfo(list);
    return connected;
}

static int shake_hands(struct redis_link *link, int64_t deadline)
{
    int n;

    for (;;) {
        link->wants = 0;
        ERR_clear_error();
        n = tls_result(link, SSL_do_handshake(link->ssl));
        if (n != 0)
            return n > 0;
        if (!wait_for(link, link->wants, deadline))
            return 0;
    }
}

static void add_text(struct redis_link *link, const char *text)
{
    redis_link_add(link, text, strlen(text));
}

/* Says who we are and which database is meant; *said is how many replies will come. */
static void introduce(struct redis_link *link, const outbox_target *target, int *said)
{
    const char *user = outbox_target_secret(target, "user"), *password = outbox_target_secret(target, "password");
    const char *database = outbox_target_path(target);

    *said = 1;
    if (password != NULL) {
        redis_link_begin(link, user != NULL ? 3 : 2);
        add_text(link, "AUTH");
        if (user != NULL)
            add_text(link, user);
        add_text(link, password);
        ++*said;
    }
    if (database[0] != '\0') {
        redis_link_begin(link, 2);
        add_text(link, "SELECT");
        add_text(link, database);
        ++*said;
    }
    /* Answered by any server that lets us in, and by none that does not. */
    redis_link_begin(link, 1);
    add_text(link, "PING");
}

static int log_in(struct redis_link *link, const outbox_target *target, int64_t deadline)
{
    redisReply *reply;
    int said;

    introduce(link, target, &said);
    while (said > 0) {
        int64_t left = deadline - redis_link_clock();
        enum redis_step step = left > 0 ? redis_link_step(link, left) : REDIS_TIMEOUT;

        if (left <= 0)
            snprintf(link->why, sizeof(link->why), "no answer in time (redis.connect_timeout)");
        if (left <= 0 || step == REDIS_LOST || step == REDIS_CANCELLED)
            return 0;
        while (said > 0 && redis_link_reply(link, &reply) && reply != NULL) {
            /* NOPERM is for a PING that the user may not send: it is let in all the same. */
            int refused = reply->type == REDIS_REPLY_ERROR && !(said == 1 && strncmp(reply->str, "NOPERM", 6) == 0);

            if (refused)
                snprintf(link->why, sizeof(link->why), "%s", reply->str);
            freeReplyObject(reply);
            if (refused)
                return 0;
            said--;
        }
        if (link->reader->err != 0)
            return 0;
    }
    return 1;
}

static int connect_endpoint(struct redis_link *link, const outbox_target *target, SSL_CTX *tls,
                            const outbox_endpoint *endpoint)
{
    int64_t deadline = redis_link_clock() + outbox_target_number(target, "connect_timeout") / 1000;

    redis_link_disconnect(link);
    if (endpoint->host[0] == '/' ? !connect_unix(link, endpoint->host, deadline) : !connect_host(link, endpoint, deadline))
        return 0;
    link->reader = redisReaderCreate();
    if (link->reader == NULL) {
        snprintf(link->why, sizeof(link->why), "out of memory");
        return 0;
    }
    if (tls != NULL) {
        snprintf(link->why, sizeof(link->why), "TLS: %s", "it cannot be set up");
        if (!tls_begin(link, target, tls, endpoint->host) || !shake_hands(link, deadline))
            return 0;
    }
    return log_in(link, target, deadline);
}

enum redis_step redis_link_connect(struct redis_link *link, const outbox_target *target, SSL_CTX *tls, unsigned *turn)
{
    size_t count, i;
    const outbox_endpoint *endpoints = outbox_target_endpoints(target, &count);

    for (i = 0; i < count && !link->cancelled; i++) {
        if (connect_endpoint(link, target, tls, &endpoints[(*turn + i) % count])) {
            *turn += (unsigned)i;
            return REDIS_MOVED;
        }
    }
    redis_link_disconnect(link);
    return link->cancelled ? REDIS_CANCELLED : REDIS_LOST;
}
