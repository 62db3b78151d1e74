# SPDX-License-Identifier: LGPL-2.1-or-later
# Where a test lies says how it is run (tests/run-test does it):
#
#   unit/         Criterion programs, of pure logic
#   plain/        programs that print TAP and need no database: threads, leaks, out of memory
#   conformance/  programs and scripts that print TAP and get a private PostgreSQL and the
#                 ODBC drivers, and a MariaDB where run-test says so: every driver, every publisher
#   fault/        the same, which kill and restart their server
#   publishers/   programs that print TAP, and start the broker's server themselves
#   soak/         the same, only run with OUTBOX_TEST_LONG=1
#   browser/      scripts that print TAP, and look at a page in a browser, only run with OUTBOX_TEST_BROWSER=1
#   hosts/        the same on several servers or hosts, only run with OUTBOX_TEST_HOSTS=1
#   fuzz/         one program a parser, which replays its corpus (see tests/fuzz/fuzz.h)
#   *             here: scripts that print TAP and look at what was built or installed
#
# A program's source is its name with .c; one line adds it.

unit_tests = \
	%D%/unit/arena \
	%D%/unit/backoff \
	%D%/unit/base64 \
	%D%/unit/broker_url \
	%D%/unit/buffer \
	%D%/unit/conf \
	%D%/unit/delivery \
	%D%/unit/doctor \
	%D%/unit/drivers \
	%D%/unit/envelope \
	%D%/unit/error \
	%D%/unit/json \
	%D%/unit/json_parse \
	%D%/unit/keys \
	%D%/unit/lane \
	%D%/unit/log \
	%D%/unit/migrations \
	%D%/unit/names \
	%D%/unit/packed \
	%D%/unit/publisher \
	%D%/unit/relatives \
	%D%/unit/secrets \
	%D%/unit/sqltext \
	%D%/unit/target \
	%D%/unit/text \
	%D%/unit/timetext \
	%D%/unit/topic_map \
	%D%/unit/uuid

plain_tests = \
	%D%/plain/checker \
	%D%/plain/doctor \
	%D%/plain/metrics \
	%D%/plain/idle \
	%D%/plain/locale

conformance_tests = \
	%D%/conformance/conninfo \
	%D%/conformance/defects \
	%D%/conformance/e2e_firebird \
	%D%/conformance/e2e_generic \
	%D%/conformance/e2e_mariadb \
	%D%/conformance/e2e_postgresql \
	%D%/conformance/e2e_sqlite \
	%D%/conformance/firebird_delete \
	%D%/conformance/firebird_facts \
	%D%/conformance/firebird_sql \
	%D%/conformance/generic_mariadb \
	%D%/conformance/generic_postgresql \
	%D%/conformance/generic_sqlite \
	%D%/conformance/installed_sql \
	%D%/conformance/mariadb_delete \
	%D%/conformance/mariadb_facts \
	%D%/conformance/odbc_facts \
	%D%/conformance/odbc_layer \
	%D%/conformance/plans \
	%D%/conformance/postgresql_delete \
	%D%/conformance/postgresql_position \
	%D%/conformance/relatives \
	%D%/conformance/sql_enqueue \
	%D%/conformance/sqlite_delete \
	%D%/conformance/sqlite_position \
	%D%/conformance/wake_local

fault_tests = \
	%D%/fault/crash \
	%D%/fault/crash_firebird \
	%D%/fault/crash_mariadb \
	%D%/fault/dump_restore \
	%D%/fault/errors \
	%D%/fault/kills \
	%D%/fault/kills_mariadb \
	%D%/fault/memory \
	%D%/fault/network \
	%D%/fault/odbc \
	%D%/fault/wake \
	%D%/fault/wake_lost

soak_tests = \
	%D%/soak/soak

hosts_tests = \
	%D%/hosts/galera \
	%D%/hosts/namespaces \
	%D%/hosts/promotion

fuzz_tests = \
	%D%/fuzz/base64 \
	%D%/fuzz/broker_url \
	%D%/fuzz/conf \
	%D%/fuzz/connection \
	%D%/fuzz/conninfo \
	%D%/fuzz/exec_answer \
	%D%/fuzz/headers \
	%D%/fuzz/message \
	%D%/fuzz/names \
	%D%/fuzz/packed \
	%D%/fuzz/publisher_url \
	%D%/fuzz/record \
	%D%/fuzz/sqltext \
	%D%/fuzz/timetext \
	%D%/fuzz/topic_map \
	%D%/fuzz/utf8 \
	%D%/fuzz/uuid
if WITH_TOOLS
fuzz_tests += %D%/fuzz/config %D%/fuzz/host
%C%_fuzz_config_SOURCES = %D%/fuzz/config.c tools/cli_config.c
%C%_fuzz_config_CPPFLAGS = $(AM_CPPFLAGS) $(TOOLS_CFLAGS)
%C%_fuzz_config_LDADD = $(LDADD) $(TOOLS_LIBS)
%C%_fuzz_host_SOURCES = %D%/fuzz/host.c tools/daemon_guard.c
%C%_fuzz_host_CPPFLAGS = $(AM_CPPFLAGS) $(TOOLS_CFLAGS)
endif
# (Whatever WITH_LIBPQ is: automake takes no AM_CPPFLAGS for a target whose own are in a condition that is false.)
%C%_fuzz_conninfo_CPPFLAGS = $(AM_CPPFLAGS) $(LIBPQ_CFLAGS)
%C%_fuzz_conninfo_LDADD = $(LDADD) $(LIBPQ_LIBS)

# Each against a real server of its broker, where its publisher is built.
publisher_tests =
if WITH_REDIS
publisher_tests += %D%/publishers/redis
%C%_publishers_redis_CPPFLAGS = $(AM_CPPFLAGS) $(REDIS_CFLAGS)
%C%_publishers_redis_LDADD = $(LDADD) $(REDIS_LIBS) $(JANSSON_LIBS)
endif
if WITH_LIBNATS
publisher_tests += %D%/publishers/nats
%C%_publishers_nats_SOURCES = %D%/publishers/nats.c %D%/publishers/nats.h %D%/publishers/nats_server.c
%C%_publishers_nats_CPPFLAGS = $(AM_CPPFLAGS) $(LIBNATS_CFLAGS)
%C%_publishers_nats_LDADD = $(LDADD) $(LIBNATS_LIBS)
endif
if WITH_LIBMOSQUITTO
publisher_tests += %D%/publishers/mqtt
%C%_publishers_mqtt_CPPFLAGS = $(AM_CPPFLAGS) $(LIBMOSQUITTO_CFLAGS)
%C%_publishers_mqtt_LDADD = $(LDADD) $(LIBMOSQUITTO_LIBS)
endif
if WITH_LIBCURL
publisher_tests += %D%/publishers/http %D%/publishers/http_answers
%C%_publishers_http_CPPFLAGS = $(AM_CPPFLAGS) $(LIBCURL_CFLAGS)
%C%_publishers_http_LDADD = $(LDADD) $(LIBCURL_LIBS)
endif
if WITH_RDKAFKA
publisher_tests += %D%/publishers/kafka
%C%_publishers_kafka_SOURCES = \
	%D%/publishers/kafka.c \
	%D%/publishers/kafka.h \
	%D%/publishers/kafka_cluster.c \
	%D%/publishers/kafka_faults.c
%C%_publishers_kafka_CPPFLAGS = $(AM_CPPFLAGS) $(RDKAFKA_CFLAGS)
%C%_publishers_kafka_LDADD = $(LDADD) $(RDKAFKA_LIBS)
endif
if WITH_RABBITMQ
publisher_tests += %D%/publishers/rabbitmq
%C%_publishers_rabbitmq_SOURCES = %D%/publishers/rabbitmq.c %D%/publishers/rabbitmq_broker.c %D%/publishers/rabbitmq_broker.h
%C%_publishers_rabbitmq_CPPFLAGS = $(AM_CPPFLAGS) $(RABBITMQ_CFLAGS)
%C%_publishers_rabbitmq_LDADD = $(LDADD) $(RABBITMQ_LIBS)
if WITH_QPID_PROTON
publisher_tests += %D%/publishers/amqp1
%C%_publishers_amqp1_SOURCES = \
	%D%/publishers/amqp1.c \
	%D%/publishers/amqp1_peer.c \
	%D%/publishers/amqp1_wire.c %D%/publishers/amqp1_wire.h \
	%D%/publishers/rabbitmq_broker.c %D%/publishers/rabbitmq_broker.h
%C%_publishers_amqp1_CPPFLAGS = $(AM_CPPFLAGS) $(RABBITMQ_CFLAGS) $(QPID_PROTON_CFLAGS)
%C%_publishers_amqp1_LDADD = $(LDADD) $(RABBITMQ_LIBS) $(QPID_PROTON_LIBS)
endif
endif

script_tests = \
	%D%/abi \
	%D%/alerts \
	%D%/browser/status \
	%D%/conformance/documents \
	%D%/conformance/examples \
	%D%/conformance/connections \
	%D%/conformance/daemon \
	%D%/conformance/doctor \
	%D%/conformance/footprint \
	%D%/conformance/handbook \
	%D%/conformance/hostile_lines \
	%D%/conformance/languages \
	%D%/conformance/metrics \
	%D%/conformance/status \
	%D%/conformance/top \
	%D%/conformance/text \
	%D%/conformance/tools \
	%D%/conformance/tutorials \
	%D%/conformance/tutorials_firebird \
	%D%/conformance/permissions \
	%D%/conformance/producers \
	%D%/completions \
	%D%/documented-api \
	%D%/documented-drivers \
	%D%/documented-errors \
	%D%/documented-guarantees \
	%D%/documented-tools \
	%D%/exported-symbols \
	%D%/installed.sh \
	%D%/licensed \
	%D%/listed-files \
	%D%/packaged \
	%D%/models.sh \
	%D%/parsed_sql \
	%D%/publishers/scheme \
	%D%/publishers/tutorials \
	%D%/traced \
	%D%/translated

test_programs = $(unit_tests) $(plain_tests) $(conformance_tests) $(fault_tests) $(soak_tests) $(hosts_tests) $(fuzz_tests) \
	$(publisher_tests)

check_PROGRAMS += $(test_programs)

# A cluster for the tests of the publisher for Kafka.
if WITH_RDKAFKA
check_PROGRAMS += %D%/publishers/kafka_mock
%C%_publishers_kafka_mock_CPPFLAGS = $(AM_CPPFLAGS) $(RDKAFKA_CFLAGS)
%C%_publishers_kafka_mock_LDADD = $(RDKAFKA_LIBS)
endif
TESTS += $(test_programs) $(script_tests)

# Helpers that tests and benchmarks share, such as a TAP printer. Sources and headers here.
check_LTLIBRARIES += %D%/libtesting.la
%C%_libtesting_la_SOURCES = \
	%D%/broker.c %D%/broker.h \
	%D%/broker_bench.c \
	%D%/broker_name.c \
	%D%/broker_parcel.c \
	%D%/broker_suite.c \
	%D%/broker_trouble.c \
	%D%/db.c %D%/db.h \
	%D%/e2e.h \
	%D%/e2e_chaos.c \
	%D%/e2e_check.c \
	%D%/e2e_produce.c \
	%D%/e2e_relay.c \
	%D%/e2e_run.c \
	%D%/golden.c %D%/golden.h \
	%D%/fuzz/fuzz.c %D%/fuzz/fuzz.h \
	%D%/lib-test.c %D%/lib-test.h \
	%D%/proxy.c %D%/proxy.h \
	%D%/said.c %D%/said.h \
	%D%/lanes.h %D%/script.c %D%/script.h \
	%D%/seen.c \
	%D%/suite.c %D%/suite.h \
	%D%/stage.c %D%/stage.h \
	%D%/suite_admin.c \
	%D%/suite_peek.c \
	%D%/suite_answers.c \
	%D%/suite_broker.c \
	%D%/suite_builtin.c \
	%D%/suite_hang.c \
	%D%/suite_clean.c \
	%D%/suite_enqueue.c \
	%D%/suite_fields.c \
	%D%/suite_hostile.c \
	%D%/suite_gather.c \
	%D%/suite_gather_relay.c \
	%D%/suite_keeper.c \
	%D%/suite_late.c \
	%D%/suite_numbers.c \
	%D%/suite_lease.c \
	%D%/suite_heads.c \
	%D%/suite_order.c \
	%D%/suite_relay.c \
	%D%/suite_schema.c \
	%D%/suite_verdict.c \
	%D%/tap.c %D%/tap.h \
	%D%/wakes.c %D%/wakes.h

# A driver of ODBC, loaded by its manager: hence a path to install to, where it never goes. Its calls of itself are its own.
if HAVE_FBCLIENT
check_LTLIBRARIES += %D%/libfirebird-odbc.la
endif
%C%_libfirebird_odbc_la_SOURCES = %D%/firebird_odbc.c %D%/firebird_odbc.h %D%/firebird_values.c
%C%_libfirebird_odbc_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere -Wl,-Bsymbolic
%C%_libfirebird_odbc_la_LIBADD = -lfbclient

%C%_conformance_plans_SOURCES = %D%/conformance/plans.c %D%/conformance/plans_cost.c %D%/conformance/plans.h

# Not in the library above: it puts functions of its own before those of ODBC.
%C%_conformance_defects_SOURCES = \
	%D%/conformance/defects.c \
	%D%/defects.h \
	%D%/defects_cost.c \
	%D%/defects_order.c \
	%D%/defects_rest.c

%C%_fault_crash_firebird_SOURCES = %D%/fault/crash.c
%C%_fault_crash_mariadb_SOURCES = %D%/fault/crash.c

# What the unit tests compare with.
golden_files = %D%/golden
# What these call of ODBC goes through tests/interpose.c; tests/fault/odbc checks that the list is whole.
interpose_link = \
	-Wl,--wrap=SQLAllocHandle,--wrap=SQLBindCol,--wrap=SQLBindParameter,--wrap=SQLDisconnect,--wrap=SQLDriverConnect \
	-Wl,--wrap=SQLEndTran,--wrap=SQLExecDirect,--wrap=SQLExecute,--wrap=SQLFetch,--wrap=SQLFreeHandle \
	-Wl,--wrap=SQLFreeStmt,--wrap=SQLGetConnectAttr,--wrap=SQLGetData,--wrap=SQLGetDiagRec,--wrap=SQLGetInfo,--wrap=SQLPrepare \
	-Wl,--wrap=SQLRowCount,--wrap=SQLSetConnectAttr,--wrap=SQLSetEnvAttr,--wrap=SQLSetStmtAttr
interpose = %D%/interpose.c %D%/interpose.h
%C%_fault_kills_SOURCES = $(interpose) %D%/fault/kills.c
%C%_fault_kills_LDFLAGS = $(AM_LDFLAGS) $(interpose_link)
%C%_fault_kills_mariadb_SOURCES = $(interpose) %D%/fault/kills.c
%C%_fault_kills_mariadb_LDFLAGS = $(AM_LDFLAGS) $(interpose_link)
%C%_fault_memory_SOURCES = \
	%D%/fault/memory.c %D%/fault/memory.h \
	%D%/fault/memory_alloc.c \
	%D%/fault/memory_relay.c
%C%_fault_memory_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup,--wrap=free
%C%_fault_odbc_SOURCES = $(interpose) \
	%D%/fault/odbc.c %D%/fault/odbc.h \
	%D%/fault/odbc_paths.c \
	%D%/fault/odbc_world.c
%C%_fault_odbc_LDFLAGS = $(AM_LDFLAGS) $(interpose_link)

# Under sanitizers, and where there is none: as much of Criterion as the unit tests use.
EXTRA_DIST += %D%/without-criterion/criterion/criterion.h
if !WITH_CRITERION_TESTS
AM_CPPFLAGS += -I$(top_srcdir)/%D%/without-criterion
endif

# What a program is linked with that does not say otherwise: the internals, so that a test
# reaches what the installed library hides.
LDADD = %D%/libtesting.la lib/liboutbox-core.la $(CRITERION_LIBS)

EXTRA_DIST += %D%/status.bash %D%/browser/status.py %D%/conformance/terminal.py
EXTRA_DIST += %D%/conformance/metrics.py %D%/publishers/http_server.py %D%/publishers/nats_keys.py
EXTRA_DIST += $(script_tests) %D%/run-test %D%/blocks.bash %D%/tap.bash %D%/tutorial.bash %D%/wrap.bash %D%/versions \
	%D%/parsed_procedures %D%/parsed_procedures.js \
	%D%/with-firebird %D%/with-galera \
	%D%/with-hosts %D%/with-mariadb %D%/with-odbc %D%/with-postgres %D%/with-standby \
	%D%/publishers/rabbitmq-server \
	%D%/lsan.supp %D%/tsan.supp %D%/valgrind.supp $(golden_files) %D%/fuzz/corpus %D%/fuzz/dictionaries

TEST_EXTENSIONS = .sh
test_driver = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(test_driver)
SH_LOG_DRIVER = $(test_driver)
# What a program says on standard error belongs in its log, not on the terminal.
AM_LOG_DRIVER_FLAGS = --merge
AM_SH_LOG_DRIVER_FLAGS = --merge
LOG_COMPILER = $(top_srcdir)/tests/run-test
SH_LOG_COMPILER = $(LOG_COMPILER)
AM_TESTS_ENVIRONMENT = \
	OUTBOX_SRCDIR='$(abs_top_srcdir)'; OUTBOX_BUILDDIR='$(abs_top_builddir)'; \
	OUTBOX_CC='$(CC)'; OUTBOX_CXX='$(CXX)'; OUTBOX_NM='$(NM)'; OUTBOX_MAKE='$(MAKE)'; \
	OUTBOX_MODULE_PATH='$(abs_top_builddir)/tests/modules'; \
	OUTBOX_PKG_CONFIG='$(PKG_CONFIG)'; OUTBOX_SANITIZERS='$(OUTBOX_SANITIZERS)'; \
	export OUTBOX_MODULE_PATH OUTBOX_SRCDIR OUTBOX_BUILDDIR OUTBOX_CC OUTBOX_CXX OUTBOX_NM OUTBOX_MAKE \
	OUTBOX_PKG_CONFIG OUTBOX_SANITIZERS;

# The modules by other names of the same files: an installation, which is tested beside the rest, links them anew and takes
# theirs away for a while.
check_DATA += %D%/modules/made
%D%/modules/made: $(outboxmodule_LTLIBRARIES)
	$(AM_V_GEN)rm -rf %D%/modules && mkdir -p %D%/modules && \
	for made in drivers/.libs/*.so publishers/.libs/*.so; do \
		test ! -e "$$made" || ln -f "$$made" %D%/modules/ || exit 1; \
	done && touch $@

clean-local: clean-tests
.PHONY: clean-tests
clean-tests:
	rm -rf %D%/pg-template %D%/mariadb-template %D%/modules

# Everything that `make check` would build, without running it.
.PHONY: check-build
check-build: all-am $(check_LTLIBRARIES) $(check_PROGRAMS) $(check_DATA)

# The fuzzers alone: with libFuzzer, see step_fuzz of .ci/run.
.PHONY: fuzzers
fuzzers: $(fuzz_tests)
