/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a publisher module is told: settings of its table, others, and secrets from where they may come. */
#include "target.h"

#include <outbox/outbox.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const outbox_setting settings[] = {
    { "mode", OUTBOX_SETTING_CHOICE, "slow", 0, 0, "slow|fast", "" },
    { "count", OUTBOX_SETTING_INTEGER, "7", 1, 10, NULL, "" },
    { "room", OUTBOX_SETTING_SIZE, "1KiB", 1, 1 << 20, NULL, "" },
    { "pause", OUTBOX_SETTING_DURATION, "2s", 0, 3600000000, NULL, "" },
    { "note", OUTBOX_SETTING_TEXT, "none", 0, 10, NULL, "" },
    { "user", OUTBOX_SETTING_TEXT, "", 0, 100, NULL, "" },
    { "password", OUTBOX_SETTING_SECRET, "", 0, 100, NULL, "" },
    { "tls.key_password", OUTBOX_SETTING_SECRET, "", 0, 100, NULL, "" },
    { NULL, OUTBOX_SETTING_TEXT, NULL, 0, 0, NULL, NULL },
};

static int open_nothing(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err)
{
    (void)target, (void)ops, (void)self;
    return outbox_error_new(err, OUTBOX_ERR_INVALID, "test.nothing", "it opens nothing");
}

static outbox_publisher_module module = { sizeof(module), OUTBOX_PUBLISHER_MODULE_ABI, 0, "mybus", settings, open_nothing };
static outbox_conf *conf;
static outbox_target *target;
static outbox_error *err;

static void make(void)
{
    cr_assert_eq(outbox_conf_new(&conf, NULL), OUTBOX_OK);
    cr_assert_eq(outbox_publisher_register(conf, "mybus", &module, NULL), OUTBOX_OK);
}

static void drop(void)
{
    outbox_target__free(target);
    outbox_error_free(err);
    outbox_conf_free(conf);
}

TestSuite(target, .init = make, .fini = drop);

static int open_url(const char *url)
{
    outbox_target__free(target);
    outbox_error_free(err);
    err = NULL;
    return outbox_target__new(&module, url, conf, &target, &err);
}

static void set(const char *key, const char *value)
{
    cr_assert_eq(outbox_conf_set(conf, key, value, NULL), OUTBOX_OK, "%s", key);
}

static void expect_error(const char *url, int status, const char *name, const char *says)
{
    int rc = open_url(url);

    cr_expect_eq(rc, status, "%s: %s", url, outbox_status_name(rc));
    cr_expect_null(target);
    cr_expect_str_eq(outbox_error_name(err), name);
    cr_expect_not_null(strstr(outbox_error_message(err), says), "\"%s\" is not in: %s", says, outbox_error_message(err));
    cr_expect_null(strstr(outbox_error_message(err), "s3cr3t"), "%s", outbox_error_message(err));
}

Test(target, defaults)
{
    cr_assert_eq(open_url("mybus://h:1/p"), OUTBOX_OK, "%s", outbox_error_message(err));
    cr_expect_eq(outbox_target_number(target, "mode"), 0);
    cr_expect_eq(outbox_target_number(target, "count"), 7);
    cr_expect_eq(outbox_target_number(target, "room"), 1024);
    cr_expect_eq(outbox_target_number(target, "pause"), 2000000);
    cr_expect_str_eq(outbox_target_text(target, "note"), "none");
    cr_expect_null(outbox_target_text(target, "other"));
    cr_expect_null(outbox_target_secret(target, "password"));
    cr_expect_null(outbox_target_secret(target, "user"));
    cr_expect_str_eq(outbox_target_path(target), "p");
    cr_expect(outbox_target_is(target, "mybus"));
    cr_expect_null(outbox_target_extra(target, NULL));
}

Test(target, settings_and_query)
{
    set("mybus.count", "3");
    cr_assert_eq(open_url("mybus://h?mode=fast&pause=5ms"), OUTBOX_OK, "%s", outbox_error_message(err));
    cr_expect_eq(outbox_target_number(target, "mode"), 1);
    cr_expect_eq(outbox_target_number(target, "count"), 3);
    cr_expect_eq(outbox_target_number(target, "pause"), 5000);
    expect_error("mybus://h?count=4", OUTBOX_ERR_INVALID, "publisher.set_twice", "mybus.count");
    expect_error("mybus://h?mode=x", OUTBOX_ERR_CONF, "conf.bad_value", "slow|fast");
    expect_error("mybus://h?password=s3cr3t", OUTBOX_ERR_INVALID, "publisher.secret_in_url", "mybus.password_file");
    expect_error("mybus://h?what=1", OUTBOX_ERR_CONF, "conf.unknown_key", "mybus.what");
    expect_error("mybus://u:s3cr3t@h:x", OUTBOX_ERR_INVALID, "publisher.bad_url", "port");
    set("mybus.count", "11");
    expect_error("mybus://h", OUTBOX_ERR_CONF, "conf.bad_value", "1 to 10");
}

Test(target, extra_settings)
{
    size_t count;
    const outbox_header *extra;

    set("mybus.linger.ms", "5");
    set("mybus.count", "5");
    expect_error("mybus://h", OUTBOX_ERR_CONF, "conf.unknown_key", "mybus.linger.ms");
    module.flags = OUTBOX_MODULE_EXTRA_SETTINGS;
    cr_assert_eq(open_url("mybus://h"), OUTBOX_OK, "%s", outbox_error_message(err));
    extra = outbox_target_extra(target, &count);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(extra[0].name, "linger.ms");
    cr_expect_str_eq(extra[0].value, "5");
}

Test(target, conf_takes_the_prefix_of_a_publisher_only)
{
    static const char *const good[] = { "mybus.x", "redis.anything", "kafka.linger.ms", "amqp1.x" };
    static const char *const bad[] = { "mybusx.x", "mybu.x", "mybus.", "mybus", ".x", "redi.x", "rediss.x", "reley.x" };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_expect_eq(outbox_conf_set(conf, good[i], "v", NULL), OUTBOX_OK, "%s", good[i]);
        cr_expect_str_eq(outbox_conf_get(conf, good[i]), "v");
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(outbox_conf_set(conf, bad[i], "v", NULL), OUTBOX_ERR_CONF, "%s", bad[i]);
    cr_expect_eq(outbox_conf_set(conf, "mybus.password", "s3cr3t\n", &err), OUTBOX_ERR_CONF);
    cr_expect_null(strstr(outbox_error_message(err), "s3cr3t"), "%s", outbox_error_message(err));
}

Test(target, secrets)
{
    char path[] = "/tmp/outbox-unit-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");

    fputs("from file\n", file);
    fclose(file);
    cr_assert_eq(open_url("mybus://u:from%20url@h"), OUTBOX_OK);
    cr_expect_str_eq(outbox_target_secret(target, "password"), "from url");
    cr_expect_str_eq(outbox_target_secret(target, "user"), "u");
    setenv("OUTBOX_MYBUS_PASSWORD", "from environment", 1);
    setenv("OUTBOX_MYBUS_USER", "eve", 1);
    setenv("OUTBOX_MYBUS_TLS_KEY_PASSWORD", "key", 1);
    cr_assert_eq(open_url("mybus://u:from%20url@h"), OUTBOX_OK);
    cr_expect_str_eq(outbox_target_secret(target, "password"), "from environment");
    cr_expect_str_eq(outbox_target_secret(target, "user"), "eve");
    cr_expect_str_eq(outbox_target_secret(target, "tls.key_password"), "key");
    set("mybus.password_file", path);
    set("mybus.user", "bob");
    cr_assert_eq(open_url("mybus://u:from%20url@h"), OUTBOX_OK, "%s", outbox_error_message(err));
    cr_expect_str_eq(outbox_target_secret(target, "password"), "from file");
    cr_expect_str_eq(outbox_target_secret(target, "user"), "bob");
    set("mybus.password", "s3cr3t");
    expect_error("mybus://h", OUTBOX_ERR_CONF, "publisher.secret_twice", "mybus.password_file");
    set("mybus.password_file", "/nonexistent");
    set("mybus.password", "");
    expect_error("mybus://h", OUTBOX_ERR_SYSTEM, "publisher.secret_file", "/nonexistent");
    cr_expect_eq(truncate(path, 0), 0);
    set("mybus.password_file", path);
    expect_error("mybus://h", OUTBOX_ERR_CONF, "publisher.secret_file", "one line");
    cr_expect_eq(truncate(path, 70000), 0);
    expect_error("mybus://h", OUTBOX_ERR_CONF, "publisher.secret_file", "one line");
    unlink(path);
}

Test(target, any_scheme_has_settings)
{
    outbox_publisher_module other = module;

    other.name = "my+bus-v.2";
    cr_assert_eq(outbox_publisher_register(conf, "my+bus-v.2", &other, NULL), OUTBOX_OK);
    cr_expect_eq(outbox_conf_set(conf, "my+bus-v.2.tls.key_password", "s", &err), OUTBOX_OK, "%s", outbox_error_message(err));
    cr_expect_eq(outbox_conf_set(conf, "my+bus-v.count", "3", NULL), OUTBOX_ERR_CONF);
    cr_expect_eq(outbox_conf_set(conf, "my+bus-v.2.co+unt", "3", NULL), OUTBOX_ERR_CONF);
    set("my+bus-v.2.count", "3");
    /* One whose name is the beginning of another's does not get what is the other's. */
    module.name = "my+bus-v";
    cr_assert_eq(outbox_publisher_register(conf, "my+bus-v", &module, NULL), OUTBOX_OK);
    cr_assert_eq(outbox_target__new(&module, "my+bus-v://h", conf, &target, &err), OUTBOX_OK, "%s", outbox_error_message(err));
    outbox_target__free(target);
    cr_assert_eq(outbox_target__new(&other, "my+bus-v.2://h", conf, &target, &err), OUTBOX_OK, "%s", outbox_error_message(err));
    cr_expect_eq(outbox_target_number(target, "count"), 3);
}

Test(target, registering)
{
    outbox_publisher_module bad = module;
    outbox_publisher *publisher = NULL;
    outbox_conf *copy = NULL;
    static const char *const schemes[] = { "", "My", "a b", "a:", "abcdefghijklmnopqrstuvwxyzabcdefg" };

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        cr_expect_eq(outbox_publisher_register(conf, schemes[i], &module, NULL), OUTBOX_ERR_INVALID, "\"%s\"", schemes[i]);
    bad.abi++;
    cr_expect_eq(outbox_publisher_register(conf, "x", &bad, NULL), OUTBOX_ERR_INVALID);
    cr_expect_eq(outbox_publisher_register(conf, "x", NULL, NULL), OUTBOX_ERR_INVALID);
    cr_expect_eq(outbox_publisher_open("mybus://h", conf, &publisher, &err), OUTBOX_ERR_INVALID);
    cr_expect_str_eq(outbox_error_name(err), "test.nothing");
    cr_expect_eq(outbox_publisher_open("mybus://h", NULL, &publisher, NULL), OUTBOX_ERR_UNSUPPORTED);
    set("mybus.count", "3");
    cr_assert_eq(outbox_conf__copy(conf, &copy, NULL), OUTBOX_OK);
    cr_expect_str_eq(outbox_conf_get(copy, "mybus.count"), "3");
    cr_expect_eq(outbox_publisher_open("mybus://h", copy, &publisher, NULL), OUTBOX_ERR_INVALID, "it is not copied");
    outbox_conf_free(copy);
}
