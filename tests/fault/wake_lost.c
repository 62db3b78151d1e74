/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Wake-ups from PostgreSQL that get lost: a session is killed, the server restarted, the network cut, a pooler stands
 * between, a module or a password is missing. The relay says so once, polls, and is prompt again by itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy.h"
#include "relay_internal.h"
#include "wakes.h"

#define LOST "no notifications from PostgreSQL, the relay polls"
#define BACK "notifications from PostgreSQL work again"

static char *health(struct station *s, outbox_health what)
{
    outbox_metrics *metrics = NULL;
    struct fixture *fx = s->fx;
    char *text = NULL;

    if (OK(outbox_metrics_new(&metrics, &fx->err)) && OK(outbox_metrics_add(metrics, "shop", s->relay, &fx->err)))
        CHECK_INT(outbox_metrics_health(metrics, what, &text, &fx->err), OUTBOX_OK);
    outbox_metrics_free(metrics);
    return text;
}

static int says(struct station *s, outbox_health what, const char *line)
{
    char *text = health(s, what);
    int same = text != NULL && strcmp(text, line) == 0;

    outbox_free(text);
    return same;
}

/* It is well, and ready, in any case; a line says why there are no wake-ups. NULL: there are. */
static void check_health(struct station *s, const char *why)
{
    char line[300];
    int told;

    snprintf(line, sizeof line, "ok\n%s%s%s", why != NULL ? "shop: wake-ups do not come, it polls: " : "",
             why != NULL ? why : "", why != NULL ? "\n" : "");
    WAIT_FOR(says(s, OUTBOX_HEALTH_READY, line), told);
    CHECK(told, "health does not say: %s", line);
    CHECK(says(s, OUTBOX_HEALTH_LIVE, "ok\n"), "it is not well");
}

/* ---- Sessions and servers that end ---- */

static void test_killed_session(struct fixture *fx)
{
    struct station s = {0};
    int64_t pid;
    int there, printed = memfd_create("stderr", MFD_CLOEXEC), stderr_was = dup(STDERR_FILENO);

    fixture_set(fx, "relay.poll_interval", "1h");
    dup2(printed, STDERR_FILENO);
    if (station_start(&s, fx) && watched(fx, 1) && station_prompt(&s)) {
        for (int round = 1; round <= 3; round++) {
            WAIT_FOR((pid = watch_pid(fx)) > 0, there); /* a busy relay gives it up for a moment */
            CHECK_INT(db_int(&fx->db, "SELECT pg_terminate_backend(%d, 240000)::int", (int)pid), 1);
            CHECK(send_words(fx, "t", NULL, "1 2 3"), "not sent"); /* nobody is on watch, perhaps */
            station_has(&s, round * 4);
            WAIT_FOR(watches(fx) == 1 && watch_pid(fx) != pid, there);
            CHECK(there, "it does not come back");
            station_prompt(&s);
        }
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, LOST), 3);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_INFO, BACK), 3);
        CHECK_INT(lseek(printed, 0, SEEK_END), 0); /* a library prints nothing, and libpq would */
    }
    dup2(stderr_was, STDERR_FILENO);
    close(stderr_was);
    close(printed);
    station_close(&s);
}

static void reconnect(struct fixture *fx)
{
    CHECK((fx->conn = fixture_connect(fx)) != NULL && db_open(&fx->db, fx->dsn, 1) == 0, "no connection");
}

static void test_restart(struct fixture *fx)
{
    struct station s = {0};

    fixture_set(fx, "relay.poll_interval", "1h");
    fixture_set(fx, "relay.workers", "1");
    if (station_start(&s, fx) && watched(fx, 1) && station_prompt(&s)) {
        fixture_disconnect(fx);
        server("stop immediate");
        station_state(&s, OUTBOX_WAKE_DOWN);
        station_says(&s, OUTBOX_LOG_WARNING, LOST);
        server("start");
        reconnect(fx);
        CHECK(send_words(fx, "t", NULL, "1 2"), "not sent");
        station_has(&s, 3);
        watched(fx, 1);
        station_prompt(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, LOST), 1);
    }
    station_close(&s);
}

static void test_no_trigger(struct fixture *fx)
{
    struct station s = {0};

    fixture_set(fx, "relay.poll_interval", "50ms");
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %smessages DISABLE TRIGGER %swake", fx->prefix, fx->prefix), 0);
    if (station_start(&s, fx) && watched(fx, 1)) {
        for (int i = 1; i <= 5; i++)
            CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, i), "not polled");
        CHECK(station_stats(&s).looks > 0, "it did not look by itself");
        CHECK_INT(db_exec(&fx->db, "ALTER TABLE %smessages ENABLE TRIGGER %swake", fx->prefix, fx->prefix), 0);
        station_prompt(&s);
    }
    station_close(&s);
}

/* How far off the next look is, in microseconds. */
static int64_t next_look(struct station *s)
{
    struct outbox_idle *idle = &s->relay->idle;
    int64_t at;

    pthread_mutex_lock(&idle->lock);
    at = idle->next_look;
    pthread_mutex_unlock(&idle->lock);
    return at - outbox_thread__clock();
}

/* Nothing wakes it: what was committed is found by the first look that begins after, which is at most a poll interval
 * away. One that found nothing had begun before. */
static void test_next_look(struct fixture *fx)
{
    struct station s = {0};
    int there;

    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.poll_interval", "200ms");
    fixture_set(fx, "wake.listen", "off");
    CHECK_INT(db_exec(&fx->db, "ALTER TABLE %smessages DISABLE TRIGGER %swake", fx->prefix, fx->prefix), 0);
    if (station_start(&s, fx)) {
        for (int i = 1; i <= 5; i++) {
            uint64_t rested = station_stats(&s).polls;
            outbox_relay_stats before, now;

            /* 1, 2, 4 … 128 ms, and whole intervals from there on. */
            WAIT_FOR(station_stats(&s).polls >= rested + 10, there);
            CHECK(there, "it does not look");
            station_gate(&s, 0);
            CHECK(send_text(fx, "t", NULL, "1"), "not sent");
            before = station_stats(&s);
            CHECK(next_look(&s) <= 200000, "it looks after %lld us", (long long)next_look(&s));
            WAIT_FOR(station_inside(&s) == 1, there); /* from here on its only worker counts nothing */
            CHECK(there, "it is not delivered");
            now = station_stats(&s);
            CHECK(now.polls - before.polls <= 1 && now.looks - before.looks <= 2, "%d looks, %d of them in vain",
                  (int)(now.looks - before.looks), (int)(now.polls - before.polls));
            CHECK_INT(now.wakeups, 0);
            station_gate(&s, 1);
            station_has(&s, i);
        }
    }
    station_close(&s);
}

/* ---- The network ---- */

static void test_cut(struct fixture *fx)
{
    struct station s = {0};
    struct proxy p;

    REQUIRE(proxy_start(&p), "no port");
    set_conninfo(fx, "127.0.0.1", p.port, "");
    fixture_set(fx, "wake.check_interval", "100ms");
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (station_start(&s, fx) && watched(fx, 1) && station_prompt(&s)) {
        int64_t pid;
        int there;

        WAIT_FOR((pid = watch_pid(fx)) > 0, there);
        proxy_cut(&p, 1);
        station_state(&s, OUTBOX_WAKE_DOWN);
        CHECK(send_words(fx, "t", NULL, "1 2 3"), "not sent");
        station_has(&s, 4);
        station_says(&s, OUTBOX_LOG_WARNING, LOST);
        proxy_cut(&p, 0);
        station_state(&s, OUTBOX_WAKE_UP);
        /* The server knows nothing of the cut: the old session has the watch until it is ended. */
        WAIT_FOR(watches(fx) == 1 && watch_pid(fx) != pid, there);
        CHECK(there, "the dead session keeps the watch");
        station_prompt(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, LOST), 1);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_INFO, BACK), 1);
    }
    station_close(&s);
    proxy_stop(&p);
}

/* An answer and its notification come apart; checks go well all the same, for longer than an answer may take. */
static void test_dribble(struct fixture *fx)
{
    struct station s = {0};
    struct proxy p;
    int before = server_logged("dribbled", "pg_notify"), there;

    REQUIRE(proxy_start(&p), "no port");
    proxy_dribble(&p, 1);
    set_conninfo(fx, "127.0.0.1", p.port, "application_name=dribbled options='-c log_statement=all'");
    fixture_set(fx, "wake.check_interval", "100ms");
    if (station_start(&s, fx) && station_state(&s, OUTBOX_WAKE_UP)) {
        WAIT_FOR(server_logged("dribbled", "pg_notify") > before + 60, there);
        CHECK(there, "it is not checked");
        station_prompt(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 0);
    }
    station_close(&s);
    proxy_stop(&p);
}

/* Connecting to somebody who never answers keeps no relay from stopping. */
static void test_mute(struct fixture *fx)
{
    struct station s = {0};
    struct proxy p;
    int there;

    REQUIRE(proxy_start(&p), "no port");
    proxy_mute(&p, 1);
    set_conninfo(fx, "127.0.0.1", p.port, "");
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (station_start(&s, fx)) {
        WAIT_FOR(proxy_accepted(&p) > 0, there);
        CHECK(there && send_text(fx, "t", NULL, "1") && station_has(&s, 1), "nothing connects");
        station_state(&s, OUTBOX_WAKE_DOWN);
        station_stop(&s);
        OK(outbox_relay_start(s.relay, &fx->err));
        station_says(&s, OUTBOX_LOG_WARNING, "no answer");
        check_health(&s, "no answer for 5 seconds");
        proxy_mute(&p, 0);
        station_state(&s, OUTBOX_WAKE_UP);
        station_prompt(&s);
    }
    station_close(&s);
    proxy_stop(&p);
}

/* ---- A pooler ---- */

struct pooler {
    pid_t pid;
    char folder[64];
};

/* PgBouncer does not run as root. */
static void become_user(void)
{
    const struct passwd *user = getpwnam("postgres");

    if (getuid() == 0 && (user != NULL || (user = getpwnam("nobody")) != NULL) &&
        (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
}

static int pooler_start(struct pooler *b, const char *mode, int size)
{
    char path[128], socket[128];
    FILE *ini;
    int there, status;

    snprintf(b->folder, sizeof b->folder, "/tmp/outbox-pooler-XXXXXX");
    if (!CHECK(mkdtemp(b->folder) != NULL && chmod(b->folder, 0777) == 0, "no folder"))
        return 0;
    snprintf(path, sizeof path, "%s/ini", b->folder);
    snprintf(socket, sizeof socket, "%s/.s.PGSQL.6543", b->folder);
    if (!CHECK((ini = fopen(path, "w")) != NULL, "no file"))
        return 0;
    fprintf(ini, "[databases]\n* = host=%s port=%s user=%s\n[pgbouncer]\nlisten_addr =\nlisten_port = 6543\n"
                 "unix_socket_dir = %s\nauth_type = any\npool_mode = %s\ndefault_pool_size = %d\nlogfile = %s/log\n"
                 "ignore_startup_parameters = extra_float_digits\n",
            getenv("PGHOST"), getenv("PGPORT"), getenv("PGUSER"), b->folder, mode, size, b->folder);
    fclose(ini);
    if ((b->pid = fork()) == 0) {
        become_user();
        execlp("pgbouncer", "pgbouncer", "-q", path, (char *)NULL);
        execl("/usr/sbin/pgbouncer", "pgbouncer", "-q", path, (char *)NULL);
        _exit(127);
    }
    WAIT_FOR(access(socket, F_OK) == 0 || waitpid(b->pid, &status, WNOHANG) != 0, there);
    return access(socket, F_OK) == 0;
}

static void pooler_stop(struct pooler *b)
{
    char command[128];
    int status;

    if (b->pid > 0) {
        kill(b->pid, SIGTERM);
        waitpid(b->pid, &status, 0);
    }
    snprintf(command, sizeof command, "rm -rf -- '%s'", b->folder);
    CHECK_INT(system(command), 0);
}

static int pooler_missing(void)
{
    if (system("PATH=$PATH:/usr/sbin; command -v pgbouncer >/dev/null") == 0 || getenv("OUTBOX_TEST_REQUIRE") != NULL)
        return 0;
    tap_skip("PgBouncer is not installed");
    return 1;
}

/* What the module left in the pooler's only session. */
static void check_residue(struct fixture *fx, const struct pooler *b)
{
    struct db db;
    char dsn[400], *text;

    snprintf(dsn, sizeof dsn, "Driver={PostgreSQL Unicode};Servername=%s;Port=6543;Database=%s;Username=%s", b->folder,
             getenv("PGDATABASE"), getenv("PGUSER"));
    REQUIRE(db_open(&db, dsn, 1) == 0, "no connection through the pooler");
    text = db_text(&db, "SELECT current_setting('statement_timeout')");
    CHECK_STR(text, "77min");
    free(text);
    CHECK_INT(db_int(&db, "SELECT count(*) FROM pg_listening_channels()"), 0);
    db_close(&db);
    CHECK_INT(watches(fx), 0);
}

static void test_pooler_transaction(struct fixture *fx)
{
    struct station s = {0};
    struct pooler b = {0};

    if (pooler_missing())
        return;
    CHECK_INT(db_exec(&fx->db, "ALTER ROLE %s SET statement_timeout = '77min'", getenv("PGUSER")), 0);
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (CHECK(pooler_start(&b, "transaction", 1), "PgBouncer does not start")) {
        set_conninfo(fx, b.folder, 6543, "");
        if (station_start(&s, fx) && station_says(&s, OUTBOX_LOG_WARNING, "pooler")) {
            station_state(&s, OUTBOX_WAKE_DOWN);
            CHECK(send_words(fx, "t", NULL, "1 2"), "not sent");
            station_has(&s, 2);
            CHECK_INT(watches(fx), 0);
            CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, LOST), 1);
            check_health(&s, "a notification got lost on its way: a connection pooler stands between that does not pass "
                             "on LISTEN; let wake.conninfo lead to the server itself");
            station_stop(&s);
            check_residue(fx, &b);
        }
        station_close(&s);
    }
    CHECK_INT(db_exec(&fx->db, "ALTER ROLE %s RESET statement_timeout", getenv("PGUSER")), 0);
    pooler_stop(&b);
}

static void test_pooler_session(struct fixture *fx)
{
    struct station s = {0};
    struct pooler b = {0};

    if (pooler_missing())
        return;
    fixture_set(fx, "relay.poll_interval", "1h");
    if (CHECK(pooler_start(&b, "session", 10), "PgBouncer does not start")) {
        set_conninfo(fx, b.folder, 6543, "");
        if (station_start(&s, fx) && station_state(&s, OUTBOX_WAKE_UP) && watched(fx, 1)) {
            station_prompt(&s);
            check_health(&s, NULL);
            CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 0);
        }
        station_close(&s);
    }
    pooler_stop(&b);
}

/* ---- Settings ---- */

static void test_module_missing(struct fixture *fx)
{
    struct station s = {0};
    char *path = strdup(getenv("OUTBOX_MODULE_PATH"));

    REQUIRE(path != NULL, "no path");
    setenv("OUTBOX_MODULE_PATH", "/nonexistent::/", 1);
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (station_start(&s, fx)) {
        CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, 1), "not polled");
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 0);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_INFO, "liboutbox-wake-postgresql"), 1);
        station_state(&s, OUTBOX_WAKE_NONE);
    }
    station_close(&s);
    fixture_set(fx, "wake.listen", "on");
    if (station_open(&s, fx)) {
        EXPECT(outbox_relay_start(s.relay, &fx->err), OUTBOX_ERR_UNSUPPORTED);
        CHECK_STR(fx->name, "module.missing");
        CHECK(strstr(fx->message, "liboutbox-wake-postgresql") != NULL, "it says: %s", fx->message);
    }
    setenv("OUTBOX_MODULE_PATH", path, 1);
    if (s.relay != NULL) {
        OK(outbox_relay_start(s.relay, &fx->err));
        station_state(&s, OUTBOX_WAKE_UP);
        station_prompt(&s);
    }
    station_close(&s);
    free(path);
}

static int64_t wakers(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox wake%%'");
}

static void test_off(struct fixture *fx)
{
    struct station s = {0};
    int gone;

    fixture_set(fx, "relay.poll_interval", "50ms");
    fixture_set(fx, "wake.listen", "off");
    WAIT_FOR(wakers(fx) == 0, gone); /* of the case before */
    if (CHECK(gone, "others listen") && station_start(&s, fx)) {
        CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, 1), "not polled");
        station_state(&s, OUTBOX_WAKE_NONE);
        CHECK_INT(wakers(fx), 0);
        CHECK_INT(station_stats(&s).wakeups, 0);
        outbox_relay_wake(s.relay);
        CHECK_INT(station_stats(&s).wakeups, 1);
    }
    station_close(&s);
}

/* What libpq cannot read: its own words would repeat the password. */
static void test_bad_conninfo(struct fixture *fx)
{
    static const char *const bad[] = {
        "postgresql://someone:hunter2@[::1/db", "host=localhost password=hunter hunter2", "sslmode=require hunter2=1",
        "password='hunter2",
    };

    fixture_set(fx, "relay.poll_interval", "50ms");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct station s = {0};

        fixture_set(fx, "wake.conninfo", bad[i]);
        fixture_set(fx, "wake.listen", "auto");
        if (station_start(&s, fx)) {
            CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, 1), "not polled");
            CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, "wake.conninfo"), 1);
            CHECK_INT(station_logged(&s, OUTBOX_LOG_DEBUG, "hunter"), 0);
            station_stop(&s);
        }
        station_close(&s);
        fixture_set(fx, "wake.listen", "on");
        if (station_open(&s, fx)) {
            EXPECT(outbox_relay_start(s.relay, &fx->err), OUTBOX_ERR_CONF);
            CHECK(strstr(fx->message, "hunter") == NULL, "it says: %s", fx->message);
        }
        station_close(&s);
    }
}

/* Nobody there at first. */
static void test_server_comes(struct fixture *fx)
{
    struct station s = {0};
    char folder[] = "/tmp/outbox-later-XXXXXX", from[200], to[200];

    REQUIRE(mkdtemp(folder) != NULL, "no folder");
    snprintf(from, sizeof from, "%.100s/.s.PGSQL.%.8s", getenv("PGHOST"), getenv("PGPORT"));
    snprintf(to, sizeof to, "%s/.s.PGSQL.%.8s", folder, getenv("PGPORT"));
    set_conninfo(fx, folder, 0, "password=hunter2");
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (station_start(&s, fx) && station_says(&s, OUTBOX_LOG_WARNING, LOST)) {
        station_state(&s, OUTBOX_WAKE_DOWN);
        CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, 1), "not polled");
        CHECK_INT(symlink(from, to), 0);
        station_state(&s, OUTBOX_WAKE_UP);
        station_prompt(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 1);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_INFO, BACK), 1);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_DEBUG, "hunter"), 0);
    }
    station_close(&s);
    unlink(to);
    rmdir(folder);
}

static void test_wrong_password(struct fixture *fx)
{
    struct station s = {0};
    char conninfo[400], command[600];

    CHECK_INT(db_exec(&fx->db, "CREATE ROLE listener LOGIN PASSWORD 'another'"), 0);
    snprintf(command, sizeof command, "sed -i '1i local all listener scram-sha-256' '%.400s/pg_hba.conf'",
             getenv("PGDATA"));
    CHECK_INT(system(command), 0);
    snprintf(command, sizeof command, "chmod 644 '%.400s/pg_hba.conf'", getenv("PGDATA"));
    CHECK_INT(system(command), 0);
    CHECK_INT(db_int(&fx->db, "SELECT pg_reload_conf()::int"), 1);
    snprintf(conninfo, sizeof conninfo, "host=%s dbname=%s user=listener password=hunter2", getenv("PGHOST"),
             getenv("PGDATABASE"));
    fixture_set(fx, "wake.conninfo", conninfo);
    fixture_set(fx, "relay.poll_interval", "50ms");
    if (station_start(&s, fx) && station_says(&s, OUTBOX_LOG_WARNING, "password authentication failed")) {
        CHECK(send_text(fx, "t", NULL, "1") && station_has(&s, 1), "not polled");
        check_health(&s, "the server cannot be listened to: the log says why"); /* and no more to whoever asks */
        CHECK_INT(db_exec(&fx->db, "ALTER ROLE listener PASSWORD 'hunter2'"), 0);
        station_state(&s, OUTBOX_WAKE_UP);
        check_health(&s, NULL);
        station_prompt(&s);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_WARNING, ""), 1);
        CHECK_INT(station_logged(&s, OUTBOX_LOG_DEBUG, "hunter"), 0);
    }
    station_close(&s);
}

/* ---- Together ---- */

static void test_two_sources(struct fixture *fx)
{
    struct station s = {0};
    char folder[] = "/tmp/outbox-socket-XXXXXX", path[64];
    uint64_t before;
    int there;

    REQUIRE(mkdtemp(folder) != NULL, "no folder");
    snprintf(path, sizeof path, "%s/wake", folder);
    fixture_set(fx, "wake.socket", path);
    fixture_set(fx, "relay.poll_interval", "1h");
    /* At rest, as a relay that was busy takes the watch again, which is a wake-up too. */
    if (station_start(&s, fx) && watched(fx, 1) && station_prompt(&s) && station_rests(&s)) {
        before = station_stats(&s).wakeups;
        OK(outbox_wake_send(fx->conf, &fx->err));
        WAIT_FOR(station_stats(&s).wakeups > before, there);
        CHECK(there, "the datagram does not wake it");
        station_prompt(&s);
    }
    station_close(&s);
    set_conninfo(fx, folder, 1, ""); /* nobody there: one source that works does not hide that another does not */
    if (station_start(&s, fx) && station_says(&s, OUTBOX_LOG_WARNING, LOST)) {
        station_state(&s, OUTBOX_WAKE_UP);
        check_health(&s, "the server cannot be listened to: the log says why");
    }
    station_close(&s);
    CHECK_INT(rmdir(folder), 0);
}

static int open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (dir != NULL && readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void test_again_and_again(struct fixture *fx)
{
    struct station s = {0};
    int before;

    fixture_set(fx, "relay.workers", "1");
    fixture_set(fx, "relay.cleaner", "off");
    if (station_start(&s, fx)) {
        station_state(&s, OUTBOX_WAKE_UP);
        station_stop(&s);
        before = open_files();
        for (int i = 0; i < 50; i++) {
            OK(outbox_relay_start(s.relay, &fx->err));
            if (i % 5 == 0)
                station_state(&s, OUTBOX_WAKE_UP);
            station_stop(&s);
        }
        CHECK_INT(open_files(), before);
        CHECK_INT(station_stats(&s).wake_state, OUTBOX_WAKE_NONE);
    }
    station_close(&s);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"the listening session is killed", test_killed_session, 0},
        {"the server is restarted", test_restart, 0},
        {"the trigger is off", test_no_trigger, 0},
        {"no wake-ups at all: found at the next look", test_next_look, 0},
        {"the network is cut", test_cut, 0},
        {"the network is slow", test_dribble, 0},
        {"nobody answers", test_mute, 0},
        {"a pooler in transaction mode", test_pooler_transaction, 0},
        {"a pooler in session mode", test_pooler_session, 0},
        {"the module is missing", test_module_missing, 0},
        {"switched off", test_off, 0},
        {"a conninfo that cannot be read", test_bad_conninfo, 0},
        {"the server comes later", test_server_comes, 0},
        {"a wrong password", test_wrong_password, 0},
        {"with another source", test_two_sources, 0},
        {"started and stopped again and again", test_again_and_again, 0},
    };

    if (postgresql_dsn() == NULL)
        return tap_skip_all("no PostgreSQL: run it through tests/run-test");
    suite_run(tests, COUNT_OF(tests), target_find("postgresql/position"), argc > 1 ? argv[1] : NULL);
    return tap_finish();
}
