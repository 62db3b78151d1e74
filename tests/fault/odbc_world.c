/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger: what was committed, and what was delivered. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/odbc.h"

struct outgoing world_outgoing(struct world *w, int key)
{
    struct outgoing o;

    memset(&o, 0, sizeof o);
    o.key = key;
    o.number = key < 0 ? 1 : w->ledger.next[key] + 1;
    snprintf(o.payload, sizeof o.payload, "%d", o.number);
    snprintf(o.key_text, sizeof o.key_text, "k%d", key);
    return o;
}

outbox_message world_message(const struct outgoing *o)
{
    return text_message("t", o->key < 0 ? NULL : o->key_text, o->payload);
}

void world_note(struct world *w, const char *id, const struct outgoing *o)
{
    struct ledger *l = &w->ledger;
    struct expected *e = &l->list[l->count];

    if (!CHECK(l->count < MOST, "more messages than the ledger holds"))
        return;
    snprintf(e->id, sizeof e->id, "%s", id);
    e->key = o->key;
    e->number = o->number;
    e->delivered = 0;
    if (o->key >= 0)
        l->next[o->key] = o->number;
    l->count++;
}

void world_send(struct world *w, int count)
{
    struct fixture *fx = w->fx;

    for (int i = 0; i < count; i++) {
        struct outgoing o = world_outgoing(w, i % KEYS);
        outbox_message m = world_message(&o);
        outbox_id id;

        if (OK(outbox_enqueue(fx->conn, &m, 1, &id, &fx->err)))
            world_note(w, id.text, &o);
    }
}

void world_deliver(struct world *w, const char *id, int number)
{
    struct ledger *l = &w->ledger;
    struct expected *e = NULL;

    for (size_t i = 0; i < l->count && e == NULL; i++)
        if (strcmp(l->list[i].id, id) == 0)
            e = &l->list[i];
    if (w->failures == 0)
        l->early++;
    if (e == NULL || e->number != number)
        l->phantom++;
    else if (e->delivered++ > 0)
        l->duplicates++;
    else if (e->key >= 0 && number < l->highest[e->key])
        l->disorder++;
    else if (e->key >= 0)
        l->highest[e->key] = number;
}

void world_drain(struct world *w)
{
    struct fixture *fx = w->fx;
    int rounds = 0;

    do {
        struct seen seen = {0};
        int64_t count;

        expire_leases(fx);
        make_due(fx);
        outbox_redrive(fx->conn, NULL, &count, NULL);
        drain(fx, w->drain, &seen);
        for (size_t i = 0; i < seen.count; i++)
            world_deliver(w, seen.items[i].id, atoi(seen.items[i].text));
        seen_clear(&seen);
    } while (count_waiting(fx) > 0 && ++rounds < 20 && !tap_failed());
    CHECK_INT(count_waiting(fx), 0);
}

int world_again(struct world *w, int rc, outbox_error **err)
{
    if (rc >= 0) {
        CHECK(*err == NULL, "%s with an error", outbox_status_name(rc));
        return 0;
    }
    w->failures++;
    if (CHECK(*err != NULL, "%s without an error", outbox_status_name(rc))) {
        CHECK_INT(outbox_error_status(*err), rc);
        CHECK(outbox_error_name(*err)[0] != '\0' && outbox_error_message(*err)[0] != '\0', "an error without words");
        if (getenv("OUTBOX_TEST_FAULT") != NULL)
            tap_note("%s", outbox_error_message(*err));
    }
    outbox_error_free(*err);
    *err = NULL;
    if (rc != OUTBOX_ERR_CONFLICT && rc != OUTBOX_ERR_FENCED)
        world_disconnect(w);
    return 1;
}

int world_connect(struct world *w, outbox_error **err)
{
    return w->conn != NULL ? OUTBOX_OK
                           : outbox_conn_open(w->fx->dsn, w->conf != NULL ? w->conf : w->fx->conf, &w->conn, err);
}

void world_disconnect(struct world *w)
{
    outbox_consumer_free(w->consumer);
    outbox_conn_close(w->conn);
    w->consumer = NULL;
    w->conn = NULL;
}
