/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases of a relay while somebody else keeps the row of one of its lanes locked. */
#include <stdio.h>

#include "conn_internal.h"
#include "script.h"
#include "suite.h"

#define LANES "2"

/* One message that is never answered in each lane, so that each of two workers holds one. */
static int fill_lanes(struct fixture *fx)
{
    char key[16];

    for (int i = 0; i < 100 && db_int(&fx->db, "SELECT count(DISTINCT lane) FROM %smessages", fx->prefix) < 2; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (!send_text(fx, "t", key, "poison"))
            return 0;
    }
    return 1;
}

static int64_t lane_int(struct fixture *fx, const char *what, int64_t lane)
{
    return db_int(&fx->db, "SELECT %s FROM %slanes WHERE lane = %lld", what, fx->prefix, (long long)lane);
}

static int64_t now(struct fixture *fx)
{
    int64_t us = 0;

    CHECK_INT(outbox_conn__now(fx->conn, &us, NULL), OUTBOX_OK);
    return us;
}

/* The lane of the worker whose turn is first, locked for longer than its lease: the other one's lease never ends, and its
 * token stays. */
static void hold_lane(struct fixture *fx)
{
    struct db locker;
    int64_t lane, other, token, at;
    int held = 0, ended = 0;

    WAIT_FOR(db_int(&fx->db, "SELECT count(*) FROM %slanes WHERE owner IS NOT NULL AND lane >= 0", fx->prefix) == 2, held);
    lane = db_int(&fx->db, "SELECT lane FROM %slanes WHERE owner LIKE '%%/0.%%'", fx->prefix);
    REQUIRE(held && (lane == 0 || lane == 1), "the workers have no lanes");
    other = 1 - lane;
    token = lane_int(fx, "token", other);
    REQUIRE(db_open(&locker, fx->dsn, 0) == 0, "no connection");
    CHECK_INT(db_exec(&locker, "UPDATE %slanes SET lane = lane WHERE lane = %lld", fx->prefix, (long long)lane), 0);
    /* The clock first: what it is compared with may be renewed meanwhile. */
    WAIT_FOR((at = now(fx), ended |= lane_int(fx, "lease_until", other) < at,
              lane_int(fx, "lease_until", lane) + SECOND_US < at), held);
    CHECK(held, "the lease of the lane that is locked was renewed");
    CHECK(!ended, "the lease of another lane ended meanwhile");
    CHECK_INT(lane_int(fx, "token", other), token);
    CHECK_INT(db_rollback(&locker), 0);
    db_close(&locker);
    /* It goes on where nobody took the lane. */
    WAIT_FOR(lane_int(fx, "lease_until", lane) > now(fx), held);
    CHECK(held, "the lane was given up");
}

static void test_locked_lane(struct fixture *fx)
{
    struct act a;

    if (target_is_sqlite(fx->target)) {
        tap_skip("SQLite locks no rows");
        return;
    }
    fixture_set(fx, "schema.lanes", LANES);
    fixture_set(fx, "relay.lease", "5s");
    fixture_set(fx, "relay.workers", LANES);
    fixture_set(fx, "relay.publish_timeout", "10min");
    fixture_set(fx, "relay.drain_timeout", "0");
    REQUIRE(fixture_migrate(fx) == 0 && fill_lanes(fx), "no outbox");
    if (act_open(fx, &a, POISON_HANGS, 0) && OK(outbox_relay_start(a.relay, &fx->err))) {
        hold_lane(fx);
        outbox_relay_stop(a.relay);
        OK(outbox_relay_join(a.relay, &fx->err));
    }
    act_close(fx, &a);
}

void suite_keeper(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"leases: one lane's row is locked for longer than a lease", test_locked_lane, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
