/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Relays that go on: they allocate nothing, and they wait where there is no memory to publish. */
#include <string.h>

#include "memory.h"

/* ---- A relay that goes on ---- */

enum { STEADY = 900, WARM = 450, LAST = 880 }; /* the last batch may have statements of its own */

struct steady {
    long seen, at_warm, at_end;
};

static outbox_verdict count_allocations(void *user, const outbox_record *r, int64_t *retry_ms, outbox_error **err)
{
    struct steady *s = user;

    (void)r, (void)retry_ms, (void)err;
    s->seen++;
    if (s->seen == WARM)
        s->at_warm = number;
    if (s->seen == LAST)
        s->at_end = number;
    return OUTBOX_PUBLISHED;
}

static int enqueue_steady(struct fixture *fx)
{
    static const outbox_header headers[] = {{"a", "b"}, {"c", "with \"quotes\""}};
    int good = OK(outbox_conn_begin(fx->conn, &fx->err));

    for (int i = 0; i < STEADY && good; i++) {
        outbox_message m = text_message("t", "a key", "some text");

        m.headers = i % 5 ? NULL : headers;
        m.header_count = i % 5 ? 0 : COUNT_OF(headers);
        good = OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    }
    return good && OK(outbox_conn_commit(fx->conn, &fx->err));
}

/* What a batch needs, the next one has. One worker, and nothing beside it that would allocate for itself. */
void check_steady(const struct target *target)
{
    static const char *const settings[][2] = {{"schema.lanes", "2"}, {"relay.workers", "1"}, {"relay.cleaner", "off"},
                                              {"relay.batch_size", "20"}, {"relay.lease", "1h"}, {"wake.listen", "off"}};
    struct steady s = {0};
    struct fixture room, *fx = &room;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int good = fixture_prepare(fx, target) == 0;

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        fixture_set(fx, settings[i][0], settings[i][1]);
    good = good && fixture_migrate(fx) == 0 && enqueue_steady(fx) &&
           OK(outbox_publisher_from_callback(count_allocations, &s, &publisher, &fx->err)) &&
           OK(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err));
    number = fail_at = 0;
    armed = 1;
    good = good && OK(outbox_relay_run_once(relay, &fx->err));
    armed = 0;
    CHECK_INT(good ? s.seen : 0, STEADY);
    CHECK(number > 0, "nothing is counted");
    CHECK(s.at_warm > 0, "nothing was counted when it was warm");
    CHECK_INT(s.at_end - s.at_warm, 0);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    fixture_close(fx);
}

/* ---- No memory for what goes to the publisher ---- */

enum { STARVED_BATCHES = 4, TO_PUBLISH = 6 };

struct starved {
    struct fixture *fx;
    long at;      /* the allocation from which on all fail, counted from where the second batch goes to the publisher */
    int batches;  /* that went there */
    int enqueued; /* what makes the second batch larger than the first */
};

static void starve(void *user, outbox_log_level level, const char *message)
{
    struct starved *s = user;

    (void)level;
    if (strstr(message, "goes to the publisher") == NULL)
        return;
    if (++s->batches == 2) {
        number = 0;
        fail_at = s->at;
        from_then_on = 1;
    } else if (s->batches > STARVED_BATCHES) {
        fail_at = 0; /* it does not end by itself */
    }
}

static outbox_verdict publish_and_enqueue(void *user, const outbox_record *r, int64_t *retry_ms, outbox_error **err)
{
    struct starved *s = user;

    (void)r, (void)retry_ms, (void)err;
    if (!s->enqueued) {
        armed = 0;
        s->enqueued = walk_enqueue(s->fx, s->fx->conn, &s->fx->err) == OUTBOX_OK;
        armed = 1;
    }
    return OUTBOX_PUBLISHED;
}

static int run_starved(struct starved *s, outbox_error **err)
{
    struct fixture *fx = s->fx;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int rc;

    outbox_conf_set_log(fx->conf, starve, s);
    if (!OK(outbox_publisher_from_callback(publish_and_enqueue, s, &publisher, &fx->err)) ||
        !OK(outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, &fx->err)))
        return OUTBOX_ERR_INVALID;
    fail_at = 0;
    armed = 1;
    rc = outbox_relay_run_once(relay, err);
    armed = 0;
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_set_log(fx->conf, NULL, NULL);
    return rc;
}

/* Nothing can be said of the messages then. A relay that took that for done would lease, read and let go for ever. */
void check_starved(const struct target *target)
{
    static const char *const settings[][2] = {{"schema.lanes", "1"}, {"relay.workers", "1"}, {"relay.cleaner", "off"}};
    struct fixture room, *fx = &room;
    int ready = fixture_prepare(fx, target) == 0, starved = 1;

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        fixture_set(fx, settings[i][0], settings[i][1]);
    ready = ready && fixture_migrate(fx) == 0;
    CHECK(ready, "no outbox");
    for (long at = 1; ready && starved && !tap_failed(); at++) {
        struct starved s = {.fx = fx, .at = at};
        outbox_message m = text_message("t", NULL, "first");
        outbox_error *err = NULL;
        int rc;

        expire_leases(fx);
        /* Of the time before; each is refused once at the most, and those of one key wait for each other. */
        for (int walks = 0; walks < 20 && count_waiting(fx) > 0; walks++) {
            OK(walk_relay(fx, NULL, &fx->err));
            make_due(fx);
        }
        CHECK_INT(count_waiting(fx), 0);
        OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
        rc = run_starved(&s, &err);
        starved = rc != OUTBOX_OK; /* until it does without: the database's time is asked for once more, if it can */
        CHECK(rc == OUTBOX_ERR_NOMEM || (rc == OUTBOX_OK && at > TO_PUBLISH), "allocation %ld: %s", at,
              outbox_status_name(rc));
        CHECK_INT(s.batches, 2);
        outbox_error_free(err);
    }
    fixture_close(fx);
}
