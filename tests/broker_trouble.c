/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each publisher has to do when its server is killed, restarted or hangs; see broker.h. */
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MANY 10000
#define BATCH 1000
#define KEYS 97

struct assault {
    struct broker *b;
    const char *topic;
    void (*act)(struct broker *b);
    int done;
    long seen, after; /* so many; 0: 200 */
    pthread_t thread;
};

/* As soon as some messages are there, whatever else the consumer would find: it may never catch up with the publisher. */
static void hit(void *user, const struct taken *t)
{
    struct assault *a = user;

    (void)t;
    if (++a->seen < (a->after > 0 ? a->after : 200) || a->done)
        return;
    a->act(a->b);
    a->done = 1;
}

/* As soon as the first messages are there. */
static void *assault_run(void *user)
{
    struct assault *a = user;
    int there;

    WAIT_FOR((a->seen = 0, a->b->kind->consume(a->b, a->topic, hit, a), a->done), there);
    CHECK(there, "nothing came");
    return NULL;
}

/* Sends all in one delivery, so that the server is hit in the middle of it. */
static void send_under(struct assault *a, struct parcel *p, long timeout_ms)
{
    pthread_create(&a->thread, NULL, assault_run, a);
    parcel_send(p, 0, p->count, timeout_ms);
    pthread_join(a->thread, NULL);
}

static void check_all_there(struct broker *b, struct parcel *p, const char *topic)
{
    struct ledger l;

    CHECK(parcel_send_all(p, BATCH), "%zu of %zu are published: %s", parcel_count(p, FATE_PUBLISHED), p->count, p->why);
    ledger_read(&l, b, topic, (long)p->count, KEYS);
    if (b->kind->flags & BROKER_DURABLE)
        CHECK_INT(l.distinct, (long)p->count);
    if (b->kind->flags & BROKER_IDS)
        CHECK_INT(l.repeated, 0);
    tap_note("%ld of %zu messages came twice", l.repeated, p->count);
    ledger_free(&l);
}

static void test_killed(struct broker *b)
{
    struct assault a = { .b = b, .topic = "killed", .act = broker_kill, .after = b->kind->under_way };
    struct parcel p, later = {0};
    struct ledger l;

    REQUIRE(broker_prepare(&p, b, "killed", 3 * MANY, KEYS), "not prepared");
    send_under(&a, &p, 60000);
    CHECK(parcel_count(&p, FATE_PUBLISHED) > 0 && parcel_count(&p, FATE_PUBLISHED) < p.count,
          "it was not in the middle");
    tap_note("of %zu messages %zu were published and %zu are unknown: %s", p.count, parcel_count(&p, FATE_PUBLISHED),
             parcel_count(&p, FATE_UNKNOWN), p.why);
    CHECK_INT(parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    /* Nobody is there: nothing can be said to be published, nor is anything to blame. */
    REQUIRE(parcel_make(&later, "killed", 3 * MANY, 10, KEYS) == 0 && broker_open(&later, b, BROKER_PLAIN, NULL, NULL) == 0,
            "not prepared");
    CHECK_INT(parcel_send(&later, 0, 10, 60000), DELIVERY_UNAVAILABLE);
    CHECK_INT(parcel_count(&later, FATE_NONE), 10);
    parcel_free(&later);
    REQUIRE_INT(broker_restart(b), 0);
    if (b->kind->flags & BROKER_DURABLE) {
        ledger_read(&l, b, "killed", (long)p.count, KEYS);
        for (size_t i = 0; i < p.count; i++)
            CHECK(l.has[i] || p.items[i].fate != FATE_PUBLISHED, "message %zu was acknowledged and is lost", i);
        for (size_t i = 0; i < p.count; i++)
            CHECK(!l.has[i] || p.items[i].fate == FATE_PUBLISHED || p.items[i].fate == FATE_UNKNOWN,
                  "message %zu is there, and its fate is %d", i, (int)p.items[i].fate);
        ledger_free(&l);
    }
    check_all_there(b, &p, "killed");
    parcel_free(&p);
}

static void test_hanging(struct broker *b)
{
    struct parcel p;

    REQUIRE(broker_prepare(&p, b, "hanging", 3000, KEYS), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
    broker_pause(b);
    parcel_send(&p, 1000, 1000, 300);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 1000);
    CHECK_INT(parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    /* Connecting hangs now, too. (The same messages: no relay would send those behind them now.) */
    parcel_send(&p, 1000, 1000, 300);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 1000);
    broker_resume(b);
    check_all_there(b, &p, "hanging");
    parcel_free(&p);
}

static void test_closed_while_busy_elsewhere(struct broker *b)
{
    struct parcel p;

    REQUIRE(broker_prepare(&p, b, "again", 2000, KEYS), "not prepared");
    CHECK_INT(parcel_send(&p, 0, 1000, 60000), DELIVERY_DONE);
    REQUIRE_INT(broker_restart(b), 0);
    /* The connection that is left of the server before is seen to be dead before anything is sent by it. */
    CHECK_INT(parcel_send(&p, 1000, 1000, 60000), DELIVERY_DONE);
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED), 2000);
    check_all_there(b, &p, "again");
    parcel_free(&p);
}

/* ---- With a relay ---- */

#define RELAYED 3000
#define KEPT_BACK 300 /* until the server is away: by then all others may be through */

/* Messages from … to - 1 of RELAYED. */
static int enqueue_some(struct fixture *fx, const char *topic, size_t from, size_t to)
{
    struct parcel p = {0};
    int ok = parcel_make(&p, topic, 0, RELAYED, KEYS) == 0 && parcel_enqueue(&p, fx, from, to);

    parcel_free(&p);
    return ok;
}

static uint64_t outages_of(outbox_relay *relay)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;

    outbox_relay_stats_get(relay, &s);
    return s.outages;
}

/* The server is away for many of the relay's probes, and nobody pays: what was on its way when it went may have been charged
 * once, as nobody knows what became of it, and a probe when it is half up again; a third attempt would be the last. */
static void relay_through(struct fixture *fx, struct broker *b, const char *topic)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    struct assault a = { .b = b, .topic = topic, .act = broker_kill };
    struct ledger l;
    char url[300];
    int done;

    b->kind->url(b, BROKER_PLAIN, url, sizeof url, fx->conf);
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.batch_size", "50");
    fixture_set(fx, "retry.max_attempts", "3");
    fixture_set(fx, "breaker.wait_max", "200ms");
    MUST(outbox_publisher_open(url, fx->conf, &publisher, &fx->err));
    MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    MUST(outbox_relay_start(relay, &fx->err));
    assault_run(&a);
    CHECK(enqueue_some(fx, topic, RELAYED - KEPT_BACK, RELAYED), "not sent");
    WAIT_FOR(outages_of(relay) > 0, done);
    CHECK(done, "the relay does not notice");
    poll(NULL, 0, 2000);
    broker_restart(b);
    WAIT_FOR(count_waiting(fx) == 0, done);
    CHECK(done, "%lld messages wait, %lld are dead", (long long)count_waiting(fx), (long long)count_state(fx, OUTBOX_DEAD));
    outbox_relay_stop(relay);
    OK(outbox_relay_join(relay, &fx->err));
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    ledger_read(&l, b, topic, RELAYED, KEYS);
    if (b->kind->flags & BROKER_DURABLE)
        CHECK_INT(l.distinct, RELAYED);
    tap_note("%ld of %d messages came twice", l.repeated, RELAYED);
    ledger_free(&l);
}

static void test_relay(struct broker *b)
{
    struct fixture fx;

    REQUIRE_INT(b->kind->make(b, "relayed", 0), 0);
    if (fixture_open(&fx, target_find("sqlite/position")) == 0 && enqueue_some(&fx, "relayed", 0, RELAYED - KEPT_BACK))
        relay_through(&fx, b, "relayed");
    fixture_close(&fx);
}

/* Asked without a message; what is said when it cannot be. */
static void reaches(struct broker *b, enum broker_way way, int wanted)
{
    struct parcel p = {0};
    int64_t start = monotonic_us();
    int rc;

    REQUIRE(parcel_make(&p, "reach", 0, 1, 0) == 0 && broker_open(&p, b, way, NULL, NULL) == 0, "not prepared");
    rc = outbox_publisher_reach(p.publisher, &p.err);
    CHECK(rc == wanted, "way %d: %d, not %d: %s", (int)way, rc, wanted, outbox_error_message(p.err));
    CHECK((rc < 0) == (p.err != NULL), "way %d: %d, and the error is: %s", (int)way, rc, outbox_error_message(p.err));
    CHECK(strstr(outbox_error_message(p.err), "s3cr3t") == NULL, "what is said: %s", outbox_error_message(p.err));
    CHECK(monotonic_us() - start < 60 * SECOND_US, "it took %.1f s", (double)(monotonic_us() - start) / SECOND_US);
    if (rc < 0)
        tap_note("%s", outbox_error_message(p.err));
    parcel_free(&p);
}

static void test_reach(struct broker *b)
{
    reaches(b, BROKER_PLAIN, OUTBOX_OK);
    if (b->kind->flags & BROKER_TLS) {
        reaches(b, BROKER_BY_TLS, OUTBOX_OK);
        reaches(b, BROKER_WRONG_CA, OUTBOX_ERR_CONNECT);
    }
    if (b->kind->flags & BROKER_PASSWORD)
        reaches(b, BROKER_WRONG_PASSWORD, b->kind->flags & BROKER_NO_LOGIN ? OUTBOX_OK : OUTBOX_ERR_CONNECT);
    broker_kill(b);
    reaches(b, BROKER_PLAIN, OUTBOX_ERR_CONNECT);
    CHECK_INT(broker_restart(b), 0);
    reaches(b, BROKER_PLAIN, OUTBOX_OK);
}

/* ---- */

const struct broker_test broker_trouble[] = {
    { "whether it can be reached", test_reach },
    { "restarted between two deliveries", test_closed_while_busy_elsewhere },
    { "hanging", test_hanging },
    { "killed in the middle", test_killed },
    { "a relay, and the server killed meanwhile", test_relay },
    { NULL, NULL },
};
