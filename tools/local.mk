# SPDX-License-Identifier: LGPL-2.1-or-later
# The tools use the public API only: they find its headers, and are linked with the library that is installed. They would
# not compile or link if they reached for something internal.

if WITH_TOOLS
bin_PROGRAMS += %D%/outboxctl
%C%_outboxctl_SOURCES = \
	%D%/outboxctl.c \
	%D%/address.c \
	%D%/cli.c \
	%D%/cli_config.c \
	%D%/cli_language.c \
	%D%/cli_secret.c \
	%D%/cli_version.c \
	%D%/ctl_audit.c \
	%D%/ctl_change.c \
	%D%/ctl_doctor.c \
	%D%/ctl_enqueue.c \
	%D%/ctl_http.c \
	%D%/ctl_lines.c \
	%D%/ctl_list.c \
	%D%/ctl_migrate.c \
	%D%/ctl_settings.c \
	%D%/ctl_stats.c \
	%D%/ctl_top.c \
	%D%/look.c \
	%D%/address.h \
	%D%/cli.h \
	%D%/ctl.h \
	%D%/ctl_http.h \
	%D%/look.h
%C%_outboxctl_CPPFLAGS = $(TOOLS_CPPFLAGS) $(TOOLS_CFLAGS)
%C%_outboxctl_LDADD = lib/liboutbox.la $(TOOLS_LIBS) $(JANSSON_LIBS)

sbin_PROGRAMS += %D%/outboxd
%C%_outboxd_SOURCES = \
	%D%/outboxd.c \
	%D%/address.c \
	%D%/cli.c \
	%D%/cli_config.c \
	%D%/cli_language.c \
	%D%/cli_secret.c \
	%D%/cli_version.c \
	%D%/daemon.c \
	%D%/daemon_api.c \
	%D%/daemon_guard.c \
	%D%/daemon_history.c \
	%D%/daemon_http.c \
	%D%/daemon_listen.c \
	%D%/daemon_log.c \
	%D%/daemon_notify.c \
	%D%/look.c \
	%D%/address.h \
	%D%/cli.h \
	%D%/daemon.h \
	%D%/daemon_api.h \
	%D%/daemon_guard.h \
	%D%/daemon_history.h \
	%D%/daemon_http.h \
	%D%/daemon_listen.h \
	%D%/daemon_log.h \
	%D%/daemon_notify.h \
	%D%/look.h
nodist_%C%_outboxd_SOURCES = %D%/status_html.h
%D%/outboxd-daemon_http.$(OBJEXT): %D%/status_html.h
%D%/status_html.h: $(srcdir)/%D%/status.html $(srcdir)/build-aux/embed-text
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	$(SHELL) $(srcdir)/build-aux/embed-text status_html $(srcdir)/%D%/status.html >$@.tmp && mv -f $@.tmp $@
CLEANFILES += %D%/status_html.h
%C%_outboxd_CPPFLAGS = $(TOOLS_CPPFLAGS) -I%D% $(TOOLS_CFLAGS) $(LIBMICROHTTPD_CFLAGS) $(LIBSYSTEMD_CFLAGS)
%C%_outboxd_LDADD = lib/liboutbox.la $(TOOLS_LIBS) $(JANSSON_LIBS) $(LIBMICROHTTPD_LIBS) $(LIBSYSTEMD_LIBS)

# Completions come from --help. Like outbox.conf(5) they are in the tarball.
bashcompletiondir = $(datadir)/bash-completion/completions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
dist_bashcompletion_DATA = %D%/completions/bash/outboxctl %D%/completions/bash/outboxd
dist_fishcompletion_DATA = %D%/completions/fish/outboxctl.fish %D%/completions/fish/outboxd.fish
dist_zshcompletion_DATA = %D%/completions/zsh/_outboxctl %D%/completions/zsh/_outboxd
completions = $(dist_bashcompletion_DATA) $(dist_fishcompletion_DATA) $(dist_zshcompletion_DATA)
MAINTAINERCLEANFILES += $(completions)
# A program that was not installed is linked anew by libtool when it first runs, and fails where several do so at once.
%D%/linked: %D%/outboxctl$(EXEEXT) %D%/outboxd$(EXEEXT)
	$(AM_V_GEN)%D%/outboxctl --version >$@.tmp && %D%/outboxd --version >>$@.tmp && mv -f $@.tmp $@
CLEANFILES += %D%/linked
$(completions): $(srcdir)/build-aux/completions $(srcdir)/%D%/outboxctl.c $(srcdir)/%D%/outboxd.c | %D%/linked
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_GEN)shell=$(@D); shell=$${shell##*/}; program=$(@F); program=$${program#_}; \
		$(srcdir)/build-aux/completions $$shell %D%/$${program%.fish} >$@.tmp && mv -f $@.tmp $@
endif
EXTRA_DIST += build-aux/completions build-aux/embed-text %D%/status.html
