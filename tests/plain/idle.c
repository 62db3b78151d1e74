/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where workers wait: no wake is slept over, bursts coalesce, waits double, moods are told once.
 *
 * Times are not measured: what would be waited is read from struct idle, and an hour stands for never.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "idle.h"
#include "lib-test.h"
#include "thread.h"

#define HOUR_US (INT64_C(3600) * SECOND_US)

enum { MOST = 16 };

/* Workers that wait, look and tell what the test lets them find. */
struct crew {
    struct outbox_idle idle;
    pthread_t threads[MOST];
    int count;
    atomic_int stop, woken, timed, inside, open, ended;
    atomic_long work, done; /* what a look finds */
    int more, blocks;       /* found(more); stays inside until open */
};

static int waiting(struct crew *c)
{
    int n;

    pthread_mutex_lock(&c->idle.lock);
    n = c->idle.wanted > 0 ? -1 : c->idle.waiting;
    pthread_mutex_unlock(&c->idle.lock);
    return n;
}

/* No look by itself from now on. */
static void look_never(struct outbox_idle *idle)
{
    pthread_mutex_lock(&idle->lock);
    idle->wait = idle->interval;
    idle->in_phase = 1;
    idle->next_look = outbox_thread__clock() + idle->interval;
    pthread_mutex_unlock(&idle->lock);
}

static int take(struct crew *c)
{
    long left = atomic_load(&c->work);

    while (left > 0)
        if (atomic_compare_exchange_weak(&c->work, &left, left - 1))
            return 1;
    return 0;
}

static void look(struct crew *c)
{
    while (take(c)) {
        int passed;

        outbox_idle__found(&c->idle, c->more);
        atomic_fetch_add(&c->inside, 1);
        if (c->blocks)
            WAIT_FOR(atomic_load(&c->open) || atomic_load(&c->stop), passed);
        atomic_fetch_sub(&c->inside, 1);
        atomic_fetch_add(&c->done, 1);
    }
    outbox_idle__nothing(&c->idle);
}

static void *work(void *arg)
{
    struct crew *c = arg;

    while (!atomic_load(&c->stop)) {
        if (outbox_idle__wait(&c->idle))
            atomic_fetch_add(&c->woken, 1);
        else
            atomic_fetch_add(&c->timed, 1);
        look(c);
    }
    atomic_fetch_add(&c->ended, 1);
    return NULL;
}

static void crew_init(struct crew *c, int count)
{
    memset(c, 0, sizeof *c);
    c->count = count;
    outbox_idle__init(&c->idle, count, HOUR_US);
    outbox_idle__cover(&c->idle, 1, 0, "");
    look_never(&c->idle);
}

static void crew_start(struct crew *c)
{
    for (int i = 0; i < c->count; i++)
        CHECK_INT(pthread_create(&c->threads[i], NULL, work, c), 0);
}

static int crew_waits(struct crew *c)
{
    int all;

    WAIT_FOR(waiting(c) == c->count, all);
    return CHECK(all, "%d of %d wait", waiting(c), c->count);
}

static void crew_end(struct crew *c)
{
    atomic_store(&c->stop, 1);
    outbox_idle__stop(&c->idle);
    for (int i = 0; i < c->count; i++)
        pthread_join(c->threads[i], NULL);
    CHECK_INT(c->ended, c->count);
    CHECK_INT(c->idle.waiting, 0);
    outbox_idle__destroy(&c->idle);
}

/* ---- Waits ---- */

/* An empty look now; checks the wait that follows it, at least so long, and the one after that. */
static void check_wait_from(struct outbox_idle *idle, int64_t least, int64_t wait, int64_t next)
{
    int64_t before = outbox_thread__clock(), after;

    outbox_idle__nothing(idle);
    after = outbox_thread__clock();
    CHECK(idle->next_look >= before + least && idle->next_look <= after + wait,
          "the next look comes after %lld us, not %lld", (long long)(idle->next_look - before), (long long)wait);
    CHECK_INT(idle->wait, next);
}

static void check_wait(struct outbox_idle *idle, int64_t wait, int64_t next)
{
    check_wait_from(idle, wait - wait / 8, wait, next);
}

static void waits_double(void)
{
    struct outbox_idle idle;
    int64_t wait;

    outbox_idle__init(&idle, 1, 10 * SECOND_US);
    for (wait = OUTBOX_IDLE_FIRST_US; wait * 2 < 10 * SECOND_US; wait *= 2)
        check_wait(&idle, wait, wait * 2);
    check_wait(&idle, wait, 10 * SECOND_US);
    check_wait_from(&idle, 0, 10 * SECOND_US, 10 * SECOND_US); /* any part of it, once */
    for (int i = 0; i < 20; i++)
        check_wait_from(&idle, 10 * SECOND_US, 10 * SECOND_US, 10 * SECOND_US);
    outbox_idle__found(&idle, 0);
    check_wait(&idle, OUTBOX_IDLE_FIRST_US, 2 * OUTBOX_IDLE_FIRST_US);
    outbox_idle__destroy(&idle);
    outbox_idle__init(&idle, 1, OUTBOX_IDLE_FIRST_US / 2); /* shorter than the first wait */
    check_wait_from(&idle, 0, OUTBOX_IDLE_FIRST_US / 2, OUTBOX_IDLE_FIRST_US / 2);
    check_wait_from(&idle, OUTBOX_IDLE_FIRST_US / 2, OUTBOX_IDLE_FIRST_US / 2, OUTBOX_IDLE_FIRST_US / 2);
    outbox_idle__destroy(&idle);
}

/* A wait that was waited and the empty look after it double it once. */
static void waits_double_once(void)
{
    struct outbox_idle idle;

    outbox_idle__init(&idle, 1, HOUR_US);
    for (int64_t wait = 2 * OUTBOX_IDLE_FIRST_US; wait <= 16 * OUTBOX_IDLE_FIRST_US; wait *= 2) {
        outbox_idle__nothing(&idle);
        CHECK_INT(idle.wait, wait);
        CHECK_INT(outbox_idle__wait(&idle), 0);
    }
    outbox_idle__destroy(&idle);
}

static void waits_differ(void)
{
    struct outbox_idle idle;
    int64_t least = INT64_MAX, most = 0;

    outbox_idle__init(&idle, 1, HOUR_US);
    for (int i = 0; i < 200; i++) {
        look_never(&idle);
        idle.in_phase = 0;
        outbox_idle__nothing(&idle);
        least = idle.next_look < least ? idle.next_look : least;
        most = idle.next_look > most ? idle.next_look : most;
    }
    CHECK(most - least > HOUR_US / 2, "all within %lld s", (long long)((most - least) / SECOND_US));
    outbox_idle__destroy(&idle);
}

static void covered_stays_long(void)
{
    struct outbox_idle idle;

    outbox_idle__init(&idle, 1, HOUR_US);
    look_never(&idle);
    outbox_idle__cover(&idle, 1, 2, "");
    CHECK_INT(outbox_idle__state(&idle), 2);
    CHECK_INT(idle.next_look, 0); /* what came before is looked for, and again for a while */
    CHECK_INT(outbox_idle__wait(&idle), 0);
    check_wait(&idle, OUTBOX_IDLE_FIRST_US, 2 * OUTBOX_IDLE_FIRST_US);
    look_never(&idle);
    outbox_idle__cover(&idle, 1, 2, "");
    outbox_idle__found(&idle, 1);
    check_wait(&idle, HOUR_US, HOUR_US);
    outbox_idle__wake(&idle, 1);
    CHECK_INT(idle.wait, HOUR_US);
    outbox_idle__wake(&idle, 0);
    check_wait(&idle, OUTBOX_IDLE_FIRST_US, 2 * OUTBOX_IDLE_FIRST_US);
    look_never(&idle);
    outbox_idle__cover(&idle, 0, 1, "");
    CHECK_INT(idle.next_look, 0);
    CHECK_INT(idle.wait, OUTBOX_IDLE_FIRST_US);
    outbox_idle__destroy(&idle);
}

static void what_is_due(void)
{
    struct outbox_idle idle;
    int64_t before, first;

    outbox_idle__init(&idle, 1, HOUR_US);
    look_never(&idle);
    before = outbox_thread__clock();
    outbox_idle__due(&idle, 50 * SECOND_US);
    first = idle.next_look;
    CHECK(first >= before + 50 * SECOND_US && first <= outbox_thread__clock() + 50 * SECOND_US, "not looked for");
    outbox_idle__due(&idle, 60 * SECOND_US);
    CHECK_INT(idle.next_look, first);
    outbox_idle__due(&idle, 40 * SECOND_US);
    CHECK(idle.next_look < first, "the earlier one is not looked for");
    first = idle.next_look;
    idle.wait = HOUR_US;
    outbox_idle__nothing(&idle); /* an empty look before it forgets nothing */
    CHECK_INT(idle.next_look, first);
    outbox_idle__due(&idle, 0);
    CHECK_INT(outbox_idle__wait(&idle), 0);
    look_never(&idle);
    outbox_idle__nothing(&idle);
    CHECK(idle.next_look > first, "looked for once more");
    outbox_idle__destroy(&idle);
}

/* ---- Wakes ---- */

static void wakes_are_kept(void)
{
    struct crew c;

    crew_init(&c, 4);
    outbox_idle__wake(&c.idle, 1); /* nobody waits */
    CHECK_INT(outbox_idle__wait(&c.idle), 1);
    for (int i = 0; i < 1000; i++)
        outbox_idle__wake(&c.idle, 1);
    CHECK_INT(c.idle.wanted, 4);
    crew_start(&c);
    if (crew_waits(&c))
        CHECK_INT(c.woken, 4);
    crew_end(&c);
}

static void one_wake_one_look(void)
{
    struct crew c;
    int came;

    crew_init(&c, 4);
    crew_start(&c);
    for (int i = 1; i <= 20 && crew_waits(&c); i++) {
        outbox_idle__wake(&c.idle, 1);
        WAIT_FOR(atomic_load(&c.woken) == i, came);
        CHECK(came, "%d looks after %d wakes", c.woken, i);
    }
    crew_waits(&c);
    CHECK_INT(c.woken, 20);
    CHECK_INT(c.timed, 0);
    crew_end(&c);
}

/* One wake, more work: all come, each let in by the one before, or by the time that it has taken. */
static void as_many_as_needed(int more)
{
    struct crew c;
    int came;

    crew_init(&c, 4);
    c.more = more;
    c.blocks = 1;
    crew_start(&c);
    if (crew_waits(&c)) {
        atomic_store(&c.work, 4);
        outbox_idle__wake(&c.idle, 1);
        WAIT_FOR(atomic_load(&c.inside) == 4, came);
        CHECK(came, "%d of 4 are inside", c.inside);
        CHECK(more || c.woken == 1, "%d were woken", c.woken);
        atomic_store(&c.open, 1);
        WAIT_FOR(atomic_load(&c.done) == 4, came);
    }
    crew_waits(&c);
    crew_end(&c);
}

static void more_chains(void)
{
    as_many_as_needed(1);
}

static void a_helper_comes(void)
{
    as_many_as_needed(0);
}

static void stop_ends_all(void)
{
    struct crew c;

    crew_init(&c, 8);
    crew_start(&c);
    crew_waits(&c);
    crew_end(&c);
    crew_init(&c, 1);
    outbox_idle__stop(&c.idle);
    CHECK_INT(outbox_idle__wait(&c.idle), 0);
    outbox_idle__wake(&c.idle, 1);
    outbox_idle__reset(&c.idle);
    CHECK_INT(c.idle.wanted, 0);
    CHECK_INT(c.idle.stop, 0);
    outbox_idle__destroy(&c.idle);
}

/* ---- Moods ---- */

static void count_poke(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void moods(void)
{
    struct crew c;
    atomic_int pokes = 0;
    int64_t again = 0;
    int came;

    crew_init(&c, 2);
    outbox_idle__cover(&c.idle, 0, 0, "");
    look_never(&c.idle);
    outbox_idle__watch(&c.idle, count_poke, &pokes);
    c.blocks = 1;
    c.idle.busy_at = outbox_thread__clock() + HOUR_US;
    CHECK_INT(outbox_idle__mood(&c.idle, &again), OUTBOX_MOOD_BETWEEN);
    CHECK_INT(again, c.idle.busy_at + OUTBOX_IDLE_BUSY_US);
    c.idle.busy_at = 0;
    CHECK_INT(outbox_idle__mood(&c.idle, &again), OUTBOX_MOOD_BUSY);
    CHECK(again == INT64_MAX, "asked for again");
    crew_start(&c);
    if (crew_waits(&c)) {
        WAIT_FOR(atomic_load(&pokes) > 0, came);
        CHECK_INT(pokes, 1); /* for two that wait: the first tells */
        pthread_mutex_lock(&c.idle.lock);
        c.idle.found_at = 0;
        pthread_mutex_unlock(&c.idle.lock);
        CHECK_INT(outbox_idle__mood(&c.idle, &again), OUTBOX_MOOD_QUIET);
        atomic_store(&c.work, 1);
        outbox_idle__wake(&c.idle, 1); /* one is busy, the other waits: quiet as before, until that one helps */
        WAIT_FOR(atomic_load(&c.inside) == 1, came);
        pthread_mutex_lock(&c.idle.lock);
        CHECK(c.idle.found_at > 0, "when something was found is not known");
        c.idle.busy_at = 0;
        pthread_mutex_unlock(&c.idle.lock);
        atomic_store(&c.work, 1);
        WAIT_FOR(atomic_load(&c.inside) == 2, came);
        WAIT_FOR(atomic_load(&pokes) == 2, came);
        CHECK(came, "%d pokes when all are busy", pokes);
        outbox_idle__mood(&c.idle, &again);
        CHECK(again <= outbox_thread__clock() + OUTBOX_IDLE_BUSY_US || again == INT64_MAX, "not asked for again");
    }
    atomic_store(&c.open, 1);
    crew_end(&c);
}

/* Covered, one that waits is quiet at once, whatever was found lately. */
static void mood_when_covered(void)
{
    struct crew c;
    int64_t again = 0;

    crew_init(&c, 0);
    c.idle.waiting = 1; /* and nobody who could go out to look meanwhile */
    c.idle.found_at = outbox_thread__clock() + HOUR_US;
    CHECK_INT(outbox_idle__mood(&c.idle, &again), OUTBOX_MOOD_QUIET);
    CHECK(again == INT64_MAX, "asked for again");
    outbox_idle__cover(&c.idle, 0, 0, "");
    CHECK_INT(outbox_idle__mood(&c.idle, &again), OUTBOX_MOOD_BETWEEN);
    CHECK(again > c.idle.found_at, "asked for again at once");
    outbox_idle__destroy(&c.idle);
}

/* ---- All at once ---- */

static void *bother(void *arg)
{
    struct crew *c = arg;
    unsigned seed = 1;
    int64_t again;

    while (!atomic_load(&c->stop)) {
        int what = rand_r(&seed) % 8;

        if (what == 0)
            outbox_idle__due(&c->idle, HOUR_US);
        else if (what == 1)
            outbox_idle__state(&c->idle);
        else
            outbox_idle__mood(&c->idle, &again);
    }
    return NULL;
}

static void *bring(void *arg)
{
    struct crew *c = arg;

    for (int i = 0; i < 7; i++) {
        atomic_fetch_add(&c->work, 1);
        outbox_idle__wake(&c->idle, 1);
    }
    return NULL;
}

/* Each round begins with all waiting and no look in sight: a wake that got lost would show. */
static void stress(void)
{
    struct crew c;
    pthread_t other, bringers[3];
    atomic_int pokes = 0;
    int rounds, came = 1;

    crew_init(&c, 2);
    outbox_idle__watch(&c.idle, count_poke, &pokes);
    crew_start(&c);
    REQUIRE(pthread_create(&other, NULL, bother, &c) == 0, "no thread");
    for (rounds = 0; rounds < 200 && came && crew_waits(&c); rounds++) {
        look_never(&c.idle);
        for (int i = 0; i < 3; i++)
            CHECK_INT(pthread_create(&bringers[i], NULL, bring, &c), 0);
        for (int i = 0; i < 3; i++)
            pthread_join(bringers[i], NULL);
        WAIT_FOR(atomic_load(&c.done) == (rounds + 1) * 21L, came);
        CHECK(came, "round %d: %ld done", rounds, c.done);
    }
    CHECK(pokes > 0, "never poked");
    atomic_store(&c.stop, 1);
    pthread_join(other, NULL);
    crew_end(&c);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"waits double up to the interval", waits_double},
        {"waiting and looking double once", waits_double_once},
        {"waits are shortened at random", waits_differ},
        {"covered: the wait stays long", covered_stays_long},
        {"what is put off is looked for in time", what_is_due},
        {"a wake while all look is kept, a thousand coalesce", wakes_are_kept},
        {"one wake, one look", one_wake_one_look},
        {"more than one message: one lets in the next", more_chains},
        {"a slow one is helped", a_helper_comes},
        {"stop ends all waits", stop_ends_all},
        {"a mood that changes is told once", moods},
        {"covered: quiet as soon as one waits", mood_when_covered},
        {"no wake is lost", stress},
    };

    for (size_t i = 0; i < COUNT_OF(tests); i++)
        if (argc < 2 || strstr(tests[i].name, argv[1]) != NULL) {
            tap_begin("idle: %s", tests[i].name);
            tests[i].run();
            tap_end();
        }
    return tap_finish();
}
