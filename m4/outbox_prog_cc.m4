# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_PROG_CC
# --------------
# A C11 compiler, held to C11: a newer default would let newer C slip in, and that of GNU what others do not know. What
# POSIX and the system add is asked for by macros in config.h.
AC_DEFUN([OUTBOX_PROG_CC], [
AC_REQUIRE([AC_PROG_CC])
AS_IF([test "$ac_prog_cc_stdc" = no || test "$ac_prog_cc_stdc" = c89 || test "$ac_prog_cc_stdc" = c99],
  [AC_MSG_ERROR([liboutbox needs a C11 compiler; $CC is not one])])
OUTBOX_COMPILER_FLAGS([OUTBOX_CFLAGS], [-std=c11 -fvisibility=hidden])
AC_SUBST([OUTBOX_CFLAGS])
])

# OUTBOX_COMPILER_FLAGS(VARIABLE, FLAGS)
# --------------------------------------
# Append to VARIABLE those of FLAGS that the C compiler takes. The probe runs with
# -Werror, because clang only warns about a flag that it does not know.
AC_DEFUN([OUTBOX_COMPILER_FLAGS], [
for outbox_flag in $2; do
  AS_VAR_PUSHDEF([outbox_cache], [outbox_cv_cflag_$outbox_flag])
  AC_CACHE_CHECK([whether $CC takes $outbox_flag], [outbox_cache], [
    outbox_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $outbox_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([])], [AS_VAR_SET([outbox_cache], [yes])],
      [AS_VAR_SET([outbox_cache], [no])])
    CFLAGS=$outbox_save_CFLAGS
  ])
  AS_VAR_IF([outbox_cache], [yes], [AS_VAR_APPEND([$1], [" $outbox_flag"])])
  AS_VAR_POPDEF([outbox_cache])
done
])
