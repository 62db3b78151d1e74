# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_NLS
# ----------
# --enable-nls, which is `auto`: messages in other languages, where there are libintl's functions (in the C library, or
# beside it) and msgfmt, which makes catalogues of po/*.po. Asked for and missing stops configure. Sets the macro
# OUTBOX_WITH_NLS (0 or 1) and the conditional WITH_NLS.
#
# What gettext's own macros would do beside that is for systems of long ago, and would bring a folder with a make of its
# own: po/local.mk has the rules.
AC_DEFUN([OUTBOX_NLS], [
AC_ARG_ENABLE([nls],
  [AS_HELP_STRING([--disable-nls], [say everything in English @<:@auto@:>@])],
  [], [enable_nls=auto])
AS_CASE([$enable_nls], [yes|no|auto], [],
  [AC_MSG_ERROR([--enable-nls=$enable_nls: the value must be yes, no or auto])])
AC_ARG_VAR([MSGFMT], [the program that makes message catalogues])
AC_ARG_VAR([XGETTEXT], [the program that finds what can be translated])
AC_ARG_VAR([MSGMERGE], [the program that brings translations up to date])
AC_PATH_PROG([MSGFMT], [msgfmt])
AC_PATH_PROG([XGETTEXT], [xgettext])
AC_PATH_PROG([MSGMERGE], [msgmerge])
outbox_why=
AS_IF([test "$enable_nls" != no], [
  outbox_missing=
  # By the header, which may give the functions other names than those that a C library has.
  outbox_libs=$LIBS
  AC_CACHE_CHECK([for libintl], [outbox_cv_libintl], [
    outbox_cv_libintl=no
    for outbox_lib in "" -lintl; do
      LIBS="$outbox_lib $outbox_libs"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <libintl.h>]],
          [[return dgettext("a", "b") == bindtextdomain("a", bind_textdomain_codeset("a", "UTF-8"));]])],
        [outbox_cv_libintl=${outbox_lib:-yes}; break])
    done
    LIBS=$outbox_libs])
  AS_IF([test "$outbox_cv_libintl" = no], [outbox_missing=libintl])
  AS_IF([test -z "$MSGFMT"], [outbox_missing="${outbox_missing:+$outbox_missing, }msgfmt"])
  AS_CASE([$outbox_missing$outbox_cv_libintl], [-lintl], [LIBS="-lintl $LIBS"])
  AS_IF([test -z "$outbox_missing"], [enable_nls=yes],
    [test "$enable_nls" = yes], [AC_MSG_ERROR([--enable-nls was asked for, but this is missing: $outbox_missing
On Debian and Ubuntu: apt-get install gettext])],
    [enable_nls=no outbox_why=" ($outbox_missing not found)"])
])
AM_CONDITIONAL([WITH_NLS], [test "$enable_nls" = yes])
AS_IF([test "$enable_nls" = yes], [outbox_define=1], [outbox_define=0])
AC_DEFINE_UNQUOTED([OUTBOX_WITH_NLS], [$outbox_define], [1 to say messages in other languages, otherwise 0])
OUTBOX_SUMMARY_LINE([nls], [$enable_nls$outbox_why])
])
