/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The HTTP module beside the smallest program that does the same on the same library: as many requests at once over kept
 * connections, the same headers, batches that are waited for. The receiver is a process that answers at once.
 *
 *     bench/http [messages] [rounds]
 */
#include "broker.h"
#include "load.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAYLOAD 512
#define SLOTS 16
#define FDS 256

struct world {
    struct broker server;
    outbox_publisher *publisher;
    struct load *load;
    size_t count, batch;
    char url[64];
    CURLM *multi;
    CURL *easy[SLOTS];
    struct curl_slist *headers[SLOTS];
};

/* ---- The receiver ---- */

struct peer {
    char text[16384];
    size_t size;
};

static void answer(int fd, struct peer *peer)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const char *end;

    while ((end = memmem(peer->text, peer->size, "\r\n\r\n", 4)) != NULL) {
        const char *length = memmem(peer->text, peer->size, "Content-Length: ", 16);
        size_t whole = (size_t)(end - peer->text) + 4 + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);

        if (peer->size < whole || write(fd, ok, sizeof(ok) - 1) < 0)
            return;
        memmove(peer->text, peer->text + whole, peer->size - whole);
        peer->size -= whole;
    }
}

static void receive(int listener)
{
    static struct pollfd fds[FDS];
    static struct peer peers[FDS];
    nfds_t count = 1, i;

    fds[0] = (struct pollfd){ listener, POLLIN, 0 };
    for (;;) {
        poll(fds, count, -1);
        for (i = 1; i < count; i++) {
            ssize_t n = fds[i].revents != 0 ? read(fds[i].fd, peers[i].text + peers[i].size, sizeof(peers[i].text) - peers[i].size)
                                            : -1;
            if (n > 0) {
                peers[i].size += (size_t)n;
                answer(fds[i].fd, &peers[i]);
            } else if (fds[i].revents != 0) {
                close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
        if (fds[0].revents != 0 && count < FDS)
            fds[count++] = (struct pollfd){ accept(listener, NULL, NULL), POLLIN, 0 };
    }
}

static int start_receiver(struct world *w)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->server.port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 128) != 0)
        return -1;
    w->server.pid = fork();
    if (w->server.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        receive(fd);
    }
    close(fd);
    return w->server.pid > 0 ? 0 : -1;
}

/* ---- The two ways ---- */

static long by_module(void *arg)
{
    struct world *w = arg;

    load_renew(w->load);
    return load_publish(w->load, w->publisher, w->batch);
}

static void add_header(struct world *w, size_t slot, const char *name, const char *value)
{
    char line[200];

    snprintf(line, sizeof(line), "%s: %s", name, value);
    w->headers[slot] = curl_slist_append(w->headers[slot], line);
}

static void start(struct world *w, size_t slot, const outbox_record *r)
{
    size_t size;
    const void *payload = outbox_record_payload(r, &size);

    curl_slist_free_all(w->headers[slot]);
    w->headers[slot] = curl_slist_append(NULL, "Expect:");
    add_header(w, slot, "outbox-id", outbox_record_id(r));
    add_header(w, slot, "content-type", outbox_record_content_type(r));
    add_header(w, slot, "outbox-type", outbox_record_message_type(r));
    add_header(w, slot, "outbox-created-at", "2023-11-14T22:13:20.000000Z");
    add_header(w, slot, "outbox-token", "0:1");
    add_header(w, slot, "outbox-attempt", "1");
    add_header(w, slot, "outbox-topic", outbox_record_topic(r));
    add_header(w, slot, "idempotency-key", outbox_record_id(r));
    curl_easy_setopt(w->easy[slot], CURLOPT_URL, w->url);
    curl_easy_setopt(w->easy[slot], CURLOPT_HTTPHEADER, w->headers[slot]);
    curl_easy_setopt(w->easy[slot], CURLOPT_POSTFIELDS, payload);
    curl_easy_setopt(w->easy[slot], CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    curl_easy_setopt(w->easy[slot], CURLOPT_PRIVATE, (char *)NULL + slot);
    curl_multi_add_handle(w->multi, w->easy[slot]);
}

static long send_batch(struct world *w, size_t from, size_t to)
{
    size_t next = from, busy = 0, slot;
    long done = 0;

    for (slot = 0; slot < SLOTS && next < to; slot++, busy++)
        start(w, slot, load_record(w->load, next++));
    while (busy > 0) {
        CURLMsg *m;
        int running, left, any = 0;

        curl_multi_perform(w->multi, &running);
        while ((m = curl_multi_info_read(w->multi, &left)) != NULL) {
            CURL *easy = m->easy_handle;
            long status = 0;
            char *at = NULL;

            any = 1;
            curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, &at);
            curl_multi_remove_handle(w->multi, easy);
            if (status != 200)
                return -1;
            done++;
            busy--;
            if (next < to) {
                start(w, (size_t)(at - (char *)NULL), load_record(w->load, next++));
                busy++;
            }
        }
        if (!any)
            curl_multi_poll(w->multi, NULL, 0, 1000, NULL);
    }
    return done;
}

static long by_library(void *arg)
{
    struct world *w = arg;
    size_t from;
    long sent = 0;

    load_renew(w->load);
    for (from = 0; from < w->count; from += w->batch) {
        long n = send_batch(w, from, from + w->batch < w->count ? from + w->batch : w->count);

        if (n < 0)
            return -1;
        sent += n;
    }
    return sent;
}

static int prepare(struct world *w)
{
    size_t i;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    w->multi = curl_multi_init();
    curl_multi_setopt(w->multi, CURLMOPT_MAXCONNECTS, (long)SLOTS);
    for (i = 0; i < SLOTS; i++) {
        w->easy[i] = curl_easy_init();
        curl_easy_setopt(w->easy[i], CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(w->easy[i], CURLOPT_POST, 1L);
    }
    snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%d/in", w->server.port);
    return outbox_publisher_open(w->url, NULL, &w->publisher, NULL);
}

int main(int argc, char **argv)
{
    struct world w = { .count = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000 };
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    size_t i;

    broker_begin(&w.server);
    if (start_receiver(&w) != 0 || prepare(&w) != 0) {
        fprintf(stderr, "the receiver cannot be prepared\n");
        broker_end(&w.server);
        return 1;
    }
    w.load = load_new("bench.orders", w.count, PAYLOAD, 0);
    for (w.batch = 1000; w.batch >= 100; w.batch /= 10)
        load_compare(w.batch == 1000 ? "http, batches of 1000" : "http, batches of 100", rounds, "module", by_module,
                     "libcurl", by_library, &w);
    outbox_publisher_free(w.publisher);
    for (i = 0; i < SLOTS; i++) {
        curl_easy_cleanup(w.easy[i]);
        curl_slist_free_all(w.headers[i]);
    }
    curl_multi_cleanup(w.multi);
    load_free(w.load);
    broker_end(&w.server);
    return 0;
}
