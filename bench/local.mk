# SPDX-License-Identifier: LGPL-2.1-or-later
# Built and run on demand (`make bench`), never by `make` or `make check`. One line a program.

bench_programs = \
	%D%/flat
EXTRA_PROGRAMS += $(bench_programs) %D%/wake
CLEANFILES += $(bench_programs) %D%/wake

# Its writers use libpq.
if WITH_LIBPQ
bench_programs += %D%/wake
endif
%C%_flat_SOURCES = %D%/bench.c %D%/bench.h %D%/flat.c
%C%_wake_SOURCES = \
	%D%/bench.c %D%/bench.h \
	%D%/wake.c %D%/wake.h \
	%D%/wake_commits.c \
	%D%/wake_forms.c \
	%D%/wake_idle.c \
	%D%/wake_latency.c
%C%_wake_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_wake_LDADD = $(LDADD) $(LIBPQ_LIBS) -lm

bench: $(bench_programs)
	@OUTBOX_MODULE_PATH='$(abs_top_builddir)/drivers/.libs'; export OUTBOX_MODULE_PATH; \
	for b in $(bench_programs); do \
	  $(srcdir)/tests/with-postgres "./$$b" || exit 1; \
	done

# Each publisher beside the smallest program on the same client library, against the same server.
bench-publishers: $(publisher_tests)
	@for t in $(publisher_tests); do \
	  $(srcdir)/tests/run-test "./$$t" --bench || exit 1; \
	done
.PHONY: bench-publishers
