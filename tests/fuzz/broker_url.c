/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URLs of brokers: taken apart, or refused with a reason; nothing that is shown has the password. */
#include "broker_url.h"
#include "fuzz/fuzz.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static void check_text(const char *text)
{
    if (text == NULL)
        return;
    FUZZ_CHECK(outbox_text__length(text, strlen(text)) >= 0, "not UTF-8");
    FUZZ_CHECK(!outbox_text__has_control(text, strlen(text)), "a control character");
}

static void check_whole(const struct outbox_broker_url *url)
{
    FUZZ_CHECK(url->endpoint_count >= 1 && url->endpoint_count <= OUTBOX_ENDPOINTS_MAX, "%zu hosts", url->endpoint_count);
    for (size_t i = 0; i < url->endpoint_count; i++) {
        check_text(url->endpoints[i].host);
        FUZZ_CHECK(url->endpoints[i].port >= 0 && url->endpoints[i].port < 65536, "port %d", url->endpoints[i].port);
    }
    for (size_t i = 0; i < url->query_count; i++) {
        check_text(url->query[i].name);
        check_text(url->query[i].value);
        FUZZ_CHECK(url->query[i].name[0] != '\0', "a name is empty");
    }
    check_text(url->user);
    check_text(url->password);
    check_text(url->path);
    FUZZ_CHECK(strncmp(url->given, url->shown, strlen(url->shown)) == 0, "%s is not the beginning of %s", url->shown,
               url->given);
    FUZZ_CHECK(strpbrk(url->shown, "?#") == NULL, "a query is in %s", url->shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = fuzz_text(data, size);

    for (int with_query = 0; with_query < 2; with_query++) {
        struct outbox_broker_url url, again;
        const char *reason;
        int rc = outbox_broker_url__parse(input, with_query, &url, &reason);

        FUZZ_CHECK(rc == OUTBOX_OK || (rc == OUTBOX_ERR_INVALID && reason[0] != '\0'), "%d without a reason", rc);
        if (rc == OUTBOX_OK) {
            check_whole(&url);
            /* Without user and password it is a URL as well, to the same hosts. */
            FUZZ_CHECK(outbox_broker_url__parse(url.given, with_query, &again, &reason) == OUTBOX_OK, "%s: %s", url.given,
                       reason);
            FUZZ_CHECK(again.endpoint_count == url.endpoint_count && again.user == NULL && again.password == NULL,
                       "%s is another one", url.given);
            outbox_broker_url__free(&again);
        }
        outbox_broker_url__free(&url);
    }
    free(input);
    return 0;
}
