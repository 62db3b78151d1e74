/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every allocation of the library fails in turn, once, and then all from there on: each call says OUTBOX_ERR_NOMEM or
 * succeeds, nothing leaks, and in the end no message is lost. Only what our own objects allocate fails (the linker
 * sends their malloc() here): unixODBC and jansson do not survive it. argv[1] chooses tests by name.
 *
 * On PostgreSQL, where a call takes longer, and of a relay with all its threads only each so-manieth allocation fails, from
 * the first on, so that there are 10 to 50 of them a walk; with OUTBOX_TEST_ALL all.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* ---- What is walked ---- */

enum { MOST = 200000 };

static char sent[MOST], delivered[MOST]; /* by the number in the payload */
static int last_sent;

/* The test's own allocations do not fail. */
static void note_delivered(const outbox_record *r)
{
    int n = atoi(outbox_record_payload(r, NULL));

    if (n > 0 && n < MOST)
        delivered[n] = 1;
}

static int walk_conf(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_conf *conf = NULL;
    int rc = outbox_conf_new(&conf, err);

    (void)fx;
    (void)conn;
    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(conf, "schema.prefix", "another_", err);
    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(conf, "relay.batch_size", "17", err);
    if (rc == OUTBOX_OK && outbox_conf_set(conf, "relay.batch_size", "many", err) == OUTBOX_OK)
        rc = OUTBOX_ERR_INVALID;
    if (rc == OUTBOX_OK && *err != NULL) {
        outbox_error_free(*err);
        *err = NULL;
    }
    outbox_conf_free(conf);
    return rc;
}

static int walk_json(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    static const char text[] = "{\"topic\":\"t\",\"partition_key\":\"k\",\"headers\":{\"a\":\"b\",\"c\":\"d\\u00e9\"},"
                               "\"payload_base64\":\"eyJuIjpbMSwyXX0=\"}";
    outbox_parsed *parsed = NULL;
    int rc = outbox_message_from_json(text, strlen(text), 0, &parsed, err);

    (void)fx;
    (void)conn;
    CHECK(rc != OUTBOX_OK || strcmp(outbox_parsed_message(parsed)->topic, "t") == 0, "another topic");
    outbox_parsed_free(parsed);
    return rc;
}

static int walk_print(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    char *sql = NULL;
    int rc = outbox_migrations_print("postgresql", fx->conf, &sql, err);

    (void)conn;
    outbox_free(sql);
    return rc;
}

static int walk_open(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_conn *another = NULL;
    int rc = outbox_conn_open(fx->dsn, fx->conf, &another, err);

    (void)conn;
    outbox_conn_close(another);
    return rc;
}

static int count_wrong(void *user, const outbox_finding *f)
{
    *(int *)user += f->severity != OUTBOX_FACT;
    return 0;
}

static int walk_diagnose(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;
    int wrong = 0, rc;

    (void)conn;
    options.publisher = "file:/tmp/never-made.jsonl";
    rc = outbox_diagnose(fx->dsn, fx->conf, &options, count_wrong, &wrong, err);
    CHECK(rc != OUTBOX_OK || wrong == 0, "the doctor found what is not there, or could not look, and said no word of memory");
    return rc;
}

int walk_enqueue(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    static const outbox_header headers[] = {{"a", "b"}, {"c", "with \"quotes\""}};
    outbox_message messages[10];
    char payloads[10][16], once[24];
    int rc = outbox_conn_begin(conn, err);

    (void)fx;
    for (int i = 0; i < 10; i++) {
        snprintf(payloads[i], sizeof payloads[i], "%d", last_sent + 1 + i);
        messages[i] = text_message("t", i % 3 ? "k" : NULL, payloads[i]);
    }
    messages[4].headers = headers;
    messages[4].header_count = COUNT_OF(headers);
    snprintf(once, sizeof once, "once %s", payloads[0]);
    messages[5].dedup_key = once;
    if (rc == OUTBOX_OK) {
        rc = outbox_enqueue(conn, messages, 10, NULL, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn_commit(conn, err);
        else
            outbox_conn_rollback(conn, NULL);
    }
    for (int i = 0; i < 10 && rc == OUTBOX_OK && last_sent + 1 < MOST; i++)
        sent[++last_sent] = 1;
    return rc;
}

/* Of each batch one is refused, so that all of settling is walked. */
static int answer_some(outbox_batch *batch)
{
    int rc = OUTBOX_OK;

    for (size_t i = 0; i < outbox_batch_count(batch) && rc == OUTBOX_OK; i++) {
        int refuse = i == 2 && outbox_record_attempts(outbox_batch_message(batch, i)) == 0;

        /* Noted only with its answer: without one it was not published. */
        rc = outbox_batch_answer(batch, i, refuse ? OUTBOX_RETRY : OUTBOX_PUBLISHED, refuse ? 1 : -1,
                                 refuse ? "refused once" : NULL);
        if (rc == OUTBOX_OK && !refuse)
            note_delivered(outbox_batch_message(batch, i));
        if (refuse)
            break;
    }
    return rc;
}

static int walk_consume(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_consumer *consumer = NULL;
    outbox_batch *batch = NULL;
    int rc = outbox_consumer_new(conn, fx->conf, NULL, &consumer, err);

    if (rc == OUTBOX_OK)
        rc = outbox_consumer_claim(consumer, &batch, err);
    for (int i = 0; i < 3 && rc == OUTBOX_OK; i++) {
        rc = answer_some(batch);
        if (rc != OUTBOX_OK && *err == NULL) /* it sets no error */
            outbox_error_new(err, rc, "test", "an answer was refused");
        else
            rc = i < 2 ? outbox_batch_next(batch, err) : outbox_batch_settle(batch, err);
    }
    outbox_batch_free(batch);
    outbox_consumer_free(consumer);
    return rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}

static int smooth;      /* nothing is refused */
static int not_ahead;   /* how often reading ahead failed */

static void count_not_ahead(void *user, outbox_log_level level, const char *message)
{
    (void)user, (void)level;
    not_ahead += strncmp(message, "not read ahead", 14) == 0;
}

static outbox_verdict publish(void *user, const outbox_record *r, int64_t *retry_ms, outbox_error **err)
{
    (void)user;
    if (!smooth && outbox_record_attempts(r) == 0 && outbox_record_seq(r) % 7 == 0) {
        *retry_ms = 1;
        outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.planted", "planted failure");
        return OUTBOX_RETRY;
    }
    note_delivered(r);
    return OUTBOX_PUBLISHED;
}

int walk_relay(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int rc = outbox_publisher_from_callback(publish, NULL, &publisher, err);

    (void)conn;
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, err);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_run_once(relay, err);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return rc;
}

/* How many messages wait when a walk begins. */
static int64_t to_come;

/* Until the relay did what it is there for, in spite of an allocation that failed; or until more and more fail. */
static int is_through(outbox_relay *relay)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;

    if (from_then_on && failed > 3)
        return 1;
    outbox_relay_stats_get(relay, &s);
    return (int64_t)s.published >= to_come && allocating[KEEPER] && allocating[CLEANER] && allocating[WORKER];
}

static int walk_start_and_stop(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int through, rc = outbox_publisher_from_callback(publish, NULL, &publisher, err);

    (void)conn;
    for (int i = 0; i < MEMORY_THREADS; i++)
        allocating[i] = 0;
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, err);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_start(relay, err);
    if (rc == OUTBOX_OK) {
        WAIT_FOR(is_through(relay), through);
        CHECK(through, "allocation %ld%s: the relay stands still; keeper %d, cleaner %d, worker %d", (long)fail_at,
              from_then_on ? " and all after it" : "", allocating[KEEPER], allocating[CLEANER], allocating[WORKER]);
        outbox_relay_stop(relay);
        rc = outbox_relay_join(relay, err);
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return rc;
}

static int print_record(void *user, const outbox_record *r)
{
    char *text = NULL;
    outbox_error *err = NULL;
    int *rc = user;

    *rc = outbox_record_to_json(r, &text, &err);
    outbox_error_free(err);
    outbox_free(text);
    return *rc != OUTBOX_OK;
}

static int walk_list(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_counts counts = {.size = sizeof counts};
    int printed = OUTBOX_OK, rc;

    (void)fx;
    filter.topic = "t";
    filter.limit = 20;
    rc = outbox_list(conn, &filter, print_record, &printed, err);
    if (rc == OUTBOX_OK && printed != OUTBOX_OK)
        return outbox_error_new(err, printed, "test", "a record was not printed");
    return rc == OUTBOX_OK ? outbox_count(conn, &counts, err) : rc;
}

static int walk_redrive(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    int rc;

    (void)fx;
    filter.partition_key = "k";
    rc = outbox_redrive(conn, &filter, NULL, err);
    filter.topic = "nothing";
    if (rc >= 0)
        rc = outbox_discard(conn, &filter, NULL, err);
    return rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}

static int walk_clean(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    int rc = outbox_clean(conn, fx->conf, NULL, err);

    return rc == OUTBOX_NONE ? OUTBOX_OK : rc;
}

/* Into tables of its own; when it failed, nothing of them is there. */
static int walk_migrate(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    static int made;
    outbox_conf *conf = NULL;
    outbox_conn *another = NULL;
    char prefix[32];
    int rc;

    (void)conn;
    snprintf(prefix, sizeof prefix, "m%d_", made);
    rc = outbox_conf_new(&conf, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conf_set(conf, "schema.prefix", prefix, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn_open(fx->dsn, conf, &another, err);
    if (rc == OUTBOX_OK)
        rc = outbox_migrate(another, NULL, err);
    made += rc == OUTBOX_OK;
    outbox_conn_close(another);
    outbox_conf_free(conf);
    return rc;
}

static int walk_file(struct fixture *fx, outbox_conn *conn, outbox_error **err)
{
    static char url[128];
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int rc;

    (void)conn;
    snprintf(url, sizeof url, "file:%s/out", fx->directory);
    rc = outbox_publisher_open(url, fx->conf, &publisher, err);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(fx->dsn, fx->conf, publisher, NULL, &relay, err);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return rc;
}

/* ---- Each of them ---- */

struct walk {
    const char *name;
    int (*run)(struct fixture *fx, outbox_conn *conn, outbox_error **err);
    int messages; /* needs so many that wait */
    int dead;     /* and a dead one */
    int on;       /* where it is walked by default: the bits below */
    int threads;  /* allocates on several, in no certain order */
    const char *before; /* SQL that comes before it; %s is the tables' prefix */
    int smooth;   /* nothing is refused or was: only then a relay reads ahead */
};

enum { SQLITE = 1, POSTGRESQL = 2, BOTH = 3 };

#define RESTORED "UPDATE %smeta SET value = 'elsewhere/1' WHERE name = 'system'"

static const struct walk walks[] = {
    {"settings", walk_conf, 0, 0, SQLITE, 0, NULL, 0},
    {"JSON", walk_json, 0, 0, SQLITE, 0, NULL, 0},
    {"migrations, printed", walk_print, 0, 0, SQLITE, 0, NULL, 0},
    {"connect", walk_open, 0, 0, SQLITE, 0, NULL, 0},
    {"migrate", walk_migrate, 0, 0, SQLITE, 0, NULL, 0},
    {"diagnose", walk_diagnose, 0, 0, SQLITE, 0, NULL, 0},
    {"enqueue", walk_enqueue, 0, 0, BOTH, 0, NULL, 0},
    {"claim and settle", walk_consume, 20, 0, BOTH, 0, NULL, 0},
    {"claim after a restore", walk_consume, 20, 0, POSTGRESQL, 0, RESTORED, 0},
    {"relay", walk_relay, 20, 0, BOTH, 0, NULL, 0},
    {"relay that reads ahead", walk_relay, 40, 0, POSTGRESQL, 0, NULL, 1},
    {"a relay that starts and stops", walk_start_and_stop, 20, 0, BOTH, 1, NULL, 0},
    {"list and count", walk_list, 20, 0, SQLITE, 0, NULL, 0},
    {"clean", walk_clean, 20, 0, BOTH, 0, NULL, 0},
    {"publish to a file", walk_file, 0, 0, SQLITE, 0, NULL, 0},
    {"redrive and discard", walk_redrive, 20, 1, SQLITE, 0, NULL, 0},
};

/* What is there already when a walk begins. */
static void make_ready(struct fixture *fx, const struct walk *walk)
{
    outbox_error *err = NULL;

    if (walk->before != NULL)
        CHECK_INT(db_exec(&fx->db, walk->before, fx->prefix), 0);
    fixture_set(fx, "relay.lease", walk->threads ? "1s" : "30s"); /* so that the keeper comes soon */
    if (walk->messages == 0)
        return;
    smooth = walk->smooth;
    expire_leases(fx);
    make_due(fx);
    while (smooth && count_waiting(fx) > 0 && !tap_failed()) {
        CHECK_INT(walk_relay(fx, NULL, &err), OUTBOX_OK);
        make_due(fx);
    }
    while (count_waiting(fx) < walk->messages && !tap_failed())
        CHECK_INT(walk_enqueue(fx, fx->conn, &err), OUTBOX_OK);
    while (walk->dead && count_state(fx, OUTBOX_DEAD) == 0 && !tap_failed())
        settle_one(fx, fx->consumers[0], OUTBOX_REJECT, NULL);
    to_come = count_waiting(fx);
}

/* Returns whether an allocation failed. */
static int walk_once(struct fixture *fx, const struct walk *walk, long at, int rest)
{
    outbox_conn *conn = NULL;
    outbox_error *err = NULL;
    long kept;
    int rc;

    make_ready(fx, walk);
    kept = live; /* after that: the fixture's own connection keeps what it prepares */
    OK(outbox_conn_open(fx->dsn, fx->conf, &conn, &fx->err));
    number = failed = 0;
    fail_at = at;
    from_then_on = rest;
    armed = 1;
    rc = walk->run(fx, conn, &err);
    armed = 0;
    outbox_conn_close(conn);
    CHECK(rc == OUTBOX_OK || rc == OUTBOX_ERR_NOMEM, "allocation %ld%s: %s: %s", at, rest ? " and all after it" : "",
          outbox_status_name(rc), err ? outbox_error_message(err) : "no error");
    CHECK((rc < 0) == (err != NULL), "allocation %ld: %s with%s an error", at, outbox_status_name(rc),
          err ? "" : "out");
    CHECK(at > 0 || rc == OUTBOX_OK, "%s without a fault", outbox_status_name(rc));
    outbox_error_free(err);
    CHECK(live == kept, "allocation %ld%s: %ld blocks are left", at, rest ? " and all after it" : "", live - kept);
    return number >= at;
}

/* From one allocation that fails to the next. */
static long step(const struct fixture *fx, const struct walk *walk, long total)
{
    long wanted = walk->threads ? 10 : walk->smooth ? 50 : target_is_postgresql(fx->target) ? 25 : total;

    return test_all() || wanted >= total ? 1 : (total + wanted - 1) / wanted;
}

static void run_walk(struct fixture *fx, const struct walk *walk)
{
    long n = 1, total, by, tried = 0;

    walk_once(fx, walk, 0, 0);
    total = number;
    CHECK(total > 0, "nothing is allocated");
    by = step(fx, walk, total);
    not_ahead = 0;
    while (!tap_failed() && (!walk->threads || n <= total) && walk_once(fx, walk, n, 0)) {
        walk_once(fx, walk, n, 1);
        tried++;
        n += by;
    }
    tap_note("%s: %ld allocations, %ld failed in turn", walk->name, total, tried);
    if (walk->smooth)
        tap_note("%d of them while it read ahead", not_ahead);
    CHECK(!walk->smooth || not_ahead > 0, "reading ahead did not fail");
    CHECK(n * 2 > total, "only the first %ld of %ld allocations failed", n, total);
}

static void check_nothing_lost(struct fixture *fx)
{
    struct seen seen = {0};
    outbox_consumer *consumer = fixture_consumer(fx, "last");
    int lost = 0, made_up = 0;

    for (int rounds = 0; rounds < 20 && count_waiting(fx) > 0; rounds++) {
        outbox_redrive(fx->conn, NULL, NULL, NULL);
        expire_leases(fx);
        make_due(fx);
        drain(fx, consumer, &seen);
    }
    for (size_t i = 0; i < seen.count; i++)
        if (atoi(seen.items[i].text) < MOST)
            delivered[atoi(seen.items[i].text)] = 1;
    seen_clear(&seen);
    for (int i = 1; i < MOST; i++) {
        lost += sent[i] && !delivered[i];
        made_up += delivered[i] && !sent[i];
    }
    tap_note("%d messages were committed", last_sent);
    CHECK_INT(lost, 0);
    CHECK_INT(made_up, 0);
    CHECK_INT(count_waiting(fx), 0);
}

/* Other ways to allocate would pass by the allocator above. */
static void check_names(void)
{
    const char *nm = getenv("OUTBOX_NM"), *build = getenv("OUTBOX_BUILDDIR");
    char command[512];

    tap_begin("the library allocates in no other way");
    snprintf(command, sizeof command, "%s -u '%s/lib/.libs/liboutbox-core.a' | grep -E ' U (v?asprintf|getline|"
             "getdelim|reallocarray|aligned_alloc|posix_memalign|open_memstream|realpath|wcsdup)$'", nm != NULL ? nm : "nm",
             build != NULL ? build : ".");
    CHECK(system(command) != 0, "it does");
    tap_end();
}

static void walk_target(const struct target *target, const char *only)
{
    int ready, here = target_is_postgresql(target) ? POSTGRESQL : SQLITE, keeps = strstr(target->name, "delete") != NULL;
    struct fixture fx;

    memset(sent, 0, sizeof sent);
    memset(delivered, 0, sizeof delivered);
    last_sent = 0;
    tap_begin("%s: without faults", target->name);
    ready = fixture_prepare(&fx, target) == 0;
    fixture_set(&fx, "schema.lanes", "2");
    fixture_set(&fx, "relay.batch_size", "4");
    fixture_set(&fx, "relay.workers", "1");
    fixture_set(&fx, "clean.retention", keeps ? "1h" : "0");
    fixture_set(&fx, "retry.max_attempts", "1000000");
    outbox_conf_set_log(fx.conf, count_not_ahead, NULL);
    ready = ready && fixture_migrate(&fx) == 0 && fixture_consumer(&fx, "rejects") != NULL;
    CHECK(ready, "no outbox");
    tap_end();
    for (size_t i = 0; i < COUNT_OF(walks) && ready; i++)
        if ((walks[i].on & here) != 0 && strstr(walks[i].name, only) != NULL) {
            tap_begin("%s: %s", target->name, walks[i].name);
            run_walk(&fx, &walks[i]);
            tap_end();
        }
    tap_begin("%s: nothing is lost", target->name);
    check_nothing_lost(&fx);
    tap_end();
    fixture_close(&fx);
}

int main(int argc, char **argv)
{
    static const char *const steady[] = {"sqlite/position", "sqlite/delete", "postgresql/position", "postgresql/delete"};
    static const char *const walked[] = {"sqlite/position", "sqlite/delete", "postgresql/position"};

    setenv("OUTBOX_TEST_LOG", "-1", 0);
    check_names();
    for (size_t t = 0; t < COUNT_OF(steady); t++) {
        tap_begin("%s: a relay that goes on allocates nothing", steady[t]);
        check_steady(target_find(steady[t]));
        tap_end();
    }
    tap_begin("a relay that has no memory to publish says so and ends");
    check_starved(target_find("sqlite/delete"));
    tap_end();
    for (size_t t = 0; t < COUNT_OF(walked); t++)
        walk_target(target_find(walked[t]), argc > 1 ? argv[1] : "");
    return tap_finish();
}
