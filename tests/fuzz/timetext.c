/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times: what is read is written and read the same; every number can be written. */
#include "fuzz/fuzz.h"
#include "timetext.h"

#include <string.h>

/* The first and the last microsecond of the years 0 to 9999. */
#define FIRST_US (INT64_C(-62167219200) * 1000000)
#define LAST_US (INT64_C(253402300800) * 1000000 - 1)

static void write_and_read(int64_t us)
{
    int64_t want = us < FIRST_US ? FIRST_US : us > LAST_US ? LAST_US : us, back = 77;
    char text[OUTBOX_TIMETEXT_SIZE];

    outbox_timetext__format(us, text);
    FUZZ_CHECK(strlen(text) == OUTBOX_TIMETEXT_SIZE - 1, "%lld is \"%s\"", (long long)us, text);
    FUZZ_CHECK(outbox_timetext__parse(text, strlen(text), &back), "\"%s\" is not read", text);
    FUZZ_CHECK(back == want, "%lld is \"%s\", which is %lld", (long long)us, text, (long long)back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t us = 0;

    if (outbox_timetext__parse((const char *)data, size, &us)) {
        FUZZ_CHECK(us > FIRST_US - INT64_C(86400000000) && us < LAST_US + INT64_C(86400000002), "%lld", (long long)us);
        write_and_read(us);
    }
    if (size >= sizeof us) {
        memcpy(&us, data, sizeof us);
        write_and_read(us);
    }
    return 0;
}
