/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP: a request a message to "http://HOST/PATH" or "https://…", by libcurl. A loadable module.
 *
 * The status is the acknowledgement: 2xx says that the receiver has the message, for whatever it means by that. What is
 * worth another try (408, 425, 429, 5xx) is tried again, after what Retry-After says; any other 4xx is a refusal for ever,
 * but 401 and 407, which say that our own credentials are wrong and nothing of the message. Redirects are not followed:
 * the receiver's answer would decide where messages and credentials go (into our own network, say), and most clients
 * turn a POST into a GET on the way. They are tried again, so that the URL can be mended.
 *
 * Order: the flag OUTBOX_PUBLISHER_IN_ORDER is set, and of one key one request is on its way, because requests on several
 * connections overtake each other, and a receiver may refuse one and take the next. Different keys go at the same time,
 * up to http.connections. HTTP/2 is used where TLS agrees on it.
 *
 * libcurl sends a request again by itself only when a connection from the pool turns out to be closed before anything
 * came back; Idempotency-Key has the message's id, so that the receiver can tell.
 *
 * Threads: publish() runs all its requests itself; cancel() wakes it by curl_multi_wakeup(). */
#include "flight.h"
#include "http.h"

#include <outbox/version.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of an answer's body is read to keep the connection. */
#define BODY_READ (64 * 1024)
#define POLL_MS 1000

/* What a call uses: the connections are the multi handle's. */
struct link {
    struct outbox_link base;
    CURLM *multi;
    struct http_slot *slots;
    size_t count;
};

struct publisher {
    const outbox_target *target;
    struct outbox_pool pool;
    char *url;                     /* with {topic} */
    struct curl_slist *connect_to; /* where the name of the URL is not that of the host */
    const char *user, *password, *token;
    size_t slots;
    int64_t max_message;
};

struct call {
    struct outbox_flight flight;
    struct publisher *p;
    struct link *link;
    size_t busy;   /* requests on their way */
    int down;      /* the receiver cannot be reached, whatever the message */
    char why[HTTP_BODY_KEPT + 100];
};

/* ---- Links ---- */

static void link_free(struct link *link)
{
    size_t i;

    if (link == NULL)
        return;
    for (i = 0; i < link->count; i++) {
        struct http_slot *slot = &link->slots[i];

        if (slot->busy)
            curl_multi_remove_handle(link->multi, slot->easy);
        curl_easy_cleanup(slot->easy);
        curl_slist_free_all(slot->headers);
        outbox_envelope_free(slot->envelope);
    }
    if (link->multi != NULL)
        curl_multi_cleanup(link->multi);
    free(link->slots);
    free(link);
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_slot *slot = arg;
    size_t n = size * count, at = slot->received < HTTP_BODY_KEPT ? slot->received : HTTP_BODY_KEPT;

    memcpy(slot->body + at, data, n < HTTP_BODY_KEPT - at ? n : HTTP_BODY_KEPT - at);
    slot->received += n;
    slot->body[slot->received < HTTP_BODY_KEPT ? slot->received : HTTP_BODY_KEPT] = '\0';
    /* An answer without an end costs its connection, and nothing else: the status is known. */
    return slot->received <= BODY_READ ? n : 0;
}

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_slot *slot = arg;
    size_t n = size * count;

    /* An empty line ends the headers; trailers may come behind a body, and another answer behind a 100. */
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
        slot->whole = 0;
    else if (n > 0 && (data[0] == '\r' || data[0] == '\n'))
        slot->whole = 1;
    return n;
}

static void set_text(CURL *easy, CURLoption option, const char *text)
{
    if (text != NULL && text[0] != '\0')
        curl_easy_setopt(easy, option, text);
}

static void set_tls(const struct publisher *p, CURL *easy)
{
    long verify = outbox_target_number(p->target, "tls.verify") == 0;

    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, verify * 2);
    set_text(easy, CURLOPT_CAINFO, outbox_target_text(p->target, "tls.ca_file"));
    set_text(easy, CURLOPT_SSLCERT, outbox_target_text(p->target, "tls.cert_file"));
    set_text(easy, CURLOPT_SSLKEY, outbox_target_text(p->target, "tls.key_file"));
    set_text(easy, CURLOPT_KEYPASSWD, outbox_target_secret(p->target, "tls.key_password"));
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, (long)outbox_target_is(p->target, "https"));
}

/* What all requests of a slot have in common. */
static CURL *easy_new(const struct publisher *p, struct http_slot *slot)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        return NULL;
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A request that is given up does not wait for the thread that asks a name server for it. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    /* Nothing that the environment says: "" is no proxy at all. */
    curl_easy_setopt(easy, CURLOPT_PROXY, outbox_target_text(p->target, "proxy"));
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "liboutbox/" OUTBOX_VERSION);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(outbox_target_number(p->target, "timeout") / 1000));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(outbox_target_number(p->target, "connect_timeout") / 1000));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    if (outbox_target_number(p->target, "method") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
    if (p->connect_to != NULL)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, p->connect_to);
    if (p->token != NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, p->token);
    } else if (p->user != NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, p->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, p->password != NULL ? p->password : "");
    }
    set_tls(p, easy);
    return easy;
}

static struct link *link_new(const struct publisher *p, outbox_error **err)
{
    static const outbox_envelope_style style = { .size = sizeof(style), .flags = OUTBOX_STYLE_HTTP, .cloudevents = "ce-" };
    struct link *link = calloc(1, sizeof(*link));
    int rc = OUTBOX_OK;

    if (link != NULL) {
        link->multi = curl_multi_init();
        link->slots = calloc(p->slots, sizeof(*link->slots));
    }
    while (link != NULL && link->multi != NULL && link->slots != NULL && link->count < p->slots) {
        struct http_slot *slot = &link->slots[link->count];

        rc = outbox_envelope_new(p->target, &style, &slot->envelope, err);
        slot->easy = rc == OUTBOX_OK ? easy_new(p, slot) : NULL;
        if (slot->easy == NULL) {
            outbox_envelope_free(slot->envelope);
            break;
        }
        link->count++;
    }
    if (link != NULL && link->count == p->slots) {
        curl_multi_setopt(link->multi, CURLMOPT_MAXCONNECTS, (long)p->slots);
        curl_multi_setopt(link->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)p->slots);
        return link;
    }
    link_free(link);
    if (rc == OUTBOX_OK)
        outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory while libcurl was prepared");
    return NULL;
}

/* ---- Requests ---- */

static void start(struct call *c, struct http_slot *slot, const outbox_record *r, size_t index)
{
    const char *why = NULL;
    int rc = outbox_envelope_fill(slot->envelope, r, &why);

    if (rc == OUTBOX_OK && outbox_flight__too_large(&c->flight, index, slot->envelope, c->p->max_message, "http.max_message"))
        return;
    if (rc == OUTBOX_OK && !http_request_make(slot, c->p->url, r, &why))
        rc = why != NULL ? OUTBOX_ERR_INVALID : OUTBOX_ERR_NOMEM;
    slot->index = index;
    slot->received = 0;
    slot->whole = 0;
    slot->body[0] = slot->error[0] = '\0';
    if (rc == OUTBOX_OK && curl_multi_add_handle(c->link->multi, slot->easy) == CURLM_OK) {
        slot->busy = 1;
        c->busy++;
        return;
    }
    outbox_flight__answer(&c->flight, index, rc == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, -1,
                          rc == OUTBOX_ERR_INVALID ? why : "out of memory while a request was made");
}

/* ---- Answers ---- */

static outbox_verdict verdict_of(long status)
{
    static const struct {
        long from, to;
        outbox_verdict verdict;
    } table[] = {
        { 200, 299, OUTBOX_PUBLISHED }, { 300, 399, OUTBOX_RETRY },       { 401, 401, OUTBOX_UNAVAILABLE },
        { 407, 407, OUTBOX_UNAVAILABLE }, { 408, 408, OUTBOX_RETRY },     { 425, 425, OUTBOX_RETRY },
        { 429, 429, OUTBOX_RETRY },     { 400, 499, OUTBOX_REJECT },      { 500, 599, OUTBOX_RETRY },
    };
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (status >= table[i].from && status <= table[i].to)
            return table[i].verdict;
    return OUTBOX_UNKNOWN;
}

/* Nothing more is sent, and the message is left to the relay as not sent. */
static void give_up(struct call *c, const char *why)
{
    c->down = 1;
    snprintf(c->why, sizeof(c->why), "%s", why);
    outbox_pool__tried(&c->p->pool, 0);
}

static void settle_status(struct call *c, struct http_slot *slot, long status)
{
    outbox_verdict verdict = verdict_of(status);
    char why[HTTP_BODY_KEPT + 100];
    curl_off_t wait = 0;

    if (verdict == OUTBOX_RETRY)
        curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &wait);
    snprintf(why, sizeof(why), "HTTP status %ld%s%s%s", status,
             status >= 300 && status < 400 ? " (redirects are not followed)" : "", slot->body[0] != '\0' ? ": " : "",
             slot->body);
    outbox_flight__hide(why, c->p->token);
    outbox_flight__hide(why, c->p->password);
    outbox_flight__clean(why);
    if (verdict == OUTBOX_UNAVAILABLE) {
        give_up(c, why);
        return;
    }
    outbox_pool__tried(&c->p->pool, 1);
    outbox_flight__answer(&c->flight, slot->index, verdict, wait > 0 ? (int64_t)wait * 1000 : -1, why);
}

/* No answer, or not the whole of it. What was not sent is sure to have had no effect. */
static void settle_failure(struct call *c, struct http_slot *slot, CURLcode code)
{
    long sent = 0;
    char why[CURL_ERROR_SIZE + 100];

    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent);
    snprintf(why, sizeof(why), "%s%s%s", curl_easy_strerror(code), slot->error[0] != '\0' ? ": " : "", slot->error);
    outbox_flight__clean(why);
    if (sent == 0)
        give_up(c, why);
    else
        outbox_flight__answer(&c->flight, slot->index, OUTBOX_UNKNOWN, -1, why);
}

static void settle(struct call *c, const CURLMsg *message)
{
    CURLcode code = message->data.result;
    struct http_slot *slot = NULL;
    long status = 0;

    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    if (slot->whole && (code == CURLE_OK || (code == CURLE_WRITE_ERROR && slot->received > BODY_READ)))
        settle_status(c, slot, status);
    else
        settle_failure(c, slot, code == CURLE_OK ? CURLE_PARTIAL_FILE : code);
    slot->busy = 0;
    c->busy--;
    curl_multi_remove_handle(c->link->multi, slot->easy);
}

/* ---- A call ---- */

static void fill_slots(struct call *c)
{
    const outbox_record *r;
    size_t i, index;

    for (i = 0; i < c->link->count && !c->down; i++)
        while (!c->link->slots[i].busy) {
            if ((r = outbox_flight__next(&c->flight, &index)) == NULL)
                return;
            start(c, &c->link->slots[i], r, index);
        }
}

static int run(struct call *c)
{
    while (!c->flight.cancelled) {
        CURLMsg *message;
        int running, left, answers = 0;

        fill_slots(c);
        if (c->busy == 0)
            return 1;
        if (curl_multi_perform(c->link->multi, &running) != CURLM_OK)
            return 0;
        while ((message = curl_multi_info_read(c->link->multi, &left)) != NULL) {
            if (message->msg == CURLMSG_DONE)
                settle(c, message);
            answers = 1;
        }
        if (!answers)
            curl_multi_poll(c->link->multi, NULL, 0, POLL_MS, NULL);
    }
    return 0;
}

static void wake(void *multi)
{
    curl_multi_wakeup(multi);
}

static int send_all(struct call *c, outbox_error **err)
{
    struct outbox_link *idle = outbox_pool__take(&c->p->pool);
    int done;

    if (!outbox_pool__wait(&c->p->pool, &c->flight)) {
        if (idle != NULL)
            outbox_pool__give(&c->p->pool, idle);
        return outbox_error_new(err, OUTBOX_ERR_CONNECT, "publisher.http",
                                "the call was cancelled before a request was made");
    }
    c->link = idle != NULL ? (struct link *)idle : link_new(c->p, err);
    if (c->link == NULL)
        return OUTBOX_ERR_NOMEM;
    outbox_flight__wake_by(&c->flight, wake, c->link->multi);
    done = run(c);
    outbox_flight__wake_by(&c->flight, NULL, NULL);
    if (done) {
        outbox_pool__give(&c->p->pool, &c->link->base);
        return !c->down ? OUTBOX_OK
                        : outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.http", "%s takes no messages: %s",
                                              outbox_target_shown(c->p->target), c->why);
    }
    link_free(c->link); /* ends the requests */
    return outbox_error_new(err, OUTBOX_ERR_LOST, "publisher.http",
                            "not all requests were answered before the call was cancelled");
}

static int http_publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct call c = { .p = self };
    int rc = outbox_flight__enter(&c.flight, &c.p->pool, delivery, err);

    if (rc != OUTBOX_OK)
        return rc;
    rc = send_all(&c, err);
    outbox_flight__leave(&c.flight);
    return rc;
}

static void http_cancel(void *self, outbox_delivery *delivery)
{
    struct publisher *p = self;

    outbox_pool__cancel(&p->pool, delivery);
}

/* No request is made: whatever its method, the receiver might take it for something. So this is the connection, and with
 * https:// the proxy's tunnel and TLS with the certificates of both; what it thinks of a user or a token shows with a message
 * only. */
static int http_reach(void *self, outbox_error **err)
{
    const struct publisher *p = self;
    struct http_slot slot = { .index = 0 };
    struct outbox_sigpipe signals;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    char why[CURL_ERROR_SIZE + 100];

    outbox_sigpipe__hold(&signals);
    slot.easy = easy_new(p, &slot);
    if (slot.easy != NULL) {
        curl_easy_setopt(slot.easy, CURLOPT_URL, p->url);
        curl_easy_setopt(slot.easy, CURLOPT_CONNECT_ONLY, 1L);
        code = curl_easy_perform(slot.easy);
    }
    curl_easy_cleanup(slot.easy);
    outbox_sigpipe__release(&signals);
    if (code == CURLE_OK)
        return OUTBOX_OK;
    snprintf(why, sizeof(why), "%s%s%s", curl_easy_strerror(code), slot.error[0] != '\0' ? ": " : "", slot.error);
    outbox_flight__clean(why);
    return outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.http", "%s cannot be reached: %s",
                               outbox_target_shown(p->target), why);
}

/* ---- The publisher ---- */

static void http_close(void *self)
{
    struct publisher *p = self;
    struct outbox_link *link;

    while ((link = outbox_pool__take(&p->pool)) != NULL)
        link_free((struct link *)link);
    outbox_pool__destroy(&p->pool);
    curl_slist_free_all(p->connect_to);
    free(p->url);
    free(p);
}

/* A name for TLS other than the URL's: requests go to that name, and the connection to the host. */
static char *with_name(struct publisher *p, const char *url, const char *name, const outbox_endpoint *at)
{
    const char *rest = strstr(url, "://") + 3;
    size_t size = strlen(url) + strlen(name) + 30;
    char *changed = malloc(size), *place = malloc(strlen(at->host) + 40);
    int port = at->port != 0 ? at->port : outbox_target_is(p->target, "https") ? 443 : 80;

    if (changed != NULL && place != NULL) {
        rest += strcspn(rest, "/?#");
        snprintf(changed, size, "%s://%s:%d%s", outbox_target_scheme(p->target), name, port, rest);
        sprintf(place, strchr(at->host, ':') != NULL ? "::[%s]:%d" : "::%s:%d", at->host, port);
        p->connect_to = curl_slist_append(NULL, place);
    }
    free(place);
    if (p->connect_to == NULL) {
        free(changed);
        changed = NULL;
    }
    return changed;
}

static int check_url(const outbox_target *target, outbox_error **err)
{
    const char *url = outbox_target_url(target), *rest = strstr(url, "://"), *mark = strstr(url, HTTP_TOPIC_MARK);
    size_t count;

    outbox_target_endpoints(target, &count);
    if (rest == NULL || count != 1 || outbox_target_endpoints(target, &count)[0].host[0] == '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.http_url",
                                "the publisher http needs a URL with one host, such as https://host/path");
    rest += 3;
    if (mark != NULL && mark < rest + strcspn(rest, "/?#"))
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.http_url",
                                "{topic} must not be in the host of the URL: messages would say where they go");
    return OUTBOX_OK;
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int http_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops http_ops = {
        .size = sizeof(http_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "http",
        .publish = http_publish,
        .cancel = http_cancel,
        .close = http_close,
        .reach = http_reach,
    };
    const char *name = outbox_target_text(target, "tls.server_name");
    struct publisher *p;
    int rc = check_url(target, err);

    if (rc != OUTBOX_OK)
        return rc;
    pthread_once(&curl_once, curl_start);
    p = calloc(1, sizeof(*p));
    if (p == NULL || outbox_pool__init(&p->pool) != 0) {
        free(p);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    p->target = target;
    p->slots = (size_t)outbox_target_number(target, "connections");
    p->max_message = outbox_target_number(target, "max_message");
    p->user = outbox_target_secret(target, "user");
    p->password = outbox_target_secret(target, "password");
    p->token = outbox_target_secret(target, "token");
    p->url = name[0] == '\0' ? strdup(outbox_target_url(target))
                             : with_name(p, outbox_target_url(target), name, outbox_target_endpoints(target, NULL));
    if (p->url == NULL) {
        http_close(p);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    *ops = &http_ops;
    *self = p;
    return OUTBOX_OK;
}

static const outbox_setting settings[] = {
    { "connections", OUTBOX_SETTING_INTEGER, "16", 1, 1000, NULL,
      "Requests that a worker may have on their way, each on a connection of its own unless HTTP/2 shares one." },
    { "max_message", OUTBOX_SETTING_SIZE, "64MiB", 1, INT64_C(1) << 31, NULL,
      "Largest payload that is sent; a message with a larger one is rejected." },
    { "timeout", OUTBOX_SETTING_DURATION, "30s", 10000, INT64_C(3600) * 1000000, NULL,
      "How long a request may take in all; then its outcome is unknown." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 10000, INT64_C(300) * 1000000, NULL,
      "How long connecting may take, with TLS." },
    { "method", OUTBOX_SETTING_CHOICE, "post", 0, 0, "post|put", "Method of the requests." },
    { "proxy", OUTBOX_SETTING_TEXT, "", 0, 2000, NULL,
      "URL of a proxy; empty: none, whatever http_proxy and its like say in the environment." },
    { "token", OUTBOX_SETTING_SECRET, "", 0, 16384, NULL, "Sent as Authorization: Bearer." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL, "User; empty: that of the URL, or none." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password for Basic authentication, if the URL has none." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_INTEGER, NULL, 0, 0, NULL, NULL },
};

OUTBOX_API const outbox_publisher_module *outbox_publisher_http(void);

const outbox_publisher_module *outbox_publisher_http(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .flags = OUTBOX_MODULE_OWN_QUERY,
        .name = "http",
        .settings = settings,
        .open = http_open,
    };

    return &module;
}
