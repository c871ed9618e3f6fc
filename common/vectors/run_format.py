"""Run records and bundles written a second time, from FORMAT.md alone."""

import pathlib

import ed25519
import sealtap_format as form

PAYLOAD_TYPE = "application/vnd.in-toto+json"
NOT_ASSERTED = ["that an answer is true", "that no traffic went around the gateway",
                "that the gateway's clock was right", "that what left the gateway arrived",
                "that the run's name means what it says"]
PARTS = ["context", "request-head", "request-body", "request-trailers", "interim",
         "response-head", "response-body", "response-trailers", "websocket-messages",
         "maker"]


def verify_text():
    """The text is part of the format, so there is one copy of it."""
    return (pathlib.Path(__file__).resolve().parent / "../src/bundle/verify.txt").read_bytes()


# --- records --------------------------------------------------------------------------------------

def payload(origin, index, closed):
    run = f"run/{closed['run']}"
    subject = [{"name": run, "digest": {"sealtapRunRoot": form.unb64(closed["root"]).hex()}}]
    if closed["output"]:
        digest = form.unb64(closed["output"]["root"]).hex()
        subject.append({"name": f"{run}/output", "digest": {"sealtapBodyRoot": digest}})
    predicate = {
        "boot": closed["boot"], "isolation": closed["isolation"],
        "coverage": {"inside": closed["inside"], "outside": closed["count"] - closed["inside"]},
        "exchanges": {"count": closed["count"], "first": closed["first"],
                      "last": closed["last"]["index"], "root": closed["root"]},
        "leaves": {"first": closed["first"], "last": index}, "log": origin,
        "notAsserted": NOT_ASSERTED, "policy": closed["policy"],
        "run": {"by": closed["by"], "closed": closed["reason"], "id": closed["run"]},
        "time": {"closed": closed["sealed"], "ended": closed["ended"],
                 "started": closed["started"]}}
    return form.canonical({"_type": "https://in-toto.io/Statement/v1", "predicate": predicate,
                           "predicateType": "https://sealtap.dev/run-record/v1",
                           "subject": subject})


def pae(data):
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(data)} ".encode() + data


def key_name(origin):
    return f"{origin}/run-record"


def envelope(origin, data, seed):
    name, public = key_name(origin), ed25519.public_key(seed)
    signature = {"keyid": f"{name}+{form.key_id(name, public).hex()}",
                 "sig": form.b64(ed25519.sign(seed, pae(data)))}
    return form.canonical({"payload": form.b64(data), "payloadType": PAYLOAD_TYPE,
                           "signatures": [signature]})


# --- bundles --------------------------------------------------------------------------------------

def header(name, size):
    def at(place, text):
        block[place:place + len(text)] = text

    block = bytearray(512)
    at(0, name.encode("ascii"))
    for place, text in [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"),
                        (124, f"{size:011o}\0"), (136, "0" * 11 + "\0"), (148, " " * 8),
                        (156, "0"), (257, "ustar\x0000"), (329, "0000000\0"), (337, "0000000\0")]:
        at(place, text.encode("ascii"))
    at(148, f"{sum(block):06o}\0 ".encode("ascii"))
    return bytes(block)


def archive(entries):
    filled = (header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in entries)
    return b"".join(filled) + bytes(1024)


def unarchive(data):
    """The entries in order; refuses whatever archive() would not give."""
    entries, at = [], 0
    while data[at:at + 512] != bytes(512):
        name = data[at:at + 100].rstrip(b"\0").decode("ascii")
        size = int(data[at + 124:at + 135], 8)
        entries.append((name, data[at + 512:at + 512 + size]))
        at += 512 + size + -size % 512
    if archive(entries) != data:
        raise ValueError("not the one archive of its content")
    return entries


def tlog_proof(index, hashes, checkpoint):
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *map(form.b64, hashes), "", checkpoint]
    return "\n".join(lines).encode()


def parse_proof(data):
    head, _, checkpoint = data.decode("utf-8").partition("\n\n")
    lines = head.split("\n")
    index, hashes = int(lines[1].removeprefix("index ")), [form.unb64(line) for line in lines[2:]]
    if tlog_proof(index, hashes, checkpoint) != data:
        raise ValueError("not a tlog-proof")
    return index, hashes, checkpoint


def root_from(index, size, leaf, proof):
    """RFC 9162, section 2.1.3.2, by recursion: the root that a proof leads to."""
    if size == 1:
        if proof:
            raise ValueError("a proof that is too long")
        return leaf
    middle = form.split(size)
    if index < middle:
        return form.node_hash(root_from(index, middle, leaf, proof[:-1]), proof[-1])
    return form.node_hash(proof[-1], root_from(index - middle, size - middle, leaf, proof[:-1]))


def consistency_text(hashes):
    return "".join(form.b64(one) + "\n" for one in hashes).encode()


def parse_consistency(data):
    hashes = [form.unb64(line) for line in data.decode("ascii").splitlines()]
    if consistency_text(hashes) != data or any(len(one) != 32 for one in hashes):
        raise ValueError("not a list of hashes")
    return hashes


def grew(old, new, old_root, proof, whole=True):
    """RFC 6962, section 2.1.2, turned around: both roots that a consistency proof leads to."""
    if old == new:
        if len(proof) != (0 if whole else 1):
            raise ValueError("a consistency proof of another length")
        return (old_root, old_root) if whole else (proof[0], proof[0])
    middle, last = form.split(new), proof[-1]
    if old <= middle:
        left, now = grew(old, middle, old_root, proof[:-1], whole)
        return left, form.node_hash(now, last)
    right, now = grew(old - middle, new - middle, old_root, proof[:-1], False)
    return form.node_hash(last, right), form.node_hash(last, now)


def beside(hashes, cosigned, dated, reply):
    """What others vouch for: notes of earlier trees, proven to be beginnings of this one."""
    def both(name, note):
        size = int(note.split("\n")[1])
        proof = consistency_text(form.consistency(size, hashes))
        return [(name, note.encode()), (f"{name}.proof", proof)]

    entries = both("checkpoint.cosigned", cosigned) + both("timestamp.checkpoint", dated)
    return entries + [("timestamp.tsr", reply)]


# --- RFC 3161, as far as what is dated ------------------------------------------------------------

OIDS = {"signed-data": "2a864886f70d010702", "tst-info": "2a864886f70d0109100104",
        "sha256": "608648016503040201", "policy": "2a030401"}


def der(tag, *parts):
    data = b"".join(parts)
    long = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    length = bytes([len(data)]) if len(data) < 128 else bytes([0x80 | len(long)]) + long
    return bytes([tag]) + length + data


def oid(name):
    return der(6, bytes.fromhex(OIDS[name]))


def reply(dated, time):
    """A granted reply whose token nobody signed: only good to be read."""
    imprint = der(0x30, der(0x30, oid("sha256"), der(5)), der(4, form.sha256(dated)))
    info = der(0x30, der(2, b"\1"), oid("policy"), imprint, der(2, b"\1"), der(0x18, time))
    content = der(0x30, oid("tst-info"), der(0xA0, der(4, info)))
    signed = der(0x30, der(2, b"\3"), der(0x31), content, der(0x31))
    token = der(0x30, oid("signed-data"), der(0xA0, signed))
    return der(0x30, der(0x30, der(2, b"\0")), token)


def items(data):
    """The items of a DER value: (tag, value) pairs."""
    found = []
    while data:
        tag, length, at = data[0], data[1], 2
        if length >= 0x80:
            at += length & 0x7F
            length = int.from_bytes(data[2:at], "big")
        if len(data) < at + length:
            raise ValueError("not DER")
        found.append((tag, data[at:at + length]))
        data = data[at + length:]
    return found


def imprint_of(data):
    """What a reply dates, and when; its signature is not looked at."""
    (_, whole), = items(data)
    (_, status), (_, token) = items(whole)
    if items(status)[0][1] not in (b"\0", b"\1"):
        raise ValueError("not granted")
    (_, kind), (_, signed) = items(token)
    (_, signed), = items(signed)
    (_, kind_of_content), (_, content) = items(items(signed)[2][1])
    if (kind.hex(), kind_of_content.hex()) != (OIDS["signed-data"], OIDS["tst-info"]):
        raise ValueError("not a timestamp")
    (_, octets), = items(content)
    (_, info), = items(octets)
    parts = items(info)
    (_, algorithm), (_, digest) = items(parts[2][1])
    if items(algorithm)[0][1].hex() != OIDS["sha256"]:
        raise ValueError("another digest than SHA-256")
    return digest, parts[4][1].decode("ascii")


def bundle(note, leaves, record, parts, disclosed, beside=()):
    """`leaves` by index; `parts` by index and name, each (key, segments, kind); `disclosed` by the
    same, "all" or a list of segments; `beside` are entries behind the checkpoint."""
    hashes = [form.leaf_hash(leaf) for leaf in leaves["all"]]
    entries = [("VERIFY", verify_text()), ("checkpoint", note.encode()), *beside]
    if record:
        entries.append(("record.dsse.json", record))
    for index in leaves["picked"]:
        folder = f"leaves/{index:012}"
        entries.append((f"{folder}/leaf", leaves["all"][index]))
        entries.append((f"{folder}/proof", tlog_proof(index, form.inclusion(index, hashes), note)))
        for part in PARTS:
            if part in parts.get(index, {}):
                shown = disclosed.get((index, part))
                entries += part_entries(f"{folder}/{part}", *parts[index][part], shown)
    return archive(entries)


def part_entries(name, key, segments, kind, shown):
    tuples, _ = form.body(key, segments, kind, "bytes/1")
    entries = [(f"{name}.tuples", b"".join(tuples))]
    if shown == "all":
        entries += [(f"{name}.key", key.hex().encode() + b"\n"), (name, b"".join(segments))]
    for index in shown if isinstance(shown, list) else []:
        salt = form.salt(key, index).hex().encode() + b"\n"
        entries += [(f"{name}.{index}.salt", salt), (f"{name}.{index}", segments[index])]
    return entries
