# SPDX-License-Identifier: LGPL-2.1-or-later
# The tools use the public API only: they are linked with the library that is installed, and
# would not link if they reached for something internal.

if WITH_TOOLS
bin_PROGRAMS += %D%/outboxctl
%C%_outboxctl_SOURCES = \
	%D%/outboxctl.c \
	%D%/cli.c \
	%D%/cli_config.c \
	%D%/cli_secret.c \
	%D%/ctl_audit.c \
	%D%/ctl_change.c \
	%D%/ctl_doctor.c \
	%D%/ctl_enqueue.c \
	%D%/ctl_lines.c \
	%D%/ctl_list.c \
	%D%/ctl_migrate.c \
	%D%/ctl_settings.c \
	%D%/ctl_stats.c \
	%D%/cli.h \
	%D%/ctl.h
%C%_outboxctl_CPPFLAGS = $(AM_CPPFLAGS) $(TOOLS_CFLAGS)
%C%_outboxctl_LDADD = lib/liboutbox.la $(TOOLS_LIBS) $(JANSSON_LIBS)

sbin_PROGRAMS += %D%/outboxd
%C%_outboxd_SOURCES = \
	%D%/outboxd.c \
	%D%/cli.c \
	%D%/cli_config.c \
	%D%/cli_secret.c \
	%D%/daemon.c \
	%D%/daemon_log.c \
	%D%/daemon_notify.c \
	%D%/cli.h \
	%D%/daemon.h \
	%D%/daemon_log.h \
	%D%/daemon_notify.h
%C%_outboxd_CPPFLAGS = $(AM_CPPFLAGS) $(TOOLS_CFLAGS) $(LIBSYSTEMD_CFLAGS)
%C%_outboxd_LDADD = lib/liboutbox.la $(TOOLS_LIBS) $(LIBSYSTEMD_LIBS) $(JANSSON_LIBS)
endif
