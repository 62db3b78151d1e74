/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In programs that speak other languages: messages are theirs, names and what programs read are not, and keywords are
 * keywords. The locales are made here, in a folder of their own.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connstr.h"
#include "error_internal.h"
#include "lib-test.h"
#include "log.h"
#include "secrets.h"
#include "translate.h"

static char folder[] = "/tmp/outbox-locale.XXXXXX";

/* Whether a locale could be made, and is the program's now. */
static int speak(const char *name, const char *source, const char *charset)
{
    char command[400];

    snprintf(command, sizeof(command), "localedef -i %s -f %s %s/%s >/dev/null 2>&1", source, charset, folder, name);
    if (system(command) != 0)
        return 0;
    return setlocale(LC_ALL, name) != NULL;
}

static int is(const char *text, const char *key)
{
    struct outbox_connstr_part part;

    return outbox_connstr__next(&text, &part) && outbox_connstr__is(&part, key);
}

/* (The driver manager is another matter: it looks for "DRIVER" as the program's locale has it.) */
static void keywords(void)
{
    CHECK(is("DRIVER={SQLite3}", "driver") && is("driver={SQLite3}", "DRIVER") && is("uid=a", "UID"),
          "an i is no I in a connection string");
    CHECK(!is("drıver=x", "driver"), "a dotless i is an i");
}

/* What drivers say is told apart by its words, in English. */
static void connecting(void)
{
    static const char text[] = "Driver={None such};UID=a;PWD=s3cr3t";
    outbox_error *err = NULL;
    outbox_conn *conn = NULL;

    CHECK_INT(outbox_conn_open(text, NULL, &conn, &err), OUTBOX_ERR_CONNECT);
    CHECK_STR(outbox_error_name(err), "database.no_driver");
    CHECK(strstr(outbox_error_message(err), "s3cr3t") == NULL, "a password in: %s", outbox_error_message(err));
    outbox_error_free(err);
}

static void unknown_setting(const char *wanted)
{
    outbox_error *err = NULL;
    outbox_conf *conf = NULL;

    REQUIRE_INT(outbox_conf_new(&conf, &err), OUTBOX_OK);
    CHECK_INT(outbox_conf_set(conf, "relay.wrkers", "4", &err), OUTBOX_ERR_CONF);
    CHECK_STR(outbox_error_name(err), "conf.unknown_key");
    CHECK_STR(outbox_error_message(err), wanted);
    outbox_error_free(err);
    outbox_conf_free(conf);
}

#define ENGLISH "there is no setting \"relay.wrkers\"; outbox.conf(5) and `outboxctl settings` list them"
#define GERMAN "die Einstellung \"relay.wrkers\" gibt es nicht; outbox.conf(5) und `outboxctl settings` zeigen alle"

/* What the caller says is said as it is, also where it is in the catalogue; and nothing is not what a catalogue says of itself. */
static void own_words(void)
{
    outbox_error *err = NULL;

    outbox_error_new(&err, OUTBOX_ERR_STATE, "shop.closed", "out of memory");
    CHECK_STR(outbox_error_message(err), "out of memory");
    outbox_error_free(err);
    err = NULL;
    outbox_error_new(&err, OUTBOX_ERR_STATE, NULL, "");
    CHECK_STR(outbox_error_message(err), "");
    outbox_error_free(err);
    CHECK_STR(outbox_translate(""), "");
}

static void numbers(void)
{
    char seconds[OUTBOX_LOG_SECONDS], half[16], *text = NULL;
    outbox_publisher *publisher = NULL;
    outbox_metrics *metrics = NULL;
    outbox_relay *relay = NULL;

    snprintf(half, sizeof(half), "%.1f", 0.5);
    REQUIRE(strcmp(half, "0,5") == 0, "the program's own numbers are %s", half);
    CHECK_STR(outbox_log__seconds(1500000, seconds), "1.5 s");
    CHECK_STR(outbox_log__seconds(INT64_C(119900000), seconds), "119 s");
    CHECK_STR(outbox_log__seconds(INT64_C(150000000), seconds), "2 m 30 s");
    CHECK_STR(outbox_log__seconds(INT64_C(3600000000), seconds), "1 h");
    CHECK_STR(outbox_log__seconds(INT64_C(183599000000), seconds), "2 d 2 h");
    if (CHECK(outbox_publisher_open("null:", NULL, &publisher, NULL) == OUTBOX_OK &&
                  outbox_relay_new("none", NULL, publisher, NULL, &relay, NULL) == OUTBOX_OK &&
                  outbox_metrics_new(&metrics, NULL) == OUTBOX_OK &&
                  outbox_metrics_add(metrics, "shop", relay, NULL) == OUTBOX_OK, "no relay")) {
        outbox_metrics_get(metrics, OUTBOX_METRICS_TEXT, &text, NULL);
        CHECK(text != NULL && strstr(text, "le=\"0.0025\"") != NULL, "metrics are %s", text != NULL ? text : "none");
        outbox_free(text);
        text = NULL;
        outbox_metrics_get(metrics, OUTBOX_METRICS_JSON, &text, NULL);
        CHECK(text != NULL && strstr(text, "\"le\":0.0025,") != NULL, "metrics are %s", text != NULL ? text : "none");
        outbox_free(text);
    }
    outbox_metrics_free(metrics);
    outbox_relay_free(relay);
    outbox_publisher_free(publisher);
}

static void english_of_others(void)
{
    locale_t before = outbox_translate__pause();

    CHECK_STR(outbox_translate("out of memory"), "out of memory");
    outbox_translate__resume(before);
    CHECK_STR(outbox_translate("out of memory"), "kein Speicher mehr");
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE, "the thread has another locale than before");
}

int main(void)
{
    const char *builddir = getenv("OUTBOX_BUILDDIR");
    char catalogues[1000], command[100];

    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(catalogues, sizeof(catalogues), "%s/po", builddir != NULL ? builddir : ".");
    setenv("OUTBOX_LOCALE_PATH", catalogues, 1);
    setenv("LOCPATH", folder, 1);
    unsetenv("LANGUAGE");

    tap_begin("a program without a locale");
    unknown_setting(ENGLISH);
    own_words();
    CHECK(outbox_translate__pause() == (locale_t)0, "a locale was made where all is English");
    tap_end();

    tap_begin("keywords in a Turkish program");
    if (speak("tr_TR.UTF-8", "tr_TR", "UTF-8"))
        keywords();
    else
        tap_skip("localedef does not make it");
    tap_end();

    tap_begin("numbers in a German program");
    if (speak("de_DE.UTF-8", "de_DE", "UTF-8"))
        numbers();
    else
        tap_skip("localedef does not make it");
    tap_end();

    tap_begin("messages in a German program");
    if (OUTBOX_WITH_NLS && setlocale(LC_ALL, "de_DE.UTF-8") != NULL) {
        unknown_setting(GERMAN);
        own_words();
        english_of_others();
        connecting();
    } else {
        tap_skip("no locale, or built without other languages");
    }
    tap_end();

    tap_begin("messages are UTF-8 where the program's locale is not");
    if (OUTBOX_WITH_NLS && speak("de_DE.ISO-8859-1", "de_DE", "ISO-8859-1"))
        CHECK_STR(outbox_translate("cannot redrive"), "erneutes Senden nicht möglich");
    else
        tap_skip("no locale, or built without other languages");
    tap_end();

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return tap_finish() | (system(command) != 0);
}
