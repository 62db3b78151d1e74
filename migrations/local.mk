# SPDX-License-Identifier: LGPL-2.1-or-later
# The schema, as numbered SQL templates. The library carries them; the same files are
# installed as they are with the default settings, for those who migrate by other means.

# In order of number, on one line. Each dialect has all of them: $(migrations), which configure makes of this and of the
# table of drivers (m4/outbox_drivers.m4). The library applies them in this order.
migration_names = 0001_init
EXTRA_DIST += $(migrations) build-aux/embed-migrations

nodist_lib_liboutbox_core_la_SOURCES += %D%/migrations_data.c
CLEANFILES += %D%/migrations_data.c
# The fragments are dependencies because taking a line out of the list must also regenerate.
%D%/migrations_data.c: $(migrations) $(srcdir)/%D%/local.mk $(srcdir)/drivers/local.mk $(srcdir)/build-aux/embed-migrations
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	AWK='$(AWK)' $(SHELL) $(srcdir)/build-aux/embed-migrations embed $(srcdir) $(migrations) >$@.tmp && \
	mv -f $@.tmp $@

# Rendered beside nothing else, so that a build in the source tree does not overwrite templates.
noinst_DATA = %D%/rendered.stamp
CLEANFILES += %D%/rendered.stamp
%D%/rendered.stamp: $(migrations) $(driver_sources) $(srcdir)/drivers/driver.h $(srcdir)/%D%/local.mk $(srcdir)/drivers/local.mk $(srcdir)/build-aux/embed-migrations
	$(AM_V_GEN)rm -rf %D%/rendered && $(MKDIR_P) %D%/rendered && \
	AWK='$(AWK)' $(SHELL) $(srcdir)/build-aux/embed-migrations render $(srcdir) %D%/rendered $(migrations) && \
	: >$@

install-data-local: %D%/rendered.stamp
	@for f in $(migrations); do \
	  f=$${f#%D%/}; \
	  $(MKDIR_P) "$(DESTDIR)$(outboxdatadir)/migrations/$${f%/*}" && \
	  $(INSTALL_DATA) "%D%/rendered/$$f" "$(DESTDIR)$(outboxdatadir)/migrations/$$f" || exit 1; \
	done
uninstall-local:
	@for f in $(migrations); do rm -f "$(DESTDIR)$(outboxdatadir)/migrations/$${f#%D%/}"; done
clean-local: clean-migrations
.PHONY: clean-migrations
clean-migrations:
	rm -rf %D%/rendered
