# SPDX-License-Identifier: LGPL-2.1-or-later
# Built and run on demand (`make bench`), never by `make` or `make check`. One line a program.

bench_programs = \
	%D%/flat
EXTRA_PROGRAMS += $(bench_programs)
CLEANFILES += $(bench_programs)

bench: $(bench_programs)
	@for b in $(bench_programs); do \
	  $(srcdir)/tests/with-postgres "./$$b" || exit 1; \
	done
