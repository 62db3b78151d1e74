/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections to NATS.
 *
 * Threads: a link belongs to the thread in publish(). libnats has threads of its own, which bring acknowledgements, and
 * violations of permissions, since those come on the connection and not as an answer: `report` takes them, and has a lock.
 * It outlives the link, as libnats may still call it when the connection was destroyed. */
#include "nats_link.h"
#include "resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A write that the network does not take for so long is an end of the connection. */
#define WRITE_MS 2000
#define PING_MS 20000
#define CLOSE_MS 5000
/* What is told beyond that is lost; those messages wait for nats.ack_timeout. */
#define REFUSED_MAX 256

/* What the server said; owned by the link and by libnats, whoever goes last. */
struct outbox_nats_report {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int users, closed;
    char *refused[REFUSED_MAX];
    size_t count;
    natsMsg **box;  /* acknowledgements that were not taken yet */
    size_t boxed, room;
    int awake;      /* nobody shall wait */
};

void outbox_nats__say(char *why, size_t size, const char *what, natsStatus s)
{
    const char *last = nats_GetLastError(NULL);

    snprintf(why, size, "%s: %s%s%s", what, natsStatus_GetText(s), last != NULL && last[0] != '\0' ? ", " : "",
             last != NULL ? last : "");
    outbox_flight__clean(why);
}

/* ---- What the server says on the connection ---- */

static struct outbox_nats_report *report_new(void)
{
    struct outbox_nats_report *r = calloc(1, sizeof(*r));
    pthread_condattr_t attributes;

    if (r == NULL)
        return NULL;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&r->lock, NULL);
    r->users = 1;
    return r;
}

static void report_leave(struct outbox_nats_report *r)
{
    size_t i;
    int last;

    pthread_mutex_lock(&r->lock);
    last = --r->users == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    for (i = 0; i < r->count; i++)
        free(r->refused[i]);
    for (i = 0; i < r->boxed; i++)
        natsMsg_Destroy(r->box[i]);
    free(r->box);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure)
{
    struct outbox_nats_report *r = closure;
    const char *text = NULL;

    (void)sub;
    if (s != NATS_NOT_PERMITTED)
        return;
    natsConnection_GetLastError(nc, &text);
    pthread_mutex_lock(&r->lock);
    if (text != NULL && r->count < REFUSED_MAX) {
        r->refused[r->count] = strdup(text);
        r->count += r->refused[r->count] != NULL;
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* An acknowledgement. One that finds no memory is missed, and its message waits for nats.ack_timeout. */
static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *closure)
{
    struct outbox_nats_report *r = closure;

    (void)nc, (void)sub;
    pthread_mutex_lock(&r->lock);
    if (r->boxed == r->room) {
        size_t room = r->room > 0 ? r->room * 2 : 256;
        natsMsg **box = realloc(r->box, room * sizeof(natsMsg *));

        if (box != NULL) {
            r->box = box;
            r->room = room;
        }
    }
    if (r->boxed < r->room) {
        r->box[r->boxed++] = m;
        m = NULL;
    }
    if (r->boxed <= 1)
        pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    natsMsg_Destroy(m);
}

/* No more messages come. */
static void on_complete(void *closure)
{
    report_leave(closure);
}

/* libnats calls this last, for a connection that once was there. */
static void on_closed(natsConnection *nc, void *closure)
{
    struct outbox_nats_report *r = closure;

    (void)nc;
    pthread_mutex_lock(&r->lock);
    r->closed = 1;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    report_leave(r);
}

static struct timespec after_ms(int64_t ms)
{
    int64_t end = outbox_flight__now_ms() + ms;

    return (struct timespec){ (time_t)(end / 1000), (long)(end % 1000) * 1000000 };
}

/* All that the server said before the connection was closed is in the report afterwards; 0 when it takes too long. */
static int report_complete(struct outbox_nats_report *r)
{
    const struct timespec until = after_ms(CLOSE_MS);
    int closed;

    pthread_mutex_lock(&r->lock);
    while (!r->closed && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        continue;
    closed = r->closed;
    pthread_mutex_unlock(&r->lock);
    return closed;
}

char *outbox_nats_link__refusal(struct outbox_nats_link *link)
{
    struct outbox_nats_report *r = link->report;
    char *text = NULL;

    pthread_mutex_lock(&r->lock);
    if (r->count > 0) {
        text = r->refused[0];
        memmove(r->refused, r->refused + 1, --r->count * sizeof(r->refused[0]));
    }
    pthread_mutex_unlock(&r->lock);
    if (text != NULL)
        outbox_flight__clean(text);
    return text;
}

size_t outbox_nats_link__messages(struct outbox_nats_link *link, int64_t wait_ms, int *closed)
{
    struct outbox_nats_report *r = link->report;
    const struct timespec until = after_ms(wait_ms);
    natsMsg **taken = link->taken;
    size_t count, room = link->room;

    pthread_mutex_lock(&r->lock);
    while (wait_ms > 0 && r->boxed == 0 && !r->closed && !r->awake && r->count == 0 &&
           pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        continue;
    count = r->boxed;
    *closed = r->closed;
    link->taken = r->box;
    link->room = r->room;
    r->box = taken;
    r->room = room;
    r->boxed = 0;
    pthread_mutex_unlock(&r->lock);
    return count;
}

void outbox_nats_link__wake(void *arg)
{
    struct outbox_nats_link *link = arg;

    pthread_mutex_lock(&link->report->lock);
    link->report->awake = 1;
    pthread_cond_broadcast(&link->report->changed);
    pthread_mutex_unlock(&link->report->lock);
}

/* ---- Links ---- */

int outbox_nats_link__end(struct outbox_nats_link *link)
{
    natsConnection_Close(link->nc);
    return report_complete(link->report);
}

void outbox_nats_link__free(struct outbox_nats_link *link)
{
    if (link == NULL)
        return;
    /* Closed first: libnats's reading thread would go on with a subscription that was freed under it (up to 3.5). */
    if (link->nc != NULL)
        outbox_nats_link__end(link);
    natsSubscription_Destroy(link->sub);
    natsConnection_Destroy(link->nc);
    if (link->report != NULL)
        report_leave(link->report);
    outbox_envelope_free(link->envelope);
    free(link->taken);
    free(link);
}

static natsStatus set_tls(const struct outbox_nats_login *p, natsOptions *o, const char *host)
{
    const char *name = outbox_target_text(p->target, "tls.server_name");
    const char *ca = outbox_target_text(p->target, "tls.ca_file");
    const char *cert = outbox_target_text(p->target, "tls.cert_file");
    const char *key = outbox_target_text(p->target, "tls.key_file");
    natsStatus s = natsOptions_SetSecure(o, outbox_target_is(p->target, "tls"));

    if (s == NATS_OK && ca[0] != '\0')
        s = natsOptions_LoadCATrustedCertificates(o, ca);
    if (s == NATS_OK && cert[0] != '\0')
        s = natsOptions_LoadCertificatesChain(o, cert, key[0] != '\0' ? key : cert);
    /* libnats compares the name only when it is told to. */
    if (s == NATS_OK && outbox_target_number(p->target, "tls.verify") == 0)
        s = natsOptions_SetExpectedHostname(o, name[0] != '\0' ? name : host);
    else if (s == NATS_OK)
        s = natsOptions_SkipServerVerification(o, true);
    return s;
}

static natsStatus set_login(const struct outbox_nats_login *p, natsOptions *o)
{
    const char *creds = outbox_target_text(p->target, "credentials_file");

    if (creds[0] != '\0')
        return natsOptions_SetUserCredentialsFromFiles(o, creds, NULL);
    if (p->token != NULL)
        return natsOptions_SetToken(o, p->token);
    if (p->user != NULL)
        return natsOptions_SetUserInfo(o, p->user, p->password != NULL ? p->password : "");
    return NATS_OK;
}

static natsStatus set_options(const struct outbox_nats_login *p, natsOptions *o, const outbox_endpoint *at,
                              struct outbox_nats_report *report)
{
    const char *host = at->host[0] != '\0' ? at->host : "localhost";
    char url[400];
    natsStatus s;

    snprintf(url, sizeof(url), strchr(host, ':') != NULL ? "nats://[%s]:%d" : "nats://%s:%d", host,
             at->port != 0 ? at->port : 4222);
    if ((s = natsOptions_SetURL(o, url)) != NATS_OK || (s = set_tls(p, o, host)) != NATS_OK ||
        (s = set_login(p, o)) != NATS_OK)
        return s;
    if ((s = natsOptions_SetAllowReconnect(o, false)) != NATS_OK ||
        (s = natsOptions_SetIgnoreDiscoveredServers(o, true)) != NATS_OK ||
        (s = natsOptions_SetTimeout(o, p->connect_ms)) != NATS_OK ||
        (s = natsOptions_SetWriteDeadline(o, WRITE_MS)) != NATS_OK ||
        (s = natsOptions_SetPingInterval(o, PING_MS)) != NATS_OK || (s = natsOptions_SetMaxPingsOut(o, 2)) != NATS_OK)
        return s;
    if ((s = natsOptions_SetErrorHandler(o, on_error, report)) != NATS_OK)
        return s;
    return natsOptions_SetClosedCB(o, on_closed, report);
}

/* What comes behind the inbox's name tells messages apart: the call and the index. */
static natsStatus link_subscribe(const struct outbox_nats_login *p, struct outbox_nats_link *link)
{
    const char *prefix = outbox_target_text(p->target, "inbox_prefix");
    char subject[sizeof(link->inbox) + 2];
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);

    if (s != NATS_OK)
        return s;
    /* It has libnats's prefix, whatever the connection's is; what is behind the dot is unique. */
    snprintf(link->inbox, sizeof(link->inbox), "%s.%s", prefix,
             strchr(inbox, '.') != NULL ? strchr(inbox, '.') + 1 : inbox);
    natsInbox_Destroy(inbox);
    snprintf(subject, sizeof(subject), "%s.*", link->inbox);
    s = natsConnection_Subscribe(&link->sub, link->nc, subject, on_message, link->report);
    if (s != NATS_OK)
        return s;
    pthread_mutex_lock(&link->report->lock);
    link->report->users++;
    pthread_mutex_unlock(&link->report->lock);
    s = natsSubscription_SetOnCompleteCB(link->sub, on_complete, link->report);
    if (s != NATS_OK)
        return s; /* the report is never freed: it may still be called */
    return natsSubscription_SetPendingLimits(link->sub, -1, -1);
}

static natsStatus link_connect(const struct outbox_nats_login *p, struct outbox_nats_link *link,
                               const outbox_endpoint *at)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);

    if (s == NATS_OK)
        s = set_options(p, options, at, link->report);
    if (s == NATS_OK) {
        link->report->users++; /* on_closed() lets go of it, but only when a connection was made */
        s = natsConnection_Connect(&link->nc, options);
        if (s != NATS_OK)
            link->report->users--;
    }
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = p->mode == JETSTREAM ? link_subscribe(p, link) : NATS_OK;
    return s;
}

static const outbox_envelope_style style = {
    .size = sizeof(style),
    .flags = OUTBOX_STYLE_HTTP, /* names and values travel as those of HTTP do */
    .cloudevents = "ce-",
};

struct outbox_nats_link *outbox_nats_link__new(const struct outbox_nats_login *login, const outbox_endpoint *at,
                                               atomic_int *cancelled, outbox_error **err)
{
    const char *host = at->host[0] != '\0' ? at->host : "localhost", *unknown;
    struct outbox_nats_link *link = calloc(1, sizeof(*link));
    natsStatus s = NATS_NO_MEMORY;
    int rc = OUTBOX_OK;
    char why[400];

    if (link != NULL)
        rc = outbox_envelope_new(login->target, &style, &link->envelope, err);
    unknown = rc == OUTBOX_OK ? outbox_resolve_first(host, login->connect_ms, cancelled) : NULL;
    if (link != NULL && rc == OUTBOX_OK && unknown == NULL && (link->report = report_new()) != NULL)
        s = link_connect(login, link, at);
    if (s == NATS_OK)
        return link;
    if (rc == OUTBOX_OK) {
        if (unknown != NULL)
            snprintf(why, sizeof(why), "%s: %s", host, unknown);
        else
            outbox_nats__say(why, sizeof(why), host, s);
        outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.nats", "cannot connect to %s (%s)",
                            outbox_target_shown(login->target), why);
    }
    outbox_nats_link__free(link);
    return NULL;
}
