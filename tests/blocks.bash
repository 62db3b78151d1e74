# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The blocks of code in guides. What is marked sh, sql, c, json, ini, dsn or python is run by a test; any other block must say in the
# line before it that it is not, and why.

# blocks FILE: "LINE<tab>LANGUAGE<tab>SECTION<tab>TEXT" for each, TEXT being the line before it; indented ones are "indented".
blocks() {
	awk '
		function slug(text) { text = tolower(text); gsub(/[^a-z0-9 ]/, "", text); gsub(/ +/, "_", text); return text }
		/^ *```/ {
			on = !on
			if (on) { language = $0; sub(/^ *```/, "", language); print NR "\t" (language == "" ? "none" : language) "\t" section "\t" last }
			blank = 0
			next
		}
		on { next }
		/^#+ / { text = $0; sub(/^#+ /, "", text); section = slug(text) }
		/^    / && blank && !list { print NR "\tindented\t" section "\t" last; next }
		/^[-*] |^ *[0-9]+\. / { list = 1 }
		/^[^ ]/ && !/^[-*] / { list = 0 }
		{ blank = $0 == "" }
		$0 != "" { last = $0 }' "$1"
}

# block FILE LINE: the text of the one that begins there, without its indentation.
block() {
	awk -v begin="$2" 'NR == begin { match($0, /^ */); indent = RLENGTH; on = 1; next }
		on && /^ *```/ { exit } on { print substr($0, indent + 1) }' "$1"
}

# told FILE LANGUAGE...: each block is of one of these, or said not to be run.
told() {
	local file=$1 line language text status=0
	shift
	while IFS=$'\t' read -r line language _ text; do
		case " $* " in
		*" $language "*) continue ;;
		esac
		if [ "$language" = indented ] || [[ $text != *"*Not run by the tests"*": "* && $text != *"*Not run by the tests, "* ]]; then
			echo "${file##*/}:$line: this block ($language) is neither run nor said not to be"
			status=1
		fi
	done < <(blocks "$file")
	return "$status"
}
