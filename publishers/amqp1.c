/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AMQP 1.0: "amqp1://USER@HOST", or "amqp1s://HOST" with TLS, by qpid-proton. A loadable module.
 *
 * Each message is answered by an outcome: the peer has accepted, rejected, released or modified it. That is all there
 * is in the protocol, and all that is believed: nothing is published that was not accepted.
 *
 * Order: of one topic and key one message is on its way, as outbox_delivery_ready() gives them out, since a message
 * that is released or rejected stops none behind it. All others travel side by side, up to the window.
 *
 * Who is to blame. A peer can end a link, or the session around it, for a message that it cannot bear, and does not say
 * which one. So each address has a session of its own. When it ends with an error, what was on its way there goes once
 * more, one at a time, and one that ends it alone is the one.
 *
 * Threads: publish() runs on several relay threads at once, each with a connection of its own (amqp1_link.c). */
#include "amqp1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 1000
/* Outcomes are looked at after so many messages, so that none waits for all to be sent. */
#define BURST 64

struct publisher {
    struct outbox_pool pool;
    struct amqp1_login login;
    size_t window;
    int64_t ack_ms, max_message;
    atomic_uint endpoint; /* which to try next */
};

enum course { GO_ON, DONE, BROKEN };

/* Where a message is that is on its way. */
struct place {
    const struct amqp1_sender *sender; /* NULL: nowhere */
    pn_delivery_t *delivery;
    size_t size;
    int doubtful; /* it may have ended its session, and goes alone once more */
};

/* A call of publish(). */
struct call {
    struct outbox_flight flight;
    struct publisher *p;
    struct amqp1_link *link;
    struct place *places; /* by index */
    size_t doubts, held;  /* held: one that waits for a free address, and its index plus 1 */
    int64_t moved_ms;     /* when the last outcome came */
    char why[AMQP1_WHY];
};

/* One that waits and is still connected, or a new one. */
static int link_get(struct call *c, outbox_error **err)
{
    struct amqp1_login *login = &c->p->login;
    const outbox_endpoint *all;
    size_t count;
    int there;

    while ((c->link = (struct amqp1_link *)outbox_pool__take(&c->p->pool)) != NULL) {
        if (amqp1_link_is_fit(c->link))
            return OUTBOX_OK;
        amqp1_link_free(c->link);
    }
    if (!outbox_pool__wait(&c->p->pool, &c->flight))
        return outbox_error_new(err, OUTBOX_ERR_CONNECT, "publisher.amqp1",
                                "the call was cancelled before it was connected");
    c->link = amqp1_link_new(login, err);
    if (c->link == NULL)
        return OUTBOX_ERR_CONNECT;
    outbox_flight__wake_by(&c->flight, amqp1_link_wake, c->link);
    all = outbox_target_endpoints(login->target, &count);
    there = !c->flight.cancelled && amqp1_link_connect(c->link, &all[c->p->endpoint % count]);
    c->p->endpoint += !there;
    outbox_pool__tried(&c->p->pool, there);
    if (there)
        return OUTBOX_OK;
    outbox_flight__wake_by(&c->flight, NULL, NULL);
    outbox_error_format(err, OUTBOX_ERR_CONNECT, "publisher.amqp1", "cannot connect to %s (%s)",
                        outbox_target_shown(login->target), c->link->why);
    amqp1_link_free(c->link);
    return OUTBOX_ERR_CONNECT;
}

/* ---- Outcomes ---- */

static void answer(struct call *c, size_t index, outbox_verdict verdict, const char *why)
{
    if (c->places[index].doubtful)
        c->doubts--;
    c->places[index] = (struct place){ 0 };
    c->moved_ms = outbox_flight__now_ms();
    outbox_flight__answer(&c->flight, index, verdict, -1, why);
}

static void say_outcome(char why[AMQP1_WHY], const char *what, pn_disposition_t *d)
{
    pn_condition_t *condition = pn_disposition_condition(d);
    const char *name = pn_condition_get_name(condition), *text = pn_condition_get_description(condition);

    snprintf(why, AMQP1_WHY, "the peer has %s it%s%s%s%s", what, name != NULL ? ": " : ", and gives no reason",
             name != NULL ? name : "", text != NULL ? ": " : "", text != NULL ? text : "");
    outbox_flight__clean(why);
}

static void take_outcome(void *user, size_t index, pn_delivery_t *delivery)
{
    struct call *c = user;
    pn_disposition_t *d = pn_delivery_remote(delivery);
    int undeliverable = pn_disposition_is_undeliverable(d);
    char why[AMQP1_WHY];

    if (!outbox_flight__is_away(&c->flight, index) || c->places[index].delivery != delivery)
        return;
    switch (pn_delivery_remote_state(delivery)) {
    case PN_ACCEPTED:
        answer(c, index, OUTBOX_PUBLISHED, NULL);
        break;
    case PN_REJECTED:
        say_outcome(why, "rejected", d);
        answer(c, index, OUTBOX_REJECT, why);
        break;
    case PN_RELEASED:
        answer(c, index, OUTBOX_RETRY, "the peer has released it: it could not be taken now");
        break;
    case PN_MODIFIED:
        answer(c, index, undeliverable ? OUTBOX_REJECT : OUTBOX_RETRY,
               undeliverable ? "the peer has sent it back as undeliverable there" : "the peer has sent it back");
        break;
    default:
        answer(c, index, OUTBOX_UNKNOWN, "the peer has settled it without an outcome");
        break;
    }
}

/* What will be the same when it is sent again: there is no such address, or the message does not suit. Anything else,
 * such as a missing right or resource, may be another day. */
static outbox_verdict verdict_of(const char *condition)
{
    static const char *const for_good[] = {
        "amqp:not-found", "amqp:not-allowed", "amqp:not-implemented", "amqp:invalid-field", "amqp:decode-error",
        "amqp:precondition-failed", "amqp:link:message-size-exceeded",
    };

    for (size_t i = 0; condition != NULL && i < sizeof(for_good) / sizeof(for_good[0]); i++)
        if (strcmp(condition, for_good[i]) == 0)
            return OUTBOX_REJECT;
    return OUTBOX_RETRY;
}

/* An address was refused, or something that was sent there; or the peer wants to be rid of it, with no error. */
static void take_end(void *user, const struct amqp1_sender *sender, const char *condition, const char *why)
{
    struct call *c = user;

    for (size_t i = 0; i < c->flight.count; i++) {
        struct place *place = &c->places[i];

        if (place->sender != sender)
            continue;
        if (!sender->attached || (condition != NULL && sender->in_flight == 1)) {
            answer(c, i, verdict_of(condition), why);
        } else if (condition == NULL) {
            answer(c, i, OUTBOX_UNKNOWN, why);
        } else {
            c->doubts += !place->doubtful;
            *place = (struct place){ .doubtful = 1 };
        }
    }
    if (c->doubts > 0)
        outbox_target_log(c->p->login.target, OUTBOX_LOG_INFO, "%s (%s): what was not accepted goes one at a time", why,
                          sender->address);
}

/* Larger ones than the peer has said that it takes would end the link. */
static int too_large_for_peer(struct call *c, const struct amqp1_sender *s, size_t index, size_t size)
{
    uint64_t limit = pn_link_remote_max_message_size(s->link);
    char why[160];

    if (!s->attached || limit == 0 || size <= limit)
        return 0;
    snprintf(why, sizeof(why), "too large: the message has %zu bytes, and the peer takes %llu there", size,
             (unsigned long long)limit);
    answer(c, index, OUTBOX_REJECT, why);
    return 1;
}

/* What waits for it was put there before the peer's limit was known. */
static void take_attached(void *user, struct amqp1_sender *sender)
{
    struct call *c = user;

    for (size_t i = 0; i < c->flight.count; i++) {
        pn_delivery_t *delivery = c->places[i].delivery;

        if (c->places[i].sender != sender || !too_large_for_peer(c, sender, i, c->places[i].size))
            continue;
        pn_delivery_abort(delivery);
        sender->in_flight--;
    }
}

static const struct amqp1_events events = { take_outcome, take_attached, take_end };

/* ---- Sending ---- */

static void put(struct call *c, struct amqp1_sender *s, size_t index)
{
    uint64_t tag = ++c->link->names;
    pn_delivery_t *d = pn_delivery(s->link, pn_dtag((const char *)&tag, sizeof(tag)));

    pn_delivery_set_context(d, (void *)(uintptr_t)index);
    pn_link_send(s->link, c->link->bytes, c->link->size);
    pn_link_advance(s->link);
    s->in_flight++;
    c->places[index].sender = s;
    c->places[index].delivery = d;
    c->places[index].size = c->link->size;
}

/* Sends one message, or answers it. 0: there is no free address for it now. */
static int send_one(struct call *c, const outbox_record *r, size_t index)
{
    struct amqp1_sender *s;
    const char *why = NULL;
    char *address;
    int rc = outbox_envelope_fill(c->link->envelope, r, &why);

    if (rc != OUTBOX_OK) {
        answer(c, index, rc == OUTBOX_ERR_INVALID ? OUTBOX_REJECT : OUTBOX_RETRY, why);
        return 1;
    }
    if (outbox_flight__too_large(&c->flight, index, c->link->envelope, c->p->max_message, "amqp1.max_message"))
        return 1;
    why = amqp1_message_make(c->link, r);
    address = why == NULL ? amqp1_message_address(c->link) : NULL;
    if (address == NULL) {
        answer(c, index, OUTBOX_RETRY, why != NULL ? why : "out of memory while a message was made");
        return 1;
    }
    s = amqp1_link_sender(c->link, address);
    free(address);
    if (s == NULL)
        return 0;
    if (!too_large_for_peer(c, s, index, c->link->size))
        put(c, s, index);
    return 1;
}

/* On the wire, or on the way there. */
static size_t sent(const struct call *c)
{
    return c->flight.in_flight - c->doubts - (c->held > 0);
}

/* One that may have ended its session, alone. */
static void send_doubtful(struct call *c)
{
    size_t i;

    for (i = 0; i < c->flight.count && !c->places[i].doubtful; i++)
        continue;
    if (i == c->flight.count)
        return;
    c->places[i].doubtful = 0;
    c->doubts--;
    if (!send_one(c, outbox_delivery_message(c->flight.delivery, i), i))
        answer(c, i, OUTBOX_UNKNOWN, "out of memory for a link");
}

static const outbox_record *next(struct call *c, size_t *index)
{
    if (c->held == 0)
        return outbox_flight__next(&c->flight, index);
    *index = c->held - 1;
    c->held = 0;
    return outbox_delivery_message(c->flight.delivery, *index);
}

/* Sends what may go; outcomes make more ready meanwhile. Returns 0 when the link broke. */
static int send_ready(struct call *c)
{
    const outbox_record *r;
    size_t index, count = 0;

    while (c->doubts == 0 && sent(c) < c->p->window && (r = next(c, &index)) != NULL) {
        if (!send_one(c, r, index)) {
            c->held = index + 1;
            return 1;
        }
        if (++count % BURST == 0 && !amqp1_link_step(c->link, 0))
            return 0;
    }
    return 1;
}

/* ---- A call ---- */

static enum course step(struct call *c)
{
    if (sent(c) == 0) /* it was idle until now */
        c->moved_ms = outbox_flight__now_ms();
    if (c->doubts > 0 && sent(c) == 0)
        send_doubtful(c);
    else if (!send_ready(c))
        return BROKEN;
    if (c->flight.in_flight == 0)
        return DONE;
    if (!amqp1_link_step(c->link, c->p->ack_ms < WAIT_MS ? c->p->ack_ms : WAIT_MS))
        return BROKEN;
    if (sent(c) == 0 || outbox_flight__now_ms() - c->moved_ms <= c->p->ack_ms)
        return GO_ON;
    snprintf(c->link->why, sizeof(c->link->why), "no outcome came for %lld ms (amqp1.ack_timeout)",
             (long long)c->p->ack_ms);
    return BROKEN;
}

/* What never left is charged nothing; what may have arrived is unknown. */
static void answer_lost(struct call *c)
{
    for (size_t i = 0; i < c->flight.count; i++) {
        const struct place *place = &c->places[i];

        if (place->doubtful || (place->sender != NULL && !pn_delivery_buffered(place->delivery)))
            answer(c, i, OUTBOX_UNKNOWN, c->why);
    }
}

static int run(struct call *c, outbox_error **err)
{
    enum course course = GO_ON;
    int rc = OUTBOX_ERR_LOST;

    c->link->events = &events;
    c->link->user = c;
    while (course == GO_ON && !c->flight.cancelled)
        course = step(c);
    outbox_flight__wake_by(&c->flight, NULL, NULL);
    c->link->used_ms = outbox_flight__now_ms();
    if (course == DONE && !c->flight.cancelled) {
        outbox_pool__give(&c->p->pool, &c->link->base);
        return OUTBOX_OK;
    }
    snprintf(c->why, sizeof(c->why), "%s", c->link->why);
    if (c->flight.cancelled) /* what is left is not answered: the relay knows best what that means */
        outbox_error_new(err, rc, "publisher.amqp1", "not all messages were accepted before the call was cancelled");
    else
        outbox_error_format(err, rc, "publisher.amqp1", "lost the connection to %s (%s)",
                            outbox_target_shown(c->p->login.target), c->why);
    if (!c->flight.cancelled)
        answer_lost(c);
    amqp1_link_free(c->link);
    return rc;
}

static int amqp1_publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    struct call c = { .p = self };
    int rc = outbox_flight__enter(&c.flight, &c.p->pool, delivery, err);

    if (rc != OUTBOX_OK)
        return rc;
    c.places = calloc(c.flight.count, sizeof(*c.places));
    if (c.places == NULL)
        rc = outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory", "out of memory while messages were sent");
    else
        rc = link_get(&c, err);
    if (rc == OUTBOX_OK) {
        outbox_flight__wake_by(&c.flight, amqp1_link_wake, c.link);
        rc = run(&c, err);
    }
    outbox_flight__leave(&c.flight);
    free(c.places);
    return rc;
}

static void amqp1_cancel(void *self, outbox_delivery *delivery)
{
    struct publisher *p = self;

    outbox_pool__cancel(&p->pool, delivery);
}

/* Any host will do; what the last one said is told. Addresses are not attached: topics name them. */
static int amqp1_reach(void *self, outbox_error **err)
{
    struct publisher *p = self;
    struct outbox_sigpipe signals;
    size_t count, i;
    const outbox_endpoint *all = outbox_target_endpoints(p->login.target, &count);
    outbox_error *why = NULL;
    int there = 0;

    outbox_sigpipe__hold(&signals);
    for (i = 0; i < count && !there; i++) {
        struct amqp1_link *link;

        outbox_error_free(why);
        why = NULL;
        link = amqp1_link_new(&p->login, &why);
        if (link == NULL)
            break;
        there = amqp1_link_connect(link, &all[i]);
        if (!there)
            outbox_error_format(&why, OUTBOX_ERR_CONNECT, "publisher.amqp1", "%s cannot be reached: %s",
                                outbox_target_shown(p->login.target), link->why);
        amqp1_link_free(link);
    }
    outbox_sigpipe__release(&signals);
    return outbox_flight__reached(there, why, err);
}

/* ---- The publisher ---- */

static void amqp1_close(void *self)
{
    struct publisher *p = self;
    struct outbox_link *link;

    while ((link = outbox_pool__take(&p->pool)) != NULL)
        amqp1_link_free((struct amqp1_link *)link);
    outbox_pool__destroy(&p->pool);
    free(p);
}

/* NULL: what was asked for cannot be. */
static const char *mechanism(const outbox_target *target)
{
    static const char *const names[] = { NULL, "PLAIN", "ANONYMOUS", "EXTERNAL" };
    const char *name = names[outbox_target_number(target, "auth")];
    const char *user = outbox_target_secret(target, "user");

    if (name == NULL)
        return user != NULL ? "PLAIN" : "ANONYMOUS";
    return strcmp(name, "PLAIN") == 0 && user == NULL ? NULL : name;
}

static int set_up(struct publisher *p, const outbox_target *target, outbox_error **err)
{
    p->login.target = target;
    p->login.connect_ms = outbox_target_number(target, "connect_timeout") / 1000;
    p->login.heartbeat_ms = outbox_target_number(target, "heartbeat") / 1000;
    p->login.mechanism = mechanism(target);
    p->window = (size_t)outbox_target_number(target, "window");
    p->ack_ms = outbox_target_number(target, "ack_timeout") / 1000;
    p->max_message = outbox_target_number(target, "max_message");
    if (p->login.mechanism == NULL)
        return outbox_error_new(err, OUTBOX_ERR_CONF, "publisher.amqp1_settings",
                                "amqp1.auth = plain needs a user: set amqp1.user, or name one in the URL");
    if (outbox_target_path(target)[0] != '\0')
        return outbox_error_new(err, OUTBOX_ERR_INVALID, "publisher.amqp1_url",
                                "the URL of an AMQP 1.0 peer has no path: say by amqp1.address where messages go, and "
                                "by amqp1.hostname which virtual host is meant");
    p->login.tls = outbox_target_is(target, "amqp1s");
    return p->login.tls ? amqp1_link_check_tls(target, err) : OUTBOX_OK;
}

static int amqp1_open(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    static const outbox_publisher_ops amqp1_ops = {
        .size = sizeof(amqp1_ops),
        .abi = OUTBOX_PUBLISHER_ABI,
        .flags = OUTBOX_PUBLISHER_IN_ORDER,
        .name = "amqp1",
        .publish = amqp1_publish,
        .cancel = amqp1_cancel,
        .close = amqp1_close,
        .reach = amqp1_reach,
    };
    struct publisher *p = calloc(1, sizeof(*p));
    int rc;

    if (p == NULL || outbox_pool__init(&p->pool) != 0) {
        free(p);
        return outbox_error_new(err, OUTBOX_ERR_NOMEM, "publisher.memory",
                                "out of memory while a publisher was opened");
    }
    rc = set_up(p, target, err);
    if (rc != OUTBOX_OK) {
        amqp1_close(p);
        return rc;
    }
    *ops = &amqp1_ops;
    *self = p;
    return OUTBOX_OK;
}

static const outbox_setting settings[] = {
    { "address", OUTBOX_SETTING_TEXT, "{topic}", 1, 1024, NULL,
      "Where messages go; {topic} stands for the topic. outbox_amqp1(7) has those of RabbitMQ." },
    { "hostname", OUTBOX_SETTING_TEXT, "", 0, 255, NULL,
      "What the connection is opened for, such as vhost:NAME for RabbitMQ; empty: the URL's host." },
    { "durable_target", OUTBOX_SETTING_CHOICE, "off", 0, 0, "off|on",
      "on: what the peer makes for an address shall be durable; RabbitMQ needs it for /queue/{topic}." },
    { "group_id", OUTBOX_SETTING_CHOICE, "none", 0, 0, "none|key",
      "key: the property group-id is the message's key, for brokers that keep the order of a group." },
    { "auth", OUTBOX_SETTING_CHOICE, "auto", 0, 0, "auto|plain|anonymous|external",
      "How to log in. auto: by user and password when there is a user, else as nobody." },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 255, NULL, "User; empty: that of the URL, or none." },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password of the user." },
    { "window", OUTBOX_SETTING_INTEGER, "4096", 1, 1000000, NULL,
      "Messages that may be on their way on a connection without an outcome." },
    { "max_message", OUTBOX_SETTING_SIZE, "128MiB", 1, INT64_C(512) << 20, NULL,
      "Largest payload that is sent; a message with a larger one is rejected." },
    { "ack_timeout", OUTBOX_SETTING_DURATION, "30s", 100000, INT64_C(3600000000), NULL,
      "How long no outcome may come before that of what is on its way counts as unknown." },
    { "connect_timeout", OUTBOX_SETTING_DURATION, "5s", 100000, INT64_C(3600000000), NULL,
      "How long connecting to a host may take, with the login." },
    { "heartbeat", OUTBOX_SETTING_DURATION, "30s", 0, INT64_C(3600000000), NULL,
      "A peer that says nothing for so long is gone (AMQP's idle timeout); 0: never." },
    OUTBOX_SETTINGS_TLS,
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

OUTBOX_API const outbox_publisher_module *outbox_publisher_amqp1(void);

const outbox_publisher_module *outbox_publisher_amqp1(void)
{
    static const outbox_publisher_module module = {
        .size = sizeof(module),
        .abi = OUTBOX_PUBLISHER_MODULE_ABI,
        .name = "amqp1",
        .settings = settings,
        .open = amqp1_open,
    };

    return &module;
}
