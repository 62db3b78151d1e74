# SPDX-License-Identifier: LGPL-2.1-or-later
# Built and run on demand (`make bench`, bench/run), never by `make` or `make check`. One line a program.

bench_programs = \
	%D%/flat \
	%D%/generic \
	%D%/start
EXTRA_PROGRAMS += $(bench_programs) %D%/load %D%/native %D%/speed %D%/wake
CLEANFILES += $(bench_programs) %D%/load %D%/native %D%/speed %D%/more.json %D%/speed.json %D%/speed.svg %D%/wake
EXTRA_DIST += %D%/run
# bench/peers/run has the library beside other projects.
EXTRA_PROGRAMS += %D%/peers/liboutbox %D%/peers/pgq
CLEANFILES += %D%/peers/liboutbox %D%/peers/pgq %D%/peers.json %D%/peers.tsv
EXTRA_DIST += \
	%D%/peers/graphile-worker.js \
	%D%/peers/package.json \
	%D%/peers/peer.js \
	%D%/peers/pg-boss.js \
	%D%/peers/pg-transactional-outbox.js \
	%D%/peers/run \
	%D%/peers/table.awk

# Its writers use libpq.
if WITH_LIBPQ
bench_programs += %D%/wake
endif
%C%_flat_SOURCES = %D%/bench.c %D%/bench.h %D%/flat.c
%C%_generic_SOURCES = %D%/bench.c %D%/bench.h %D%/generic.c
%C%_load_SOURCES = \
	%D%/bench.c %D%/bench.h \
	%D%/load.c %D%/load.h \
	%D%/load_parts.c \
	%D%/pq.c %D%/pq.h
%C%_load_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_load_LDADD = $(LDADD) $(LIBPQ_LIBS)
# Nothing else uses these two libraries, so configure does not ask for them.
%C%_native_SOURCES = %D%/bench.c %D%/bench.h %D%/native.c
%C%_native_CPPFLAGS = $(AM_CPPFLAGS) `$(PKG_CONFIG) --cflags libmariadb sqlite3`
%C%_native_LDADD = $(LDADD) -lmariadb -lsqlite3
%C%_peers_liboutbox_SOURCES = %D%/peers/liboutbox.c %D%/peers/peer.c %D%/peers/peer.h
%C%_peers_liboutbox_LDADD = lib/liboutbox.la
%C%_peers_pgq_SOURCES = %D%/peers/peer.c %D%/peers/peer.h %D%/peers/pgq.c
%C%_peers_pgq_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_peers_pgq_LDADD = $(LIBPQ_LIBS)
%C%_start_SOURCES = %D%/bench.c %D%/bench.h %D%/start.c
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

bench: $(bench_programs)
	@OUTBOX_MODULE_PATH='$(abs_top_builddir)/drivers/.libs:$(abs_top_builddir)/publishers/.libs'; export OUTBOX_MODULE_PATH; \
	for b in $(bench_programs); do \
	  $(srcdir)/tests/with-postgres $(srcdir)/tests/with-mariadb --optional "./$$b" || exit 1; \
	done

# Each publisher beside the smallest program on the same client library, against the same server.
bench-publishers: $(publisher_tests)
	@for t in $(publisher_tests); do \
	  case $$t in *http_answers) continue ;; esac; \
	  $(srcdir)/tests/run-test "./$$t" --bench || exit 1; \
	done
.PHONY: bench-publishers
