"""Connections and ways around: the second implementation of rules 9.15 to 9.17, and samples."""

import heapq

import sealtap_format as form
from number_set import Numbers, are_ranges

# What a way around is counted in, and what a statement calls that.
UNITS = {"connect": "connections", "packet": "packets"}
# How many of a canary's ways, the first ones, make a connection of TCP.
TCP = 5
ATTRIBUTIONS = ("kernel_task", "kernel_creator", "unknown")
ENDS = ("closed", "interrupted", "refused")
CONNECTION = {"attribution", "began", "boot", "bytes", "connection", "cookie", "coverage", "end", "ended",
              "exchanges", "ext", "first", "kernel", "kind", "last", "maker", "number", "part", "parts",
              "sealed", "side", "v"}
BYPASS = {"boot", "count", "coverage", "ext", "kind", "number", "sealed", "statement", "unit", "v",
          "verdict", "way", "who"}


def tag(connection):
    """What the leaf of an exchange says of the connection it came over."""
    return form.b64(form.sha256(b"sealtap/v1/connection\0" + bytes.fromhex(connection)))


class Joins:
    """What connections and ways around say, held against the statements of their coverage."""

    def __init__(self, require, require_of):
        """`require_of` says which leaf it is about, where that is not the one at hand, `index`."""
        self.require, self.require_of, self.index = require, require_of, 0
        self.of, self.waiting, self.over, self.parts = {}, {}, set(), None

    def between(self, kind):
        self.require(self.parts is None or kind == "connection", "a connection's part is missing")

    def statement(self, kind, value):
        if kind == "coverage-armed":
            self.of[value["coverage"]] = {
                "boot": value["boot"], "mode": value["mode"], "known": [0], "refused": 0, "refused_led": 0,
                "over": False, "told": 0,
                "numbers": Numbers(), "turned": Numbers(), "early": [], "led": 0, "later": [], "canary": 0,
                **{unit: {"read": 0, "counted": 0, "denied": 0, "passed": 0} for unit in UNITS}}
            return
        of = self.of[value["coverage"]]
        if kind == "coverage-canary":
            stayed = [tried["outcome"] in ("led", "unseen", "unavailable") for tried in value["canary"][:TCP]]
            self.require(0 <= value["led"] <= sum(stayed), "more of a canary was led here than it made")
            of["canary"] += value["led"]
            return
        arrived = value["arrived"]
        of["over"] = kind == "coverage-closed"
        self.require(arrived["known"] >= of["known"][-1] and arrived["refused"] >= of["refused"]
                     and arrived["refused_led"] >= of["refused_led"], "fewer connections than before")
        of["known"].append(arrived["known"])
        of["refused"], of["refused_led"] = arrived["refused"], arrived["refused_led"]
        while of["early"] and of["early"][0][0] <= value["number"]:
            first, number, index = heapq.heappop(of["early"])
            self.counted(of, number, first, index)
        while of["later"] and of["later"][0] <= value["number"]:
            heapq.heappop(of["later"])
            of["led"] += 1
        self.require(of["led"] <= arrived["refused_led"], "more were refused than its numbers say")
        if value["connections"] is None:
            return
        for unit, sums in UNITS.items():
            told, counted = of[unit], value[sums]
            self.require(counted["events_read"] == told["read"] + told["counted"],
                         f"ways around that are told of, in {sums}")
            told["read"], told["counted"] = counted["events_read"], 0
            self.require(told["denied"] <= counted["bypass_denied"]
                         and told["passed"] <= counted["bypass_passed"], f"verdicts, in {sums}")
        came = arrived["known"] + arrived["refused_led"] + of["canary"]
        self.require(came <= value["connections"]["via_gateway"], "more came than were led")

    def counted(self, of, number, first, index):
        """A connection is among those that its first statement is the first to count."""
        self.require_of(index, of["known"][first - 1] < number <= of["known"][first],
                        "the first statement of a connection")

    def exchange(self, value):
        own = value["ext"].get("connection")
        if own:
            self.require(own not in self.over, "an exchange over a connection that had ended")
            boot, waiting = self.waiting.setdefault(own, (value["boot"], Numbers()))
            self.require(boot == value["boot"], "an exchange over a connection of another boot")
            waiting.add(value["number"])

    def connection(self, value):
        require, own = self.require, tag(value["connection"])
        require(set(value) == CONNECTION, "members of a connection")
        require(value["began"] <= value["ended"] <= value["sealed"], "times of a connection")
        require(value["attribution"] in ATTRIBUTIONS and value["end"] in ENDS
                and value["side"] == "client", "words of a connection")
        refused = value["end"] == "refused"
        require(value["cookie"] is not None or refused, "the cookie of a connection")
        require(not (refused and value["exchanges"]), "exchanges of a refused connection")
        require(1 <= value["first"] <= value["last"] and 1 <= value["part"] <= value["parts"],
                "statements or parts of a connection")
        of = self.of.get(value["coverage"])
        require(of and of["boot"] == value["boot"], "the coverage of a connection")
        same = {name: value[name] for name in CONNECTION - {"exchanges", "ext", "part", "sealed"}}
        if self.parts is None:
            require(value["part"] == 1, "part of a connection")
            require(own not in self.over, "a connection has two leaves")
            self.over.add(own)
            numbers = of["turned"] if refused else of["numbers"]
            require(numbers.add(value["number"]), "the number of a connection")
            stated = value["first"] < len(of["known"])
            if not refused and stated:
                self.counted(of, value["number"], value["first"], self.index)
            elif not refused:
                heapq.heappush(of["early"], (value["first"], value["number"], self.index))
            elif value["cookie"] is not None and stated:
                of["led"] += 1
                require(of["led"] <= of["refused_led"], "more were refused than its numbers say")
            elif value["cookie"] is not None:
                heapq.heappush(of["later"], value["first"])
        else:
            part, before, highest = self.parts
            require(before == same and value["part"] == part + 1, "part of a connection")
            require(value["exchanges"][0][0] > highest + 1, "ranges of a connection's parts")
        require(are_ranges(value["exchanges"]), "ranges of a connection")
        for first, last in value["exchanges"]:
            _, waiting = self.waiting.get(own, (None, Numbers()))
            require(waiting.covers(first, last), "an exchange that did not come over it")
            waiting.remove(first, last)
        highest = value["exchanges"][-1][1] if value["exchanges"] else 0
        self.parts = (value["part"], same, highest) if value["part"] < value["parts"] else None
        if self.parts is None:
            _, waiting = self.waiting.pop(own, (None, Numbers()))
            require(waiting.highest() == 0, "an exchange that it does not name")

    def bypass(self, value):
        require, of = self.require, self.of.get(value["coverage"])
        require(set(value) == BYPASS and value["count"] >= 1, "members of a bypass")
        require(value["unit"] in ("connect", "packet") and value["verdict"] in ("denied", "passed")
                and value["way"] in ("tcp", "udp", "raw", "frame", "unknown"), "words of a bypass")
        require(value["who"] is None or value["count"] == 1, "who went around")
        require(of and of["boot"] == value["boot"], "the coverage of a bypass")
        require(not of["over"], "a bypass behind the end of its coverage")
        require(of["mode"] == "observe" or value["verdict"] == "denied", "let around, and all of it is denied")
        require(value["number"] == of["told"] + 1, "the number of a bypass")
        require(value["statement"] == len(of["known"]), "the statement of a bypass")
        of["told"] += 1
        of[value["unit"]]["counted"] += value["count"]
        of[value["unit"]][value["verdict"]] += value["count"]

    def finish(self, over):
        self.require(self.parts is None, "the log ends inside a connection")
        for boot, waiting in self.waiting.values():
            self.require(not (over(boot) and waiting.highest()),
                         "an exchange over a connection without a leaf")
        for of in self.of.values():
            missing = of["numbers"].first_missing(of["known"][-1])
            self.require(not (over(of["boot"]) and missing), "a connection without a leaf")


def maker():
    """Who made a connection."""
    process = {"cgroup": "/system.slice/agent.service", "command": "curl\0https://model.example\0",
               "container": None, "executable": "/usr/bin/curl", "namespace": 4026531840,
               "sha256": bytes(range(32)).hex(), "started": 123456}
    return form.canonical({"client": "127.0.0.1:40001", "destination": "192.0.2.9:443",
                           "noted": {"process": 4711, "user": 1000}, "process": process})


def unknown():
    """Who made a connection, and was gone before anybody looked."""
    return form.canonical({"client": "[::1]:40001", "destination": "192.0.2.9:443",
                           "noted": {"process": 4711, "user": 1000}, "process": None})


def leaves():
    key, boot = bytes(range(32)), "19b188a9b4b54096a4456f9cdbf0be84"
    coverage, sealed = bytes(range(16)).hex(), 1790000000009000
    both = {"from_client": 517, "to_client": 4096}
    connection = {"attribution": "kernel_task", "began": 1790000000007000, "boot": boot, "bytes": both,
                  "connection": bytes(range(16, 32)).hex(), "cookie": "0000000000001002",
                  "coverage": coverage, "end": "closed", "ended": 1790000000008000,
                  "exchanges": [[4, 6], [9, 9]], "first": 2, "kernel": {**both, "to_client": 4097},
                  "last": 3, "maker": form.unit(key, 8, maker()), "number": 7, "part": 1, "parts": 1,
                  "side": "client"}
    gone = {**connection, "attribution": "unknown", "end": "interrupted", "kernel": None,
            "maker": form.unit(key, 8, unknown())}
    turned = {**gone, "cookie": None, "end": "refused", "exchanges": [], "last": 2}
    around = {"boot": boot, "count": 1, "coverage": coverage, "number": 1, "statement": 2,
              "unit": "connect", "verdict": "passed", "way": "udp",
              "who": form.unit(key, 8, unknown())}
    more = {**around, "count": 70, "number": 2, "verdict": "denied", "who": None}
    connections = [form.leaf("connection", sealed=sealed, **value) for value in (connection, gone, turned)]
    return connections + [form.leaf("bypass", sealed=sealed, **value) for value in (around, more)]


def refused():
    """Edits of these leaves that are none."""
    connection, _, _, around, _ = [entry.decode() for entry in leaves()]
    edits = [(connection, '"first":2', '"first":4'), (connection, '"part":1', '"part":2'),
             (connection, '"end":"closed"', '"end":"refused"'), (connection, "kernel_task", "guessed"),
             (connection, '"0000000000001002"', "null"), (connection, "0000000000001002", "1002"),
             (connection, '"side":"client"', '"side":"upstream"'), (connection, '[4,6]', '[6,4]'),
             (around, '"count":1', '"count":2'), (around, '"way":"udp"', '"way":"smoke"'),
             (around, '"statement":2', '"statement":0')]
    for text, old, _ in edits:
        assert old in text, old
    return [text.replace(old, new, 1) for text, old, new in edits]
