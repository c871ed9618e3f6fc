"""A log of a gateway whose kernel watched, and others that each say one thing that cannot be so.

The whole log holds; of the others `what` says what a verifier finds, and `leaf` where: null where only the
log as a whole shows it.
"""

import carried
import ed25519
import queries
import run_format
import sample_log
import sealtap_format as form

COVERAGE = bytes(range(16)).hex()
RUN = sample_log.random_bytes("run covered", 16).hex()
LATER = sample_log.random_bytes("run covered later", 16).hex()
# A coverage that denies what it does not redirect.
ENFORCED = bytes(range(16, 32)).hex()
CHANNELS = {"tcp": "observed_only", "udp": "observed_only", "names": "observed_only",
            "raw": "observed_only", "packet": "observed_only", "vsock": "not_covered",
            "helper": "not_covered", "namespace": "not_covered", "older": "not_covered",
            "moved": "not_covered"}
CLOSED = {**CHANNELS, "tcp": "closed_by_hook", "udp": "closed_by_hook", "raw": "closed_by_hook"}
AT_ROOT = ["connect4", "connect6", "sendmsg4", "sendmsg6", "socket", "asked", "packets", "option"]
WAYS = ["tcp4", "tcp6", "tcp_mapped", "fast_open", "multipath", "udp4_connected", "udp4", "udp6",
        "udp_mapped", "raw4", "packet", "vsock"]


def connection_id(number):
    return sample_log.random_bytes(f"connection {number}", 16).hex()


def sums(via_gateway, passed=0, denied=0, lost=0, allowed=1):
    """What was counted in one unit."""
    around = passed + denied
    return {"allowed": allowed, "bypass_denied": denied, "bypass_passed": passed, "events_lost": lost,
            "events_read": around - lost, "loopback": 2, "seen": via_gateway + allowed + 2 + around + 1,
            "unparsable": 1, "via_gateway": via_gateway}


class Covered(sample_log.Log):
    def armed(self, coverage=COVERAGE, mode="observe", channels=CHANNELS):
        at = {"cgroup": 1, "device": None, "id": 11, "link": 12, "program": "connect4", "tag": "00" * 8}
        root = [{**at, "program": program, "id": 11 + 10 * place, "link": 12 + 10 * place}
                for place, program in enumerate(AT_ROOT)]
        uplink = {**at, "cgroup": None, "device": 2, "link": None, "program": "uplink", "id": 13}
        became = {**at, "cgroup": None, "link": 15, "program": "exec", "id": 14}
        self.add("coverage-armed", boot=self.id, coverage=coverage, mode=mode, older=2,
                 channels=[{"channel": name, "state": state} for name, state in channels.items()],
                 foreign=[{"beside": "connect4", "id": 3}], foreign_more=None,
                 programs=[*root, uplink, became], programs_more=None,
                 machine=bytes(range(32, 48)).hex(), object=form.b64(form.sha256(b"object")))

    def canary(self, led, outcomes, coverage=COVERAGE):
        """`outcomes` by way; what is not named there cannot be gone."""
        became = [(way, outcomes.get(way, "unavailable")) for way in WAYS]
        self.add("coverage-canary", boot=self.id, coverage=coverage, led=led,
                 canary=[{"control": outcome != "unavailable", "outcome": outcome, "way": way}
                         for way, outcome in became])

    def statement(self, number, arrived, connections, packets, reason=None, coverage=COVERAGE, late=1):
        names = ("attributed", "known", "refused", "refused_led")
        said = {"boot": self.id, "coverage": coverage, "connections": connections, "number": number,
                "arrived": dict(zip(names, arrived)), "foreign": [{"beside": "connect4", "id": 3}],
                "foreign_more": None, "late": late, "older": 3, "packets": packets}
        if reason:
            self.add("coverage-closed", reason=reason, **said)
        else:
            self.add("coverage-heartbeat", **said)

    def connection(self, own, number, statements, exchanges, part=1, parts=1, **more):
        key = sample_log.random_bytes(f"maker {own}", 32)
        maker = carried.maker()
        both = {"from_client": 517, "to_client": 4096}
        said = {"attribution": "kernel_task", "began": sample_log.START, "boot": self.id, "bytes": both,
                "connection": connection_id(own), "cookie": f"{4096 + own:016x}", "coverage": COVERAGE,
                "end": "closed", "ended": sample_log.START + 900, "exchanges": exchanges,
                "first": statements[0], "kernel": {**both, "to_client": 4097}, "last": statements[1],
                "maker": form.unit(key, 8, maker), "number": number, "part": part, "parts": parts,
                "side": "client", **more}
        self.add("connection", **said)
        if part == 1:
            self.parts[len(self.entries) - 1] = {"maker": (key, [maker], 8)}

    def refused(self, own, number, cookie):
        self.connection(own, number, (1, 1), [], attribution="unknown", cookie=cookie, end="refused",
                        kernel=None)

    def bypass(self, number, statement, unit, verdict, count, way, who=False, coverage=COVERAGE):
        key = sample_log.random_bytes(f"bypass {number}", 32)
        self.add("bypass", boot=self.id, count=count, coverage=coverage, number=number,
                 statement=statement, unit=unit, verdict=verdict, way=way,
                 who=form.unit(key, 8, carried.unknown()) if who else None)
        if who:
            self.parts[len(self.entries) - 1] = {"maker": (key, [carried.unknown()], 8)}

    def queries(self, number, statement, seen):
        key = sample_log.random_bytes(f"queries {number}", 32)
        self.add("dns-queries", boot=self.id, coverage=COVERAGE, cut=0, lost=1, number=number, omitted=0,
                 names=form.unit(key, 9, queries.questions()), parsed=seen - 1, questions=3, seen=seen,
                 statement=statement, unparsable=0)


def log(closes_run=False):
    made = Covered()
    made.boot("covered", None)
    made.armed()
    made.canary(2, {"tcp4": "led", "tcp6": "led", "udp4": "passed", "raw4": "denied", "packet": "passed"})
    for number, own in [(1, 1), (2, 2), (3, 1)]:
        made.exchange(number, run=RUN, connection=connection_id(own))
    made.connection(1, 1, (1, 1), [[1, 1], [3, 3]])
    made.refused(101, 1, "00000000000000aa")
    made.refused(102, 2, None)
    made.bypass(1, 1, "connect", "passed", 1, "udp", who=True)
    made.bypass(2, 1, "connect", "denied", 70, "udp")
    made.bypass(3, 1, "packet", "passed", 5, "raw")
    # Two came, one was refused, two were the canary's, and one never came.
    made.statement(1, (1, 2, 2, 1), sums(6, 1, 70), sums(40, 9, lost=4, allowed=0))
    made.statement(2, (1, 2, 2, 1), sums(6, 1, 70), sums(45, 9, lost=4, allowed=0))
    made.exchange(4, run=LATER, connection=connection_id(3))
    made.exchange(5, run=LATER)
    made.exchange(6, run=LATER, connection=connection_id(3))
    made.connection(2, 2, (1, 2), [[2, 2]])
    made.connection(3, 3, (3, 3), [[4, 4]], part=1, parts=2)
    made.connection(3, 3, (3, 3), [[6, 6]], part=2, parts=2)
    made.canary(0, {"tcp4": "denied", "udp4": "denied"})
    made.bypass(4, 3, "packet", "passed", 1, "frame", who=True)
    made.queries(1, 3, 4)
    made.statement(3, (2, 3, 2, 1), sums(7, 1, 70), sums(60, 10, lost=4, allowed=4), reason="ended")
    if closes_run:
        made.close(RUN, "stopped")
        made.close(LATER, "stopped")
    made.armed(ENFORCED, "enforce", CLOSED)
    made.canary(0, {"tcp4": "denied", "udp4": "denied", "raw4": "denied", "packet": "denied"}, ENFORCED)
    made.bypass(1, 1, "connect", "denied", 3, "udp", coverage=ENFORCED)
    # As many packets found no room.
    made.statement(1, (0, 0, 0, 0), sums(0, denied=3), sums(0, denied=3, lost=3, allowed=0), reason="ended",
                   coverage=ENFORCED, late=0)
    made.heartbeat(6, [], closing=True)
    return made


def place(entries, kind, nth=1):
    """The index of the `nth` leaf of a kind."""
    found = [at for at, entry in enumerate(entries) if form.parse(entry)["kind"] == kind]
    return found[nth - 1]


def edited(entry, change):
    value = form.parse(entry)
    change(value)
    return form.canonical(value)


def deep(path, new):
    """Sets one member, by its path."""
    def change(value):
        for name in path[:-1]:
            value = value[name]
        assert value[path[-1]] != new, path
        value[path[-1]] = new
    return change


def both(*changes):
    def change(value):
        for one in changes:
            one(value)
    return change


# What no leaf of its kind says, whatever else is in the log.
NO_LEAF = ("numbers though not all was watched",)


def broken():
    """Each log that cannot be: its name, what is found, where, and how it is made of the good one."""
    entries = log().entries
    at = lambda kind, nth=1: place(entries, kind, nth)
    said, over, carrying = at("coverage-heartbeat"), at("coverage-closed"), at("connection")
    first_part = at("connection", 5)
    armed, enforced, kept = at("coverage-armed"), at("coverage-armed", 2), at("coverage-closed", 2)
    # The places of channels and of programs in the lists of an armed coverage.
    channels, programs = list(CHANNELS), [*AT_ROOT, "uplink", "exec"]
    says = lambda channel, state: deep(("channels", channels.index(channel), "state"), state)
    without = lambda *gone: lambda value: value.update(programs=[
        one for one in value["programs"] if one["program"] not in gone])
    elsewhere = lambda program: deep(("programs", programs.index(program), "cgroup"), 2)
    edits = [
        ("a canary to which more was led than it sent", at("coverage-canary"), "edit", at("coverage-canary"),
         deep(("led",), 11)),
        ("canaries to which more was led than the kernel led here", said, "edit", said,
         both(deep(("connections", "via_gateway"), 4), deep(("connections", "seen"), 79))),
        ("connections that do not add up", said, "edit", said, deep(("connections", "seen"), 82)),
        ("events that do not add up", said, "edit", said, deep(("connections", "events_read"), 70)),
        ("packets that do not add up", over, "edit", over, deep(("packets", "seen"), 1)),
        ("a number that became smaller", over, "edit", over,
         both(deep(("packets", "loopback"), 1), deep(("packets", "seen"), 76))),
        ("fewer sockets from before than before", over, "edit", over, deep(("older",), 2)),
        ("fewer cgroups that came late than before", over, "edit", over, deep(("late",), 0)),
        ("more led and refused than refused", said, "edit", said, deep(("arrived", "refused"), 0)),
        ("a refused connection that its statement does not know", said, "edit", said,
         deep(("arrived", "refused_led"), 0)),
        ("fewer packets in one statement than in that before", said + 1, "edit", said + 1,
         both(deep(("packets", "via_gateway"), 39), deep(("packets", "seen"), 51))),
        ("more connections than were led", said, "edit", said, deep(("arrived", "known"), 7)),
        ("more with a process than came", said, "edit", said, deep(("arrived", "attributed"), 3)),
        ("more with a process than came, and no numbers", over, "edit", over,
         both(deep(("arrived", "attributed"), 4), deep(("reason",), "loader_gone"),
              *(deep((name,), None) for name in ("connections", "foreign", "late", "older", "packets")))),
        ("numbers though not all was watched", over, "edit", over, deep(("reason",), "unwatched")),
        ("a statement too many", said, "edit", said, deep(("number",), 2)),
        ("a statement that is left out", at("bypass", 4) - 1, "without", said + 1, None),
        ("another coverage than was armed", carrying, "edit", carrying, deep(("coverage",), "ff" * 16)),
        ("a connection that belongs to a later statement", carrying, "edit", carrying,
         both(deep(("first",), 2), deep(("last",), 2))),
        ("a connection under a number of another", at("connection", 4), "edit", at("connection", 4),
         deep(("number",), 1)),
        ("an exchange that came over another connection", carrying, "edit", carrying,
         deep(("exchanges",), [[1, 3]])),
        ("an exchange that its connection does not name", carrying, "edit", carrying,
         deep(("exchanges",), [[1, 1]])),
        ("parts without a hole between", first_part + 1, "edit", first_part + 1,
         deep(("exchanges",), [[5, 6]])),
        ("a part that does not follow", first_part + 1, "edit", first_part + 1, deep(("number",), 2)),
        ("a part that is missing", first_part + 1, "without", first_part + 1, None),
        ("a coverage that is armed twice", at("coverage-armed") + 1, "twice", at("coverage-armed"), None),
        ("a way around that is left out", at("bypass", 3) - 1, "without", at("bypass", 2), None),
        ("ways around that nobody counted", said, "edit", at("bypass", 2), deep(("count",), 71)),
        ("packets around that nobody counted", said, "edit", at("bypass", 3), deep(("count",), 6)),
        ("packets that were stopped, and the kernel stopped none", said, "edit", at("bypass", 3),
         deep(("verdict",), "denied")),
        ("a way around under another statement", at("bypass"), "edit", at("bypass"),
         deep(("statement",), 2)),
        ("a way around behind the end", over + 1, "behind", at("bypass", 4), over),
        ("a connection that is left out", None, "without", at("connection", 4), None),
        ("queries that are left out", over - 1, "without", at("dns-queries"), None),
        ("a packet that was allowed and that is no query", over, "edit", over,
         both(deep(("packets", "allowed"), 5), deep(("packets", "seen"), 78))),
        ("queries that nobody allowed", over, "edit", at("dns-queries"),
         both(deep(("seen",), 5), deep(("parsed",), 4))),
        ("queries under another statement", at("dns-queries"), "edit", at("dns-queries"),
         deep(("statement",), 2)),
        ("queries behind the end", over + 1, "behind", at("dns-queries"), over),
        ("connections let around, and all are denied", kept, "edit", kept,
         both(deep(("connections", "bypass_passed"), 1), deep(("connections", "events_lost"), 1),
              deep(("connections", "seen"), 8))),
        ("packets let around, and all are denied", kept, "edit", kept,
         both(deep(("packets", "bypass_passed"), 1), deep(("packets", "events_lost"), 4),
              deep(("packets", "seen"), 7))),
        ("a way around that was let go, and all are denied", at("bypass", 5), "edit", at("bypass", 5),
         deep(("verdict",), "passed")),
        *((f"{channel} that is closed, and let go", armed, "edit", armed, says(channel, "closed_by_hook"))
          for channel in ("udp", "raw", "namespace")),
        *((f"{channel} that no program {does}", enforced, "edit", enforced, says(channel, state))
          for channel, does, state in [("names", "closes", "closed_by_hook"), ("packet", "closes", "closed_by_hook"),
                                       ("vsock", "sees", "observed_only"), ("helper", "sees", "observed_only"),
                                       ("older", "sees", "observed_only"), ("moved", "sees", "observed_only")]),
        *((f"states without {program}", enforced, "edit", enforced, without(program))
          for program in [*AT_ROOT, "uplink"]),
        ("states by programs in two places", enforced, "edit", enforced, elsewhere("connect6")),
    ]
    made = []
    for name, leaf, how, index, change in edits:
        if how == "edit":
            edit = {"replace": index, "leaf": edited(entries[index], change).decode()}
        elif how == "without":
            edit = {"remove": index}
        elif how == "twice":
            edit = {"insert": index + 1, "leaf": entries[index].decode()}
        else:
            # With the next number, and as late as what it stands behind.
            later = both(deep(("number",), 5), deep(("statement",), 4),
                         deep(("sealed",), form.parse(entries[change])["sealed"]))
            edit = {"insert": change + 1, "leaf": edited(entries[index], later).decode()}
        what = "leaf" if name in NO_LEAF else "coverage"
        made.append({"name": name, "what": what, "leaf": leaf, "edit": edit})
    return made


def shown():
    """The states that are shown of the coverage that denies; `edit` is null for the log as it is."""
    entries = log().entries
    tried, kept = place(entries, "coverage-canary", 3), place(entries, "coverage-closed", 2)
    udp = WAYS.index("udp4")
    replace = lambda index, change: {"replace": index, "leaf": edited(entries[index], change).decode()}
    tested = dict.fromkeys(("tcp", "udp", "raw"), "canary_tested")
    first = place(entries, "coverage-armed")
    closed = deep(("channels", list(CHANNELS).index("tcp"), "state"), "closed_by_hook")
    said = {"name": "tcp that is closed, and let go", "edit": replace(first, closed), "coverage": COVERAGE,
            "states": CHANNELS}
    return [said] + [
            {"name": name, "edit": edit, "coverage": ENFORCED, "states": {**CLOSED, **states}}
            for name, edit, states in [
                ("a canary found what is closed", None, tested),
                ("a cgroup came late", replace(kept, deep(("late",), 1)), dict.fromkeys(tested, "observed_only")),
                ("a canary went around", replace(tried, deep(("canary", udp, "outcome"), "passed")),
                 {**tested, "udp": "closed_by_hook"})]]


def apply(entries, edit):
    """The log that an edit makes of the good one."""
    entries, leaf = list(entries), edit.get("leaf", "").encode()
    if "replace" in edit:
        entries[edit["replace"]] = leaf
    elif "remove" in edit:
        del entries[edit["remove"]]
    else:
        entries.insert(edit["insert"], leaf)
    return entries


def bundle(run):
    """The bundle of a run of the log: with the connections that its exchanges came over, and what was stated
    from before the first of these came until the last was over."""
    made = log(closes_run=True)
    values = [form.parse(entry) for entry in made.entries]
    own = [at for at, value in enumerate(values) if value.get("exchange") and value["run"]["id"] == run]
    named = {values[at]["ext"].get("connection") for at in own}
    connections = [at for at, value in enumerate(values)
                   if value["kind"] == "connection" and carried.tag(value["connection"]) in named]
    first = min(values[at]["first"] for at in connections)
    stated = {value["number"]: at for at, value in enumerate(values)
              if value["kind"] in ("coverage-heartbeat", "coverage-closed") and value["coverage"] == COVERAGE}
    begins = stated[first - 1] if first > 2 else place(made.entries, "coverage-armed")
    ends = stated[max(values[at]["last"] for at in connections)]
    meanwhile = [at for at in range(begins, ends + 1)
                 if values[at]["kind"] == "bypass" or values[at]["kind"].startswith("coverage-")]
    closed = next(at for at, value in enumerate(values)
                  if value["kind"] == "run-closed" and value["run"] == run)
    picked = {0, place(made.entries, "coverage-armed"), *own, *connections, *meanwhile, closed, closed + 1,
              len(values) - 1}
    note, signed = made.checkpoint(sample_log.SEED), made.payload(closed)
    signed = run_format.envelope(sample_log.ORIGIN, signed, sample_log.RECORD_SEED)
    disclosed = {(connections[0], "maker"): "all", (own[0], "context"): "all"}
    leaves = {"all": made.entries, "picked": sorted(picked)}
    return run_format.bundle(note, leaves, signed, made.parts, disclosed)


def vectors():
    public = ed25519.public_key(sample_log.SEED)
    return {"origin": sample_log.ORIGIN, "seed": sample_log.SEED.hex(),
            "vkey": form.vkey(sample_log.ORIGIN, public),
            "leaves": [entry.decode() for entry in log().entries], "broken": broken(), "shown": shown()}
