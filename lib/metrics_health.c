/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether relays are well, and why not; and what is worth knowing of one that is. */
#include "error_internal.h"
#include "metrics_internal.h"

#include <string.h>

struct look {
    struct outbox_relay_view view;
    uint64_t broker_down;
};

static int is_stuck(const struct look *l)
{
    return l->view.stuck > 0;
}

static int is_down(const struct look *l)
{
    return !l->view.up;
}

static int is_stopping(const struct look *l)
{
    return l->view.up && l->view.stopping;
}

static int is_in_trouble(const struct look *l)
{
    return l->view.up && l->view.in_trouble > 0;
}

static int is_broker_down(const struct look *l)
{
    return l->broker_down != 0;
}

static int is_silent(const struct look *l)
{
    return l->view.silent;
}

static const struct reason {
    int (*is)(const struct look *look);
    int dead; /* nothing mends it but a restart */
    const char *text;
} reasons[] = {
    { is_stuck, 1, "a call of the publisher does not return" },
    { is_down, 0, "the relay does not run: it waits for its database, or was not started" },
    { is_stopping, 0, "the relay is stopping" },
    { is_in_trouble, 0, "the database cannot be used" },
    { is_broker_down, 0, "the broker is down: nothing gets through" },
    { is_silent, 0, "the publisher owes too many answers" },
};

static int add_line(struct outbox_buffer *to, const char *name, const char *what, const char *more)
{
    return outbox_buffer__add(to, name, strlen(name)) && outbox_buffer__add(to, ": ", 2) &&
           outbox_buffer__add(to, what, strlen(what)) && outbox_buffer__add(to, more, strlen(more)) &&
           outbox_buffer__add(to, "\n", 1);
}

/* Messages get through all the same, so it is told apart from the reasons. */
static int tell_notes(struct outbox_buffer *notes, const char *name, const struct look *l)
{
    return l->view.no_wakes[0] == '\0' || add_line(notes, name, "wake-ups do not come, it polls: ", l->view.no_wakes);
}

static int tell(struct outbox_buffer *to, struct outbox_buffer *notes, const char *name, outbox_relay *relay,
                outbox_health what)
{
    outbox_relay_stats stats = OUTBOX_RELAY_STATS_INIT;
    struct look l;
    size_t i;
    int ok = 1;

    outbox_relay__view(relay, &l.view);
    outbox_relay_stats_get(relay, &stats);
    l.broker_down = stats.broker_down;
    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]) && ok; i++)
        if ((reasons[i].dead || what == OUTBOX_HEALTH_READY) && reasons[i].is(&l))
            ok = add_line(to, name, reasons[i].text, "");
    return ok && (what != OUTBOX_HEALTH_READY || tell_notes(notes, name, &l));
}

int outbox_metrics_health(outbox_metrics *m, outbox_health what, char **text, outbox_error **err)
{
    struct outbox_buffer to = { NULL, 0, 0 }, notes = { NULL, 0, 0 };
    size_t i;
    int ok = 1, rc;

    if (m == NULL || text == NULL || (what != OUTBOX_HEALTH_LIVE && what != OUTBOX_HEALTH_READY))
        return outbox_error__set(err, OUTBOX_ERR_INVALID, "metrics.incomplete", "there is no such question of health");
    *text = NULL;
    pthread_mutex_lock(&m->lock);
    for (i = 0; i < m->count && ok; i++)
        ok = tell(&to, &notes, m->sources[i]->name, m->sources[i]->relay, what);
    pthread_mutex_unlock(&m->lock);
    rc = to.size > 0 ? OUTBOX_NONE : OUTBOX_OK;
    if (ok && rc == OUTBOX_OK)
        ok = outbox_buffer__add(&to, "ok\n", 3);
    if (ok && notes.size > 0)
        ok = outbox_buffer__add(&to, notes.data, notes.size);
    outbox_buffer__free(&notes);
    if (!ok) {
        outbox_buffer__free(&to);
        return outbox_error__nomem(err);
    }
    *text = to.data;
    return rc;
}
