#!/usr/bin/env python3
"""Writes the vectors beside it, or says whether they are what it would write.

    python3 make.py            write *.json and log/
    python3 make.py --check    exit 1 if any of them differs
"""

import json
import pathlib
import sys

import carried
import broken_bundles
import covered_log
import ed25519
import queries
import run_format
import sample_log
import sealtap_format as form

HERE = pathlib.Path(__file__).resolve().parent


def commitments():
    key = bytes(range(32))
    segments = []
    for index, data in [(0, b""), (0, b"hello"), (1, b"hello"), (2**32 - 1, bytes(range(256)))]:
        salt = form.salt(key, index)
        segments.append({"index": index, "bytes": data.hex(), "salt": salt.hex(),
                         "commitment": form.commitment(salt, data).hex()})
    bodies = []
    for dialect, kind, parts in [
        ("bytes/1", 0, []), ("bytes/1", 0, [b"short"]),
        ("bytes/1", 0, form.pieces(b"\x2a" * (2 * form.PIECE + 1))),
        ("event-stream/1", 6, [b"data: 1\n\n", b": note\n\ndata: 2\n\n", b"data"]),
    ]:
        tuples, named = form.body(key, parts, kind, dialect)
        # Long pieces of one repeated byte are told by length and byte.
        told = [{"repeat": part[0], "length": len(part)} if len(part) > 1000
                else {"bytes": part.hex()} for part in parts]
        bodies.append({"kind": kind, "segments": told, "tuples": [row.hex() for row in tuples],
                       "body": named})
    units = [{"kind": kind, "bytes": data.decode(), "unit": form.unit(key, kind, data)}
             for kind, data in sample_units()]
    prefixes = [{"kind": kind, "segments": [part.hex() for part in parts], "tail": tail.hex(),
                 "prefix": form.prefix(key, parts, kind, tail)}
                for kind, parts, tail in [(0, [], b""), (0, [], b"hello"), (6, [b"data: 1\n\n"], b""),
                                          (6, [b"data: 1\n\n"], b"data: 2")]]
    return {"key": key.hex(), "segments": segments, "bodies": bodies, "units": units,
            "prefixes": prefixes, "websocket": websocket()}


def websocket():
    """A session, its message index, and units that are no index."""
    request, response, _ = sample_log.session()
    index = sample_log.messages().decode()
    edits = [('"count":2', '"count":3'), ("[8,14,8,", "[8,14,3,"), ("[8,14,8,", "[14,14,8,"),
             ("[8,14,8,1790000000000300", "[8,14,8,1790000000000000"), ('"raw":null', '"raw":false'),
             (",[8,14,8,1790000000000300]", "")]
    refused = [index.replace(old, new, 1) for old, new in edits]
    assert index not in refused
    return {"request": request.hex(), "response": response.hex(), "index": index,
            "refused": refused}


def sample_units():
    return [(1, sample_log.head(7)), (2, sample_log.response_head()), (3, sample_log.trailers()),
            (4, sample_log.interim()), (5, sample_log.context(7)),
            (7, sample_log.messages()), (8, carried.maker()), (8, carried.unknown()),
            (9, queries.questions())]


def tree():
    leaves = [bytes([n]) * n for n in range(40)]
    hashes = [form.leaf_hash(data) for data in leaves]
    picks = [(0, 1), (0, 2), (3, 7), (6, 7), (8, 9), (31, 32), (32, 33), (17, 40), (39, 40)]
    olds = [(1, 2), (1, 1), (3, 7), (4, 7), (6, 8), (8, 9), (31, 40), (32, 40), (40, 40)]
    hexes = lambda hashes: [one.hex() for one in hashes]
    return {
        "leaves": [data.hex() for data in leaves],
        "roots": hexes(form.root(hashes[:size]) for size in range(len(leaves) + 1)),
        "inclusion": [{"index": index, "size": size,
                       "proof": hexes(form.inclusion(index, hashes[:size]))}
                      for index, size in picks],
        "consistency": [{"old": old, "new": new,
                         "proof": hexes(form.consistency(old, hashes[:new]))}
                        for old, new in olds],
    }


def tiles():
    sets = []
    for size in [0, 1, 255, 256, 257, 65535, 65536, 65792, 70000]:
        names, nodes, level = [], size, 0
        for label in ["entries", "hashes"]:
            nodes, level = size, 0
            while nodes:
                last = (nodes - 1) // 256
                name = "entries" if label == "entries" else level
                names.append(form.tile_path(name, last, nodes - 256 * last))
                nodes, level = (0, 0) if label == "entries" else (nodes // 256, level + 1)
        sets.append({"size": size, "last_of_each_level": names})
    paths = [{"level": level, "index": index, "width": width,
              "path": form.tile_path(level, index, width)}
             for level, index, width in [(0, 0, 256), ("entries", 1234067, 5), (3, 999, 1),
                                         (1, 1000, 255), (0, 2**40, 256)]]
    entries = [b"one", b"", b"three" * 60]
    return {"paths": paths, "sets": sets,
            "bundle": {"entries": [entry.hex() for entry in entries],
                       "bytes": form.bundle(entries).hex()}}


def note():
    name, seed = sample_log.ORIGIN, sample_log.SEED
    public = ed25519.public_key(seed)
    text = form.checkpoint(name, 42, form.sha256(b"root"))
    return {"name": name, "seed": seed.hex(), "public": public.hex(),
            "id": form.key_id(name, public).hex(), "vkey": form.vkey(name, public),
            "skey": form.skey(name, seed), "pem": form.pem(public), "origin": name, "size": 42,
            "root": form.sha256(b"root").hex(), "text": text,
            "note": form.sign_note(text, name, seed)}


def retention():
    """A leaf that says what is held no longer; the sample log has none."""
    return form.leaf("retention", boot="19b188a9b4b54096a4456f9cdbf0be84",
                     leaves=[[1, 7], [9, 9]], limit={"age": 2592000000000, "bytes": None},
                     sealed=1790000000009000)


def opaque(reason, alert=None, outcome="complete", error=None):
    """A tunnel that was not captured, and what opened it; the sample log has none."""
    key, identity = bytes(range(32)), bytes(range(16)).hex()
    line = {"authority": None, "method": "CONNECT", "scheme": None, "target": ["db.example:5432"],
            "version": "1.1"}
    asked = form.canonical({**line, "fields": [["Host", "db.example:5432"]],
                            "received": {**line, "fields": [0]}})
    said = {"reason": "Connection established", "status": 200, "version": "1.1"}
    answer = form.canonical({**said, "fields": [], "received": {**said, "fields": []}})
    context = form.canonical({
        "client": "127.0.0.1:40001", "ingress": "connect", "run": {"by": "connection", "name": None},
        "upstream": {"address": "192.0.2.9:5432", "name": "db.example:5432", "tls": None,
                     "url": "https://db.example:5432"}})
    _, nothing = form.body(key, [], 0, "bytes/1")
    both = {"body": nothing, "end": "complete", "same": True, "trailers": None}
    passed = 0 if reason == "client_rejected" else 1234
    return form.leaf("opaque", boot="19b188a9b4b54096a4456f9cdbf0be84",
                     context=form.unit(key, 5, context), ended=1790000000008000, error=error,
                     exchange=identity, ext={}, number=7, outcome=outcome, policy="strict",
                     request={**both, "head": form.unit(key, 1, asked)},
                     response={**both, "head": form.unit(key, 2, answer), "interim": None,
                               "source": "gateway"},
                     run={"id": identity, "position": 1, "previous": None},
                     sealed=1790000000009000, started=1790000000007000,
                     tunnel={"alert": alert, "from_client": passed, "reason": reason,
                             "to_client": 2 * passed})


def opaque_leaves():
    return [opaque("not_listed"), opaque("not_http", outcome="upstream_failed", error="upstream_closed"),
            opaque("not_http", outcome="interrupted"),
            opaque("client_rejected", 48, "client_cancelled", "client_tls"),
            opaque("client_rejected", None, "client_cancelled", "client_tls")]


def leaves():
    """One leaf of each shape, and edits of them that are no leaves."""
    entries = sample_log.entries() + [retention()] + opaque_leaves() + carried.leaves() + queries.leaves()
    entries += covered_log.log().entries
    kept, seen = [], set()
    for entry in entries:
        value = form.parse(entry)
        headless = (value.get("response") or {"head": 0})["head"] is None
        shape = (value["kind"], value.get("outcome"), value.get("action"), value.get("closing"),
                 headless, value.get("reason"), str(value.get("tunnel")), value.get("attribution"),
                 value.get("end"), value.get("verdict"), "names" in value and value["names"] is None,
                 *value["ext"])
        if shape not in seen:
            seen.add(shape)
            kept.append({"kind": value["kind"], "leaf": entry.decode(),
                         "sealed": value["sealed"], "leaf_hash": form.leaf_hash(entry).hex()})
    whole = next(entry for entry in entries if b'"kind":"exchange"' in entry).decode()
    edits = [('"v":1', '"v":2'), ('"v":1', '"v":1,"w":0'), ('"v":1', '"v":1.0'), ('"ext":{},', ''),
             ('"number":1', '"number":-0'), ('"number":1', '"number":1e0'), ('":', '": '),
             ('"number":1', '"number":9007199254740992'), ('"outcome":"complete"', '"outcome":"open"'),
             ('"policy":"strict"', '"policy":"Strict"'), ('"error":null', '"error":"none"'),
             ('"position":1', '"position":0'), ('"same":true', '"same":true,"same":true'),
             ('=","', '","'), ('"segments":1', '"segments":2'), ('"dialect":"bytes/1"', '"dialect":"bytes/2"')]
    refused = []
    for old, new in edits:
        assert old in whole, old
        refused.append(whole.replace(old, new, 1))
    # Before a final head there is nothing but interim answers.
    value = next(form.parse(entry) for entry in entries if b'"head":null,"interim":{' in entry)
    response = value["response"]
    for more in [{"interim": None}, {"trailers": response["interim"]},
                 {"body": form.parse(whole.encode())["request"]["body"]}]:
        refused.append(form.canonical({**value, "response": {**response, **more}}).decode())
    # What passes through a tunnel is no body, and a tunnel is either there or not.
    tunnel = form.parse(opaque("not_listed"))
    body = form.parse(whole.encode())["request"]["body"]
    for more in [{"request": {**tunnel["request"], "body": body}}, {"outcome": "refused"},
                 {"response": {**tunnel["response"], "body": body}}, {"kind": "exchange"},
                 {"tunnel": {**tunnel["tunnel"], "alert": 48}}, {"tunnel": None},
                 {"tunnel": {**tunnel["tunnel"], "reason": "other"}},
                 {"tunnel": {**tunnel["tunnel"], "from_client": -1}}]:
        refused.append(form.canonical({**tunnel, **more}).decode())
    refused += carried.refused() + queries.refused()
    rejected = form.parse(opaque("client_rejected", 48))
    refused.append(form.canonical({**rejected, "tunnel": {**rejected["tunnel"], "alert": 256}}).decode())
    return {"leaves": kept, "refused": refused}


def witness():
    """A cosignature on the note's checkpoint, and a key change of its log."""
    name, seed, time = sample_log.WITNESS_NAME, sample_log.WITNESS_SEED, 1679315147
    text, vkey = note()["text"], sample_log.witness_key(name, seed)[1]
    message = f"cosignature/v1\ntime {time}\n{text}"
    old, new, size = sample_log.SEED, bytes(range(2, 34)), 42
    change = sample_log.key_change_message("log", old, new, size)
    leaf = form.leaf("key-change", new=form.b64(ed25519.public_key(new)),
                     new_signature=form.b64(ed25519.sign(new, change.encode())),
                     old=form.b64(ed25519.public_key(old)),
                     old_signature=form.b64(ed25519.sign(old, change.encode())),
                     role="log", sealed=sample_log.START, size=size)
    return {"seed": seed.hex(), "vkey": vkey, "time": time, "text": text, "message": message,
            "line": sample_log.cosignature_line(text, name, seed, time).removesuffix("\n"),
            "policy": f"witness w {vkey}\nquorum w\n",
            "key_change": {"origin": sample_log.ORIGIN, "message": change, "leaf": leaf.decode(),
                           "leaf_hash": form.leaf_hash(leaf).hex()}}


def record():
    made, closed, signed, _ = sample_log.sample_bundle()
    origin, seed = sample_log.ORIGIN, sample_log.RECORD_SEED
    data = made.payload(closed)
    return {"origin": origin, "index": closed, "closed": made.entries[closed].decode(),
            "payload": data.decode(), "signed": run_format.pae(data).decode(),
            "hash": form.sha256(run_format.pae(data)).hex(), "envelope": signed.decode(),
            "seed": seed.hex(),
            "vkey": form.vkey(run_format.key_name(origin), ed25519.public_key(seed))}


def outputs():
    texts = {"commitments.json": commitments(), "tree.json": tree(), "tiles.json": tiles(),
             "note.json": note(), "leaves.json": leaves(), "witness.json": witness(),
             "record.json": record(), "coverage.json": {**covered_log.vectors(), "bundles": broken_bundles.vectors()}}
    files = {name: (json.dumps(value, indent=1) + "\n").encode() for name, value in texts.items()}
    files["bundle.tar"] = sample_log.sample_bundle()[3]
    files["covered.tar"] = covered_log.bundle(covered_log.RUN)
    files["later.tar"] = covered_log.bundle(covered_log.LATER)
    files["witnessed.tar"] = sample_log.witnessed_bundle()
    files.update({f"log/{path}": data for path, data in sample_log.files().items()})
    return files


def main():
    check = sys.argv[1:] == ["--check"]
    differing = []
    for name, data in outputs().items():
        path = HERE / name
        if check:
            if not path.is_file() or path.read_bytes() != data:
                differing.append(name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for name in differing:
        print(f"{name} is not what make.py writes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
