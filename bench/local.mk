# SPDX-License-Identifier: LGPL-2.1-or-later
# Built and run on demand (`make bench`, bench/run), never by `make` or `make check`. One line a program.

bench_programs = \
	%D%/flat \
	%D%/generic
EXTRA_PROGRAMS += $(bench_programs) %D%/speed %D%/wake %D%/nats %D%/http %D%/mqtt
CLEANFILES += $(bench_programs) %D%/speed %D%/more.json %D%/speed.json %D%/speed.svg %D%/wake %D%/nats %D%/http %D%/mqtt
EXTRA_DIST += %D%/run

# Its writers use libpq.
if WITH_LIBPQ
bench_programs += %D%/wake
endif
%C%_flat_SOURCES = %D%/bench.c %D%/bench.h %D%/flat.c
%C%_generic_SOURCES = %D%/bench.c %D%/bench.h %D%/generic.c
%C%_speed_SOURCES = \
	%D%/bench.c %D%/bench.h \
	%D%/pq.c %D%/pq.h \
	%D%/report.c %D%/report.h \
	%D%/speed.c %D%/speed.h \
	%D%/speed_drain.c \
	%D%/speed_enqueue.c \
	%D%/speed_variants.c
%C%_speed_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_speed_LDADD = $(LDADD) $(LIBPQ_LIBS)
%C%_wake_SOURCES = \
	%D%/bench.c %D%/bench.h \
	%D%/pq.c %D%/pq.h \
	%D%/wake.c %D%/wake.h \
	%D%/wake_commits.c \
	%D%/wake_forms.c \
	%D%/wake_idle.c \
	%D%/wake_latency.c
%C%_wake_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_wake_LDADD = $(LDADD) $(LIBPQ_LIBS) -lm

if WITH_LIBNATS
bench_programs += %D%/nats
endif
%C%_nats_SOURCES = %D%/bench.c %D%/bench.h %D%/load.c %D%/load.h %D%/nats.c
%C%_nats_CPPFLAGS = $(AM_CPPFLAGS) $(LIBNATS_CFLAGS)
%C%_nats_LDADD = $(LDADD) $(LIBNATS_LIBS)

if WITH_LIBCURL
bench_programs += %D%/http
endif
%C%_http_SOURCES = %D%/bench.c %D%/bench.h %D%/load.c %D%/load.h %D%/http.c
%C%_http_CPPFLAGS = $(AM_CPPFLAGS) $(LIBCURL_CFLAGS)
%C%_http_LDADD = $(LDADD) $(LIBCURL_LIBS)
if WITH_LIBMOSQUITTO
bench_programs += %D%/mqtt
endif
%C%_mqtt_SOURCES = %D%/bench.c %D%/bench.h %D%/load.c %D%/load.h %D%/mqtt.c
%C%_mqtt_CPPFLAGS = $(AM_CPPFLAGS) $(LIBMOSQUITTO_CFLAGS)
%C%_mqtt_LDADD = $(LDADD) $(LIBMOSQUITTO_LIBS)

bench: $(bench_programs)
	@OUTBOX_MODULE_PATH='$(abs_top_builddir)/drivers/.libs:$(abs_top_builddir)/publishers/.libs'; export OUTBOX_MODULE_PATH; \
	for b in $(bench_programs); do \
	  $(srcdir)/tests/with-postgres $(srcdir)/tests/with-mariadb --optional "./$$b" || exit 1; \
	done

# Each publisher beside the smallest program on the same client library, against the same server.
bench-publishers: $(publisher_tests)
	@for t in $(publisher_tests); do \
	  $(srcdir)/tests/run-test "./$$t" --bench || exit 1; \
	done
.PHONY: bench-publishers
