/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URLs of publishers: opened, or refused without a word of what may be a password. */
#include "fuzz/fuzz.h"

#include <outbox/publisher.h>

#include <stdlib.h>
#include <string.h>

/* Files are only looked for where none can be made. */
static char *harmless(const char *url)
{
    static const char nowhere[] = "file:/nonexistent/";
    char *text = malloc(strlen(url) + sizeof nowhere);

    FUZZ_CHECK(text != NULL, "out of memory");
    if (strncmp(url, "file:", 5) != 0 || url[5] == '\0')
        return strcpy(text, url);
    return strcat(strcpy(text, nowhere), url + 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = fuzz_text(data, size), *url = harmless(input);
    outbox_publisher *publisher = NULL;
    outbox_error *err = NULL;
    int rc = outbox_publisher_open(url, NULL, &publisher, &err);

    FUZZ_CHECK((rc == OUTBOX_OK) == (publisher != NULL), "%s", outbox_status_name(rc));
    if (rc == OUTBOX_OK)
        FUZZ_CHECK(outbox_publisher_name(publisher)[0] != '\0', "no name");
    if (rc == OUTBOX_ERR_UNSUPPORTED)
        FUZZ_CHECK(strpbrk(outbox_error_message(err), "@=/") == NULL, "too much of it: %s", outbox_error_message(err));
    fuzz_check_error(rc, err);
    outbox_publisher_free(publisher);
    free(url);
    free(input);
    return 0;
}
