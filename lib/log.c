/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"
#include "text.h"

#include <stdio.h>

void outbox_log__write(const outbox_conf *conf, outbox_log_level level, const char *format, ...)
{
    char line[1400];
    va_list args;
    char *p;

    if (conf->log == NULL)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    outbox_text__repair(line);
    /* Databases send errors over several lines; a log line is one. */
    for (p = line; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    conf->log(conf->log_user, level, line);
}

/* The two largest units, as nobody counts in 100000 s. */
static void long_time(int64_t s, char *text)
{
    static const struct {
        const char *large, *small;
        int64_t seconds, each; /* of the large one, of the small one */
    } units[] = { { "d", "h", 86400, 3600 }, { "h", "m", 3600, 60 }, { "m", "s", 60, 1 } };
    size_t i = s >= 86400 ? 0 : s >= 3600 ? 1 : 2;
    int64_t rest = s % units[i].seconds / units[i].each;

    if (rest == 0)
        snprintf(text, OUTBOX_LOG_SECONDS, "%lld %s", (long long)(s / units[i].seconds), units[i].large);
    else
        snprintf(text, OUTBOX_LOG_SECONDS, "%lld %s %lld %s", (long long)(s / units[i].seconds), units[i].large,
                 (long long)rest, units[i].small);
}

const char *outbox_log__seconds(int64_t us, char text[OUTBOX_LOG_SECONDS])
{
    int64_t tenths = us / 100000 + (us % 100000 >= 50000);

    if (us < 1000000)
        snprintf(text, OUTBOX_LOG_SECONDS, "%lld ms", (long long)us / 1000);
    else if (tenths < 100 && tenths % 10 != 0)
        snprintf(text, OUTBOX_LOG_SECONDS, "%d.%d s", (int)(tenths / 10), (int)(tenths % 10));
    else if (tenths < 1200)
        snprintf(text, OUTBOX_LOG_SECONDS, "%lld s", (long long)(tenths / 10));
    else
        long_time(tenths / 10, text);
    return text;
}
