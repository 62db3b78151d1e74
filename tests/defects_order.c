/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Defects 1 to 6: order, keys, fences, crashes. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "defects.h"

/* 1. Messages of one transaction shared created_at, so several workers held one key at once. */
static void test_one_hand_per_key(struct fixture *fx)
{
    outbox_consumer *consumers[4];
    outbox_batch *batches[4] = {NULL};
    outbox_message m[200];
    int holders = 0;

    fixture_set(fx, "relay.batch_size", "10");
    for (int i = 0; i < 4; i++)
        REQUIRE((consumers[i] = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (size_t i = 0; i < COUNT_OF(m); i++)
        m[i] = text_message("t", "one key", "x");
    MUST(outbox_conn_begin(fx->conn, &fx->err));
    OK(outbox_enqueue(fx->conn, m, COUNT_OF(m), NULL, &fx->err));
    OK(outbox_conn_commit(fx->conn, &fx->err));
    for (int i = 0; i < 4; i++)
        holders += outbox_consumer_claim(consumers[i], &batches[i], &fx->err) == OUTBOX_OK;
    CHECK_INT(holders, 1);
    for (int i = 0; i < 4; i++)
        if (batches[i] != NULL) {
            OK(outbox_batch_release(batches[i], &fx->err));
            outbox_batch_free(batches[i]);
        }
}

/* 2. A transaction that began later but committed earlier went first. Business code locks a row; the order in which it
 * was locked is the order that counts. */
static void test_enqueue_order(struct fixture *fx)
{
    struct db early, late;
    outbox_conn *a = NULL, *b = NULL;
    outbox_message one = text_message("t", "k", "1"), two = text_message("t", "k", "2");
    struct seen seen = {0};

    if (!target_is_postgresql(fx->target)) {
        tap_skip("SQLite has one writer: nothing begins before it writes");
        return;
    }
    REQUIRE(db_open(&early, fx->dsn, 0) == 0 && db_open(&late, fx->dsn, 0) == 0, "no connection");
    OK(outbox_conn_borrow(early.dbc, fx->conf, &a, &fx->err));
    OK(outbox_conn_borrow(late.dbc, fx->conf, &b, &fx->err));
    CHECK(db_int(&early, "SELECT pg_current_xact_id()::text::bigint") > 0, "not begun");
    OK(outbox_enqueue(b, &one, 1, NULL, &fx->err));
    CHECK_INT(db_commit(&late), 0);
    OK(outbox_enqueue(a, &two, 1, NULL, &fx->err));
    CHECK_INT(db_commit(&early), 0);
    outbox_conn_close(a);
    outbox_conn_close(b);
    db_close(&early);
    db_close(&late);
    CHECK_INT(drain(fx, fixture_consumer(fx, NULL), &seen), 2);
    CHECK_STR(seen_words(&seen), "1 2");
    seen_clear(&seen);
}

/* 2. And batches came back unsorted. */
static void test_batches_sorted(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};
    int64_t highest[64] = {0};
    int wrong = 0;

    fixture_set(fx, "relay.batch_size", "7");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL && send_numbered(fx, "t", 40, 1000), "not sent");
    CHECK_INT(drain(fx, consumer, &seen), 1000);
    for (size_t i = 0; i < seen.count; i++) {
        wrong += seen.items[i].seq <= highest[seen.items[i].lane];
        highest[seen.items[i].lane] = seen.items[i].seq;
    }
    CHECK_INT(wrong, 0);
    seen_clear(&seen);
}

/* 3. Ordered claims took about one message per key, then waited for a poll. (What a claim costs with a backlog is
 * looked at by the test of plans.) */
static void test_full_batches(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch;
    long batches = 0, messages = 0;
    int rc;

    REQUIRE(consumer != NULL && send_numbered(fx, "t", 3, 3000), "not sent");
    while ((rc = outbox_consumer_claim(consumer, &batch, &fx->err)) == OUTBOX_OK) {
        do {
            batches++;
            messages += (long)outbox_batch_count(batch);
            answer_all(batch, OUTBOX_PUBLISHED);
        } while ((rc = outbox_batch_next(batch, &fx->err)) == OUTBOX_OK);
        outbox_batch_free(batch);
    }
    CHECK_INT(messages, 3000);
    CHECK(batches <= 33, "3000 messages of 3 keys in %ld batches of 100", batches);
}

/* 4. A dead row in topic A blocked the same key in topic B. */
static void test_topics_apart(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};

    send_words(fx, "A", "k", "a1");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    send_words(fx, "A", "k", "a2");
    send_words(fx, "B", "k", "b1 b2");
    CHECK_INT(drain(fx, consumer, &seen), 2);
    CHECK_STR(seen_words(&seen), "b1 b2");
    seen_clear(&seen);
}

/* 5. No fencing: a late mark moved a published row back to pending, and it was sent again. */
static void test_late_mark(struct fixture *fx)
{
    static const outbox_verdict verdicts[] = {OUTBOX_PUBLISHED, OUTBOX_RETRY, OUTBOX_REJECT, OUTBOX_UNKNOWN};
    outbox_consumer *a = fixture_consumer(fx, "a"), *b = fixture_consumer(fx, "b");

    for (size_t i = 0; i < COUNT_OF(verdicts); i++) {
        outbox_batch *late = NULL;

        send_words(fx, "t", "k", "1 2");
        MUST(outbox_consumer_claim(a, &late, &fx->err));
        expire_leases(fx);
        CHECK_INT(drain(fx, b, NULL), 2);
        answer_all(late, verdicts[i]);
        EXPECT(outbox_batch_settle(late, &fx->err), OUTBOX_ERR_FENCED);
        outbox_batch_free(late);
        CHECK_INT(drain(fx, b, NULL), 0);
        CHECK_INT(count_waiting(fx), 0);
    }
}

struct slow {
    struct fixture *fx;
    int calls, waited;
};

/* Does not return before its lane's lease, and half of another, would have ended. */
static outbox_verdict publish_slowly(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    struct slow *slow = user;
    int64_t start = monotonic_us();

    (void)message;
    (void)retry_ms;
    (void)err;
    __atomic_add_fetch(&slow->calls, 1, __ATOMIC_SEQ_CST);
    WAIT_FOR(monotonic_us() - start > 4500000, slow->waited);
    return OUTBOX_PUBLISHED;
}

/* 5. No renewal: a publisher that is slower than the lease had its messages sent again by another. */
static void test_renewal(struct fixture *fx)
{
    struct slow slow = {fx, 0, 0};
    outbox_publisher *publisher = NULL;
    outbox_relay *relays[2];
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    int done;

    fixture_set(fx, "relay.lease", "3s"); /* renewed each second, with two to spare on a busy machine */
    fixture_set(fx, "relay.poll_interval", "20ms");
    send_words(fx, "t", "k", "1");
    OK(outbox_publisher_from_callback(publish_slowly, &slow, &publisher, &fx->err));
    for (int i = 0; i < 2; i++) {
        MUST(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relays[i], &fx->err));
        OK(outbox_relay_start(relays[i], &fx->err));
    }
    WAIT_FOR(count_waiting(fx) == 0, done);
    CHECK(done, "not published");
    for (int i = 0; i < 2; i++) {
        outbox_relay_stats_get(relays[i], &stats);
        CHECK_INT(stats.fenced + stats.suspect, 0);
        outbox_relay_free(relays[i]);
    }
    CHECK_INT(slow.calls, 1);
    outbox_publisher_free(publisher);
}

/* The child of test_killer: publishes what it can, and is killed by the message "poison". */
static outbox_verdict publish_or_die(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)retry_ms;
    (void)err;
    if (strcmp(outbox_record_payload(message, NULL), "poison") == 0)
        raise(SIGKILL);
    return write(*(int *)user, "x", 1) == 1 ? OUTBOX_PUBLISHED : OUTBOX_UNKNOWN;
}

static int relay_child(const struct fixture *fx, int out)
{
    outbox_conf *conf = fixture_conf(fx);
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int rc;

    outbox_conf_set(conf, "retry.max_attempts", "3", NULL);
    outbox_conf_set(conf, "relay.workers", "1", NULL);
    rc = outbox_publisher_from_callback(publish_or_die, &out, &publisher, NULL);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(fx->dsn, conf, publisher, NULL, &relay, NULL);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_run_once(relay, NULL);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    return rc != OUTBOX_OK;
}

/* Runs a relay until nothing is ready; returns 1 when it was killed. Its publishes are counted. */
static int run_until_death(struct fixture *fx, int *published)
{
    int ends[2], status = 0;
    char bytes[64];
    ssize_t n;
    pid_t pid;

    if (!CHECK(pipe(ends) == 0, "no pipe"))
        return -1;
    fflush(stdout);
    if ((pid = fork()) == 0)
        _exit(relay_child(fx, ends[1]));
    close(ends[1]);
    while ((n = read(ends[0], bytes, sizeof bytes)) > 0)
        *published += (int)n;
    close(ends[0]);
    waitpid(pid, &status, 0);
    CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "the relay ended with %x",
          (unsigned)status);
    return WIFSIGNALED(status);
}

/* 6. A message that crashes the process was reclaimed for ever. */
static void test_killer(struct fixture *fx)
{
    int published = 0, deaths = 0, killed = 1;

    fixture_set(fx, "schema.lanes", "1");
    REQUIRE(fixture_migrate(fx) == 0, "no outbox");
    send_words(fx, "t", NULL, "1 2 poison 3 4");
    while (killed == 1 && deaths < 20) {
        fixture_disconnect(fx);
        killed = run_until_death(fx, &published);
        deaths += killed;
        REQUIRE((fx->conn = fixture_connect(fx)) != NULL && db_open(&fx->db, fx->dsn, 1) == 0, "no connection");
        expire_leases(fx);
        make_due(fx);
    }
    CHECK(deaths >= 3 && deaths <= 5, "%d relays died", deaths);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    CHECK_INT(count_waiting(fx), 1);
    /* The first crash may have taken two good ones with it, which then go again. */
    CHECK(published >= 4 && published <= 6, "%d published", published);
}

void defects_order(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"defect 1: several workers hold one key at once", test_one_hand_per_key, 0},
        {"defect 2: order by start of transaction", test_enqueue_order, 0},
        {"defect 2: batches come back unsorted", test_batches_sorted, 0},
        {"defect 3: one message per key and claim", test_full_batches, 0},
        {"defect 4: a dead row blocks its key in other topics", test_topics_apart, 0},
        {"defect 5: a late mark undoes a publish", test_late_mark, 0},
        {"defect 5: leases are not renewed", test_renewal, 0},
        {"defect 6: a message that crashes its relay is reclaimed for ever", test_killer, 1},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
