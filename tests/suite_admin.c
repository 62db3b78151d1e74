/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration: count, list, get, redrive, discard by all kinds of filter; plain SQL beside the library. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "suite.h"

int one_of_each(struct fixture *fx, outbox_consumer *consumer, outbox_id ids[OUTBOX_STATE_COUNT])
{
    static const struct {
        outbox_state state;
        const char *key, *payload;
    } plan[] = {{OUTBOX_RETRYING, "a", "retry"},
                {OUTBOX_HELD, "a", "held"},
                {OUTBOX_DEAD, "b", "dead"},
                {OUTBOX_SCHEDULED, "c", "scheduled"}};
    outbox_message m;

    for (size_t i = 0; i < COUNT_OF(plan); i++) {
        m = text_message("t", plan[i].key, plan[i].payload);
        m.delay_ms = plan[i].state == OUTBOX_SCHEDULED ? HOUR_MS : 0;
        if (!OK(outbox_enqueue(fx->conn, &m, 1, &ids[plan[i].state], &fx->err)))
            return 0;
        if (plan[i].state == OUTBOX_RETRYING)
            CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
        else if (plan[i].state == OUTBOX_DEAD)
            CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
        else
            CHECK_INT(drain(fx, consumer, NULL), 0);
    }
    m = text_message("u", "d", "pending");
    return OK(outbox_enqueue(fx->conn, &m, 1, &ids[OUTBOX_PENDING], &fx->err));
}

outbox_consumer *patient_consumer(struct fixture *fx)
{
    fixture_set(fx, "retry.backoff_min", "1d");
    fixture_set(fx, "retry.backoff_max", "30d");
    return fixture_consumer(fx, NULL);
}

static void test_count(struct fixture *fx)
{
    outbox_consumer *consumer = patient_consumer(fx);
    outbox_id ids[OUTBOX_STATE_COUNT];
    outbox_counts counts;
    outbox_batch *batch = NULL;

    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    OK(outbox_count(fx->conn, &counts, &fx->err));
    CHECK_INT(counts.lanes, target_lanes(fx->target));
    CHECK_INT(counts.lanes_held, 0);
    CHECK_INT(counts.oldest_pending_us, 0);
    REQUIRE(consumer != NULL && one_of_each(fx, consumer, ids), "not sent");
    OK(outbox_consumer_claim(consumer, &batch, &fx->err));
    OK(outbox_count(fx->conn, &counts, &fx->err));
    for (int s = OUTBOX_PENDING; s <= OUTBOX_DEAD; s++) {
        CHECK(counts.by_state[s] == 1, "%lld are %s", (long long)counts.by_state[s], outbox_state_name((outbox_state)s));
        CHECK(state_of(fx, ids[s].text) == (outbox_state)s, "%s is %s", outbox_state_name((outbox_state)s),
              outbox_state_name(state_of(fx, ids[s].text)));
    }
    CHECK_INT(counts.lanes_held, 1);
    CHECK(counts.oldest_pending_us >= 0 && counts.oldest_pending_us < 3600 * SECOND_US, "oldest: %lld µs",
          (long long)counts.oldest_pending_us);
    check_backlog(fx, &counts, 1);
    if (batch != NULL)
        OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
}

struct list {
    char words[500];
    int count, stop_after;
};

static int take_word(void *user, const outbox_record *r)
{
    struct list *list = user;
    size_t size = 0, used = strlen(list->words);
    const char *payload = outbox_record_payload(r, &size);

    snprintf(list->words + used, sizeof list->words - used, "%s%.*s", used ? " " : "", (int)size, payload);
    return ++list->count == list->stop_after;
}

static void check_list(struct fixture *fx, const outbox_filter *filter, int stop_after, const char *words)
{
    struct list list = {"", 0, stop_after};

    OK(outbox_list(fx->conn, filter, take_word, &list, &fx->err));
    CHECK_STR(list.words, words);
}

static void test_list(struct fixture *fx)
{
    outbox_consumer *consumer = patient_consumer(fx);
    outbox_id ids[OUTBOX_STATE_COUNT];
    outbox_filter f = OUTBOX_FILTER_INIT;
    struct list all = {"", 0, 0};

    REQUIRE(consumer != NULL && one_of_each(fx, consumer, ids), "not sent");
    send_words(fx, "u", "d", "p2 p3");
    OK(outbox_list(fx->conn, NULL, take_word, &all, &fx->err));
    CHECK_INT(all.count, 7);
    f.state = OUTBOX_PENDING;
    check_list(fx, &f, 0, "pending p2 p3");
    check_list(fx, &f, 2, "pending p2");
    f.limit = 1;
    check_list(fx, &f, 0, "pending");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.partition_key = "a";
    f.state = OUTBOX_HELD;
    check_list(fx, &f, 0, "held");
    f.state = OUTBOX_RETRYING;
    check_list(fx, &f, 0, "retry");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.topic = "u";
    check_list(fx, &f, 0, "pending p2 p3");
    f.topic = "U";
    check_list(fx, &f, 0, "");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.id = ids[OUTBOX_DEAD].text;
    check_list(fx, &f, 0, "dead");
    f.state = OUTBOX_PENDING;
    check_list(fx, &f, 0, "");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.older_than_us = 3600 * SECOND_US;
    check_list(fx, &f, 0, "");
    f.older_than_us = 0;
    f.id = "no uuid";
    EXPECT(outbox_list(fx->conn, &f, take_word, &all, &fx->err), OUTBOX_ERR_INVALID);
}

/* Filters are values: nothing in them is SQL. */
static void test_hostile_filters(struct fixture *fx)
{
    static const char *const texts[] = {"' OR '1'='1", "%", "_", "\\", "t' --", "?", "$1"};
    outbox_filter f = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    send_words(fx, "t", "k", "1 2");
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        f.topic = texts[i];
        f.partition_key = texts[i];
        check_list(fx, &f, 0, "");
        f.state = OUTBOX_PENDING;
        EXPECT(outbox_discard(fx->conn, &f, &count, &fx->err), OUTBOX_NONE);
        f.state = (outbox_state)0;
    }
    f.topic = "\xff";
    EXPECT(outbox_list(fx->conn, &f, take_word, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_INT(count_waiting(fx), 2);
}

static void test_get(struct fixture *fx)
{
    struct list list = {"", 0, 0};
    outbox_message m = text_message("t", "k", "1");
    outbox_id id;
    char upper[37];

    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    EXPECT(outbox_get(fx->conn, "01890a5d-ac96-774b-bcce-b302099a8057", take_word, &list, &fx->err), OUTBOX_NONE);
    EXPECT(outbox_get(fx->conn, "' OR 1=1 --", take_word, &list, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_INT(list.count, 0);
    for (int i = 0; i < 37; i++)
        upper[i] = (char)(id.text[i] >= 'a' && id.text[i] <= 'f' ? id.text[i] - 32 : id.text[i]);
    OK(outbox_get(fx->conn, upper, take_word, &list, &fx->err));
    CHECK_INT(list.count, 1);
}

/* Discard in every state that is not published. */
static void test_discard_states(struct fixture *fx)
{
    outbox_consumer *consumer = patient_consumer(fx);
    outbox_id ids[OUTBOX_STATE_COUNT];
    outbox_filter f = OUTBOX_FILTER_INIT;
    int64_t count = 0;

    REQUIRE(consumer != NULL && one_of_each(fx, consumer, ids), "not sent");
    f.state = OUTBOX_DELIVERED;
    f.topic = "t";
    CHECK(outbox_discard(fx->conn, &f, &count, NULL) != OUTBOX_OK, "published ones were discarded");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.topic = "u";
    EXPECT(outbox_discard(fx->conn, &f, &count, &fx->err), OUTBOX_NONE);
    for (int s = OUTBOX_DEAD; s >= OUTBOX_PENDING; s--) {
        f = (outbox_filter)OUTBOX_FILTER_INIT;
        f.state = (outbox_state)s;
        EXPECT(outbox_discard(fx->conn, &f, &count, &fx->err), OUTBOX_OK);
        CHECK(count == 1, "%lld %s discarded", (long long)count, outbox_state_name((outbox_state)s));
        CHECK_INT(state_of(fx, ids[s].text), 0);
    }
    CHECK_INT(count_waiting(fx), 0);
    make_due(fx);
    CHECK_INT(drain(fx, consumer, NULL), 0);
}

/* What is not in the state any more when its lane is locked is neither removed nor counted. */
static void test_discard_redriven(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter f = OUTBOX_FILTER_INIT;
    int64_t count = 0;
    char sql[200];

    send_words(fx, "t", "k", "1");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    send_words(fx, "t", "j", "2");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    snprintf(sql, sizeof sql, "UPDATE %sdeferred SET state = 3, available_at = 1 WHERE seq = 1", fx->prefix);
    at_lane_lock(fx, sql);
    f.state = OUTBOX_DEAD;
    OK(outbox_discard(fx->conn, &f, &count, &fx->err));
    at_lane_lock(fx, NULL);
    CHECK_INT(count, 1);
    CHECK_INT(count_state(fx, OUTBOX_RETRYING), 1);
    CHECK_INT(db_int(&fx->db, "SELECT messages FROM %saudit", fx->prefix), 1);
}

/* A pending one in the middle of others; published ones before and after are not touched. */
static void test_discard_pending(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_filter f = OUTBOX_FILTER_INIT;
    outbox_message m = text_message("t", "k", "2");
    struct seen seen = {0};
    outbox_id id;

    fixture_set(fx, "clean.retention", "forever");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "0");
    CHECK_INT(drain(fx, consumer, NULL), 1);
    send_words(fx, "t", "k", "1");
    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    send_words(fx, "t", "k", "3");
    f.id = id.text;
    EXPECT(outbox_discard(fx->conn, &f, NULL, &fx->err), OUTBOX_NONE);
    f.state = OUTBOX_PENDING;
    OK(outbox_discard(fx->conn, &f, NULL, &fx->err));
    f.id = NULL;
    f.topic = "nothing";
    EXPECT(outbox_discard(fx->conn, &f, NULL, &fx->err), OUTBOX_NONE);
    CHECK_INT(drain(fx, consumer, &seen), 2);
    CHECK_STR(seen_words(&seen), "1 3");
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 3);
    seen_clear(&seen);
}

static int64_t discard(struct fixture *fx, outbox_state state)
{
    outbox_filter f = OUTBOX_FILTER_INIT;
    int64_t count = -1;
    int rc;

    f.state = state;
    rc = outbox_discard(fx->conn, &f, &count, &fx->err);
    EXPECT(rc, count > 0 ? OUTBOX_OK : OUTBOX_NONE);
    return count;
}

/* One whose time has not come is not pending, wherever it is. */
static void test_discard_scheduled(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m = text_message("t", "k", "later");

    m.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(discard(fx, OUTBOX_PENDING), 0);
    CHECK_INT(drain(fx, consumer, NULL), 0); /* it is set aside */
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    m.delay_ms = 0;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(discard(fx, OUTBOX_SCHEDULED), 2);
    CHECK_INT(count_waiting(fx), 1);
    CHECK_INT(discard(fx, OUTBOX_PENDING), 1);
    CHECK_INT(count_waiting(fx), 0);
}

/* Published before the lane was locked: it is not pending any more. */
static void test_discard_published(struct fixture *fx)
{
    char sql[200];

    if (strstr(fx->target->name, "/position") == NULL) {
        tap_skip("settles by delete: what was published is not there");
        return;
    }
    send_words(fx, "t", "k", "1");
    snprintf(sql, sizeof sql, "UPDATE %slanes SET pos = 1, low = 1, token = token + 1 WHERE lane = "
             "(SELECT lane FROM %smessages)", fx->prefix, fx->prefix);
    at_lane_lock(fx, sql);
    CHECK_INT(discard(fx, OUTBOX_PENDING), 0);
    at_lane_lock(fx, NULL);
    CHECK_INT(count_state(fx, OUTBOX_DELIVERED), 1);
}

/* Redrive by id, by key, by age. */
static void test_redrive_filters(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter f = OUTBOX_FILTER_INIT;
    outbox_message m = text_message("t", "a", "one");
    struct seen seen = {0};
    outbox_id id;
    int64_t count = 0;

    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    send_words(fx, "t", "b", "two");
    send_words(fx, "t", "c", "three");
    for (int i = 0; i < 3; i++)
        CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    f.older_than_us = 3600 * SECOND_US;
    EXPECT(outbox_redrive(fx->conn, &f, &count, &fx->err), OUTBOX_NONE);
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.id = id.text;
    OK(outbox_redrive(fx->conn, &f, &count, &fx->err));
    CHECK_INT(count, 1);
    CHECK_INT(drain(fx, consumer, &seen), 1);
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.partition_key = "b";
    OK(outbox_redrive(fx->conn, &f, &count, &fx->err));
    CHECK_INT(drain(fx, consumer, &seen), 1);
    CHECK_STR(seen_words(&seen), "one two");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 1);
    seen_clear(&seen);
}

/* Those that wait for their next attempt are due now, and keep their attempts. They are not meant unless it is said. */
static void test_redrive_retry(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter f = OUTBOX_FILTER_INIT;
    struct seen seen = {0};
    int64_t count = 0;

    /* Nothing claims before they are far off, however long that takes here. */
    for (int i = 0; i < 2; i++) {
        send_words(fx, "t", i == 0 ? "a" : "b", i == 0 ? "one" : "three");
        CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
        db_exec(&fx->db, "UPDATE %sdeferred SET available_at = available_at + 3600000000 WHERE state = 3", fx->prefix);
    }
    send_words(fx, "t", "a", "two");
    EXPECT(outbox_redrive(fx->conn, NULL, &count, &fx->err), OUTBOX_NONE);
    CHECK_INT(drain(fx, consumer, &seen), 0);
    f.state = OUTBOX_RETRYING;
    f.partition_key = "a";
    OK(outbox_redrive(fx->conn, &f, &count, &fx->err));
    CHECK_INT(count, 1);
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdeferred WHERE state = 3 AND attempts = 1", fx->prefix), 2);
    drain(fx, consumer, &seen);
    CHECK_STR(seen_words(&seen), "one two");
    seen_clear(&seen);
}

/* Dead ones of one key, and those that wait behind it, go again in their order, at the rate that was asked for. */
static void test_redrive_rate(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_filter f = OUTBOX_FILTER_INIT;
    struct seen seen = {0};
    int64_t count = 0, spread;

    fixture_set(fx, "ordering.dead", "continue");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    for (int i = 1; i <= 9; i++) {
        char text[8];

        snprintf(text, sizeof text, "%d", i);
        send_text(fx, "t", "k", text);
        CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    }
    f.rate = 1;
    f.limit = 6;
    OK(outbox_redrive(fx->conn, &f, &count, &fx->err));
    CHECK_INT(count, 6);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 3);
    spread = db_int(&fx->db, "SELECT MAX(available_at) - MIN(available_at) FROM %sdeferred WHERE state = 3", fx->prefix);
    CHECK(spread >= 5 * SECOND_US && spread < 30 * SECOND_US, "spread over %lld µs", (long long)spread);
    /* The oldest come first. */
    CHECK_INT(db_int(&fx->db, "SELECT COUNT(*) FROM %sdeferred d WHERE state = 3 AND EXISTS (SELECT 1 FROM %sdeferred e "
                     "WHERE e.state = 3 AND e.seq < d.seq AND e.available_at >= d.available_at)", fx->prefix, fx->prefix), 0);
    make_due(fx);
    while (drain(fx, consumer, &seen) > 0)
        make_due(fx);
    CHECK_STR(seen_words(&seen), "1 2 3 4 5 6");
    f.rate = -1;
    EXPECT(outbox_redrive(fx->conn, &f, &count, &fx->err), OUTBOX_ERR_INVALID);
    seen_clear(&seen);
}

struct audit {
    char text[600];
    int64_t first_at;
};

static int take_entry(void *user, const outbox_audit_entry *e)
{
    struct audit *a = user;
    size_t used = strlen(a->text);

    snprintf(a->text + used, sizeof a->text - used, "%s %lld %s by %s; ", e->what, (long long)e->messages, e->which, e->who);
    a->first_at = a->first_at ? a->first_at : e->at;
    return 0;
}

/* SQLite's clock has milliseconds: what happens within one has no order in the audit. */
static void next_instant(void)
{
    struct patience p;

    patience_start(&p);
    patience_wait(&p);
}

/* Who, what, which, how many, when; what failed or met nothing changes no number. */
static void test_audit(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_filter f = OUTBOX_FILTER_INIT;
    struct audit audit = {"", 0};

    OK(outbox_audit(fx->conn, 0, take_entry, &audit, &fx->err));
    CHECK_STR(audit.text, "");
    for (int i = 0; i < 3; i++) {
        send_words(fx, "orders", i ? "a" : "b", "1");
        CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), i < 2 ? 1 : 0);
        drain(fx, consumer, NULL);
    }
    f.who = "ann ä";
    f.partition_key = "b";
    OK(outbox_redrive(fx->conn, &f, NULL, &fx->err));
    next_instant();
    CHECK_INT(drain(fx, consumer, NULL), 1);
    EXPECT(outbox_redrive(fx->conn, &f, NULL, &fx->err), OUTBOX_NONE);
    f.partition_key = NULL;
    f.topic = "orders";
    f.who = "bob";
    OK(outbox_discard(fx->conn, &f, NULL, &fx->err));
    next_instant();
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.older_than_us = 3600 * SECOND_US;
    f.who = "eve";
    OK(outbox_purge(fx->conn, &f, NULL, &fx->err));
    OK(outbox_audit(fx->conn, 2, take_entry, &audit, &fx->err));
    CHECK_STR(audit.text, "purge 0 older-than=1h by eve; discard 1 state=dead topic=orders by bob; ");
    audit.text[0] = '\0';
    OK(outbox_audit(fx->conn, 0, take_entry, &audit, &fx->err));
    CHECK_STR(audit.text, "purge 0 older-than=1h by eve; discard 1 state=dead topic=orders by bob; "
                          "redrive 1 state=dead key=b by ann ä; ");
    CHECK(audit.first_at > INT64_C(1600000000000000), "noted at %lld", (long long)audit.first_at);
    f.who = NULL;
    next_instant();
    OK(outbox_purge(fx->conn, &f, NULL, &fx->err));
    audit.text[0] = '\0';
    OK(outbox_audit(fx->conn, 1, take_entry, &audit, &fx->err));
    CHECK(strstr(audit.text, " by uid ") != NULL, "the audit says %s", audit.text);
}

/* Redriven while a relay holds the lane: delivered once. */
static void test_redrive_while_held(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch = NULL;
    struct seen seen = {0};

    send_words(fx, "t", "k", "1");
    CHECK_INT(settle_one(fx, consumer, OUTBOX_REJECT, NULL), 1);
    send_words(fx, "u", "k", "u1");
    MUST(outbox_consumer_claim(consumer, &batch, &fx->err));
    OK(outbox_redrive(fx->conn, NULL, NULL, &fx->err));
    seen_batch(&seen, batch);
    answer_all(batch, OUTBOX_PUBLISHED);
    while (outbox_batch_next(batch, &fx->err) == OUTBOX_OK) {
        seen_batch(&seen, batch);
        answer_all(batch, OUTBOX_PUBLISHED);
    }
    outbox_batch_free(batch);
    drain(fx, consumer, &seen);
    CHECK_STR(seen_words(&seen), "u1 1");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* A message written by plain SQL, as documented, is as good as any. */
static void test_plain_sql(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};

    send_words(fx, "t", "hello", "1");
    if (strcmp(fx->target->driver, "postgresql") == 0)
        free(db_text(&fx->db, "SELECT %senqueue('t', convert_to('2', 'UTF8'), 'hello')", fx->prefix));
    else if (strcmp(fx->target->driver, "mariadb") == 0)
        CHECK_INT(db_exec(&fx->db, "CALL %senqueue('t', '2', 'hello', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
                          fx->prefix),
                  0);
    else
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (lane, id, topic, partition_key, payload, created_at) VALUES "
                          "(%d, '01890a5d-ac96-774b-bcce-b302099a8057', 't', 'hello', %s, 1700000000000000)",
                          fx->prefix, target_lanes(fx->target) == 64 ? 58 : 10,
                          target_is_postgresql(fx->target) ? "'\\x32'" : "x'32'"), 0);
    send_words(fx, "t", "hello", "3");
    CHECK_INT(drain(fx, consumer, &seen), 3);
    CHECK_STR(seen_words(&seen), "1 2 3");
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* ---- The view ---- */

struct lines {
    char *text[200];
    size_t count;
};

static int note_line(void *user, const outbox_record *r)
{
    struct lines *lines = user;
    const char *key = outbox_record_partition_key(r), *error = outbox_record_last_error(r);

    if (lines->count < COUNT_OF(lines->text) &&
        asprintf(&lines->text[lines->count], "%s %s %s %d %s %lld %lld %lld", outbox_record_id(r),
                 outbox_state_name(outbox_record_state(r)), outbox_record_topic(r), outbox_record_attempts(r),
                 error != NULL ? error : "-", (long long)outbox_record_created_at(r), (long long)outbox_record_published_at(r),
                 (long long)(key != NULL)) > 0)
        lines->count++;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every message, in the view and in the list, alike in all that both say. */
static void compare_view(struct fixture *fx, const char *when)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    struct lines listed = {{NULL}, 0};
    char *view, *line, *rest;
    size_t i = 0;

    filter.limit = COUNT_OF(listed.text);
    OK(outbox_list(fx->conn, &filter, note_line, &listed, &fx->err));
    qsort(listed.text, listed.count, sizeof listed.text[0], by_text);
    view = db_rows(&fx->db, "SELECT lower(CAST(id AS varchar(36))) || ' ' || state || ' ' || topic || ' ' || "
                            "CAST(attempts AS varchar(20)) || ' ' || coalesce(last_error, '-') || ' ' || "
                            "CAST(created_at AS varchar(20)) || ' ' || CAST(coalesce(published_at, 0) AS varchar(20)) || "
                            "' ' || CASE WHEN partition_key IS NULL THEN '0' ELSE '1' END FROM %sstatus ORDER BY 1",
                   fx->prefix);
    for (line = view != NULL ? strtok_r(view, "\n", &rest) : NULL; line != NULL; line = strtok_r(NULL, "\n", &rest), i++)
        CHECK(i < listed.count && strcmp(line, listed.text[i]) == 0, "%s: the view says %s, the list %s", when, line,
              i < listed.count ? listed.text[i] : "nothing");
    CHECK(listed.count > 0 && i == listed.count, "%s: %zu in the view, %zu in the list", when, i, listed.count);
    CHECK_INT(db_int(&fx->db, "SELECT count(*) FROM %sstatus WHERE state NOT IN ('published', 'dead')", fx->prefix),
              count_waiting(fx) - count_state(fx, OUTBOX_DEAD));
    for (i = 0; i < listed.count; i++)
        free(listed.text[i]);
    free(view);
}

static void test_view(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_id ids[OUTBOX_STATE_COUNT];
    outbox_message later = text_message("t", "z", "not read yet");
    outbox_conn *late = NULL;
    struct db db = {0};

    fixture_set(fx, "clean.retention", "forever");
    REQUIRE((consumer = patient_consumer(fx)) != NULL && one_of_each(fx, consumer, ids), "not sent");
    later.delay_ms = HOUR_MS;
    OK(outbox_enqueue(fx->conn, &later, 1, NULL, &fx->err));
    compare_view(fx, "one of each");
    if (!target_is_sqlite(fx->target) && CHECK(db_open(&db, fx->dsn, 0) == 0, "no connection") &&
        OK(outbox_conn_borrow(db.dbc, fx->conf, &late, &fx->err))) {
        outbox_message m = text_message("t", "d", "late");

        OK(outbox_enqueue(late, &m, 1, NULL, &fx->err));
    }
    send_words(fx, "t", "d", "1 2 3");
    CHECK(drain(fx, consumer, NULL) >= 4, "not drained");
    compare_view(fx, "published");
    if (late != NULL) {
        CHECK_INT(db_commit(&db), 0);
        CHECK_INT(count_state(fx, OUTBOX_PENDING), 1);
        compare_view(fx, "committed late");
        CHECK_INT(drain(fx, consumer, NULL), 1);
        compare_view(fx, "published late");
        outbox_conn_close(late);
        db_close(&db);
    }
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
    compare_view(fx, "cleaned");
}

void suite_admin(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"admin: count", test_count, 0},
        {"admin: list", test_list, 0},
        {"admin: hostile filters", test_hostile_filters, 0},
        {"admin: get", test_get, 0},
        {"admin: discard in every state", test_discard_states, 0},
        {"admin: discard what is redriven meanwhile", test_discard_redriven, 0},
        {"admin: discard one that is pending", test_discard_pending, 0},
        {"admin: discard scheduled ones", test_discard_scheduled, 0},
        {"admin: discard what is published meanwhile", test_discard_published, 0},
        {"admin: redrive by id, key, age", test_redrive_filters, 0},
        {"admin: redrive of what waits for its next attempt", test_redrive_retry, 0},
        {"admin: redrive keeps order, limit and rate", test_redrive_rate, 0},
        {"admin: audit", test_audit, 0},
        {"admin: redrive while the lane is held", test_redrive_while_held, 0},
        {"plain SQL writes messages too", test_plain_sql, 0},
        {"the view shows what the list shows", test_view, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
