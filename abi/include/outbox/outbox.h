/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * @file outbox/outbox.h
 * The transactional outbox for every database with an ODBC driver: everything an application needs.
 */
#ifndef OUTBOX_OUTBOX_H
#define OUTBOX_OUTBOX_H

#include <outbox/types.h>
#include <outbox/version.h>
#include <outbox/error.h>
#include <outbox/conf.h>
#include <outbox/conn.h>
#include <outbox/message.h>
#include <outbox/publisher.h>
#include <outbox/consumer.h>
#include <outbox/relay.h>
#include <outbox/admin.h>
#include <outbox/doctor.h>
#include <outbox/metrics.h>

#endif
