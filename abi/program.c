/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program of the first release: tests/abi compiles it with the headers of then, in include/, and runs it with the
 * library of now. It is never edited after that release. It prints a line for each step that went well.
 */
#include <outbox/outbox.h>
#include <stdio.h>
#include <string.h>

static int sent;

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    size_t size;
    const char *payload = (const char *)outbox_record_payload(message, &size);

    (void)retry_ms;
    (void)err;
    if (user != &sent || strcmp(outbox_record_topic(message), "orders") != 0 ||
        strcmp(outbox_record_partition_key(message), "17") != 0)
        return OUTBOX_REJECT;
    if (size != 1 || payload[0] != 'a' + sent)
        return OUTBOX_REJECT;
    sent++;
    return OUTBOX_PUBLISHED;
}

static int enqueue(outbox_conn *conn, outbox_error **err)
{
    outbox_message messages[3];
    outbox_id ids[3];
    const outbox_message start = OUTBOX_MESSAGE_INIT;

    for (int i = 0; i < 3; i++) {
        messages[i] = start;
        messages[i].topic = "orders";
        messages[i].partition_key = "17";
        messages[i].payload = &"abc"[i];
        messages[i].payload_size = 1;
    }
    if (outbox_conn_begin(conn, err) != OUTBOX_OK || outbox_enqueue(conn, messages, 3, ids, err) != OUTBOX_OK ||
        outbox_conn_commit(conn, err) != OUTBOX_OK)
        return 1;
    return strlen(ids[0].text) != 36 || strcmp(ids[0].text, ids[2].text) == 0;
}

static int relay(const char *dsn, outbox_conf *conf, outbox_error **err)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int failed = outbox_publisher_from_callback(publish, &sent, &publisher, err) != OUTBOX_OK ||
                 outbox_relay_new(dsn, conf, publisher, NULL, &relay, err) != OUTBOX_OK ||
                 outbox_relay_run_once(relay, err) != OUTBOX_OK || outbox_relay_stats_get(relay, &stats) != OUTBOX_OK ||
                 stats.published != 3 || stats.failed != 0 || sent != 3;

    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return failed;
}

/* After the relay: the published ones, which are three, of those that the filter lets through. */
static int add(void *user, const outbox_record *record)
{
    *(int *)user += outbox_record_state(record) == OUTBOX_DELIVERED;
    return 0;
}

static int list(outbox_conn *conn, outbox_error **err)
{
    outbox_filter filter = OUTBOX_FILTER_INIT;
    outbox_counts counts = { .size = sizeof(counts) };
    int found = 0;

    filter.topic = "orders";
    filter.state = OUTBOX_DELIVERED;
    return outbox_list(conn, &filter, add, &found, err) != OUTBOX_OK || found != 3 ||
           outbox_count(conn, &counts, err) != OUTBOX_OK || counts.by_state[OUTBOX_DELIVERED] != 3 || counts.lanes < 1;
}

static int said(const char *what, int failed, const outbox_error *err)
{
    if (failed)
        printf("failed: %s: %s\n", what, err != NULL ? outbox_error_message(err) : "a wrong result");
    else
        printf("done: %s\n", what);
    return failed;
}

int main(int argc, char **argv)
{
    outbox_conn *conn = NULL;
    outbox_conf *conf = NULL;
    outbox_error *err = NULL;
    const char *dsn = argc > 1 ? argv[1] : "";
    int failed;

    failed = said("version", outbox_version_number() < OUTBOX_VERSION_NUMBER, NULL) ||
             said("settings", outbox_conf_new(&conf, &err) != OUTBOX_OK ||
                  outbox_conf_set(conf, "relay.workers", "2", &err) != OUTBOX_OK, err) ||
             said("connect", outbox_conn_open(dsn, conf, &conn, &err) != OUTBOX_OK, err) ||
             said("migrate", outbox_migrate(conn, NULL, &err) != OUTBOX_OK, err) ||
             said("enqueue", enqueue(conn, &err), err) ||
             said("relay", relay(dsn, conf, &err), err) ||
             said("list", list(conn, &err), err) ||
             said("an error", outbox_conf_set(conf, "no.such", "1", &err) != OUTBOX_ERR_CONF || err == NULL, NULL);
    printf("# %s\n", err != NULL ? outbox_error_name(err) : "no error");
    outbox_error_free(err);
    outbox_conn_close(conn);
    outbox_conf_free(conf);
    return failed;
}
