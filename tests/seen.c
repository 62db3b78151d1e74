/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages that tests send, and what they see of them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib-test.h"

outbox_message text_message(const char *topic, const char *key, const char *payload)
{
    outbox_message m = OUTBOX_MESSAGE_INIT;

    m.topic = topic;
    m.partition_key = key;
    m.payload = payload;
    m.payload_size = strlen(payload);
    return m;
}

int send_text(struct fixture *fx, const char *topic, const char *key, const char *payload)
{
    outbox_message m = text_message(topic, key, payload);

    return OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
}

int send_words(struct fixture *fx, const char *topic, const char *key, const char *words)
{
    char copy[1024], *word, *rest = copy;
    int sent = 1;

    snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&rest, " ")) != NULL)
        sent &= send_text(fx, topic, key, word);
    return sent;
}

int send_numbered(struct fixture *fx, const char *topic, int keys, int count)
{
    enum { CHUNK = 500 };
    outbox_message messages[CHUNK];
    char text[CHUNK][16], key[CHUNK][16];
    int number = 0, good = 1;

    while (number < count && good) {
        int n = 0;

        for (; n < CHUNK && number < count; n++, number++) {
            snprintf(text[n], sizeof text[n], "%d", number + 1);
            snprintf(key[n], sizeof key[n], "k%d", keys ? number % keys : 0);
            messages[n] = text_message(topic, keys ? key[n] : NULL, text[n]);
        }
        good = OK(outbox_enqueue(fx->conn, messages, (size_t)n, NULL, &fx->err));
    }
    return good;
}

void seen_add(struct seen *seen, const outbox_record *record)
{
    struct seen_one *one;
    size_t size = 0;
    const char *payload = outbox_record_payload(record, &size);
    const char *key = outbox_record_partition_key(record);

    if (seen->count == seen->room) {
        size_t room = seen->room ? seen->room * 2 : 64;

        one = realloc(seen->items, room * sizeof *one);
        /* Publishers call this on the relay's threads: a check that passes must not be counted there. */
        if (one == NULL) {
            CHECK(0, "out of memory");
            return;
        }
        seen->items = one;
        seen->room = room;
    }
    one = &seen->items[seen->count++];
    memset(one, 0, sizeof *one);
    snprintf(one->id, sizeof one->id, "%s", outbox_record_id(record));
    snprintf(one->topic, sizeof one->topic, "%s", outbox_record_topic(record));
    snprintf(one->key, sizeof one->key, "%s", key ? key : "");
    snprintf(one->text, sizeof one->text, "%.*s", size < 60 ? (int)size : 60, payload);
    one->has_key = key != NULL;
    one->attempts = outbox_record_attempts(record);
    one->lane = outbox_record_lane(record);
    one->seq = outbox_record_seq(record);
}

const char *seen_words_of(struct seen *seen, const char *key)
{
    size_t used = 0;

    seen->joined[0] = '\0';
    for (size_t i = 0; i < seen->count && used + 70 < sizeof seen->joined; i++)
        if (key == NULL || strcmp(seen->items[i].key, key) == 0)
            used += (size_t)snprintf(seen->joined + used, sizeof seen->joined - used, "%s%s", used ? " " : "",
                                     seen->items[i].text);
    return seen->joined;
}

const char *seen_words(struct seen *seen)
{
    return seen_words_of(seen, NULL);
}

void seen_clear(struct seen *seen)
{
    free(seen->items);
    memset(seen, 0, sizeof *seen);
}

void answer_all(outbox_batch *batch, outbox_verdict verdict)
{
    for (size_t i = 0; i < outbox_batch_count(batch); i++)
        CHECK_INT(outbox_batch_answer(batch, i, verdict, -1, verdict == OUTBOX_PUBLISHED ? NULL : "planted"),
                  OUTBOX_OK);
}

void seen_batch(struct seen *seen, const outbox_batch *batch)
{
    for (size_t i = 0; i < outbox_batch_count(batch); i++)
        seen_add(seen, outbox_batch_message(batch, i));
}

long drain(struct fixture *fx, outbox_consumer *consumer, struct seen *seen)
{
    outbox_batch *batch;
    long total = 0;
    int rc;

    while ((rc = outbox_consumer_claim(consumer, &batch, &fx->err)) == OUTBOX_OK) {
        do {
            total += (long)outbox_batch_count(batch);
            if (seen != NULL)
                seen_batch(seen, batch);
            answer_all(batch, OUTBOX_PUBLISHED);
            rc = outbox_batch_next(batch, &fx->err);
        } while (rc == OUTBOX_OK);
        outbox_batch_free(batch);
        if (!EXPECT(rc, OUTBOX_NONE))
            return -1;
    }
    return EXPECT(rc, OUTBOX_NONE) ? total : -1;
}

long settle_one(struct fixture *fx, outbox_consumer *consumer, outbox_verdict verdict, struct seen *seen)
{
    outbox_batch *batch = NULL;
    long count;
    int rc = outbox_consumer_claim(consumer, &batch, &fx->err);

    if (rc == OUTBOX_NONE || !OK(rc))
        return rc == OUTBOX_NONE ? 0 : -1;
    count = (long)outbox_batch_count(batch);
    if (seen != NULL)
        seen_batch(seen, batch);
    answer_all(batch, verdict);
    OK(outbox_batch_settle(batch, &fx->err));
    outbox_batch_free(batch);
    return count;
}

void expect_drained(struct fixture *fx, outbox_consumer *consumer, const char *words)
{
    struct seen seen = {0};

    CHECK(drain(fx, consumer, &seen) >= 0, "not drained");
    CHECK_STR(seen_words(&seen), words);
    seen_clear(&seen);
}

void clean_once(struct fixture *fx)
{
    OK(outbox_clean(fx->conn, fx->conf, NULL, &fx->err));
}
