/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conformance suite of publishers: what each has to do with a real server, which the test starts, kills, stops and
 * continues. A program in tests/publishers/ says in a struct broker_kind how that is done, and calls broker_main().
 *
 * Verdicts are looked at on deliveries that are made here; what a relay makes of them, on a relay with SQLite.
 */
#ifndef OUTBOX_TESTS_BROKER_H
#define OUTBOX_TESTS_BROKER_H

#include <sys/types.h>

#include "lib-test.h"

/* What the server and the publisher of this test can and cannot. */
#define BROKER_TLS 1u        /* there is TLS */
#define BROKER_PASSWORD 2u   /* there is a password, which can be wrong */
#define BROKER_DURABLE 4u    /* what was acknowledged survives SIGKILL */
#define BROKER_IDS 8u        /* what is sent again with the same id is there once */
#define BROKER_TOLD_NAMES 16u /* servers tell their names, so that there is no tls.server_name */
#define BROKER_NO_LOGIN 32u  /* the password goes with each message, and connecting says nothing of it */
#define BROKER_OPEN_KEYS 64u /* a key with a password is refused */

/* How a test connects. */
enum broker_way { BROKER_PLAIN, BROKER_WRONG_PASSWORD, BROKER_BY_TLS, BROKER_WRONG_NAME, BROKER_WRONG_CA };

#define BROKER_KEY_PASSWORD "l0ck#ed key"

#define TAKEN_METAS 48

/* A message as a consumer got it. What a broker has a place of its own for stands here under the documented name:
 * "outbox-id", "content-type", "outbox-type", "outbox-key". */
struct taken {
    const void *payload;
    size_t size, count;
    struct {
        const char *name, *value;
    } metas[TAKEN_METAS];
};
typedef void broker_take(void *user, const struct taken *taken);

struct parcel;

struct broker {
    const struct broker_kind *kind;
    char directory[64]; /* for its files; removed at the end */
    pid_t pid;
    int port, tls_port;
    void *own; /* of the kind */
};

struct broker_test {
    const char *name;
    void (*run)(struct broker *b);
};

struct broker_kind {
    const char *name;        /* "redis" */
    const char *program;     /* of the server; skipped where it is not installed. NULL: none */
    unsigned flags;
    long under_way;          /* once so many were read some are acknowledged, however slowly the publisher runs; 0: 200 */
    const char *cloudevents; /* the prefix of attributes: "ce-" */
    const char *limit;       /* the setting for the largest payload, which is set to 1000 bytes; NULL: none */
    const char *window;      /* the setting for how many may be on their way, for the comparison; NULL: none */
    int whole;               /* without one: all of a delivery is on its way at once */
    /* Starts a server, again with what the last one kept: fills pid. broker_run() does most. 0, or -1. */
    int (*start)(struct broker *b);
    /* Waits until it answers. 0, or -1. */
    int (*wait)(struct broker *b);
    /* Where it is, and what has to be set. */
    void (*url)(struct broker *b, enum broker_way way, char *url, size_t size, outbox_conf *conf);
    /* Makes the place for a topic, empty; broken: one that refuses messages for good. 0, or -1. */
    int (*make)(struct broker *b, const char *topic, int broken);
    /* Hands over all that a topic has, from its beginning, in order. How many, or -1. */
    long (*consume)(struct broker *b, const char *topic, broker_take *take, void *user);
    /* For comparison: sends the same messages by the client library alone, as fast as a small program can, each acknowledged
     * as the publisher wants it, with so many on their way: the next one goes as soon as there are fewer. 0, or -1. NULL:
     * nothing to compare with. */
    int (*baseline)(struct broker *b, const char *topic, const struct parcel *p, size_t window);
    const struct broker_test *tests; /* what only this one can; ends with one without a name; NULL: none */
    const struct broker_test *later; /* the same that takes long: with OUTBOX_TEST_BROKERS, or by name, only */
};

/* For a baseline: a message, and the texts that go with it, pairs of a name and a value as a publisher sends them. How many. */
const outbox_record *parcel_record(const struct parcel *p, size_t index);
size_t parcel_metas(const outbox_record *r, const char *metas[TAKEN_METAS][2]);

/* argv[1]: a part of the names of the tests to run; or "--bench": the publisher beside the baseline, no verdict. */
int broker_main(const struct broker_kind *kind, int argc, char **argv);

/* ---- For kinds ---- */

/* Starts a program whose output goes to a log in the directory; it ends with this process. 0, or -1. */
int broker_run(struct broker *b, const char *const argv[]);
/* Whether there is such a program, also among those of root and of RabbitMQ. */
int broker_installed(const char *program);
/* A port that nobody uses now. */
int broker_port(void);
/* Waits until somebody listens on a port. 0, or -1. */
int broker_wait_port(int port);
/* Writes a file into the directory. 0, or -1. */
TAP_PRINTF(3) int broker_write(struct broker *b, const char *name, const char *format, ...);
/* Makes ca.pem, other-ca.pem, server.pem with server.key for "localhost", and client.pem with client.key for the user
 * "outbox"; locked.key is the client's with a password. 0, or -1. */
int broker_certificates(struct broker *b);
/* Adds an entry to what was taken. */
void taken_add(struct taken *taken, const char *name, const char *value);
const char *taken_meta(const struct taken *taken, const char *name);

/* ---- The suite's parts ---- */

void broker_bench(struct broker *b);
/* Whoever looks for a name is not held up by a name server that does not answer (broker_name.c). */
void broker_test_silent_name(struct broker *b);
/* A publisher for a parcel; key, a setting, may be NULL. 0, or -1. */
int broker_open(struct parcel *p, struct broker *b, enum broker_way way, const char *key, const char *value);

/* The same with messages for a topic, which is made. 1, or 0. */
int broker_prepare(struct parcel *p, struct broker *b, const char *topic, size_t count, int keys);
/* Servers that are killed, restarted or stopped (broker_trouble.c). */
extern const struct broker_test broker_trouble[];

void broker_kill(struct broker *b);
int broker_restart(struct broker *b);
void broker_pause(struct broker *b);
void broker_resume(struct broker *b);

/* Messages in memory, with what a publisher makes of them. */
struct parcel {
    struct outbox_item *items;
    size_t count;
    char *texts; /* what the records point to */
    outbox_publisher *publisher;
    outbox_error *err;
    char why[1024];
};

/* count messages of a topic from number first on: binary payloads, headers, and keys many keys (0: none). */
int parcel_make(struct parcel *p, const char *topic, long first, size_t count, int keys);
void parcel_free(struct parcel *p);
/* Enqueues messages from … to - 1 in one transaction. 1, or 0. */
int parcel_enqueue(const struct parcel *p, struct fixture *fx, size_t from, size_t to);
/* Hands messages from … from + n - 1 to the publisher at once; outcome of outbox_delivery__run(). -1: no thread watches
 * over the time. */
int parcel_send(struct parcel *p, size_t from, size_t n, long timeout_ms);
/* Sends all in deliveries of n, again in order what was not published, as long as somebody is patient. 1: all are. */
int parcel_send_all(struct parcel *p, size_t n);
/* How many have that verdict; 0: none. */
size_t parcel_count(const struct parcel *p, int fate);

/* Compares what a topic has with messages 0 … count - 1 of parcel_make(): each byte, each header, the order of each key. */
struct ledger {
    const char *topic, *cloudevents;
    long count, seen, distinct, repeated, altered, disorder;
    int keys;
    long *last; /* per key: the largest number so far */
    char *has;
    char first[300]; /* the first fault, in words */
};
int ledger_read(struct ledger *l, struct broker *b, const char *topic, long count, int keys);
void ledger_free(struct ledger *l);

#endif
