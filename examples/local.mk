# SPDX-License-Identifier: LGPL-2.1-or-later
# The smallest correct programs. They are not built here but by tests/installed.sh, with
# nothing but pkg-config's flags against an installed library, as a user would. Only those
# that the demonstration and tests/publishers/scheme run are built, too.

example_sources = \
	%D%/borrowed.c \
	%D%/codec.c \
	%D%/first.c \
	%D%/pull.c \
	%D%/relay.c \
	%D%/scheme.c \
	%D%/shop.c
# Producers that need nothing of this library but its tables; tests/conformance/producers runs them.
example_producers = \
	%D%/enqueue.pl \
	%D%/enqueue.py \
	%D%/enqueue-mariadb.sql \
	%D%/enqueue-postgresql.sql
# The C interface from other languages; tests/conformance/languages runs them.
example_languages = \
	%D%/orders.py \
	%D%/orders.rs \
	%D%/outbox.py
# For bpftrace; tests/traced runs it.
example_traces = %D%/outbox.bt
EXTRA_DIST += $(example_sources) $(example_producers) $(example_languages) $(example_traces) %D%/demo.sh

exampledir = $(docdir)/examples
example_DATA = $(example_sources) $(example_producers) $(example_languages) $(example_traces)

noinst_PROGRAMS = %D%/shop
%C%_shop_SOURCES = %D%/shop.c
%C%_shop_LDADD = lib/liboutbox.la $(ODBC_LIBS)
noinst_PROGRAMS += %D%/scheme
%C%_scheme_SOURCES = %D%/scheme.c
%C%_scheme_LDADD = lib/liboutbox.la
# The same as a module. Nothing of it is installed, and -rpath is what makes a shared object of it all the same.
noinst_LTLIBRARIES += %D%/outbox-publisher-lines.la
%C%_outbox_publisher_lines_la_SOURCES = %D%/scheme.c
%C%_outbox_publisher_lines_la_CPPFLAGS = $(AM_CPPFLAGS) -DLINES_MODULE
%C%_outbox_publisher_lines_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags) -rpath $(outboxmoduledir)
%C%_outbox_publisher_lines_la_LIBADD = lib/liboutbox.la
