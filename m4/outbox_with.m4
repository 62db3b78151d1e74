# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_REQUIRE(NAME, MODULE, DEBIAN-PACKAGE)
# --------------------------------------------
# A library that nothing works without. Sets NAME_CFLAGS and NAME_LIBS, and adds the
# module to outbox.pc's Requires.private, which static linking needs.
AC_DEFUN([OUTBOX_REQUIRE], [
m4_pushdef([NAME], m4_toupper([$1]))
PKG_CHECK_MODULES(NAME, [$2], [], [AC_MSG_ERROR([
pkg-config does not find $2, which liboutbox needs.
On Debian and Ubuntu: apt-get install $3
])])
OUTBOX_PC_REQUIRES_PRIVATE="${OUTBOX_PC_REQUIRES_PRIVATE:+$OUTBOX_PC_REQUIRES_PRIVATE, }$2"
AC_SUBST([OUTBOX_PC_REQUIRES_PRIVATE])
m4_popdef([NAME])
])

# OUTBOX_WITH(NAME, auto|yes|no, MODULES, HELP, [HEADER])
# -------------------------------------------------------
# A part that can be left out. --with-NAME fails when a module is missing, --without-NAME
# does not look, and `auto` takes what is there and says so in the summary: a part is never
# missing in silence. NAME may contain hyphens. With a HEADER that is looked for, and no MODULES.
# Sets with_NAME, NAME_CFLAGS, NAME_LIBS, the macro OUTBOX_WITH_NAME (0 or 1) and the
# automake conditional WITH_NAME.
AC_DEFUN([OUTBOX_WITH], [
m4_if([$2], [auto], [], [$2], [yes], [], [$2], [no], [],
  [m4_fatal([OUTBOX_WITH: the default must be auto, yes or no, not $2])])
m4_pushdef([NAME], m4_translit(m4_toupper([$1]), [-], [_]))
m4_pushdef([WITH], [with_]m4_translit([$1], [-], [_]))
AC_ARG_WITH([$1],
  [m4_case([$2],
    [no], [AS_HELP_STRING([--with-$1], [build $4 @<:@no@:>@])],
    [AS_HELP_STRING([--without-$1], [do not build $4 @<:@$2@:>@])])],
  [], [WITH=$2])
AS_CASE([$WITH], [yes|no|auto], [],
  [AC_MSG_ERROR([--with-$1=$WITH: the value must be yes, no or auto])])
outbox_why=
AS_IF([test "$WITH" != no], [
  m4_ifblank([$5], [PKG_CHECK_MODULES(NAME, [$3], [outbox_found=yes], [outbox_found=no])],
    [AC_CHECK_HEADER([$5], [outbox_found=yes], [outbox_found=no])])
  AS_IF([test "$WITH$outbox_found" = yesno],
    [m4_ifblank([$5], [AC_MSG_ERROR([--with-$1 was asked for, but pkg-config does not find: $3
$]NAME[_PKG_ERRORS])], [AC_MSG_ERROR([--with-$1 was asked for, but there is no <$5>])])])
  AS_IF([test "$outbox_found" = no], [outbox_why=" (m4_default([$3], [<$5>]) not found)"])
  WITH=$outbox_found
])
AM_CONDITIONAL([WITH_]NAME, [test "$WITH" = yes])
AS_IF([test "$WITH" = yes], [outbox_define=1], [outbox_define=0])
AC_DEFINE_UNQUOTED([OUTBOX_WITH_]NAME, [$outbox_define], [1 to build $4, otherwise 0])
OUTBOX_SUMMARY_LINE([$1], [$WITH$outbox_why])
m4_popdef([WITH])
m4_popdef([NAME])
])

# OUTBOX_CHECK_THREADS
# --------------------
# PTHREAD_CFLAGS serves compiling and linking.
AC_DEFUN([OUTBOX_CHECK_THREADS], [
PTHREAD_CFLAGS=-pthread
outbox_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $PTHREAD_CFLAGS"
AC_CACHE_CHECK([whether threads work with -pthread], [outbox_cv_pthread], [
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <pthread.h>]],
      [[pthread_t t; return pthread_create(&t, 0, 0, 0) != 0;]])],
    [outbox_cv_pthread=yes], [outbox_cv_pthread=no])])
AS_IF([test "$outbox_cv_pthread" = no], [AC_MSG_ERROR([liboutbox needs POSIX threads])])
# Only now, as the function checks that follow configure.ac's line need the flag too.
CFLAGS=$outbox_save_CFLAGS
AC_SUBST([PTHREAD_CFLAGS])
])
