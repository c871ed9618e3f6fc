#!/usr/bin/env python3
"""Verifies a log directory or a bundle with the second implementation.

    python3 check.py DIRECTORY VKEY [COSIGNED WITNESS-VKEY]
    python3 check.py BUNDLE VKEY RUN-RECORD-VKEY [WITNESS-VKEY]
    python3 check.py LOGS.json

COSIGNED is a cosigned checkpoint, which the log must have grown out of. A witness whose key is given
must have cosigned all of a bundle's leaves. LOGS.json has leaves that agree with each other, and edits
after which they do not: coverage.json, by FORMAT.md.

Exit 0 when everything holds, 1 when something does not. The steps are those of FORMAT.md.
"""

import json
import pathlib
import re
import sys

import broken_bundles
import bundled
import carried
import covered_log
import ed25519
import queries
import run_format
import sealtap_format as form
import states
from number_set import Numbers, are_ranges

COVERAGE = {"coverage-armed", "coverage-heartbeat", "coverage-closed", "coverage-canary"}
WAYS = ["tcp4", "tcp6", "tcp_mapped", "fast_open", "multipath", "udp4_connected", "udp4", "udp6",
        "udp_mapped", "raw4", "packet", "vsock"]
BECAME = {"led", "denied", "passed", "unseen", "unavailable"}
RUNS = {"run-opened", "run-closed", "run-record"}
CHECKED = {"exchange", "refused", "interrupted", "opaque", "restart", "heartbeat", "gap", "adopted",
           "retention", "progress", "key-change", "connection", "bypass",
           "dns-queries"} | RUNS | COVERAGE
CHANNELS = ["tcp", "udp", "names", "raw", "packet", "vsock", "helper", "namespace", "older",
            "moved"]
STATES = {"closed_by_hook", "denied_by_launch_policy", "observed_only", "not_covered"}
LISTED = 256
COUNTED = ["allowed", "bypass_denied", "bypass_passed", "events_lost", "events_read", "loopback", "seen",
           "unparsable", "via_gateway"]
UNITS = ("connections", "packets")
SAID = {"boot", "coverage", "ext", "kind", "sealed", "v"}
STATED = SAID | {"arrived", "connections", "foreign", "foreign_more", "late", "number", "older", "packets"}
# The members of each kind of leaf about a coverage: these lists are closed.
MEMBERS = {"coverage-armed": SAID | {"channels", "foreign", "foreign_more", "machine", "mode", "object", "older",
                                     "programs", "programs_more"},
           "coverage-canary": SAID | {"canary", "led"}, "coverage-heartbeat": STATED,
           "coverage-closed": STATED | {"reason"}}
PROGRAMS = {"connect4", "connect6", "sendmsg4", "sendmsg6", "socket", "asked", "option", "packets",
            "uplink", "exec"}
EXCHANGES = ("exchange", "refused", "interrupted", "opaque")
KNOWN_EXTENSIONS = {kind: {"connection"} for kind in ("refused", "opaque")}
KNOWN_EXTENSIONS |= {kind: {"connection", "websocket-messages"} for kind in ("exchange", "interrupted")}


class Invalid(Exception):
    """What does not hold."""


class Broken(Invalid):
    """The leaf that does not hold."""

    def __init__(self, index, problem):
        super().__init__(f"leaf {index}: {problem}")
        self.index = index


def require(condition, what):
    if not condition:
        raise Invalid(what)


def require_of(index, condition, what):
    if not condition:
        raise Broken(index, what)


def read_checkpoint(data, key):
    """Steps 1 to 3."""
    text, separator, lines = data.decode("utf-8").rpartition("\n\n")
    require(separator, "checkpoint: no blank line")
    text += "\n"
    origin, size, root_hash, rest = text.split("\n", 3)
    size, root_hash = int(size), form.unb64(root_hash)
    require(rest == "" and form.checkpoint(origin, size, root_hash) == text, "checkpoint: text")
    name, public = form.parse_vkey(key)
    require(name == origin, "checkpoint: the key is for another log")
    prefix = f"\u2014 {name} "
    require(lines.endswith("\n") and lines.count("\n") == 1 and lines.startswith(prefix),
            "checkpoint: one signature line belongs here")
    signature = form.unb64(lines[len(prefix):-1])
    require(signature[:4] == form.key_id(name, public), "checkpoint: signed by another key")
    require(ed25519.verify(public, text.encode(), signature[4:]), "checkpoint: signature")
    return size, root_hash


def read_cosigned(data, key, witness):
    """A cosigned checkpoint: its log's signature, and the witness's (C2SP tlog-cosignature)."""
    text, _, lines = data.decode("utf-8").rpartition("\n\n")
    text += "\n"
    lines = lines.splitlines(keepends=True)
    size, root_hash = read_checkpoint((text + "\n" + lines[0]).encode(), key)
    name, identity, value = witness.split("+", 2)
    value = form.unb64(value)
    require(value[0] == 4, "cosigned: not a witness's key")
    require(form.sha256(name.encode() + b"\n" + value)[:4].hex() == identity, "cosigned: key id")
    own = [form.unb64(line.split(" ")[2].strip()) for line in lines[1:]
           if line.startswith(f"\u2014 {name} ")]
    require(len(own) == 1 and own[0][:4].hex() == identity, "cosigned: no line by the witness")
    time, signature = int.from_bytes(own[0][4:12], "big"), own[0][12:]
    message = f"cosignature/v1\ntime {time}\n{text}".encode()
    require(ed25519.verify(value[1:], message, signature), "cosigned: cosignature")
    return size, root_hash, time


def needed_entries(size):
    for start in range(0, size, 256):
        yield form.tile_path("entries", start // 256, min(256, size - start))


def read_tree(files, size, root_hash):
    """Steps 4 to 7; superseded partial tiles (step 8) are not accepted here: stop the gateway."""
    entries = []
    for path in needed_entries(size):
        require(path in files, f"{path}: missing")
        entries += form.unbundle(files[path])
    require(len(entries) == size, "another number of entries than the checkpoint says")
    hashes = [form.leaf_hash(entry) for entry in entries]
    expected = {**form.entry_bundles(entries), **form.hash_tiles(hashes)}
    for path, data in expected.items():
        require(files.get(path) == data, f"{path}: missing or different")
    strangers = set(files) - set(expected) - {"checkpoint"}
    require(not strangers, f"{sorted(strangers)}: do not belong")
    require(form.root(hashes) == root_hash, "root")
    return entries


def begins(prefix, later):
    """A prefix, and the prefix or the body that it grew into."""
    if prefix is None:
        return
    require(later is not None, "a response is gone")
    require(prefix["length"] <= later["length"], "a body is shorter than it was")
    require(prefix["segments"] <= later["segments"], "a body has fewer segments than it had")
    if prefix["segments"] == later["segments"]:
        require(prefix["root"] == later["root"], "a body begins differently")
    if prefix["length"] == later["length"] and "tail" in later:
        require(prefix == later, "a prefix changed in place")


def closing_holds(own, closed):
    """Rule 9.10: the closing leaf says what the run's leaves say."""
    hashes = [form.leaf_hash(entry) for _, _, entry in own]
    answered = [(index, leaf["response"]["body"]["root"]) for index, leaf, _ in own
                if leaf["response"] and leaf["response"]["source"] == "upstream"]
    relaxed = any(leaf["policy"] == "relaxed" for _, leaf, _ in own)
    says = {"count": len(own), "first": own[0][0], "root": form.b64(form.root(hashes)),
            "last": {"hash": form.b64(hashes[-1]), "index": own[-1][0]},
            "output": {"index": answered[-1][0], "root": answered[-1][1]} if answered else None,
            "inside": sum("connection" in leaf["ext"] for _, leaf, _ in own),
            "policy": "relaxed" if relaxed else "strict",
            "started": min(leaf["started"] for _, leaf, _ in own),
            "ended": max(leaf["ended"] for _, leaf, _ in own)}
    require(says == {name: closed[name] for name in says}, "not what the run's leaves say")
    require({leaf["boot"] for _, leaf, _ in own} == {closed["boot"]}, "a run of several boots")


def record_holds(origin, index, closed, record):
    """Rule 9.11."""
    signed = run_format.pae(run_format.payload(origin, index, closed))
    require(form.b64(form.sha256(signed)) == record["record"], "not the record of its run")


def key_change_holds(origin, value):
    """That both keys signed a change; gives the old and the new one."""
    name = {"log": origin, "run-record": run_format.key_name(origin)}[value["role"]]
    keys = [form.unb64(value[which]) for which in ("old", "new")]
    old, new = (form.vkey(name, key) for key in keys)
    message = f"sealtap/v1/key-change\n{value['role']}\n{old}\n{new}\n{value['size']}\n".encode()
    for key, which in zip(keys, ("old_signature", "new_signature")):
        require(ed25519.verify(key, message, form.unb64(value[which])), "a key change")
    return old, new


def tunnel_holds(value):
    tunnel = value["tunnel"]
    require(set(tunnel) == {"alert", "from_client", "reason", "to_client"}, "members of a tunnel")
    require(tunnel["reason"] in ("not_listed", "not_http", "undecided", "client_rejected"), "reason of a tunnel")
    require(tunnel["alert"] is None or tunnel["reason"] == "client_rejected", "alert of a tunnel")
    bodies = [value[way]["body"]["length"] for way in ("request", "response") if value[way]]
    require(not any(bodies) and value["outcome"] != "refused", "a tunnel with bodies, or refused")


class History:
    """Step 9."""

    def __init__(self, origin):
        self.keys = {}
        self.sealed, self.boots, self.current, self.runs = 0, {}, None, {}
        self.parts, self.origin, self.covered = [], origin, {}
        # The leaves of each run; the hash of each closing leaf; what the leaf in front demands.
        self.own, self.closed, self.opened, self.before = {}, {}, None, None
        self.joins = carried.Joins(require, require_of)
        self.queries = queries.Queries(require)

    def leaf(self, index, entry):
        value = form.parse(entry)
        kind = value["kind"]
        known = KNOWN_EXTENSIONS.get(kind, set())
        require(kind in CHECKED and value["v"] == 1 and set(value["ext"]) <= known,
                "not a known leaf")
        require(value["sealed"] >= self.sealed, "sealed runs backwards")
        self.sealed = value["sealed"]
        require(not self.parts or kind == "heartbeat", "a heartbeat's part is missing")
        self.joins.index = index
        self.joins.between(kind)
        if self.opened:
            require(value.get("run") == {"id": self.opened, "position": 1, "previous": None},
                    "the run that was opened does not follow")
        self.opened, before, self.before = None, self.before, None
        if kind in RUNS:
            boot = self.boots.get(value["boot"])
            require(value["boot"] == self.current and not boot["closed"], "not the running boot")
            self.run(kind, index, value, entry, before)
            return
        if kind == "restart":
            self.restart(value)
        elif kind == "key-change":
            self.key_change(index, value)
        elif kind in EXCHANGES:
            self.exchange(value, form.b64(form.leaf_hash(entry)))
            self.joins.exchange(value)
            self.own.setdefault(value["run"]["id"], []).append((index, value, entry))
        elif kind == "connection":
            require(not self.boots[value["boot"]]["closed"], "a connection of a boot that was closed")
            self.joins.connection(value)
        else:
            boot = self.boots.get(value["boot"])
            require(value["boot"] == self.current and not boot["closed"], "not the running boot")
            if kind == "heartbeat":
                self.heartbeat(value, boot)
            elif kind == "progress":
                self.progress(value, boot)
            elif kind == "gap":
                ended = value["began"] if value["ended"] is None else value["ended"]
                require(value["began"] <= ended <= value["sealed"], "times of a gap")
            elif kind == "retention":
                self.retention(index, value)
            elif kind in COVERAGE:
                self.coverage(kind, value)
                self.joins.statement(kind, value)
                self.queries.statement(kind, value)
            elif kind == "bypass":
                self.joins.bypass(value)
            elif kind == "dns-queries":
                self.queries.leaf(value)
            else:
                require(value["size"] <= index, "adopted more than there was")

    def coverage(self, kind, value):
        """Step 9.14."""
        own = value["coverage"]
        require(set(value) == MEMBERS[kind], "members of a coverage")
        if kind == "coverage-armed":
            require(own not in self.covered, "a coverage is armed twice")
            require([listed["channel"] for listed in value["channels"]] == CHANNELS
                    and all(listed["state"] in STATES and set(listed) == {"channel", "state"}
                            for listed in value["channels"]),
                    "channels of a coverage")
            require(value["mode"] in ("observe", "enforce") and value["programs"] and value["older"] >= 0,
                    "mode or programs of a coverage")
            require(len(form.unb64(value["object"])) == 32 and len(bytes.fromhex(value["machine"])) == 16,
                    "object or machine of a coverage")
            for at in value["programs"]:
                self.program(at)
            self.foreign(value)
            self.more(value["programs"], value["programs_more"])
            states.founded(require, value)
            self.covered[own] = {"boot": value["boot"], "number": 0, "over": False, "mode": value["mode"],
                                 "channels": value["channels"], "canaries": [],
                                 "late": 0, "older": value["older"],
                                 "before": {unit: dict.fromkeys(COUNTED, 0) for unit in UNITS}}
            return
        known = self.covered.get(own)
        require(known and known["boot"] == value["boot"] and not known["over"],
                "a coverage that is not armed, or over")
        if kind == "coverage-canary":
            require([tried["way"] for tried in value["canary"]] == WAYS, "ways of a canary")
            for tried in value["canary"]:
                require(set(tried) == {"control", "outcome", "way"} and tried["outcome"] in BECAME
                        and tried["control"] == (tried["outcome"] != "unavailable"),
                        "what became of a canary")
            known["canaries"].append(value["canary"])
            return
        require(value["number"] == known["number"] + 1, "number of a statement")
        known["number"], known["over"] = value["number"], kind == "coverage-closed"
        counted, arrived = value["connections"], value["arrived"]
        require(all((value[name] is None) == (counted is None)
                    for name in ("packets", "foreign", "late", "older")), "numbers of a coverage")
        require(value["foreign_more"] is None or counted is not None, "numbers of a coverage")
        if known["over"]:
            require(value["reason"] in ("ended", "links_changed") if counted is not None
                    else value["reason"] in ("loader_gone", "numbers_wrong", "unwatched"), "why a coverage is over")
        require(set(arrived) == {"attributed", "known", "refused", "refused_led"} and min(arrived.values()) >= 0,
                "numbers of a coverage")
        require(arrived["attributed"] <= arrived["known"] and arrived["refused_led"] <= arrived["refused"],
                "more have a process than came, or were refused")
        if counted is None:
            require(known["over"], "numbers of a coverage")
            return
        for unit in UNITS:
            self.sums(value[unit], known["before"][unit])
            known["before"][unit] = value[unit]
        states.kept_in(require, known["mode"], value)
        require(arrived["known"] + arrived["refused_led"] <= counted["via_gateway"],
                "more came than were led to the gateway")
        for name in ("late", "older"):
            require(value[name] >= known[name], "fewer came late than before")
            known[name] = value[name]
        self.foreign(value)

    def program(self, at):
        require(set(at) == {"cgroup", "device", "id", "link", "program", "tag"}, "members of a program")
        places = sum(at[name] is not None for name in ("cgroup", "device"))
        require(places == (at["program"] != "exec"), "a program is at a cgroup, at a device, or at the machine")
        ids = [at[name] for name in ("cgroup", "device", "link") if at[name] is not None] + [at["id"]]
        require(min(ids) >= 1 and at["program"] in PROGRAMS, "ids or name of a program")
        require(re.fullmatch("[0-9a-f]{16}", at["tag"]), "tag of a program")

    def sums(self, counted, before):
        """The numbers of one unit, in one statement."""
        require(sorted(counted) == COUNTED and min(counted.values()) >= 0, "numbers of a coverage")
        around = counted["bypass_denied"] + counted["bypass_passed"]
        parts = sum(counted[name] for name in ("via_gateway", "loopback", "allowed", "unparsable"))
        require(counted["seen"] == parts + around, "connections or packets do not add up")
        require(around == counted["events_read"] + counted["events_lost"], "events do not add up")
        require(all(counted[name] >= before[name] for name in COUNTED), "a number became smaller")

    def more(self, listed, more):
        """What stands for the rest of a list that is too long."""
        require(len(listed) <= LISTED and (more is None or len(listed) == LISTED
                and set(more) == {"count", "digest"} and more["count"] > 0
                and len(form.unb64(more["digest"])) == 32), "a list in a coverage")

    def foreign(self, value):
        """Programs of others: each once, in order."""
        others = value["foreign"]
        self.more(others, value["foreign_more"])
        named = [(other["beside"], other["id"]) for other in others]
        require(all(set(other) == {"beside", "id"} and other["id"] >= 1 for other in others),
                "members of a program of others")
        require(named == sorted(set(named)) and all(beside in PROGRAMS for beside, _ in named),
                "programs of others")

    def retention(self, index, value):
        free, leaves, limit = 1, value["leaves"], value["limit"]
        for first, last in leaves:
            require(free <= first <= last < index, "leaves of a retention")
            free = last + 2
        require(leaves and set(limit) == {"age", "bytes"}, "a retention without leaves or limit")
        given = [most for most in limit.values() if most is not None]
        require(given and all(most > 0 for most in given), "limit of a retention")

    def run(self, kind, index, value, entry, before):
        run = value["run"]
        if kind == "run-opened":
            previous = value["previous"]
            require(run not in self.runs, "opened after its first leaf")
            require(self.closed.get(previous["run"]) == previous["closed"], "the run before")
            self.opened = run
        elif kind == "run-closed":
            require(run in self.own and run not in self.closed, "no open run")
            closing_holds(self.own.pop(run), value)
            self.closed[run] = form.b64(form.leaf_hash(entry))
            self.before = (index, value)
        else:
            require(before and before[1]["run"] == run, "the closing leaf is not in front")
            record_holds(self.origin, *before, value)

    def restart(self, value):
        require(value["boot"] not in self.boots, "a boot restarts twice")
        previous = value["previous"]
        require((previous and previous["boot"]) == self.current, "another boot came before")
        if previous:
            boot = self.boots[self.current]
            boot["ended"] = previous
            require(previous["clean"] == boot["closed"], "clean")
            require(previous["highest"] >= boot["sealed"].highest(), "highest")
        self.current = value["boot"]
        self.boots[self.current] = {"sealed": Numbers(), "closed": False, "ended": None,
                                    "progress": {}, "told": Numbers()}

    def key_change(self, index, value):
        require(value["size"] == index, "a key change in another place")
        old, new = key_change_holds(self.origin, value)
        require(self.keys.get(value["role"], old) == old, "a key replaced twice")
        self.keys[value["role"]] = new

    def exchange(self, value, leaf_hash):
        if value["kind"] == "opaque":
            tunnel_holds(value)
        require(value["started"] <= value["ended"] <= value["sealed"], "times")
        boot, number = self.boots[value["boot"]], value["number"]
        require(boot["sealed"].add(number) and not boot["closed"], "number or closed boot")
        earlier = boot["progress"].pop(number, None)
        if earlier:
            boot["told"].remove(number, number)
            require(earlier["exchange"] == value["exchange"], "another exchange than in progress")
            for way in ("request", "response"):
                begins(earlier[way], value[way] and value[way]["body"])
        if boot["ended"]:
            require(number <= boot["ended"]["highest"], "number above the highest")
            if any(first <= number <= last for first, last in boot["ended"]["open"]):
                require(value["outcome"] == "interrupted", "open at a crash, so interrupted")
        run = value["run"]
        require(run["id"] not in self.closed, "the run was closed")
        position, previous = self.runs.get(run["id"], (0, None))
        require((run["position"], run["previous"]) == (position + 1, previous), "run")
        self.runs[run["id"]] = (position + 1, leaf_hash)

    def progress(self, value, boot):
        told = boot["progress"]
        for first, last in value["unchanged"]:
            require(boot["told"].covers(first, last), "unchanged of nothing")
        for entry in value["entries"]:
            number, earlier = entry["number"], told.get(entry["number"])
            require(number not in boot["sealed"], "progress of what has a leaf")
            if earlier:
                require(earlier["exchange"] == entry["exchange"], "another exchange")
                for way in ("request", "response"):
                    begins(earlier[way], entry[way])
            told[number] = entry
            boot["told"].add(number)

    def heartbeat(self, value, boot):
        require(value["part"] == len(self.parts) + 1, "part")
        self.parts.append(value["open"])
        if value["part"] < value["parts"]:
            return
        ranges, self.parts = [pair for part in self.parts for pair in part], []
        require(are_ranges(ranges, value["highest"]), "ranges of a heartbeat")
        require(not boot["sealed"].first_missing(value["highest"], ranges), "a number")
        require(value["highest"] >= boot["sealed"].highest(), "highest")
        boot["closed"] = value["closing"]

    def finish(self):
        require(not self.parts, "the log ends inside a heartbeat")
        self.joins.finish(lambda boot: self.boots[boot]["closed"] or self.boots[boot]["ended"])
        for boot in self.boots.values():
            if boot["ended"]:
                require(not boot["sealed"].first_missing(boot["ended"]["highest"]), "a number")


def check(directory, key, cosigned=None, witness=None):
    files = {str(path.relative_to(directory)): path.read_bytes()
             for path in directory.rglob("*") if not path.is_dir()}
    require("checkpoint" in files, "no checkpoint")
    size, root_hash = read_checkpoint(files["checkpoint"], key)
    history = History(form.parse_vkey(key)[0])
    entries = read_tree(files, size, root_hash)
    if cosigned:
        seen, seen_root, _ = read_cosigned(cosigned.read_bytes(), key, witness)
        require(seen <= size, "cosigned: the log was rolled back")
        hashes = [form.leaf_hash(entry) for entry in entries[:seen]]
        require(form.root(hashes) == seen_root, "cosigned: another tree")
    check_leaves(history, entries)
    return size


def check_leaves(history, entries):
    """Step 9."""
    for index, entry in enumerate(entries):
        try:
            history.leaf(index, entry)
        except Broken:
            raise
        except (Invalid, ValueError, KeyError, TypeError) as problem:
            raise Broken(index, problem) from problem
    history.finish()


def finds(one, checking):
    """That a check finds what is broken, at the leaf at which a vector says so."""
    try:
        checking()
    except Broken as problem:
        require(problem.index == one["leaf"], f"{one['name']}: found elsewhere: {problem}")
    except Invalid as problem:
        require(one["leaf"] is None, f"{one['name']}: found at the end alone: {problem}")
    else:
        raise Invalid(f"{one['name']}: not found")


def check_logs(vectors):
    """The leaves agree, and after each of the edits they do not, where it says so."""
    entries = [leaf.encode() for leaf in vectors["leaves"]]
    check_leaves(History(vectors["origin"]), entries)
    for one in vectors["broken"]:
        edited = covered_log.apply(entries, one["edit"])
        finds(one, lambda: check_leaves(History(vectors["origin"]), edited))
    for one in vectors["shown"]:
        history = History(vectors["origin"])
        check_leaves(history, covered_log.apply(entries, one["edit"]) if one["edit"] else entries)
        of = history.covered[one["coverage"]]
        require(states.shown(of["mode"], of["channels"], of["canaries"], of["late"]) == one["states"],
                f"{one['name']}: other states")
    return 1 + len(vectors["broken"])


def check_bundles(vectors, folder):
    """Each bundle holds as it is, and after each of the edits it does not, where it says so."""
    record_key = json.loads((folder / "record.json").read_bytes())["vkey"]
    good = {name: (folder / name).read_bytes() for name in {one["bundle"] for one in vectors["bundles"]}}
    for data in good.values():
        check_bundle(broken_bundles.apply(data, []), vectors["vkey"], record_key)
    for one in vectors["bundles"]:
        edited = broken_bundles.apply(good[one["bundle"]], one["edits"])
        finds(one, lambda: check_bundle(edited, vectors["vkey"], record_key))
    return len(vectors["bundles"])


def key_changes(leaves, origin):
    """The keys that changes lead to, by role: each change's old and new key."""
    found = {"log": [], "run-record": []}
    for index, value in leaves:
        old, new = key_change_holds(origin, value)
        require(value["size"] == index and old != new, "a key change in another place")
        before = found[value["role"]]
        require(not before or before[-1][1] == old, "a key replaced twice")
        before.append((old, new))
    return found


def linked(key, changes, back):
    """Every key that changes lead to from this one."""
    keys = [key]
    for old, new in changes:
        keys += [new] if old in keys else []
    for old, new in reversed(changes) if back else []:
        keys += [old] if new in keys else []
    return keys


def signed_by(data, keys):
    """Steps 1 to 3 under any of several keys."""
    for key in keys:
        try:
            return read_checkpoint(data, key)
        except (Invalid, ValueError):
            pass
    raise Invalid("checkpoint: signed by none of the keys")


def check_beside(files, keys, witness, wanted, size, root_hash):
    """Steps 8 and 9 of verifying a bundle; gives the names of the entries."""
    names = []
    for name in ["checkpoint.cosigned", "timestamp.checkpoint"]:
        if name not in files:
            continue
        names += [name, f"{name}.proof"]
        if name == "checkpoint.cosigned":
            head, _, lines = files[name].decode("utf-8").rpartition("\n\n")
            lines = lines.splitlines(keepends=True)
            old, old_root = signed_by(f"{head}\n\n{lines[0]}".encode(), keys)
            require(len(lines) > 1, "cosigned: nobody did")
            if witness:
                signer = next(key for key in keys if holds(read_cosigned, files[name], key, witness))
                read_cosigned(files[name], signer, witness)
                require(old >= wanted, "cosigned: not all of the leaves")
        else:
            old, old_root = signed_by(files[name], keys)
            digest, _ = run_format.imprint_of(files["timestamp.tsr"])
            require(digest == form.sha256(files[name]), "the token dates something else")
            names.append("timestamp.tsr")
        proof = run_format.parse_consistency(files[f"{name}.proof"])
        both = run_format.grew(old, size, old_root, proof)
        require(old <= size and both == (old_root, root_hash), f"{name}: another history")
    require(not witness or "checkpoint.cosigned" in names, "cosigned: nobody did")
    return names


def holds(check, *arguments):
    try:
        check(*arguments)
        return True
    except (Invalid, ValueError):
        return False


def check_session(files, folder, leaf):
    """A message index that is disclosed says what both bodies do, where they are disclosed too."""
    name = f"{folder}/websocket-messages"
    index = files.get(name, files.get(f"{name}.0"))
    sides = [files.get(f"{folder}/{way}-body") for way in ("request", "response")]
    if index is None or None in sides:
        return
    said = form.parse(index)
    times = [[message[3] for message in said[way]["messages"]] for way in ("request", "response")]
    require(form.message_index(*sides, times) == index, f"{name}: the bodies have other messages")


def check_bundle(data, key, record_key, witness=None):
    """The steps of verifying a bundle."""
    entries = run_format.unarchive(data)
    names = [name for name, _ in entries]
    files = dict(entries)
    require(len(files) == len(entries), "an entry twice")
    require(files["VERIFY"] == run_format.verify_text(), "VERIFY")
    indices = sorted({int(name.split("/")[1]) for name in names if name.startswith("leaves/")})
    every = [(index, form.parse(files[f"leaves/{index:012}/leaf"])) for index in indices]
    changed = key_changes([one for one in every if one[1]["kind"] == "key-change"],
                          form.parse_vkey(key)[0])
    keys = linked(key, changed["log"], back=False)
    size, root_hash = read_checkpoint(files["checkpoint"], keys[-1])
    keys = linked(key, changed["log"], back=True)
    others = bundled.KINDS | {"key-change"}
    wanted = 1 + max(index for index, leaf in every if leaf["kind"] not in others)
    beside = check_beside(files, keys, witness, wanted, size, root_hash)
    expected = ["VERIFY", "checkpoint", *beside]
    expected += ["record.dsse.json"] * ("record.dsse.json" in files)
    leaves, own, covering = {}, [], []
    for index in indices:
        folder = f"leaves/{index:012}"
        expected += [f"{folder}/leaf", f"{folder}/proof"]
        entry = files[f"{folder}/leaf"]
        at, proof, checkpoint = run_format.parse_proof(files[f"{folder}/proof"])
        require(at == index and checkpoint.encode() == files["checkpoint"], f"{folder}/proof")
        found = run_format.root_from(index, size, form.leaf_hash(entry), proof)
        require(found == root_hash, f"{folder}: not in the tree")
        leaf = form.parse(entry)
        if leaf["kind"] in EXCHANGES:
            own.append((index, leaf, entry))
            for part, bound in parts_of(leaf):
                expected += check_part(files, f"{folder}/{part}", *bound)
            check_session(files, folder, leaf)
        elif leaf["kind"] in bundled.KINDS:
            covering.append((index, leaf))
            unit = leaf["who"] if leaf["kind"] == "bypass" else leaf.get("part") == 1 and leaf["maker"]
            if unit and f"{folder}/maker.tuples" in files:
                expected += check_part(files, f"{folder}/maker", unit, 8)
        else:
            leaves.setdefault(leaf["kind"], []).append((index, leaf))
    require(names == expected, "entries out of place")
    chain(own)
    named = [(index, leaf["number"], leaf["ext"].get("connection")) for index, leaf, _ in own]
    coverage = bundled.Bundled(require, own[0][1]["boot"], named, MEMBERS)
    for index, leaf in covering:
        try:
            coverage.leaf(index, leaf)
        except Invalid as problem:
            raise Broken(index, problem) from problem
    coverage.finish()
    if "run-closed" in leaves:
        (index, closed), = leaves["run-closed"]
        require(closed["run"] == own[0][1]["run"]["id"], "another run's closing")
        closing_holds(own, closed)
        (at, record), = leaves["run-record"]
        require(at == index + 1, "the record does not follow the closing")
        record_holds(form.parse_vkey(key)[0], index, closed, record)
        records = linked(record_key, changed["run-record"], back=True)
        require(any(holds(check_envelope, files["record.dsse.json"], key, one, index, closed)
                    for one in records), "the record's envelope")
    return len(own)


def parts_of(leaf):
    request, response = leaf["request"], leaf["response"] or {}
    named = {"context": (leaf["context"], 5), "request-head": (request["head"], 1),
             "request-body": (request["body"], None), "request-trailers": (request["trailers"], 3),
             "interim": (response.get("interim"), 4), "response-head": (response.get("head"), 2),
             "response-body": (response.get("body"), None),
             "response-trailers": (response.get("trailers"), 3)}
    index = leaf["ext"].get("websocket-messages")
    # Of an index the leaf has the root alone; its length is in the tuple.
    named["websocket-messages"] = (index and {"root": index, "length": None}, 7)
    return [(part, named[part]) for part in run_format.PARTS
            if part in named and named[part][0] and named[part][0]["length"] != 0]


def check_part(files, name, bound, kind):
    """Step 4; gives the names of the part's entries."""
    data = files[f"{name}.tuples"]
    rows = [data[at:at + 55] for at in range(0, len(data), 55)]
    if bound["length"] is None:
        bound = {**bound, "length": int.from_bytes(data[13:21], "big")}
    require(len(rows) == bound.get("segments", 1), f"{name}: tuples")
    require(form.b64(form.root([form.leaf_hash(row) for row in rows])) == bound["root"],
            f"{name}: another root")
    offset, seen, whole = 0, [f"{name}.tuples"], files.get(f"{name}.key")
    if whole is not None:
        seen += [f"{name}.key", name]
        require(len(files[name]) == bound["length"], f"{name}: length")
    for index, row in enumerate(rows):
        length, found = int.from_bytes(row[13:21], "big"), int.from_bytes(row[21:23], "big")
        require(row[:13] == b"\1" + index.to_bytes(4, "big") + offset.to_bytes(8, "big"),
                f"{name}: tiling")
        require(kind is None or found == kind, f"{name}: kind")
        bytes_, salt = None, None
        if whole is not None:
            salt = form.salt(bytes.fromhex(whole.decode().removesuffix("\n")), index)
            bytes_ = files[name][offset:offset + length]
        elif f"{name}.{index}.salt" in files:
            seen += [f"{name}.{index}.salt", f"{name}.{index}"]
            salt = bytes.fromhex(files[f"{name}.{index}.salt"].decode().removesuffix("\n"))
            bytes_ = files[f"{name}.{index}"]
            require(len(bytes_) == length, f"{name}.{index}: length")
        if salt is not None:
            require(form.commitment(salt, bytes_) == row[23:], f"{name}: segment {index}")
        offset += length
    require(offset == bound["length"], f"{name}: length")
    return seen


def chain(own):
    """Step 5, of a bundle that holds the whole run."""
    previous = None
    for position, (_, leaf, entry) in enumerate(own, 1):
        link = {"id": own[0][1]["run"]["id"], "position": position, "previous": previous}
        require(leaf["run"] == link, "the run is not a chain")
        previous = form.b64(form.leaf_hash(entry))
    require(own, "no exchange")


def check_envelope(data, key, record_key, index, closed):
    """Step 7."""
    origin, (name, public) = form.parse_vkey(key)[0], form.parse_vkey(record_key)
    value = form.parse(data)
    signature, = value["signatures"]
    require(name == run_format.key_name(origin), "the run-record key is for another log")
    require(set(value) == {"payload", "payloadType", "signatures"}, "members of the envelope")
    require(signature["keyid"] == f"{name}+{form.key_id(name, public).hex()}", "keyid")
    payload = form.unb64(value["payload"])
    require(payload == run_format.payload(origin, index, closed), "payload")
    holds = ed25519.verify(public, run_format.pae(payload), form.unb64(signature["sig"]))
    require(value["payloadType"] == run_format.PAYLOAD_TYPE and holds, "signature of the record")


def main():
    if len(sys.argv) not in (2, 3, 4, 5):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    path = pathlib.Path(sys.argv[1])
    try:
        if not sys.argv[2:]:
            vectors = json.loads(path.read_bytes())
            said = f"{check_logs(vectors)} logs, {check_bundles(vectors, path.parent)} bundles"
        elif path.is_file():
            said = f"{check_bundle(path.read_bytes(), *sys.argv[2:5])} exchanges"
        else:
            cosigned = pathlib.Path(sys.argv[3]) if sys.argv[3:] else None
            said = f"{check(path, sys.argv[2], cosigned, *sys.argv[4:])} leaves"
    except (Invalid, ValueError, KeyError, TypeError, IndexError) as problem:
        print(f"not valid: {problem}")
        return 1
    print(f"valid: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
