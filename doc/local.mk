# SPDX-License-Identifier: LGPL-2.1-or-later
# Manual pages, by section in their names, and guides. One line a page.

dist_man_MANS =
if WITH_TOOLS
dist_man_MANS += \
	%D%/outboxctl.1 \
	%D%/outboxd.8
endif

dist_doc_DATA = \
	%D%/json.md \
	%D%/performance.md

# outbox.conf(5) comes from the table of settings. It is in the tarball, so that only a changed
# table needs the program that makes it to run, which it cannot when cross-compiling.
dist_man_MANS += %D%/outbox.conf.5
MAINTAINERCLEANFILES = %D%/outbox.conf.5
EXTRA_PROGRAMS += %D%/conf-man
CLEANFILES += %D%/conf-man$(EXEEXT)
%C%_conf_man_SOURCES = %D%/conf-man.c
%C%_conf_man_LDADD = lib/liboutbox.la
# (The library comes first, so that two makes do not build it at once; its date does not matter.)
%D%/outbox.conf.5: $(srcdir)/lib/conf_table.h $(srcdir)/%D%/conf-man.c | lib/liboutbox.la
	$(AM_V_at)$(MAKE) $(AM_MAKEFLAGS) %D%/conf-man$(EXEEXT)
	$(AM_V_GEN)%D%/conf-man$(EXEEXT) >$@.tmp && mv -f $@.tmp $@
