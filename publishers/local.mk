# SPDX-License-Identifier: LGPL-2.1-or-later
# Publishers that need no library of their own are built in.

lib_liboutbox_core_la_SOURCES += \
	%D%/null.c \
	%D%/jsonl.c \
	%D%/exec.c \
	%D%/exec_answer.c \
	%D%/exec_child.c \
	%D%/exec_reach.c \
	%D%/sigpipe.c

# Internal headers: only listed so that they are in the tarball.
lib_liboutbox_core_la_SOURCES += \
	%D%/builtin.h \
	%D%/exec_answer.h \
	%D%/exec_child.h \
	%D%/exec_reach.h \
	%D%/sigpipe.h

# A broker's publisher is a loadable module, so that only its users install the broker's
# client library. OUTBOX_WITH([name], [auto], [pkg-config modules]) in configure.ac, and:
#
#   if WITH_KAFKA
#   outboxmodule_LTLIBRARIES += %D%/outbox-publisher-kafka.la
#   %C%_outbox_publisher_kafka_la_SOURCES = %D%/kafka.c
#   %C%_outbox_publisher_kafka_la_CPPFLAGS = $(AM_CPPFLAGS) $(KAFKA_CFLAGS)
#   %C%_outbox_publisher_kafka_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
#   %C%_outbox_publisher_kafka_la_LIBADD = lib/liboutbox.la $(KAFKA_LIBS)
#   endif

if WITH_RDKAFKA
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-kafka.la
%C%_outbox_publisher_kafka_la_SOURCES = \
	%D%/kafka.c %D%/kafka.h \
	%D%/kafka_conf.c \
	%D%/kafka_link.c \
	%D%/detached.c %D%/detached.h
%C%_outbox_publisher_kafka_la_CPPFLAGS = $(AM_CPPFLAGS) $(RDKAFKA_CFLAGS)
%C%_outbox_publisher_kafka_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_kafka_la_LIBADD = lib/liboutbox.la $(RDKAFKA_LIBS)
endif

if WITH_RABBITMQ
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-amqp.la
%C%_outbox_publisher_amqp_la_SOURCES = %D%/rabbitmq.c %D%/rabbitmq.h %D%/rabbitmq_link.c \
	%D%/resolve.c %D%/detached.c
%C%_outbox_publisher_amqp_la_CPPFLAGS = $(AM_CPPFLAGS) $(RABBITMQ_CFLAGS)
%C%_outbox_publisher_amqp_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_amqp_la_LIBADD = lib/liboutbox.la $(RABBITMQ_LIBS)
endif

if WITH_REDIS
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-redis.la
%C%_outbox_publisher_redis_la_SOURCES = \
	%D%/redis.c \
	%D%/redis_link.c %D%/redis_link.h \
	%D%/resolve.c %D%/resolve.h %D%/detached.c \
	%D%/sigpipe.c
%C%_outbox_publisher_redis_la_CPPFLAGS = $(AM_CPPFLAGS) $(REDIS_CFLAGS)
%C%_outbox_publisher_redis_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_redis_la_LIBADD = lib/liboutbox.la $(REDIS_LIBS)
endif

# What modules with a connection a call share, compiled into each.
EXTRA_DIST += %D%/flight.h %D%/nats_link.h

if WITH_LIBNATS
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-nats.la
%C%_outbox_publisher_nats_la_SOURCES = \
	%D%/nats.c %D%/nats_link.c \
	%D%/flight.c lib/text.c \
	%D%/resolve.c %D%/detached.c \
	%D%/sigpipe.c
%C%_outbox_publisher_nats_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBNATS_CFLAGS)
%C%_outbox_publisher_nats_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_nats_la_LIBADD = lib/liboutbox.la $(LIBNATS_LIBS) $(JANSSON_LIBS)
endif

if WITH_QPID_PROTON
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-amqp1.la
%C%_outbox_publisher_amqp1_la_SOURCES = \
	%D%/amqp1.c %D%/amqp1.h \
	%D%/amqp1_link.c \
	%D%/amqp1_message.c \
	%D%/flight.c lib/text.c \
	%D%/resolve.c %D%/detached.c \
	%D%/sigpipe.c
%C%_outbox_publisher_amqp1_la_CPPFLAGS = $(AM_CPPFLAGS) $(QPID_PROTON_CFLAGS)
%C%_outbox_publisher_amqp1_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_amqp1_la_LIBADD = lib/liboutbox.la $(QPID_PROTON_LIBS)
endif

if WITH_LIBCURL
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-http.la
%C%_outbox_publisher_http_la_SOURCES = \
	%D%/http.c %D%/http.h \
	%D%/http_request.c \
	%D%/flight.c lib/text.c \
	%D%/sigpipe.c
%C%_outbox_publisher_http_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBCURL_CFLAGS)
%C%_outbox_publisher_http_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_http_la_LIBADD = lib/liboutbox.la $(LIBCURL_LIBS)
endif

if WITH_LIBMOSQUITTO
outboxmodule_LTLIBRARIES += %D%/outbox-publisher-mqtt.la
%C%_outbox_publisher_mqtt_la_SOURCES = \
	%D%/mqtt.c \
	%D%/mqtt_tls.c %D%/mqtt_tls.h \
	%D%/flight.c lib/text.c \
	%D%/resolve.c %D%/detached.c \
	%D%/sigpipe.c
%C%_outbox_publisher_mqtt_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBMOSQUITTO_CFLAGS)
%C%_outbox_publisher_mqtt_la_LDFLAGS = $(AM_LDFLAGS) $(module_ldflags)
%C%_outbox_publisher_mqtt_la_LIBADD = lib/liboutbox.la $(LIBMOSQUITTO_LIBS)
endif
