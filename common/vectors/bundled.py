"""The coverage of a run in a bundle: the second implementation of step 10 of verifying one."""

import carried
import sealtap_format as form
import states

TCP = carried.TCP
KINDS = {"connection", "bypass", "coverage-armed", "coverage-heartbeat", "coverage-closed", "coverage-canary"}


class Bundled:
    """Connections that carried exchanges of the run, and what was stated while they were open."""

    def __init__(self, require, boot, exchanges, members):
        """`exchanges` are the run's: index, number, and what the leaf says of its connection. `members` are
        those of each kind that is about a coverage."""
        self.require, self.boot, self.members = require, boot, {**members, "bypass": carried.BYPASS}
        self.number = {number: (index, own) for index, number, own in exchanges}
        self.named, self.shown, self.of, self.part = {}, {}, {}, None
        for number, (_, own) in self.number.items():
            if own:
                self.named.setdefault(own, set()).add(number)

    def leaf(self, index, value):
        kind = value["kind"]
        self.require(value["boot"] == self.boot, "a coverage of another boot")
        self.require(kind == "connection" or set(value) == self.members[kind], f"members of a {kind}")
        if kind == "coverage-armed":
            self.require(value["coverage"] not in self.of, "a coverage is armed twice")
            states.founded(self.require, value)
            self.of[value["coverage"]] = {"mode": value["mode"], "stated": {}, "base": None, "told": None,
                                          "over": False, "led": 0, "early": [], "needs": None, "late": 0,
                                          "older": value["older"], "since": {unit: [] for unit in carried.UNITS}}
            return
        of = self.of.get(value["coverage"])
        self.require(of, "a coverage whose beginning is not here")
        if kind == "connection":
            self.connection(of, index, value)
            return
        self.require(not of["over"], "behind the end of its coverage")
        if kind == "bypass":
            following = max(of["stated"], default=0) + 1
            self.require(value["statement"] == following, "the statement of a bypass")
            before = 0 if of["told"] is None and following == 1 else of["told"]
            self.require(before is None or value["number"] == before + 1, "the number of a bypass")
            self.require(value["count"] >= 1, "a bypass of nothing")
            self.require(of["mode"] == "observe" or value["verdict"] == "denied",
                         "let around, and all of it is denied")
            of["told"] = value["number"]
            of["since"][value["unit"]].append((value["verdict"], value["count"]))
        elif kind == "coverage-canary":
            stayed = [tried["outcome"] in ("led", "unseen", "unavailable") for tried in value["canary"][:TCP]]
            self.require(0 <= value["led"] <= sum(stayed), "more of a canary was led here than it made")
            of["led"] += value["led"]
        else:
            of["over"] = kind == "coverage-closed"
            self.statement(of, value)

    def statement(self, of, value):
        require, number, arrived = self.require, value["number"], value["arrived"]
        begins = not of["stated"] and number != 1
        if of["stated"]:
            before = of["stated"][number - 1] if number - 1 in of["stated"] else None
            require(before and number == max(of["stated"]) + 1, "a statement is left out")
            require(all(arrived[name] >= before[name] for name in ("known", "refused", "refused_led")),
                    "fewer came")
        require(not begins or not any(of["since"].values()), "ways around in front of all statements")
        require(set(arrived) == {"attributed", "known", "refused", "refused_led"}, "members of what arrived")
        require(arrived["attributed"] <= arrived["known"] and arrived["refused_led"] <= arrived["refused"],
                "more have a process than came, or were refused")
        of["stated"][number] = arrived
        for first, own in of["early"]:
            if first == number:
                self.counted(of, first, own)
        if value["connections"] is None:
            return
        states.kept_in(require, of["mode"], value)
        came = arrived["known"] + arrived["refused_led"] + of["led"]
        require(came <= value["connections"]["via_gateway"], "more came than were led")
        for name in ("late", "older"):
            require(value[name] >= of[name], "fewer came late than before")
            of[name] = value[name]
        for unit, name in carried.UNITS.items():
            now = value[name]
            around = now["bypass_denied"] + now["bypass_passed"]
            parts = sum(now[part] for part in ("via_gateway", "loopback", "allowed", "unparsable"))
            require(now["seen"] == parts + around, f"{name} do not add up")
            require(around == now["events_read"] + now["events_lost"], f"events of {name} do not add up")
            if begins:
                continue
            base = of["base"][name] if of["base"] else dict.fromkeys(now, 0)
            last = of["last"][name] if of["base"] else base
            require(all(now[part] >= last[part] for part in now), "a number became smaller")
            told = sum(count for _, count in of["since"][unit])
            require(now["events_read"] == last["events_read"] + told, f"{name} around that are told of")
            of.setdefault("sums", {}).setdefault(unit, {"denied": 0, "passed": 0})
            for verdict, count in of["since"][unit]:
                of["sums"][unit][verdict] += count
            for verdict, count in of["sums"][unit].items():
                grew = now[f"bypass_{verdict}"] - base[f"bypass_{verdict}"]
                require(count <= grew, f"verdicts on {name}")
            of["since"][unit] = []
        zero = {name: dict.fromkeys(value[name], 0) for name in carried.UNITS.values()}
        said = {name: value[name] for name in carried.UNITS.values()}
        of["base"], of["last"] = of["base"] or (said if begins else zero), said

    def counted(self, of, first, own):
        before = {"known": 0} if first == 1 else of["stated"].get(first - 1)
        if before:
            self.require(before["known"] < own <= of["stated"][first]["known"],
                         "the first statement of a connection")

    def connection(self, of, index, value):
        require, own = self.require, carried.tag(value["connection"])
        require(set(value) == carried.CONNECTION and value["end"] != "refused", "members of a connection")
        require(own in self.named, "a connection that carried nothing of the run")
        same = {name: value[name] for name in carried.CONNECTION - {"exchanges", "ext", "part", "sealed"}}
        if value["part"] == 1:
            require(self.part is None and own not in self.shown, "a connection has two leaves")
            self.shown[own] = set()
            of["needs"] = min(of["needs"] or value["first"], value["first"])
            if value["first"] in of["stated"]:
                self.counted(of, value["first"], value["number"])
            else:
                of["early"].append((value["first"], value["number"]))
        else:
            require(self.part and self.part[:2] == (index - 1, value["part"] - 1) and self.part[2] == same,
                    "part of a connection")
            require(value["exchanges"][0][0] > self.part[3] + 1, "ranges of a connection's parts")
        for number, (at, named) in self.number.items():
            if any(first <= number <= last for first, last in value["exchanges"]):
                require(named == own and at < index, "an exchange that did not come over it")
                self.shown[own].add(number)
        highest = value["exchanges"][-1][1] if value["exchanges"] else 0
        self.part = (index, value["part"], same, highest) if value["part"] < value["parts"] else None
        if self.part is None:
            require(self.shown[own] == self.named[own], "an exchange that it does not name")

    def finish(self):
        """How many exchanges came over connections that are shown, and how many statements are here."""
        self.require(self.part is None, "the last part of a connection is missing")
        for of in self.of.values():
            self.require(of["needs"], "a coverage that carried nothing of the run")
            begins = min(of["stated"], default=1)
            self.require(begins <= max(of["needs"] - 1, 1), "statements from before a connection are missing")
        return sum(map(len, self.shown.values())), sum(len(of["stated"]) for of in self.of.values())
