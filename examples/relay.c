/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A relay inside of an application: publishes with a function of its own, until SIGINT or SIGTERM.
 *
 *     relay sqlite:first.db
 */
#include <outbox/outbox.h>
#include <signal.h>
#include <stdio.h>

/* Called on the relay's threads. A real one would send the message to a broker and wait for its answer. */
static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    size_t size;
    const char *payload = (const char *)outbox_record_payload(message, &size);

    (void)user;
    if (size == 0) {
        outbox_error_new(err, OUTBOX_ERR_PUBLISH, "example.empty", "an empty message is of no use to anybody");
        return OUTBOX_REJECT; /* to the dead letters, never to be tried again */
    }
    if (printf("%s: %.*s\n", outbox_record_topic(message), (int)size, payload) < 0 || fflush(stdout) != 0) {
        *retry_ms = 5000; /* not before five seconds have passed */
        return OUTBOX_RETRY;
    }
    return OUTBOX_PUBLISHED;
}

static void log_line(void *user, outbox_log_level level, const char *message)
{
    (void)user;
    if (level <= OUTBOX_LOG_INFO)
        fprintf(stderr, "relay: %s\n", message);
}

/* Starts the relay, waits for a signal, stops it. */
static int run(outbox_relay *relay, const sigset_t *signals, outbox_error **err)
{
    int signal_number;

    if (outbox_relay_start(relay, err) != OUTBOX_OK)
        return 1;
    sigwait(signals, &signal_number);
    outbox_relay_stop(relay); /* what is in hand is still published and noted */
    return outbox_relay_join(relay, err) != OUTBOX_OK;
}

int main(int argc, char **argv)
{
    outbox_conf *conf = NULL;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    outbox_error *err = NULL;
    sigset_t signals;
    int failed = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: relay DSN\n");
        return 2;
    }
    /* Before any thread exists, so that each of them leaves these signals to main(). */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    if (outbox_conf_new(&conf, &err) == OUTBOX_OK &&
        outbox_conf_set(conf, "relay.poll_interval", "200ms", &err) == OUTBOX_OK) {
        outbox_conf_set_log(conf, log_line, NULL);
        if (outbox_publisher_from_callback(publish, NULL, &publisher, &err) == OUTBOX_OK &&
            outbox_relay_new(argv[1], conf, publisher, NULL, &relay, &err) == OUTBOX_OK)
            failed = run(relay, &signals, &err);
    }
    if (failed)
        fprintf(stderr, "relay: %s\n", outbox_error_message(err));
    /* In the opposite order: a relay uses its publisher until it is freed. */
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    outbox_error_free(err);
    return failed;
}
