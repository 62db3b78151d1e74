/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A name server that does not answer: no publisher may wait for it once its call was cancelled; see broker.h. */
#define _GNU_SOURCE
#include "broker.h"

#include "batch_internal.h"
#include "delivery.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int asked, may_answer, gave_up;

/* In front of the C library's. */
OUTBOX_API int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    int released;

    memcpy(&real, &symbol, sizeof real);
    if (host == NULL || strcmp(host, "silent.example") != 0 || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return real(host, port, hints, list);
    asked = 1;
    WAIT_FOR(may_answer, released);
    gave_up |= !released;
    return EAI_AGAIN;
}

void broker_test_silent_name(struct broker *b)
{
    struct parcel p = {0};
    char url[100];
    int rounds = 0;

    snprintf(url, sizeof url, "%.*s://silent.example", (int)strcspn(b->kind->limit, "."), b->kind->limit);
    REQUIRE(parcel_make(&p, "named", 0, 10, 0) == 0, "not prepared");
    CHECK(outbox_publisher_open(url, NULL, &p.publisher, &p.err) == OUTBOX_OK, "%s", outbox_error_message(p.err));
    asked = may_answer = gave_up = 0;
    do /* the thread that asks is a new one, which may start late */
        parcel_send(&p, 0, 10, 200);
    while (!asked && ++rounds < 600);
    CHECK(asked, "nobody asked for the name");
    CHECK(!gave_up, "the call waited for the name server");
    CHECK_INT(parcel_count(&p, FATE_PUBLISHED) + parcel_count(&p, FATE_REJECT) + parcel_count(&p, FATE_RETRY), 0);
    tap_note("%s", p.why);
    may_answer = 1;
    parcel_free(&p);
}
