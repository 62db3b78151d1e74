# SPDX-License-Identifier: LGPL-2.1-or-later
# One file a dialect, all built in: they need nothing but ODBC.

driver_sources = \
	%D%/conninfo.c \
	%D%/db2.c \
	%D%/driver.c \
	%D%/firebird.c \
	%D%/generic.c \
	%D%/mariadb.c \
	%D%/oracle.c \
	%D%/postgresql.c \
	%D%/probes.c \
	%D%/relatives.c \
	%D%/sqlite.c \
	%D%/sqlserver.c
lib_liboutbox_core_la_SOURCES += $(driver_sources)

# Internal headers: only listed so that they are in the tarball.
lib_liboutbox_core_la_SOURCES += \
	%D%/conninfo.h \
	%D%/driver.h \
	%D%/probes.h \
	%D%/relatives.h \
	%D%/table.h

# Wake-up modules that need a client library of their own are loadable (module_ldflags: lib/local.mk).
if WITH_LIBPQ
outboxmodule_LTLIBRARIES += %D%/outbox-wake-postgresql.la
%C%_outbox_wake_postgresql_la_SOURCES = %D%/wake_postgresql.c
%C%_outbox_wake_postgresql_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_outbox_wake_postgresql_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_wake_postgresql_la_LIBADD = lib/liboutbox.la $(LIBPQ_LIBS)
endif
