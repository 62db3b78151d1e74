# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks at metrics as Prometheus does, with its own parser.

exposition TEXT JSON: whether the text keeps to the format and its conventions, and says what the JSON says.
value TEXT NAME [LABEL=VALUE...]: prints a sample.
known TEXT FILE...: whether each metric that a file names is one that the text has.
"""
import json
import re
import sys

from prometheus_client.parser import text_string_to_metric_families


def families(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(text_string_to_metric_families(file.read()))


def samples(path):
    return {(s.name, frozenset(s.labels.items())): s.value for f in families(path) for s in f.samples}


def json_samples(path):
    with open(path, encoding="utf-8") as file:
        metrics = json.load(file)["metrics"]
    for metric in metrics:
        for sample in metric["samples"]:
            labels = sample["labels"]
            if metric["type"] != "histogram":
                yield metric["name"], labels, sample["value"]
                continue
            for bucket in sample["buckets"]:
                le = bucket["le"]
                yield metric["name"] + "_bucket", {**labels, "le": le if le == "+Inf" else f"{le:g}"}, bucket["count"]
            yield metric["name"] + "_sum", labels, sample["sum"]
            yield metric["name"] + "_count", labels, sample["count"]


def check_histogram(family):
    rows = {}
    for s in family.samples:
        rest = frozenset((k, v) for k, v in s.labels.items() if k != "le")
        rows.setdefault(rest, []).append(s)
    for row in rows.values():
        buckets = [(float(s.labels["le"]), s.value) for s in row if s.name.endswith("_bucket")]
        count = [s.value for s in row if s.name.endswith("_count")]
        if buckets != sorted(buckets) or [v for _, v in buckets] != sorted(v for _, v in buckets):
            yield f"{family.name}: the buckets do not grow"
        if not buckets or buckets[-1] != (float("inf"), count[0]):
            yield f"{family.name}: the last bucket is not +Inf with the count"


def check_family(family):
    name = family.name
    if not family.documentation:
        yield f"{name} has no HELP"
    if family.type not in ("counter", "gauge", "histogram"):
        yield f"{name} is {family.type}"
    if not re.fullmatch(r"outbox_[a-z0-9_]+", name):
        yield f"{name} is no name"
    if re.search(r"_(ms|us|millis|seconds_total|count|sum|bucket)$", name):
        yield f"{name} is not in base units, or taken for another"
    if (family.type == "counter") != all(s.name.endswith("_total") for s in family.samples):
        yield f"{name}: only counters end in _total, and all of them do"
    for s in family.samples:
        if "outbox" not in s.labels:
            yield f"{s.name} has no label outbox"
    if family.type == "histogram":
        yield from check_histogram(family)


def exposition(text, other):
    bad = [line for f in families(text) for line in check_family(f)]
    names = [f.name for f in families(text)]
    bad += [f"{n} comes twice" for n in set(names) if names.count(n) > 1]
    theirs = {(n, frozenset(labels.items())) for n, labels, _ in json_samples(other)}
    ours = set(samples(text))
    bad += [f"only in one of both: {n}" for n in sorted(str(k) for k in ours ^ theirs)]
    if len(names) < 30:
        bad.append("there are hardly any")
    return bad


def known(text, files):
    have = {f.name for f in families(text)} | {s.name for f in families(text) for s in f.samples}
    bad = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            named = set(re.findall(r"\boutbox_[a-z0-9_]+", file.read()))
        bad += [f"{path} names {n}" for n in sorted(named - have)]
        if not named:
            bad.append(f"{path} names none")
    return bad


def main(command, text, *rest):
    if command == "value":
        labels = frozenset(tuple(r.split("=", 1)) for r in rest[1:])
        found = [v for (n, have), v in samples(text).items() if n == rest[0] and labels <= have]
        print("%d" % found[0] if found and found[0] == int(found[0]) else found[0] if found else "none")
        return 0
    bad = exposition(text, *rest) if command == "exposition" else known(text, rest)
    print("\n".join(bad))
    return 1 if bad else 0


sys.exit(main(*sys.argv[1:]))
