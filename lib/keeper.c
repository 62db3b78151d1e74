/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keeper: renews the leases of the relay's workers, and sees to it that no message is passed over. A thread with a
 * connection of its own; relay_internal.h says what it shares. */
#include "error_internal.h"
#include "relay_internal.h"

#include <stdio.h>
#include <string.h>

/* What was written behind the positions, after numbers began again, no worker finds by itself. OUTBOX_NONE: they could not
 * be set right now, for a lock. */
static int look_at_numbers(outbox_relay *relay, outbox_conn *conn, outbox_error **err)
{
    int64_t file = conn->numbers.file;
    outbox_error *why = NULL;
    int rc = outbox_conn__load(conn, err);

    if (rc == OUTBOX_OK)
        rc = outbox_conn__check_numbers(conn, &why);
    if (rc == OUTBOX_ERR_CONFLICT) {
        outbox_error_free(why);
        return OUTBOX_NONE;
    }
    if (rc < 0 && *err == NULL)
        *err = why;
    if (rc != OUTBOX_OK || file == 0 || file == conn->numbers.file)
        return rc;
    atomic_fetch_add(&relay->restarts, 1);
    outbox_idle__wake(&relay->idle, 1);
    return rc;
}

/* Whoever keeps a lane's row locked, be it the worker itself that settles, does not keep the others waiting. 1 in *locked: not
 * renewed for that. */
static int renew_lane(outbox_relay *relay, const struct outbox_held *held, outbox_conn *conn, int *locked, outbox_error **err)
{
    struct outbox_args args = { .set = 0 };
    outbox_error *why = NULL;
    int rc;

    outbox_args__int(&args, P_LANE, held->lane);
    outbox_args__int(&args, P_TOKEN, held->token);
    outbox_args__int(&args, P_LEASE, outbox_conf__number(relay->conf, CONF_RELAY_LEASE));
    rc = outbox_conn__run(conn, Q_RENEW, &args, 0, "renew a lease", NULL, &why);
    if (rc != OUTBOX_ERR_CONFLICT) {
        if (rc < 0)
            *err = why;
        return rc;
    }
    *locked = 1;
    outbox_log__write(relay->conf, OUTBOX_LOG_DEBUG, "%s", outbox_error_message(why));
    outbox_error_free(why);
    return OUTBOX_OK;
}

/* The lanes that a worker holds, up to one that is locked: if the worker settles, they all are, and each would cost the others
 * as long a wait. The next try begins behind that one. */
static int renew_one(outbox_relay *relay, int index, outbox_conn *conn, int *locked, outbox_error **err)
{
    struct outbox_worker *worker = &relay->workers[index];
    struct outbox_held held[OUTBOX_GATHER_MAX];
    size_t count, i;
    int rc = OUTBOX_OK;

    *locked = 0;
    pthread_mutex_lock(&relay->lock);
    count = worker->stuck ? 0 : worker->holds;
    memcpy(held, worker->held, count * sizeof(*held));
    pthread_mutex_unlock(&relay->lock);
    for (i = 0; i < count && rc == OUTBOX_OK && !*locked; i++)
        rc = renew_lane(relay, &held[worker->turn++ % count], conn, locked, err);
    return rc;
}

/* Those that were locked the last time come last: each may take a moment. OUTBOX_NONE: some are, and are to be tried again
 * soon. */
static int renew_all(outbox_relay *relay, outbox_conn *conn, outbox_error **err)
{
    int late, i, locked, any = 0, rc = OUTBOX_OK;

    for (late = 0; late < 2; late++)
        for (i = 0; i < relay->count && rc == OUTBOX_OK; i++) {
            struct outbox_worker *worker = &relay->workers[i];

            if (worker->locked != late || worker->tried)
                continue;
            rc = renew_one(relay, i, conn, &locked, err);
            worker->locked = locked;
            worker->tried = 1;
            any |= locked;
        }
    for (i = 0; i < relay->count; i++)
        relay->workers[i].tried = 0;
    return rc == OUTBOX_OK && any ? OUTBOX_NONE : rc;
}

static int keep(outbox_relay *relay, outbox_conn **conn, outbox_error **err)
{
    int rc = OUTBOX_OK, numbers;

    if (*conn == NULL) {
        rc = outbox_conn_open(relay->dsn, relay->conf, conn, err);
        if (rc == OUTBOX_OK)
            rc = outbox_conn__be_impatient(*conn, err);
    }
    if (rc == OUTBOX_OK)
        rc = renew_all(relay, *conn, err);
    if (rc < 0)
        return rc;
    numbers = look_at_numbers(relay, *conn, err);
    return numbers != OUTBOX_OK ? numbers : rc;
}

void *outbox_relay__keeper(void *arg)
{
    outbox_relay *relay = arg;
    int64_t interval = outbox_conf__number(relay->conf, CONF_RELAY_LEASE) / 3, next = outbox_thread__clock() + interval;
    char every[OUTBOX_LOG_SECONDS], again[80];
    outbox_conn *conn = NULL;
    int in_trouble = 0;

    while (!outbox_signal__stopped(&relay->keeping)) {
        outbox_error *err = NULL;
        int64_t now = outbox_thread__clock();
        int rc;

        if (now < next) {
            outbox_signal__wait(&relay->keeping, next - now);
            continue;
        }
        rc = keep(relay, &conn, &err);
        if (rc < 0) {
            snprintf(again, sizeof(again), "trying again every %s", outbox_log__seconds(interval / 4, every));
            outbox_trouble__met(&relay->trouble, &in_trouble, "leases could not be renewed", err, again);
            outbox_error_free(err);
            outbox_conn_close(conn);
            conn = NULL;
            next = outbox_thread__clock() + interval / 4;
            continue;
        }
        outbox_trouble__over(&relay->trouble, &in_trouble);
        next = outbox_thread__clock() + (rc == OUTBOX_NONE ? interval / 4 : interval);
    }
    outbox_conn_close(conn);
    return NULL;
}
