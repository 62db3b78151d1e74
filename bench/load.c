/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relays under load, on PostgreSQL: prints ratios, no verdict.
 *
 *   sustained   writers at full speed, and one relay: does it keep up, and what does it cost them?
 *   held        a steady stream while another transaction holds a snapshot, beside one without
 *   scale       1, 2, 4 and 8 relays with a publisher that takes 5 ms a batch
 *
 *     OUTBOX_BENCH_SECONDS   of a part (60)
 *     OUTBOX_BENCH_ROUNDS    rounds, among which the seconds are shared out (5)
 *     OUTBOX_BENCH_MESSAGES  that are pending at the start of "scale" (40000)
 *     OUTBOX_BENCH_JSON      a file to which each figure is added (bench.h)
 *     argv[1]                only this part
 *
 * Threads: writers have a connection each; a child's publisher notes times under a lock, which its main thread takes to tell.
 */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 18 };

double seconds_of(double otherwise)
{
    return (double)env_number("OUTBOX_BENCH_SECONDS", (long)otherwise);
}

/* ---- In the child ---- */

static struct {
    pthread_mutex_t lock;
    struct told told;
    double ms[SAMPLES];
    size_t count;
    long wait_us;
} noted = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void pause_us(long us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};

    if (us > 0)
        nanosleep(&time, NULL);
}

static int publish(void *self, outbox_delivery *delivery, outbox_error **err)
{
    const outbox_record *record;
    struct timespec now;
    int64_t us, begun = monotonic_us();
    size_t index;

    (void)self, (void)err;
    clock_gettime(CLOCK_REALTIME, &now);
    us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    pause_us(noted.wait_us);
    pthread_mutex_lock(&noted.lock);
    while ((record = outbox_delivery_next(delivery, &index)) != NULL) {
        noted.ms[noted.count++ % SAMPLES] = (double)(us - outbox_record_created_at(record)) / 1000;
        noted.told.published++;
        outbox_delivery_answer(delivery, index, OUTBOX_PUBLISHED, -1, NULL);
    }
    if (noted.told.first_us == 0)
        noted.told.first_us = begun;
    noted.told.last_us = monotonic_us();
    pthread_mutex_unlock(&noted.lock);
    return OUTBOX_OK;
}

static void tell(void)
{
    struct told *t = &noted.told;
    size_t n;

    pthread_mutex_lock(&noted.lock);
    n = noted.count < SAMPLES ? noted.count : SAMPLES;
    t->p50 = quantile(noted.ms, n, 0.5);
    t->p99 = quantile(noted.ms, n, 0.99);
    t->cpu = t->published > 0 ? (double)process_cpu_ns(getpid()) / 1e3 / (double)t->published : 0;
    noted.count = 0;
    if (write(STDOUT_FILENO, t, sizeof *t) != (ssize_t)sizeof *t)
        _exit(3);
    pthread_mutex_unlock(&noted.lock);
}

/* --relay DSN PREFIX once|run BATCH MICROSECONDS */
int child_main(char **argv)
{
    static const outbox_publisher_ops ops = {.size = sizeof(ops), .abi = OUTBOX_PUBLISHER_ABI,
                                             .flags = OUTBOX_PUBLISHER_IN_ORDER, .name = "bench", .publish = publish};
    outbox_conf *conf = NULL;
    outbox_publisher *publisher = NULL;
    outbox_relay *relay = NULL;
    int once = strcmp(argv[2], "once") == 0, good;
    char what;

    noted.wait_us = strtol(argv[4], NULL, 10);
    good = outbox_conf_new(&conf, NULL) == OUTBOX_OK && outbox_conf_set(conf, "schema.prefix", argv[1], NULL) == OUTBOX_OK &&
           outbox_conf_set(conf, "relay.batch_size", argv[3], NULL) == OUTBOX_OK &&
           outbox_conf_set(conf, "relay.workers", once ? "1" : "2", NULL) == OUTBOX_OK &&
           outbox_conf_set(conf, "relay.cleaner", once ? "off" : "on", NULL) == OUTBOX_OK &&
           outbox_publisher_new(&ops, NULL, &publisher, NULL) == OUTBOX_OK &&
           outbox_relay_new(argv[0], conf, publisher, NULL, &relay, NULL) == OUTBOX_OK &&
           (once || outbox_relay_start(relay, NULL) == OUTBOX_OK);
    while (good && read(STDIN_FILENO, &what, 1) == 1) {
        if (what == 'g')
            good = outbox_relay_run_once(relay, NULL) == OUTBOX_OK;
        else
            tell();
    }
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
    outbox_conf_free(conf);
    return !good;
}

/* ---- Its parent ---- */

int child_start(struct child *c, const struct fixture *fx, int once, int batch, long wait_us)
{
    char size[20], us[20];
    int to[2], from[2];

    snprintf(size, sizeof size, "%d", batch);
    snprintf(us, sizeof us, "%ld", wait_us);
    if (pipe(to) != 0 || pipe(from) != 0)
        return 0;
    fflush(stdout);
    if ((c->pid = fork()) == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        for (int fd = 3; fd < 256; fd++) /* the ends of other children's pipes among them */
            close(fd);
        execl("/proc/self/exe", "load", "--relay", fx->dsn, fx->prefix, once ? "once" : "run", size, us, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    c->in = to[1];
    c->out = from[0];
    return c->pid > 0;
}

int child_go(const struct child *c)
{
    return write(c->in, "g", 1) == 1;
}

int child_ask(const struct child *c, struct told *told)
{
    return write(c->in, "t", 1) == 1 && read(c->out, told, sizeof *told) == (ssize_t)sizeof *told;
}

int child_end(struct child *c)
{
    int status = 1;

    close(c->in);
    close(c->out);
    return waitpid(c->pid, &status, 0) == c->pid && status == 0;
}

/* ---- Writers ---- */

static int write_one(struct writer *w, outbox_conn *conn, long *next)
{
    static const char payload[256] = "x";
    outbox_message messages[100];
    char keys[100][20];

    for (int i = 0; i < w->transaction; i++) {
        snprintf(keys[i], sizeof keys[i], "key %ld", (*next)++ % 1000);
        messages[i] = text_message("orders", keys[i], "");
        messages[i].payload = payload;
        messages[i].payload_size = sizeof payload;
    }
    if (outbox_enqueue(conn, messages, (size_t)w->transaction, NULL, NULL) != OUTBOX_OK)
        return 0;
    atomic_fetch_add(&w->written, w->transaction);
    return 1;
}

static void *writer_run(void *arg)
{
    struct writer *w = arg;
    outbox_conn *conn = NULL;
    outbox_conf *conf = fixture_conf(w->fx);
    int64_t due = monotonic_us();
    long next = 0;

    w->failed = outbox_conn_open(w->fx->dsn, conf, &conn, NULL) != OUTBOX_OK;
    while (!w->failed && !atomic_load(w->stop)) {
        w->failed = !write_one(w, conn, &next);
        due += w->pause_us;
        if (w->pause_us > 0 && due > monotonic_us())
            pause_us((long)(due - monotonic_us()));
    }
    outbox_conn_close(conn);
    outbox_conf_free(conf);
    return NULL;
}

int writer_start(struct writer *w)
{
    return pthread_create(&w->thread, NULL, writer_run, w) == 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(PGconn *conn);
    } parts[] = {{"sustained", load_sustained}, {"held", load_held}, {"scale", load_scale}};
    int good = 1;
    PGconn *conn;

    if (argc == 7 && strcmp(argv[1], "--relay") == 0)
        return child_main(argv + 2);
    if (postgresql_dsn() == NULL) {
        printf("load: no PostgreSQL\n");
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    tap_begin("load");
    conn = pq_connect();
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (argc < 2 || strcmp(parts[i].name, argv[1]) == 0)
            good &= parts[i].run(conn);
    PQfinish(conn);
    return !good || tap_failed();
}
