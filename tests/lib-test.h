/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests share: the databases to test against, a fresh outbox a test, waiting for a condition.
 *
 * Nothing here sleeps for a time and hopes: WAIT_FOR() asks until the condition holds, and gives up so late that
 * only something that hangs is failed.
 */
#ifndef OUTBOX_TESTS_LIB_TEST_H
#define OUTBOX_TESTS_LIB_TEST_H

#include <outbox/outbox.h>

#include <stddef.h>
#include <stdint.h>

#include "db.h"
#include "tap.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define SECOND_US INT64_C(1000000)
#define HOUR_MS INT64_C(3600000)

/* A driver, a database and a way to settle. */
struct target {
    const char *name;     /* "postgresql/position" */
    const char *driver;   /* the setting "driver" */
    const char *database; /* named like its driver: "sqlite", "postgresql" */
    const char *settle;   /* the setting "schema.settle" */
};

/* The target "DRIVER/SETTLE" or "generic/DATABASE"; ends the program when there is no such driver. The name is kept. */
const struct target *target_find(const char *name);
int target_is_postgresql(const struct target *target);
int target_is_sqlite(const struct target *target);
/* Where no setting says how many. */
int target_lanes(const struct target *target);
int target_is_mariadb(const struct target *target);
int target_is_firebird(const struct target *target);
/* 1 on Firebird, after the test was skipped. */
struct fixture;
int skip_on_firebird(const struct fixture *fx, const char *why);
/* The DSN of the private PostgreSQL that tests/with-postgres started; NULL without one. */
const char *postgresql_dsn(void);
/* Lines of that server's log with both words. */
int server_logged(const char *word, const char *other);
/* The DSN of the server that a target needs, from OUTBOX_TEST_DATABASE; none for SQLite. */
const char *target_server(const struct target *target);
/* 1 when a target needs a server, and there is none. */
int target_missing(const struct target *target);
/* Has the script that controls a target's server do something: start, stop, kill. 1 when it did. */
int target_control(const struct target *target, const char *what);
/* 1 when a program, by its name, tests this target: NAME_DATABASE those of that database, NAME those of PostgreSQL and
 * SQLite. */
int target_is_for(const struct target *target, const char *program);

/* ---- Waiting ---- */

struct patience {
    int64_t until_us;
};
int64_t monotonic_us(void);
void patience_start(struct patience *p);
/* Waits a few milliseconds; 0 when patience has run out. */
int patience_wait(const struct patience *p);
#define WAIT_FOR(condition, held)                                       \
    do {                                                                \
        struct patience patience_;                                      \
        patience_start(&patience_);                                     \
        while (!((held) = !!(condition)) && patience_wait(&patience_))  \
            ;                                                           \
    } while (0)

/* 1 when OUTBOX_TEST_LONG is set. */
int test_long(void);
/* 1 when OUTBOX_TEST_ALL is set, or that: all of it, not what fits into ./check. */
int test_all(void);
/* A number from the environment, or the default. */
long env_number(const char *name, long otherwise);

/* ---- A fresh outbox ---- */

#define FIXTURE_CONNS 16

struct fixture {
    const struct target *target;
    char dsn[512];        /* as outbox_conn_open() takes it */
    char prefix[32];      /* of the tables: <prefix>messages */
    char directory[64];   /* for files; removed at the end */
    outbox_conf *conf;    /* settings that later conns and consumers get */
    outbox_conn *conn;    /* a connection of the library's own */
    struct db db;         /* the same database without the library, in autocommit */
    outbox_error *err;    /* for the calls in OK() and EXPECT() */
    char name[128];       /* outbox_error_name() of the last EXPECT() */
    char message[1024];   /* outbox_error_message() of it */
    outbox_conn *conns[FIXTURE_CONNS];
    outbox_consumer *consumers[FIXTURE_CONNS];
    size_t conn_count, consumer_count;
};

/* Makes the database's place and the settings, but no tables. Returns 0, or -1 after a failed check. */
int fixture_prepare(struct fixture *fx, const struct target *target);
/* Connects and migrates. */
int fixture_migrate(struct fixture *fx);
/* Both. */
int fixture_open(struct fixture *fx, const struct target *target);
void fixture_close(struct fixture *fx);
/* Closes every connection, so that processes can be forked. */
void fixture_disconnect(struct fixture *fx);

void fixture_set(struct fixture *fx, const char *key, const char *value);
/* Another connection, closed with the fixture; NULL after a failed check. */
outbox_conn *fixture_connect(struct fixture *fx);
/* A consumer on a connection of its own; owner may be NULL. */
outbox_consumer *fixture_consumer(struct fixture *fx, const char *owner);
/* Makes a conf with what the fixture was given; free it. */
outbox_conf *fixture_conf(const struct fixture *fx);

/* Lets every lease that is held end now, and everything that waits for a time come due. */
void expire_leases(struct fixture *fx);
void make_due(struct fixture *fx);

/* Whenever a lane's row is locked to change something in it, this SQL comes first, as from another session just before.
 * It names tables with their prefix. NULL ends it. */
void at_lane_lock(struct fixture *fx, const char *sql);
int64_t count_state(struct fixture *fx, outbox_state state);
/* All that is not delivered, whatever its state. */
int64_t count_waiting(struct fixture *fx);

/* Check a call that was given &fx->err. */
int status_check(const char *file, int line, struct fixture *fx, int got, int want, const char *what);
#define OK(call) status_check(__FILE__, __LINE__, fx, (call), OUTBOX_OK, #call)
#define EXPECT(call, status) status_check(__FILE__, __LINE__, fx, (call), (status), #call)
#define MUST(call)      \
    do {                \
        if (!OK(call))  \
            return;     \
    } while (0)

/* ---- Messages ---- */

outbox_message text_message(const char *topic, const char *key, const char *payload);
/* Enqueues one and commits. */
int send_text(struct fixture *fx, const char *topic, const char *key, const char *payload);
/* The same for each word of a text. */
int send_words(struct fixture *fx, const char *topic, const char *key, const char *words);
/* count messages with payloads "1", "2", … to keys "k0" … (keys many; 0: without key), in transactions of up to 500. */
int send_numbered(struct fixture *fx, const char *topic, int keys, int count);

/* ---- What came out ---- */

struct seen_one {
    char id[37], topic[64], key[64], text[64];
    int has_key, attempts, lane;
    int64_t seq;
};

struct seen {
    struct seen_one *items;
    size_t count, room;
    char joined[4096];
};

void seen_add(struct seen *seen, const outbox_record *record);
/* The payloads, joined by spaces; owned by seen. */
const char *seen_words(struct seen *seen);
/* The payloads of one key. */
const char *seen_words_of(struct seen *seen, const char *key);
void seen_clear(struct seen *seen);

/* Answers every message of a batch with one verdict. */
void answer_all(outbox_batch *batch, outbox_verdict verdict);
/* Adds every message of a batch. */
void seen_batch(struct seen *seen, const outbox_batch *batch);
/* Claims, publishes and settles until nothing is left; adds what came to seen (or NULL). Returns the messages, or -1. */
long drain(struct fixture *fx, outbox_consumer *consumer, struct seen *seen);
/* Drains, and compares what came. */
void expect_drained(struct fixture *fx, outbox_consumer *consumer, const char *words);
/* One pass of the cleaner. */
void clean_once(struct fixture *fx);
/* Claims one batch, answers all of it, settles. Returns the messages. */
long settle_one(struct fixture *fx, outbox_consumer *consumer, outbox_verdict verdict, struct seen *seen);

/* The state of a message, 0 when it is nowhere. */
outbox_state state_of(struct fixture *fx, const char *id);

/* ---- A suite ---- */

struct test {
    const char *name;
    void (*run)(struct fixture *fx);
    int unprepared; /* gets a fixture without tables */
};

/* Runs the tests whose name contains only (NULL: all) against a target. */
void suite_run(const struct test *tests, size_t count, const struct target *target, const char *only);

#endif
