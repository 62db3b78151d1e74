/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/doctor.h
 * Looks at a database and its outbox, and says what is wrong and how to mend it.
 * What "outboxctl doctor" does, for programs:
 *
 *     outbox_doctor_options options = OUTBOX_DOCTOR_OPTIONS_INIT;
 *
 *     options.roles = OUTBOX_ROLE_RELAY;
 *     rc = outbox_diagnose("shop", conf, &options, print, stdout, &err);
 *
 * @threads Any; it uses connections of its own.
 */
#ifndef OUTBOX_DOCTOR_H
#define OUTBOX_DOCTOR_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** How bad a finding is. Since 0.1. */
typedef enum outbox_severity {
    OUTBOX_FACT = 0,    /**< nothing is wrong: what was found out about the database */
    OUTBOX_WARNING = 1, /**< messages flow, but late, or not for long, or not all of them */
    OUTBOX_FAILURE = 2  /**< messages do not flow */
} outbox_severity;

/** For whom rights are looked at, as the guide permissions.md names them; several can be added. Since 0.1. */
typedef enum outbox_role {
    OUTBOX_ROLE_WRITER = 1, /**< enqueues */
    OUTBOX_ROLE_RELAY = 2,  /**< publishes and cleans */
    OUTBOX_ROLE_ADMIN = 4   /**< lists, redrives, discards, purges */
} outbox_role;

/** One thing that was found. Since 0.1. */
typedef struct outbox_finding {
    size_t size;              /**< sizeof(outbox_finding) of the library; members are only added at the end */
    const char *name;         /**< stable, such as "lane.stale"; that of an error when one was the reason */
    outbox_severity severity; /**< how bad it is */
    const char *text;         /**< what was found */
    const char *meaning;      /**< what follows from it, or NULL, of facts only */
    const char *advice;       /**< what to do, or NULL where the text says that */
    const char *command;      /**< a command of the shell or SQL that mends it, or tells more where only people can know what
                                   does; words in < > are for them to fill in; or NULL, of facts only */
} outbox_finding;

/** What to look at. Fields at 0 are the defaults. Since 0.1. */
typedef struct outbox_doctor_options {
    size_t size;         /**< sizeof(outbox_doctor_options) */
    unsigned roles;      /**< whose rights: outbox_role values, added; 0: all */
    int64_t patience_us; /**< what must have lasted so long before it is told, in microseconds; 0: five minutes */
    const char *publisher; /**< URL of the publisher whose broker shall be reachable, as for outbox_publisher_open(); or NULL */
} outbox_doctor_options;

/** Starts options with the defaults. Since 0.1. */
#define OUTBOX_DOCTOR_OPTIONS_INIT { sizeof(outbox_doctor_options), 0, 0, NULL }

/**
 * Receives one finding. Since 0.1.
 *
 * @param[in] user     what the call was given
 * @param[in] finding  valid during the callback
 * @return 0 to go on, anything else to stop
 * @threads Called on the thread that made the call.
 */
typedef int (*outbox_finding_fn)(void *user, const outbox_finding *finding);

/**
 * Connects, asks all that outboxctl(1) lists under "doctor", and hands over what it finds, facts first. It changes
 * nothing, and sends no message. That no connection can be made is a finding, and not an error of the call.
 *
 * @param[in]  dsn      as for outbox_conn_open()
 * @param[in]  conf     the settings of the relay, or NULL for the defaults
 * @param[in]  options  what to look at, or NULL
 * @param[in]  fn       called for each finding
 * @param[in]  user     handed to fn
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, whatever was found; OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_diagnose(const char *dsn, const outbox_conf *conf, const outbox_doctor_options *options,
                               outbox_finding_fn fn, void *user, outbox_error **err);

OUTBOX_END_DECLS

#endif
