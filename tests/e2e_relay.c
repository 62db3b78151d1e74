/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A relay process: runs until SIGTERM, and writes what its publisher accepted to the common log. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "e2e.h"

struct sink {
    const struct e2e *run;
    int log, taken_over; /* files */
    outbox_relay *relay;
    atomic_uint_fast64_t told; /* lanes taken over, so far */
    atomic_long got;           /* messages, for die_at */
};

/* A byte for each lane that was taken over from a relay that crashed, before its first message goes out: whoever is killed
 * cannot say it later. */
static void tell_taken_over(struct sink *sink)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;
    uint_fast64_t told = atomic_load(&sink->told);

    outbox_relay_stats_get(sink->relay, &s);
    while (told < s.suspect)
        if (atomic_compare_exchange_weak(&sink->told, &told, told + 1) && write(sink->taken_over, "x", 1) != 1)
            fprintf(stderr, "# a lane was taken over, and nobody could be told\n");
}

static void die_here(const struct sink *sink, long got, int after)
{
    if (got == sink->run->die_at && after == sink->run->die_after)
        raise(SIGKILL);
}

/* Refuses what the payload says as often as it says; logs the rest. Called on several threads. */
static outbox_verdict publish(void *user, const outbox_record *r, int64_t *retry_ms, outbox_error **err)
{
    struct sink *sink = user;
    const char *key = outbox_record_partition_key(r);
    char line[200];
    long number = -1, got = atomic_fetch_add(&sink->got, 1) + 1;
    int fails = 0, size, attempts = outbox_record_attempts(r), sent;

    tell_taken_over(sink);
    if (sscanf(outbox_record_payload(r, NULL), "%ld %d", &number, &fails) != 2)
        number = -1;
    if (sink->run->plan->slow_every && outbox_record_seq(r) % sink->run->plan->slow_every == 0)
        poll(NULL, 0, 1);
    if (attempts < fails) {
        *retry_ms = 20;
        outbox_error_new(err, OUTBOX_ERR_PUBLISH, "test.planted", "planted failure");
        return OUTBOX_RETRY;
    }
    die_here(sink, got, 0);
    size = snprintf(line, sizeof line, "%s %s %s %ld %d %d %d %lld %lld\n", outbox_record_id(r), outbox_record_topic(r),
                    key ? key : "-", number, attempts, fails, outbox_record_lane(r), (long long)outbox_record_token(r),
                    (long long)outbox_record_seq(r));
    sent = write(sink->log, line, (size_t)size) == size;
    die_here(sink, got, 1);
    return sent ? OUTBOX_PUBLISHED : OUTBOX_UNKNOWN;
}

/* One line for the test that started us: what must be zero in a run without faults. */
static void report(const struct e2e *run, int index, outbox_relay *relay)
{
    outbox_relay_stats s = OUTBOX_RELAY_STATS_INIT;
    char path[160];
    FILE *file;

    outbox_relay_stats_get(relay, &s);
    printf("# relay %d: %llu claims, %llu batches, %llu published, %llu failed, %llu held, %llu polls, %llu cleaned, "
           "%llu fenced, %llu suspect, %llu db errors\n",
           index, (unsigned long long)s.claims, (unsigned long long)s.batches, (unsigned long long)s.published,
           (unsigned long long)s.failed, (unsigned long long)s.held, (unsigned long long)s.polls,
           (unsigned long long)s.cleaned, (unsigned long long)s.fenced, (unsigned long long)s.suspect,
           (unsigned long long)s.db_errors);
    snprintf(path, sizeof path, "%s/relay-stats", run->directory);
    if ((file = fopen(path, "a")) != NULL) {
        fprintf(file, "%llu %llu %llu\n", (unsigned long long)s.published, (unsigned long long)s.fenced,
                (unsigned long long)s.suspect);
        fclose(file);
    }
}

static outbox_conf *relay_conf(const struct e2e *run)
{
    outbox_conf *conf = fixture_conf(run->fx);
    char workers[16], batch[16];

    snprintf(workers, sizeof workers, "%d", run->plan->workers);
    snprintf(batch, sizeof batch, "%d", run->plan->batch ? run->plan->batch : 100);
    if (conf != NULL && run->plan->faults &&
        (outbox_conf_set(conf, "retry.max_attempts", "1000000", NULL) != OUTBOX_OK ||
         outbox_conf_set(conf, "retry.backoff_min", "1ms", NULL) != OUTBOX_OK ||
         outbox_conf_set(conf, "retry.backoff_max", "20ms", NULL) != OUTBOX_OK))
        return NULL;
    if (conf == NULL || outbox_conf_set(conf, "relay.batch_size", batch, NULL) != OUTBOX_OK ||
        outbox_conf_set(conf, "relay.workers", workers, NULL) != OUTBOX_OK ||
        outbox_conf_set(conf, "relay.poll_interval", "50ms", NULL) != OUTBOX_OK ||
        outbox_conf_set(conf, "clean.interval", "500ms", NULL) != OUTBOX_OK ||
        outbox_conf_set(conf, "relay.lease", run->plan->lease ? run->plan->lease : "30s", NULL) != OUTBOX_OK ||
        outbox_conf_set(conf, "clean.retention", run->plan->retention ? run->plan->retention : "0", NULL) != OUTBOX_OK)
        return NULL;
    return conf;
}

static int open_log(const struct e2e *run, const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", run->directory, name);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* The server may be away just then: whoever watches a relay starts it again. */
static int start(outbox_relay *relay, outbox_error **err)
{
    int rc, started;

    WAIT_FOR((outbox_error_free(*err), *err = NULL, rc = outbox_relay_start(relay, err),
              rc != OUTBOX_ERR_LOST && rc != OUTBOX_ERR_CONNECT), started);
    (void)started;
    return rc;
}

/* Runs a relay until SIGTERM, or once. */
static int relay_run(const struct e2e *run, int index, int once)
{
    outbox_conf *conf = relay_conf(run);
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_error *err = NULL;
    struct sink sink = {.run = run};
    int rc, number;
    sigset_t stop;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    sink.log = open_log(run, "delivered");
    sink.taken_over = open_log(run, "taken-over");
    rc = sink.log < 0 || sink.taken_over < 0 || conf == NULL ? OUTBOX_ERR_SYSTEM
                                 : outbox_publisher_from_callback(publish, &sink, &publisher, &err);
    if (rc == OUTBOX_OK)
        rc = outbox_relay_new(run->fx->dsn, conf, publisher, NULL, &relay, &err);
    sink.relay = relay;
    if (rc == OUTBOX_OK)
        rc = once ? outbox_relay_run_once(relay, &err) : start(relay, &err);
    if (rc == OUTBOX_OK && !once) {
        sigwait(&stop, &number);
        outbox_relay_stop(relay);
        rc = outbox_relay_join(relay, &err);
        report(run, index, relay);
    }
    if (rc != OUTBOX_OK)
        fprintf(stderr, "# relay %d: %s: %s\n", index, outbox_status_name(rc), err ? outbox_error_message(err) : "");
    outbox_error_free(err);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    if (sink.log >= 0)
        close(sink.log);
    if (sink.taken_over >= 0)
        close(sink.taken_over);
    return rc != OUTBOX_OK;
}

int e2e_relay(const struct e2e *run, int index)
{
    return relay_run(run, index, 0);
}

int e2e_relay_once(const struct e2e *run)
{
    return relay_run(run, 0, 1);
}
