/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a command answers: always a verdict of the three or none, with a reason that is fit for a log. */
#include "fuzz/fuzz.h"
#include "../../publishers/exec_answer.h"

#include <stdlib.h>
#include <string.h>

static void check_clean(const char *text)
{
    FUZZ_CHECK(fuzz_utf8(text, strlen(text)) >= 0, "not UTF-8: %s", text);
    for (const char *c = text; *c != '\0'; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 127, "a control character in \"%s\"", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = fuzz_text(data, size), *text = fuzz_text(data, size);
    size_t length = strlen(text);
    struct outbox_exec_answer answer;

    outbox_exec_answer__clean(text);
    FUZZ_CHECK(strlen(text) == length, "%zu bytes became %zu", length, strlen(text));
    check_clean(text);
    if (outbox_exec_answer__parse(line, &answer)) {
        FUZZ_CHECK(answer.verdict == OUTBOX_PUBLISHED || answer.verdict == OUTBOX_RETRY ||
                       answer.verdict == OUTBOX_REJECT || answer.verdict == OUTBOX_UNAVAILABLE,
                   "verdict %d", (int)answer.verdict);
        FUZZ_CHECK((answer.reason == NULL) == (answer.verdict == OUTBOX_PUBLISHED), "verdict %d", (int)answer.verdict);
        FUZZ_CHECK(answer.retry_ms == -1 || (answer.verdict == OUTBOX_RETRY && answer.retry_ms >= 0), "a wait of %lld",
                   (long long)answer.retry_ms);
        if (answer.reason != NULL) {
            FUZZ_CHECK(answer.reason[0] != '\0', "an empty reason");
            check_clean(answer.reason);
        }
    }
    free(line);
    free(text);
    return 0;
}
