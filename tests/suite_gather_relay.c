/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A relay whose batches come from several lanes: all leases are renewed, a message that hangs, the pause between batches. */
#include <stdio.h>
#include <string.h>

#include "lanes.h"
#include "script.h"
#include "stage.h"
#include "suite.h"

void lanes_keys(char keys[KEYS][12], int lanes[KEYS])
{
    int n = 0;

    for (int i = 0; n < KEYS; i++) {
        int known = 0;

        snprintf(keys[n], sizeof keys[n], "k%d", i);
        lanes[n] = outbox_lane_of_key(keys[n], 64);
        for (int j = 0; j < n; j++)
            known |= lanes[j] == lanes[n];
        n += !known;
    }
}

/* A word for each key, for all lanes at once. */
static int send_all(struct fixture *fx, char keys[KEYS][12], const char *word)
{
    int sent = OK(outbox_conn_begin(fx->conn, &fx->err));

    for (int i = 0; i < KEYS && sent; i++)
        sent = send_text(fx, "t", keys[i], word);
    return sent && OK(outbox_conn_commit(fx->conn, &fx->err));
}

/* ---- Leases ---- */

/* Publishes at once what comes from one lane, and keeps what comes from several until it is let go. */
static int publish_alone(void *user, outbox_delivery *d, outbox_error **err)
{
    struct script *s = user;
    const outbox_record *r;
    int first = -1, several = 0, done;
    size_t index;

    (void)err;
    while ((r = outbox_delivery_next(d, &index)) != NULL) {
        first = first < 0 ? outbox_record_lane(r) : first;
        several |= outbox_record_lane(r) != first;
        outbox_delivery_answer(d, index, OUTBOX_PUBLISHED, -1, NULL);
    }
    if (several) {
        pthread_mutex_lock(&s->lock);
        s->inside++;
        pthread_mutex_unlock(&s->lock);
        WAIT_FOR(script_get(s, &s->opened) > 0, done);
        CHECK(done, "not let go");
    }
    return OUTBOX_OK;
}

static void let_go(struct script *s)
{
    pthread_mutex_lock(&s->lock);
    s->opened = 1;
    pthread_mutex_unlock(&s->lock);
}

/* But for the cleaner's, which is longer. */
static int64_t end_of_leases(struct fixture *fx, const char *which)
{
    return db_int(&fx->db, "SELECT %s(lease_until) FROM %slanes WHERE owner IS NOT NULL AND lane >= 0", which, fx->prefix);
}

/* All leases were made at once, so all are renewed when the one that ends first ends later. */
static void test_renewed(struct fixture *fx)
{
    static const outbox_publisher_ops ops = {.size = sizeof ops, .abi = OUTBOX_PUBLISHER_ABI, .name = "alone",
                                             .publish = publish_alone};
    outbox_publisher *publisher = NULL;
    struct act a;
    char keys[KEYS][12];
    int lanes[KEYS], done;
    int64_t until, count;

    lanes_keys(keys, lanes);
    fixture_set(fx, "relay.lease", "3s");
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.publish_timeout", "10min");
    REQUIRE(act_open(fx, &a, FINE, 0) && OK(outbox_publisher_new(&ops, &a.script, &publisher, &fx->err)) &&
            act_swap(fx, &a, publisher) && send_all(fx, keys, "1"), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.inside) == 1, done);
    CHECK(done, "no batch of several lanes");
    count = lanes_held(fx);
    until = end_of_leases(fx, "max");
    WAIT_FOR(end_of_leases(fx, "min") > until, done);
    CHECK(done, "not all leases are renewed");
    CHECK(count > 1 && lanes_held(fx) == count, "%lld lanes were leased, and then %lld", (long long)count,
          (long long)lanes_held(fx));
    let_go(&a.script);
    WAIT_FOR(count_waiting(fx) == 0, done);
    CHECK(done, "not delivered");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(stats_of(&a).fenced, 0);
    CHECK_INT(stats_of(&a).published, KEYS);
    act_close(fx, &a);
}

/* ---- What hangs ---- */

/* A publisher that hangs with one message of several lanes: all others come, and what was answered comes once. */
static void test_hangs(struct fixture *fx)
{
    struct act a;
    char keys[KEYS][12];
    int lanes[KEYS], done;

    lanes_keys(keys, lanes);
    fixture_set(fx, "relay.publish_timeout", "300ms");
    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "retry.max_attempts", "2");
    REQUIRE(act_open(fx, &a, POISON_HANGS, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    send_words(fx, "t", "first", "0");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(script_get(&a.script, &a.script.published) == 1, done);
    CHECK(done, "nothing comes");
    db_exec(&fx->db, "UPDATE %slanes SET lease_until = 1", fx->prefix);
    for (int i = 0; i < KEYS; i++)
        REQUIRE(send_words(fx, "t", keys[i], i == 3 ? "1 poison2 3" : "1 2 3"), "not sent");
    WAIT_FOR(script_get(&a.script, &a.script.published) == KEYS * 3 - 1 && script_get(&a.script, &a.script.dead) == 1, done);
    CHECK(done, "%d published, %d dead", script_get(&a.script, &a.script.published), script_get(&a.script, &a.script.dead));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(a.script.attempts_of_dead, 2);
    CHECK(a.script.cancelled <= 4, "%d cancelled", a.script.cancelled);
    act_close(fx, &a);
}

/* ---- The pause ---- */

/* While messages keep coming, they are waited for a little, and come in fewer batches; in order all the same. */
static void test_linger(struct fixture *fx)
{
    enum { SENT = 1000 };
    struct act a;
    int done;

    fixture_set(fx, "relay.linger", "1s");
    fixture_set(fx, "relay.workers", "1");
    REQUIRE(act_open(fx, &a, FINE, OUTBOX_PUBLISHER_IN_ORDER), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    for (int i = 0; i < SENT; i++)
        REQUIRE(send_words(fx, "t", "k", "1"), "not sent");
    WAIT_FOR(script_get(&a.script, &a.script.published) == SENT, done);
    CHECK(done, "%d published", script_get(&a.script, &a.script.published));
    CHECK(a.script.calls < SENT / 8, "%d calls", a.script.calls);
    act_close(fx, &a);
}

/* Lanes that come one after the other are messages that keep coming: after the fifth the relay pauses, and is stopped there,
 * unless this machine is slower than the pause. */
static void test_stop(struct fixture *fx)
{
    enum { BEFORE = 5 };
    struct act a;
    char keys[KEYS][12];
    int lanes[KEYS], done;

    lanes_keys(keys, lanes);
    fixture_set(fx, "relay.linger", "1s");
    fixture_set(fx, "relay.batch_lanes", "1");
    fixture_set(fx, "relay.workers", "1");
    REQUIRE(act_open(fx, &a, FINE, OUTBOX_PUBLISHER_IN_ORDER) && send_all(fx, keys, "1"), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(count_waiting(fx) <= KEYS - BEFORE, done);
    CHECK(done, "%lld wait", (long long)count_waiting(fx));
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    tap_note("%llu were published before it was stopped", (unsigned long long)stats_of(&a).published);
    CHECK_INT(stats_of(&a).published, KEYS - count_waiting(fx));
    CHECK_INT(lanes_held(fx), 0);
    act_close(fx, &a);
}

void suite_gather_relay(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"gather: all leases are renewed", test_renewed, 0},
        {"gather: a publisher that hangs", test_hangs, 0},
        {"gather: a relay lingers while messages keep coming", test_linger, 0},
        {"gather: a relay that lingers is stopped", test_stop, 0},
    };

    /* No other driver leases several lanes at once. */
    if (strcmp(target->name, "postgresql/position") == 0)
        suite_run(tests, COUNT_OF(tests), target, only);
}
