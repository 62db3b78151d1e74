/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages in several lanes. */
#ifndef OUTBOX_TESTS_LANES_H
#define OUTBOX_TESTS_LANES_H

#include "lib-test.h"

enum { KEYS = 8 };

/* Keys of different lanes, and the lane of each. */
void lanes_keys(char keys[KEYS][12], int lanes[KEYS]);

#endif
