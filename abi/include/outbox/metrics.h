/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/metrics.h
 * Snapshots of relays and their outboxes, as Prometheus or JSON takes them.
 * What relays count, and what waits in their outboxes, in the names of outbox_metrics(7). outboxd(8) serves them over
 * HTTP; a program with a server of its own hands them out there:
 *
 *     outbox_metrics *metrics = NULL;
 *     char *text = NULL;
 *
 *     rc = outbox_metrics_new(&metrics, &err);
 *     rc = outbox_metrics_add(metrics, "shop", relay, &err);
 *     rc = outbox_metrics_get(metrics, OUTBOX_METRICS_TEXT, &text, &err);
 *
 * Asking costs the relay next to nothing. What waits is counted by a thread and a connection of their own, at most once
 * every metrics.interval and not while nobody asks, at a cost that does not grow with the backlog.
 *
 * @threads Any, and several at once, but for outbox_metrics_free().
 */
#ifndef OUTBOX_METRICS_H
#define OUTBOX_METRICS_H

#include <outbox/types.h>

OUTBOX_BEGIN_DECLS

/** How metrics are written. Since 0.1. */
typedef enum outbox_metrics_form {
    OUTBOX_METRICS_TEXT = 0, /**< the text format of Prometheus, version 0.0.4 */
    OUTBOX_METRICS_JSON = 1  /**< the same as one JSON object */
} outbox_metrics_form;

/** What is asked of a relay's health. Since 0.1. */
typedef enum outbox_health {
    OUTBOX_HEALTH_LIVE = 0, /**< whether it goes on by itself; if not, only a restart of the process helps */
    OUTBOX_HEALTH_READY = 1 /**< whether messages get through now: it runs, and reaches database and broker */
} outbox_health;

/** What one metric is; see outbox_metric_describe(). Since 0.1. */
typedef struct outbox_metric_info {
    size_t size;       /**< sizeof(outbox_metric_info); set it before the call */
    const char *name;  /**< "outbox_messages"; static, as all of these */
    const char *type;  /**< "counter", "gauge" or "histogram" */
    const char *unit;  /**< "seconds", "bytes", or "" for a number of things */
    const char *label; /**< the label that it has besides `outbox`, or "" */
    const char *help;  /**< one sentence or two */
} outbox_metric_info;

/**
 * Makes an empty set of relays to tell about.
 *
 * @param[out] metrics  free it with outbox_metrics_free()
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_metrics_new(outbox_metrics **metrics, outbox_error **err);

/**
 * Adds a relay.
 *
 * @param[in] metrics  a set
 * @param[in] name     the value of the label `outbox`, another one for each relay: UTF-8, copied
 * @param[in] relay    running or not; must outlive the set, or be removed before it is freed
 * @param[out] err     why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID (no UTF-8, or the name is taken), OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_metrics_add(outbox_metrics *metrics, const char *name, outbox_relay *relay, outbox_error **err);

/**
 * Removes a relay, which may be freed then. Waits for snapshots that read it, and for the thread that counts what
 * waits in its outbox: as long as the database takes to answer, or to be given up.
 *
 * @param[in] metrics  a set
 * @param[in] name     as it was added; may be used anew
 * @return OUTBOX_OK, OUTBOX_NONE (there is none of that name), OUTBOX_ERR_INVALID. Since 0.1.
 */
OUTBOX_API int outbox_metrics_remove(outbox_metrics *metrics, const char *name);

/**
 * Takes a snapshot. When what waits has to be counted anew, it waits for that, for a second at the most; what the
 * database does not tell is left out.
 *
 * @param[in]  metrics  a set
 * @param[in]  form     how to write it
 * @param[out] text     UTF-8; free it with outbox_free()
 * @param[out] err      why not, or NULL
 * @return OUTBOX_OK, OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM, OUTBOX_ERR_SYSTEM (no thread). Since 0.1.
 */
OUTBOX_API int outbox_metrics_get(outbox_metrics *metrics, outbox_metrics_form form, char **text, outbox_error **err);

/**
 * Tells whether all is well. Never waits for a database or a broker.
 *
 * @param[in]  metrics  a set
 * @param[in]  what     what is asked
 * @param[out] reasons  "ok", or why not, a line for each reason, with the relay's name; after that, of
 *                      OUTBOX_HEALTH_READY, a line for each relay that wake-ups do not reach, and why: it polls, which
 *                      is no reason not to be ready; free it with outbox_free()
 * @param[out] err      why there is no answer, or NULL
 * @return OUTBOX_OK: all is well; OUTBOX_NONE: it is not; OUTBOX_ERR_INVALID, OUTBOX_ERR_NOMEM. Since 0.1.
 */
OUTBOX_API int outbox_metrics_health(outbox_metrics *metrics, outbox_health what, char **reasons, outbox_error **err);

/**
 * Frees a set, after its thread is done. @param[in] metrics  or NULL
 * @threads One, when no other uses it. Since 0.1.
 */
OUTBOX_API void outbox_metrics_free(outbox_metrics *metrics);

/**
 * Describes the metrics, one after the other. Those that differ in their label only come once.
 *
 * @param[in]     index  0, 1, …
 * @param[in,out] info   filled
 * @return OUTBOX_OK; OUTBOX_NONE past the last; OUTBOX_ERR_INVALID (the size is not set). Since 0.1.
 */
OUTBOX_API int outbox_metric_describe(size_t index, outbox_metric_info *info);

OUTBOX_END_DECLS

#endif
