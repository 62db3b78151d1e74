/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Wake-ups without a server: a datagram from another process, and a database file that another process changed. The
 * relay polls once an hour, unless polling is the point.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wakes.h"

/* In front of the C library's: a system that has no more watches. */
static atomic_int no_watches;

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (atomic_load(&no_watches)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

/* In front of the C library's: a relay that is slow between its look at a stale socket and its removal. */
static atomic_int unlink_waits, unlink_goes; /* 1: the next one is to wait; it does */

int unlink(const char *path)
{
    const char *name = strrchr(path, '/');
    int waits = 1, done;

    if (name != NULL && strcmp(name, "/wake") == 0 && atomic_compare_exchange_strong(&unlink_waits, &waits, 2))
        WAIT_FOR(atomic_load(&unlink_goes), done);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- Datagrams ---- */

/* Only the socket wakes. */
static void socket_only(struct fixture *fx, char *path, size_t size)
{
    snprintf(path, size, "%s/wake", fx->directory);
    fixture_set(fx, "wake.socket", path);
    fixture_set(fx, "wake.file", "off");
    fixture_set(fx, "relay.poll_interval", "1h");
}

static int up(struct station *s, struct fixture *fx)
{
    return station_start(s, fx) && station_state(s, OUTBOX_WAKE_UP) && station_rests(s);
}

/* Enqueues, tells the relay, and it comes. */
static void told(struct station *s)
{
    struct fixture *fx = s->fx;
    uint64_t before = station_stats(s).wakeups;
    int published = station_published(s), woken;

    CHECK(send_text(fx, "t", NULL, "1"), "not sent");
    OK(outbox_wake_send(fx->conf, &fx->err));
    WAIT_FOR(station_stats(s).wakeups > before, woken);
    CHECK(woken, "the datagram does not wake it");
    station_has(s, published + 1);
}

static int is_socket(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void test_send(struct fixture *fx)
{
    struct station s = {0};
    char path[128];

    EXPECT(outbox_wake_send(NULL, &fx->err), OUTBOX_NONE);
    EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_NONE);
    socket_only(fx, path, sizeof path);
    EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_NONE);
    if (up(&s, fx)) {
        for (int i = 0; i < 5; i++)
            told(&s);
        station_stop(&s);
        CHECK(!is_socket(path), "the socket is left");
        EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_NONE);
        OK(outbox_relay_start(s.relay, &fx->err));
        station_state(&s, OUTBOX_WAKE_UP);
        told(&s);
    }
    station_close(&s);
}

/* The tool, in a process of its own, with the database and the socket as arguments. */
static void test_tool(struct fixture *fx)
{
    struct station s = {0};
    const char *tools = getenv("OUTBOX_TOOLS");
    char path[128], tool[400], command[900];
    uint64_t before;
    int woken;

    snprintf(tool, sizeof tool, "%.370s/outboxctl", tools != NULL ? tools : "tools");
    if (access(tool, X_OK) != 0) {
        tap_skip("outboxctl was not built");
        return;
    }
    socket_only(fx, path, sizeof path);
    if (up(&s, fx)) {
        before = station_stats(&s).wakeups;
        snprintf(command, sizeof command, "'%s' --dsn '%.200s' --set wake.socket='%s' enqueue --topic t --payload hello >&2",
                 tool, fx->dsn, path);
        CHECK_INT(system(command), 0);
        WAIT_FOR(station_stats(&s).wakeups > before, woken);
        CHECK(woken, "the tool does not wake it");
        station_has(&s, 1);
    }
    station_close(&s);
}

static int bound(const char *path, int type)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    CHECK_INT(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

static void test_stale(struct fixture *fx)
{
    struct station s = {0};
    char path[128];

    socket_only(fx, path, sizeof path);
    close(bound(path, SOCK_DGRAM));
    CHECK(is_socket(path), "no stale socket");
    if (up(&s, fx)) {
        told(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 0);
    }
    station_close(&s);
}

/* Two find the same stale one: the slower does not remove what the other has bound. */
static void test_stale_two(struct fixture *fx)
{
    struct station one = {0}, two = {0};
    char path[128];
    int done;

    socket_only(fx, path, sizeof path);
    close(bound(path, SOCK_DGRAM));
    atomic_store(&unlink_goes, 0);
    atomic_store(&unlink_waits, 1);
    if (station_start(&one, fx)) {
        WAIT_FOR(atomic_load(&unlink_waits) == 2, done);
        CHECK(done, "the stale one is not removed");
        if (station_start(&two, fx)) {
            WAIT_FOR(station_stats(&two).wake_state != OUTBOX_WAKE_NONE, done);
            CHECK(done && station_logged(&two, OUTBOX_LOG_INFO, "another relay has it") > 0, "the second does not try");
        }
        atomic_store(&unlink_goes, 1);
        station_state(&one, OUTBOX_WAKE_UP);
        CHECK_INT(station_stats(&two).wake_state, OUTBOX_WAKE_DOWN);
    }
    atomic_store(&unlink_goes, 1);
    atomic_store(&unlink_waits, 0);
    station_close(&two);
    if (one.relay != NULL)
        told(&one);
    station_close(&one);
}

static void test_second(struct fixture *fx)
{
    struct station one = {0}, two = {0};
    char path[128];
    int woken;

    socket_only(fx, path, sizeof path);
    if (up(&one, fx) && station_start(&two, fx) && station_says(&two, OUTBOX_LOG_INFO, "another relay has it")) {
        uint64_t before = station_stats(&one).wakeups;

        station_state(&two, OUTBOX_WAKE_DOWN);
        OK(outbox_wake_send(fx->conf, &fx->err));
        WAIT_FOR(station_stats(&one).wakeups == before + 1, woken);
        CHECK(woken, "the first is not woken");
        CHECK_INT(station_stats(&two).wakeups, 0);
        CHECK_INT(station_logged(&two, OUTBOX_LOG_WARNING, ""), 0);
        station_close(&one);
        station_state(&two, OUTBOX_WAKE_UP);
        told(&two);
    }
    station_close(&one);
    station_close(&two);
}

/* Whatever else has the name stays. */
static void in_the_way(struct fixture *fx, const char *path)
{
    struct station s = {0};
    struct stat before, after;

    CHECK_INT(lstat(path, &before), 0);
    if (station_start(&s, fx) && station_says(&s, OUTBOX_LOG_WARNING, path)) {
        CHECK_INT(station_logged(&s, OUTBOX_LOG_DEBUG, "another relay"), 0);
        station_state(&s, OUTBOX_WAKE_DOWN);
        outbox_relay_wake(s.relay);
    }
    station_close(&s);
    CHECK(lstat(path, &after) == 0 && before.st_ino == after.st_ino, "it is gone");
}

static void test_in_the_way(struct fixture *fx)
{
    char path[128];
    int fd;

    socket_only(fx, path, sizeof path);
    CHECK((fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) >= 0, "no file");
    close(fd);
    in_the_way(fx, path);
    EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_NONE);
    unlink(path);
    CHECK_INT(mkdir(path, 0700), 0);
    in_the_way(fx, path);
    rmdir(path);
    fd = bound(path, SOCK_STREAM);
    CHECK_INT(listen(fd, 1), 0);
    in_the_way(fx, path);
    EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_ERR_SYSTEM);
    CHECK(strstr(fx->message, path) != NULL, "it says: %s", fx->message);
    close(fd);
    unlink(path);
    fixture_set(fx, "wake.socket", "/nonexistent/wake");
    EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_NONE);
    snprintf(path, sizeof path, "/%0120d", 1);
    EXPECT(outbox_conf_set(fx->conf, "wake.socket", path, &fx->err), OUTBOX_ERR_CONF);
    CHECK(strstr(fx->message, "wake.socket") != NULL && strstr(fx->message, "100") != NULL, "it says: %s", fx->message);
}

/* More than any queue holds, without a pause: no send fails or blocks, and messages get through. */
static void test_datagram_flood(struct fixture *fx)
{
    struct station s = {0};
    char path[128];
    int i, rc = OUTBOX_OK;

    socket_only(fx, path, sizeof path);
    if (up(&s, fx)) {
        for (i = 0; i < 20000 && rc == OUTBOX_OK; i++) {
            rc = outbox_wake_send(fx->conf, &fx->err);
            if (i % 4000 == 0)
                CHECK(send_text(fx, "t", NULL, "1"), "not sent");
        }
        EXPECT(rc, OUTBOX_OK);
        station_has(&s, 5);
        told(&s);
        station_rests(&s);
        tap_note("%d datagrams, %llu wake-ups, %llu looks", i, (unsigned long long)station_stats(&s).wakeups,
                 (unsigned long long)station_stats(&s).polls);
    }
    station_close(&s);
}

/* Nobody reads: the queue fills up, and whoever sends goes on. */
static void test_full_queue(struct fixture *fx)
{
    char path[128];
    int fd;

    socket_only(fx, path, sizeof path);
    fd = bound(path, SOCK_DGRAM);
    for (int i = 0; i < 5000 && !tap_failed(); i++)
        EXPECT(outbox_wake_send(fx->conf, &fx->err), OUTBOX_OK);
    close(fd);
}

/* ---- Files ---- */

/* Another process, which knows nothing of the library. */
static int insert(struct fixture *fx, const char *database)
{
    char command[600];

    snprintf(command, sizeof command,
             "sqlite3 -cmd '.timeout 20000' '%s' \"INSERT INTO %smessages (lane, id, topic, payload) VALUES "
             "(abs(random()) %% 16, '0190b6a0-0000-7000-8000-0000000000' || (10 + abs(random()) %% 90), 't', x'78')\"",
             database, fx->prefix);
    return CHECK(system(command) == 0, "sqlite3 fails");
}

static void changed(struct station *s, const char *database)
{
    uint64_t before = station_stats(s).wakeups;
    int published = station_published(s), woken;

    if (!insert(s->fx, database))
        return;
    WAIT_FOR(station_stats(s).wakeups > before, woken);
    CHECK(woken, "the change does not wake it");
    station_has(s, published + 1);
}

static void database_of(const struct fixture *fx, char *path, size_t size)
{
    snprintf(path, size, "%s/db", fx->directory);
}

static void test_wal(struct fixture *fx)
{
    struct station s = {0};
    char path[128];

    database_of(fx, path, sizeof path);
    fixture_set(fx, "relay.poll_interval", "1h");
    if (up(&s, fx))
        for (int i = 0; i < 3 && station_rests(&s); i++)
            changed(&s, path);
    station_close(&s);
}

static void test_journal(struct fixture *fx)
{
    static const char *const modes[] = {"DELETE", "TRUNCATE", "PERSIST"};
    char path[128];

    database_of(fx, path, sizeof path);
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        struct station s = {0};
        char *mode;

        fixture_disconnect(fx);
        snprintf(fx->dsn, sizeof fx->dsn, "Driver=SQLite3;Database=%s;Timeout=20000;JournalMode=%s", path, modes[i]);
        unlink(path);
        if (fixture_migrate(fx) != 0)
            return;
        mode = db_text(&fx->db, "PRAGMA journal_mode");
        CHECK(mode != NULL && strcasecmp(mode, modes[i]) == 0, "the mode is %s", mode != NULL ? mode : "nothing");
        free(mode);
        fixture_set(fx, "relay.poll_interval", "1h");
        if (up(&s, fx))
            for (int k = 0; k < 1 && station_rests(&s); k++)
                changed(&s, path);
        station_close(&s);
    }
}

static void test_relative(struct fixture *fx)
{
    struct station s = {0};
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char path[128];

    database_of(fx, path, sizeof path);
    CHECK_INT(chdir(fx->directory), 0);
    snprintf(fx->dsn, sizeof fx->dsn, "sqlite:db");
    fixture_set(fx, "relay.poll_interval", "1h");
    if (up(&s, fx))
        changed(&s, path);
    station_close(&s);
    fixture_disconnect(fx);
    CHECK_INT(fchdir(back), 0);
    close(back);
    snprintf(fx->dsn, sizeof fx->dsn, "sqlite:%s", path);
}

static void test_neighbours(struct fixture *fx)
{
    static const char *const names[] = {"db2", "d", "db-wal2", "xdb", "db-shm2", "other", "db-waX", "DB"};
    struct station s = {0};
    char path[128], command[300];
    outbox_relay_stats before;

    database_of(fx, path, sizeof path);
    fixture_set(fx, "relay.poll_interval", "1h");
    fixture_set(fx, "relay.cleaner", "off");
    if (up(&s, fx)) {
        before = station_stats(&s);
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            snprintf(command, sizeof command, "cd '%s' && for i in 1 2 3 4 5 6 7 8; do echo $i >>%s; done && mv %s moved",
                     fx->directory, names[i], names[i]);
            CHECK_INT(system(command), 0);
        }
        changed(&s, path);
        /* One insert is a few changes of the log; what came before would have been told before. */
        CHECK(station_stats(&s).wakeups - before.wakeups <= 16, "%llu wake-ups",
              (unsigned long long)(station_stats(&s).wakeups - before.wakeups));
        station_rests(&s);
    }
    station_close(&s);
}

/* Its own writes wake a relay; that ends when there is nothing left to write. */
static void test_rests(struct fixture *fx)
{
    struct station s = {0};
    int waited;

    fixture_set(fx, "relay.poll_interval", "1h");
    fixture_set(fx, "relay.workers", "4");
    if (up(&s, fx)) {
        CHECK(send_numbered(fx, "t", 30, 300), "not sent");
        WAIT_FOR(station_published(&s) == 300, waited);
        CHECK(waited, "%d of 300 published", station_published(&s));
        station_rests(&s);
    }
    station_close(&s);
}

static void test_file_off(struct fixture *fx)
{
    struct station s = {0};
    char path[128];

    database_of(fx, path, sizeof path);
    fixture_set(fx, "relay.poll_interval", "50ms");
    fixture_set(fx, "wake.file", "off");
    if (station_start(&s, fx)) {
        insert(fx, path);
        station_has(&s, 1);
        station_state(&s, OUTBOX_WAKE_NONE);
        CHECK_INT(station_stats(&s).wakeups, 0);
    }
    station_close(&s);
    fixture_set(fx, "wake.listen", "on");
    if (station_open(&s, fx))
        EXPECT(outbox_relay_start(s.relay, &fx->err), OUTBOX_ERR_UNSUPPORTED);
    station_close(&s);
}

static void test_no_watch(struct fixture *fx)
{
    struct station s = {0};
    char path[128];

    database_of(fx, path, sizeof path);
    fixture_set(fx, "relay.poll_interval", "50ms");
    atomic_store(&no_watches, 1);
    if (station_start(&s, fx)) {
        insert(fx, path);
        station_has(&s, 1);
        station_state(&s, OUTBOX_WAKE_NONE);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, "cannot watch"), 1);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, strerror(ENOSPC)), 1);
    }
    atomic_store(&no_watches, 0);
    station_close(&s);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"socket: a datagram wakes", test_send, 0},
        {"socket: outboxctl enqueue sends one", test_tool, 0},
        {"socket: a stale one is replaced", test_stale, 0},
        {"socket: two replace a stale one", test_stale_two, 0},
        {"socket: a second relay waits for it", test_second, 0},
        {"socket: what is in the way stays", test_in_the_way, 0},
        {"socket: a flood", test_datagram_flood, 0},
        {"socket: a full queue", test_full_queue, 0},
        {"file: a log", test_wal, 0},
        {"file: a journal", test_journal, 1},
        {"file: a relative path", test_relative, 0},
        {"file: neighbours", test_neighbours, 0},
        {"file: rest after work", test_rests, 0},
        {"file: off", test_file_off, 0},
        {"file: no watch to be had", test_no_watch, 0},
    };

    suite_run(tests, COUNT_OF(tests), target_find("sqlite/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
