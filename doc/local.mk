# SPDX-License-Identifier: LGPL-2.1-or-later
# Manual pages, by section in their names, and guides. One line a page.

dist_man_MANS =
if WITH_TOOLS
dist_man_MANS += \
	%D%/outboxctl.1 \
	%D%/outboxd.8
endif

dist_man_MANS += \
	%D%/outbox.7 \
	%D%/outbox_errors.7

# One for each publisher that is a module.
dist_man_MANS += \
	%D%/outbox_amqp.7 \
	%D%/outbox_amqp1.7 \
	%D%/outbox_http.7 \
	%D%/outbox_kafka.7 \
	%D%/outbox_mqtt.7 \
	%D%/outbox_nats.7 \
	%D%/outbox_redis.7

dist_doc_DATA = \
	%D%/grafana-dashboard.json \
	%D%/prometheus-rules.yml \
	%D%/drivers.md \
	%D%/guarantees.md \
	%D%/handbook.md \
	%D%/high-availability.md \
	%D%/http-api.md \
	%D%/json.md \
	%D%/performance.md \
	%D%/permissions.md \
	%D%/publishers.md \
	%D%/status-dark.png \
	%D%/status-light.png \
	%D%/status-phone.png \
	%D%/tracing.md \
	%D%/tutorials.md

# Formal models, which tests/models.sh checks.
EXTRA_DIST += \
	%D%/models/README.md \
	%D%/models/heads.pml \
	%D%/models/lane.pml \
	%D%/models/position.pml \
	%D%/models/wakeup.pml

# outbox.conf(5) comes from the table of settings. It is in the tarball, so that only a changed
# table needs the program that makes it to run, which it cannot when cross-compiling.
dist_man_MANS += %D%/outbox.conf.5
MAINTAINERCLEANFILES += %D%/outbox.conf.5
EXTRA_PROGRAMS += %D%/conf-man
CLEANFILES += %D%/conf-man$(EXEEXT)
%C%_conf_man_SOURCES = %D%/conf-man.c %D%/man.c %D%/man.h
%C%_conf_man_LDADD = lib/liboutbox.la
# (The library comes first, so that two makes do not build it at once; its date does not matter.)
%D%/outbox.conf.5: $(srcdir)/lib/conf_table.h $(srcdir)/drivers/local.mk $(srcdir)/%D%/conf-man.c | lib/liboutbox.la
	$(AM_V_at)$(MAKE) $(AM_MAKEFLAGS) %D%/conf-man$(EXEEXT)
	$(AM_V_GEN)%D%/conf-man$(EXEEXT) >$@.tmp && mv -f $@.tmp $@

# So does outbox_metrics(7), from the table of metrics.
dist_man_MANS += %D%/outbox_metrics.7
MAINTAINERCLEANFILES += %D%/outbox_metrics.7
EXTRA_PROGRAMS += %D%/metrics-man
CLEANFILES += %D%/metrics-man$(EXEEXT)
%C%_metrics_man_SOURCES = %D%/metrics-man.c %D%/man.c %D%/man.h
%C%_metrics_man_LDADD = lib/liboutbox.la
# (After the page before, so that two makes do not compile man.c at once.)
%D%/outbox_metrics.7: $(srcdir)/lib/metrics_table.c $(srcdir)/%D%/metrics-man.c | lib/liboutbox.la %D%/outbox.conf.5
	$(AM_V_at)$(MAKE) $(AM_MAKEFLAGS) %D%/metrics-man$(EXEEXT)
	$(AM_V_GEN)%D%/metrics-man$(EXEEXT) >$@.tmp && mv -f $@.tmp $@

# Section 3 comes from the comments in the public headers: a page for each `@file` and `@page` in them.
library_pages = \
	%D%/outbox_admin.3 \
	%D%/outbox_batch.3 \
	%D%/outbox_cleaner.3 \
	%D%/outbox_codec.3 \
	%D%/outbox_conf.3 \
	%D%/outbox_conn.3 \
	%D%/outbox_consumer.3 \
	%D%/outbox_delivery.3 \
	%D%/outbox_doctor.3 \
	%D%/outbox_envelope.3 \
	%D%/outbox_error.3 \
	%D%/outbox_json.3 \
	%D%/outbox_message.3 \
	%D%/outbox_metrics.3 \
	%D%/outbox_migrate.3 \
	%D%/outbox_publisher.3 \
	%D%/outbox_record.3 \
	%D%/outbox_relay.3 \
	%D%/outbox_sys_publisher.3 \
	%D%/outbox_sys_wake.3 \
	%D%/outbox_target.3 \
	%D%/outbox_types.3 \
	%D%/outbox_version.3
dist_man_MANS += $(library_pages)
# Whatever else is declared has a page of its name that sources the other.
dist_noinst_DATA = %D%/man3-links
header_man = $(srcdir)/build-aux/header-read.awk $(srcdir)/build-aux/header-man.awk
header_man_sources = $(header_man) $(example_sources) $(outboxinclude_HEADERS) \
	$(outboxsysinclude_HEADERS) lib/include/outbox/version.h.in
header_man_run = LC_ALL=C $(AWK) -f $(srcdir)/build-aux/header-read.awk -f $(srcdir)/build-aux/header-man.awk
header_man_headers = `find $(srcdir)/lib/include -name '*.h' -o -name '*.h.in' | LC_ALL=C sort`
EXTRA_DIST += build-aux/header-read.awk build-aux/header-man.awk
MAINTAINERCLEANFILES += $(library_pages) %D%/man3-links

$(library_pages): $(header_man_sources)
	$(AM_V_at)$(MKDIR_P) %D%
	$(AM_V_GEN)$(header_man_run) -v want=page -v page=`basename $@ .3` -v examples=$(srcdir)/examples \
		$(header_man_headers) >$@.tmp && mv -f $@.tmp $@

%D%/man3-links: $(header_man_sources)
	$(AM_V_at)$(MKDIR_P) %D%
	$(AM_V_GEN)$(header_man_run) -v want=links $(header_man_headers) >$@.tmp && mv -f $@.tmp $@

install-data-local: install-man3-links
install-man3-links: %D%/man3-links
	$(MKDIR_P) '$(DESTDIR)$(man3dir)'
	links=%D%/man3-links; test -f $$links || links=$(srcdir)/$$links; \
	while read -r name page; do \
		echo ".so man3/$$page.3" >'$(DESTDIR)$(man3dir)/'$$name.3 || exit 1; \
	done <$$links

uninstall-local: uninstall-man3-links
uninstall-man3-links:
	links=%D%/man3-links; test -f $$links || links=$(srcdir)/$$links; \
	while read -r name page; do \
		rm -f '$(DESTDIR)$(man3dir)/'$$name.3 || exit 1; \
	done <$$links
.PHONY: install-man3-links uninstall-man3-links
