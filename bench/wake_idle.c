/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a relay costs that has nothing to do: a process of its own, so that its waits and its server processes are known
 * from ours. Its statements are counted in the server's log.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wake.h"

enum { SETTLE_MS = 12000, MOST_BACKENDS = 20, MOST_KINDS = 40 };

int idle_process(const char *dsn, const char *prefix, const char *listen)
{
    outbox_conf *conf = NULL;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    char byte;
    int good = outbox_conf_new(&conf, NULL) == OUTBOX_OK && outbox_conf_set(conf, "schema.prefix", prefix, NULL) == OUTBOX_OK &&
               outbox_conf_set(conf, "wake.listen", listen, NULL) == OUTBOX_OK &&
               outbox_publisher_open("null:", conf, &publisher, NULL) == OUTBOX_OK &&
               outbox_relay_new(dsn, conf, publisher, NULL, &relay, NULL) == OUTBOX_OK &&
               outbox_relay_start(relay, NULL) == OUTBOX_OK;

    while (good && read(STDIN_FILENO, &byte, 1) > 0)
        ;
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    return !good;
}

/* The relay's process, its statements logged, ended by closing *hold. */
static pid_t start_relay(struct outbox *o, const char *listen, int *hold)
{
    int ends[2];
    pid_t pid;

    if (pipe(ends) != 0)
        return -1;
    fflush(stdout);
    if ((pid = fork()) == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        setenv("PGOPTIONS", "-c log_statement=all", 1);
        execl("/proc/self/exe", "wake", "--relay", o->fx.dsn, o->fx.prefix, listen, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    *hold = ends[1];
    return pid;
}

/* Processor time of all server processes that serve somebody else than us. */
static int64_t others_cpu_ns(PGconn *conn, int *count)
{
    PGresult *r = PQexec(conn, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                         "pid <> pg_backend_pid()");
    int64_t sum = 0;

    *count = PQntuples(r);
    for (int i = 0; i < *count; i++)
        sum += process_cpu_ns(strtol(PQgetvalue(r, i, 0), NULL, 10));
    PQclear(r);
    return sum;
}

/* ---- The log ---- */

struct kind {
    char text[72];
    int count;
};

static void count_statement(struct kind *kinds, size_t *n, const char *text)
{
    char shown[72];
    size_t i;

    snprintf(shown, sizeof shown, "%.70s", text);
    shown[strcspn(shown, "\n")] = '\0';
    for (i = 0; i < *n && strcmp(kinds[i].text, shown) != 0; i++)
        ;
    if (i == MOST_KINDS)
        i--;
    if (i == *n) {
        memset(&kinds[i], 0, sizeof kinds[i]);
        snprintf(kinds[i].text, sizeof kinds[i].text, "%s", shown);
        ++*n;
    }
    kinds[i].count++;
}

/* Statements in the log from an offset on, by their first words. */
static int count_statements(long from, struct kind *kinds, size_t *n)
{
    static const char *const marks[] = {"LOG:  statement: ", "LOG:  execute "};
    FILE *log = fopen(getenv("OUTBOX_TEST_PGLOG"), "r");
    char line[2000];
    int total = 0;

    *n = 0;
    if (log == NULL || fseek(log, from, SEEK_SET) != 0)
        return -1;
    while (fgets(line, sizeof line, log) != NULL)
        for (size_t m = 0; m < COUNT_OF(marks); m++) {
            const char *at = strstr(line, marks[m]);

            if (at == NULL)
                continue;
            at += strlen(marks[m]);
            if (m == 1 && strchr(at, ':') != NULL)
                at = strchr(at, ':') + 2;
            count_statement(kinds, n, at);
            total++;
        }
    fclose(log);
    return total;
}

static long log_size(void)
{
    FILE *log = fopen(getenv("OUTBOX_TEST_PGLOG"), "r");
    long size = -1;

    if (log != NULL && fseek(log, 0, SEEK_END) == 0)
        size = ftell(log);
    if (log != NULL)
        fclose(log);
    return size;
}

/* ---- The table ---- */

static int measure(struct outbox *o, PGconn *conn, const char *listen, double seconds)
{
    struct kind kinds[MOST_KINDS];
    char what[60];
    size_t n;
    int hold = -1, backends, queries, status;
    pid_t pid = start_relay(o, listen, &hold);
    int64_t cpu, server, waits, start;
    double took;
    long from;

    if (pid < 0)
        return 0;
    /* Until it found its rhythm, and the keeper has connected. */
    poll(NULL, 0, SETTLE_MS);
    from = log_size();
    server = others_cpu_ns(conn, &backends);
    cpu = process_cpu_ns(pid);
    waits = process_waits(pid);
    start = monotonic_us();
    poll(NULL, 0, (int)(seconds * 1000));
    waits = process_waits(pid) - waits;
    cpu = process_cpu_ns(pid) - cpu;
    server = others_cpu_ns(conn, &backends) - server;
    took = (double)(monotonic_us() - start) / 1e6;
    queries = count_statements(from, kinds, &n);
    close(hold);
    if (waitpid(pid, &status, 0) != pid || status != 0 || queries < 0)
        return 0;
    printf("| %-3s | %7.1f | %9d | %10.3f %% | %9.3f %% | %8.1f |\n", listen, queries * 60 / took, backends,
           (double)server / took / 1e7, (double)cpu / took / 1e7, (double)waits / took);
    for (size_t i = 0; i < n; i++)
        printf("|     | %7.1f | %s\n", kinds[i].count * 60 / took, kinds[i].text);
    snprintf(what, sizeof what, "idle/wake-ups %s", listen);
    record_figure("wake", what, "queries a minute", queries * 60 / took);
    record_figure("wake", what, "server processor, percent", (double)server / took / 1e7);
    record_figure("wake", what, "waits a second", (double)waits / took);
    return 1;
}

int bench_idle(PGconn *conn)
{
    static struct outbox o;
    double seconds = (double)env_number("OUTBOX_BENCH_IDLE", 40);
    int good = outbox_make(&o, OURS) == 0;

    fixture_disconnect(&o.fx);
    printf("\nAn idle relay with its default settings (two workers, a cleaner), over %.0f s\n\n"
           "| wake-ups | queries a minute, of which | server processes | their processor time | the relay's | "
           "its waits a second |\n", seconds);
    for (int on = 0; on < 2 && good; on++)
        good = measure(&o, conn, on ? "on" : "off", seconds);
    outbox_close(&o);
    return good;
}
