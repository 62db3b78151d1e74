# SPDX-License-Identifier: LGPL-2.1-or-later
# OUTBOX_DRIVERS
# --------------
# Of the table of drivers, which is driver_sources in drivers/local.mk, make the rows of drivers/table.h; and with
# migration_names of migrations/local.mk, @migrations@: what the driver's folders have to have.
AC_DEFUN([OUTBOX_DRIVERS], [
outbox_drivers=`sed -n '/^driver_sources = /,/^$/s|^	%D%/\([[a-z0-9]]*\)\.c.*|\1|p' "$srcdir/drivers/local.mk"`
outbox_names=`sed -n 's|^migration_names = ||p' "$srcdir/migrations/local.mk"`
OUTBOX_DRIVER_ROWS= migrations= outbox_last=
for outbox_driver in $outbox_drivers; do
  OUTBOX_DRIVER_ROWS="$OUTBOX_DRIVER_ROWS X($outbox_driver)"
  outbox_last=$outbox_driver
  for outbox_file in drivers/$outbox_driver.c `printf "migrations/$outbox_driver/%s.sql " $outbox_names`; do
    test -f "$srcdir/$outbox_file" || AC_MSG_ERROR([drivers/local.mk names a driver $outbox_driver, without $outbox_file])
    AS_CASE([$outbox_file], [migrations/*], [migrations="$migrations $outbox_file"])
  done
done
test "$outbox_last" = generic || AC_MSG_ERROR([driver_sources in drivers/local.mk does not end in generic])
AC_SUBST([OUTBOX_DRIVER_ROWS])
AC_SUBST([migrations])
AC_CONFIG_FILES([drivers/table.h])
AC_SUBST([CONFIG_STATUS_DEPENDENCIES], ['$(top_srcdir)/drivers/local.mk $(top_srcdir)/migrations/local.mk'])
])
