# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_WARNINGS
# ---------------
# Probe the warnings that this code is kept free of, and offer --enable-werror. They are
# in WARN_CFLAGS rather than CFLAGS, so that a user's CFLAGS come later and win.
AC_DEFUN([OUTBOX_WARNINGS], [
AC_ARG_ENABLE([werror],
  [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors (for development)])],
  [], [enable_werror=no])
WARN_CFLAGS=
OUTBOX_COMPILER_FLAGS([WARN_CFLAGS], [m4_normalize([
  -Wall -Wextra -Wpedantic
  -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
  -Wpointer-arith -Wwrite-strings -Wundef -Wvla
  -Wformat=2 -Wno-format-nonliteral
  -Wimplicit-fallthrough -Wlogical-op -Wduplicated-cond -Wduplicated-branches
  -Wdate-time -Wno-overlength-strings
])])
AS_IF([test "$enable_werror" != no], [AS_VAR_APPEND([WARN_CFLAGS], [" -Werror"])])
AC_SUBST([WARN_CFLAGS])
])
