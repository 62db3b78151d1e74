# SPDX-License-Identifier: LGPL-2.1-or-later
# The table of drivers: a new one is one line here, its file, and its folder of migrations. configure makes of it table.h
# and the list of migrations (m4/outbox_drivers.m4). All are built in: they need nothing but ODBC. `auto` takes the first
# that knows the database, and generic, which stands last, what nobody knows.
driver_sources = \
	%D%/postgresql.c \
	%D%/sqlite.c \
	%D%/mariadb.c \
	%D%/firebird.c \
	%D%/sqlserver.c \
	%D%/oracle.c \
	%D%/db2.c \
	%D%/generic.c

lib_liboutbox_core_la_SOURCES += $(driver_sources) \
	%D%/conninfo.c \
	%D%/driver.c \
	%D%/probes.c \
	%D%/relatives.c

# Internal headers: only listed so that they are in the tarball.
lib_liboutbox_core_la_SOURCES += \
	%D%/conninfo.h \
	%D%/driver.h \
	%D%/probes.h \
	%D%/relatives.h

# Wake-up modules that need a client library of their own are loadable (module_ldflags: lib/local.mk).
if WITH_LIBPQ
outboxmodule_LTLIBRARIES += %D%/outbox-wake-postgresql.la
%C%_outbox_wake_postgresql_la_SOURCES = %D%/wake_postgresql.c
%C%_outbox_wake_postgresql_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_outbox_wake_postgresql_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_wake_postgresql_la_LIBADD = lib/liboutbox.la $(LIBPQ_LIBS)
endif
