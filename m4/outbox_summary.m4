# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_SUMMARY_LINE(LABEL, VALUE)
# ---------------------------------
# Remember a line for the summary of what was and was not found.
AC_DEFUN([OUTBOX_SUMMARY_LINE], [
outbox_line=`printf '    %-18s %s' "$1" "$2"`
outbox_summary="$outbox_summary$outbox_line
"
])

# OUTBOX_SUMMARY
# --------------
# The last thing that configure prints.
AC_DEFUN([OUTBOX_SUMMARY], [
outbox_soversion=`expr $LT_CURRENT - $LT_AGE`
AS_IF([test "$enable_werror" = no], [outbox_warnings=shown], [outbox_warnings=errors])
AS_IF([test "$enable_shared" = yes], [outbox_kinds=shared], [outbox_kinds=])
AS_IF([test "$enable_static" = yes], [outbox_kinds="$outbox_kinds static"])
outbox_expand() {
  # A directory variable refers to others; two rounds reach the bottom.
  eval "outbox_dir=\"$[1]\""
  eval "outbox_dir=\"$outbox_dir\""
  eval "outbox_dir=\"$outbox_dir\""
}
outbox_saved_prefix=$prefix
outbox_saved_exec_prefix=$exec_prefix
test "$prefix" = NONE && prefix=$ac_default_prefix
test "$exec_prefix" = NONE && exec_prefix=$prefix
outbox_expand "$libdir"; outbox_libdir=$outbox_dir
outbox_expand "$outboxmoduledir"; outbox_modules=$outbox_dir
outbox_expand "$outboxdatadir"; outbox_data=$outbox_dir
prefix=$outbox_saved_prefix
exec_prefix=$outbox_saved_exec_prefix
AC_MSG_NOTICE([

  $PACKAGE_NAME $PACKAGE_VERSION, soname liboutbox.so.$outbox_soversion

    compiler           $CC
    flags              $CFLAGS
    libraries          $outbox_kinds
    version script     $outbox_cv_version_script
    warnings           $outbox_warnings
    sanitizers         ${OUTBOX_SANITIZERS:-no}

$outbox_summary
    libraries in       $outbox_libdir
    modules in         $outbox_modules
    migrations in      $outbox_data/migrations
])
])
