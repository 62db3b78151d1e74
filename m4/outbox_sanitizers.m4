# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_CHECK_SANITIZERS
# -----------------------
# --enable-sanitizers=address,undefined or =thread. Asking for one that the compiler
# cannot link stops configure: a run that only looks sanitized is worse than none.
AC_DEFUN([OUTBOX_CHECK_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers=LIST],
    [build with these sanitizers: "address,undefined" (also plain "yes") or "thread"])],
  [], [enable_sanitizers=no])
AS_CASE([$enable_sanitizers],
  [no], [OUTBOX_SANITIZERS=],
  [yes], [OUTBOX_SANITIZERS=address,undefined],
  [OUTBOX_SANITIZERS=$enable_sanitizers])
SANITIZER_CFLAGS=
AS_IF([test -n "$OUTBOX_SANITIZERS"], [
  SANITIZER_CFLAGS="-fsanitize=$OUTBOX_SANITIZERS -fno-omit-frame-pointer -g"
  # Undefined behaviour must fail the test that shows it, not only print a line.
  AS_CASE([",$OUTBOX_SANITIZERS,"], [*,undefined,*],
    [SANITIZER_CFLAGS="$SANITIZER_CFLAGS -fno-sanitize-recover=undefined"])
  AC_MSG_CHECKING([whether $CC can link with $SANITIZER_CFLAGS])
  outbox_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS $SANITIZER_CFLAGS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([])], [AC_MSG_RESULT([yes])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([--enable-sanitizers=$enable_sanitizers: $CC cannot link with them])])
  CFLAGS=$outbox_save_CFLAGS
])
AC_SUBST([OUTBOX_SANITIZERS])
AC_SUBST([SANITIZER_CFLAGS])
AM_CONDITIONAL([SANITIZED], [test -n "$OUTBOX_SANITIZERS"])
])
