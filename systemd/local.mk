# SPDX-License-Identifier: LGPL-2.1-or-later
# Units for systemd: outboxd.service serves the outboxes of one configuration file, outboxd@NAME.service those of a file
# of that name, in a process of their own. Both come from one text; an example of the file stands beside.

EXTRA_DIST += %D%/outboxd.service.in %D%/outboxd.conf
example_DATA += %D%/outboxd.conf

units = %D%/outboxd.service %D%/outboxd@.service
CLEANFILES += $(units)

%D%/outboxd.service: $(srcdir)/%D%/outboxd.service.in Makefile
	$(AM_V_at)$(MKDIR_P) %D%
	$(AM_V_GEN)$(SED) -e 's,@sbindir[@],$(sbindir),g' -e 's,@config[@],$(sysconfdir)/outbox/outboxd.conf,g' \
		-e 's,@user[@],outboxd,g' -e 's,@state[@],outbox,g' -e 's,@description[@],Transactional outboxes,g' \
		$(srcdir)/%D%/outboxd.service.in >$@.tmp && mv -f $@.tmp $@

%D%/outboxd@.service: $(srcdir)/%D%/outboxd.service.in Makefile
	$(AM_V_at)$(MKDIR_P) %D%
	$(AM_V_GEN)$(SED) -e 's,@sbindir[@],$(sbindir),g' -e 's,@config[@],$(sysconfdir)/outbox/%i.conf,g' \
		-e 's,@user[@],outboxd-%i,g' -e 's,@state[@],outbox/%i,g' -e 's,@description[@],Transactional outboxes of %i,g' \
		$(srcdir)/%D%/outboxd.service.in >$@.tmp && mv -f $@.tmp $@

if WITH_UNITS
systemdsystemunit_DATA = $(units)
endif
