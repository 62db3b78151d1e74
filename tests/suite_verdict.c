/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verdicts: what becomes of a message, and of none but that one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* Claims a batch and answers each message with the verdict whose letter its payload starts with: p, r, j, u, or none. */
static long answer_by_letter(struct fixture *fx, outbox_consumer *consumer, int64_t retry_ms)
{
    outbox_batch *batch = NULL;
    long count;
    int rc = outbox_consumer_claim(consumer, &batch, &fx->err);

    if (rc == OUTBOX_NONE || !OK(rc))
        return 0;
    count = (long)outbox_batch_count(batch);
    for (size_t i = 0; i < outbox_batch_count(batch); i++) {
        const char *text = outbox_record_payload(outbox_batch_message(batch, i), NULL);

        switch (text[0]) {
        case 'p':
            outbox_batch_answer(batch, i, OUTBOX_PUBLISHED, -1, NULL);
            break;
        case 'r':
            outbox_batch_answer(batch, i, OUTBOX_RETRY, retry_ms, "the broker is full");
            break;
        case 'j':
            outbox_batch_answer(batch, i, OUTBOX_REJECT, -1, "no such topic ‘ä’");
            break;
        case 'u':
            outbox_batch_answer(batch, i, OUTBOX_UNKNOWN, retry_ms, "no answer");
            break;
        default:
            break;
        }
    }
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    return count;
}

struct picture {
    const char *payload;
    outbox_state state;
    int attempts;
    int64_t wait_us;
    char error[100];
    int found;
};

static int take_picture(void *user, const outbox_record *r)
{
    struct picture *p = user;
    const char *error = outbox_record_last_error(r);

    if (strcmp(outbox_record_payload(r, NULL), p->payload) != 0)
        return 0;
    p->found++;
    p->state = outbox_record_state(r);
    p->attempts = outbox_record_attempts(r);
    p->wait_us = outbox_record_available_at(r) ? outbox_record_available_at(r) - outbox_record_created_at(r) : 0;
    snprintf(p->error, sizeof p->error, "%s", error ? error : "-");
    return 0;
}

static struct picture picture_of(struct fixture *fx, const char *payload)
{
    struct picture p = {payload, (outbox_state)0, -1, 0, "", 0};
    outbox_filter filter = OUTBOX_FILTER_INIT;

    filter.limit = 100000;
    OK(outbox_list(fx->conn, &filter, take_picture, &p, &fx->err));
    return p;
}

static void check_picture(struct fixture *fx, const char *payload, outbox_state state, int attempts, const char *error)
{
    struct picture p = picture_of(fx, payload);

    CHECK(p.found == 1, "\"%s\" is listed %d times", payload, p.found);
    CHECK(p.state == state, "\"%s\" is %s, not %s", payload, outbox_state_name(p.state), outbox_state_name(state));
    CHECK(p.attempts == attempts, "\"%s\" has %d attempts, not %d", payload, p.attempts, attempts);
    CHECK(strcmp(p.error, error) == 0, "\"%s\" has error %s, not %s", payload, p.error, error);
}

static int single_lane(struct fixture *fx)
{
    fixture_set(fx, "schema.lanes", "1");
    return fixture_migrate(fx) == 0;
}

/* All kinds in one batch: each has its own outcome. */
static void test_each(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;

    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", NULL, "p1 r2 p3 j4 u5 p6");
    CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 6);
    /* Gone at once, or at the cleaner's next pass: with position settling a row is not touched to settle it. */
    OK(outbox_purge(fx->conn, NULL, NULL, &fx->err));
    CHECK_INT(picture_of(fx, "p1").found, 0);
    CHECK_INT(picture_of(fx, "p6").found, 0);
    check_picture(fx, "r2", OUTBOX_RETRYING, 1, "the broker is full");
    check_picture(fx, "j4", OUTBOX_DEAD, 1, "no such topic ‘ä’");
    check_picture(fx, "u5", OUTBOX_RETRYING, 1, "no answer");
    CHECK_INT(count_waiting(fx), 3);
    CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 0);
}

static void test_retry_after(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    int64_t wait;

    send_words(fx, "t", "k", "r1");
    CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 1);
    wait = picture_of(fx, "r1").wait_us;
    CHECK(wait >= 3600 * SECOND_US && wait < 3900 * SECOND_US, "waits for %lld µs", (long long)wait);
    make_due(fx);
    CHECK_INT(answer_by_letter(fx, consumer, 0), 1);
    check_picture(fx, "r1", OUTBOX_RETRYING, 2, "the broker is full");
    /* A wait of 0 is due at once. */
    CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 1);
    check_picture(fx, "r1", OUTBOX_RETRYING, 3, "the broker is full");
}

/* The library's own backoff: between now and the bound of the settings. */
static void test_backoff(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int64_t wait, longest = 0;

    fixture_set(fx, "retry.backoff_min", "10m");
    fixture_set(fx, "retry.backoff_max", "20m");
    fixture_set(fx, "retry.max_attempts", "100");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "r1");
    for (int i = 0; i < 20; i++) {
        CHECK_INT(answer_by_letter(fx, consumer, -1), 1);
        wait = picture_of(fx, "r1").wait_us;
        CHECK(wait >= 0 && wait < 1500 * SECOND_US, "waits for %lld µs", (long long)wait);
        longest = wait > longest ? wait : longest;
        make_due(fx);
    }
    CHECK(longest > 120 * SECOND_US, "no wait of 20 was longer than %lld µs", (long long)longest);
}

static int64_t an_hour(void *user, int attempt)
{
    *(int *)user = attempt;
    return HOUR_MS;
}

static void test_own_backoff(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    int attempt = 0;
    int64_t wait;

    outbox_conf_set_backoff(fx->conf, an_hour, &attempt);
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_words(fx, "t", "k", "r1");
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(answer_by_letter(fx, consumer, -1), 1);
        CHECK_INT(attempt, i);
        wait = picture_of(fx, "r1").wait_us;
        CHECK(wait >= 3600 * SECOND_US && wait < 3900 * SECOND_US, "waits for %lld µs", (long long)wait);
        make_due(fx);
    }
}

/* What has no verdict stays as it was; what has one is not sent again. */
static void test_unanswered(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    struct seen seen = {0};

    REQUIRE(single_lane(fx) && (consumer = fixture_consumer(fx, NULL)) != NULL, "no outbox");
    send_words(fx, "t", NULL, "x1 p2 x3 p4");
    send_words(fx, "t", "k", "p5 x6 x7");
    CHECK_INT(answer_by_letter(fx, consumer, -1), 7);
    CHECK_INT(drain(fx, consumer, &seen), 4);
    CHECK_STR(seen_words_of(&seen, "k"), "x6 x7");
    CHECK_STR(seen_words_of(&seen, ""), "x1 x3");
    for (size_t i = 0; i < seen.count; i++)
        CHECK_INT(seen.items[i].attempts, 0);
    CHECK_INT(count_waiting(fx), 0);
    seen_clear(&seen);
}

/* A whole batch without a verdict is read again, and nothing is charged. */
static void test_nothing_answered(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    struct seen seen = {0};

    send_words(fx, "t", "k", "x1 x2 x3");
    for (int i = 0; i < 3; i++)
        CHECK_INT(answer_by_letter(fx, consumer, -1), 3);
    CHECK_INT(drain(fx, consumer, &seen), 3);
    CHECK_STR(seen_words(&seen), "x1 x2 x3");
    CHECK_INT(seen.count > 0 ? seen.items[0].attempts : -1, 0);
    seen_clear(&seen);
}

static void fail_until_dead(struct fixture *fx, outbox_consumer *consumer, const char *payload, int limit)
{
    for (int i = 1; i <= limit; i++) {
        make_due(fx);
        CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 1);
        check_picture(fx, payload, i < limit ? OUTBOX_RETRYING : OUTBOX_DEAD, i,
                      payload[0] == 'r' ? "the broker is full" : "no answer");
    }
    make_due(fx);
    CHECK_INT(answer_by_letter(fx, consumer, HOUR_MS), 0);
}

static void test_max_attempts(struct fixture *fx)
{
    outbox_consumer *consumer = NULL;
    outbox_message own = text_message("t", "own", "u own");

    fixture_set(fx, "retry.max_attempts", "3");
    REQUIRE((consumer = fixture_consumer(fx, NULL)) != NULL, "no consumer");
    send_text(fx, "t", "k", "r1");
    fail_until_dead(fx, consumer, "r1", 3);
    own.max_attempts = 5;
    OK(outbox_enqueue(fx->conn, &own, 1, NULL, &fx->err));
    fail_until_dead(fx, consumer, "u own", 5);
    own = text_message("t", "once", "r once");
    own.max_attempts = 1;
    OK(outbox_enqueue(fx->conn, &own, 1, NULL, &fx->err));
    fail_until_dead(fx, consumer, "r once", 1);
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 3);
}

/* Below 1 a limit is nonsense: refused wherever one can be given, with a text that says what is allowed. */
static void test_bad_limits(struct fixture *fx)
{
    static const char *const settings[] = {"0", "-1", "", "1000001"};
    static const char *const forms[] = {"{\"topic\":\"t\",\"payload\":\"\",\"max_attempts\":0}",
                                        "{\"topic\":\"t\",\"payload\":\"\",\"max_attempts\":-1}"};
    outbox_message m = text_message("t", "k", "1");
    outbox_parsed *parsed = NULL;

    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        EXPECT(outbox_conf_set(fx->conf, "retry.max_attempts", settings[i], &fx->err), OUTBOX_ERR_CONF);
        CHECK(strstr(fx->message, "retry.max_attempts cannot be") != NULL && strstr(fx->message, "1 to 1000000") != NULL,
              "the error says: %s", fx->message);
    }
    m.max_attempts = -1;
    EXPECT(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err), OUTBOX_ERR_INVALID);
    CHECK_STR(fx->name, "enqueue.bad_max_attempts");
    CHECK(strstr(fx->message, "at least 1") != NULL, "the error says: %s", fx->message);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        EXPECT(outbox_message_from_json(forms[i], strlen(forms[i]), 0, &parsed, &fx->err), OUTBOX_ERR_INVALID);
        CHECK(strstr(fx->message, "max_attempts") != NULL, "the error says: %s", fx->message);
    }
    /* Nor by plain SQL. */
    fx->db.quiet = 1;
    for (int limit = -1; limit <= 0; limit++)
        CHECK_INT(db_exec(&fx->db, "INSERT INTO %smessages (lane, id, topic, payload, max_attempts) VALUES "
                          "(0, '01890a5d-ac96-774b-bcce-b302099a8057', 't', '', %d)", fx->prefix, limit), -1);
    fx->db.quiet = 0;
    CHECK(strstr(fx->db.error, "CHECK constraint") != NULL || strstr(fx->db.error, "check constraint") != NULL ||
              strstr(fx->db.error, "CONSTRAINT") != NULL,
          "the database says: %s", fx->db.error);
    CHECK_INT(count_waiting(fx), 0);
}

/* The attempts that a publisher sees. */
static void test_attempts_seen(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);

    send_words(fx, "t", "k", "1");
    for (int i = 0; i < 4; i++) {
        struct seen seen = {0};

        CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, &seen), 1);
        CHECK_INT(seen.count == 1 ? seen.items[0].attempts : -1, i);
        make_due(fx);
        seen_clear(&seen);
    }
}

/* Everything of a message survives the move to the other table. */
static void test_fields_survive(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_header header = {"h", "ü\xf0\x9f\x98\x80"};
    outbox_message m = text_message("t", "k", "");
    outbox_batch *batch;
    const outbox_record *r;
    outbox_id id;
    size_t size = 0;

    m.payload = "a\0b\xff";
    m.payload_size = 4;
    m.headers = &header;
    m.header_count = 1;
    m.content_type = "c";
    m.message_type = "m";
    m.max_attempts = 7;
    m.dedup_key = "d";
    OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err));
    CHECK_INT(settle_one(fx, consumer, OUTBOX_RETRY, NULL), 1);
    make_due(fx);
    REQUIRE_INT(outbox_consumer_claim(consumer, &batch, &fx->err), OUTBOX_OK);
    r = outbox_batch_message(batch, 0);
    CHECK_STR(outbox_record_id(r), id.text);
    CHECK_STR(outbox_record_topic(r), "t");
    CHECK_STR(outbox_record_partition_key(r), "k");
    CHECK(memcmp(outbox_record_payload(r, &size), "a\0b\xff", 4) == 0 && size == 4, "the payload differs");
    CHECK_STR(outbox_record_header(r, "h"), header.value);
    CHECK_STR(outbox_record_content_type(r), "c");
    CHECK_STR(outbox_record_message_type(r), "m");
    CHECK_INT(outbox_record_max_attempts(r), 7);
    CHECK_STR(outbox_record_last_error(r), "planted");
    CHECK(outbox_record_created_at(r) > INT64_C(1600000000000000), "no created_at");
    answer_all(batch, OUTBOX_PUBLISHED);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    CHECK_INT(count_waiting(fx), 0);
}

/* A large one too. */
static void test_large_survives(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_message m = text_message("t", "k", "");
    outbox_batch *batch;
    char *bytes = malloc(3 << 20);
    size_t size = 0;

    REQUIRE(bytes != NULL, "out of memory");
    for (size_t i = 0; i < 3 << 20; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    m.payload = bytes;
    m.payload_size = 3 << 20;
    OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    CHECK_INT(settle_one(fx, consumer, OUTBOX_UNKNOWN, NULL), 1);
    make_due(fx);
    if (OK(outbox_consumer_claim(consumer, &batch, &fx->err))) {
        const void *payload = outbox_record_payload(outbox_batch_message(batch, 0), &size);

        CHECK(size == 3 << 20 && memcmp(payload, bytes, size) == 0, "the payload of %zu bytes differs", size);
        OK(outbox_batch_release(batch, &fx->err));
        outbox_batch_free(batch);
    }
    free(bytes);
}

/* Reasons are kept as text whatever a publisher says, and are bounded. */
static void test_reasons(struct fixture *fx)
{
    outbox_consumer *consumer = fixture_consumer(fx, NULL);
    outbox_batch *batch;
    char *long_one = malloc(100001);
    const char *reasons[] = {"caf\xe9 \xff", "line\nline\ttab", "", NULL, NULL};

    REQUIRE(long_one != NULL, "out of memory");
    memset(long_one, 'x', 100000);
    long_one[100000] = '\0';
    reasons[4] = long_one;
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        send_text(fx, "t", NULL, "m");
        if (!OK(outbox_consumer_claim(consumer, &batch, &fx->err)))
            break;
        CHECK_INT(outbox_batch_answer(batch, 0, OUTBOX_REJECT, -1, reasons[i]), OUTBOX_OK);
        OK(outbox_batch_settle(batch, &fx->err));
        outbox_batch_free(batch);
        CHECK_INT(count_state(fx, OUTBOX_DEAD), i + 1);
    }
    free(long_one);
}

void suite_verdict(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"verdicts: each message its own", test_each, 1},
        {"verdicts: a publisher's own wait", test_retry_after, 0},
        {"verdicts: backoff within its bounds", test_backoff, 0},
        {"verdicts: an application's backoff", test_own_backoff, 0},
        {"verdicts: unanswered ones stay", test_unanswered, 1},
        {"verdicts: nothing answered, nothing charged", test_nothing_answered, 0},
        {"verdicts: max_attempts", test_max_attempts, 0},
        {"verdicts: limits below 1 are refused", test_bad_limits, 0},
        {"verdicts: attempts are seen", test_attempts_seen, 0},
        {"verdicts: fields survive a retry", test_fields_survive, 0},
        {"verdicts: 3 MiB survive a retry", test_large_survives, 0},
        {"verdicts: reasons of all kinds", test_reasons, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
