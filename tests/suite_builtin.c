/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A callback's verdicts, and publishers that are built in, when they are broken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "delivery.h"
#include "script.h"
#include "suite.h"

/* ---- A callback ---- */

/* Answers with the verdict that its letter stands for; while the broker is away, with that alone. */
static outbox_verdict say_verdict(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    static const struct {
        char letter;
        int verdict;
    } verdicts[] = {
        {'p', OUTBOX_PUBLISHED}, {'r', OUTBOX_RETRY}, {'j', OUTBOX_REJECT}, {'u', OUTBOX_UNKNOWN}, {'x', 99}, {'z', 0},
    };
    char letter = *(const char *)outbox_record_payload(message, NULL);

    if (script_trouble(user) != FINE)
        return OUTBOX_UNAVAILABLE;
    *retry_ms = HOUR_MS;
    if (letter != 'p' && letter != 'z') {
        char text[] = {'i', 't', ' ', 's', 'a', 'i', 'd', ' ', letter, '\0'};

        outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.said", text);
    }
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        if (verdicts[i].letter == letter)
            return (outbox_verdict)verdicts[i].verdict;
    return OUTBOX_PUBLISHED;
}

static int count_error(struct fixture *fx, const char *payload, outbox_state state, const char *error)
{
    return (int)db_int(&fx->db, "SELECT count(*) FROM %sdeferred WHERE message_type = '%s' AND state = %d "
                       "AND last_error = '%s'", fx->prefix, payload, (int)state, error);
}

/* Each verdict is what it says, and an outage kills nothing. */
static void test_callback(struct fixture *fx)
{
    static const char *const letters[] = {"p", "r", "j", "u", "x", "z"};
    static const char none[] = "the publish callback returned what is no verdict";
    outbox_publisher *publisher = NULL;
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "1000000");
    REQUIRE(act_open(fx, &a, DOWN_UNAVAILABLE, 0), "no relay");
    REQUIRE(OK(outbox_publisher_from_callback(say_verdict, &a.script, &publisher, &fx->err)) &&
            act_swap(fx, &a, publisher), "no relay");
    for (size_t i = 0; i < COUNT_OF(letters); i++) {
        outbox_message m = text_message("t", NULL, letters[i]);

        m.message_type = letters[i];
        OK(outbox_enqueue(fx->conn, &m, 1, NULL, &fx->err));
    }
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 10 || stats_of(&a).dead > 0, done);
    CHECK(done, "no probes");
    CHECK_INT(stats_of(&a).dead, 0);
    CHECK_INT(stats_of(&a).outages, 1);
    CHECK_INT(count_state(fx, OUTBOX_PENDING), 6);
    script_set(&a.script, FINE);
    /* Those without a verdict are tried again, until it stops. */
    WAIT_FOR(stats_of(&a).published == 1 && stats_of(&a).dead == 1 && count_state(fx, OUTBOX_RETRYING) == 4, done);
    CHECK(done, "%d published, %d failed, %d dead", (int)stats_of(&a).published, (int)stats_of(&a).failed,
          (int)stats_of(&a).dead);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_error(fx, "r", OUTBOX_RETRYING, "it said r"), 1);
    CHECK_INT(count_error(fx, "j", OUTBOX_DEAD, "it said j"), 1);
    CHECK_INT(count_error(fx, "u", OUTBOX_RETRYING, "it said u"), 1);
    CHECK_INT(count_error(fx, "x", OUTBOX_RETRYING, none), 1);
    CHECK_INT(count_error(fx, "z", OUTBOX_RETRYING, none), 1);
    act_close(fx, &a);
}

/* ---- The publishers that are built in ---- */

static int act_open_url(struct fixture *fx, struct act *a, const char *url)
{
    outbox_publisher *publisher = NULL;

    return act_open(fx, a, FINE, 0) && OK(outbox_publisher_open(url, NULL, &publisher, &fx->err)) &&
           act_swap(fx, a, publisher);
}

static int64_t attempts_charged(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT COALESCE(SUM(attempts), 0) FROM %sdeferred", fx->prefix);
}

/* A command that ends before it reads anything is broken, whatever it was sent: one message alone is not charged. */
static void test_exec_broken(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(act_open_url(fx, &a, "exec:exit 3"), "no relay");
    send_words(fx, "t", "k", "1");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 4, done);
    CHECK(done, "no probes");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
    CHECK_INT(attempts_charged(fx), 0);
    CHECK_INT(count_waiting(fx), 1);
    act_close(fx, &a);
}

/* It says so itself, until a file is there. */
static void test_exec_unavailable(struct fixture *fx)
{
    struct act a;
    char url[300], path[100];
    FILE *file;
    int done;

    snprintf(path, sizeof path, "/tmp/outbox-test-%ld-up", (long)getpid());
    unlink(path);
    snprintf(url, sizeof url, "exec:while read -r l; do if [ -e %s ]; then echo ok; else echo unavailable no; fi; done", path);
    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(act_open_url(fx, &a, url), "no relay");
    REQUIRE(send_numbered(fx, "t", 5, 20), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).probes >= 5, done);
    CHECK(done, "no probes");
    CHECK_INT(attempts_charged(fx), 0);
    file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0, "no file");
    WAIT_FOR(stats_of(&a).published == 20, done);
    CHECK(done, "%d published", (int)stats_of(&a).published);
    act_close(fx, &a);
    unlink(path);
}

/* One that ends because of what it read: that is charged, and dies; the others arrive. */
static void test_exec_poison(struct fixture *fx)
{
    struct act a;
    int done;

    fixture_set(fx, "retry.max_attempts", "2");
    REQUIRE(act_open_url(fx, &a, "exec:while read -r line; do case $line in *cG9pc29u*|*poison*) exit 4;; esac; echo ok; done"),
            "no relay");
    send_words(fx, "t", "k", "poison");
    REQUIRE(send_numbered(fx, "t", 5, 20), "not sent");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).dead == 1 && stats_of(&a).published == 20, done);
    CHECK(done, "%d dead, %d published", (int)stats_of(&a).dead, (int)stats_of(&a).published);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(count_waiting(fx), 1);
    act_close(fx, &a);
}

/* One that never answers is ended each time, and owes nothing afterwards: the relay goes on, however often that was. What
 * was not to blame is not charged. */
static void test_exec_hangs(struct fixture *fx)
{
    outbox_publisher *publisher = NULL;
    struct act a;
    int done;

    fixture_set(fx, "relay.workers", "4");
    fixture_set(fx, "relay.publish_timeout", "20ms");
    fixture_set(fx, "retry.max_attempts", "1000000");
    fixture_set(fx, "retry.backoff_min", "1ms");
    fixture_set(fx, "retry.backoff_max", "1ms");
    fixture_set(fx, "breaker.threshold", "0");
    REQUIRE(act_open(fx, &a, FINE, 0) && OK(outbox_publisher_open("exec:exec sleep 1000", NULL, &publisher, &fx->err)) &&
            act_swap(fx, &a, publisher) && send_numbered(fx, "t", 16, 32), "no relay");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(stats_of(&a).failed >= 80 || script_get(&a.script, &a.script.silent) > 0, done);
    CHECK(done, "%d were given up", (int)stats_of(&a).failed);
    CHECK_INT(script_get(&a.script, &a.script.silent), 0);
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(outbox_publisher__kept(publisher), 0);
    CHECK_INT(count_waiting(fx), 32);
    act_close(fx, &a);
}

/* While the relay stops, too: that is charged to nobody. */
static void test_exec_stop(struct fixture *fx)
{
    outbox_publisher *publisher = NULL;
    struct act a;
    char url[300], path[100];
    int done;

    snprintf(path, sizeof path, "/tmp/outbox-test-%ld-read", (long)getpid());
    unlink(path);
    snprintf(url, sizeof url, "exec:read -r l; : >%s; exec sleep 1000", path);
    fixture_set(fx, "relay.drain_timeout", "50ms");
    fixture_set(fx, "relay.publish_timeout", "1d");
    REQUIRE(act_open(fx, &a, FINE, 0) && OK(outbox_publisher_open(url, NULL, &publisher, &fx->err)) &&
            act_swap(fx, &a, publisher), "no relay");
    send_words(fx, "t", "k", "1 2 3");
    OK(outbox_relay_start(a.relay, &fx->err));
    WAIT_FOR(access(path, F_OK) == 0, done);
    CHECK(done, "the command got nothing");
    outbox_relay_stop(a.relay);
    OK(outbox_relay_join(a.relay, &fx->err));
    CHECK_INT(outbox_publisher__kept(publisher), 0);
    CHECK_INT(attempts_charged(fx), 0);
    CHECK_INT(count_waiting(fx), 3);
    act_close(fx, &a);
    unlink(path);
}

/* The reader of the standard output is gone: nothing is charged, and what was not read by it is there. */
static void test_stdout_closed(struct fixture *fx)
{
    struct act a;
    int ends[2], saved, done;

    fixture_set(fx, "retry.max_attempts", "1");
    REQUIRE(send_numbered(fx, "t", 5, 20) && act_open_url(fx, &a, "stdout:"), "no relay");
    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    REQUIRE(saved >= 0 && pipe(ends) == 0, "no pipe");
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    outbox_relay_start(a.relay, NULL);
    WAIT_FOR(stats_of(&a).probes >= 5, done);
    outbox_relay_stop(a.relay);
    outbox_relay_join(a.relay, NULL);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    CHECK(done, "no probes");
    CHECK_INT(count_state(fx, OUTBOX_DEAD), 0);
    CHECK_INT(attempts_charged(fx), 0);
    CHECK_INT(count_waiting(fx), 20);
    act_close(fx, &a);
}

void suite_builtin(const struct target *target, const char *only)
{
    static const struct test tests[] = {
        {"broker: a callback's verdicts", test_callback, 0},
        {"broker: exec:, a command that is broken", test_exec_broken, 0},
        {"broker: exec:, unavailable", test_exec_unavailable, 0},
        {"broker: exec:, a message that kills it", test_exec_poison, 0},
        {"broker: exec:, a command that hangs", test_exec_hangs, 0},
        {"broker: exec:, a command that hangs while the relay stops", test_exec_stop, 0},
        {"broker: stdout:, nobody reads", test_stdout_closed, 0},
    };

    suite_run(tests, COUNT_OF(tests), target, only);
}
