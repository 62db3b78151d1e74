/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDv7: 48 bits of milliseconds, 12 bits that count within a call, 62 random bits. No state is kept between calls,
 * so no lock is needed; order between calls of one millisecond is not promised, and nothing depends on it: rows are
 * ordered by the database's sequence. */
#include "uuid.h"
#include "error_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int outbox_uuid__random(void *bytes, size_t size)
{
    unsigned char *p = bytes;

    while (size > 0) {
        ssize_t n = getrandom(p, size > 256 ? 256 : size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        p += n;
        size -= (size_t)n;
    }
    return 1;
}

static void format(const unsigned char bytes[16], outbox_id *id)
{
    static const char digits[] = "0123456789abcdef";
    char *out = id->text;
    int i;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static void stamp(unsigned char b[16], uint64_t ms, unsigned counter)
{
    int i;

    for (i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (8 * (5 - i)));
    b[6] = (unsigned char)(0x70 | ((counter >> 8) & 0x0f));
    b[7] = (unsigned char)counter;
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
}

int outbox_uuid__make(outbox_id *ids, size_t count, outbox_error **err)
{
    unsigned char bytes[64][16];
    struct timespec now;
    uint64_t ms;
    size_t i, j;

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (i = 0; i < count; i += j) {
        size_t n = count - i < 64 ? count - i : 64;

        if (!outbox_uuid__random(bytes, n * 16))
            return outbox_error__set(err, OUTBOX_ERR_SYSTEM, "uuid.no_random",
                                     "cannot make a message id: the system gives no random bytes (%s)",
                                     strerror(errno));
        for (j = 0; j < n; j++) {
            /* 4096 ids fill the counter; the next millisecond is borrowed. */
            stamp(bytes[j], ms + (i + j) / 4096, (unsigned)((i + j) % 4096));
            format(bytes[j], &ids[i + j]);
        }
    }
    return OUTBOX_OK;
}

int outbox_uuid__parse(const char *text, size_t size, outbox_id *id)
{
    size_t i;

    if (size != 36)
        return 0;
    for (i = 0; i < 36; i++) {
        char c = text[i];

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return 0;
        } else if (c >= 'A' && c <= 'F') {
            c = (char)(c - 'A' + 'a');
        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return 0;
        }
        id->text[i] = c;
    }
    id->text[36] = '\0';
    return 1;
}
