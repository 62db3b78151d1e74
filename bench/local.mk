# SPDX-License-Identifier: LGPL-2.1-or-later
# Built and run on demand (`make bench`), never by `make` or `make check`. One line a program.

bench_programs = \
	%D%/flat
EXTRA_PROGRAMS += $(bench_programs) %D%/wake %D%/kafka %D%/rabbitmq
CLEANFILES += $(bench_programs) %D%/wake %D%/kafka %D%/rabbitmq

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

# Publishers, each beside a minimal program on the same client library.
broker_benches =
if WITH_RDKAFKA
broker_benches += %D%/kafka
endif
if WITH_RABBITMQ
broker_benches += %D%/rabbitmq
endif
publish_bench = %D%/bench.c %D%/bench.h %D%/publish.c %D%/publish.h
%C%_kafka_SOURCES = $(publish_bench) %D%/kafka.c
%C%_kafka_CPPFLAGS = $(AM_CPPFLAGS) $(RDKAFKA_CFLAGS)
%C%_kafka_LDADD = $(LDADD) $(RDKAFKA_LIBS)
%C%_rabbitmq_SOURCES = $(publish_bench) %D%/rabbitmq.c
%C%_rabbitmq_CPPFLAGS = $(AM_CPPFLAGS) $(RABBITMQ_CFLAGS)
%C%_rabbitmq_LDADD = $(LDADD) $(RABBITMQ_LIBS)

.PHONY: bench-brokers
bench-brokers: $(broker_benches) $(check_PROGRAMS)
	@OUTBOX_MODULE_PATH='$(abs_top_builddir)/publishers/.libs'; OUTBOX_BUILDDIR='$(abs_top_builddir)'; \
	export OUTBOX_MODULE_PATH OUTBOX_BUILDDIR; \
	for b in $(broker_benches); do \
	  $(srcdir)/tests/with-$${b##*/} "./$$b" || exit 1; \
	done

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
