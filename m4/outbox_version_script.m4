# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_VERSION_SCRIPT
# ---------------------
# Does the linker take a GNU version script, and does it take -z defs (no symbol left
# undefined in the shared library)? Where it does not, -fvisibility=hidden and libtool's
# -export-symbols-regex keep internals in, without symbol versions. Sanitizers leave their
# own symbols undefined on purpose, so -z defs is not used with them.
AC_DEFUN([OUTBOX_VERSION_SCRIPT], [
AC_CACHE_CHECK([whether the linker takes a version script], [outbox_cv_version_script], [
  cat >conftest.map <<_ACEOF
CONFTEST_0 { global: main; local: *; };
_ACEOF
  outbox_save_LDFLAGS=$LDFLAGS
  LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([])], [outbox_cv_version_script=yes], [outbox_cv_version_script=no])
  LDFLAGS=$outbox_save_LDFLAGS
  rm -f conftest.map
])
AM_CONDITIONAL([HAVE_VERSION_SCRIPT], [test "$outbox_cv_version_script" = yes])
AC_CACHE_CHECK([whether the linker takes -z defs], [outbox_cv_z_defs], [
  outbox_save_LDFLAGS=$LDFLAGS
  LDFLAGS="$LDFLAGS -Wl,-z,defs"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([])], [outbox_cv_z_defs=yes], [outbox_cv_z_defs=no])
  LDFLAGS=$outbox_save_LDFLAGS
])
NO_UNDEFINED=
AS_IF([test "$outbox_cv_z_defs" = yes && test -z "$OUTBOX_SANITIZERS"], [NO_UNDEFINED=-Wl,-z,defs])
AC_SUBST([NO_UNDEFINED])
])
