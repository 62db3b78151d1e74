/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_http.h"

#if !OUTBOX_WITH_LIBMICROHTTPD

struct daemon_http *daemon_http_start(const char *listen, struct daemon *daemon)
{
    daemon_log_printf(daemon->log, OUTBOX_LOG_ERROR, "cannot listen at %s: outboxd was built without libmicrohttpd",
                      listen);
    return NULL;
}

void daemon_http_stop(struct daemon_http *http)
{
    (void)http;
}

#else

#include <outbox/error.h>
#include <outbox/message.h>

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 32u
#define CONNECTION_BYTES ((size_t)16 * 1024)
#define IDLE_SECONDS 10u
#define BACKLOG 16

struct daemon_http {
    struct MHD_Daemon *server;
    struct daemon *daemon;
    struct daemon_log *log;
    char *path; /* of the Unix socket, or NULL */
};

/* ---- answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char *text;    /* freed by outbox_free() */
    char *reasons; /* instead, when it is not empty; freed by free() */
};

static void fail(struct answer *answer, outbox_error *err)
{
    outbox_error_free(err);
    answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static void answer_metrics(struct daemon_http *http, int form, struct answer *answer)
{
    outbox_error *err = NULL;

    answer->type = form == OUTBOX_METRICS_TEXT ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
    if (outbox_metrics_get(http->daemon->metrics, (outbox_metrics_form)form, &answer->text, &err) == OUTBOX_OK)
        return;
    daemon_log_printf(http->log, OUTBOX_LOG_ERROR, "no metrics: %s", outbox_error_message(err));
    fail(answer, err);
}

static void answer_health(struct daemon_http *http, int what, struct answer *answer)
{
    outbox_error *err = NULL;
    int rc = outbox_metrics_health(http->daemon->metrics, (outbox_health)what, &answer->text, &err);

    if (rc < 0)
        fail(answer, err);
    else
        answer->status = rc == OUTBOX_OK ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void see_new(void *user, const char *name, enum daemon_state state, outbox_relay *relay)
{
    (void)relay;
    if (state == DAEMON_NEW)
        fprintf(user, "%s: it is about to start, once another of its name has ended\n", name);
}

/* The metrics do not know an outbox that was not started. It is looked for first: what is started meanwhile, they do
 * know. */
static void answer_ready(struct daemon_http *http, int what, struct answer *answer)
{
    size_t size = 0;
    FILE *to = open_memstream(&answer->reasons, &size);

    if (to == NULL) {
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        return;
    }
    daemon_walk(http->daemon, see_new, to);
    answer_health(http, what, answer);
    if (answer->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        fputs(answer->text, to);
    if (fclose(to) != 0)
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    else if (size > 0 && answer->status == MHD_HTTP_OK)
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

static const struct route {
    const char *path;
    void (*answer)(struct daemon_http *http, int argument, struct answer *answer);
    int argument;
} routes[] = {
    { "/metrics", answer_metrics, OUTBOX_METRICS_TEXT },
    { "/metrics.json", answer_metrics, OUTBOX_METRICS_JSON },
    { "/healthz", answer_health, OUTBOX_HEALTH_LIVE },
    { "/readyz", answer_ready, OUTBOX_HEALTH_READY },
};

static enum MHD_Result respond(struct MHD_Connection *connection, const struct answer *answer)
{
    static char none[] = "";
    char *text = answer->reasons != NULL && answer->reasons[0] != '\0' ? answer->reasons
                 : answer->text != NULL                                  ? answer->text
                                                                         : none;
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (response == NULL)
        return MHD_NO;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
        (answer->status != MHD_HTTP_METHOD_NOT_ALLOWED ||
         MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
        result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* No request has a body. What is answered before it was read, ends the connection. */
static int has_body(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return (length != NULL && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    static int seen;
    struct answer answer = { MHD_HTTP_OK, "text/plain; charset=utf-8", NULL, NULL };
    enum MHD_Result result;
    size_t i;

    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        answer.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        return *state == NULL ? respond(connection, &answer) : MHD_NO;
    }
    if (*state == NULL && has_body(connection)) {
        answer.status = MHD_HTTP_BAD_REQUEST;
        return respond(connection, &answer);
    }
    if (*state == NULL || *upload_size != 0) { /* the headers; the next call is for the answer */
        *state = &seen;
        *upload_size = 0;
        return MHD_YES;
    }
    answer.status = MHD_HTTP_NOT_FOUND;
    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(url, routes[i].path) == 0) {
            answer.status = MHD_HTTP_OK;
            routes[i].answer(user, routes[i].argument, &answer);
            break;
        }
    result = respond(connection, &answer);
    outbox_free(answer.text);
    free(answer.reasons);
    return result;
}

/* ---- the socket ---- */

static int cannot(struct daemon_log *log, const char *where, const char *why)
{
    daemon_log_printf(log, OUTBOX_LOG_ERROR, "cannot listen at %s: %s", where, why);
    return -1;
}

static int make_socket(int family)
{
    int one = 1, fd = socket(family, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd;
}

/* A socket that a process left behind when it was killed; one that somebody listens at stays. */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat file;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd >= 0 && lstat(address->sun_path, &file) == 0 && S_ISSOCK(file.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 && errno == ECONNREFUSED)
        unlink(address->sun_path);
    if (fd >= 0)
        close(fd);
}

/* For the user and the group. */
static int listen_unix(struct daemon_http *http, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    mode_t before;
    int fd, rc, number;

    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path))
        return cannot(http->log, path, "the path is empty, or too long for a socket");
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = make_socket(AF_UNIX);
    if (fd < 0)
        return cannot(http->log, path, strerror(errno));
    remove_stale(&address);
    before = umask(0117);
    rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    number = errno;
    umask(before);
    if (rc == 0) {
        http->path = strdup(path);
        if (http->path != NULL && listen(fd, BACKLOG) == 0) {
            daemon_log_printf(http->log, OUTBOX_LOG_INFO, "metrics and health at unix:%s", path);
            return fd;
        }
        number = errno;
        unlink(path);
    }
    close(fd);
    return cannot(http->log, path, strerror(number));
}

static int is_loopback(const struct sockaddr *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (address->sa_family == AF_INET) {
        memcpy(&four, (const char *)address + offsetof(struct sockaddr_in, sin_addr), sizeof(four));
        return ntohl(four.s_addr) >> 24 == 127;
    }
    memcpy(&six, (const char *)address + offsetof(struct sockaddr_in6, sin6_addr), sizeof(six));
    return memcmp(&six, &in6addr_loopback, sizeof(six)) == 0;
}

/* Says where, as port 0 is any that is free. */
static void tell_address(struct daemon_http *http, int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char host[100], port[20];

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    daemon_log_printf(http->log, OUTBOX_LOG_INFO, address.ss_family == AF_INET6 ? "metrics and health at [%s]:%s" :
                      "metrics and health at %s:%s", host, port);
    if (!is_loopback((struct sockaddr *)&address))
        daemon_log_printf(http->log, OUTBOX_LOG_WARNING, "whoever reaches %s can read metrics: there is no password",
                          host);
}

static int bind_first(const struct addrinfo *list)
{
    int fd = -1;

    for (; list != NULL && fd < 0; list = list->ai_next) {
        fd = make_socket(list->ai_family);
        if (fd >= 0 && (bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)) {
            int number = errno;
            close(fd);
            errno = number;
            fd = -1;
        }
    }
    return fd;
}

static int listen_tcp(struct daemon_http *http, const char *where)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    const char *colon = strrchr(where, ':'), *first = where, *last = colon;
    struct addrinfo *list = NULL;
    char host[256];
    int fd, rc;

    if (colon != NULL && where[0] == '[' && colon > where + 1 && colon[-1] == ']') {
        first++;
        last--;
    } else if (colon == NULL || strchr(where, ':') != colon) {
        return cannot(http->log, where, "write HOST:PORT, [HOST]:PORT or unix:PATH");
    }
    if (last == first || (size_t)(last - first) >= sizeof(host) || colon[1] == '\0')
        return cannot(http->log, where, "write HOST:PORT, [HOST]:PORT or unix:PATH");
    memcpy(host, first, (size_t)(last - first));
    host[last - first] = '\0';
    rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        return cannot(http->log, where, gai_strerror(rc));
    fd = bind_first(list);
    rc = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return cannot(http->log, where, strerror(rc));
    tell_address(http, fd);
    return fd;
}

struct daemon_http *daemon_http_start(const char *where, struct daemon *daemon)
{
    struct daemon_http *http = calloc(1, sizeof(*http));
    int fd;

    if (http == NULL) {
        cannot(daemon->log, where, "out of memory");
        return NULL;
    }
    http->daemon = daemon;
    http->log = daemon->log;
    fd = strncmp(where, "unix:", 5) == 0 ? listen_unix(http, where + 5) : listen_tcp(http, where);
    if (fd >= 0) {
        http->server = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, http,
                                        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
                                        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
        if (http->server != NULL)
            return http;
        cannot(http->log, where, "the HTTP server does not start");
        close(fd);
    }
    daemon_http_stop(http);
    return NULL;
}

void daemon_http_stop(struct daemon_http *http)
{
    if (http == NULL)
        return;
    if (http->server != NULL)
        MHD_stop_daemon(http->server);
    if (http->path != NULL)
        unlink(http->path);
    free(http->path);
    free(http);
}

#endif
