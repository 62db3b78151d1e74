/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_http.h"

#if !OUTBOX_WITH_LIBMICROHTTPD

struct daemon_http *daemon_http_start(const char *where, const struct cli_server *server, struct daemon *daemon)
{
    (void)server;
    daemon_log_printf(daemon->log, OUTBOX_LOG_ERROR, "cannot listen at %s: outboxd was built without libmicrohttpd",
                      where);
    return NULL;
}

void daemon_http_change(struct daemon_http *http, const struct cli_server *server)
{
    (void)http;
    (void)server;
}

void daemon_http_stop(struct daemon_http *http)
{
    (void)http;
}

#else

#include "daemon_api.h"
#include "daemon_guard.h"
#include "daemon_history.h"
#include "daemon_listen.h"
#include "status_html.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONNECTIONS 32u
/* No one host keeps all others out. */
#define CONNECTIONS_OF_HOST (CONNECTIONS / 2)
#define CONNECTION_BYTES ((size_t)16 * 1024)
#define IDLE_SECONDS 10u
/* Of the connections, so many may wait for a database. */
#define ASKING 4

struct daemon_http {
    struct MHD_Daemon *server;
    struct daemon *daemon;
    struct daemon_log *log;
    struct daemon_listen listen;
    struct daemon_history *history;
    pthread_mutex_t lock;
    struct daemon_guard guard;
    int asking;
};

/* ---- answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char *text;    /* freed by outbox_free() */
    char *made;    /* instead, when it is not empty; freed by free() */
    char nonce[33]; /* of the page's script and style; "": no page */
};

static void fail(struct answer *answer, outbox_error *err)
{
    outbox_error_free(err);
    answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

struct request {
    struct daemon_http *http;
    struct MHD_Connection *connection;
    int argument; /* of the route */
};

static void answer_metrics(const struct request *r, struct answer *answer)
{
    outbox_metrics_form form = (outbox_metrics_form)r->argument;
    outbox_error *err = NULL;

    answer->type = form == OUTBOX_METRICS_TEXT ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
    if (outbox_metrics_get(r->http->daemon->metrics, form, &answer->text, &err) == OUTBOX_OK)
        return;
    daemon_log_printf(r->http->log, OUTBOX_LOG_ERROR, "no metrics: %s", outbox_error_message(err));
    fail(answer, err);
}

static void answer_health(const struct request *r, struct answer *answer)
{
    outbox_error *err = NULL;
    int rc = outbox_metrics_health(r->http->daemon->metrics, (outbox_health)r->argument, &answer->text, &err);

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
static void answer_ready(const struct request *r, struct answer *answer)
{
    size_t size = 0;
    FILE *to = open_memstream(&answer->made, &size);

    if (to == NULL) {
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        return;
    }
    daemon_walk(r->http->daemon, see_new, to);
    answer_health(r, answer);
    if (answer->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        fputs(answer->text, to);
    if (fclose(to) != 0)
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    else if (size > 0 && answer->status == MHD_HTTP_OK)
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

/* Its script and its style run as they know a number that nobody can guess; whatever else gets into it does not. */
static void answer_page(const struct request *r, struct answer *answer)
{
    static const char mark[] = "@NONCE@";
    const char *from = (const char *)status_html, *next;
    unsigned char random[16];
    size_t size = 0;
    FILE *to = open_memstream(&answer->made, &size);

    (void)r;
    answer->type = "text/html; charset=utf-8";
    if (to == NULL || getrandom(random, sizeof(random), 0) != sizeof(random)) {
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    } else {
        for (size_t i = 0; i < sizeof(random); i++)
            snprintf(answer->nonce + 2 * i, 3, "%02x", random[i]);
        for (; (next = strstr(from, mark)) != NULL; from = next + sizeof(mark) - 1)
            fprintf(to, "%.*s%s", (int)(next - from), from, answer->nonce);
        fputs(from, to);
    }
    if (to != NULL && fclose(to) != 0)
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- the status page's questions ---- */

static const char *header_of(void *user, const char *name)
{
    return MHD_lookup_connection_value(user, MHD_HEADER_KIND, name);
}

static const char *argument_of(void *user, const char *name)
{
    return MHD_lookup_connection_value(user, MHD_GET_ARGUMENT_KIND, name);
}

struct arguments {
    enum daemon_api what;
    const char *why; /* the first that is wrong, is */
};

static enum MHD_Result see_argument(void *user, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                    const char *value, size_t value_size)
{
    struct arguments *a = user;

    (void)kind;
    a->why = daemon_api_refuses(a->what, name, name_size, value, value_size);
    return a->why == NULL ? MHD_YES : MHD_NO;
}

static const char *refuse_arguments(const struct request *r)
{
    struct arguments a = { (enum daemon_api)r->argument, NULL };

    MHD_get_connection_values_n(r->connection, MHD_GET_ARGUMENT_KIND, see_argument, &a);
    return a.why;
}

/* Those that may wait for a database are counted. */
static bool begin_asking(struct daemon_http *http, int counts)
{
    bool may;

    pthread_mutex_lock(&http->lock);
    may = counts == 0 || http->asking < ASKING;
    http->asking += may ? counts : 0;
    pthread_mutex_unlock(&http->lock);
    return may;
}

static void end_asking(struct daemon_http *http, int counts)
{
    pthread_mutex_lock(&http->lock);
    http->asking -= counts;
    pthread_mutex_unlock(&http->lock);
}

static void answer_api(const struct request *r, struct answer *answer)
{
    struct daemon_http *http = r->http;
    enum daemon_api what = (enum daemon_api)r->argument;
    int counts = daemon_api_asks_database(what);
    const char *why = NULL;
    bool may_change;

    answer->type = "application/json";
    pthread_mutex_lock(&http->lock);
    answer->status = daemon_guard_check(&http->guard, http->listen.local, daemon_api_changes(what), header_of,
                                        r->connection, &why);
    may_change = http->guard.token != NULL;
    pthread_mutex_unlock(&http->lock);
    if (answer->status == MHD_HTTP_OK && (why = refuse_arguments(r)) != NULL) {
        answer->status = MHD_HTTP_BAD_REQUEST;
    } else if (answer->status == MHD_HTTP_OK && !begin_asking(http, counts)) {
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        why = "others are asking already: try again";
    } else if (answer->status == MHD_HTTP_OK) {
        answer->status = daemon_api_answer(http->daemon, http->history, what, may_change, argument_of, r->connection,
                                           &answer->made);
        end_asking(http, counts);
    }
    if (why != NULL)
        answer->made = daemon_api_complain(why);
}

/* ---- requests ---- */

static const char reads[] = "GET, HEAD", changes[] = "POST";

static const struct route {
    const char *path;
    const char *methods;
    void (*answer)(const struct request *r, struct answer *answer);
    int argument;
} routes[] = {
    { "/metrics", reads, answer_metrics, OUTBOX_METRICS_TEXT },
    { "/metrics.json", reads, answer_metrics, OUTBOX_METRICS_JSON },
    { "/healthz", reads, answer_health, OUTBOX_HEALTH_LIVE },
    { "/readyz", reads, answer_ready, OUTBOX_HEALTH_READY },
    { "/", reads, answer_page, 0 },
    { "/api/v1/outboxes", reads, answer_api, DAEMON_API_OUTBOXES },
    { "/api/v1/history", reads, answer_api, DAEMON_API_HISTORY },
    { "/api/v1/overview", reads, answer_api, DAEMON_API_OVERVIEW },
    { "/api/v1/messages", reads, answer_api, DAEMON_API_MESSAGES },
    { "/api/v1/redrive", changes, answer_api, DAEMON_API_REDRIVE },
    { "/api/v1/discard", changes, answer_api, DAEMON_API_DISCARD },
};

static const struct route *find_route(const char *url)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(url, routes[i].path) == 0)
            return &routes[i];
    return NULL;
}

static bool allows(const struct route *route, const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_POST) == 0
               ? route->methods == changes
               : route->methods == reads &&
                     (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

/* Nothing is loaded from anywhere else, nothing is told to anywhere else, and nobody shows the page as part of his. */
static bool add_policy(struct MHD_Response *response, const char *nonce)
{
    char policy[400];

    if (nonce[0] == '\0')
        snprintf(policy, sizeof(policy), "default-src 'none'; frame-ancestors 'none'");
    else
        snprintf(policy, sizeof(policy),
                 "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src data:; "
                 "base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce, nonce);
    return MHD_add_response_header(response, "Content-Security-Policy", policy) == MHD_YES &&
           MHD_add_response_header(response, "X-Frame-Options", "DENY") == MHD_YES &&
           MHD_add_response_header(response, "Referrer-Policy", "no-referrer") == MHD_YES &&
           MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin") == MHD_YES;
}

/* One answer a connection: one that stays open, and idle, keeps somebody else out. */
static enum MHD_Result respond(struct MHD_Connection *connection, const struct answer *answer,
                               const struct route *route)
{
    static char none[] = "";
    char *made = answer->made != NULL && answer->made[0] != '\0' ? answer->made : answer->text;
    char *text = made != NULL ? made : none;
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (response == NULL)
        return MHD_NO;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
        add_policy(response, answer->nonce) &&
        (answer->status != MHD_HTTP_UNAUTHORIZED ||
         MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer") == MHD_YES) &&
        (answer->status != MHD_HTTP_METHOD_NOT_ALLOWED ||
         MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, route->methods) == MHD_YES))
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

/* Metrics and health need no token, but a stranger's page must not read them either. */
static bool refuses_name(const struct request *r, struct answer *answer)
{
    struct daemon_http *http = r->http;
    const char *why = NULL;

    if (!http->listen.loopback)
        return false;
    pthread_mutex_lock(&http->lock);
    daemon_guard_knows(&http->guard, header_of(r->connection, MHD_HTTP_HEADER_HOST), &why);
    pthread_mutex_unlock(&http->lock);
    if (why == NULL)
        return false;
    answer->status = MHD_HTTP_FORBIDDEN;
    answer->made = daemon_api_complain(why);
    answer->type = "application/json";
    return true;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    static int seen;
    struct answer answer = { MHD_HTTP_OK, "text/plain; charset=utf-8", NULL, NULL, "" };
    const struct route *route = find_route(url);
    struct request request = { user, connection, route != NULL ? route->argument : 0 };
    enum MHD_Result result;

    (void)version;
    (void)upload;
    answer.status = route == NULL               ? MHD_HTTP_NOT_FOUND
                    : !allows(route, method)    ? MHD_HTTP_METHOD_NOT_ALLOWED
                    : *state == NULL && has_body(connection) ? MHD_HTTP_BAD_REQUEST
                                                : MHD_HTTP_OK;
    if (answer.status != MHD_HTTP_OK && *state == NULL)
        return respond(connection, &answer, route);
    if (*state == NULL || *upload_size != 0) { /* the headers; the next call is for the answer */
        *state = &seen;
        *upload_size = 0;
        return MHD_YES;
    }
    if (route != NULL && !refuses_name(&request, &answer))
        route->answer(&request, &answer);
    result = respond(connection, &answer, route);
    outbox_free(answer.text);
    free(answer.made);
    return result;
}

/* ---- the server ---- */

void daemon_http_change(struct daemon_http *http, const struct cli_server *server)
{
    if (http == NULL)
        return;
    pthread_mutex_lock(&http->lock);
    daemon_guard_free(&http->guard);
    if (!daemon_guard_make(&http->guard, server))
        daemon_log_write(http->log, OUTBOX_LOG_ERROR, "out of memory: the status page is off");
    pthread_mutex_unlock(&http->lock);
}

struct daemon_http *daemon_http_start(const char *where, const struct cli_server *server, struct daemon *daemon)
{
    struct daemon_http *http = calloc(1, sizeof(*http));
    int fd = -1;

    if (http == NULL) {
        daemon_log_printf(daemon->log, OUTBOX_LOG_ERROR, "cannot listen at %s: out of memory", where);
        return NULL;
    }
    http->daemon = daemon;
    http->log = daemon->log;
    http->listen.log = daemon->log;
    pthread_mutex_init(&http->lock, NULL);
    daemon_http_change(http, server);
    http->history = daemon_history_start(daemon->metrics);
    if (http->history != NULL)
        fd = daemon_listen_open(&http->listen, where);
    else
        daemon_log_printf(http->log, OUTBOX_LOG_ERROR, "cannot listen at %s: no thread can be started", where);
    if (fd >= 0) {
        http->server = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION,
                                        0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd,
                                        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                        MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_OF_HOST,
                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
                                        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
        if (http->server != NULL)
            return http;
        daemon_log_printf(http->log, OUTBOX_LOG_ERROR, "cannot listen at %s: the HTTP server does not start", where);
        close(fd);
    }
    daemon_http_stop(http);
    return NULL;
}

void daemon_http_stop(struct daemon_http *http)
{
    if (http == NULL)
        return;
    /* First, as whoever listens there next, while the last questions are answered, has that name for himself. */
    daemon_listen_close(&http->listen);
    if (http->server != NULL)
        MHD_stop_daemon(http->server);
    daemon_history_stop(http->history);
    daemon_guard_free(&http->guard);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

#endif
