/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NATS: "nats://HOST" and "tls://HOST", by libnats. A loadable module.
 *
 * With JetStream each message has a reply subject of its own, and the server answers there once a stream has stored it:
 * that is the acknowledgement. `Nats-Msg-Id` is the message's id, so that one that is sent again within the stream's
 * duplicate window is stored once. Without JetStream ("core") there is only the server's PONG, which says that it has
 * read all before.
 *
 * Order: the flag OUTBOX_PUBLISHER_IN_ORDER is set, and of one key one message is on its way. More would be faster for few
 * keys, but a stream stores what comes behind a message that it refused (too large, say), and it knows no way to refuse
 * those behind. Messages of different keys go all at once.
 *
 * libnats can connect again by itself. It is told not to: it would send again what it has buffered, but not what waits for
 * an acknowledgement, and nobody could say which is which. One link is one connection with an inbox of its own; when it
 * ends, what was on its way is OUTBOX_UNKNOWN, and the relay sends it again, in order, with the same id.
 *
 * Threads: publish() sends, and takes acknowledgements from where libnats's threads put them (nats_link.c). */
#include "nats_link.h"
#include "ascii.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How soon a call without JetStream notices that it was cancelled. */
#define CHECK_MS 50
#define WAIT_MS 1000
/* Acknowledgements are looked at after so many messages, so that none waits for all to be sent. */
#define BURST 64

struct publisher {
    struct outbox_nats_login login;
    struct outbox_pool pool;
    const char *stream;
    size_t window;
    int64_t ack_ms, max_message;
    atomic_uint endpoint; /* which to try next */
};

enum course { GO_ON, DONE, BROKEN };

/* A call of publish(). */
struct call {
    struct outbox_flight flight;
    struct publisher *p;
    struct outbox_nats_link *link;
    int64_t moved_ms; /* when the last acknowledgement came */
    char why[400];
};

/* One that waits and is still connected, or a new one. */
static int link_get(struct call *c, outbox_error **err)
{
    const outbox_endpoint *all;
    struct outbox_link *idle;
    size_t count;

    while ((idle = outbox_pool__take(&c->p->pool)) != NULL) {
        c->link = (struct outbox_nats_link *)idle;
        if (!natsConnection_IsClosed(c->link->nc))
            return OUTBOX_OK;
        outbox_nats_link__free(c->link);
    }
    c->link = NULL;
    if (!outbox_pool__wait(&c->p->pool, &c->flight))
        return outbox_error_new(err, OUTBOX_ERR_CONNECT, "publisher.nats",
                                "the call was cancelled before NATS was there");
    all = outbox_target_endpoints(c->p->login.target, &count);
    c->link = outbox_nats_link__new(&c->p->login, &all[c->p->endpoint % count], &c->flight.cancelled, err);
    c->p->endpoint += c->link == NULL;
    outbox_pool__tried(&c->p->pool, c->link != NULL);
    return c->link != NULL ? OUTBOX_OK : OUTBOX_ERR_CONNECT;
}

/* ---- Sending ---- */

/* What stands between spaces in the protocol, and what the server takes for commands, must not come from a message. */
static const char *subject_fault(const char *subject)
{
    const char *p = subject;

    if (subject[0] == '$' || strncmp(subject, "_INBOX.", 7) == 0)
        return "subjects that begin with \"$\" or \"_INBOX.\" belong to NATS";
    if (strpbrk(subject, " \t\r\n\f\v") != NULL)
        return "a subject of NATS must not contain spaces";
    for (;;) {
        size_t size = strcspn(p, ".");
        if (size == 0)
            return "a subject of NATS must not have empty parts between dots";
        if (size == 1 && (*p == '*' || *p == '>'))
            return "a part of a subject must not be a wildcard";
        if (p[size] == '\0')
            return NULL;
        p += size + 1;
    }
}

/* Headers by which NATS is told what to do: one would replace all messages of a subject. */
static int is_command(const outbox_meta *meta)
{
    return meta->kind == OUTBOX_META_HEADER && outbox_ascii__same(meta->name, "Nats-", 5);
}

static natsStatus make_message(struct call *c, const outbox_record *r, size_t index, natsMsg **m, const char **fault)
{
    outbox_envelope *e = c->link->envelope;
    char reply[sizeof(c->link->inbox) + 48];
    size_t size, count, i;
    const void *payload = outbox_envelope_payload(e, &size);
    const outbox_meta *metas = outbox_envelope_metas(e, &count);
    natsStatus s;

    *fault = subject_fault(outbox_envelope_topic(e));
    for (i = 0; i < count && *fault == NULL; i++)
        if (is_command(&metas[i]))
            *fault = "headers whose names begin with \"Nats-\" belong to NATS";
    if (*fault != NULL)
        return NATS_INVALID_ARG;
    snprintf(reply, sizeof(reply), "%s.%llu-%zu", c->link->inbox, (unsigned long long)c->link->serial, index);
    s = natsMsg_Create(m, outbox_envelope_topic(e), c->p->login.mode == JETSTREAM ? reply : NULL, payload, (int)size);
    for (i = 0; i < count && s == NATS_OK; i++)
        s = natsMsgHeader_Set(*m, metas[i].name, metas[i].value);
    if (s == NATS_OK && c->p->login.mode == JETSTREAM)
        s = natsMsgHeader_Set(*m, "Nats-Msg-Id", outbox_record_id(r));
    if (s == NATS_OK && c->p->stream[0] != '\0' && c->p->login.mode == JETSTREAM)
        s = natsMsgHeader_Set(*m, "Nats-Expected-Stream", c->p->stream);
    return s;
}

/* Sends one message, or answers it. Returns 0 when the link broke. */
static int send_one(struct call *c, const outbox_record *r, size_t index)
{
    const char *why = NULL;
    natsMsg *m = NULL;
    int rc = outbox_envelope_fill(c->link->envelope, r, &why);
    natsStatus s;

    if (rc == OUTBOX_OK && outbox_flight__too_large(&c->flight, index, c->link->envelope, c->p->max_message, "nats.max_message"))
        return 1;
    s = rc == OUTBOX_OK ? make_message(c, r, index, &m, &why) : NATS_ERR;
    if (rc != OUTBOX_OK || why != NULL || s != NATS_OK) {
        int forever = rc == OUTBOX_ERR_INVALID || (rc == OUTBOX_OK && why != NULL);
        outbox_flight__answer(&c->flight, index, forever ? OUTBOX_REJECT : OUTBOX_RETRY, -1,
                              why != NULL ? why : "out of memory while a message was made for NATS");
        natsMsg_Destroy(m);
        return 1;
    }
    s = natsConnection_PublishMsg(c->link->nc, m);
    natsMsg_Destroy(m);
    if (s == NATS_OK)
        return 1;
    outbox_nats__say(c->why, sizeof(c->why), "cannot send", s);
    if (s != NATS_MAX_PAYLOAD && s != NATS_INVALID_SUBJECT)
        return 0;
    if (s == NATS_MAX_PAYLOAD)
        snprintf(c->why, sizeof(c->why), "payload and headers are larger than the server's max_payload of %lld bytes",
                 (long long)natsConnection_GetMaxPayload(c->link->nc));
    outbox_flight__answer(&c->flight, index, OUTBOX_REJECT, -1, c->why);
    return 1;
}

/* ---- Acknowledgements ---- */

/* A refusal that the message alone is to blame for is one for ever; a full stream, a cluster without a leader is none. */
static outbox_verdict verdict_of(int64_t code, int64_t err_code)
{
    return code == 400 || err_code == JSStreamMessageExceedsMaximumErr ? OUTBOX_REJECT : OUTBOX_RETRY;
}

static void take_other_answer(struct call *c, size_t index, const char *data, size_t size)
{
    json_t *ack = json_loadb(data, size, 0, NULL), *error = json_object_get(ack, "error");
    const char *text = json_string_value(json_object_get(error, "description"));
    char why[400];

    if (error != NULL) {
        snprintf(why, sizeof(why), "JetStream refused it: %s (%lld)", text != NULL ? text : "no reason given",
                 (long long)json_integer_value(json_object_get(error, "err_code")));
        outbox_flight__clean(why);
        outbox_flight__answer(&c->flight, index,
                              verdict_of(json_integer_value(json_object_get(error, "code")),
                                         json_integer_value(json_object_get(error, "err_code"))), -1, why);
    } else if (json_is_string(json_object_get(ack, "stream")) && json_is_integer(json_object_get(ack, "seq"))) {
        outbox_flight__answer(&c->flight, index, OUTBOX_PUBLISHED, -1, NULL);
    } else {
        snprintf(why, sizeof(why), "something else than JetStream answered: %.*s", size < 200 ? (int)size : 200, data);
        outbox_flight__clean(why);
        outbox_flight__answer(&c->flight, index, OUTBOX_UNKNOWN, -1, why);
    }
    json_decref(ack);
}

static int has(const char *data, size_t size, const char *word)
{
    size_t length = strlen(word);

    for (; size >= length; data++, size--)
        if (memcmp(data, word, length) == 0)
            return 1;
    return 0;
}

/* What nearly all acknowledgements look like: {"stream":"ORDERS", "seq":17}, perhaps with a domain, or that it is a
 * duplicate, behind it. Parsing each costs a tenth of the speed. */
static int is_plain_ack(const char *data, size_t size)
{
    static const char begin[] = "{\"stream\":\"", then[] = "\"seq\":";
    const char *at, *end;

    if (size < sizeof(begin) + sizeof(then) || memcmp(data, begin, sizeof(begin) - 1) != 0 || data[size - 1] != '}')
        return 0;
    end = data + size - 1;
    at = memchr(data + sizeof(begin) - 1, '"', size - sizeof(begin)); /* the end of the name */
    while (at != NULL && ++at < end && (*at == ',' || *at == ' '))
        continue;
    if (at == NULL || (size_t)(end - at) < sizeof(then) || memcmp(at, then, sizeof(then) - 1) != 0)
        return 0;
    for (at += sizeof(then) - 1; at < end && *at >= '0' && *at <= '9'; at++)
        continue;
    return at[-1] != ':' && (at == end || (*at == ',' && !has(at, (size_t)(end - at), "\"error\"")));
}

static void take_answer(struct call *c, size_t index, const char *data, size_t size)
{
    if (is_plain_ack(data, size))
        outbox_flight__answer(&c->flight, index, OUTBOX_PUBLISHED, -1, NULL);
    else
        take_other_answer(c, index, data, size);
}

static void take_message(struct call *c, natsMsg *m)
{
    const char *place = natsMsg_GetSubject(m) + strlen(c->link->inbox) + 1;
    char *end;
    unsigned long long serial = strtoull(place, &end, 10);
    size_t index = *end == '-' ? (size_t)strtoull(end + 1, &end, 10) : SIZE_MAX;

    /* Some answer calls that were given up. */
    if (*end != '\0' || serial != c->link->serial || !outbox_flight__is_away(&c->flight, index))
        return;
    c->moved_ms = outbox_flight__now_ms();
    if (natsMsg_IsNoResponders(m))
        outbox_flight__answer(&c->flight, index, OUTBOX_RETRY, -1,
                              "no stream takes this subject, or JetStream is not there: make a stream with the subject");
    else
        take_answer(c, index, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
}

/* Takes what has come; waits for the first up to wait_ms. Returns 0 when the link broke. */
static int take_messages(struct call *c, int64_t wait_ms)
{
    int closed;
    size_t i, count = outbox_nats_link__messages(c->link, wait_ms, &closed);

    for (i = 0; i < count; i++) {
        take_message(c, c->link->taken[i]);
        natsMsg_Destroy(c->link->taken[i]);
    }
    if (closed && count == 0 && c->flight.in_flight > 0)
        outbox_nats__say(c->why, sizeof(c->why), "the connection ended", NATS_CONNECTION_CLOSED);
    return !closed || count > 0 || c->flight.in_flight == 0;
}

/* Whether the text names the subject, as the server writes it: in quotes. */
static int names_subject(struct call *c, const char *text, size_t index)
{
    const char *why, *subject, *at;

    if (outbox_envelope_fill(c->link->envelope, outbox_delivery_message(c->flight.delivery, index), &why) != OUTBOX_OK)
        return 0;
    subject = outbox_envelope_topic(c->link->envelope);
    at = strstr(text, subject);
    return at != NULL && at > text && at[-1] == '"' && at[strlen(subject)] == '"';
}

/* Violations of permissions are told on the connection, with the subject. Returns 0 when the inbox was refused. */
static int take_refusals(struct call *c)
{
    char *text;
    size_t i;
    int fit = 1;

    while ((text = outbox_nats_link__refusal(c->link)) != NULL) {
        if (strstr(text, "Subscription") != NULL) {
            snprintf(c->why, sizeof(c->why), "%.300s: acknowledgements could not come", text);
            fit = 0;
        }
        for (i = 0; i < c->flight.count; i++)
            if (outbox_flight__is_away(&c->flight, i) && names_subject(c, text, i))
                outbox_flight__answer(&c->flight, i, OUTBOX_REJECT, -1, text);
        free(text);
    }
    return fit;
}

/* ---- A call ---- */

/* Sends what may go; acknowledgements make more ready meanwhile. Returns 0 when the link broke. */
static int send_ready(struct call *c)
{
    const outbox_record *r;
    size_t index, sent = 0;

    while (c->flight.in_flight < c->p->window && (r = outbox_flight__next(&c->flight, &index)) != NULL) {
        if (sent == 0 && c->flight.in_flight == 1)
            c->moved_ms = outbox_flight__now_ms();
        if (!send_one(c, r, index))
            return 0;
        if (++sent % BURST == 0 && c->p->login.mode == JETSTREAM && !take_messages(c, 0))
            return 0;
    }
    /* What is left in libnats's buffer would wait there for a millisecond. Nobody waits for that while others are on their
     * way, whose acknowledgements come meanwhile; and the PONG of a flush need not be awaited. */
    return sent == 0 || c->p->login.mode == CORE || c->flight.in_flight > sent + BURST ||
           natsConnection_FlushTimeout(c->link->nc, 1) != NATS_CONNECTION_CLOSED;
}

/* Without JetStream: the PONG comes after all that was sent before was read, and after what the server said to it. */
static int flush_core(struct call *c)
{
    natsStatus s = natsConnection_FlushTimeout(c->link->nc, CHECK_MS);
    const char *last;

    if (s == NATS_TIMEOUT)
        return 1;
    if (s != NATS_OK) {
        outbox_nats__say(c->why, sizeof(c->why), "the connection ended", s);
        return 0;
    }
    c->moved_ms = outbox_flight__now_ms();
    if (natsConnection_GetLastError(c->link->nc, &last) != NATS_OK) {
        /* It reports on another thread, and may still do so. Only its end says that this was all. */
        outbox_nats__say(c->why, sizeof(c->why), "the server refused something", NATS_NOT_PERMITTED);
        if (!outbox_nats_link__end(c->link))
            return 0;
        take_refusals(c);
    }
    outbox_flight__answer_all(&c->flight, OUTBOX_PUBLISHED, NULL);
    return !natsConnection_IsClosed(c->link->nc);
}

static enum course step(struct call *c)
{
    if (!send_ready(c))
        return BROKEN;
    if (c->flight.in_flight == 0)
        return DONE;
    if (!(c->p->login.mode == CORE ? flush_core(c)
                                   : take_messages(c, c->p->ack_ms < WAIT_MS ? c->p->ack_ms : WAIT_MS)) ||
        !take_refusals(c))
        return BROKEN;
    if (c->flight.in_flight > 0 && outbox_flight__now_ms() - c->moved_ms > c->p->ack_ms) {
        snprintf(c->why, sizeof(c->why), "no acknowledgement came for %lld ms (nats.ack_timeout)",
                 (long long)c->p->ack_ms);
        return BROKEN;
    }
    return GO_ON;
}

static int run(struct call *c, outbox_error **err)
{
    enum course course = GO_ON;

    while (course == GO_ON && !c->flight.cancelled)
        course = step(c);
    outbox_flight__wake_by(&c->flight, NULL, NULL);
    /* What was acknowledged before the end is not unknown. */
    if (course == BROKEN && c->p->login.mode == JETSTREAM)
        take_messages(c, 0);
    if (course == DONE && !c->flight.cancelled) {
        outbox_pool__give(&c->p->pool, &c->link->base);
        return OUTBOX_OK;
    }
    outbox_nats_link__free(c->link);
    if (course == GO_ON || c->flight.cancelled) /* what is left is not answered: the relay knows best what that means */
        return outbox_error_new(err, OUTBOX_ERR_LOST, "publisher.nats",
                                "NATS did not acknowledge all messages before the call was cancelled");
    outbox_flight__answer_all(&c->flight, OUTBOX_UNKNOWN, c->why);
    return outbox_error_format(err, OUTBOX_ERR_LOST, "publisher.nats", "lost the connection to %s (%s)",
                               outbox_target_shown(c->p->login.target), c->why);
}

static int nats_publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct call c = { .p = self };
    int rc = outbox_flight__enter(&c.flight, &c.p->pool, delivery, err);

    if (rc != OUTBOX_OK)
        return rc;
    rc = link_get(&c, err);
    if (rc == OUTBOX_OK) {
        c.link->serial++;
        c.why[0] = '\0';
        outbox_flight__wake_by(&c.flight, outbox_nats_link__wake, c.link);
        rc = run(&c, err);
    }
    outbox_flight__leave(&c.flight);
    return rc;
}

static void nats_cancel(void *self, outbox_delivery *delivery)
{
    struct publisher *p = self;

    outbox_pool__cancel(&p->pool, delivery);
}

/* Any server will do; what the last one said is told. */
static int nats_reach(void *self, outbox_error **err)
{
    struct publisher *p = self;
    struct outbox_nats_link *link = NULL;
    struct outbox_sigpipe signals;
    size_t count, i;
    const outbox_endpoint *all = outbox_target_endpoints(p->login.target, &count);
    outbox_error *why = NULL;
    atomic_int never = 0;

    outbox_sigpipe__hold(&signals);
    for (i = 0; i < count && link == NULL; i++) {
        outbox_error_free(why);
        why = NULL;
        link = outbox_nats_link__new(&p->login, &all[i], &never, &why);
    }
    outbox_nats_link__free(link);
    outbox_sigpipe__release(&signals);
    return outbox_flight__reached(link != NULL, why, err);
}

/* ---- The publisher ---- */

static void wipe(char *secret)
{
    volatile char *p = secret; /* or a compiler leaves it out */

    while (p != NULL && *p != '\0')
        *p++ = '\0';
    free(secret);
}

static void nats_close(void *self)
{
    struct publisher *p = self;
    struct outbox_link *link;

    while ((link = outbox_pool__take(&p->pool)) != NULL)
        outbox_nats_link__free((struct outbox_nats_link *)link);
    outbox_pool__destroy(&p->pool);
    wipe(p->login.user);
    wipe(p->login.password);
    wipe(p->login.token);
    free(p);
}

/* libnats puts these between quotes as they are. Returns 0 when there is no memory. */
static int as_json(const char *text, char **escaped)
{
    json_t *value = text != NULL ? json_string(text) : NULL;
    char *quoted = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

    json_decref(value);
    if (quoted == NULL)
        return text == NULL;
    *escaped = strndup(quoted + 1, strlen(quoted) - 2);
    wipe(quoted);
    return *escaped != NULL;
}

static int nats_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops nats_ops = {
        .size = sizeof(nats_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "nats",
        .publish = nats_publish,
        .cancel = nats_cancel,
        .close = nats_close,
        .reach = nats_reach,
    };
    struct publisher *p;

    if (outbox_target_secret(target, "tls.key_password") != NULL)
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.nats_settings",
                                "nats.tls.key_password: libnats takes no key with a password; decrypt the file");
    p = calloc(1, sizeof(*p));
    if (p == NULL || outbox_pool__init(&p->pool) != 0) {
        free(p);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    p->login.target = target;
    p->stream = outbox_target_text(target, "stream");
    p->login.mode = (enum outbox_nats_mode)outbox_target_number(target, "mode");
    p->window = (size_t)outbox_target_number(target, "window");
    p->max_message = outbox_target_number(target, "max_message");
    p->ack_ms = outbox_target_number(target, "ack_timeout") / 1000;
    p->login.connect_ms = outbox_target_number(target, "connect_timeout") / 1000;
    if (!as_json(outbox_target_secret(target, "user"), &p->login.user) ||
        !as_json(outbox_target_secret(target, "password"), &p->login.password) ||
        !as_json(outbox_target_secret(target, "token"), &p->login.token)) {
        nats_close(p);
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.nats_settings",
                                "nats.user, nats.password or nats.token is not UTF-8, or there is no memory");
    }
    *ops = &nats_ops;
    *self = p;
    return OUTBOX_OK;
}

static const outbox_setting settings[] = {
    { "mode", OUTBOX_SETTING_CHOICE, "jetstream", 0, 0, "jetstream|core",
      "jetstream: a stream acknowledges each message; core: the server has read it, and nobody need have stored it." },
    { "stream", OUTBOX_SETTING_TEXT, "", 0, 255, NULL,
      "Stream that must take the messages; empty: whichever takes the subject." },
    { "max_message", OUTBOX_SETTING_SIZE, "64MiB", 1, INT64_C(1) << 30, NULL,
      "Largest payload that is sent; a message with a larger one is rejected." },
    { "window", OUTBOX_SETTING_INTEGER, "4096", 1, 1000000, NULL,
      "Messages that may be on their way on a connection without an acknowledgement." },
    { "ack_timeout", OUTBOX_SETTING_DURATION, "30s", 100000, INT64_C(3600) * 1000000, NULL,
      "How long no acknowledgement may come before the outcome of what is on its way counts as unknown." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 100000, INT64_C(60) * 1000000, NULL,
      "How long connecting to a server may take." },
    { "inbox_prefix", OUTBOX_SETTING_TEXT, "_INBOX", 1, 200, NULL,
      "What the subjects of acknowledgements begin with, for users that may not subscribe to all of _INBOX." },
    { "token", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Token to log in with, instead of a user and password." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL, "User; empty: that of the URL, or none." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password, if the URL has none." },
    { "credentials_file", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL,
      "File with a user's JWT and seed, as NATS's tools write it." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_INTEGER, NULL, 0, 0, NULL, NULL },
};

OUTBOX_API const outbox_publisher_module *outbox_publisher_nats(void);

const outbox_publisher_module *outbox_publisher_nats(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .name = "nats",
        .settings = settings,
        .open = nats_open,
    };

    return &module;
}
