/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "wakes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int get(struct station *s, const int *field)
{
    int value;

    pthread_mutex_lock(&s->lock);
    value = *field;
    pthread_mutex_unlock(&s->lock);
    return value;
}

static void add(struct station *s, int *field, int n)
{
    pthread_mutex_lock(&s->lock);
    *field += n;
    pthread_mutex_unlock(&s->lock);
}

static outbox_verdict publish(void *user, const outbox_record *message, int64_t *retry_ms, outbox_error **err)
{
    struct station *s = user;
    int passed;

    (void)message;
    (void)retry_ms;
    (void)err;
    add(s, &s->inside, 1);
    WAIT_FOR(get(s, &s->open), passed);
    add(s, &s->inside, -1);
    return passed ? OUTBOX_PUBLISHED : OUTBOX_UNKNOWN;
}

static void count_published(void *user, const outbox_record *message)
{
    struct station *s = user;

    (void)message;
    add(s, &s->published, 1);
}

static void keep_line(void *user, outbox_log_level level, const char *message)
{
    struct station *s = user;
    int n;

    pthread_mutex_lock(&s->lock);
    n = snprintf(s->log + s->logged, sizeof s->log - s->logged, "%d %s\n", (int)level, message);
    if (n > 0 && s->logged + (size_t)n < sizeof s->log)
        s->logged += (size_t)n;
    pthread_mutex_unlock(&s->lock);
}

int station_open(struct station *s, struct fixture *fx)
{
    outbox_hooks hooks = OUTBOX_HOOKS_INIT;

    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->fx = fx;
    s->open = 1;
    hooks.user = s;
    hooks.published = count_published;
    outbox_conf_set_log(fx->conf, keep_line, s);
    return OK(outbox_publisher_from_callback(publish, s, &s->publisher, &fx->err)) &&
           OK(outbox_relay_new(fx->dsn, fx->conf, s->publisher, &hooks, &s->relay, &fx->err));
}

int station_start(struct station *s, struct fixture *fx)
{
    return station_open(s, fx) && OK(outbox_relay_start(s->relay, &fx->err));
}

void station_stop(struct station *s)
{
    struct fixture *fx = s->fx;

    outbox_relay_stop(s->relay);
    OK(outbox_relay_join(s->relay, &fx->err));
}

void station_close(struct station *s)
{
    if (s->fx == NULL)
        return;
    station_gate(s, 1);
    outbox_relay_free(s->relay);
    outbox_publisher_free(s->publisher);
    if (tap_failed() && s->logged > 0)
        tap_note("the relay's log: %s", s->log);
    pthread_mutex_destroy(&s->lock);
    outbox_conf_set_log(s->fx->conf, NULL, NULL);
    s->fx = NULL;
}

int station_published(struct station *s)
{
    return get(s, &s->published);
}

int station_inside(struct station *s)
{
    return get(s, &s->inside);
}

void station_gate(struct station *s, int open)
{
    pthread_mutex_lock(&s->lock);
    s->open = open;
    pthread_mutex_unlock(&s->lock);
}

int station_logged(struct station *s, outbox_log_level level, const char *text)
{
    const char *line, *end, *found;
    int count = 0;

    pthread_mutex_lock(&s->lock);
    for (line = s->log; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        found = strstr(line, text);
        count += found != NULL && found < end && line[0] - '0' <= (int)level;
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

outbox_relay_stats station_stats(struct station *s)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;

    CHECK(outbox_relay_stats_get(s->relay, &stats) == OUTBOX_OK, "no stats");
    return stats;
}

int station_has(struct station *s, int published)
{
    int there;

    WAIT_FOR(station_published(s) >= published, there);
    return CHECK(there && station_published(s) == published, "%d of %d were published",
                 station_published(s), published);
}

int station_state(struct station *s, outbox_wake_state state)
{
    int there;

    WAIT_FOR(station_stats(s).wake_state == state, there);
    return CHECK(there, "the state of wake-ups is %d, not %d", (int)station_stats(s).wake_state, (int)state);
}

int station_says(struct station *s, outbox_log_level level, const char *text)
{
    int there;

    WAIT_FOR(station_logged(s, level, text) > 0, there);
    return CHECK(there, "the log does not say \"%s\"", text);
}

int station_prompt(struct station *s)
{
    uint64_t before = station_stats(s).wakeups;
    int published = station_published(s), woken;

    if (!send_text(s->fx, "t", NULL, "prompt") || !station_has(s, published + 1))
        return 0;
    WAIT_FOR(station_stats(s).wakeups > before, woken);
    return CHECK(woken, "it was not woken");
}

int station_rests(struct station *s)
{
    outbox_relay_stats before, now;
    int same = 0, rests;

    before = station_stats(s);
    WAIT_FOR((now = station_stats(s),
              same = now.polls == before.polls && now.wakeups == before.wakeups && now.claims == before.claims
                         ? same + 1 : 0, before = now, same == 60), rests);
    return CHECK(rests, "%llu looks, %llu wake-ups and no end", (unsigned long long)now.polls,
                 (unsigned long long)now.wakeups);
}

/* ---- PostgreSQL ---- */

#define WATCH_LOCK "FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND mode = 'ExclusiveLock' AND granted " \
                   "AND classid = '%smessages'::regclass::oid"

int64_t watches(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT count(*) " WATCH_LOCK, fx->prefix);
}

int64_t watch_pid(struct fixture *fx)
{
    return db_int(&fx->db, "SELECT min(pid) " WATCH_LOCK, fx->prefix);
}

int watched(struct fixture *fx, int64_t count)
{
    int there;

    WAIT_FOR(watches(fx) == count, there);
    return CHECK(there, "%lld relays are on watch", (long long)watches(fx));
}

void set_conninfo(struct fixture *fx, const char *host, int port, const char *more)
{
    char text[500];

    snprintf(text, sizeof text, "host=%s port=%d dbname=%s user=%s %s", host != NULL ? host : getenv("PGHOST"),
             port > 0 ? port : atoi(getenv("PGPORT")), getenv("PGDATABASE"), getenv("PGUSER"), more);
    fixture_set(fx, "wake.conninfo", text);
}

int server(const char *what)
{
    char command[600];

    snprintf(command, sizeof command, "\"$OUTBOX_TEST_PGCTL\" %s", what);
    return CHECK(system(command) == 0, "the server does not %s", what);
}
