/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pull interface, for programs with a loop of their own: claim a batch, send it, settle it.
 *
 *     pull sqlite:first.db
 *
 * It takes what is ready and ends. A program that runs on would call outbox_consumer_claim() again from time to time,
 * and outbox_batch_renew() while sending takes long.
 */
#include <outbox/outbox.h>
#include <stdio.h>

/* Stands for a broker. */
static outbox_verdict send_message(const outbox_record *message)
{
    size_t size;
    const char *payload = (const char *)outbox_record_payload(message, &size);

    if (printf("%s: %.*s\n", outbox_record_topic(message), (int)size, payload) < 0 || fflush(stdout) != 0)
        return OUTBOX_RETRY;
    return OUTBOX_PUBLISHED;
}

/* Sends until one fails: what has no verdict stays as it is, in order, and is read again. */
static int send_batch(outbox_batch *batch)
{
    for (size_t i = 0; i < outbox_batch_count(batch); i++) {
        outbox_verdict verdict = send_message(outbox_batch_message(batch, i));
        int rc = outbox_batch_answer(batch, i, verdict, -1, verdict == OUTBOX_PUBLISHED ? NULL : "cannot print");
        if (rc != OUTBOX_OK || verdict != OUTBOX_PUBLISHED)
            return rc;
    }
    return OUTBOX_OK;
}

static int pull_all(outbox_consumer *consumer, outbox_error **err)
{
    outbox_batch *batch;
    int rc;

    while ((rc = outbox_consumer_claim(consumer, &batch, err)) == OUTBOX_OK) {
        rc = send_batch(batch);
        if (rc == OUTBOX_OK)
            rc = outbox_batch_settle(batch, err);
        outbox_batch_free(batch);
        /* The lease was lost to somebody else, who sends these messages now. */
        if (rc == OUTBOX_ERR_FENCED) {
            outbox_error_free(*err);
            *err = NULL;
        } else if (rc != OUTBOX_OK) {
            return rc;
        }
    }
    return rc; /* OUTBOX_NONE: there is no more */
}

int main(int argc, char **argv)
{
    outbox_conn *conn = NULL;
    outbox_consumer *consumer = NULL;
    outbox_error *err = NULL;
    int failed;

    if (argc != 2) {
        fprintf(stderr, "usage: pull DSN\n");
        return 2;
    }
    failed = outbox_conn_open(argv[1], NULL, &conn, &err) != OUTBOX_OK ||
             outbox_consumer_new(conn, NULL, NULL, &consumer, &err) != OUTBOX_OK || pull_all(consumer, &err) < 0;
    if (failed)
        fprintf(stderr, "pull: %s\n", err != NULL ? outbox_error_message(err) : "out of memory");
    outbox_consumer_free(consumer);
    outbox_conn_close(conn);
    outbox_error_free(err);
    return failed;
}
