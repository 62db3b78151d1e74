# SPDX-License-Identifier: LGPL-2.1-or-later
# Of names, versions and caveats (standard input) and of what was measured (the last file), bench/peers/run's table, and
# as JSON the file that `json` names. `machine` says on what.

# Puts list[key, 1] to list[key, n] in order.
function sorted(list, key, n,    i, j, v) {
	for (i = 1; i <= n; i++) {
		v = list[key, i]
		for (j = i - 1; j > 0 && in_order[j] > v; j--)
			in_order[j + 1] = in_order[j]
		in_order[j + 1] = v
	}
}

function part(n, what) {
	return n == 0 ? 0 : in_order[int((n - 1) * what + 0.5) + 1]
}

function middle(list, key, n) {
	sorted(list, key, n)
	return part(n, 0.5) + 0
}

function range(format, list, key, n) {
	if (n == 0)
		return ""
	sorted(list, key, n)
	return sprintf(format " (" format ", " format ")", part(n, 0.5), part(n, 0), part(n, 1))
}

function array(list, key, n,    i, text) {
	for (i = 1; i <= n; i++)
		text = text (i > 1 ? ", " : "") sprintf("%.6g", list[key, i])
	return "[" text "]"
}

BEGIN {
	FS = "\t"
	split("drain\tenqueue-1\tenqueue-100", workloads)
	title["drain"] = "drain"
	title["enqueue-1"] = "enqueue, 1 a transaction"
	title["enqueue-100"] = "enqueue, 100 a transaction"
}

NF == 3 {
	name[++names] = $1
	version[$1] = $2
	caveat[$1] = $3
	next
}

{
	key = $3 SUBSEP $2
	i = ++count[key]
	messages[key] = $4
	rate[key, i] = $4 / $5
	client[key, i] = $6 * 1e6 / $4
	server[key, i] = $7 * 1e6 / $4
	at[$1, key] = i
	if ($1 > rounds)
		rounds = $1
}

# Round by round, so that what the machine did meanwhile met both.
function compare(workload, peer,    ours, theirs, r, a, b) {
	ours = workload SUBSEP "liboutbox"
	theirs = workload SUBSEP peer
	for (r = 1; r <= rounds; r++) {
		a = at[r, ours]
		b = at[r, theirs]
		if (!a || !b)
			continue
		compared[theirs]++
		ratio[theirs, compared[theirs]] = rate[ours, a] / rate[theirs, b]
		if (client[theirs, b] + server[theirs, b] > 0)
			cost[theirs, ++costed[theirs]] = (client[ours, a] + server[ours, a]) / (client[theirs, b] + server[theirs, b])
	}
}

END {
	printf "\n%s.\nMedians of %d rounds (lowest, highest). liboutbox / it: its rate to this one's; processor: " \
		"its processor time a message, client and server, to this one's.\n\n", machine, rounds
	print "| | | messages/s | liboutbox / it | processor | client µs | server µs |\n|---|---|---|---|---|---|---|"
	printf "{\"machine\": \"%s\", \"rounds\": %d, \"results\": [", machine, rounds >json
	for (w = 1; w in workloads; w++)
		for (p = 1; p <= names; p++) {
			peer = name[p]
			key = workloads[w] SUBSEP peer
			n = count[key]
			if (n == 0)
				continue
			if (peer != "liboutbox")
				compare(workloads[w], peer)
			printf "| %s | %s | %s | %s | %s | %.1f | %.1f |\n", p == 1 ? title[workloads[w]] : "", peer,
				range("%.0f", rate, key, n), range("%.2f", ratio, key, compared[key]),
				costed[key] ? sprintf("%.2f", middle(cost, key, costed[key])) : "",
				middle(client, key, n), middle(server, key, n)
			printf "%s\n{\"workload\": \"%s\", \"program\": \"%s\", \"version\": \"%s\", \"messages\": %d, \"rate\": %s, " \
				"\"client_us\": %s, \"server_us\": %s, \"ratio\": %s, \"processor_ratio\": %s}", comma, workloads[w], peer,
				version[peer], messages[key], array(rate, key, n), array(client, key, n), array(server, key, n),
				array(ratio, key, compared[key]), array(cost, key, costed[key]) >json
			comma = ","
		}
	print "\n]}" >json
	print ""
	for (p = 1; p <= names; p++)
		printf "- %s %s: %s.\n", name[p], version[name[p]], caveat[name[p]]
}
