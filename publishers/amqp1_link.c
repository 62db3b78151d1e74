/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections by AMQP 1.0: a socket that never blocks, and qpid-proton's engine, which makes bytes of what is sent, and
 * events of bytes. TLS and SASL are the engine's, too. It has no threads, and nothing here waits for longer than asked.
 * Nothing of the engine is shared by two connections: it counts its users without a lock. */
#include "amqp1.h"
#include "resolve.h"

#include <proton/event.h>
#include <proton/logger.h>
#include <proton/sasl.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT "5672"
#define TLS_PORT "5671"
/* Addresses that a connection keeps ready. Peers allow a few hundred at least. */
#define SENDERS_MAX 100

/* ---- TLS ---- */

/* The library prints nothing; what went wrong is in a condition, too. */
static void say_nothing(intptr_t context, pn_log_subsystem_t subsystem, pn_log_level_t level, const char *text)
{
    (void)context, (void)subsystem, (void)level, (void)text;
}

static int set_up_tls(pn_ssl_domain_t *tls, const outbox_target *target, const char **what)
{
    const char *ca = outbox_target_text(target, "tls.ca_file"), *cert = outbox_target_text(target, "tls.cert_file");
    const char *key = outbox_target_text(target, "tls.key_file");
    int verify = outbox_target_number(target, "tls.verify") == 0;

    *what = "tls.ca_file";
    if (ca[0] != '\0' && (access(ca, R_OK) != 0 || pn_ssl_domain_set_trusted_ca_db(tls, ca) != 0))
        return 0;
    if (pn_ssl_domain_set_peer_authentication(tls, verify ? PN_SSL_VERIFY_PEER_NAME : PN_SSL_ANONYMOUS_PEER,
                                              NULL) != 0)
        return 0;
    *what = "tls.cert_file and tls.key_file";
    if (cert[0] == '\0' && key[0] == '\0')
        return 1;
    key = key[0] != '\0' ? key : cert;
    return access(cert, R_OK) == 0 && access(key, R_OK) == 0 &&
           pn_ssl_domain_set_credentials(tls, cert, key, outbox_target_secret(target, "tls.key_password")) == 0;
}

/* NULL: what cannot be used. */
static pn_ssl_domain_t *make_tls(const outbox_target *target, const char **what)
{
    pn_ssl_domain_t *tls = pn_ssl_domain(PN_SSL_MODE_CLIENT);

    *what = "tls.ca_file";
    if (tls != NULL && set_up_tls(tls, target, what))
        return tls;
    if (tls != NULL)
        pn_ssl_domain_free(tls);
    return NULL;
}

int amqp1_link_check_tls(const outbox_target *target, outbox_error **err)
{
    const char *what;
    pn_ssl_domain_t *tls;

    /* There is no connection yet whose logger could be silenced. */
    pn_logger_reset_mask(pn_default_logger(), PN_SUBSYSTEM_SSL, PN_LEVEL_CRITICAL | PN_LEVEL_ERROR);
    tls = make_tls(target, &what);
    if (tls == NULL)
        return outbox_error_format(err, OUTBOX_ERR_CONF, "publisher.amqp1_tls",
                                   "amqp1.%s: cannot be read, or is no certificate and key in PEM form that belong "
                                   "together", what);
    pn_ssl_domain_free(tls);
    return OUTBOX_OK;
}

/* ---- Senders ---- */

/* Ends the link; the session stays, and belongs to nobody. */
static pn_session_t *sender_detach(struct amqp1_link *link, struct amqp1_sender *s)
{
    pn_session_t *session = s->session;
    struct amqp1_sender **at;

    for (at = &link->senders; *at != s; at = &(*at)->next)
        continue;
    *at = s->next;
    link->sender_count--;
    pn_link_set_context(s->link, NULL);
    pn_session_set_context(session, NULL);
    pn_link_close(s->link);
    pn_link_free(s->link);
    free(s->address);
    free(s);
    return session;
}

static void sender_free(struct amqp1_link *link, struct amqp1_sender *s)
{
    pn_session_t *session = sender_detach(link, s);

    pn_session_close(session);
    pn_session_free(session);
}

/* The session of the one that was not used for longest, and has nothing on its way. It is used again instead of being
 * ended: the engine gives a channel to the next session as soon as it has said that this one ends, and what the peer
 * still sends there, the end above all, would be taken for the new one's ("no such channel"). Within a session the
 * peer answers in order. */
static pn_session_t *take_oldest(struct amqp1_link *link)
{
    struct amqp1_sender *s, *last = NULL;

    for (s = link->senders; s != NULL; s = s->next)
        if (s->in_flight == 0)
            last = s;
    return last != NULL ? sender_detach(link, last) : NULL;
}

/* session: one that is used again, or NULL. */
static struct amqp1_sender *sender_new(struct amqp1_link *link, const char *address, pn_session_t *session)
{
    struct amqp1_sender *s = calloc(1, sizeof(*s));
    char name[48];

    if (s == NULL || (s->address = strdup(address)) == NULL) {
        if (session != NULL)
            pn_session_close(session);
        free(s);
        return NULL;
    }
    snprintf(name, sizeof(name), "outbox-%llu", (unsigned long long)++link->names);
    s->session = session != NULL ? session : pn_session(link->driver.connection);
    pn_session_set_context(s->session, s);
    if (session == NULL)
        pn_session_open(s->session);
    s->link = pn_sender(s->session, name);
    pn_link_set_context(s->link, s);
    pn_terminus_set_address(pn_link_target(s->link), address);
    if (outbox_target_number(link->login->target, "durable_target") == 1)
        pn_terminus_set_durability(pn_link_target(s->link), PN_CONFIGURATION);
    pn_link_set_snd_settle_mode(s->link, PN_SND_UNSETTLED);
    pn_link_set_rcv_settle_mode(s->link, PN_RCV_FIRST);
    pn_link_open(s->link);
    s->next = link->senders;
    link->senders = s;
    link->sender_count++;
    return s;
}

struct amqp1_sender *amqp1_link_sender(struct amqp1_link *link, const char *address)
{
    struct amqp1_sender **at, *s;
    pn_session_t *session = NULL;

    for (at = &link->senders; (s = *at) != NULL; at = &s->next) {
        if (strcmp(s->address, address) != 0)
            continue;
        *at = s->next;
        s->next = link->senders;
        return link->senders = s;
    }
    if (link->sender_count >= SENDERS_MAX && (session = take_oldest(link)) == NULL)
        return NULL;
    return sender_new(link, address, session);
}

/* ---- What the peer says ---- */

static void say(char why[AMQP1_WHY], const char *what, pn_condition_t *condition)
{
    const char *name = condition != NULL ? pn_condition_get_name(condition) : NULL;
    const char *text = condition != NULL ? pn_condition_get_description(condition) : NULL;

    snprintf(why, AMQP1_WHY, "%s%s%s%s%s", what, name != NULL ? ": " : "", name != NULL ? name : "",
             text != NULL ? ": " : "", text != NULL ? text : "");
    outbox_flight__clean(why);
}

/* The first reason is the best one. */
static void lose(struct amqp1_link *link, const char *what, pn_condition_t *condition)
{
    if (link->why[0] == '\0') {
        say(link->why, what, condition);
        outbox_flight__hide(link->why, outbox_target_secret(link->login->target, "password"));
    }
    link->lost = 1;
}

static void end_sender(struct amqp1_link *link, struct amqp1_sender *s, pn_condition_t *condition)
{
    char why[AMQP1_WHY];

    if (s == NULL)
        return;
    say(why, "the peer ended the link", condition);
    if (link->events != NULL)
        link->events->ended(link->user, s, pn_condition_get_name(condition), why);
    sender_free(link, s);
}

static void take_delivery(struct amqp1_link *link, pn_delivery_t *d)
{
    struct amqp1_sender *s = pn_link_get_context(pn_delivery_link(d));
    size_t index = (size_t)(uintptr_t)pn_delivery_get_context(d);

    if (s == NULL || !pn_delivery_updated(d) || (pn_delivery_remote_state(d) == 0 && !pn_delivery_settled(d)))
        return;
    if (pn_delivery_remote_state(d) == PN_RECEIVED)
        return;
    s->in_flight--;
    if (link->events != NULL)
        link->events->delivery(link->user, index, d);
    pn_delivery_settle(d);
}

static void take_attach(struct amqp1_link *link, pn_link_t *l)
{
    struct amqp1_sender *s = pn_link_get_context(l);

    /* A link that is refused is attached without a target first, and then ended with the reason. */
    if (s == NULL || pn_terminus_get_type(pn_link_remote_target(l)) == PN_UNSPECIFIED)
        return;
    s->attached = 1;
    if (link->events != NULL)
        link->events->attached(link->user, s);
}

static void take_event(struct amqp1_link *link, pn_event_t *e)
{
    switch (pn_event_type(e)) {
    case PN_CONNECTION_REMOTE_OPEN:
        link->opened = 1;
        break;
    case PN_LINK_REMOTE_OPEN:
        take_attach(link, pn_event_link(e));
        break;
    case PN_DELIVERY:
        take_delivery(link, pn_event_delivery(e));
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        end_sender(link, pn_link_get_context(pn_event_link(e)), pn_link_remote_condition(pn_event_link(e)));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        end_sender(link, pn_session_get_context(pn_event_session(e)), pn_session_remote_condition(pn_event_session(e)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        lose(link, "the peer closed the connection", pn_connection_remote_condition(pn_event_connection(e)));
        break;
    case PN_TRANSPORT_ERROR:
        lose(link, "the connection failed", pn_transport_condition(pn_event_transport(e)));
        break;
    case PN_TRANSPORT_CLOSED:
        lose(link, "the connection ended", NULL);
        break;
    default:
        break;
    }
}

static void take_events(struct amqp1_link *link)
{
    pn_event_t *e;

    while ((e = pn_connection_driver_next_event(&link->driver)) != NULL)
        take_event(link, e);
}

/* ---- Reading and writing ---- */

static int later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Whether all is written that there is. A socket that takes nothing any more may still have something to be read. */
static int write_all(struct amqp1_link *link)
{
    pn_bytes_t out;

    while ((out = pn_connection_driver_write_buffer(&link->driver)).size > 0) {
        ssize_t n = send(link->fd, out.start, out.size, MSG_NOSIGNAL);

        if (n < 0 && later())
            return 0;
        if (n < 0) {
            pn_connection_driver_write_close(&link->driver);
            return 1;
        }
        pn_connection_driver_write_done(&link->driver, (size_t)n);
    }
    return 1;
}

/* Whether something came. */
static int read_all(struct amqp1_link *link)
{
    pn_rwbytes_t in;
    int got = 0;

    while (!link->lost && (in = pn_connection_driver_read_buffer(&link->driver)).size > 0) {
        ssize_t n = recv(link->fd, in.start, in.size, 0);

        if (n < 0 && later())
            return got;
        got = 1;
        if (n > 0) {
            pn_connection_driver_read_done(&link->driver, (size_t)n);
        } else {
            snprintf(link->why, sizeof(link->why), "%s", n == 0 ? "the peer closed the connection" : strerror(errno));
            pn_connection_driver_read_close(&link->driver);
            link->lost = 1;
        }
        take_events(link);
    }
    return got;
}

static void drain(int fd)
{
    char bytes[64];

    while (read(fd, bytes, sizeof(bytes)) > 0)
        continue;
}

/* Heartbeats are due by themselves; how long nothing else is. */
static int64_t tick(struct amqp1_link *link, int64_t timeout_ms)
{
    int64_t now = outbox_flight__now_ms(), next = pn_transport_tick(link->driver.transport, now);

    if (next > 0 && next - now < timeout_ms)
        timeout_ms = next - now;
    return timeout_ms > 0 ? timeout_ms : 0;
}

int amqp1_link_step(struct amqp1_link *link, int64_t timeout_ms)
{
    struct pollfd fds[2] = { { link->fd, POLLIN, 0 }, { link->wake[0], POLLIN, 0 } };

    take_events(link);
    timeout_ms = tick(link, timeout_ms);
    if (!write_all(link))
        fds[0].events |= POLLOUT;
    take_events(link);
    /* What is to be said to what came is written in the next step. */
    if (link->lost || read_all(link) || timeout_ms == 0)
        return !link->lost;
    if (poll(fds, 2, (int)timeout_ms) > 0 && fds[1].revents != 0)
        drain(link->wake[0]);
    read_all(link);
    return !link->lost;
}

void amqp1_link_wake(void *arg)
{
    struct amqp1_link *link = arg;

    link->cancelled = 1;
    while (write(link->wake[1], "", 1) < 0 && errno == EINTR)
        continue;
}

/* ---- Connecting ---- */

static int set_flags(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* 0: not in time, or cancelled. */
static int in_time(struct amqp1_link *link, int64_t deadline)
{
    if (link->cancelled)
        snprintf(link->why, sizeof(link->why), "the relay gave up waiting");
    else if (outbox_flight__now_ms() >= deadline)
        snprintf(link->why, sizeof(link->why), "no answer in time (amqp1.connect_timeout)");
    else
        return 1;
    return 0;
}

static int wait_connected(struct amqp1_link *link, int64_t deadline)
{
    struct pollfd fds[2] = { { link->fd, POLLOUT, 0 }, { link->wake[0], POLLIN, 0 } };
    int error = 0;
    socklen_t length = sizeof(error);

    while (in_time(link, deadline)) {
        if (poll(fds, 2, (int)(deadline - outbox_flight__now_ms())) <= 0 || fds[0].revents == 0)
            continue;
        if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
            return 1;
        snprintf(link->why, sizeof(link->why), "%s", strerror(error));
        return 0;
    }
    return 0;
}

static int connect_address(struct amqp1_link *link, const struct addrinfo *a, int64_t deadline)
{
    int on = 1;

    if (link->fd >= 0)
        close(link->fd);
    link->fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (link->fd < 0 || !set_flags(link->fd)) {
        snprintf(link->why, sizeof(link->why), "%s", strerror(errno));
        return 0;
    }
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(link->fd, a->ai_addr, a->ai_addrlen) == 0)
        return 1;
    if (errno == EINPROGRESS)
        return wait_connected(link, deadline);
    snprintf(link->why, sizeof(link->why), "%s", strerror(errno));
    return 0;
}

static int connect_host(struct amqp1_link *link, const char *host, int port, int64_t deadline)
{
    struct addrinfo *list = NULL, *a;
    char number[12];
    int rc, connected = 0;

    snprintf(number, sizeof(number), "%d", port);
    rc = outbox_resolve(host, port != 0 ? number : link->login->tls ? TLS_PORT : PORT,
                        deadline - outbox_flight__now_ms(), &link->cancelled, &list);
    if (rc != 0) {
        snprintf(link->why, sizeof(link->why), "%s", gai_strerror(rc));
        return 0;
    }
    for (a = list; a != NULL && !connected && !link->cancelled; a = a->ai_next)
        connected = connect_address(link, a, deadline);
    freeaddrinfo(list);
    return connected;
}

/* TLS for this connection, with the name that the peer must have. */
static int begin_tls(struct amqp1_link *link, const char *host)
{
    const outbox_target *target = link->login->target;
    const char *name = outbox_target_text(target, "tls.server_name"), *what;
    pn_ssl_domain_t *tls = make_tls(target, &what);
    pn_ssl_t *ssl = pn_ssl(link->driver.transport);
    int good = tls != NULL && ssl != NULL && pn_ssl_init(ssl, tls, NULL) == 0 &&
               pn_ssl_set_peer_hostname(ssl, name[0] != '\0' ? name : host) == 0;

    if (tls == NULL)
        snprintf(link->why, sizeof(link->why), "amqp1.%s cannot be used", what);
    else
        pn_ssl_domain_free(tls);
    return good;
}

/* One of its own for each connection, as the protocol wants it. */
static void name_container(pn_connection_t *c)
{
    static atomic_uint count;
    char host[100], id[160];

    if (gethostname(host, sizeof(host)) != 0)
        host[0] = '\0';
    host[sizeof(host) - 1] = '\0';
    snprintf(id, sizeof(id), "outbox-%s-%ld-%u", host, (long)getpid(), count++);
    pn_connection_set_container(c, id);
}

/* Says who we are and who is meant; nothing is sent yet. */
static int introduce(struct amqp1_link *link, const char *host)
{
    const outbox_target *target = link->login->target;
    const char *user = outbox_target_secret(target, "user"), *password = outbox_target_secret(target, "password");
    const char *name = outbox_target_text(target, "hostname");
    pn_transport_t *t;
    pn_connection_t *c;

    if (pn_connection_driver_init(&link->driver, NULL, NULL) != 0)
        return 0;
    link->driving = 1;
    t = link->driver.transport;
    c = link->driver.connection;
    pn_logger_set_log_sink(pn_transport_logger(t), say_nothing, 0);
    name_container(c);
    pn_connection_set_hostname(c, name[0] != '\0' ? name : host);
    if (user != NULL)
        pn_connection_set_user(c, user);
    if (password != NULL)
        pn_connection_set_password(c, password);
    pn_sasl_allowed_mechs(pn_sasl(t), link->login->mechanism);
    pn_sasl_set_allow_insecure_mechs(pn_sasl(t), 1);
    pn_transport_set_idle_timeout(t, (pn_millis_t)link->login->heartbeat_ms);
    pn_connection_open(c);
    return !link->login->tls || begin_tls(link, host);
}

int amqp1_link_connect(struct amqp1_link *link, const outbox_endpoint *at)
{
    const char *host = at->host[0] != '\0' ? at->host : "localhost";
    int64_t deadline = outbox_flight__now_ms() + link->login->connect_ms;

    if (!connect_host(link, host, at->port, deadline))
        return 0;
    link->why[0] = '\0';
    if (!introduce(link, host)) {
        if (link->why[0] == '\0')
            snprintf(link->why, sizeof(link->why), "the client library could not be set up: out of memory");
        return 0;
    }
    while (!link->opened)
        if (!in_time(link, deadline) || !amqp1_link_step(link, deadline - outbox_flight__now_ms()))
            return 0;
    return !link->lost;
}

/* One that had nothing to do for long has sent no heartbeats, and the peer is about to end it, or has. */
int amqp1_link_is_fit(struct amqp1_link *link)
{
    int64_t idle = outbox_flight__now_ms() - link->used_ms, ours = link->login->heartbeat_ms;
    int64_t theirs = pn_transport_get_remote_idle_timeout(link->driver.transport);

    link->events = NULL;
    if ((ours > 0 && idle > ours / 2) || (theirs > 0 && idle > theirs / 2))
        return 0;
    return amqp1_link_step(link, 0);
}

struct amqp1_link *amqp1_link_new(const struct amqp1_login *login, outbox_error **err)
{
    static const outbox_envelope_style style = {
        .size = sizeof(style),
        .native = OUTBOX_META_BIT(OUTBOX_META_ID) | OUTBOX_META_BIT(OUTBOX_META_CONTENT_TYPE) |
                  OUTBOX_META_BIT(OUTBOX_META_TYPE),
        .cloudevents = "cloudEvents:",
    };
    struct amqp1_link *link = calloc(1, sizeof(*link));
    int rc = OUTBOX_ERR_NOMEM;

    if (link != NULL) {
        link->login = login;
        link->fd = -1;
        link->message = pn_message();
        if (pipe(link->wake) != 0)
            link->wake[0] = link->wake[1] = -1;
        rc = outbox_envelope_new(login->target, &style, &link->envelope, err);
    }
    if (rc == OUTBOX_OK && link->message != NULL && link->wake[0] >= 0 && set_flags(link->wake[0]) &&
        set_flags(link->wake[1]))
        return link;
    if (link == NULL || rc == OUTBOX_OK)
        outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory or files while connecting");
    if (link != NULL)
        amqp1_link_free(link);
    return NULL;
}

void amqp1_link_free(struct amqp1_link *link)
{
    link->events = NULL;
    if (link->driving && link->opened && !link->lost && !link->cancelled) {
        pn_connection_close(link->driver.connection);
        take_events(link);
        write_all(link);
    }
    while (link->senders != NULL)
        sender_free(link, link->senders);
    if (link->driving)
        pn_connection_driver_destroy(&link->driver);
    if (link->fd >= 0)
        close(link->fd);
    if (link->wake[0] >= 0) {
        close(link->wake[0]);
        close(link->wake[1]);
    }
    pn_message_free(link->message);
    outbox_envelope_free(link->envelope);
    free(link->bytes);
    free(link);
}
