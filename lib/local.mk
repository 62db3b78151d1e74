# SPDX-License-Identifier: LGPL-2.1-or-later
# The library. Everything is compiled once, into an internal library that feeds both the
# installed one and the tests, which so reach what the installed one hides.

noinst_LTLIBRARIES += %D%/liboutbox-core.la
%C%_liboutbox_core_la_SOURCES = \
	%D%/admin.c \
	%D%/buffer.c \
	%D%/cleaner.c \
	%D%/idle.c \
	%D%/module.c \
	%D%/wake_file.c \
	%D%/wake_socket.c \
	%D%/watch.c \
	%D%/waker.c \
	%D%/names.c \
	%D%/publish.c \
	%D%/statement.c \
	%D%/stranded.c \
	%D%/thread.c \
	%D%/trouble.c \
	%D%/worker.c \
	%D%/admin_change.c \
	%D%/arena.c \
	%D%/audit.c \
	%D%/backlog.c \
	%D%/backoff.c \
	%D%/base64.c \
	%D%/batch.c \
	%D%/breaker.c \
	%D%/broker_url.c \
	%D%/claim.c \
	%D%/gather.c %D%/gather.h \
	%D%/clean.c \
	%D%/codec.c \
	%D%/conf.c \
	%D%/conn.c \
	%D%/connstr.c \
	%D%/delivery.c \
	%D%/doctor.c \
	%D%/doctor_error.c \
	%D%/doctor_look.c \
	%D%/doctor_publisher.c \
	%D%/doctor_rights.c \
	%D%/dsn.c \
	%D%/enqueue.c %D%/enqueue_internal.h \
	%D%/enqueue_arrays.c \
	%D%/envelope.c \
	%D%/error.c \
	%D%/json.c \
	%D%/json_parse.c \
	%D%/histogram.c \
	%D%/keys.c \
	%D%/lane.c \
	%D%/log.c \
	%D%/metrics.c \
	%D%/metrics_health.c \
	%D%/metrics_table.c \
	%D%/metrics_text.c \
	%D%/migrate.c \
	%D%/odbc.c \
	%D%/odbc_fetch.c %D%/odbc_internal.h \
	%D%/odbc_profile.c \
	%D%/publisher.c \
	%D%/packed.c \
	%D%/peek.c \
	%D%/read.c \
	%D%/read_packed.c \
	%D%/record.c \
	%D%/keeper.c \
	%D%/relay.c \
	%D%/restore.c \
	%D%/secrets.c \
	%D%/settle.c \
	%D%/sqltext.c \
	%D%/target.c \
	%D%/text.c \
	%D%/timetext.c \
	%D%/topic_map.c \
	%D%/translate.c \
	%D%/uuid.c \
	%D%/version.c
# drivers/, publishers/ and migrations/ add theirs in their own local.mk.
nodist_%C%_liboutbox_core_la_SOURCES =
%C%_liboutbox_core_la_LIBADD = $(ODBC_LIBS) $(ODBCINST_LIBS) $(JANSSON_LIBS) $(MD_LIBS)

# Internal headers: only listed so that they are in the tarball.
%C%_liboutbox_core_la_SOURCES += \
	%D%/admin_internal.h \
	%D%/batch_internal.h \
	%D%/breaker.h \
	%D%/broker_url.h \
	%D%/buffer.h \
	%D%/clean.h \
	%D%/conn_internal.h \
	%D%/delivery.h \
	%D%/doctor.h \
	%D%/idle.h \
	%D%/module.h \
	%D%/waker.h \
	%D%/odbc.h \
	%D%/packed.h \
	%D%/record.h \
	%D%/relay_internal.h \
	%D%/sqltext.h \
	%D%/sized.h \
	%D%/target.h \
	%D%/topic_map.h \
	%D%/translate.h \
	%D%/thread.h \
	%D%/trouble.h \
	%D%/arena.h \
	%D%/ascii.h \
	%D%/backoff.h \
	%D%/base64.h \
	%D%/conf_internal.h \
	%D%/conf_table.h \
	%D%/connstr.h \
	%D%/dsn.h \
	%D%/environment.h \
	%D%/error_internal.h \
	%D%/json.h \
	%D%/backlog.h \
	%D%/histogram.h \
	%D%/metrics_internal.h \
	%D%/keys.h \
	%D%/lane.h \
	%D%/log.h \
	%D%/migrate_data.h \
	%D%/secrets.h \
	%D%/text.h \
	%D%/timetext.h \
	%D%/usdt.h \
	%D%/uuid.h

lib_LTLIBRARIES += %D%/liboutbox.la
%C%_liboutbox_la_SOURCES =
%C%_liboutbox_la_LIBADD = %D%/liboutbox-core.la
%C%_liboutbox_la_LDFLAGS = $(AM_LDFLAGS) $(NO_UNDEFINED) $(PACKED_RELOCATIONS) -no-undefined \
	-version-info $(LT_CURRENT):$(LT_REVISION):$(LT_AGE)
EXTRA_%C%_liboutbox_la_DEPENDENCIES = %D%/outbox.map
if HAVE_VERSION_SCRIPT
%C%_liboutbox_la_LDFLAGS += -Wl,--version-script=$(srcdir)/%D%/outbox.map
else
%C%_liboutbox_la_LDFLAGS += -export-symbols-regex '^outbox_'
endif
EXTRA_DIST += %D%/outbox.map

# No lib prefix and no version: a module is opened by name from one folder. Its one visible
# symbol is its entry point, marked as such in the source.
module_ldflags = -module -avoid-version -shared $(NO_UNDEFINED)

# Public headers. tests/installed.sh compiles each one alone, in C and in C++.
outboxinclude_HEADERS = \
	%D%/include/outbox/admin.h \
	%D%/include/outbox/conf.h \
	%D%/include/outbox/conn.h \
	%D%/include/outbox/consumer.h \
	%D%/include/outbox/doctor.h \
	%D%/include/outbox/error.h \
	%D%/include/outbox/message.h \
	%D%/include/outbox/metrics.h \
	%D%/include/outbox/outbox.h \
	%D%/include/outbox/publisher.h \
	%D%/include/outbox/relay.h \
	%D%/include/outbox/types.h
nodist_outboxinclude_HEADERS = %D%/include/outbox/version.h

# What only writers of drivers and publishers need.
outboxsysincludedir = $(outboxincludedir)/sys
outboxsysinclude_HEADERS = \
	%D%/include/outbox/sys/publisher.h \
	%D%/include/outbox/sys/wake.h

pkgconfig_DATA = %D%/outbox.pc
