"""Queries at the resolver: the second implementation of rule 9.19, and samples."""

import sealtap_format as form

QUERIES = {"boot", "coverage", "cut", "ext", "kind", "lost", "names", "number", "omitted", "parsed",
           "questions", "sealed", "seen", "statement", "unparsable", "v"}
COUNTED = ("cut", "lost", "omitted", "parsed", "questions", "unparsable")


class Queries:
    """What was asked, held against the packets that each statement allows."""

    def __init__(self, require):
        self.require, self.of = require, {}

    def statement(self, kind, value):
        if kind == "coverage-armed":
            self.of[value["coverage"]] = {"boot": value["boot"], "told": 0, "stated": 0, "allowed": 0,
                                          "since": None, "over": False}
        elif kind != "coverage-canary":
            of = self.of[value["coverage"]]
            told, of["since"] = of["since"] or 0, None
            of["stated"], of["over"] = value["number"], kind == "coverage-closed"
            if value["packets"] is not None:
                allowed, of["allowed"] = value["packets"]["allowed"] - of["allowed"], value["packets"]["allowed"]
                self.require(allowed == told, "packets that were allowed and queries that are told of")

    def leaf(self, value):
        require, of = self.require, self.of.get(value["coverage"])
        require(set(value) == QUERIES and value["seen"] >= 1, "members of queries")
        require(all(value[name] >= 0 for name in COUNTED), "numbers of queries")
        read = value["parsed"] + value["unparsable"]
        require(value["seen"] == read + value["lost"] and value["cut"] <= read, "queries do not add up")
        require(value["omitted"] <= value["questions"], "questions that are left out")
        require((value["names"] is None) == (value["omitted"] == value["questions"]), "names of queries")
        require(of and of["boot"] == value["boot"], "the coverage of queries")
        require(not of["over"], "queries behind the end of their coverage")
        require(of["since"] is None, "queries of one statement in two leaves")
        require(value["number"] == of["told"] + 1, "the number of a leaf about queries")
        require(value["statement"] == of["stated"] + 1, "the statement of queries")
        of["told"], of["since"] = value["number"], value["seen"]


def questions():
    """Names that were asked for."""
    first = 1790000000006000
    asked = {"class": 1, "count": 2, "executable": "/usr/bin/curl", "first": first, "last": first + 500,
             "name": "model.example", "process": 4711, "type": 28}
    odd = {**asked, "class": 3, "count": 1, "executable": None, "last": first, "name": "a\\.\\\\\\027\\255",
           "process": None, "type": 65535}
    return form.canonical({"questions": [asked, odd]})


def leaves():
    key, boot = bytes(range(32)), "19b188a9b4b54096a4456f9cdbf0be84"
    value = {"boot": boot, "coverage": bytes(range(16)).hex(), "cut": 1, "lost": 2,
             "names": form.unit(key, 9, questions()), "number": 1, "omitted": 4, "parsed": 3,
             "questions": 7, "seen": 6, "statement": 2, "unparsable": 1}
    none = {**value, "cut": 0, "names": None, "number": 2, "omitted": 0, "parsed": 0, "questions": 0,
            "seen": 3, "statement": 3}
    return [form.leaf("dns-queries", sealed=1790000000009000, **each) for each in (value, none)]


def refused():
    """Edits of these leaves that are none."""
    value, none = [entry.decode() for entry in leaves()]
    edits = [(value, '"lost":2', '"lost":3'), (value, '"cut":1', '"cut":5'), (value, '"omitted":4', '"omitted":8'),
             (value, '"omitted":4', '"omitted":7'), (none, '"questions":0', '"questions":1'),
             (none, '"number":2', '"number":0'), (value, '"unparsable":1', '"unparsable":-1'),
             (value, '"statement":2', '"statement":0'), (none, '"seen":3', '"seen":0')]
    for text, old, _ in edits:
        assert old in text, old
    return [text.replace(old, new, 1) for text, old, new in edits]
