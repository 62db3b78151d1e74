/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "amqp1_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <proton/ssl.h>

int wire_open(struct wire *w, int fd, int server, const char *user, const char *password)
{
    w->fd = fd;
    if (pn_connection_driver_init(&w->driver, NULL, NULL) != 0)
        return -1;
    if (server)
        pn_transport_set_server(w->driver.transport);
    if (user != NULL) {
        pn_connection_set_user(w->driver.connection, user);
        pn_connection_set_password(w->driver.connection, password);
        pn_sasl_allowed_mechs(pn_sasl(w->driver.transport), "PLAIN");
        pn_sasl_set_allow_insecure_mechs(pn_sasl(w->driver.transport), 1);
    }
    if (server)
        pn_sasl_allowed_mechs(pn_sasl(w->driver.transport), "ANONYMOUS");
    pn_connection_set_container(w->driver.connection, "test");
    pn_connection_set_hostname(w->driver.connection, "localhost");
    pn_connection_open(w->driver.connection);
    return 0;
}

int wire_certify(struct wire *w, const struct broker *b)
{
    pn_ssl_domain_t *domain = pn_ssl_domain(PN_SSL_MODE_SERVER);
    char cert[100], key[100], ca[100];
    int good;

    snprintf(cert, sizeof cert, "%s/server.pem", b->directory);
    snprintf(key, sizeof key, "%s/server.key", b->directory);
    snprintf(ca, sizeof ca, "%s/ca.pem", b->directory);
    good = pn_ssl_domain_set_credentials(domain, cert, key, NULL) == 0 &&
           pn_ssl_domain_set_trusted_ca_db(domain, ca) == 0 &&
           pn_ssl_domain_set_peer_authentication(domain, PN_SSL_VERIFY_PEER, ca) == 0 &&
           pn_ssl_init(pn_ssl(w->driver.transport), domain, NULL) == 0;
    pn_ssl_domain_free(domain);
    pn_sasl_allowed_mechs(pn_sasl(w->driver.transport), "EXTERNAL");
    return good ? 0 : -1;
}

int wire_connect(struct wire *w, int port, const char *user, const char *password)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(w, 0, sizeof *w);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return wire_open(w, fd, 0, user, password);
    close(fd);
    return -1;
}

static void take_events(struct wire *w, wire_take *take, void *user)
{
    pn_event_t *e;

    while ((e = pn_connection_driver_next_event(&w->driver)) != NULL)
        take(user, e);
}

int wire_step(struct wire *w, wire_take *take, void *user)
{
    pn_bytes_t out;
    pn_rwbytes_t in;
    ssize_t n;

    take_events(w, take, user);
    while ((out = pn_connection_driver_write_buffer(&w->driver)).size > 0) {
        n = send(w->fd, out.start, out.size, MSG_NOSIGNAL);
        if (n <= 0)
            return 0;
        pn_connection_driver_write_done(&w->driver, (size_t)n);
    }
    in = pn_connection_driver_read_buffer(&w->driver);
    n = in.size > 0 ? recv(w->fd, in.start, in.size, 0) : 0;
    if (n <= 0)
        return n < 0 && errno == EINTR;
    pn_connection_driver_read_done(&w->driver, (size_t)n);
    take_events(w, take, user);
    return !pn_connection_driver_finished(&w->driver);
}

void wire_close(struct wire *w)
{
    pn_connection_driver_destroy(&w->driver);
    close(w->fd);
}
