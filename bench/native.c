/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library on SQLite and MariaDB beside programs on their own C interfaces that do the least that could be right, in turns
 * on the same file or server: a table with a key, a topic, a partition key and a payload, prepared statements, and one
 * transaction for as many messages as the library's has. Draining reads the next ones by their key and deletes up to the last.
 * Prints ratios of medians, no verdict.
 *
 *     OUTBOX_BENCH_ROUNDS     rounds (7)
 *     OUTBOX_BENCH_MESSAGES   of a drain (100000)
 *     OUTBOX_BENCH_JSON       a file to which each figure is added (bench.h)
 *     argv[1]                 only databases whose name contains it
 */
#include <mysql.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "lib-test.h"

enum { PAYLOAD = 256, KEYS = 500, MOST = 1000, ROUNDS_MAX = 99 };

static const char insert_text[] = "INSERT INTO bench_native (topic, partition_key, payload) VALUES ('orders', ?, ?)";
static const char select_text[] = "SELECT id, topic, partition_key, payload FROM bench_native ORDER BY id LIMIT ?";
static const char delete_text[] = "DELETE FROM bench_native WHERE id <= ?";

/* A program on a database's own interface. All end the program when something fails. */
struct native {
    void (*open)(const struct fixture *fx);
    void (*enqueue)(int count, long *next);
    long (*take)(int batch); /* 0: nothing is left */
    void (*close)(void);
};

static void make_key(char *key, long *next)
{
    snprintf(key, 20, "key %ld", (*next)++ % KEYS);
}

/* ---- SQLite ---- */

static sqlite3 *lite;
static sqlite3_stmt *lite_insert, *lite_select, *lite_delete;

static void lite_check(int rc)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
        fprintf(stderr, "native: %s\n", sqlite3_errmsg(lite));
        exit(2);
    }
}

static void lite_exec(const char *sql)
{
    lite_check(sqlite3_exec(lite, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *lite_prepare(const char *sql)
{
    sqlite3_stmt *statement;

    lite_check(sqlite3_prepare_v2(lite, sql, -1, &statement, NULL));
    return statement;
}

static void lite_open(const struct fixture *fx)
{
    char path[100];

    snprintf(path, sizeof path, "%s/native", fx->directory);
    lite_check(sqlite3_open(path, &lite));
    lite_exec("PRAGMA journal_mode = WAL");
    lite_exec("PRAGMA synchronous = NORMAL"); /* as the library's connections */
    lite_exec("CREATE TABLE bench_native (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, partition_key TEXT, payload BLOB)");
    lite_insert = lite_prepare(insert_text);
    lite_select = lite_prepare(select_text);
    lite_delete = lite_prepare(delete_text);
}

static void lite_enqueue(int count, long *next)
{
    static const char payload[PAYLOAD] = "x";
    char key[20];

    lite_exec("BEGIN IMMEDIATE");
    for (int i = 0; i < count; i++) {
        make_key(key, next);
        lite_check(sqlite3_bind_text(lite_insert, 1, key, -1, SQLITE_TRANSIENT));
        lite_check(sqlite3_bind_blob(lite_insert, 2, payload, PAYLOAD, SQLITE_STATIC));
        lite_check(sqlite3_step(lite_insert));
        lite_check(sqlite3_reset(lite_insert));
    }
    lite_exec("COMMIT");
}

static long lite_take(int batch)
{
    sqlite3_int64 last = 0;
    long n = 0;

    lite_exec("BEGIN IMMEDIATE");
    lite_check(sqlite3_bind_int(lite_select, 1, batch));
    while (sqlite3_step(lite_select) == SQLITE_ROW) {
        last = sqlite3_column_int64(lite_select, 0);
        n += sqlite3_column_text(lite_select, 2) != NULL && sqlite3_column_blob(lite_select, 3) != NULL &&
             sqlite3_column_bytes(lite_select, 3) == PAYLOAD;
    }
    lite_check(sqlite3_reset(lite_select));
    lite_check(sqlite3_bind_int64(lite_delete, 1, last));
    lite_check(sqlite3_step(lite_delete));
    lite_check(sqlite3_reset(lite_delete));
    lite_exec("COMMIT");
    return n;
}

static void lite_close(void)
{
    sqlite3_finalize(lite_insert);
    sqlite3_finalize(lite_select);
    sqlite3_finalize(lite_delete);
    sqlite3_close(lite);
}

/* ---- MariaDB ---- */

static MYSQL *maria;
static MYSQL_STMT *maria_insert, *maria_select, *maria_delete;

static void maria_check(int failed, MYSQL_STMT *statement)
{
    if (failed) {
        fprintf(stderr, "native: %s\n", statement != NULL ? mysql_stmt_error(statement) : mysql_error(maria));
        exit(2);
    }
}

static void maria_exec(const char *sql)
{
    maria_check(mysql_query(maria, sql), NULL);
}

static MYSQL_STMT *maria_prepare(const char *sql)
{
    MYSQL_STMT *statement = mysql_stmt_init(maria);

    maria_check(statement == NULL, NULL);
    maria_check(mysql_stmt_prepare(statement, sql, strlen(sql)), statement);
    return statement;
}

static void maria_open(const struct fixture *fx)
{
    (void)fx;
    maria = mysql_init(NULL);
    maria_check(maria == NULL || mysql_real_connect(maria, NULL, "outbox", NULL, "outbox_test", 0,
                                                    getenv("OUTBOX_TEST_MARIADB_SOCKET"), 0) == NULL, NULL);
    maria_exec("DROP TABLE IF EXISTS bench_native");
    maria_exec("CREATE TABLE bench_native (id BIGINT AUTO_INCREMENT PRIMARY KEY, topic VARCHAR(255), partition_key "
               "VARCHAR(255), payload LONGBLOB)");
    maria_insert = maria_prepare(insert_text);
    maria_select = maria_prepare(select_text);
    maria_delete = maria_prepare(delete_text);
}

static void maria_bind(MYSQL_BIND *bind, enum enum_field_types type, void *data, unsigned long size)
{
    memset(bind, 0, sizeof *bind);
    bind->buffer_type = type;
    bind->buffer = data;
    bind->buffer_length = size;
    bind->length_value = size;
}

/* One statement for all, as many rows as it has: the interface's bulk form. */
static void maria_enqueue(int count, long *next)
{
    static const char payload[PAYLOAD] = "x";
    static char keys[MOST][20];
    static char *key_list[MOST], *payload_list[MOST];
    static unsigned long key_sizes[MOST], payload_sizes[MOST];
    MYSQL_BIND bind[2];
    unsigned rows = (unsigned)count;

    for (int i = 0; i < count; i++) {
        make_key(keys[i], next);
        key_list[i] = keys[i];
        key_sizes[i] = strlen(keys[i]);
        payload_list[i] = (char *)(uintptr_t)payload;
        payload_sizes[i] = PAYLOAD;
    }
    maria_bind(&bind[0], MYSQL_TYPE_STRING, key_list, 0);
    maria_bind(&bind[1], MYSQL_TYPE_BLOB, payload_list, 0);
    bind[0].length = key_sizes;
    bind[1].length = payload_sizes;
    maria_check(mysql_stmt_attr_set(maria_insert, STMT_ATTR_ARRAY_SIZE, &rows), maria_insert);
    maria_check(mysql_stmt_bind_param(maria_insert, bind), maria_insert);
    maria_exec("START TRANSACTION");
    maria_check(mysql_stmt_execute(maria_insert), maria_insert);
    maria_exec("COMMIT");
}

static void maria_delete_to(long long last)
{
    MYSQL_BIND bind;

    maria_bind(&bind, MYSQL_TYPE_LONGLONG, &last, sizeof last);
    maria_check(mysql_stmt_bind_param(maria_delete, &bind), maria_delete);
    maria_check(mysql_stmt_execute(maria_delete), maria_delete);
}

static long maria_take(int batch)
{
    static char topic[300], key[300], payload[PAYLOAD + 1];
    long long id = 0, limit = batch;
    unsigned long size = 0;
    MYSQL_BIND bind, columns[4];
    long n = 0;

    maria_bind(&bind, MYSQL_TYPE_LONGLONG, &limit, sizeof limit);
    maria_bind(&columns[0], MYSQL_TYPE_LONGLONG, &id, sizeof id);
    maria_bind(&columns[1], MYSQL_TYPE_STRING, topic, sizeof topic);
    maria_bind(&columns[2], MYSQL_TYPE_STRING, key, sizeof key);
    maria_bind(&columns[3], MYSQL_TYPE_BLOB, payload, sizeof payload);
    columns[3].length = &size;
    maria_exec("START TRANSACTION");
    maria_check(mysql_stmt_bind_param(maria_select, &bind), maria_select);
    maria_check(mysql_stmt_execute(maria_select), maria_select);
    maria_check(mysql_stmt_bind_result(maria_select, columns), maria_select);
    while (mysql_stmt_fetch(maria_select) == 0)
        n += size == PAYLOAD;
    maria_check(mysql_stmt_free_result(maria_select), maria_select);
    if (n > 0)
        maria_delete_to(id);
    maria_exec("COMMIT");
    return n;
}

static void maria_close(void)
{
    mysql_stmt_close(maria_insert);
    mysql_stmt_close(maria_select);
    mysql_stmt_close(maria_delete);
    mysql_close(maria);
}

/* ---- The library ---- */

static int ours_enqueue(struct fixture *fx, int count, long *next)
{
    static const char payload[PAYLOAD] = "x";
    static outbox_message messages[MOST];
    static char keys[MOST][20];

    for (int i = 0; i < count; i++) {
        make_key(keys[i], next);
        messages[i] = text_message("orders", keys[i], "");
        messages[i].payload = payload;
        messages[i].payload_size = sizeof payload;
    }
    return OK(outbox_conn_begin(fx->conn, &fx->err)) && OK(outbox_enqueue(fx->conn, messages, (size_t)count, NULL, &fx->err)) &&
           OK(outbox_conn_commit(fx->conn, &fx->err));
}

static long ours_drain(struct fixture *fx, outbox_consumer *consumer)
{
    long sum = 0, n;

    while ((n = drain(fx, consumer, NULL)) > 0)
        sum += n;
    return sum;
}

/* ---- In turns ---- */

struct work {
    const char *name;
    int count; /* in a transaction, or a batch */
    int drains;
};

static const struct work works[] = {{"enqueue, 1 a transaction", 1, 0},
                                    {"enqueue, 100 a transaction", 100, 0},
                                    {"enqueue, 1000 a transaction", 1000, 0},
                                    {"drain, batch 100", 100, 1},
                                    {"drain, batch 1000", 1000, 1}};

struct side {
    struct fixture *fx; /* the library; NULL: the other */
    const struct native *native;
    outbox_consumer *consumers[COUNT_OF(works)];
};

static void put(const struct side *side, int count, long *next)
{
    if (side->fx != NULL)
        CHECK(ours_enqueue(side->fx, count, next), "cannot enqueue");
    else
        side->native->enqueue(count, next);
}

static double work_once(const struct side *side, size_t w, long messages)
{
    long next = 0, n = works[w].drains ? messages : works[w].count == 1 ? messages / 20 : messages, done = 0, got;
    int64_t start;

    for (; works[w].drains && done < n; done += MOST)
        put(side, MOST, &next);
    start = monotonic_us();
    if (!works[w].drains)
        for (; done < n; done += works[w].count)
            put(side, works[w].count, &next);
    else if (side->fx != NULL)
        CHECK_INT(ours_drain(side->fx, side->consumers[w]), done);
    else
        for (n = 0; (got = side->native->take(works[w].count)) > 0; n += got)
            ;
    start = monotonic_us() - start;
    if (!works[w].drains && side->fx != NULL)
        ours_drain(side->fx, side->consumers[COUNT_OF(works) - 1]);
    else if (!works[w].drains)
        while (side->native->take(MOST) > 0)
            ;
    return (double)done * 1e6 / (double)start;
}

static void print(const char *name, size_t w, double *ours, double *theirs, size_t n)
{
    double ratios[ROUNDS_MAX];
    char what[100];

    for (size_t i = 0; i < n; i++)
        ratios[i] = ours[i] / theirs[i];
    printf("| %-15s | %-27s | %9.0f/s | %9.0f/s | %5.2f (%.2f, %.2f) |\n", name, works[w].name, median(ours, n),
           median(theirs, n), median(ratios, n), quantile(ratios, n, 0), quantile(ratios, n, 1));
    snprintf(what, sizeof what, "%s/%s", name, works[w].name);
    record_figure("native", what, "liboutbox/its own interface", median(ratios, n));
    fflush(stdout);
}

static int bench(const char *name, const struct native *native, size_t rounds, long messages)
{
    static double rates[COUNT_OF(works)][2][ROUNDS_MAX];
    static struct fixture fx;
    struct side sides[2] = {{.fx = &fx}, {.native = native}};
    char batch[20];
    int good = fixture_open(&fx, target_find(name)) == 0;

    for (size_t w = 0; w < COUNT_OF(works) && good; w++) {
        snprintf(batch, sizeof batch, "%d", works[w].count);
        fixture_set(&fx, "relay.batch_size", batch);
        good = (sides[0].consumers[w] = fixture_consumer(&fx, NULL)) != NULL;
    }
    if (good)
        native->open(&fx);
    for (size_t w = 0; w < COUNT_OF(works) && good; w++) {
        for (size_t i = 0; i < 2 * (rounds + 1); i++) {
            size_t s = (i + i / 2) % 2, round = i / 2;
            double rate = work_once(&sides[s], w, messages);

            if (round > 0) /* the first one prepares and fills caches */
                rates[w][s][round - 1] = rate;
        }
        print(name, w, rates[w][0], rates[w][1], rounds);
    }
    if (good)
        native->close();
    fixture_close(&fx);
    return good;
}

int main(int argc, char **argv)
{
    static const struct native sqlite = {lite_open, lite_enqueue, lite_take, lite_close};
    static const struct native mariadb = {maria_open, maria_enqueue, maria_take, maria_close};
    long rounds = env_number("OUTBOX_BENCH_ROUNDS", 7), messages = env_number("OUTBOX_BENCH_MESSAGES", 100000);
    int good = 1;

    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX - 1;
    tap_begin("native");
    printf("| %-15s | %-27s | %11s | %11s | liboutbox / it     |\n| --- | --- | --- | --- | --- |\n", "", "", "liboutbox",
           "its own");
    if (argc < 2 || strstr("sqlite/position", argv[1]) != NULL)
        good &= bench("sqlite/position", &sqlite, (size_t)rounds, messages);
    if (!target_missing(target_find("mariadb/delete")) && (argc < 2 || strstr("mariadb/delete", argv[1]) != NULL))
        good &= bench("mariadb/delete", &mariadb, (size_t)rounds, messages);
    return !good || tap_failed();
}
