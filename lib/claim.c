/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Claim: lease a free lane that has work, or several (gather.c), and read. The lease raises the lane's token; whatever is written
 * back depends on it. */
#include "batch_internal.h"
#include "error_internal.h"
#include "gather.h"
#include "thread.h"
#include "usdt.h"
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

int outbox_consumer_new(outbox_conn *conn, const outbox_conf *conf, const char *owner, outbox_consumer **out,
                        outbox_error **err)
{
    outbox_consumer *consumer;
    int rc;

    *out = NULL;
    if (conn == NULL || (owner != NULL && (owner[0] == '\0' || strlen(owner) > 150)))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "consumer.bad_owner",
                                 "a consumer needs a connection and an owner name of 1 to 150 characters");
    rc = outbox_conn__load(conn, err);
    if (rc == OUTBOX_OK)
        rc = outbox_conn__check_restore(conn, err);
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
    consumer->spread = 1;
    if (conn->driver.claims != NULL && !outbox_odbc__is_borrowed(conn->odbc))
        outbox_odbc__direct(conn->odbc, conn->driver.claims, NULL);
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
    outbox_batch_free(consumer->spare);
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
    return outbox_consumer__ordered(consumer) && outbox_conf__number(consumer->conf, CONF_ORDERING_DEAD) == DEAD_BLOCK;
}

void outbox_batch__leased(outbox_batch *batch, int lane, int64_t token, int64_t pos, int64_t low, int64_t suspect,
                          int has_deferred)
{
    batch->lane = lane;
    batch->token = token;
    batch->pos = pos;
    batch->low = low;
    /* No batch is larger; whatever else stands there was never written by a relay. */
    batch->suspect = suspect < -BATCH_MAX ? -BATCH_MAX : suspect > BATCH_MAX ? BATCH_MAX : (int)suspect;
    batch->taken_over = batch->suspect < 0;
    batch->has_deferred = has_deferred;
    batch->open = 1;
}

static int take_lease(void *ctx, const struct outbox_value *c, outbox_error **err)
{
    outbox_batch *batch = ctx;

    (void)err;
    if (c[0].type == OUTBOX_T_NULL_INT)
        return OUTBOX_OK;
    outbox_batch__leased(batch, (int)c[0].number, c[1].number, c[2].number, c[5].number, c[6].number,
                         c[7].type == OUTBOX_T_INT);
    batch->snap = (char *)(uintptr_t)c[3].data;
    batch->xbound = (char *)(uintptr_t)c[4].data;
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

/* Any database: look, then take under the condition that nobody else did. A conflict says so too: somebody has locked the
 * row, which is not waited for; or several nodes take writes, where the row is not locked on the others, and the later one's
 * commit fails. Then it is the next one's turn. */
static int take_portably(outbox_batch *batch, struct outbox_args *args, outbox_error **err)
{
    outbox_conn *conn = batch->consumer->conn;
    struct candidates c = { .count = 0 };
    size_t i;
    int rc = look(conn, args, &c, err);

    for (i = 0; i < c.count && rc == OUTBOX_OK && !outbox_consumer__stopped(batch->consumer); i++) {
        struct outbox_result take = { NULL, NULL, NULL, NULL, 0 };
        struct outbox_result lane = { LANE_TYPES, &batch->lane_arena, take_lease, batch, 0 };
        outbox_error *why = NULL;

        outbox_args__int(args, P_LANE, c.lane[i]);
        outbox_args__int(args, P_TOKEN, c.token[i]);
        rc = outbox_conn__run(conn, Q_TAKE, args, 0, "lease a lane", &take, &why);
        if (rc == OUTBOX_OK && take.rows == 1)
            return outbox_conn__run(conn, Q_LANE, args, 0, "read a leased lane", &lane, err);
        if (rc == OUTBOX_ERR_CONFLICT && !conn->in_transaction)
            rc = OUTBOX_OK;
        outbox_error__pass(rc != OUTBOX_OK ? err : NULL, why);
    }
    return rc;
}

/* In one statement; or in two, when the first found a lane whose row somebody else changed meanwhile. That one begins with
 * WITH, for which a connection that is not ours may declare a cursor, and that fails. */
static int take_at_once(outbox_batch *batch, enum outbox_query query, enum outbox_query newest,
                        const struct outbox_args *args, outbox_error **err)
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
    if (outbox_conn__sql(conn, newest) != NULL && !outbox_odbc__is_borrowed(conn->odbc)) {
        rc = outbox_conn__run(conn, newest, args, 0, "lease a lane with work", &lane, err);
        if (rc != OUTBOX_OK || lane.rows == 0 || batch->open)
            return rc;
    }
    return outbox_conn__run(conn, query, args, 0, "lease a lane with work", &lane, err);
}

/* Empty, with the memory of the last one. */
static outbox_batch *batch_new(outbox_consumer *consumer)
{
    outbox_batch *batch = consumer->spare, was;

    if (batch == NULL) {
        batch = calloc(1, sizeof(*batch));
    } else {
        was = *batch;
        memset(batch, 0, sizeof(*batch));
        batch->arena = was.arena;
        batch->lane_arena = was.lane_arena;
        batch->ahead.arena = was.ahead.arena;
        batch->items = was.items;
        batch->room = was.room;
        batch->aside = was.aside;
        batch->aside_room = was.aside_room;
        batch->parts = was.parts;
        outbox_arena__reset(&batch->arena);
        outbox_arena__reset(&batch->lane_arena);
        outbox_arena__reset(&batch->ahead.arena);
    }
    consumer->spare = NULL;
    if (batch != NULL) {
        batch->consumer = consumer;
        batch->limit = (size_t)outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_SIZE);
    }
    return batch;
}

static int lease(outbox_consumer *consumer, outbox_batch **out, outbox_error **err)
{
    outbox_conn *conn = consumer->conn;
    outbox_batch *batch = batch_new(consumer);
    struct outbox_args args = { .set = 0 };
    enum outbox_query query = outbox_conn__form(conn, Q_CLAIM);
    int rc;

    *out = NULL;
    if (batch == NULL)
        return outbox_error__nomem(err);
    outbox_args__text(&args, P_OWNER, consumer->owner);
    outbox_args__int(&args, P_LEASE, outbox_consumer__lease_us(consumer));
    outbox_args__int(&args, P_BATCH, outbox_conf__number(consumer->conf, CONF_RELAY_BATCH_SIZE));
    if (outbox_conn__sql(conn, query) != NULL)
        rc = take_at_once(batch, query, outbox_conn__form(conn, Q_CLAIM_NEWEST), &args, err);
    else
        rc = take_portably(batch, &args, err);
    if (rc == OUTBOX_OK && batch->open) {
        const struct outbox_held held = { batch->lane, batch->token };

        if (consumer->leased != NULL)
            consumer->leased(consumer->leased_ctx, &held, 1);
        *out = batch;
        return OUTBOX_OK;
    }
    outbox_batch__recycle(batch);
    return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
}

static int gather(outbox_consumer *consumer, size_t lanes, outbox_batch **out, outbox_error **err)
{
    outbox_batch *batch = batch_new(consumer);
    int rc = batch != NULL ? outbox_batch__gather(batch, lanes, err) : outbox_error__nomem(err);

    if (rc == OUTBOX_OK)
        *out = batch;
    else if (batch != NULL)
        outbox_batch__recycle(batch);
    return rc;
}

static int lease_some(outbox_consumer *consumer, size_t most, outbox_batch **out, outbox_error **err)
{
    size_t lanes = outbox_consumer__gathers(consumer, most);
    int rc = OUTBOX_GATHER_RACED;

    *out = NULL;
    PROBE1(claim__start, consumer->conn->lanes);
    if (lanes > 0)
        rc = gather(consumer, lanes, out, err);
    if (rc == OUTBOX_GATHER_RACED)
        rc = lease(consumer, out, err);
    PROBE4(claim__done, *out != NULL ? (*out)->lane : -1, *out != NULL ? (*out)->token : 0,
           *out != NULL ? (*out)->taken_over : 0, rc);
    return rc;
}

int outbox_consumer__lease(outbox_consumer *consumer, outbox_batch **out, outbox_error **err)
{
    return lease_some(consumer, 0, out, err);
}

/* A lane whose work went away between the look and the read is let go, and the next one tried; each try changes the
 * order in which lanes are looked at, so this ends. */
int outbox_consumer__claim(outbox_consumer *consumer, size_t lanes, outbox_batch **out, outbox_error **err)
{
    outbox_batch *batch;
    int tries, rc = OUTBOX_NONE;

    *out = NULL;
    if (consumer->conn->numbers.doubted) {
        rc = outbox_conn__check_numbers(consumer->conn, err);
        if (rc != OUTBOX_OK)
            return rc;
        rc = OUTBOX_NONE;
    }
    for (tries = 0; tries < consumer->conn->lanes + 1 && !outbox_consumer__stopped(consumer); tries++) {
        rc = lease_some(consumer, lanes, &batch, err);
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
        outbox_batch__recycle(batch);
        if (rc == OUTBOX_ERR_FENCED)
            continue;
        if (rc != OUTBOX_OK)
            return rc;
    }
    return rc == OUTBOX_OK ? OUTBOX_NONE : rc;
}

int outbox_consumer_claim(outbox_consumer *consumer, outbox_batch **out, outbox_error **err)
{
    return outbox_consumer__claim(consumer, 1, out, err);
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
