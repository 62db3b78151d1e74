/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the publishers of a test share with it, on several threads; and a relay that tells it what came of its messages. */
#ifndef OUTBOX_TESTS_STAGE_H
#define OUTBOX_TESTS_STAGE_H

#include <pthread.h>

#include "lib-test.h"

/* Guarded by lock. */
struct stage {
    pthread_mutex_t lock;
    int published, failed, dead, calls, inside, most_inside, doubled;
    int open;         /* callbacks may pass */
    int fail_first;   /* so many calls are answered with OUTBOX_RETRY */
    int cancelled, gave_up;
    outbox_delivery *delivery; /* what the late publisher has not answered yet */
    size_t answered;
    char last[64];
};

void stage_init(struct stage *s);
int stage_get(struct stage *s, const int *field);
void stage_set(struct stage *s, int *field, int value);

/* The relay counts by hooks. The publisher waits while the stage is closed; it fails first as often as it is told to. NULL
 * after a failed check. */
outbox_relay *stage_relay(struct fixture *fx, struct stage *s, outbox_publisher *publisher);
outbox_publisher *stage_publisher(struct fixture *fx, struct stage *s);

int64_t lanes_held(struct fixture *fx);

#endif
