/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For what cannot be told to end, and nobody waits for. */
#include "detached.h"

#include <pthread.h>
#include <signal.h>

int outbox_detached(void *(*run)(void *), void *arg)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attributes, run, arg);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}
