/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches from several lanes, where the driver can do that: each lane keeps its own token, position and fate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "lanes.h"
#include "stage.h"
#include "suite.h"

struct many {
    outbox_consumer *consumer;
    char keys[KEYS][12];
    int lanes[KEYS];
};

/* So many words for each of the keys. */
static int many_open(struct fixture *fx, struct many *m, const char *words)
{
    lanes_keys(m->keys, m->lanes);
    m->consumer = fixture_consumer(fx, "a");
    if (m->consumer == NULL)
        return 0;
    for (int i = 0; i < KEYS; i++)
        if (!send_words(fx, "t", m->keys[i], words))
            return 0;
    return 1;
}

/* As a relay does after a small batch. */
static outbox_batch *claim_many(struct fixture *fx, struct many *m)
{
    outbox_batch *batch = NULL;

    m->consumer->spread = OUTBOX_GATHER_MAX;
    return OK(outbox_consumer__claim(m->consumer, OUTBOX_GATHER_MAX, &batch, &fx->err)) ? batch : NULL;
}

static int64_t lane_column(struct fixture *fx, const char *column, int lane)
{
    return db_int(&fx->db, "SELECT %s FROM %slanes WHERE lane = %d", column, fx->prefix, lane);
}

static size_t index_of(const outbox_batch *batch, int lane)
{
    size_t i = 0;

    while (i < batch->part_count && batch->parts[i].lane != lane)
        i++;
    return i;
}

static void test_many(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "1 2 3") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    CHECK_INT(batch->part_count, KEYS);
    CHECK_INT(outbox_batch_count(batch), KEYS * 3);
    CHECK_INT(lanes_held(fx), KEYS);
    for (size_t i = 0; i < outbox_batch_count(batch); i++) {
        const outbox_record *r = outbox_batch_message(batch, i);

        CHECK_INT(outbox_record_token(r), lane_column(fx, "token", outbox_record_lane(r)));
        CHECK(i % 3 == 0 || outbox_record_seq(r) > outbox_record_seq(outbox_batch_message(batch, i - 1)), "out of order");
    }
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    CHECK_INT(outbox_batch_settle(batch, NULL), OUTBOX_ERR_STATE);
    CHECK_INT(lanes_held(fx), 0);
    outbox_batch_free(batch);
    for (int i = 0; i < KEYS; i++)
        CHECK_INT(lane_column(fx, "pos", m.lanes[i]),
                  db_int(&fx->db, "SELECT max(seq) FROM %smessages WHERE lane = %d", fx->prefix, m.lanes[i]));
    CHECK_INT(count_waiting(fx), 0);
    expect_drained(fx, m.consumer, "");
}

/* What fails in a lane is set aside there; it holds back what is behind it, and nothing else. */
static void test_failed(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "1 2 3") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    REQUIRE_INT(batch->part_count, KEYS);
    answer_all(batch, OUTBOX_PUBLISHED);
    outbox_batch_answer(batch, 3, OUTBOX_RETRY, 3600000, "no");
    outbox_batch__item(batch, 4)->fate = outbox_batch__item(batch, 5)->fate = FATE_NONE;
    outbox_batch_answer(batch, 7, OUTBOX_REJECT, -1, "never");
    outbox_batch__item(batch, 8)->fate = FATE_NONE;
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_state(fx, OUTBOX_HELD), 3);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 0);
    expect_drained(fx, m.consumer, "");
}

/* Nothing of a lane that is another's now is written; all others are settled. */
static void test_lost(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;
    outbox_error *err = NULL;
    int lane;

    REQUIRE(many_open(fx, &m, "1") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    REQUIRE_INT(batch->part_count, KEYS);
    lane = batch->parts[2].lane;
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET token = token + 1, owner = 'other' WHERE lane = %d", fx->prefix, lane),
              0);
    answer_all(batch, OUTBOX_PUBLISHED);
    CHECK_INT(outbox_batch_settle(batch, &err), OUTBOX_ERR_FENCED);
    CHECK_STR(outbox_error_name(err), "lease.lost");
    outbox_error_free(err);
    CHECK_INT(batch->parts[2].state, PART_LOST);
    CHECK_INT(batch->parts[1].state, PART_SETTLED);
    CHECK_INT(batch->parts[KEYS - 1].state, PART_SETTLED);
    outbox_batch_free(batch);
    CHECK_INT(lanes_held(fx), 1);
    CHECK_INT(lane_column(fx, "pos", lane), 0);
    CHECK_INT(count_waiting(fx), 1);
}

/* A conflict after a lease that was lost: what is left is settled by the next try, which still tells of that one. */
static void test_lost_then_locked(struct fixture *fx)
{
    struct many m;
    struct db other;
    outbox_batch *batch = NULL;
    outbox_error *err = NULL;

    REQUIRE(many_open(fx, &m, "1") && (batch = claim_many(fx, &m)) != NULL && db_open(&other, fx->dsn, 0) == 0, "no batch");
    REQUIRE_INT(batch->part_count, KEYS);
    OK(outbox_conn__be_impatient(m.consumer->conn, &fx->err));
    answer_all(batch, OUTBOX_PUBLISHED);
    /* Not plain, so that each is settled by itself. */
    outbox_batch_answer(batch, 2, OUTBOX_RETRY, 3600000, "no");
    outbox_batch_answer(batch, 5, OUTBOX_RETRY, 3600000, "no");
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET token = token + 1, owner = 'other' WHERE lane = %d", fx->prefix,
                      batch->parts[2].lane), 0);
    CHECK_INT(db_exec(&other, "UPDATE %slanes SET low = low WHERE lane = %d", fx->prefix, batch->parts[5].lane), 0);
    CHECK_INT(outbox_batch_settle(batch, NULL), OUTBOX_ERR_CONFLICT);
    CHECK_INT(batch->parts[2].state, PART_LOST);
    CHECK_INT(batch->parts[5].state, PART_OPEN);
    CHECK_INT(batch->parts[7].state, PART_SETTLED);
    CHECK_INT(db_rollback(&other), 0);
    CHECK_INT(outbox_batch_settle(batch, &err), OUTBOX_ERR_FENCED);
    CHECK_STR(outbox_error_name(err), "lease.lost");
    CHECK_INT(batch->parts[5].state, PART_SETTLED);
    outbox_error_free(err);
    outbox_batch_free(batch);
    CHECK_INT(lanes_held(fx), 1);
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    db_close(&other);
}

/* Given back, nothing is settled. */
static void test_released(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "1 2") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(count_waiting(fx), KEYS * 2);
    CHECK_INT(drain(fx, m.consumer, NULL), KEYS * 2);
}

/* Something deferred, a crashed owner, messages that go one at a time: each lane that has any comes alone. */
static void test_alone(struct fixture *fx)
{
    static const char *const why[] = {"a message is deferred", "its owner crashed", "it is suspect"};
    struct many m;
    outbox_batch *batch;
    int lanes[3];

    REQUIRE(many_open(fx, &m, "1") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    REQUIRE_INT(batch->part_count, KEYS);
    answer_all(batch, OUTBOX_PUBLISHED);
    outbox_batch_answer(batch, 0, OUTBOX_RETRY, 3600000, "no");
    for (int i = 0; i < 3; i++)
        lanes[i] = batch->parts[i].lane;
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET owner = 'gone', lease_until = 1, batch = 9 WHERE lane = %d", fx->prefix,
                      lanes[1]), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET suspect = 1 WHERE lane = %d", fx->prefix, lanes[2]), 0);
    /* Another key: what is behind the deferred message would be held, and not come. */
    for (int i = 0, n = 0; i < KEYS; n++) {
        char key[20];

        snprintf(key, sizeof key, "other%d", n);
        if (outbox_lane_of_key(key, 64) == m.lanes[i])
            REQUIRE(send_words(fx, "t", m.keys[i++], "2") && send_words(fx, "t", key, "3"), "not sent");
    }
    for (int seen[3] = {0}, i = 0; i < 3 + 1; i++) {
        if ((batch = claim_many(fx, &m)) == NULL)
            break;
        for (int j = 0; j < 3; j++) {
            seen[j] |= batch->part_count == 0 && batch->lane == lanes[j];
            CHECK(seen[j] || index_of(batch, lanes[j]) == batch->part_count, "not alone: %s", why[j]);
            CHECK(i < 3 || seen[j], "not there: %s", why[j]);
        }
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    drain(fx, m.consumer, NULL);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 0);
}

/* Larger than its share of 100 KiB. */
static int send_large(struct fixture *fx, const char *key)
{
    static char payload[300000];
    outbox_message m = text_message("t", key, "");

    memset(payload, 'x', sizeof payload);
    m.payload = payload;
    m.payload_size = sizeof payload;
    return OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
}

/* A message that does not come as a text, and one that is not to be sent yet, or never. */
static void test_unfit(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;
    outbox_message later = text_message("t", NULL, "later");

    fixture_set(fx, "relay.batch_bytes", "100KiB");
    REQUIRE(many_open(fx, &m, "1") && send_large(fx, m.keys[1]), "no outbox");
    later.partition_key = m.keys[2];
    later.delay_ms = 3600000;
    OK(outbox_enqueue(fx->conn, &later, 1, NULL, &fx->err));
    CHECK_INT(db_exec(&fx->db, "UPDATE %smessages SET headers = '[]' WHERE lane = %d", fx->prefix, m.lanes[3]), 0);
    REQUIRE((batch = claim_many(fx, &m)) != NULL, "no batch");
    CHECK_INT(batch->part_count, KEYS - 1);
    CHECK_INT(index_of(batch, m.lanes[1]), KEYS - 1);
    CHECK_INT(outbox_batch_count(batch), KEYS - 2);
    CHECK_INT(lanes_held(fx), KEYS - 1);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(count_state(fx, OUTBOX_SCHEDULED), 1);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 2);
    CHECK_INT(drain(fx, m.consumer, NULL), 2);
    CHECK_INT(count_waiting(fx), 2);
}

/* A message that does not come as a text, in a lane among many that always have work: it has its turn all the same. */
static void test_unfit_among_busy(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int rounds = 0;

    fixture_set(fx, "relay.batch_bytes", "100KiB");
    fixture_set(fx, "relay.workers", "1");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_large(fx, "large"), "no outbox");
    while (rounds++ < 150 && db_int(&fx->db, "SELECT count(*) FROM %smessages m JOIN %slanes l ON l.lane = m.lane WHERE "
                                    "m.partition_key = 'large' AND m.seq > l.pos", fx->prefix, fx->prefix) > 0) {
        outbox_batch *batch = NULL;

        REQUIRE(send_numbered(fx, "t", 300, 300), "not sent");
        REQUIRE(OK(outbox_consumer__claim(consumer, OUTBOX_GATHER_MAX, &batch, &fx->err)), "no batch");
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK(rounds <= 60, "%d batches until it came", rounds);
}

/* Messages of transactions that were open when later numbers were settled. */
static void test_late_ones(struct fixture *fx)
{
    struct many m;
    struct db other;
    outbox_conn *conn = NULL;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "2") && db_open(&other, fx->dsn, 0) == 0 &&
            OK(outbox_conn_borrow(other.dbc, fx->conf, &conn, &fx->err)), "no connection");
    for (int i = 0; i < KEYS / 2; i++) {
        outbox_message late = text_message("t", m.keys[i], "late");

        OK(outbox_enqueue(conn, &late, 1, NULL, &fx->err));
    }
    for (int i = 0; i < KEYS; i++)
        REQUIRE(send_words(fx, "t", m.keys[i], "3"), "not sent");
    for (int round = 0; round < 2; round++) {
        REQUIRE((batch = claim_many(fx, &m)) != NULL, "no batch");
        CHECK_INT(batch->part_count, round == 0 ? KEYS : KEYS / 2);
        CHECK_INT(outbox_batch_count(batch), round == 0 ? KEYS * 2 : KEYS / 2);
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
        if (round == 0)
            CHECK_INT(db_commit(&other), 0);
    }
    CHECK_INT(count_waiting(fx), 0);
    expect_drained(fx, m.consumer, "");
    outbox_conn_close(conn);
    db_close(&other);
}

/* More late messages than a lane's share: the position says nothing of those that are left. */
static void test_late_cut(struct fixture *fx)
{
    enum { LATE = 5 };
    struct many m;
    struct db other;
    outbox_conn *conn = NULL;
    outbox_batch *batch;
    size_t came = 0;

    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.batch_size", "16");
    fixture_set(fx, "relay.batch_lanes", "8");
    REQUIRE(many_open(fx, &m, "0") && db_open(&other, fx->dsn, 0) == 0 &&
            OK(outbox_conn_borrow(other.dbc, fx->conf, &conn, &fx->err)), "no connection");
    for (int i = 0; i < 2 * LATE; i++) {
        outbox_message late = text_message("t", m.keys[i % 2], "late");

        OK(outbox_enqueue(conn, &late, 1, NULL, &fx->err));
    }
    for (int i = 0; i < KEYS; i++)
        REQUIRE(send_words(fx, "t", m.keys[i], "1"), "not sent");
    CHECK_INT(drain(fx, m.consumer, NULL), KEYS * 2);
    CHECK_INT(db_commit(&other), 0);
    for (int round = 0; round < 2 * LATE && came < 2 * LATE; round++) {
        REQUIRE((batch = claim_many(fx, &m)) != NULL, "no batch");
        CHECK(round > 0 || (batch->part_count == 2 && batch->parts[0].cut && batch->count == 4), "%zu parts, %zu messages",
              batch->part_count, batch->count);
        came += batch->count;
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK_INT(came, 2 * LATE);
    CHECK_INT(count_waiting(fx), 0);
    expect_drained(fx, m.consumer, "");
    outbox_conn_close(conn);
    db_close(&other);
}

/* A lane that was settled after the statement began is not read by it: by an xid that it cannot see. */
static void test_settled_meanwhile(struct fixture *fx)
{
    struct many m;
    struct db other;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "1") && db_open(&other, fx->dsn, 0) == 0, "no outbox");
    /* That xid is in progress: none of ours, which a statement would see as over. */
    CHECK_INT(db_exec(&other, "CREATE TABLE %sxid AS SELECT pg_current_xact_id() AS xid", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET xbound = pg_snapshot_xmin(pg_current_snapshot()) WHERE lane IN (%d, %d)",
                      fx->prefix, m.lanes[1], m.lanes[5]), 0);
    REQUIRE((batch = claim_many(fx, &m)) != NULL, "no batch");
    CHECK_INT(batch->part_count, KEYS - 2);
    CHECK_INT(lanes_held(fx), KEYS - 2);
    CHECK_INT(index_of(batch, m.lanes[1]), KEYS - 2);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(count_waiting(fx), 2);
    CHECK_INT(db_rollback(&other), 0);
    CHECK_INT(drain(fx, m.consumer, NULL), 2);
    db_close(&other);
}

/* A lane that has more than its share is asked for with fewer others, and alone in the end. */
static void test_more_than_its_share(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;
    long batches = 0, alone = 0;

    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.batch_size", "16");
    fixture_set(fx, "relay.batch_lanes", "8");
    REQUIRE(many_open(fx, &m, "1"), "no outbox");
    for (int i = 0; i < 20; i++)
        REQUIRE(send_words(fx, "t", m.keys[0], "1 2 3 4 5 6 7 8 9 10"), "not sent");
    m.consumer->spread = OUTBOX_GATHER_MAX;
    while (outbox_consumer__claim(m.consumer, OUTBOX_GATHER_MAX, &batch, &fx->err) == OUTBOX_OK) {
        CHECK(outbox_batch_count(batch) <= 16 && batch->part_count <= 8, "%zu messages of %zu lanes",
              outbox_batch_count(batch), batch->part_count);
        alone += batch->part_count == 0 && outbox_batch_count(batch) == 16;
        batches++;
        answer_all(batch, OUTBOX_PUBLISHED);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
    }
    CHECK(alone >= 10 && batches <= 20, "%ld batches, %ld of them full and of one lane", batches, alone);
    CHECK_INT(count_waiting(fx), 0);
}

/* Whether a consumer has ever looked for a single lane. */
static int looked_for_one(const outbox_consumer *consumer)
{
    int looked = 0;

    for (size_t i = 0; i < OUTBOX_SIZES; i++)
        looked |= consumer->conn->cache[Q_CLAIM_NEWEST_POSITION][i].stmt != NULL;
    return looked;
}

/* They are passed over behind one that somebody has locked, and found all the same. With nothing there, one look is enough. */
static void test_alone_behind(struct fixture *fx)
{
    struct many m;
    struct db other;
    outbox_batch *batch;

    REQUIRE(many_open(fx, &m, "1") && db_open(&other, fx->dsn, 0) == 0, "no outbox");
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET suspect = 1", fx->prefix), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET lease_until = 0 WHERE lane = %d", fx->prefix, m.lanes[4]), 0);
    CHECK_INT(db_exec(&fx->db, "UPDATE %slanes SET lease_until = 1 WHERE lane <> %d", fx->prefix, m.lanes[4]), 0);
    CHECK_INT(db_exec(&other, "UPDATE %slanes SET low = low WHERE lane = %d", fx->prefix, m.lanes[4]), 0);
    REQUIRE((batch = claim_many(fx, &m)) != NULL, "the others are not found");
    CHECK(batch->part_count == 0 && batch->lane != m.lanes[4], "%zu lanes", batch->part_count);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(db_rollback(&other), 0);
    CHECK(looked_for_one(m.consumer), "not found by a look for one");
    CHECK_INT(drain(fx, m.consumer, NULL), KEYS - 1);
    REQUIRE((m.consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    m.consumer->spread = OUTBOX_GATHER_MAX;
    CHECK_INT(outbox_consumer__claim(m.consumer, OUTBOX_GATHER_MAX, &batch, &fx->err), OUTBOX_NONE);
    CHECK(!looked_for_one(m.consumer), "nothing was looked for once more");
    db_close(&other);
}

/* Positions of a batch that was leased before the numbers began again are none for what has the new ones. */
static void test_numbers(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;
    struct seen seen = {0};

    REQUIRE(many_open(fx, &m, "1 2 3 4 5") && drain(fx, m.consumer, NULL) == KEYS * 5, "no outbox");
    for (int i = 0; i < KEYS; i++)
        send_words(fx, "t", m.keys[i], "old");
    REQUIRE((batch = claim_many(fx, &m)) != NULL, "no batch");
    CHECK_INT(batch->part_count, KEYS);
    CHECK_INT(db_exec(&fx->db, "TRUNCATE %smessages RESTART IDENTITY", fx->prefix), 0);
    for (int i = 0; i < KEYS; i++)
        send_words(fx, "t", m.keys[i], "a b");
    answer_all(batch, OUTBOX_PUBLISHED);
    outbox_batch_settle(batch, NULL);
    outbox_batch_free(batch);
    expire_leases(fx);
    m.consumer->spread = OUTBOX_GATHER_MAX;
    drain(fx, m.consumer, &seen);
    CHECK_INT(seen.count, KEYS * 2);
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* Each lane has its positions written with their time. */
static void test_retention(struct fixture *fx)
{
    struct many m;
    outbox_batch *batch;

    fixture_set(fx, "clean.retention", "1h");
    REQUIRE(many_open(fx, &m, "1 2 3") && (batch = claim_many(fx, &m)) != NULL, "no batch");
    CHECK_INT(batch->part_count, KEYS);
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(count_waiting(fx), 0);
    CHECK_INT(lanes_held(fx), 0);
    CHECK_INT(db_int(&fx->db, "SELECT count(DISTINCT lane) FROM %spositions", fx->prefix), KEYS);
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sstatus WHERE state = 'published'", fx->prefix), KEYS * 3);
    CHECK_INT(db_exec(&fx->db, "UPDATE %spositions SET published_at = 1", fx->prefix), 0);
    clean_once(fx);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %smessages", fx->prefix), 0);
}

void suite_gather(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"gather: several lanes are one batch", test_many, 0},
        {"gather: what fails in a lane is set aside there", test_failed, 0},
        {"gather: a lane that was lost", test_lost, 0},
        {"gather: a lane that was lost, and then one that is locked", test_lost_then_locked, 0},
        {"gather: given back", test_released, 0},
        {"gather: lanes that come alone", test_alone, 0},
        {"gather: lanes that come alone, behind one that is locked", test_alone_behind, 0},
        {"gather: messages that do not come as texts, and that wait", test_unfit, 0},
        {"gather: a message that does not come as a text, among busy lanes", test_unfit_among_busy, 0},
        {"gather: late messages", test_late_ones, 0},
        {"gather: more late messages than a lane's share", test_late_cut, 0},
        {"gather: a lane that was settled meanwhile", test_settled_meanwhile, 0},
        {"gather: a lane with more than its share", test_more_than_its_share, 0},
        {"gather: the numbers begin again under a batch", test_numbers, 0},
        {"gather: what was published is kept", test_retention, 0},
    };

    /* No other driver leases several lanes at once. */
    if (strcmp(target->name, "postgresql/position") == 0)
        suite_run(tests, COUNT_OF(tests), target, only);
}
