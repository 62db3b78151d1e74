/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher for HTTP with a real server (http_server.py), which keeps what it got in a file. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#define CONNECTIONS 64

static int h2_port;

/* A proxy that offers HTTP/2, and writes down by which protocol and connection each request came. */
static int write_nginx(struct broker *b)
{
    return broker_write(b, "nginx.conf",
                        "daemon off; master_process off; pid nginx.pid; error_log nginx.log;\n"
                        "events {}\n"
                        "http {\n"
                        "  log_format short '$server_protocol $connection'; access_log protocols short;\n"
                        "  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
                        "  uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
                        "  server {\n"
                        "    listen 127.0.0.1:%d ssl http2;\n"
                        "    ssl_certificate server.pem; ssl_certificate_key server.key;\n"
                        "    ssl_client_certificate ca.pem; ssl_verify_client on;\n"
                        "    location / { proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; }\n"
                        "  }\n"
                        "}\n", h2_port, b->port);
}

static int start(struct broker *b)
{
    const char *source = getenv("OUTBOX_SRCDIR");
    static char command[500];
    char here[200];

    if (b->port == 0) {
        b->port = broker_port();
        b->tls_port = broker_port();
        h2_port = broker_port();
        if (broker_certificates(b) != 0 || write_nginx(b) != 0)
            return -1;
    }
    if (source == NULL)
        source = getcwd(here, sizeof here);
    snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin setpriv --pdeathsig KILL nginx -e nginx.log -p . -c nginx.conf & "
             "exec python3 '%s/tests/publishers/http_server.py' %d %d", source, b->port, b->tls_port);
    return broker_run(b, (const char *const[]){ "sh", "-c", command, NULL });
}

static int wait(struct broker *b)
{
    return broker_wait_port(b->port) == 0 && broker_wait_port(b->tls_port) == 0 ? 0 : -1;
}

static void set_file(outbox_conf *conf, const char *key, const struct broker *b, const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", b->directory, name);
    CHECK_INT(outbox_conf_set(conf, key, path, NULL), OUTBOX_OK);
}

static void url(struct broker *b, enum broker_way way, char *text, size_t size, outbox_conf *conf)
{
    int tls = way == BROKER_BY_TLS || way == BROKER_WRONG_NAME || way == BROKER_WRONG_CA;
    char connections[8];

    snprintf(text, size, "%s://outbox:%s@%s:%d/t/{topic}", tls ? "https" : "http",
             way == BROKER_WRONG_PASSWORD ? "s3cr3t" : "pa%3Ass%40word",
             way == BROKER_WRONG_NAME ? "127.0.0.1" : tls ? "localhost" : "127.0.0.1", tls ? b->tls_port : b->port);
    snprintf(connections, sizeof connections, "%d", CONNECTIONS);
    CHECK_INT(outbox_conf_set(conf, "http.connections", connections, NULL), OUTBOX_OK);
    if (!tls)
        return;
    set_file(conf, "http.tls.ca_file", b, way == BROKER_WRONG_CA ? "other-ca.pem" : "ca.pem");
    set_file(conf, "http.tls.cert_file", b, "client.pem");
    set_file(conf, "http.tls.key_file", b, "client.key");
}

/* A request by hand; 1 when the answer is a 200. */
static int ask(const struct broker *b, const char *path)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)b->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[300];
    ssize_t n = -1;

    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && write(fd, text, strlen(text)) > 0)
        n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strncmp(text, "HTTP/1.1 200", 12) == 0;
}

static int make(struct broker *b, const char *topic, int broken)
{
    char path[200];

    snprintf(path, sizeof path, "/%s/%s", broken ? "refuse" : "make", topic);
    return ask(b, path) ? 0 : -1;
}

#define LINES 64

/* A record of the file: lines point into text. */
struct record {
    char *lines[LINES];
    size_t count, size;
    char *body;
};

static char *read_line(FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n = getline(&line, &room, file);

    if (n > 0 && line[n - 1] == '\n') {
        line[n - 1] = '\0';
        return line;
    }
    free(line);
    return NULL;
}

static void record_free(struct record *r)
{
    while (r->count > 0)
        free(r->lines[--r->count]);
    free(r->body);
    r->body = NULL;
}

/* 0 at the end, also at that of a record that is being written. */
static int record_read(FILE *file, struct record *r)
{
    char *line;

    memset(r, 0, sizeof *r);
    while ((line = read_line(file)) != NULL && line[0] != '\0' && r->count < LINES)
        r->lines[r->count++] = line;
    free(line);
    line = line != NULL ? read_line(file) : NULL;
    if (line == NULL)
        return 0;
    r->size = strtoul(line, NULL, 10);
    free(line);
    r->body = malloc(r->size + 1);
    return r->body != NULL && fread(r->body, 1, r->size + 1, file) == r->size + 1 && r->body[r->size] == '\n';
}

static void hand_over(struct record *r, broker_take *take, void *user)
{
    struct taken taken = { .payload = r->body, .size = r->size };

    for (size_t i = 1; i < r->count; i++) {
        char *value = strstr(r->lines[i], ": ");

        if (value == NULL)
            continue;
        *value = '\0';
        taken_add(&taken, r->lines[i], value + 2);
    }
    take(user, &taken);
}

/* Where the records of a topic begin: behind the last time when it was emptied. */
static long beginning(FILE *file, const char *topic)
{
    struct record r;
    char made[200];
    long from = 0;

    snprintf(made, sizeof made, "/make/%s", topic);
    while (record_read(file, &r)) {
        if (r.count > 0 && strcmp(r.lines[0], made) == 0)
            from = ftell(file);
        record_free(&r);
    }
    record_free(&r);
    return from;
}

static long consume(struct broker *b, const char *topic, broker_take *take, void *user)
{
    char path[200];
    struct record r;
    FILE *file;
    long n = 0;

    snprintf(path, sizeof path, "%s/requests", b->directory);
    file = fopen(path, "r");
    if (file == NULL)
        return -1;
    fseek(file, beginning(file, topic), SEEK_SET);
    snprintf(path, sizeof path, "/t/%s", topic);
    while (record_read(file, &r)) {
        if (r.count > 0 && strcmp(r.lines[0], path) == 0) {
            hand_over(&r, take, user);
            n++;
        }
        record_free(&r);
    }
    record_free(&r);
    fclose(file);
    return n;
}

/* ---- By the client library alone ---- */

struct lone {
    CURLM *multi;
    const char *url;
    CURL *easy[CONNECTIONS];
    struct curl_slist *headers[CONNECTIONS];
    size_t busy;
};

static void lone_start(struct lone *lone, size_t slot, const outbox_record *r)
{
    const char *metas[TAKEN_METAS][2];
    size_t size, count = parcel_metas(r, metas);
    const void *payload = outbox_record_payload(r, &size);
    CURL *easy = lone->easy[slot];
    char line[300];

    curl_slist_free_all(lone->headers[slot]);
    lone->headers[slot] = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s: %s", metas[i][0], metas[i][1]);
        lone->headers[slot] = curl_slist_append(lone->headers[slot], line);
    }
    snprintf(line, sizeof line, "outbox-topic: %s", outbox_record_topic(r));
    lone->headers[slot] = curl_slist_append(lone->headers[slot], line);
    snprintf(line, sizeof line, "idempotency-key: %s", outbox_record_id(r));
    lone->headers[slot] = curl_slist_append(lone->headers[slot], line);
    curl_easy_setopt(easy, CURLOPT_URL, lone->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lone->headers[slot]);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, payload);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    lone->busy += curl_multi_add_handle(lone->multi, easy) == CURLM_OK;
}

/* The slot of a request that is done; -1: it was refused. */
static int lone_done(struct lone *lone, CURL *easy)
{
    long status = 0;
    int slot = -1;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(lone->multi, easy);
    lone->busy--;
    for (int i = 0; i < CONNECTIONS && status == 200; i++)
        if (lone->easy[i] == easy)
            slot = i;
    return slot;
}

static size_t lone_run(struct lone *lone, const struct parcel *p)
{
    size_t next = 0, done = 0;

    for (size_t i = 0; i < CONNECTIONS && next < p->count; i++)
        lone_start(lone, i, parcel_record(p, next++));
    while (lone->busy > 0) {
        CURLMsg *m;
        int running, left, any = 0;

        curl_multi_perform(lone->multi, &running);
        while ((m = curl_multi_info_read(lone->multi, &left)) != NULL) {
            int slot = lone_done(lone, m->easy_handle);

            any = 1;
            done += slot >= 0;
            if (slot >= 0 && next < p->count)
                lone_start(lone, (size_t)slot, parcel_record(p, next++));
        }
        if (!any)
            curl_multi_poll(lone->multi, NULL, 0, 1000, NULL);
    }
    return done;
}

/* As many at once as there are connections, whatever the window. */
static int baseline(struct broker *b, const char *topic, const struct parcel *p, size_t window)
{
    struct lone lone = { .multi = curl_multi_init() };
    char url[200];
    size_t done;

    (void)window;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/t/%s", b->port, topic);
    lone.url = url;
    curl_multi_setopt(lone.multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        lone.easy[i] = curl_easy_init();
        curl_easy_setopt(lone.easy[i], CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(lone.easy[i], CURLOPT_POST, 1L);
        curl_easy_setopt(lone.easy[i], CURLOPT_USERPWD, "outbox:pa:ss@word");
    }
    done = lone_run(&lone, p);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        curl_easy_cleanup(lone.easy[i]);
        curl_slist_free_all(lone.headers[i]);
    }
    curl_multi_cleanup(lone.multi);
    return done == p->count ? 0 : -1;
}

/* ---- Its own ---- */

#define BY_H2 3000

/* What the proxy wrote down: how many requests came by HTTP/2, and by how many connections the first at_once of them. */
static long count_protocols(const struct broker *b, long at_once, long *connections)
{
    long n = 0, lines = 0, connection, last = -1;
    char path[200], protocol[20];
    FILE *file;

    snprintf(path, sizeof path, "%s/protocols", b->directory);
    file = fopen(path, "r");
    *connections = 0;
    while (file != NULL && fscanf(file, "%19s %ld", protocol, &connection) == 2) {
        n += strcmp(protocol, "HTTP/2.0") == 0;
        *connections += lines++ < at_once && connection > last;
        last = connection > last ? connection : last;
    }
    if (file != NULL)
        fclose(file);
    return n;
}

/* Where TLS agrees on it, by ALPN; the proxy ends each connection after a thousand requests. */
static void test_h2(struct broker *b)
{
    outbox_conf *conf = NULL;
    struct parcel p = {0};
    struct ledger l;
    char text[100];
    long connections;

    if (!broker_installed("nginx") && getenv("OUTBOX_TEST_REQUIRE") == NULL) {
        tap_skip("nginx is not installed");
        return;
    }
    REQUIRE_INT(broker_wait_port(h2_port), 0);
    REQUIRE_INT(make(b, "h2", 0), 0);
    REQUIRE_INT(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    set_file(conf, "http.tls.ca_file", b, "ca.pem");
    set_file(conf, "http.tls.cert_file", b, "client.pem");
    set_file(conf, "http.tls.key_file", b, "client.key");
    snprintf(text, sizeof text, "https://outbox:pa%%3Ass%%40word@localhost:%d/t/{topic}", h2_port);
    if (parcel_make(&p, "h2", 0, BY_H2, 97) == 0 &&
        CHECK(outbox_publisher_open(text, conf, &p.publisher, &p.err) == OUTBOX_OK, "%s", outbox_error_message(p.err))) {
        CHECK_INT(parcel_send(&p, 0, BY_H2, 60000), DELIVERY_DONE);
        CHECK(parcel_count(&p, FATE_PUBLISHED) == BY_H2, "%zu: %s", parcel_count(&p, FATE_PUBLISHED), p.why);
        ledger_read(&l, b, "h2", BY_H2, 97);
        CHECK_INT(l.distinct, BY_H2);
        CHECK_INT(l.repeated, 0);
        ledger_free(&l);
        /*
         * Of 16 requests at once, 15 wait for the connection of the first to share it. How many are opened when that one
         * is ended, with requests under way, depends on the moment.
         */
        CHECK_INT(count_protocols(b, 16, &connections), BY_H2);
        CHECK_INT(connections, 1);
    }
    outbox_conf_free(conf);
    parcel_free(&p);
}

static const struct broker_test own[] = {
    { "HTTP/2", test_h2 },
    { NULL, NULL },
};

static const struct broker_kind kind = {
    .name = "http",
    .program = "python3",
    .flags = BROKER_TLS | BROKER_PASSWORD | BROKER_DURABLE | BROKER_IDS | BROKER_NO_LOGIN,
    .cloudevents = "ce-",
    .limit = "http.max_message",
    .start = start,
    .wait = wait,
    .url = url,
    .make = make,
    .consume = consume,
    .baseline = baseline,
    .tests = own,
};

int main(int argc, char **argv)
{
    return broker_main(&kind, argc, argv);
}
