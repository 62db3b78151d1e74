/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/sys/publisher.h
 * The contract of publishers that are opened by URL, for those who write one.
 * Programs that only send by them do not need it. It is what the loadable modules of liboutbox are written against; a
 * program can bring a scheme of its own the same way (outbox_publisher_register()).
 *
 * A loadable module is a file outbox-publisher-NAME.so in the module folder, with one visible symbol, the function
 * outbox_publisher_NAME of the type outbox_publisher_entry ("_" stands there for a "+", "-" or "." in NAME). It opens URLs
 * of the scheme NAME, up to 32 lower case letters, digits, "+", "-" and ".", and is looked for when such a URL, or a
 * setting "NAME.…", is met: nothing has to be registered. The guide publishers.md shows a whole one.
 *
 * Three objects help: an outbox_target is where to publish, that is the URL and the settings; an outbox_envelope is one
 * message as the broker gets it; an outbox_delivery (outbox/publisher.h) is what the relay wants to have sent.
 *
 * How to send fast and in order: set OUTBOX_PUBLISHER_IN_ORDER, and send what outbox_delivery_ready() gives, without
 * waiting in between, until it has nothing more; each answer may make further ones ready. So many messages are on their
 * way at once, but of one topic and key only one, and one that fails holds back those behind it, whatever the broker does
 * with them. Where a broker refuses all that comes behind a refused message, or where the client library keeps order by
 * itself through failures (an idempotent producer of Kafka), send all at once by outbox_delivery_message() instead: many
 * messages of one key are faster so. Without the flag the relay sends in waves that have no key twice, and waits for the
 * slowest of each wave: that is correct and simple, and slower.
 *
 * @threads Functions of a target: any. An envelope: one thread at a time.
 */
#ifndef OUTBOX_SYS_PUBLISHER_H
#define OUTBOX_SYS_PUBLISHER_H

#include <outbox/conf.h>
#include <outbox/error.h>
#include <outbox/message.h>
#include <outbox/publisher.h>

OUTBOX_BEGIN_DECLS

/** The version of this contract; a module with another one is not used. Since 0.1. */
#define OUTBOX_PUBLISHER_MODULE_ABI 1

/** What is after a "?" in the URL belongs to the broker; else it sets settings: "?mode=pubsub" is NAME.mode. Since 0.1. */
#define OUTBOX_MODULE_OWN_QUERY 1u
/** Settings that are not in the table are kept: see outbox_target_extra(). Without it they are errors. Since 0.1. */
#define OUTBOX_MODULE_EXTRA_SETTINGS 2u

/** What a setting of a module takes. Since 0.1. */
typedef enum outbox_setting_type {
    OUTBOX_SETTING_INTEGER = 0,  /**< min to max */
    OUTBOX_SETTING_SIZE = 1,     /**< bytes, min to max, with or without a unit */
    OUTBOX_SETTING_DURATION = 2, /**< microseconds, min to max, with a unit */
    OUTBOX_SETTING_CHOICE = 3,   /**< one of choices */
    OUTBOX_SETTING_TEXT = 4,     /**< up to max bytes of UTF-8 without control characters */
    OUTBOX_SETTING_SECRET = 5    /**< a text that no error shows; KEY_file and the environment give it, too */
} outbox_setting_type;

/** A setting of a module. Since 0.1. */
typedef struct outbox_setting {
    const char *key;          /**< without the prefix: "mode" for redis.mode; NULL ends a table */
    outbox_setting_type type; /**< what it takes */
    const char *def;          /**< the default */
    int64_t min;              /**< in microseconds for durations */
    int64_t max;              /**< alike */
    const char *choices;      /**< "a|b|c", or NULL */
    const char *help;         /**< one or two sentences */
} outbox_setting;

/** The settings of TLS, alike in all modules: rows for a table of settings. Since 0.1. */
#define OUTBOX_SETTINGS_TLS                                                                                            \
    { "tls.ca_file", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL,                                                           \
      "File of certificates that may sign the server's; empty: those of the system." },                                \
    { "tls.cert_file", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL, "File of the client's certificate, with its chain." },  \
    { "tls.key_file", OUTBOX_SETTING_TEXT, "", 0, 4096, NULL, "File of the client's private key." },                   \
    { "tls.key_password", OUTBOX_SETTING_SECRET, "", 0, 4096, NULL, "Password of the private key." },                  \
    { "tls.server_name", OUTBOX_SETTING_TEXT, "", 0, 255, NULL,                                                        \
      "Name that the server's certificate must have; empty: that of the URL." },                                       \
    { "tls.verify", OUTBOX_SETTING_CHOICE, "on", 0, 0, "on|off",                                                       \
      "Whether the server must prove who it is. off is for trying things out only." }

typedef struct outbox_target outbox_target;     /**< where to publish. Since 0.1. */
typedef struct outbox_envelope outbox_envelope; /**< a message as the broker gets it. Since 0.1. */

/** A publisher that is opened by URL. New members are added at the end only. Since 0.1. */
typedef struct outbox_publisher_module {
    size_t size;                    /**< sizeof(outbox_publisher_module) */
    uint32_t abi;                   /**< OUTBOX_PUBLISHER_MODULE_ABI */
    uint32_t flags;                 /**< OUTBOX_MODULE_… or 0 */
    const char *name;               /**< "redis": its settings begin with "redis." */
    const outbox_setting *settings; /**< ends with one without a key; or NULL */
    /**
     * Makes a publisher. Checks the settings, but need not connect: a broker that is down is no error here.
     *
     * target: valid until the publisher's close has returned. ops and self: what outbox_publisher_new() takes.
     * Returns OUTBOX_OK; OUTBOX_ERR_INVALID or OUTBOX_ERR_CONF with a text that says what to change; OUTBOX_ERR_NOMEM.
     */
    int (*open)(const outbox_target *target, const outbox_publisher_ops **ops, void **self, outbox_error **err);
} outbox_publisher_module;

/** The entry of a loadable module. @return what it is: static, never NULL. Since 0.1. */
typedef const outbox_publisher_module *(*outbox_publisher_entry)(void);

/**
 * Lets a program open URLs of a scheme by functions of its own; goes before a loadable module of that scheme. From then
 * on the conf takes settings with the module's prefix.
 *
 * @param[in,out] conf    settings, which are then handed to outbox_publisher_open(), and copied with this
 * @param[in]     scheme  "mybus" for "mybus://…": lower case letters, digits, "+", "-", "."; static, as is module
 * @param[in]     module  what opens it
 * @param[out]    err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_publisher_register(outbox_conf *conf, const char *scheme, const outbox_publisher_module *module,
                                         outbox_error **err);

/**
 * @page outbox_target
 * Where a publisher sends: its URL and its settings.
 * scheme://user@host:port,host:port/path?query, with %XX where a character would mean something else. All texts are
 * valid until the publisher's close has returned.
 *
 * @threads Any, several at once.
 */

/** A host of the URL. Since 0.1. */
typedef struct outbox_endpoint {
    const char *host; /**< without the brackets of an IPv6 address; "" when there is only a port */
    int port;         /**< 0: not given */
} outbox_endpoint;

/** The URL's scheme. @param[in] t  a target @return lower case, without the colon. Since 0.1. */
OUTBOX_API const char *outbox_target_scheme(const outbox_target *t);
/** The URL without a password and query: for logs and errors. @param[in] t  a target @return UTF-8. Since 0.1. */
OUTBOX_API const char *outbox_target_shown(const outbox_target *t);
/** The URL as it was given, with its query, without user and password. @param[in] t  a target @return text. Since 0.1. */
OUTBOX_API const char *outbox_target_url(const outbox_target *t);
/** The URL's hosts. @param[in] t  a target @param[out] count  how many, at least 1 @return the first. Since 0.1. */
OUTBOX_API const outbox_endpoint *outbox_target_endpoints(const outbox_target *t, size_t *count);
/** The URL's path without its first slash. @param[in] t  a target @return decoded; "" when there is none. Since 0.1. */
OUTBOX_API const char *outbox_target_path(const outbox_target *t);
/** Whether the URL's scheme is that. @param[in] t  a target @param[in] scheme  one @return 1 or 0. Since 0.1. */
OUTBOX_API int outbox_target_is(const outbox_target *t, const char *scheme);

/**
 * A setting of the module's table, as a number.
 *
 * @param[in] t    a target
 * @param[in] key  of the table, without the prefix
 * @return the integer, bytes, microseconds, or the index of the choice; 0 for what is none of these. Since 0.1.
 */
OUTBOX_API int64_t outbox_target_number(const outbox_target *t, const char *key);

/**
 * A setting of the module's table, as text.
 *
 * @param[in] t    a target
 * @param[in] key  of the table, without the prefix
 * @return what was set, or the default; NULL when the table has no such key. Since 0.1.
 */
OUTBOX_API const char *outbox_target_text(const outbox_target *t, const char *key);

/**
 * A secret: the setting NAME.KEY, else what the file says that the setting NAME.KEY_file names, else the variable
 * OUTBOX_NAME_KEY of the environment (in capitals, "_" for what is no letter or digit), else, for "user" and "password",
 * what the URL has. All are read when the publisher is opened, and a file that cannot be read is an error then.
 * The user's name is not secret, and yet found so.
 *
 * @param[in] t    a target
 * @param[in] key  "user", or a secret of the table
 * @return the secret; NULL when there is none. Wiped when the publisher was closed. Since 0.1.
 */
OUTBOX_API const char *outbox_target_secret(const outbox_target *t, const char *key);

/**
 * Settings with the module's prefix that are not in its table, and are for the client library.
 *
 * @param[in]  t      a target of a module with OUTBOX_MODULE_EXTRA_SETTINGS
 * @param[out] count  how many
 * @return names without the prefix, and values; NULL when there are none. Since 0.1.
 */
OUTBOX_API const outbox_header *outbox_target_extra(const outbox_target *t, size_t *count);

/**
 * Writes a line to the log of the conf.
 *
 * @param[in] t       a target
 * @param[in] level   how much it matters
 * @param[in] format  as printf() takes it; the line gets no control characters. Since 0.1.
 */
OUTBOX_API void outbox_target_log(const outbox_target *t, outbox_log_level level, const char *format, ...);

/**
 * Makes an error by a format, as outbox_error_new() does of a text.
 *
 * @param[out] err     receives the error; NULL: nothing is made
 * @param[in]  status  a negative status
 * @param[in]  name    a stable name, such as "publisher.redis_url"; copied
 * @param[in]  format  as printf() takes it; without secrets. The library's own modules find it translated.
 * @return status
 * @threads Any. Since 0.1.
 */
OUTBOX_API int outbox_error_format(outbox_error **err, int status, const char *name, const char *format, ...);

/**
 * @page outbox_envelope
 * One message as the broker gets it: topic, payload, and names with values beside it.
 * An envelope is made once and filled for each message; its memory is used again. What it hands out is valid until it is
 * filled the next time, or until its record goes.
 *
 * @threads One at a time for each envelope.
 */

/** What an entry is. Since 0.1. */
typedef enum outbox_meta_kind {
    OUTBOX_META_ID = 0,           /**< "outbox-id": the same whenever the message is sent again */
    OUTBOX_META_CONTENT_TYPE = 1, /**< "content-type", without the prefix */
    OUTBOX_META_TYPE = 2,         /**< "outbox-type": the message type */
    OUTBOX_META_KEY = 3,          /**< "outbox-key": the partition key */
    OUTBOX_META_CREATED_AT = 4,   /**< "outbox-created-at": RFC 3339, UTC */
    OUTBOX_META_TOKEN = 5,        /**< "outbox-token": lane, ":" and the lane's token, which grows with each claim */
    OUTBOX_META_ATTEMPT = 6,      /**< "outbox-attempt": 1, 2, … */
    OUTBOX_META_CLOUDEVENT = 7,   /**< an attribute of CloudEvents */
    OUTBOX_META_HEADER = 8        /**< a header of the message's own; traceparent and tracestate are such */
} outbox_meta_kind;

/** The bit of a kind, for outbox_envelope_style.native. Since 0.1. */
#define OUTBOX_META_BIT(kind) (1u << (kind))

/** Names and values must suit HTTP: names are tokens, and CloudEvents are percent-encoded. Since 0.1. */
#define OUTBOX_STYLE_HTTP 1u

/** A name with its value; both end with a NUL, which is not counted. Since 0.1. */
typedef struct outbox_meta {
    outbox_meta_kind kind; /**< what it is */
    const char *name;      /**< as the broker gets it, with prefix */
    size_t name_size;      /**< bytes */
    const char *value;     /**< UTF-8 without control characters */
    size_t value_size;     /**< bytes */
} outbox_meta;

/** How a broker wants names. Since 0.1. */
typedef struct outbox_envelope_style {
    size_t size;             /**< sizeof(outbox_envelope_style) */
    uint32_t flags;          /**< OUTBOX_STYLE_… or 0 */
    uint32_t native;         /**< bits of kinds that are left out, because the broker has a place of its own for them */
    const char *cloudevents; /**< prefix of attributes: "ce-", "ce_", "cloudEvents:", "" */
} outbox_envelope_style;

/**
 * Makes an envelope by the settings topic.map, cloudevents and cloudevents.source.
 *
 * @param[in]  target    where to publish; must outlive the envelope
 * @param[in]  style     copied
 * @param[out] envelope  free it with outbox_envelope_free()
 * @param[out] err       why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_CONF (topic.map cannot be read), OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_envelope_new(const outbox_target *target, const outbox_envelope_style *style,
                                   outbox_envelope **envelope, outbox_error **err);

/**
 * Puts a message in.
 *
 * @param[in,out] e       an envelope
 * @param[in]     record  must live as long as what the envelope hands out is used
 * @param[out]    why     why not; valid until the next call
 * @return OUTBOX_OK; OUTBOX_ERR_INVALID: no broker should get it (control characters in a header), answer it with
 *         OUTBOX_REJECT; OUTBOX_ERR_NOMEM: answer it with OUTBOX_RETRY. Since 0.1.
 */
OUTBOX_API int outbox_envelope_fill(outbox_envelope *e, const outbox_record *record, const char **why);

/** The topic after mapping. @param[in] e  an envelope @return UTF-8 without control characters. Since 0.1. */
OUTBOX_API const char *outbox_envelope_topic(const outbox_envelope *e);
/** The entries. @param[in] e  an envelope @param[out] count  how many @return the first. Since 0.1. */
OUTBOX_API const outbox_meta *outbox_envelope_metas(const outbox_envelope *e, size_t *count);
/** The value of the first entry of a kind. @param[in] e  an envelope @param[in] kind  also a native one
 * @return UTF-8, or NULL. Since 0.1. */
OUTBOX_API const char *outbox_envelope_value(const outbox_envelope *e, outbox_meta_kind kind);
/** The payload, or the event in JSON in structured mode. @param[in] e  an envelope @param[out] size  bytes
 * @return never NULL. Since 0.1. */
OUTBOX_API const void *outbox_envelope_payload(const outbox_envelope *e, size_t *size);
/** Frees it. @param[in] e  or NULL. Since 0.1. */
OUTBOX_API void outbox_envelope_free(outbox_envelope *e);

OUTBOX_END_DECLS

#endif
