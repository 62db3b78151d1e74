# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes section 3 of the manual from the comments of the public headers, so that there is one text of each.
#
#   awk -f header-read.awk -f header-man.awk -v want=WHAT HEADER...
#
#   want=page     the page named by -v page=outbox_relay, as mdoc
#   want=links    `name page` for each name that has no page of its own
#   want=names    `kind name page since` for each name
#   want=gaps     what lacks documentation, a line each
#
# A page begins at a comment with `@file outbox/NAME.h` (the page outbox_NAME) or `@page NAME`, whose first line after
# that says what it is; it goes on to the next of these. All that is declared there is on it, and a page that was begun
# may be taken up again. In comments:
#
#   @param[in] NAME text, @return text, @threads text   as they say; in a page's comment, @threads holds for all of it
#   @example FILE        the file of that name, given by -v examples=FOLDER, is the page's example
#   Since 0.1.           anywhere: the version that brought it
#
# Lines that are indented by four more are code. Works with mawk, gawk, and any other POSIX awk.

function fail(what) {
    print "header-man: " what >"/dev/stderr"
    failed = 1
}

function trim(s) {
    gsub(/^[ \t\n]+|[ \t\n]+$/, "", s)
    return s
}

function squeeze(s) {
    gsub(/[ \t\n]+/, " ", s)
    return trim(s)
}

# ---- Reading: pages, and the items that are declared on them ----

# A comment's text without its stars; lines stay.
function comment_text(s,    lines, n, i, out, line) {
    sub(/^[ \t]*\/\*\*<?/, "", s)
    sub(/[ \t]*\*\/[ \t\n]*$/, "", s)
    n = split(s, lines, "\n")
    for (i = 1; i <= n; i++) {
        line = lines[i]
        sub(/^[ \t]*\*( |$)/, "", line)
        out = out (i > 1 ? "\n" : "") line
    }
    return out
}

# Takes "Since 0.1." out of doc_text, for the item or member with this name.
function take_since(s) {
    taken_since = ""
    if (match(s, /Since[ \t\n]+[0-9]+(\.[0-9]+)+\./)) {
        taken_since = trim(substr(s, RSTART + 5, RLENGTH - 6))
        s = substr(s, 1, RSTART - 1) substr(s, RSTART + RLENGTH)
    }
    return s
}

# Splits a comment at its tags into the globals doc_text, doc_return, doc_threads, doc_since, doc_file, doc_page,
# doc_example, doc_params, param_name[], param_dir[] and param_text[].
function parse_doc(raw,    s, tag, rest, body, next_at) {
    doc_return = doc_threads = doc_file = doc_page = doc_example = ""
    doc_params = 0
    s = take_since(comment_text(raw))
    doc_since = taken_since
    if (match(s, /Any thread\./)) {
        doc_threads = "Any."
        s = substr(s, 1, RSTART - 1) substr(s, RSTART + RLENGTH)
    }
    if (!match(s, TAG)) {
        doc_text = s
        return
    }
    doc_text = substr(s, 1, RSTART - 1)
    s = substr(s, RSTART)
    while (match(s, TAG)) {
        tag = substr(s, RSTART + 1, RLENGTH - 1)
        rest = substr(s, RSTART + RLENGTH)
        next_at = match(rest, TAG)
        body = next_at ? substr(rest, 1, next_at - 1) : rest
        s = next_at ? substr(rest, next_at) : ""
        if (tag ~ /^param/) {
            doc_params++
            param_dir[doc_params] = tag
            gsub(/param\[|\]/, "", param_dir[doc_params])
            body = squeeze(body)
            param_name[doc_params] = body
            sub(/ .*/, "", param_name[doc_params])
            sub(/^[^ ]+ ?/, "", body)
            sub(/\.$/, "", body)
            param_text[doc_params] = body
        } else if (tag == "return") {
            doc_return = squeeze(body)
        } else if (tag == "threads") {
            doc_threads = squeeze(body)
        } else if (tag == "example") {
            doc_example = squeeze(body)
        } else {
            # @file and @page: the name, then what it is, then the text.
            doc_page = body
            sub(/^[ \t]+/, "", doc_page)
            body = doc_page
            sub(/[ \t\n].*/, "", doc_page)
            body = trim(substr(body, length(doc_page) + 1))
            doc_file = tag == "file"
            doc_text = body
        }
    }
}

function begin_page(    end) {
    if (doc_file) {
        header_name = doc_page
        page_name = doc_page
        sub(/\.h$/, "", page_name)
        gsub(/\//, "_", page_name)
    } else {
        page_name = doc_page
    }
    if (page_name in page_header && doc_text == "") # taken up again
        return
    page_header[page_name] = header_name
    # The first sentence is what NAME says.
    end = index(doc_text, ".")
    page_what[page_name] = squeeze(substr(doc_text, 1, end - 1))
    page_text[page_name] = trim(substr(doc_text, end + 1))
    page_threads[page_name] = doc_threads
    page_example[page_name] = doc_example
}

function new_item(kind, name,    i) {
    items++
    item_kind[items] = kind
    item_name[items] = name
    item_page[items] = page_name
    item_where[items] = FILENAME ":" FNR
    item_text[items] = doc_text
    item_return[items] = doc_return
    item_threads[items] = doc_threads
    item_since[items] = doc_since
    item_params[items] = doc_params
    for (i = 1; i <= doc_params; i++) {
        item_param[items, i] = param_name[i]
        item_dir[items, i] = param_dir[i]
        item_param_text[items, i] = param_text[i]
    }
    if (name in item_of && kind != "type")
        fail(item_where[items] ": " name " is declared twice")
    if (!(name in item_of))
        item_of[name] = items
}

function without_comments(s,    out, i, rest) {
    while ((i = index(s, "/*")) > 0) {
        out = out substr(s, 1, i - 1) " "
        rest = substr(s, i + 2)
        s = substr(rest, index(rest, "*/") + 2)
    }
    return out s
}

# The members of a struct (ended by ;) or of an enum (ended by , or nothing), with their comments.
function parse_members(body, end,    at, comment, pending, code, close_at, last) {
    last = 0
    while ((body = trim(body)) != "") {
        if (substr(body, 1, 2) == "/*") {
            close_at = index(body, "*/")
            comment = substr(body, 1, close_at + 1)
            body = substr(body, close_at + 2)
            if (comment ~ /^\/\*\*</ && last)
                member_text[items, last] = squeeze(take_since(comment_text(comment)))
            else if (comment ~ /^\/\*\*/)
                pending = squeeze(take_since(comment_text(comment)))
            if (last && taken_since != "" && comment ~ /^\/\*\*</)
                member_since[items, last] = taken_since
            continue
        }
        at = index(body, end)
        comment = index(body, "/*")
        if (at == 0 || (comment > 0 && comment < at && end == ","))
            at = comment > 0 ? comment : length(body) + 1
        code = squeeze(substr(body, 1, at - 1))
        body = substr(body, substr(body, at, 1) == end ? at + 1 : at)
        if (code == "")
            continue
        last = ++members[items]
        member_code[items, last] = code
        member_text[items, last] = pending
        member_since[items, last] = pending != "" ? taken_since : ""
        pending = ""
    }
}

# What a function or a callback takes, from the text between its parentheses.
function parse_arguments(s,    parts, n, i) {
    n = split(s, parts, ",")
    arguments[items] = 0
    for (i = 1; i <= n; i++) {
        parts[i] = squeeze(parts[i])
        if (parts[i] == "void" || parts[i] == "")
            continue
        argument[items, ++arguments[items]] = parts[i]
        argument_name[items, arguments[items]] = name_in(parts[i])
    }
}

# The name that a declaration declares.
function name_in(s) {
    if (match(s, /\(\*[a-z_0-9]+\)/))
        return substr(s, RSTART + 2, RLENGTH - 3)
    sub(/ = .*/, "", s)
    sub(/\[[^]]*\]$/, "", s)
    sub(/.*[^A-Za-z0-9_]/, "", s)
    return s
}

function declaration(raw,    code, name, body, open_at) {
    code = squeeze(without_comments(raw))
    sub(/ ?;$/, "", code)
    if (raw !~ /\n/ && match(raw, /;[ \t]*\/\*\*</)) # a typedef of one line, documented behind
        parse_doc(substr(raw, RSTART + 1))
    if (code ~ /^OUTBOX_API /) {
        sub(/^OUTBOX_API /, "", code)
        open_at = index(code, "(")
        name = name_in(substr(code, 1, open_at - 1))
        new_item("function", name)
        item_type[items] = trim(substr(code, 1, open_at - 1 - length(name)))
        parse_arguments(substr(code, open_at + 1, length(code) - open_at - 1))
    } else if (code ~ /^typedef [^{]*\(\*/) {
        name = name_in(code)
        new_item("callback", name)
        item_type[items] = trim(substr(code, 9, index(code, "(") - 9))
        sub(/^[^)]*\)\(/, "", code)
        sub(/\)$/, "", code)
        parse_arguments(code)
    } else if (code ~ /^typedef (struct|enum) [a-z_0-9]+ ?\{/) {
        name = code
        sub(/.*[ }]/, "", name)
        new_item(code ~ /^typedef enum/ ? "enum" : "struct", name)
        body = substr(raw, index(raw, "{") + 1)
        sub(/\}[^}]*$/, "", body)
        parse_members(body, item_kind[items] == "enum" ? "," : ";")
    } else if (code ~ /^typedef /) {
        new_item("type", name_in(code))
        item_type[items] = code
    } else {
        fail(FILENAME ":" FNR ": cannot tell what this declares: " code)
    }
}

function macro(line,    name, parameters) {
    name = line
    sub(/^[ \t]*#[ \t]*define[ \t]+/, "", name)
    parameters = ""
    if (match(name, /^[A-Za-z0-9_]+\([^)]*\)/)) {
        parameters = substr(name, 1, RLENGTH)
        sub(/^[^(]*/, "", parameters)
    }
    sub(/[^A-Za-z0-9_].*/, "", name)
    # What headers need for themselves.
    if (name ~ /_H$/ || name ~ /^OUTBOX_(API|BEGIN_DECLS|END_DECLS)$/)
        return
    new_item("macro", name)
    item_type[items] = name parameters
}

function forget_doc() {
    raw_doc = ""
    parse_doc("")
}

BEGIN {
    TAG = "@(param\\[[a-z,]+\\]|return|threads|file|page|example)"
    OFS = " "
    parse_doc("")
}

FILENAME ~ /version\.h$/ { next } # made from version.h.in, which has the comments, too
FNR == 1 { page_name = header_name = "" }

in_doc || (!in_code && /^[ \t]*\/\*\*([^<*\/]|$)/) {
    raw_doc = in_doc ? raw_doc "\n" $0 : $0
    in_doc = $0 !~ /\*\//
    if (!in_doc) {
        # A declaration may follow on the line.
        parse_doc(raw_doc)
        if (doc_page != "") {
            begin_page()
            forget_doc()
        }
    }
    next
}
in_plain || (!in_code && /^[ \t]*\/\*/) {
    in_plain = $0 !~ /\*\//
    next
}
in_macro { in_macro = /\\$/; next }
!in_code && /^[ \t]*#[ \t]*define/ {
    macro($0)
    in_macro = /\\$/
    forget_doc()
    next
}
!in_code && (/^[ \t]*#/ || /^[ \t]*$/ || /^OUTBOX_(BEGIN|END)_DECLS/) {
    forget_doc()
    next
}
{
    raw_code = in_code ? raw_code "\n" $0 : $0
    code_so_far = without_comments(raw_code)
    opened = gsub(/\{/, "{", code_so_far)
    closed = gsub(/\}/, "}", code_so_far)
    in_code = opened != closed || code_so_far !~ /;[ \t\n]*$/ || $0 ~ /\/\*[^*]*$/ && $0 !~ /\*\//
    if (!in_code) {
        declaration(raw_code)
        forget_doc()
    }
}

# ---- What is missing ----

function lacks(i, what) {
    print item_where[i] ": " item_name[i] " " what
    gaps++
}

function look_for_gaps(i,    k, j, found) {
    if (item_page[i] == "")
        lacks(i, "is on no page: the header needs a comment with @file")
    if (squeeze(item_text[i]) == "" && item_return[i] == "")
        lacks(i, "has no description")
    if (item_since[i] == "")
        lacks(i, "does not say since which version it is there")
    for (k = 1; k <= members[i]; k++)
        if (member_text[i, k] == "")
            lacks(i, "has a member without a description: " name_in(member_code[i, k]))
    if (item_kind[i] != "function" && item_kind[i] != "callback")
        return
    for (k = 1; k <= arguments[i]; k++) {
        found = argument_name[i, k] == "" # "..."
        for (j = 1; j <= item_params[i]; j++)
            if (item_param[i, j] == argument_name[i, k])
                found = j
        if (!found)
            lacks(i, "has no @param for " argument_name[i, k])
        else if (item_dir[i, found] !~ /^(in|out|in,out)$/)
            lacks(i, "has a @param without a direction: " argument_name[i, k])
        else if (item_param_text[i, found] == "")
            lacks(i, "says nothing of its parameter " argument_name[i, k])
    }
    if (item_params[i] > arguments[i])
        lacks(i, "describes parameters that it does not have")
    if (item_type[i] != "void" && item_return[i] == "")
        lacks(i, "has no @return")
    if (item_threads[i] == "" && page_threads[item_page[i]] == "")
        lacks(i, "does not say which threads may call it, and its page neither")
    if (item_type[i] == "int" && argument[i, arguments[i]] ~ /^outbox_error \*\*/ &&
        item_return[i] !~ /OUTBOX_|outbox_[a-z_]+\(\)/)
        lacks(i, "does not say which codes it returns")
}

# An object's type is declared where all can see it, and belongs on the page of that name.
function move_types(    i) {
    for (i = 1; i <= items; i++)
        if (item_kind[i] == "type" && (item_name[i] in page_header))
            item_page[i] = item_name[i]
}

function print_names(i,    k, name) {
    if (want == "names")
        print item_kind[i], item_name[i], item_page[i], item_since[i]
    else if (item_name[i] != item_page[i])
        print item_name[i], item_page[i]
    for (k = 1; item_kind[i] == "enum" && k <= members[i]; k++) {
        name = name_in(member_code[i, k])
        if (want == "names")
            print "constant", name, item_page[i], member_since[i, k] != "" ? member_since[i, k] : item_since[i]
        else
            print name, item_page[i]
    }
}

END {
    if (in_doc || in_code)
        fail("a comment or a declaration does not end")
    move_types()
    if (want == "page")
        write_page()
    for (i = 1; i <= items; i++)
        if (want == "gaps")
            look_for_gaps(i)
        else if (want != "page")
            print_names(i)
    if (failed)
        exit 1
}
