/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a relay takes from the start of its process to its first delivery, on PostgreSQL, beside a process that does
 * no more than connect through ODBC. They take turns; the figure is the median difference.
 *
 *     OUTBOX_BENCH_ROUNDS   rounds (20)
 */
#include <outbox/outbox.h>

#include <signal.h>
#include <sql.h>
#include <sqlext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS = 20, ROUNDS_MAX = 1000, BOUND_MS = 100 };

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- What is measured, each a process of its own that writes a byte when it is there ---- */

static int there(void)
{
    return write(STDOUT_FILENO, "", 1) == 1;
}

static int bare_process(const char *dsn)
{
    SQLHENV env;
    SQLHDBC dbc;
    SQLCHAR out[1024];

    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &env)) ||
        !SQL_SUCCEEDED(SQLSetEnvAttr(env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)(intptr_t)SQL_OV_ODBC3, 0)) ||
        !SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, env, &dbc)) ||
        !SQL_SUCCEEDED(SQLDriverConnect(dbc, NULL, (SQLCHAR *)(uintptr_t)dsn, SQL_NTS, out, sizeof out, NULL,
                                        SQL_DRIVER_NOPROMPT)))
        return 1;
    if (!there())
        return 1;
    SQLDisconnect(dbc);
    SQLFreeHandle(SQL_HANDLE_DBC, dbc);
    SQLFreeHandle(SQL_HANDLE_ENV, env);
    return 0;
}

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    (void)user;
    (void)message;
    (void)retry_ms;
    (void)err;
    return there() ? OUTBOX_PUBLISHED : OUTBOX_RETRY;
}

/* Runs until it is killed with SIGTERM, which stops it in order. */
static int relay_process(const char *dsn)
{
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    sigset_t signals;
    int got;
    int bad;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    bad = outbox_publisher_from_callback(publish, NULL, &publisher, NULL) != OUTBOX_OK ||
          outbox_relay_new(dsn, NULL, publisher, NULL, &relay, NULL) != OUTBOX_OK ||
          outbox_relay_start(relay, NULL) != OUTBOX_OK;
    if (!bad) {
        sigwait(&signals, &got);
        outbox_relay_stop(relay);
        bad = outbox_relay_join(relay, NULL) != OUTBOX_OK;
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    return bad;
}

/* Milliseconds until such a process is there; below 0 when it failed. */
static double measured(const char *what, const char *dsn)
{
    double start = now_ms(), took = -1;
    int ends[2], status;
    char byte;
    pid_t pid;

    if (pipe(ends) != 0)
        return -1;
    fflush(stdout);
    if ((pid = fork()) == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "start", what, dsn, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (pid > 0 && read(ends[0], &byte, 1) == 1)
        took = now_ms() - start;
    if (pid > 0) {
        if (strcmp(what, "--relay") == 0)
            kill(pid, SIGTERM);
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            took = -1;
    }
    close(ends[0]);
    return took;
}

/* ---- Rounds ---- */

static int enqueue(outbox_conn *conn)
{
    outbox_message message = OUTBOX_MESSAGE_INIT;

    message.topic = "start";
    message.payload = "x";
    message.payload_size = 1;
    return outbox_conn_begin(conn, NULL) == OUTBOX_OK && outbox_enqueue(conn, &message, 1, NULL, NULL) == OUTBOX_OK &&
           outbox_conn_commit(conn, NULL) == OUTBOX_OK;
}

static void report(double *bare, double *relay, double *more, size_t rounds)
{
    double difference = median(more, rounds);

    printf("connect by ODBC        %7.1f ms\n", median(bare, rounds));
    printf("relay, first delivery  %7.1f ms\n", median(relay, rounds));
    printf("more, by rounds        %7.1f ms (10 %%: %.1f, 90 %%: %.1f); the bound of %d ms is %s\n", difference,
           quantile(more, rounds, 0.1), quantile(more, rounds, 0.9), BOUND_MS, difference <= BOUND_MS ? "kept" : "missed");
    record_figure("start", "connect by ODBC", "ms", median(bare, rounds));
    record_figure("start", "relay, first delivery", "ms", median(relay, rounds));
    record_figure("start", "difference", "ms", difference);
}

int main(int argc, char **argv)
{
    static double bare[ROUNDS_MAX], relay[ROUNDS_MAX], more[ROUNDS_MAX];
    const char *dsn = getenv("OUTBOX_TEST_PG"), *wanted = getenv("OUTBOX_BENCH_ROUNDS");
    size_t rounds = wanted != NULL ? strtoul(wanted, NULL, 10) : ROUNDS;
    outbox_conn *conn = NULL;
    int good;

    if (argc == 3)
        return strcmp(argv[1], "--relay") == 0 ? relay_process(argv[2]) : bare_process(argv[2]);
    if (dsn == NULL || *dsn == '\0') {
        printf("start: no PostgreSQL\n");
        return 0;
    }
    if (rounds < 1 || rounds > ROUNDS_MAX)
        rounds = ROUNDS;
    good = outbox_conn_open(dsn, NULL, &conn, NULL) == OUTBOX_OK && outbox_migrate(conn, NULL, NULL) == OUTBOX_OK;
    for (size_t i = 0; good && i < rounds; i++) {
        bare[i] = measured("--bare", dsn);
        good = enqueue(conn);
        relay[i] = good ? measured("--relay", dsn) : -1;
        more[i] = relay[i] - bare[i];
        good = good && bare[i] >= 0 && relay[i] >= 0;
    }
    outbox_conn_close(conn);
    if (good)
        report(bare, relay, more, rounds);
    else
        fprintf(stderr, "start: a process failed\n");
    return !good;
}
