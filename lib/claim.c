/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Claim: lease one free lane that has work. The lease raises the lane's token; whatever is written back depends on it. */
#include "batch_internal.h"
#include "error_internal.h"
#include "log.h"
#include "thread.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LANE_TYPES "iiittiii"
#define BATCH_MAX 10000 /* of relay.batch_size */

static void make_owner(const outbox_conf *conf, char *owner, size_t size)
{
    const char *name = outbox_conf__text(conf, CONF_RELAY_NAME);
    char host[65] = "host";
    uint32_t random = 0;

    outbox_uuid__random(&random, sizeof(random));
    if (name[0] != '\0') {
        snprintf(owner, size, "%s:%08x", name, random);
        return;
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(owner, size, "%s:%ld:%08x", host, (long)getpid(), random);
}

/* Rows that were written before a restore carry xids of another cluster. What is behind each lane's position is settled
 * but for late rows, which are moved aside to go as retries, in seq order and without a key: what came after them may
 * have gone long ago. From here on, low stands for all of them. */
struct rebase {
    outbox_conn *conn;
    outbox_arena *arena;
    struct outbox_value lanes[1024][6];
    size_t count;
};

static int take_lane(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct rebase *r = ctx;

    (void)err;
    if (r->count < 1024)
        memcpy(r->lanes[r->count++], cells, sizeof(r->lanes[0]));
    return OUTBOX_OK;
}

struct seqs {
    int64_t list[512];
    size_t count;
};

static int take_seq(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct seqs *s = ctx;

    (void)err;
    if (s->count < 512)
        s->list[s->count++] = cells[0].number;
    return OUTBOX_OK;
}

static void lane_args(struct outbox_args *args, const struct outbox_value *lane)
{
    outbox_args__int(args, P_LANE, lane[0].number);
    outbox_args__int(args, P_POS, lane[1].number);
    outbox_args__text(args, P_SNAP, lane[2].data);
    outbox_args__text(args, P_XBOUND, lane[3].data);
    outbox_args__int(args, P_LOW, lane[4].number);
}

static int rebase_lane(outbox_conn *conn, const struct outbox_value *lane, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct seqs seqs;
    int rc;

    lane_args(&args, lane);
    outbox_args__int(&args, P_LIMIT, 512);
    outbox_args__int(&args, P_STATE, OUTBOX_RETRYING);
    outbox_args__int(&args, P_ATTEMPTS, 0);
    outbox_args__int(&args, P_DELAY, 0);
    outbox_args__text(&args, P_ERROR, NULL);
    outbox_args__int(&args, P_KEY_HASH, 0);
    do {
        struct outbox_result result = { "i", NULL, take_seq, &seqs, 0 };

        seqs.count = 0;
        rc = outbox_conn__run(conn, Q_REBASE_LATE, &args, 0, "look for late messages after a restore", &result, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__run_list(conn, Q_DEFER, &args, seqs.list, seqs.count, "set late messages aside", NULL, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__run_list(conn, Q_DELETE, &args, seqs.list, seqs.count, "set late messages aside", NULL, err);
    } while (rc == OUTBOX_OK && seqs.count == 512);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__run(conn, Q_REBASE_LANE, &args, 0, "note a restore", NULL, err);
    return rc == OUTBOX_OK ? outbox_conn__run(conn, Q_REBASE_NEW, &args, 0, "note a restore", NULL, err) : rc;
}

static int take_flag(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    *(int *)ctx = cells[0].number != 0;
    return OUTBOX_OK;
}

/* Whether the rows are of another cluster: it has another name, or their xids were not given out here yet. */
static int is_foreign(outbox_conn *conn, const char *system, int *foreign, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_flag, foreign, 0 };
    struct outbox_args args = { .set = 0 };

    *foreign = strcmp(conn->system, system) != 0;
    return *foreign ? OUTBOX_OK : outbox_conn__run(conn, Q_FUTURE, &args, 0, "look for a restore", &result, err);
}

static int rebase_all(outbox_conn *conn, const char *system, struct rebase *r, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct outbox_result result = { "iittii", r->arena, take_lane, r, 0 };
    size_t i;
    int foreign = 0, rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    /* The cleaner's lane is locked first: whoever does this at the same time waits here, and finds it done. */
    outbox_args__int(&args, P_LANE, -1);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "note a restore", NULL, err);
    conn->lanes = 0;
    if (rc == OUTBOX_OK)
        rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = is_foreign(conn, system, &foreign, err);
    if (rc == OUTBOX_OK && foreign) {
        rc = outbox_conn__run(conn, Q_LANES, &args, 0, "read the lanes", &result, err);
        for (i = 0; i < r->count && rc == OUTBOX_OK; i++)
            rc = rebase_lane(conn, r->lanes[i], err);
        outbox_args__text(&args, P_NAME, "system");
        outbox_args__text(&args, P_VALUE, system);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__run(conn, Q_META_SET, &args, 0, "note a restore", NULL, err);
    }
    if (rc == OUTBOX_OK)
        rc = outbox_conn__commit(conn, err);
    else
        outbox_conn__rollback(conn);
    if (rc == OUTBOX_OK)
        snprintf(conn->system, sizeof(conn->system), "%s", system);
    return rc;
}

static int is_behind(outbox_conn *conn, int *behind, outbox_error **err)
{
    struct outbox_result result = { "i", NULL, take_flag, behind, 0 };
    struct outbox_args args = { .set = 0 };

    return outbox_conn__run(conn, Q_BEHIND, &args, 0, "look whether numbers began again", &result, err);
}

/* Numbers that lie behind a position would pass for published. Done once, like a rebase, after which no xid tells
 * which messages have got one. */
static int advance(outbox_conn *conn, int rebased, int *behind, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    int rc = outbox_conn__begin(conn, err);

    if (rc != OUTBOX_OK)
        return rc;
    outbox_args__int(&args, P_LANE, -1);
    rc = outbox_conn__run(conn, Q_LOCK_LANE, &args, 0, "let numbers go on", NULL, err);
    if (rc == OUTBOX_OK)
        rc = is_behind(conn, behind, err);
    if (rc == OUTBOX_OK && *behind)
        rc = outbox_conn__run(conn, Q_ADVANCE, &args, 0, "let numbers go on beyond all positions", NULL, err);
    if (rc == OUTBOX_OK && *behind && !rebased)
        rc = outbox_conn__run(conn, Q_RENUMBER, &args, 0, "number messages anew", NULL, err);
    if (rc == OUTBOX_OK)
        return outbox_conn__commit(conn, err);
    outbox_conn__rollback(conn);
    return rc;
}

static int check_sequence(outbox_conn *conn, int rebased, outbox_error **err)
{
    int behind = 0, rc;

    if (!conn->position || outbox_conn__sql(conn, Q_BEHIND) == NULL)
        return OUTBOX_OK;
    rc = is_behind(conn, &behind, err);
    if (rc == OUTBOX_OK && behind)
        rc = advance(conn, rebased, &behind, err);
    if (rc == OUTBOX_OK && behind)
        outbox_log__write(conn->conf, OUTBOX_LOG_WARNING,
                          "the numbers of messages began again behind what is published (TRUNCATE with RESTART IDENTITY, "
                          "logical replication, or a partial restore): they go on beyond it now");
    return rc;
}

static int take_system(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    (void)err;
    snprintf(ctx, 80, "%s", cells[0].data != NULL ? (const char *)cells[0].data : "");
    return OUTBOX_OK;
}

static int check_system(outbox_conn *conn, int *rebased, outbox_error **err)
{
    outbox_arena arena = { NULL };
    char system[80] = "";
    struct outbox_result result = { "t", &arena, take_system, system, 0 };
    struct outbox_args args = { .set = 0 };
    struct rebase *r;
    int foreign = 0, rc;

    if (!conn->position || outbox_conn__sql(conn, Q_SYSTEM) == NULL)
        return OUTBOX_OK;
    rc = outbox_conn__run(conn, Q_SYSTEM, &args, 0, "ask which database cluster this is", &result, err);
    if (rc == OUTBOX_OK)
        rc = is_foreign(conn, system, &foreign, err);
    if (rc == OUTBOX_OK && foreign) {
        r = calloc(1, sizeof(*r));
        if (r != NULL)
            r->arena = &arena;
        rc = r != NULL ? rebase_all(conn, system, r, err) : outbox_error__nomem(err);
        free(r);
        *rebased = rc == OUTBOX_OK;
        if (rc == OUTBOX_OK)
            outbox_log__write(conn->conf, OUTBOX_LOG_WARNING,
                          "this database was restored from another cluster: positions were taken over");
    }
    outbox_arena__free(&arena);
    return rc;
}

int outbox_consumer_new(outbox_conn *conn, const outbox_conf *conf, const char *owner, outbox_consumer **out,
                        outbox_error **err)
{
    outbox_consumer *consumer;
    int rebased = 0, rc;

    *out = NULL;
    if (conn == NULL || (owner != NULL && (owner[0] == '\0' || strlen(owner) > 150)))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "consumer.bad_owner",
                                 "a consumer needs a connection and an owner name of 1 to 150 characters");
    rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = check_system(conn, &rebased, err);
    if (rc == OUTBOX_OK)
        rc = check_sequence(conn, rebased, err);
    if (rc != OUTBOX_OK)
        return rc;
    consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL)
        return outbox_error__nomem(err);
    rc = outbox_conf__copy(conf != NULL ? conf : conn->conf, &consumer->conf, err);
    if (rc != OUTBOX_OK) {
        free(consumer);
        return rc;
    }
    consumer->conn = conn;
    if (owner != NULL)
        snprintf(consumer->owner, sizeof(consumer->owner), "%s", owner);
    else
        make_owner(consumer->conf, consumer->owner, sizeof(consumer->owner));
    rc = outbox_consumer__release_stranded(consumer, err);
    if (rc != OUTBOX_OK) {
        outbox_consumer_free(consumer);
        return rc;
    }
    *out = consumer;
    return OUTBOX_OK;
}

void outbox_consumer_free(outbox_consumer *consumer)
{
    if (consumer == NULL)
        return;
    outbox_conf_free(consumer->conf);
    free(consumer);
}

const char *outbox_consumer_owner(const outbox_consumer *consumer)
{
    return consumer->owner;
}

int64_t outbox_consumer__lease_us(const outbox_consumer *consumer)
{
    return outbox_conf__number(consumer->conf, CONF_RELAY_LEASE);
}

int outbox_consumer__stopped(const outbox_consumer *consumer)
{
    return consumer->signal != NULL && outbox_signal__stopped(consumer->signal);
}

int outbox_consumer__ordered(const outbox_consumer *consumer)
{
    return outbox_conf__number(consumer->conf, CONF_ORDERING) == ORDERING_KEY;
}

int outbox_consumer__dead_blocks(const outbox_consumer *consumer)
{
    return outbox_conf__number(consumer->conf, CONF_ORDERING_DEAD) == DEAD_BLOCK;
}

static int take_lease(void *ctx, const struct outbox_value *c, outbox_error **err)
{
    outbox_batch *batch = ctx;

    (void)err;
    batch->lane = (int)c[0].number;
    batch->token = c[1].number;
    batch->pos = c[2].number;
    batch->snap = (char *)(uintptr_t)c[3].data;
    batch->xbound = (char *)(uintptr_t)c[4].data;
    batch->low = c[5].number;
    /* No batch is larger; whatever else stands there was never written by a relay. */
    batch->suspect = c[6].number < -BATCH_MAX ? -BATCH_MAX : c[6].number > BATCH_MAX ? BATCH_MAX : (int)c[6].number;
    batch->taken_over = batch->suspect < 0;
    batch->has_deferred = c[7].type == OUTBOX_T_INT;
    batch->open = 1;
    return OUTBOX_OK;
}

struct candidates {
    int64_t lane[64], token[64];
    size_t count;
};

static int take_candidate(void *ctx, const struct outbox_value *cells, outbox_error **err)
{
    struct candidates *c = ctx;

    (void)err;
    if (c->count == 64)
        return OUTBOX_NONE;
    c->lane[c->count] = cells[0].number;
    c->token[c->count++] = cells[1].number;
    return OUTBOX_OK;
}

static int look(outbox_conn *conn, const struct outbox_args *args, struct candidates *c, outbox_error **err)
{
    struct outbox_result result = { "ii", NULL, take_candidate, c, 0 };

    return outbox_conn__run(conn, outbox_conn__form(conn, Q_CANDIDATES), args, 0, "look for a lane with work", &result, err);
}

/* Any database: look, then take under the condition that nobody else did. A conflict says so too: where several nodes
 * take writes, the row is not locked on the others, and the later one's commit fails. Then it is the next one's turn. */
static int take_portably(outbox_batch *batch, struct outbox_args *args, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct candidates c = { .count = 0 };
    size_t i;
    int rc = look(conn, args, &c, err);

    for (i = 0; i < c.count && rc == OUTBOX_OK; i++) {
        struct outbox_result take = { NULL, NULL, NULL, NULL, 0 };
        struct outbox_result lane = { LANE_TYPES, &batch->lane_arena, take_lease, batch, 0 };
        outbox_error *why = NULL;

        outbox_args__int(args, P_LANE, c.lane[i]);
        outbox_args__int(args, P_TOKEN, c.token[i]);
        rc = outbox_conn__run(conn, Q_TAKE, args, 0, "lease a lane", &take, &why);
        if (rc == OUTBOX_OK && take.rows == 1)
            return outbox_conn__run(conn, Q_LANE, args, 0, "read a leased lane", &lane, err);
        if (rc == OUTBOX_ERR_CONFLICT && i + 1 < c.count && !conn->in_transaction)
            rc = OUTBOX_OK;
        if (rc != OUTBOX_OK && err != NULL && *err == NULL)
            *err = why;
        else
            outbox_error_free(why);
    }
    return rc;
}

/* In one statement. */
static int take_at_once(outbox_batch *batch, enum outbox_query query, const struct outbox_args *args, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct outbox_result lane = { LANE_TYPES, &batch->lane_arena, take_lease, batch, 0 };
    struct candidates c = { .count = 0 };
    int rc;

    if ((conn->driver.flags & OUTBOX_DRIVER_CLAIM_LOCKS) != 0) {
        rc = look(conn, args, &c, err);
        if (rc != OUTBOX_OK || c.count == 0)
            return rc;
    }
    return outbox_conn__run(conn, query, args, 0, "lease a lane with work", &lane, err);
}

int outbox_consumer__lease(outbox_consumer *consumer, outbox_batch **out, outbox_error **err)
{
    outbox_conn *conn = consumer->conn;
    outbox_batch *batch = calloc(1, sizeof(*batch));
    struct outbox_args args = { .set = 0 };
    enum outbox_query query = outbox_conn__form(conn, Q_CLAIM);
    int rc;

    *out = NULL;
    if (batch == NULL)
        return outbox_error__nomem(err);
    batch->consumer = consumer;
    outbox_args__text(&args, P_OWNER, consumer->owner);
    outbox_args__int(&args, P_LEASE, outbox_consumer__lease_us(consumer));
    outbox_args__int(&args, P_BATCH, outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_SIZE));
    if (outbox_conn__sql(conn, query) != NULL)
        rc = take_at_once(batch, query, &args, err);
    else
        rc = take_portably(batch, &args, err);
    if (rc == OUTBOX_OK && batch->open) {
        *out = batch;
        return OUTBOX_OK;
    }
    outbox_batch_free(batch);
    return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
}

/* A lane whose work went away between the look and the read is let go, and the next one tried; each try changes the
 * order in which lanes are looked at, so this ends. */
int outbox_consumer_claim(outbox_consumer *consumer, outbox_batch **out, outbox_error **err)
{
    outbox_batch *batch;
    int tries, rc = OUTBOX_NONE;

    *out = NULL;
    for (tries = 0; tries < consumer->conn->lanes + 1 && !outbox_consumer__stopped(consumer); tries++) {
        rc = outbox_consumer__lease(consumer, &batch, err);
        if (rc != OUTBOX_OK)
            return rc;
        rc = outbox_batch__read(batch, err);
        if (rc == OUTBOX_OK) {
            *out = batch;
            return OUTBOX_OK;
        }
        if (rc == OUTBOX_NONE)
            rc = outbox_batch__fence(batch, 0, err);
        else if (batch->open && !consumer->conn->in_transaction)
            outbox_batch__fence(batch, 0, NULL);
        outbox_batch_free(batch);
        if (rc == OUTBOX_ERR_FENCED)
            continue;
        if (rc != OUTBOX_OK)
            return rc;
    }
    return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
}

int outbox_consumer_renew(outbox_consumer *consumer, size_t *lanes, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    struct outbox_result result = { NULL, NULL, NULL, NULL, 0 };
    int rc;

    outbox_args__text(&args, P_OWNER, consumer->owner);
    outbox_args__int(&args, P_LEASE, outbox_consumer__lease_us(consumer));
    rc = outbox_conn__run(consumer->conn, Q_RENEW_ALL, &args, 0, "renew leases", &result, err);
    if (lanes != NULL)
        *lanes = (size_t)result.rows;
    return rc;
}
