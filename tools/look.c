/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of each list, so many are told. */
#define TOLD 50

json_t *look_text(const char *text)
{
    json_t *made = text != NULL ? json_string(text) : json_null();
    char *copy;

    if (made != NULL)
        return made;
    copy = strdup(text);
    if (copy == NULL)
        return json_null();
    for (char *p = copy; *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    made = json_string(copy);
    free(copy);
    return made != NULL ? made : json_null();
}

static json_t *time_ms(int64_t us)
{
    return us != 0 ? json_integer(us / 1000) : json_null();
}

static json_t *message(const outbox_record *r)
{
    return json_pack("{s:o, s:s, s:o, s:o, s:i, s:i, s:i, s:I, s:o, s:o, s:o}", "id", look_text(outbox_record_id(r)),
                     "state", outbox_state_name(outbox_record_state(r)), "topic", look_text(outbox_record_topic(r)),
                     "key", look_text(outbox_record_partition_key(r)), "attempts", outbox_record_attempts(r),
                     "max_attempts", outbox_record_max_attempts(r), "lane", outbox_record_lane(r), "seq",
                     (json_int_t)outbox_record_seq(r), "created_ms", time_ms(outbox_record_created_at(r)),
                     "available_ms", time_ms(outbox_record_available_at(r)), "error",
                     look_text(outbox_record_last_error(r)));
}

/* ---- metrics ---- */

static void take_value(json_t *values, const char *metric, const json_t *sample, const char *outbox)
{
    json_t *labels = json_object_get(sample, "labels"), *value = json_object_get(sample, "value");
    const char *of = json_string_value(json_object_get(labels, "outbox"));
    const char *state = json_string_value(json_object_get(labels, "state"));
    char name[128];

    if (value == NULL || of == NULL || strcmp(of, outbox) != 0)
        return;
    snprintf(name, sizeof(name), "%s%s%s", metric, state != NULL ? " " : "", state != NULL ? state : "");
    json_object_set(values, name, value);
}

json_t *look_metrics(const json_t *all, const char *outbox)
{
    json_t *values = json_object(), *metric, *sample;
    size_t i, k;

    json_array_foreach(json_object_get(all, "metrics"), i, metric) {
        const char *name = json_string_value(json_object_get(metric, "name"));
        if (name != NULL)
            json_array_foreach(json_object_get(metric, "samples"), k, sample)
                take_value(values, name, sample, outbox);
    }
    return values;
}

/* ---- what is counted of the first messages ---- */

struct sample {
    json_t *topics;  /* by name: a topic */
    json_t *blocked; /* by topic and key: a key */
    json_t *dead;    /* messages */
    json_int_t count[OUTBOX_STATE_COUNT];
};

static void add_one(json_t *to, const char *name)
{
    json_object_set_new(to, name, json_integer(json_integer_value(json_object_get(to, name)) + 1));
}

static void count_topic(struct sample *s, const outbox_record *r)
{
    json_t *name = look_text(outbox_record_topic(r)), *topic, *oldest;
    const char *key = json_string_value(name);
    int64_t created = outbox_record_created_at(r) / 1000;

    if (key == NULL) {
        json_decref(name);
        return;
    }
    topic = json_object_get(s->topics, key);
    if (topic == NULL) {
        topic = json_pack("{s:O, s:i}", "topic", name, "messages", 0);
        json_object_set_new(s->topics, key, topic);
    }
    add_one(topic, "messages");
    add_one(topic, outbox_state_name(outbox_record_state(r)));
    oldest = json_object_get(topic, "oldest_ms");
    if (oldest == NULL || created < json_integer_value(oldest))
        json_object_set_new(topic, "oldest_ms", json_integer(created));
    json_decref(name);
}

/* A key with its first message that is no follower: they come in the order of their numbers. */
static void count_key(struct sample *s, const outbox_record *r)
{
    outbox_state state = outbox_record_state(r);
    json_t *topic = look_text(outbox_record_topic(r)), *key = look_text(outbox_record_partition_key(r)), *of;
    size_t size = json_string_length(topic) + json_string_length(key) + 2;
    char *name = json_is_string(key) && json_is_string(topic) ? malloc(size) : NULL;

    if (name != NULL && (state == OUTBOX_HELD || state == OUTBOX_DEAD || state == OUTBOX_RETRYING)) {
        snprintf(name, size, "%s\x01%s", json_string_value(topic), json_string_value(key));
        of = json_object_get(s->blocked, name);
        if (of == NULL) {
            of = json_pack("{s:O, s:O, s:i, s:n}", "topic", topic, "key", key, "held", 0, "head");
            json_object_set_new(s->blocked, name, of);
        }
        if (state == OUTBOX_HELD)
            add_one(of, "held");
        else if (json_is_null(json_object_get(of, "head")))
            json_object_set_new(of, "head", message(r));
    }
    free(name);
    json_decref(topic);
    json_decref(key);
}

static int count(void *user, const outbox_record *r)
{
    struct sample *s = user;
    outbox_state state = outbox_record_state(r);

    s->count[state]++;
    count_topic(s, r);
    count_key(s, r);
    if (state == OUTBOX_DEAD && json_array_size(s->dead) < TOLD)
        json_array_append_new(s->dead, message(r));
    return 0;
}

/* ---- the largest first ---- */

struct ranked {
    json_t *value;
    json_int_t rank;
};

static int compare(const void *a, const void *b)
{
    json_int_t x = ((const struct ranked *)a)->rank, y = ((const struct ranked *)b)->rank;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Those of which a number is above 0, as an array of so many at the most; *left is how many more there are. */
static json_t *rank(json_t *by_name, const char *number, json_int_t *left)
{
    struct ranked *all = calloc(json_object_size(by_name) + 1, sizeof(*all));
    json_t *list = json_array(), *value;
    const char *name;
    size_t n = 0;

    *left = 0;
    if (all == NULL)
        return list;
    json_object_foreach(by_name, name, value)
        if (json_integer_value(json_object_get(value, number)) > 0)
            all[n++] = (struct ranked){ value, json_integer_value(json_object_get(value, number)) };
    qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0; i < n && i < TOLD; i++)
        json_array_append(list, all[i].value);
    *left = n > TOLD ? (json_int_t)(n - TOLD) : 0;
    free(all);
    return list;
}

/* ---- lanes ---- */

struct lanes {
    json_t *held; /* or left behind */
    json_t *cleaner;
    int count, leased;
};

static int take_lane(void *user, const outbox_lane_info *lane)
{
    struct lanes *l = user;
    json_t *of = NULL;

    if (lane->owner != NULL || lane->suspect)
        of = json_pack("{s:i, s:o, s:I, s:b}", "lane", lane->lane, "owner", look_text(lane->owner), "lease_ms",
                       (json_int_t)(lane->lease_us / 1000), "suspect", lane->suspect);
    if (lane->lane < 0) {
        l->cleaner = of;
        return 0;
    }
    l->count++;
    l->leased += lane->owner != NULL && lane->lease_us >= 0;
    if (of != NULL)
        json_array_append_new(l->held, of);
    return 0;
}

/* ---- all ---- */

static json_t *tell_sample(const struct sample *s, int complete)
{
    json_t *of = json_pack("{s:b}", "complete", complete);

    for (int i = OUTBOX_PENDING; i <= OUTBOX_DEAD; i++)
        json_object_set_new(of, outbox_state_name((outbox_state)i), json_integer(s->count[i]));
    return of;
}

static json_t *tell(const struct sample *s, const struct lanes *l, int complete)
{
    json_int_t topics_left, blocked_left, dead_left = s->count[OUTBOX_DEAD] - (json_int_t)json_array_size(s->dead);
    json_t *topics = rank(s->topics, "messages", &topics_left), *blocked = rank(s->blocked, "held", &blocked_left);

    return json_pack("{s:{s:i, s:i, s:O, s:O?}, s:o, s:o, s:I, s:o, s:I, s:O, s:I}", "lanes", "count", l->count,
                     "leased", l->leased, "held", l->held, "cleaner", l->cleaner, "sample", tell_sample(s, complete),
                     "topics", topics, "topics_left", topics_left, "blocked", blocked, "blocked_left", blocked_left,
                     "dead", s->dead, "dead_left", dead_left);
}

int look_overview(outbox_conn *conn, size_t rows, json_t **overview, outbox_error **err)
{
    struct sample s = { json_object(), json_object(), json_array(), { 0 } };
    struct lanes l = { json_array(), NULL, 0, 0 };
    outbox_filter all = OUTBOX_FILTER_INIT;
    int complete = 0, rc = outbox_lanes(conn, take_lane, &l, err);

    *overview = NULL;
    all.limit = SIZE_MAX;
    if (rc == OUTBOX_OK)
        rc = outbox_peek(conn, &all, rows, count, &s, &complete, err);
    if (rc == OUTBOX_OK)
        *overview = tell(&s, &l, complete);
    if (rc == OUTBOX_OK && *overview == NULL)
        rc = OUTBOX_ERR_NOMEM;
    json_decref(s.topics);
    json_decref(s.blocked);
    json_decref(s.dead);
    json_decref(l.held);
    json_decref(l.cleaner);
    return rc;
}

static int take_message(void *user, const outbox_record *r)
{
    json_array_append_new(user, message(r));
    return 0;
}

int look_messages(outbox_conn *conn, const outbox_filter *filter, size_t rows, json_t **found, outbox_error **err)
{
    json_t *list = json_array();
    int complete = 0, rc = outbox_peek(conn, filter, rows, take_message, list, &complete, err);

    *found = rc == OUTBOX_OK ? json_pack("{s:b, s:O}", "complete", complete, "messages", list) : NULL;
    if (rc == OUTBOX_OK && *found == NULL)
        rc = OUTBOX_ERR_NOMEM;
    json_decref(list);
    return rc;
}
