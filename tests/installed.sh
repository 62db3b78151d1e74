#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Install into a temporary folder, then use the result as a stranger would: with pkg-config
# alone. Each example compiles and links, shared and static; each public header compiles by
# itself in C and in C++; the migrations are there. Prints TAP.
set -eu

srcdir=${OUTBOX_SRCDIR:?run this through make check}
builddir=${OUTBOX_BUILDDIR:?run this through make check}
pkg_config=${OUTBOX_PKG_CONFIG:-pkg-config}
# As lists, since CC may carry flags.
read -ra cc <<<"${OUTBOX_CC:-cc}"
read -ra cxx <<<"${OUTBOX_CXX:-}"

if [ -n "${OUTBOX_SANITIZERS:-}" ]; then
	echo "1..0 # SKIP a sanitized library does not link with plain programs"
	exit 0
fi

# shellcheck source=tests/tap.bash
. "$srcdir/tests/tap.bash"
tmp=$tap_folder
root=$tmp/root

# Not as a part of the make that runs this: its flags would have it join that one's jobs. Alone with the modules:
# libtool links each again for its final place, and moves the one that is there away while it does.
install_all() (
	exec 9>"$builddir/tests/modules.lock"
	! command -v flock >/dev/null || flock 9
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u GNUMAKEFLAGS \
		"${OUTBOX_MAKE:-make}" -C "$builddir" install DESTDIR="$root" 9>&-
)
try "make install DESTDIR=" install_all
if [ "$tap_failed" -ne 0 ]; then
	finish
	exit 1
fi

# outbox.pc names the final folders. Only its own are moved, as a sysroot would also move
# those of the libraries that it requires.
pc=$(find "$root" -name outbox.pc)
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR
variable() {
	"$pkg_config" --variable="$1" outbox
}
libdir=$root$(variable libdir)
includedir=$root$(variable includedir)
migrationsdir=$root$(variable migrationsdir)
flags() {
	"$pkg_config" --define-variable=libdir="$libdir" --define-variable=includedir="$includedir" \
		"$@" outbox
}
read -ra cflags <<<"$(flags --cflags)"
read -ra libs <<<"$(flags --libs)"
read -ra static_libs <<<"$(flags --static --libs)"
echo "# cflags: ${cflags[*]}"
echo "# libs: ${libs[*]}"
echo "# static: ${static_libs[*]}"

# A shared link must not bring in what only the library itself uses.
shared_is_minimal() {
	[ "${libs[*]}" = "-L$libdir -loutbox" ]
}
try "pkg-config --libs names liboutbox only" shared_is_minimal

# ---- What systemd reads ----

if [ -e "$builddir/tools/outboxd" ]; then
	for unit in outboxd.service outboxd@.service; do
		try "$unit is where systemd looks for it" [ -s "$root$(variable prefix)/lib/systemd/system/$unit" ]
	done
fi

# ---- Headers ----

for header in "$includedir"/outbox/*.h "$includedir"/outbox/sys/*.h; do
	[ -e "$header" ] || continue
	name=${header#"$includedir/"}
	printf '#include <%s>\n#include <%s>\nint outbox_header_test(void);\nint outbox_header_test(void) { return 0; }\n' \
		"$name" "$name" >"$tmp/header.c"
	cp "$tmp/header.c" "$tmp/header.cc"
	try "<$name> alone, C11" "${cc[@]}" -std=c11 -pedantic -Wall -Wextra -Werror "${cflags[@]}" \
		-c "$tmp/header.c" -o "$tmp/header.o"
	if [ ${#cxx[@]} -gt 0 ]; then
		try "<$name> alone, C++11" "${cxx[@]}" -std=c++11 -pedantic -Wall -Wextra -Werror \
			"${cflags[@]}" -c "$tmp/header.cc" -o "$tmp/header.o"
	else
		skip "<$name> alone, C++11" "no C++ compiler"
	fi
done

# ---- Programs ----

if [ -e "$libdir/liboutbox.so" ]; then
	shared=1
else
	shared=
fi
# With only the archive to be found, -loutbox means the archive.
static=
if [ -e "$libdir/liboutbox.a" ]; then
	static=$tmp/static
	mkdir "$static"
	cp "$libdir/liboutbox.a" "$static"
	read -ra static_libs <<<"$(libdir=$static flags --static --libs)"
fi

cat >"$tmp/version.cc" <<'CODE'
#include <outbox/outbox.h>
#include <cstdio>
#include <cstring>

int main()
{
    std::printf("%s\n", outbox_version());
    return std::strcmp(outbox_version(), OUTBOX_VERSION) != 0 || outbox_version_number() != OUTBOX_VERSION_NUMBER;
}
CODE
cp "$tmp/version.cc" "$tmp/version.c"
sed -i 's/<cstdio>/<stdio.h>/; s/<cstring>/<string.h>/; s/std:://g; s/main()/main(void)/' "$tmp/version.c"

# program WHAT COMPILER... : compiles $source with $extra and runs it when $run is set.
program() {
	"$@" "$source" "${extra[@]}" -o "$tmp/program" || return 1
	[ -z "$run" ] || LD_LIBRARY_PATH=$libdir "$tmp/program"
}

run=1
if [ -n "$shared" ]; then
	source=$tmp/version.c
	extra=("${cflags[@]}" "${libs[@]}")
	try "a C program, shared" program "${cc[@]}"
	if [ ${#cxx[@]} -gt 0 ]; then
		source=$tmp/version.cc
		try "a C++ program, shared" program "${cxx[@]}" -std=c++11 -pedantic -Werror
	else
		skip "a C++ program, shared" "no C++ compiler"
	fi
fi
if [ -n "$static" ]; then
	source=$tmp/version.c
	extra=("${cflags[@]}" "${static_libs[@]}")
	try "a C program with liboutbox.a" program "${cc[@]}"
	not_shared() {
		! ldd "$tmp/program" | grep liboutbox
	}
	try "liboutbox.a leaves no need for liboutbox.so" not_shared
fi

# Examples are compiled and linked; running them takes a database, which other tests have.
run=
for source in "$srcdir"/examples/*.c; do
	[ -e "$source" ] || continue
	name=examples/${source##*/}
	if [ -n "$shared" ]; then
		extra=("${cflags[@]}" "${libs[@]}")
		# An example that makes its own ODBC connection links with ODBC, as it says itself.
		if grep -q '#include <sql.*\.h>' "$source"; then
			read -ra odbc <<<"$("$pkg_config" --cflags --libs odbc)"
			extra+=("${odbc[@]}")
		fi
		try "$name, shared" program "${cc[@]}" -Wall -Wextra -Werror
	fi
	if [ -n "$static" ]; then
		extra=("${cflags[@]}" "${static_libs[@]}")
		try "$name, with liboutbox.a" program "${cc[@]}" -Wall -Wextra -Werror
	fi
done

# A publisher as a module, by the line that the guide has; whoever meets its scheme finds it.
# shellcheck disable=SC2016  # what eval reads
as_the_guide_says() (
	mkdir -p "$tmp/module" && cd "$tmp/module" && cp "$srcdir/examples/scheme.c" . &&
		line=$(grep '^cc .* -DLINES_MODULE ' "$srcdir/doc/publishers.md") &&
		line='"${cc[@]}" -Wall -Wextra -Werror'${line#cc} &&
		eval "${line/pkg-config --cflags --libs outbox/flags --cflags --libs}" &&
		OUTBOX_DSN=sqlite:none OUTBOX_MODULE_PATH=. LD_LIBRARY_PATH=$libdir \
			"$root$(variable prefix)/bin/outboxd" --check --publisher lines:///tmp/messages
)
if [ -n "$shared" ] && [ -e "$root$(variable prefix)/bin/outboxd" ]; then
	try "examples/scheme.c as a module, which outboxd finds" as_the_guide_says
fi

# ---- Files ----

# Every template has its rendered file, with no name left to fill in.
migrations_are_there() {
	local file status=0
	for file in "$srcdir"/migrations/*/[0-9]*.sql; do
		file=${file#"$srcdir/migrations/"}
		if [ ! -s "$migrationsdir/$file" ]; then
			echo "missing: $file"
			status=1
		fi
	done
	if grep -rn '[{}]' "$migrationsdir"; then
		status=1
	fi
	return "$status"
}
try "migrations are installed with the default names" migrations_are_there

# `man NAME` finds a page for each symbol, type and macro: a page, or one that sources a page which is there.
pages_are_there() {
	local name page target status=0
	sed -n 's/^ *\(outbox_[a-z0-9_]*\);.*/\1/p' "$srcdir/lib/outbox.map" >"$tmp/names"
	[ -s "$tmp/names" ] || return 1
	grep -ohE '\b(outbox_[a-z_]+_fn|outbox_message|OUTBOX_[A-Z_]+_INIT|OUTBOX_ERR_[A-Z]+)\b' \
		"$srcdir"/lib/include/outbox/*.h >>"$tmp/names"
	sort -u "$tmp/names" >"$tmp/all-names"
	while read -r name; do
		page=$man3dir/$name.3
		if [ ! -s "$page" ]; then
			echo "no page for $name"
			status=1
			continue
		fi
		target=$(sed -n '1s/^\.so man3\///p' "$page")
		if ! grep -qE "(Nm|Dv) $name( |\$)" "$man3dir/${target:-$name.3}"; then
			echo "the page for $name does not name it"
			status=1
		fi
	done <"$tmp/all-names"
	return "$status"
}
man3dir=$(dirname "$(find "$root" -name outbox_relay.3)")
try "there is a manual page for each symbol, type and macro" pages_are_there

# Each file is in a package: of Debian, whose build fails otherwise, and of RPM.
# (Paths are as in a distribution: below usr/, libraries in usr/lib/ARCHITECTURE/, zsh's completions where Debian has them.)
in_packages() { # PATTERN on each line of a file: itself, or what is below it
	local file pattern found status=0
	while read -r file; do
		found=
		while read -r pattern; do
			# shellcheck disable=SC2053  # a pattern
			if [[ $file == $pattern || $file == $pattern/* ]]; then
				found=1
				break
			fi
		done <"$1"
		if [ -z "$found" ]; then
			echo "in no package: $file"
			status=1
		fi
	done <"$tmp/installed-files"
	return "$status"
}
prefix=$root$(variable prefix)
find "$root" ! -type d ! -name '*.la' |
	sed -e "s|^$libdir/|$prefix/lib/any/|; s|^$prefix/lib/any/systemd/|$prefix/lib/systemd/|; s|^$prefix/|usr/|" \
		-e 's|zsh/site-functions|zsh/vendor-completions|' >"$tmp/installed-files"
if [ -e "$srcdir/debian/control" ]; then
	awk '{ print $1 }' "$srcdir"/debian/*.install >"$tmp/debian-files"
	try "each file is in a package of Debian" in_packages "$tmp/debian-files"
else
	skip "each file is in a package of Debian" "there is no debian/ here"
fi
sed -nE '/^%files/,/^%changelog/{ s/^%dir .*//; s/^%\{_libdir\}/usr\/lib\/any/; s/^%\{_(bin|sbin|include)dir\}/usr\/\1/
	s/^%\{_prefix\}/usr/; s/^%\{_mandir\}/usr\/share\/man/; s/^%\{_docdir\}/usr\/share\/doc/
	s/^%\{_datadir\}/usr\/share/; s/zsh\/site-functions/zsh\/vendor-completions/; /^usr/p; }' \
	"$srcdir/build-aux/liboutbox.spec" >"$tmp/spec-files"
sed -nE 's|^%find_lang ([^ ]*).*|usr/share/locale/*/LC_MESSAGES/\1.mo|p' "$srcdir/build-aux/liboutbox.spec" >>"$tmp/spec-files"
echo usr/lib/any/liboutbox.a >>"$tmp/spec-files" # built for Debian only
try "each file is in a package of RPM" in_packages "$tmp/spec-files"

no_libtool_leftovers() {
	! grep -rlF "$builddir" "$root" --include='*.pc' --include='*.h' --include='*.sql'
}
try "no installed text names the build's folder" no_libtool_leftovers

uninstall_all() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u GNUMAKEFLAGS \
		"${OUTBOX_MAKE:-make}" -C "$builddir" uninstall DESTDIR="$root" &&
		! find "$root" ! -type d | grep .
}
try "make uninstall leaves nothing" uninstall_all

finish
