# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_CHECK_LINKER
# -------------------
# What the linker can do.
#
# Does it take a GNU version script, and does it take -z defs (no symbol left
# undefined in the shared library)? Where it does not, -fvisibility=hidden and libtool's
# -export-symbols-regex keep internals in, without symbol versions. Sanitizers leave their
# own symbols undefined on purpose, so -z defs is not used with them.
#
# Does it pack relocations (-z pack-relative-relocs), and does the loader of the C library take
# them (glibc since 2.36)? The tables of statements and settings have thousands of them, which
# are a tenth of the library otherwise. A linker that does not know the option only warns of it.
AC_DEFUN([OUTBOX_CHECK_LINKER], [
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
AC_CACHE_CHECK([whether relocations can be packed], [outbox_cv_packed_relocations], [
  outbox_save_CFLAGS=$CFLAGS outbox_save_LDFLAGS=$LDFLAGS
  CFLAGS="$CFLAGS -fPIE"
  LDFLAGS="$LDFLAGS -pie -Wl,--fatal-warnings -Wl,-z,pack-relative-relocs"
  AC_RUN_IFELSE([AC_LANG_PROGRAM([[static const char *volatile words[] = { "a", "b", "c" };]],
                                 [[return words[0][0] != 'a';]])],
    [outbox_cv_packed_relocations=yes], [outbox_cv_packed_relocations=no], [outbox_cv_packed_relocations=no])
  CFLAGS=$outbox_save_CFLAGS LDFLAGS=$outbox_save_LDFLAGS
])
PACKED_RELOCATIONS=
AS_IF([test "$outbox_cv_packed_relocations" = yes], [PACKED_RELOCATIONS=-Wl,-z,pack-relative-relocs])
AC_SUBST([PACKED_RELOCATIONS])
])
