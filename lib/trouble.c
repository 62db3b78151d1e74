/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trouble.h"

#include "log.h"
#include "thread.h"

#include <outbox/error.h>

#include <stdio.h>
#include <string.h>

void outbox_trouble__init(struct outbox_trouble *t, const outbox_conf *conf, const char *again)
{
    memset(t, 0, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    t->conf = conf;
    t->again = again;
}

void outbox_trouble__destroy(struct outbox_trouble *t)
{
    pthread_mutex_destroy(&t->lock);
}

/* Whether this kind is new; of more kinds than have room, the last ones are not. Called with the lock held. */
static int note(struct outbox_trouble *t, const char *name)
{
    int i;

    for (i = 0; i < t->kinds; i++)
        if (strncmp(t->told[i], name, sizeof(t->told[i]) - 1) == 0)
            return 0;
    if (t->kinds == OUTBOX_TROUBLE_KINDS)
        return 0;
    snprintf(t->told[t->kinds++], sizeof(t->told[0]), "%s", name);
    return 1;
}

void outbox_trouble__met(struct outbox_trouble *t, int *in, const char *what, const outbox_error *err, const char *next)
{
    int tell;

    pthread_mutex_lock(&t->lock);
    if (t->threads == 0) {
        t->kinds = 0;
        t->since = outbox_thread__clock();
    }
    tell = note(t, outbox_error_name(err));
    t->threads += !*in;
    *in = 1;
    pthread_mutex_unlock(&t->lock);
    outbox_log__write(t->conf, tell ? OUTBOX_LOG_ERROR : OUTBOX_LOG_DEBUG, "%s: %s; %s", what, outbox_error_message(err),
                      next);
}

void outbox_trouble__over(struct outbox_trouble *t, int *in)
{
    char lasted[OUTBOX_LOG_SECONDS];
    int64_t since = 0;

    if (!*in)
        return;
    pthread_mutex_lock(&t->lock);
    if (--t->threads == 0)
        since = t->since;
    *in = 0;
    pthread_mutex_unlock(&t->lock);
    if (since != 0)
        outbox_log__write(t->conf, OUTBOX_LOG_WARNING, "%s, after %s", t->again,
                          outbox_log__seconds(outbox_thread__clock() - since, lasted));
}
