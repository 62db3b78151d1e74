/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URLs of brokers, taken apart. */
#include "broker_url.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

Test(broker_url, parts)
{
    static const struct {
        const char *url, *scheme, *user, *password, *hosts, *path, *shown;
    } cases[] = {
        { "redis://h", "redis", NULL, NULL, "h:0", "", "redis://h" },
        { "redis://h:6380/2", "redis", NULL, NULL, "h:6380", "2", "redis://h:6380/2" },
        { "amqp://u:p@h/%2F", "amqp", "u", "p", "h:0", "/", "amqp://h/%2F" },
        { "nats://a:1,b,c:3/x/y", "nats", NULL, NULL, "a:1 b:0 c:3", "x/y", "nats://a:1,b,c:3/x/y" },
        { "https://h/in?a=b&c=d", "https", NULL, NULL, "h:0", "in", "https://h/in" },
        { "kafka://[::1]:9092,[fe80::1]", "kafka", NULL, NULL, "::1:9092 fe80::1:0", "", "kafka://[::1]:9092,[fe80::1]" },
        { "redis://us%40er:p%3Aa@ss:w%25@h", "redis", "us@er", "p:a@ss:w%", "h:0", "", "redis://h" },
        { "redis://:secret@h", "redis", NULL, "secret", "h:0", "", "redis://h" },
        { "redis://user@h", "redis", "user", NULL, "h:0", "", "redis://h" },
        { "redis://%2Frun%2Fredis.sock/1", "redis", NULL, NULL, "/run/redis.sock:0", "1", "redis://%2Frun%2Fredis.sock/1" },
        { "redis://", "redis", NULL, NULL, ":0", "", "redis://" },
        { "redis://:6379", "redis", NULL, NULL, ":6379", "", "redis://:6379" },
        { "mqtt://h?x=1", "mqtt", NULL, NULL, "h:0", "", "mqtt://h" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outbox_broker_url url;
        const char *reason;
        char hosts[200] = "";

        cr_expect_eq(outbox_broker_url__parse(cases[i].url, 1, &url, &reason), OUTBOX_OK, "%s: %s", cases[i].url, reason);
        cr_expect_str_eq(url.scheme, cases[i].scheme, "%s", cases[i].url);
        cr_expect_str_eq(url.user != NULL ? url.user : "-", cases[i].user != NULL ? cases[i].user : "-", "%s", cases[i].url);
        cr_expect_str_eq(url.password != NULL ? url.password : "-", cases[i].password != NULL ? cases[i].password : "-",
                         "%s", cases[i].url);
        for (size_t e = 0; e < url.endpoint_count; e++)
            snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "%s%s:%d", e > 0 ? " " : "",
                     url.endpoints[e].host, url.endpoints[e].port);
        cr_expect_str_eq(hosts, cases[i].hosts, "%s", cases[i].url);
        cr_expect_str_eq(url.path, cases[i].path, "%s", cases[i].url);
        cr_expect_str_eq(url.shown, cases[i].shown, "%s", cases[i].url);
        outbox_broker_url__free(&url);
    }
}

Test(broker_url, query)
{
    struct outbox_broker_url url;
    const char *reason;

    cr_assert_eq(outbox_broker_url__parse("http://u:p@h/a?x=1&y=%20b&z=", 1, &url, &reason), OUTBOX_OK, "%s", reason);
    cr_assert_eq(url.query_count, 3);
    cr_expect_str_eq(url.query[0].name, "x");
    cr_expect_str_eq(url.query[1].value, " b");
    cr_expect_str_eq(url.query[2].value, "");
    cr_expect_str_eq(url.given, "http://h/a?x=1&y=%20b&z=");
    outbox_broker_url__free(&url);
    cr_assert_eq(outbox_broker_url__parse("http://h/a?whatever&&it=%zz", 0, &url, &reason), OUTBOX_OK, "%s", reason);
    cr_expect_eq(url.query_count, 0);
    cr_expect_str_eq(url.given, "http://h/a?whatever&&it=%zz");
    outbox_broker_url__free(&url);
}

Test(broker_url, refused)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        { "redis:h", "SCHEME://HOST" }, { "redis:/h", "SCHEME://HOST" }, { "redis://h:0", "port" },
        { "redis://h:65536", "port" }, { "redis://h:", "port" }, { "redis://h:6a", "port" },
        { "redis://::1", "brackets" }, { "redis://[::1", "brackets" }, { "redis://[::1]x", "brackets" },
        { "redis://a,,b", "no host" }, { "redis://a,", "no host" }, { "redis://h/%", "hexadecimal" },
        { "redis://h/%4", "hexadecimal" }, { "redis://h/%4g", "hexadecimal" }, { "redis://h/%00", "control" },
        { "redis://h/%0d%0a", "control" }, { "redis://%ff", "UTF-8" }, { "redis://u%0a@h", "control" },
        { "redis://h/a#b", "%23" }, { "redis://h?x", "NAME=VALUE" }, { "redis://h?=x", "NAME=VALUE" },
        { "redis://h?x=1&", NULL }, { "redis://h?x=%0a", "control" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outbox_broker_url url;
        const char *reason;
        int rc = outbox_broker_url__parse(cases[i].url, 1, &url, &reason);

        cr_expect_eq(rc, cases[i].says != NULL ? OUTBOX_ERR_INVALID : OUTBOX_OK, "%s: %d", cases[i].url, rc);
        if (cases[i].says != NULL)
            cr_expect_not_null(strstr(reason, cases[i].says), "%s: %s", cases[i].url, reason);
        outbox_broker_url__free(&url);
    }
}
