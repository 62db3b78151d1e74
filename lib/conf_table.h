/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every setting, once. The enum, the parser, the ranges, outbox.conf(5) and `outboxctl settings` come from here.
 *
 * X(symbol, key, type, default, min, max, choices, help): min and max are in microseconds for durations and in
 * bytes for sizes; choices are separated by '|', and are words that a duration may also be. */
#ifndef OUTBOX_CONF_TABLE_H
#define OUTBOX_CONF_TABLE_H

#include "table.h"

#define CONF_US_ 1000000LL
#define CONF_KIB_ 1024LL
#define CONF_MIB_ (1024LL * 1024)

#define OUTBOX_CONF_TABLE(X)                                                                                            \
    X(SCHEMA_NAME, "schema.name", NAME, "", 0, 63, NULL,                                                                \
      "Schema that holds the tables; empty: the connection's own.")                                                     \
    X(SCHEMA_PREFIX, "schema.prefix", NAME, "outbox_", 0, 40, NULL,                                                     \
      "What the names of all tables start with. Several outboxes in one schema need different ones.")                   \
    X(SCHEMA_LANES, "schema.lanes", INTEGER, "0", 0, 1024, NULL,                                                        \
      "Number of lanes. Only used when the outbox is created; more lanes let more workers run side by side. 0: as many "\
      "as the database has a use for, 64, and on SQLite, which has one writer at a time, 16.")                          \
    X(SCHEMA_SETTLE, "schema.settle", CHOICE, "auto", 0, 0, "auto|position|delete",                                     \
      "How published messages are noted. Only chosen when the outbox is created; auto: position where the database can "\
      "prove what is behind (PostgreSQL, SQLite), delete elsewhere.")                                                   \
    X(DRIVER, "driver", CHOICE, "auto", 0, 0, OUTBOX_DRIVER_CHOICES,                                                     \
      "Which dialect to speak; auto: what the connection says it is.")                                                  \
    X(CONN_TIMEOUT, "conn.timeout", DURATION, "15s", CONF_US_, 3600 * CONF_US_, NULL,                                   \
      "How long a connection of the library's own waits for a server that the network cuts off: when it connects, sends, "\
      "and waits for an answer. No limit to statements that run. What the DSN says goes before it.")                    \
    X(CONN_CREATE, "conn.create", CHOICE, "on", 0, 0, "on|off",                                                         \
      "Whether connecting makes an SQLite file that is not there. Relays and cleaners never do, nor does outboxctl but "\
      "to migrate.")                                                                                                    \
    X(ENQUEUE_MAX_PAYLOAD, "enqueue.max_payload", SIZE, "64MiB", 0, 1024 * CONF_MIB_, NULL,                             \
      "Largest payload that is accepted. Drivers copy payloads several times: 255 MiB takes 1 GB of memory.")           \
    X(RELAY_WORKERS, "relay.workers", INTEGER, "2", 1, 256, NULL,                                                       \
      "Threads that publish, each with a connection of its own. Two overlap one batch's publishing with another's "     \
      "settling; more help when the broker is slow.")                                                                   \
    X(RELAY_BATCH_SIZE, "relay.batch_size", INTEGER, "100", 1, 10000, NULL,                                             \
      "Most messages in a batch. Larger ones are faster and repeat more after a crash.")                                \
    X(RELAY_BATCH_BYTES, "relay.batch_bytes", SIZE, "16MiB", 1, 4096 * CONF_MIB_, NULL,                                 \
      "A batch ends with the message that reaches this many bytes of payload and headers; bounds memory per "           \
      "worker.")                                                                                                        \
    X(RELAY_POLL_INTERVAL, "relay.poll_interval", DURATION, "1s", 1000, 3600 * CONF_US_, NULL,                          \
      "Longest wait before an idle relay looks again; after work it begins with a millisecond and doubles.")            \
    X(RELAY_LEASE, "relay.lease", DURATION, "30s", CONF_US_, 86400 * CONF_US_, NULL,                                    \
      "How long a lane stays with a relay that no longer renews it. Shorter: a crash is noticed sooner. Renewed at a "  \
      "third of it.")                                                                                                   \
    X(RELAY_PUBLISH_TIMEOUT, "relay.publish_timeout", DURATION, "5m", 1000, 86400 * CONF_US_, NULL,                     \
      "How long a publisher may take to answer a batch; then it is cancelled and the rest is sent again.")              \
    X(RELAY_DRAIN_TIMEOUT, "relay.drain_timeout", DURATION, "30s", 0, 3600 * CONF_US_, NULL,                            \
      "How long an orderly stop waits for the publisher to answer what it has in hand.")                                \
    X(RELAY_LANE_BATCHES, "relay.lane_batches", INTEGER, "8", 1, 1000, NULL,                                            \
      "Batches that a worker reads from one lane before it lets others have it. Eight: twice the speed of one.")        \
    X(RELAY_BATCH_LANES, "relay.batch_lanes", INTEGER, "16", 1, 64, NULL,                                               \
      "Lanes of which the messages may make one batch while each has few, on PostgreSQL by position. More: fewer "      \
      "commits, less for the other workers, whose share of the lanes stays theirs; 1: what is slow to publish keeps "    \
      "only its own lane waiting.")                                                                                     \
    X(RELAY_LINGER, "relay.linger", DURATION, "5ms", 0, CONF_US_, NULL,                                                 \
      "While messages keep coming, a worker whose batches are small looks no more often than that, so that more come "  \
      "together: less work for the database, which writers have too. The others of a relay wait eight times as long. "  \
      "0: as soon as it can.")                                                                                          \
    X(RELAY_CLEANER, "relay.cleaner", CHOICE, "on", 0, 0, "on|off",                                                     \
      "Whether the relay runs a cleaner thread. Only one works at a time, whatever runs.")                              \
    X(RELAY_NAME, "relay.name", TEXT, "", 0, 60, NULL,                                                                  \
      "Shown as the owner of lanes; empty: host name and process number. A random part is added.")                      \
    X(WAKE_LISTEN, "wake.listen", CHOICE, "auto", 0, 0, "auto|on|off",                                                  \
      "Whether the relay lets PostgreSQL notify it. auto: when the wake-up module is installed; on: the relay does not "\
      "start without it.")                                                                                              \
    X(WAKE_CONNINFO, "wake.conninfo", SECRET, "", 0, 2000, NULL,                                                        \
      "How the wake-up module connects, as libpq takes it; empty: derived from the DSN. It must not go through a "      \
      "pooler in transaction mode.")                                                                                    \
    X(WAKE_CHANNEL, "wake.channel", NAME, "outbox_messages", 0, 63, NULL,                                               \
      "Channel on which PostgreSQL notifies; several outboxes may share one. Empty: none, as applications need that use "\
      "PREPARE TRANSACTION, which PostgreSQL refuses after a notification. Only used when the outbox is created.")      \
    X(WAKE_CHECK_INTERVAL, "wake.check_interval", DURATION, "30s", 100000, 3600 * CONF_US_, NULL,                       \
      "How often the listening connection is tried out by a notification to itself.")                                   \
    X(WAKE_FILE, "wake.file", CHOICE, "on", 0, 0, "on|off",                                                             \
      "Whether the relay watches the files of an SQLite database for changes.")                                         \
    X(WAKE_SOCKET, "wake.socket", TEXT, "", 0, 100, NULL,                                                               \
      "Path of a Unix datagram socket on which the relay waits for outbox_wake_send() and `outboxctl enqueue`; empty: " \
      "none.")                                                                                                          \
    X(RETRY_MAX_ATTEMPTS, "retry.max_attempts", INTEGER, "10", 1, 1000000, NULL,                                        \
      "Failed deliveries after which a message without a limit of its own is dead.")                                    \
    X(RETRY_BACKOFF_MIN, "retry.backoff_min", DURATION, "100ms", 1000, 86400 * CONF_US_, NULL,                          \
      "Upper bound of the random wait after the first failure; doubles with each further one.")                         \
    X(RETRY_BACKOFF_MAX, "retry.backoff_max", DURATION, "30s", 1000, 30 * 86400 * CONF_US_, NULL,                       \
      "Upper bound of the random wait after many failures.")                                                            \
    X(BREAKER_THRESHOLD, "breaker.threshold", INTEGER, "5", 0, 64, NULL,                                                \
      "Different messages that must fail in a row, with none getting through, before the relay takes the broker for "  \
      "down: then nothing is charged, and one message at a time is tried. 0: only when the publisher says so.")         \
    X(BREAKER_WAIT_MIN, "breaker.wait_min", DURATION, "200ms", 1000, 3600 * CONF_US_, NULL,                             \
      "Longest wait before the first try while the broker is down; doubles with each further one.")                     \
    X(BREAKER_WAIT_MAX, "breaker.wait_max", DURATION, "10s", 1000, 3600 * CONF_US_, NULL,                               \
      "Longest wait between two tries while the broker is down, and so before messages flow again.")                    \
    X(ORDERING, "ordering", CHOICE, "key", 0, 0, "key|none",                                                            \
      "key: messages of one topic and key are delivered in order; none: a failing message holds nothing back.")         \
    X(ORDERING_DEAD, "ordering.dead", CHOICE, "block", 0, 0, "block|continue",                                          \
      "Whether a dead message holds back the later ones of its key until it is redriven or discarded.")                 \
    X(TOPIC_MAP, "topic.map", TEXT, "", 0, 2000, NULL,                                                                  \
      "Names that brokers get for topics: FROM=TO, separated by commas; the first that fits counts, others stay as they " \
      "are. FROM may end in \"*\"; TO may have {topic}, {rest} (what the \"*\" stood for), {key} and {type}.")        \
    X(CLOUDEVENTS, "cloudevents", CHOICE, "off", 0, 0, "off|binary|structured",                                         \
      "Whether brokers get CloudEvents 1.0: binary adds attributes beside the payload, which stays as it is; structured " \
      "puts both into one JSON object.")                                                                                \
    X(CLOUDEVENTS_SOURCE, "cloudevents.source", TEXT, "/outbox", 1, 1000, NULL,                                         \
      "The attribute \"source\", a URI reference: what makes ids unique among all that send events.")                   \
    X(CLEAN_INTERVAL, "clean.interval", DURATION, "10s", 0, 86400 * CONF_US_, NULL,                                     \
      "Pause between two passes of the cleaner; 0: no cleaner.")                                                        \
    X(CLEAN_RETENTION, "clean.retention", DURATION, "0", 0, 3650 * 86400 * CONF_US_, "forever",                         \
      "How long published messages stay readable; 0: gone at once, or at the cleaner's next pass; forever: never "      \
      "removed.")                                                                                                       \
    X(CLEAN_DEAD_RETENTION, "clean.dead_retention", DURATION, "forever", 1000, 3650 * 86400 * CONF_US_, "forever",      \
      "How long dead messages stay.")                                                                                   \
    X(CLEAN_BATCH, "clean.batch", INTEGER, "1000", 1, 100000, NULL,                                                     \
      "Rows that the cleaner removes in one transaction.")                                                              \
    X(DEDUP_WINDOW, "dedup.window", DURATION, "7d", CONF_US_, 3650 * 86400 * CONF_US_, "forever",                       \
      "How long an id or dedup_key given by the caller is refused when it comes again.")                                \
    X(METRICS_INTERVAL, "metrics.interval", DURATION, "15s", 100000, 3600 * CONF_US_, NULL,                             \
      "How old the counts of waiting messages in metrics may become before they are taken anew; nobody counts while "   \
      "nobody asks.")

#endif
