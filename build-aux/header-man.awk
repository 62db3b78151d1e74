# SPDX-License-Identifier: LGPL-2.1-or-later
# Writes a page of the manual as mdoc, from what header-read.awk has read.

BEGIN {
    # What comments mean by "the database's errors". The tables are looked at when they are first used.
    DATABASE_ERRORS = "OUTBOX_ERR_LOST OUTBOX_ERR_CONFLICT OUTBOX_ERR_READONLY OUTBOX_ERR_DATABASE OUTBOX_ERR_SCHEMA" \
        " OUTBOX_ERR_CONF OUTBOX_ERR_NOMEM"
}

# A word of text as mdoc: a macro line in macro_line, or "" when it is plain.
function macro_for(word,    lead, tail, core, m) {
    macro_line = ""
    core = word
    lead = tail = ""
    while (match(core, /^["(\[]/)) {
        lead = lead substr(core, 1, 1)
        core = substr(core, 2)
    }
    while (match(core, /[]",;:.)]$/) && core !~ /\(\)$/ && core !~ /[a-z]\([0-9]\)$/) {
        tail = substr(core, length(core)) " " tail
        core = substr(core, 1, length(core) - 1)
    }
    if (core ~ /^outbox_[a-z0-9_]+\(\)$/) {
        sub(/\(\)$/, "", core)
        m = (core in item_of) && item_page[item_of[core]] == page ? "Fn " core : "Xr " core " 3"
    } else if (core ~ /^[A-Za-z_]+\(\)$/) {
        m = core
        sub(/\(\)/, "", m)
        m = "Fn " m
    } else if (core ~ /^[a-zA-Z_.-]+\([0-9]\)$/) {
        m = core
        sub(/\)$/, "", m)
        sub(/\(/, " ", m)
        m = "Xr " m
    } else if (core ~ /^OUTBOX_[A-Z0-9_]+$/) {
        m = "Dv " core
    } else if (core ~ /^(schema|conn|relay|retry|ordering|clean|dedup|enqueue|wake|breaker|log)\.([a-z_][a-z_]+|\*)$/) {
        m = "Cm " core
    } else {
        return
    }
    if (lead ~ /"/ || tail ~ /"/) # quoted: stays a word
        return
    macro_line = "." (lead != "" ? "Pf " lead " " : "") m (tail != "" ? " " trim(tail) : "")
}

function plain(s) {
    gsub(/\\/, "\\e", s)
    gsub(/…/, "...", s)
    return s
}

function flush_line() {
    if (out_line != "") {
        if (out_line ~ /^[.']/)
            out_line = "\\&" out_line
        print out_line
    }
    out_line = ""
}

# Text in lines, each sentence on a new one.
function text(s,    words, n, i, w, quoted) {
    n = split(squeeze(s), words, " ")
    out_line = ""
    for (i = 1; i <= n; i++) {
        w = words[i]
        macro_for(w)
        if (macro_line != "") {
            flush_line()
            print macro_line
            continue
        }
        w = plain(w)
        while (match(w, /`/)) { # `code`
            quoted = !quoted
            w = substr(w, 1, RSTART - 1) (quoted ? "\\fB" : "\\fR") substr(w, RSTART + 1)
        }
        if (out_line != "" && length(out_line) + 1 + length(w) > 78)
            flush_line()
        out_line = out_line (out_line != "" ? " " : "") w
        if (w ~ /[^.]\.\)?$/)
            flush_line()
    }
    flush_line()
}

# Text with paragraphs and code.
function paragraphs(s, first,    lines, n, i, block, code, gap) {
    n = split(s, lines, "\n")
    block = ""
    code = 0
    gap = !first
    for (i = 1; i <= n + 1; i++) {
        if (i <= n && lines[i] ~ /^    /) {
            if (!code) {
                end_block(block, gap)
                gap = gap || block != ""
                block = ""
                print ".Bd -literal -offset indent"
                code = 1
            }
            print literal(substr(lines[i], 5))
        } else if (code && i <= n && lines[i] ~ /^[ \t]*$/ && lines[i + 1] ~ /^    /) {
            print ""
        } else {
            if (code) {
                print ".Ed"
                code = 0
                gap = 1
            }
            if (i > n || lines[i] ~ /^[ \t]*$/) {
                end_block(block, gap)
                gap = gap || block != ""
                block = ""
            } else {
                block = block " " lines[i]
            }
        }
    }
}

function end_block(block, gap) {
    if (squeeze(block) == "")
        return
    if (gap)
        print ".Pp"
    text(block)
}

function literal(s) {
    s = plain(s)
    gsub(/\t/, "        ", s)
    return s ~ /^[.']/ ? "\\&" s : s
}

# The codes in a text of what is returned: its own, those of the database, those of functions that it names.
function codes_of(i, depth,    s, name) {
    s = item_return[i]
    if (s ~ /database's errors/)
        mark(DATABASE_ERRORS)
    while (match(s, /OUTBOX_ERR_[A-Z]+|outbox_[a-z_]+\(\)/)) {
        name = substr(s, RSTART, RLENGTH)
        s = substr(s, RSTART + RLENGTH)
        if (name ~ /^OUTBOX/)
            mark(name)
        else if (depth > 0) {
            sub(/\(\)/, "", name)
            if (name in item_of)
                codes_of(item_of[name], depth - 1)
        }
    }
}

function mark(names,    parts, n, i) {
    n = split(names, parts, " ")
    for (i = 1; i <= n; i++)
        marked[parts[i]] = 1
}

function signature(i,    k) {
    if (arguments[i] == 0)
        print ".Fa void"
    for (k = 1; k <= arguments[i]; k++)
        print ".Fa \"" argument[i, k] "\""
}

function synopsis(i,    type) {
    if (item_kind[i] == "function") {
        print ".Ft \"" item_type[i] "\""
        print ".Fo " item_name[i]
        signature(i)
        print ".Fc"
    } else if (item_kind[i] == "callback") {
        print ".Ft \"typedef " item_type[i] "\""
        print ".Fo \"(*" item_name[i] ")\""
        signature(i)
        print ".Fc"
    } else if (item_kind[i] == "macro") {
        print ".Fd #define " item_type[i]
    } else {
        type = "typedef " item_kind[i] " " item_name[i] " " item_name[i]
        print ".Vt \"" (item_kind[i] == "type" ? item_type[i] : type) ";\""
    }
}

function member(i, k,    code, name, type, parts) {
    code = member_code[i, k]
    name = name_in(code)
    if (item_kind[i] == "enum") {
        sub(/.* = /, "", code)
        print ".It Dv " name " Pq " code
    } else if (code ~ /\(\*/) {
        print ".It Vt \"" code "\""
    } else {
        type = code
        match(type, name "(\\[[^]]*\\])?$")
        name = substr(type, RSTART)
        type = trim(substr(type, 1, RSTART - 1))
        print ".It Vt \"" type "\"" (type ~ /\*$/ ? " Ns" : "") " Va " name
    }
    text(member_text[i, k])
    if (member_since[i, k] != "" && member_since[i, k] != item_since[i])
        text("Since version " member_since[i, k] ".")
}

function describe(i,    k) {
    if (item_kind[i] == "type" && item_name[i] == page) # the page is about nothing else
        return
    print ".Ss " item_name[i]
    paragraphs(item_text[i], 1)
    if (members[i] > 0) {
        print ".Bl -tag -width Ds"
        for (k = 1; k <= members[i]; k++)
            member(i, k)
        print ".El"
    }
    if (item_params[i] > 0) {
        if (squeeze(item_text[i]) != "" || members[i] > 0)
            print ".Pp"
        print ".Bl -tag -width Ds -compact"
        for (k = 1; k <= item_params[i]; k++) {
            print ".It Fa " item_param[i, k] " Pq " item_dir[i, k]
            text(item_param_text[i, k])
        }
        print ".El"
    }
}

function section_returns(    n, i, any, database, names) {
    for (n = 1; n <= on_page; n++) {
        i = here[n]
        if (item_return[i] == "")
            continue
        if (!any++)
            print ".Sh RETURN VALUES\n.Bl -tag -width Ds"
        print ".It Fn " item_name[i]
        text(sentence(item_return[i]))
        if (item_return[i] ~ /database's errors/)
            database++
    }
    if (any)
        print ".El"
    if (database) {
        names = DATABASE_ERRORS
        gsub(/ /, ", ", names)
        print ".Pp"
        text("The database's errors are " names ".")
    }
}

function sentence(s) {
    return toupper(substr(s, 1, 1)) substr(s, 2) (s ~ /\.$/ ? "" : ".")
}

function lower_first(s) {
    return s ~ /^[A-Z][A-Z]/ ? s : tolower(substr(s, 1, 1)) substr(s, 2)
}

# The rule of the page, then each rule that differs, with all it holds for.
function section_threads(    n, k, rule, any, said, who) {
    print ".Sh THREADS"
    text(sentence(page_threads[page]))
    for (n = 1; n <= on_page; n++) {
        rule = item_threads[here[n]]
        if (rule == "" || rule == page_threads[page] || (rule in said))
            continue
        said[rule] = 1
        if (!any++)
            print ".Bl -tag -width Ds"
        who = ""
        for (k = n; k <= on_page; k++)
            if (item_threads[here[k]] == rule)
                who = who (who != "" ? " , Fn " : "Fn ") item_name[here[k]]
        print ".It " who
        text(sentence(rule))
    }
    if (any)
        print ".El"
}

function section_example(    line, file, count) {
    if (page_example[page] == "")
        return
    file = examples "/" page_example[page]
    print ".Sh EXAMPLES"
    text("This is " page_example[page] " of the examples that are installed with the documentation.")
    print ".Bd -literal"
    while ((getline line <file) > 0)
        if (line !~ /SPDX-License-Identifier/) {
            print literal(line)
            count++
        }
    close(file)
    if (!count)
        fail("cannot read " file)
    print ".Ed"
}

function section_errors(    n, k, any, codes, name) {
    for (n = 1; n <= on_page; n++)
        codes_of(here[n], 4)
    if (!("outbox_status" in item_of))
        return
    codes = item_of["outbox_status"]
    for (k = 1; k <= members[codes]; k++) {
        name = name_in(member_code[codes, k])
        if (!(name in marked) || item_page[codes] == page)
            continue
        if (!any++) {
            print ".Sh ERRORS"
            text("outbox_errors(7) has the names of all errors, and what to do about each. The codes mean:")
            print ".Bl -tag -width Ds"
        }
        print ".It Dv " name
        text(sentence(member_text[codes, k]))
    }
    if (any)
        print ".El"
}

# Notes the pages of the functions that a text names.
function references(s,    name, other) {
    if (s ~ /settings|outbox\.conf/)
        see_conf = 1
    while (match(s, /outbox_[a-z0-9_]+\(\)/)) {
        name = substr(s, RSTART, RLENGTH - 2)
        s = substr(s, RSTART + RLENGTH)
        other = (name in item_of) ? item_page[item_of[name]] : ""
        if (other != "" && other != page && !(other in seen_page)) {
            seen_page[other] = 1
            see[++sees] = other
        }
    }
}

function section_see_also(    n, i, k, t) {
    references(page_text[page])
    for (n = 1; n <= on_page; n++) {
        i = here[n]
        references(item_text[i] " " item_return[i])
        for (k = 1; k <= item_params[i]; k++)
            references(item_param_text[i, k])
        for (k = 1; k <= members[i]; k++)
            references(member_text[i, k])
    }
    for (i = 2; i <= sees; i++) # a few names: sorted by insertion
        for (k = i; k > 1 && see[k] < see[k - 1]; k--) {
            t = see[k]
            see[k] = see[k - 1]
            see[k - 1] = t
        }
    print ".Sh SEE ALSO"
    for (i = 1; i <= sees; i++)
        print ".Xr " see[i] " 3 ,"
    if (see_conf)
        print ".Xr outbox.conf 5 ,"
    print ".Xr outbox 7 ,\n.Xr outbox_errors 7"
}

function section_history(    n, v, i, versions, order, said) {
    for (n = 1; n <= on_page; n++) {
        v = item_since[here[n]]
        if (v != "" && !(v in said)) {
            said[v] = 1
            order[++versions] = v
        }
    }
    print ".Sh HISTORY"
    if (versions == 1) {
        text("All of this is there since version " order[1] ".")
        return
    }
    print ".Bl -tag -width Ds"
    for (v = 1; v <= versions; v++) {
        print ".It Since version " order[v]
        for (n = 1; n <= on_page; n++)
            if (item_since[here[n]] == order[v])
                print (item_kind[here[n]] == "function" ? ".Fn " : ".Dv ") item_name[here[n]]
    }
    print ".El"
}

# The type that the page is about comes first, then the order of the header.
function collect_items(    i) {
    on_page = 0
    if ((page in item_of) && item_page[item_of[page]] == page)
        here[++on_page] = item_of[page]
    for (i = 1; i <= items; i++)
        if (item_page[i] == page && item_name[i] != page)
            here[++on_page] = i
}

function section_name(    n) {
    printf ".Dt %s 3\n.Os\n.Sh NAME\n.Nm %s", toupper(page), page
    for (n = 1; n <= on_page; n++)
        if (item_name[here[n]] != page)
            printf " ,\n.Nm %s", item_name[here[n]]
    print "\n.Nd " plain(lower_first(page_what[page]))
}

function write_page(    n) {
    if (!(page in page_header)) {
        fail("no header has a page " page)
        return
    }
    collect_items()
    print ".\\\" SPDX-License-Identifier: LGPL-2.1-or-later"
    print ".\\\" Made from the comments in <" page_header[page] ">: change them there."
    print ".Dd November 23, 2026"
    section_name()
    print ".Sh LIBRARY\nThe transactional outbox"
    print ".Pq liboutbox , Fl loutbox ;\ncompile and link with"
    print ".Ql $(pkg-config --cflags --libs outbox) ."
    print ".Sh SYNOPSIS\n.In " page_header[page]
    for (n = 1; n <= on_page; n++)
        synopsis(here[n])
    print ".Sh DESCRIPTION"
    paragraphs(page_text[page], 1)
    for (n = 1; n <= on_page; n++)
        describe(here[n])
    section_returns()
    section_threads()
    section_example()
    section_errors()
    section_see_also()
    section_history()
}
