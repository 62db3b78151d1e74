/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the publisher for HTTP sends, byte for byte, and what it makes of every kind of answer: a server in this process
 * answers what a test tells it to. */
#define _GNU_SOURCE
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64

/* One thread serves all connections. `lock` guards what it counts and keeps. */
static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    int listener, port, stop[2];
    char *answer;        /* written after each request; NULL: silence */
    int close_after;     /* and then the connection is closed */
    int requests, accepted;
    char last[8192];     /* the last request */
    size_t last_size;
    struct {
        int fd;
        char text[8192];
        size_t size;
    } connections[CONNECTIONS];
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The length of the request that the text begins with; 0: it is not whole. */
static size_t request_size(const char *text, size_t size)
{
    const char *end = memmem(text, size, "\r\n\r\n", 4), *length = memmem(text, size, "\r\nContent-Length: ", 18);
    size_t whole = end != NULL ? (size_t)(end - text) + 4 : 0;

    if (whole > 0 && length != NULL && length < end)
        whole += strtoul(length + 18, NULL, 10);
    return whole <= size ? whole : 0;
}

static void drop(int i)
{
    close(server.connections[i].fd);
    server.connections[i].fd = -1;
}

static void serve(int i)
{
    char *text = server.connections[i].text;
    size_t *size = &server.connections[i].size, whole;
    ssize_t n = read(server.connections[i].fd, text + *size, sizeof server.connections[i].text - *size);

    if (n <= 0) {
        drop(i);
        return;
    }
    *size += (size_t)n;
    while ((whole = request_size(text, *size)) > 0 && server.connections[i].fd >= 0) {
        memcpy(server.last, text, whole);
        server.last_size = whole;
        server.requests++;
        memmove(text, text + whole, *size - whole);
        *size -= whole;
        if (server.answer != NULL && send(server.connections[i].fd, server.answer, strlen(server.answer), MSG_NOSIGNAL) < 0)
            drop(i);
        else if (server.close_after)
            drop(i);
    }
}

static void take_connection(void)
{
    int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);

    for (int i = 0; fd >= 0 && i < CONNECTIONS; i++)
        if (server.connections[i].fd < 0) {
            server.connections[i].fd = fd;
            server.connections[i].size = 0;
            server.accepted++;
            return;
        }
    if (fd >= 0)
        close(fd);
}

static void *server_run(void *unused)
{
    (void)unused;
    for (;;) {
        struct pollfd fds[CONNECTIONS + 2] = { { server.listener, POLLIN, 0 }, { server.stop[0], POLLIN, 0 } };

        pthread_mutex_lock(&server.lock);
        for (int i = 0; i < CONNECTIONS; i++)
            fds[i + 2] = (struct pollfd){ server.connections[i].fd, POLLIN, 0 };
        pthread_mutex_unlock(&server.lock);
        poll(fds, CONNECTIONS + 2, -1);
        if (fds[1].revents != 0)
            return NULL;
        pthread_mutex_lock(&server.lock);
        for (int i = 0; i < CONNECTIONS; i++)
            if (fds[i + 2].revents != 0 && server.connections[i].fd >= 0)
                serve(i);
        if (fds[0].revents != 0)
            take_connection();
        pthread_mutex_unlock(&server.lock);
    }
}

static int server_start(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;

    for (int i = 0; i < CONNECTIONS; i++)
        server.connections[i].fd = -1;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listener, (struct sockaddr *)&at, size) != 0 || listen(server.listener, 64) != 0 ||
        getsockname(server.listener, (struct sockaddr *)&at, &size) != 0 || pipe(server.stop) != 0)
        return -1;
    server.port = ntohs(at.sin_port);
    return pthread_create(&server.thread, NULL, server_run, NULL);
}

static void server_stop(void)
{
    close(server.stop[1]);
    pthread_join(server.thread, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        if (server.connections[i].fd >= 0)
            drop(i);
    close(server.listener);
    close(server.stop[0]);
    free(server.answer);
}

static void answer_with(const char *answer, int close_after)
{
    pthread_mutex_lock(&server.lock);
    free(server.answer);
    server.answer = answer != NULL ? strdup(answer) : NULL;
    server.close_after = close_after;
    server.requests = server.accepted = 0;
    server.last_size = 0;
    pthread_mutex_unlock(&server.lock);
}

static int count_of(const int *counter)
{
    int n;

    pthread_mutex_lock(&server.lock);
    n = *counter;
    pthread_mutex_unlock(&server.lock);
    return n;
}

/* ---- */

/* Opens the publisher at a path of the server, with settings in pairs that end with NULL. */
static int open_at(struct parcel *p, const char *path, const char *const *settings)
{
    outbox_conf *conf = NULL;
    char url[300];
    int rc;

    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    outbox_conf_new(&conf, NULL);
    for (; settings != NULL && *settings != NULL; settings += 2)
        CHECK_INT(outbox_conf_set(conf, settings[0], settings[1], NULL), OUTBOX_OK);
    rc = outbox_publisher_open(url, conf, &p->publisher, &p->err);
    outbox_conf_free(conf);
    return CHECK(rc == OUTBOX_OK, "%s", outbox_error_message(p->err)) ? 0 : -1;
}

static int prepare(struct parcel *p, size_t count, int keys, const char *path, const char *const *settings)
{
    memset(p, 0, sizeof *p);
    return parcel_make(p, "orders", 0, count, keys) == 0 && open_at(p, path, settings) == 0;
}

static void test_request(void)
{
    static const struct outbox_header headers[] = { { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
                                                    { "x-empty", "" } };
    struct parcel p;
    char want[2000];
    int head;

    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE(prepare(&p, 1, 5, "/in/{topic}?q={topic}", (const char *const[]){ "http.token", "t0ken", NULL }),
            "not prepared");
    p.items[0].record.topic = "a/b c?#\xc3\xbc&=%..";
    p.items[0].record.payload = "two\0bytes";
    p.items[0].record.payload_size = 9;
    p.items[0].record.headers = (struct outbox_header *)(uintptr_t)headers;
    p.items[0].record.header_count = 2;
    CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[0].fate, FATE_PUBLISHED);
    head = snprintf(want, sizeof want,
                    "POST /in/a%%2Fb%%20c%%3F%%23%%C3%%BC%%26%%3D%%25..?q=a%%2Fb%%20c%%3F%%23%%C3%%BC%%26%%3D%%25.. HTTP/1.1\r\n"
                    "Host: 127.0.0.1:%d\r\n"
                    "Authorization: Bearer t0ken\r\n"
                    "User-Agent: liboutbox/" OUTBOX_VERSION "\r\n"
                    "Accept: */*\r\n"
                    "outbox-id: 0190aaaa-bbbb-7ccc-8ddd-000000000000\r\n"
                    "content-type: application/octet-stream\r\n"
                    "outbox-type: thing.made\r\n"
                    "outbox-key: k0\r\n"
                    "outbox-created-at: 2026-01-01T00:00:00.000000Z\r\n"
                    "outbox-token: 3:7\r\n"
                    "outbox-attempt: 1\r\n"
                    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                    "x-empty:\r\n"
                    "outbox-topic: a%%2Fb%%20c%%3F%%23%%C3%%BC%%26%%3D%%25..\r\n"
                    "idempotency-key: 0190aaaa-bbbb-7ccc-8ddd-000000000000\r\n"
                    "Content-Length: 9\r\n\r\n", server.port);
    memcpy(want + head, "two\0bytes", 9);
    /* (The answer came after the request was kept, and no other is on its way.) */
    CHECK(server.last_size == (size_t)head + 9 && memcmp(server.last, want, server.last_size) == 0, "got:\n%.*s",
          (int)server.last_size, server.last);
    parcel_free(&p);
}

static void test_statuses(void)
{
    static const struct {
        int status;
        enum fate fate;
    } table[] = {
        { 200, FATE_PUBLISHED }, { 201, FATE_PUBLISHED }, { 202, FATE_PUBLISHED }, { 204, FATE_PUBLISHED },
        { 300, FATE_RETRY },     { 301, FATE_RETRY },     { 307, FATE_RETRY },     { 400, FATE_REJECT },
        { 403, FATE_REJECT },    { 404, FATE_REJECT },    { 408, FATE_RETRY },     { 409, FATE_REJECT },
        { 410, FATE_REJECT },    { 413, FATE_REJECT },    { 422, FATE_REJECT },    { 425, FATE_RETRY },
        { 429, FATE_RETRY },     { 500, FATE_RETRY },     { 501, FATE_RETRY },     { 502, FATE_RETRY },
        { 503, FATE_RETRY },     { 599, FATE_RETRY },     { 600, FATE_UNKNOWN },
    };
    struct parcel p;
    char answer[200], want[40];

    REQUIRE(prepare(&p, 1, 0, "/", NULL), "not prepared");
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const char *body = table[i].status == 204 ? "" : "Content-Length: 11\r\n\r\nthe reason\n";

        snprintf(answer, sizeof answer, "HTTP/1.1 %d Word\r\n%s%s", table[i].status, body,
                 body[0] == '\0' ? "\r\n" : "");
        answer_with(answer, 0);
        CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
        CHECK(p.items[0].fate == table[i].fate, "%d makes fate %d", table[i].status, (int)p.items[0].fate);
        CHECK(p.items[0].delay == -1 || table[i].fate == FATE_PUBLISHED, "%d says when", table[i].status);
        snprintf(want, sizeof want, "HTTP status %d", table[i].status);
        CHECK(table[i].fate == FATE_PUBLISHED || (strstr(p.why, want) != NULL && strstr(p.why, "the reason") != NULL),
              "%d: %s", table[i].status, p.why);
    }
    parcel_free(&p);
}

/* These say something of us and nothing of the message. */
static void test_login(void)
{
    static const char *const answers[] = { "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
                                           "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n" };
    struct parcel p;

    REQUIRE(prepare(&p, 10, 0, "/", NULL), "not prepared");
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        answer_with(answers[i], 0);
        CHECK_INT(parcel_send(&p, 0, 10, 60000), DELIVERY_UNAVAILABLE);
        CHECK_INT(parcel_count(&p, FATE_NONE), 10);
    }
    parcel_free(&p);
}

static void test_retry_after(void)
{
    char answer[200], date[60];
    time_t then = time(NULL) + 100;
    struct tm tm;
    struct parcel p;

    REQUIRE(prepare(&p, 1, 0, "/", NULL), "not prepared");
    answer_with("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 0);
    parcel_send(&p, 0, 1, 60000);
    CHECK_INT(p.items[0].fate, FATE_RETRY);
    CHECK_INT(p.items[0].delay, 7 * SECOND_US);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
    snprintf(answer, sizeof answer, "HTTP/1.1 503 Later\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
    answer_with(answer, 0);
    parcel_send(&p, 0, 1, 60000);
    CHECK_INT(p.items[0].fate, FATE_RETRY);
    CHECK(p.items[0].delay > 0 && p.items[0].delay <= 100 * SECOND_US, "%lld", (long long)p.items[0].delay);
    answer_with("HTTP/1.1 503 Later\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 0);
    parcel_send(&p, 0, 1, 60000);
    CHECK_INT(p.items[0].delay, -1);
    parcel_free(&p);
}

static void test_redirect(void)
{
    char answer[200];
    struct parcel p;

    snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/elsewhere\r\nContent-Length: 0\r\n\r\n",
             server.port);
    answer_with(answer, 0);
    REQUIRE(prepare(&p, 1, 0, "/", NULL), "not prepared");
    parcel_send(&p, 0, 1, 60000);
    CHECK_INT(p.items[0].fate, FATE_RETRY);
    CHECK(strstr(p.why, "redirects are not followed") != NULL, "%s", p.why);
    CHECK_INT(count_of(&server.requests), 1);
    parcel_free(&p);
}

/* What is lost after the request was sent is unknown: no answer, a part of one, or none in time. */
static void test_lost(void)
{
    static const struct {
        const char *answer;
        int close_after;
    } ways[] = {
        { NULL, 1 },
        { "HTTP/1.1 200 OK\r\nContent-Le", 1 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 1 },
        { "what is this?\r\n\r\n", 1 },
        { NULL, 0 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 0 },
    };
    struct parcel p;

    REQUIRE(prepare(&p, 1, 0, "/", (const char *const[]){ "http.timeout", "2s", NULL }), "not prepared");
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        answer_with(ways[i].answer, ways[i].close_after);
        CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
        CHECK(p.items[0].fate == FATE_UNKNOWN, "way %zu: fate %d, %s", i, (int)p.items[0].fate, p.why);
    }
    parcel_free(&p);
}

/* One message without an answer does not stop the others, and the call ends when it is cancelled. */
static void test_cancelled(void)
{
    struct parcel p;
    int rounds = 0;

    answer_with(NULL, 0);
    REQUIRE(prepare(&p, 100, 0, "/", NULL), "not prepared");
    /* Up to 16 at once; again where a busy machine has cancelled it before all had left. */
    do {
        CHECK_INT(parcel_send(&p, 0, 100, 300), DELIVERY_UNAVAILABLE);
        CHECK_INT(parcel_count(&p, FATE_NONE), 100);
    } while (count_of(&server.requests) < 16 && ++rounds < 20);
    CHECK(count_of(&server.requests) >= 16 && count_of(&server.requests) <= 16 * (rounds + 1), "%d requests in %d rounds",
          count_of(&server.requests), rounds + 1);
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    CHECK_INT(parcel_send(&p, 0, 100, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 100);
    parcel_free(&p);
}

static void test_reuse(void)
{
    struct parcel p;

    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE(prepare(&p, 500, 0, "/", (const char *const[]){ "http.connections", "4", NULL }), "not prepared");
    for (size_t i = 0; i < 500; i += 100)
        CHECK_INT(parcel_send(&p, i, 100, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 500);
    CHECK(count_of(&server.accepted) <= 4, "%d connections", count_of(&server.accepted));
    parcel_free(&p);
}

/* The middle one of its key fails: those behind it are never sent. */
static void test_order(void)
{
    struct parcel p;

    answer_with("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE(prepare(&p, 9, 1, "/", NULL), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 9, 60000), DELIVERY_DONE);
    CHECK_INT(p.items[0].fate, FATE_RETRY);
    CHECK_INT(parcel_count(&p, FATE_NONE), 8);
    CHECK_INT(count_of(&server.requests), 1);
    parcel_free(&p);
}

/* Bodies are not to be trusted: secrets that come back, bytes that are no text, no end. */
static void test_bodies(void)
{
    struct parcel p;
    char *endless = malloc(300000);

    REQUIRE(prepare(&p, 1, 0, "/", (const char *const[]){ "http.token", "s3cr3t", NULL }), "not prepared");
    answer_with("HTTP/1.1 400 No\r\nContent-Length: 34\r\n\r\nBearer s3cr3t \033[1m\xff\xc3\xbc\nis not known", 0);
    parcel_send(&p, 0, 1, 60000);
    CHECK_INT(p.items[0].fate, FATE_REJECT);
    CHECK_STR(p.why, "HTTP status 400: Bearer ****** ?[1m?\xc3\xbc is not known");
    strcpy(endless, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    memset(endless + strlen(endless), 'x', 200000);
    endless[200000] = '\0';
    answer_with(endless, 0);
    CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
    CHECK(p.items[0].fate == FATE_PUBLISHED, "%s", p.why);
    answer_with(NULL, 0);
    free(endless);
    parcel_free(&p);
}

/* A message has no say in how a request travels, nor where it goes. */
static void test_hostile(void)
{
    static const char *const names[] = { "Host", "content-length", "Transfer-Encoding", "Connection", "authorization",
                                         "Idempotency-Key", "Cookie", "Expect" };
    struct outbox_header headers[COUNT_OF(names)];
    struct parcel p;

    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE(prepare(&p, COUNT_OF(names) + 2, 0, "/in/{topic}/x", NULL), "not prepared");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        headers[i] = (struct outbox_header){ names[i], "1" };
        p.items[i].record.headers = &headers[i];
        p.items[i].record.header_count = 1;
    }
    p.items[COUNT_OF(names)].record.topic = "..";
    p.items[COUNT_OF(names) + 1].record.topic = ".";
    CHECK_INT(parcel_send(&p, 0, p.count, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_REJECT), p.count);
    CHECK_INT(count_of(&server.requests), 0);
    parcel_free(&p);
}

/* A URL whose host a message would choose; several hosts. */
static void test_urls(void)
{
    static const char *const urls[] = { "http://{topic}/x", "http://{topic}.example.org/", "http://a,b/", "http:///x" };

    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        outbox_publisher *publisher = NULL;
        outbox_error *err = NULL;

        CHECK(outbox_publisher_open(urls[i], NULL, &publisher, &err) == OUTBOX_ERR_INVALID, "%s: %s", urls[i],
              outbox_error_message(err));
        outbox_publisher_free(publisher);
        outbox_error_free(err);
    }
}

static void test_proxy(void)
{
    static const char *const names[] = { "http_proxy", "all_proxy", "ALL_PROXY" };
    struct parcel p;

    for (size_t i = 0; i < COUNT_OF(names); i++)
        setenv(names[i], "http://127.0.0.1:1", 1);
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE(prepare(&p, 1, 0, "/", NULL), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
    CHECK(p.items[0].fate == FATE_PUBLISHED, "%s", p.why);
    parcel_free(&p);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
}

/* The server here is the proxy: it is asked for the whole URL of a host that is nowhere. */
static void test_proxy_setting(void)
{
    struct parcel p = {0};
    outbox_conf *conf = NULL;
    char url[80], request[64] = "";

    snprintf(url, sizeof url, "http://127.0.0.1:%d", server.port);
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    REQUIRE_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    CHECK_INT(outbox_conf_set(conf, "http.proxy", url, NULL), OUTBOX_OK);
    CHECK_INT(outbox_publisher_open("http://nowhere.invalid/in", conf, &p.publisher, &p.err), OUTBOX_OK);
    outbox_conf_free(conf);
    REQUIRE_INT(parcel_make(&p, "orders", 0, 1, 0), 0);
    CHECK_INT(parcel_send(&p, 0, 1, 60000), DELIVERY_DONE);
    CHECK(p.items[0].fate == FATE_PUBLISHED, "%s", p.why);
    pthread_mutex_lock(&server.lock);
    memcpy(request, server.last, sizeof request - 1);
    pthread_mutex_unlock(&server.lock);
    CHECK(strncmp(request, "POST http://nowhere.invalid/in HTTP/1.1\r\n", 41) == 0, "%s", request);
    parcel_free(&p);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "a request, byte for byte", test_request },
        { "statuses", test_statuses },
        { "our credentials are refused", test_login },
        { "Retry-After", test_retry_after },
        { "redirects", test_redirect },
        { "answers that are lost", test_lost },
        { "cancelled while nothing answers", test_cancelled },
        { "connections are used again", test_reuse },
        { "one of a key fails", test_order },
        { "bodies", test_bodies },
        { "hostile messages", test_hostile },
        { "URLs that are refused", test_urls },
        { "proxies of the environment", test_proxy },
        { "a proxy", test_proxy_setting },
    };

    if (server_start() != 0)
        return 1;
    for (size_t i = 0; i < COUNT_OF(tests); i++) {
        if (argc > 1 && strstr(tests[i].name, argv[1]) == NULL)
            continue;
        tap_begin("http: %s", tests[i].name);
        tests[i].run();
        tap_end();
    }
    server_stop();
    return tap_finish();
}
