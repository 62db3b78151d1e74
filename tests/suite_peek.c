/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Administration that looks at a part: what waits, and who holds the lanes. */
#include <stdio.h>
#include <string.h>

#include "suite.h"

struct list {
    char words[500];
    int count;
};

static int take_topic_and_state(void *user, const outbox_record *r)
{
    struct list *list = user;
    size_t size = 1, used = strlen(list->words);

    outbox_record_payload(r, &size);
    CHECK_INT(size, 0);
    snprintf(list->words + used, sizeof list->words - used, "%s%s %s", used ? " " : "", outbox_record_topic(r),
             outbox_state_name(outbox_record_state(r)));
    list->count++;
    return 0;
}

static void check_peek(struct fixture *fx, const outbox_filter *filter, size_t rows, const char *words, int complete)
{
    struct list list = {"", 0};
    int all = -1;

    OK(outbox_peek(fx->conn, filter, rows, take_topic_and_state, &list, &all, &fx->err));
    CHECK_STR(list.words, words);
    CHECK_INT(all, complete);
}

/* What waits, as the list has it, but only so far. */
static void test_peek(struct fixture *fx)
{
    outbox_consumer *consumer = patient_consumer(fx);
    outbox_id ids[OUTBOX_STATE_COUNT];
    outbox_filter f = OUTBOX_FILTER_INIT;
    struct list list = {"", 0};

    REQUIRE(consumer != NULL && one_of_each(fx, consumer, ids), "not sent");
    f.limit = 1000;
    OK(outbox_peek(fx->conn, &f, 0, take_topic_and_state, &list, NULL, &fx->err));
    CHECK_INT(list.count, 5);
    for (int s = OUTBOX_PENDING; s <= OUTBOX_DEAD; s++) {
        char words[40];
        f.id = ids[s].text;
        snprintf(words, sizeof words, "%s %s", s == OUTBOX_PENDING ? "u" : "t", outbox_state_name((outbox_state)s));
        check_peek(fx, &f, 0, words, 1);
        f.state = (outbox_state)s;
        check_peek(fx, &f, 0, words, 1);
        f.state = s == OUTBOX_DEAD ? OUTBOX_PENDING : OUTBOX_DEAD;
        check_peek(fx, &f, 0, "", 1);
        f.state = (outbox_state)0;
    }
    f.id = NULL;
    f.partition_key = "a";
    f.state = OUTBOX_HELD;
    check_peek(fx, &f, 0, "t held", 1);
    f.topic = "T";
    check_peek(fx, &f, 0, "", 1);
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.older_than_us = 3600 * SECOND_US;
    check_peek(fx, &f, 0, "", 1);
    /* A key's lane, and no more of it than was asked for. */
    send_words(fx, "v", "k", "1 2 3 4 5 6");
    f = (outbox_filter)OUTBOX_FILTER_INIT;
    f.partition_key = "k";
    f.topic = "v";
    check_peek(fx, &f, 10, "v pending v pending v pending v pending v pending v pending", 1);
    f.limit = 2;
    check_peek(fx, &f, 10, "v pending v pending", 0);
    f.limit = 0;
    list = (struct list){"", 0};
    OK(outbox_peek(fx->conn, &f, 3, take_topic_and_state, &list, NULL, &fx->err));
    CHECK(list.count >= 1 && list.count <= 4, "%d of 3", list.count);
    f.id = "no uuid";
    EXPECT(outbox_peek(fx->conn, &f, 0, take_topic_and_state, &list, NULL, &fx->err), OUTBOX_ERR_INVALID);
}

struct owners {
    int lanes, held, last, stop_after;
    char owner[200];
    int64_t lease_us;
};

static int take_lane(void *user, const outbox_lane_info *lane)
{
    struct owners *o = user;

    CHECK_INT(lane->lane, o->last + 1);
    o->last = lane->lane;
    o->lanes++;
    if (lane->owner != NULL) {
        o->held++;
        o->lease_us = lane->lease_us;
        snprintf(o->owner, sizeof o->owner, "%s", lane->owner);
    }
    CHECK_INT(lane->suspect, 0);
    return o->lanes == o->stop_after;
}

static void test_lanes(struct fixture *fx)
{
    outbox_consumer *consumer = patient_consumer(fx);
    struct owners free_ones = {.last = -2}, held = {.last = -2}, some = {.last = -2, .stop_after = 3};
    outbox_batch *batch = NULL;

    OK(outbox_lanes(fx->conn, take_lane, &free_ones, &fx->err));
    CHECK_INT(free_ones.lanes, target_lanes(fx->target) + 1);
    CHECK_INT(free_ones.held, 0);
    send_words(fx, "t", "k", "1");
    REQUIRE(consumer != NULL && OK(outbox_consumer_claim(consumer, &batch, &fx->err)) && batch != NULL, "no batch");
    OK(outbox_lanes(fx->conn, take_lane, &held, &fx->err));
    CHECK_INT(held.held, 1);
    CHECK(held.owner[0] != '\0' && held.lease_us > 0 && held.lease_us < 3600 * SECOND_US, "%s for %lld µs", held.owner,
          (long long)held.lease_us);
    OK(outbox_batch_release(batch, &fx->err));
    outbox_batch_free(batch);
    OK(outbox_lanes(fx->conn, take_lane, &some, &fx->err));
    CHECK_INT(some.lanes, 3);
}

void suite_peek(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"admin: peek", test_peek, 0},
        {"admin: lanes", test_lanes, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
