"""The sealtap record format written a second time, from FORMAT.md alone, with the standard library.

Nothing here is shared with the Rust implementation; make.py turns it into vectors that the Rust tests
must agree with, check.py verifies a log directory with it.
"""

import base64
import hashlib
import hmac
import json

import ed25519

PIECE = 65536
KINDS = {"bytes": 0, "request-head": 1, "response-head": 2, "trailers": 3, "interim": 4,
         "context": 5, "event-group": 6}


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode("ascii")


def unb64(text):
    """Strict base64: only the text that b64 would print."""
    data = base64.b64decode(text, validate=True)
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


# --- canonical JSON -------------------------------------------------------------------------------

def canonical(value):
    """Restricted RFC 8785. Python's own escapes are those of the RFC once ASCII is not forced."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"),
                      allow_nan=False).encode("utf-8")


def _no_float(text):
    raise ValueError("not an integer: " + text)


def _integer(text):
    if abs(int(text)) > 2**53 - 1:
        raise ValueError("integer too large: " + text)
    return int(text)


def _members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs) or not all(name.isascii() for name in members):
        raise ValueError("duplicate or non-ASCII member name")
    return members


def parse(data):
    value = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float,
                       parse_int=_integer, object_pairs_hook=_members)
    if canonical(value) != data:
        raise ValueError("not canonical")
    return value


def isomorphic(octets):
    """Byte 0xNN becomes the character U+00NN."""
    return octets.decode("latin-1")


# --- tree -----------------------------------------------------------------------------------------

def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def split(count):
    return 1 << (count - 1).bit_length() - 1


def root(hashes):
    """MTH of RFC 6962, section 2.1."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    return node_hash(root(hashes[:middle]), root(hashes[middle:]))


def inclusion(index, hashes):
    """PATH of RFC 6962, section 2.1.1."""
    if len(hashes) <= 1:
        return []
    middle = split(len(hashes))
    if index < middle:
        return inclusion(index, hashes[:middle]) + [root(hashes[middle:])]
    return inclusion(index - middle, hashes[middle:]) + [root(hashes[:middle])]


def consistency(old, hashes, whole=True):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(hashes):
        return [] if whole else [root(hashes)]
    middle = split(len(hashes))
    if old <= middle:
        return consistency(old, hashes[:middle], whole) + [root(hashes[middle:])]
    return consistency(old - middle, hashes[middle:], False) + [root(hashes[:middle])]


# --- tiles ----------------------------------------------------------------------------------------

def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == 256 else f".p/{width}")


def hash_tiles(hashes):
    """Path and bytes of every hash tile, from the hashes of all leaves."""
    files, level = {}, 0
    while hashes:
        for start in range(0, len(hashes), 256):
            row = hashes[start:start + 256]
            files[tile_path(level, start // 256, len(row))] = b"".join(row)
        whole = len(hashes) // 256
        hashes = [root(hashes[n * 256:(n + 1) * 256]) for n in range(whole)]
        level += 1
    return files


def bundle(entries):
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unbundle(data):
    entries = []
    while data:
        length = int.from_bytes(data[:2], "big")
        if len(data) < 2 + length:
            raise ValueError("torn bundle")
        entries.append(data[2:2 + length])
        data = data[2 + length:]
    return entries


def entry_bundles(entries):
    return {tile_path("entries", start // 256, len(entries[start:start + 256])):
            bundle(entries[start:start + 256]) for start in range(0, len(entries), 256)}


# --- notes and keys -------------------------------------------------------------------------------

def key_id(name, public):
    return sha256(name.encode() + b"\n\x01" + public)[:4]


def vkey(name, public):
    return f"{name}+{key_id(name, public).hex()}+{b64(bytes([1]) + public)}"


def parse_vkey(text):
    name, digest, value = text.split("+", 2)
    value = unb64(value)
    if len(value) != 33 or value[0] != 1 or digest != key_id(name, value[1:]).hex():
        raise ValueError("not a vkey")
    return name, value[1:]


def skey(name, seed):
    public = ed25519.public_key(seed)
    return f"PRIVATE+KEY+{name}+{key_id(name, public).hex()}+{b64(bytes([1]) + seed)}"


def pem(public):
    der = bytes.fromhex("302a300506032b6570032100") + public
    return f"-----BEGIN PUBLIC KEY-----\n{b64(der)}\n-----END PUBLIC KEY-----\n"


def checkpoint(origin, size, root_hash):
    return f"{origin}\n{size}\n{b64(root_hash)}\n"


def sign_note(text, name, seed):
    public = ed25519.public_key(seed)
    signature = key_id(name, public) + ed25519.sign(seed, text.encode())
    return f"{text}\n\u2014 {name} {b64(signature)}\n"


# --- commitments ----------------------------------------------------------------------------------

def salt(key, index):
    return hmac.digest(key, b"sealtap/v1/salt\0" + index.to_bytes(4, "big"), "sha256")


def commitment(salt_bytes, data):
    message = b"sealtap/v1/segment\0" + len(data).to_bytes(8, "big") + data
    return hmac.digest(salt_bytes, message, "sha256")


def segment_tuple(index, offset, length, kind, commitment_bytes):
    return (b"\1" + index.to_bytes(4, "big") + offset.to_bytes(8, "big")
            + length.to_bytes(8, "big") + kind.to_bytes(2, "big") + commitment_bytes)


def body(key, segments, kind, dialect):
    """The tuples of a body cut into these segments, and the body as a leaf names it."""
    tuples, offset = [], 0
    for index, data in enumerate(segments):
        sealed = commitment(salt(key, index), data)
        tuples.append(segment_tuple(index, offset, len(data), kind, sealed))
        offset += len(data)
    named = {"dialect": dialect, "length": offset, "segments": len(segments),
             "root": b64(root([leaf_hash(row) for row in tuples]))}
    return tuples, named


def prefix(key, segments, kind, tail):
    """What a progress leaf says of a body with these closed segments and these bytes behind them."""
    tuples, named = body(key, segments, kind, None)
    length = named["length"] + len(tail)
    salt_bytes = hmac.digest(key, b"sealtap/v1/tail\0" + length.to_bytes(8, "big"), "sha256")
    return {"length": length, "root": named["root"], "segments": len(tuples),
            "tail": b64(commitment(salt_bytes, tail)) if tail else None}


def pieces(data):
    return [data[start:start + PIECE] for start in range(0, len(data), PIECE)]


def unit(key, kind, data):
    row = segment_tuple(0, 0, len(data), kind, commitment(salt(key, 0), data))
    return {"length": len(data), "root": b64(leaf_hash(row))}


# --- WebSocket messages ----------------------------------------------------------------------------

def websocket_messages(data, times):
    """One side of a message index; `times` gives the time of each message in order."""
    messages, at, begun, raw = [], 0, None, None
    while at < len(data):
        final, opcode = data[at] & 0x80, data[at] & 0x0F
        control, head = opcode >= 8, at + 2
        length = data[at + 1] & 0x7F if at + 1 < len(data) else None
        wide = {126: 2, 127: 8}.get(length, 0)
        if wide:
            complete = head + wide <= len(data)
            length = int.from_bytes(data[head:head + wide], "big") if complete else None
            head += wide
        # A frame has no meaning as soon as its bytes show it, whole or not.
        if (opcode not in (0, 1, 2, 8, 9, 10) or control and not final
                or opcode == 0 and begun is None or opcode in (1, 2) and begun is not None
                or length is not None and length > (125 if control else 2**63 - 1)):
            raw = at
            break
        if length is None:
            break
        start, kind = (at, opcode) if opcode else begun
        at = head + (4 if data[at + 1] & 0x80 else 0) + length
        if at > len(data):
            break
        if not control:
            begun = None if final else (start, kind)
        if final:
            messages.append([start, at, kind])
    listed = [[*message, time] for message, time in zip(messages[:100_000], times)]
    return {"count": len(messages), "messages": listed, "raw": raw}


def message_index(request, response, times):
    return canonical({"request": websocket_messages(request, times[0]),
                      "response": websocket_messages(response, times[1])})


# --- leaves ---------------------------------------------------------------------------------------

def leaf(kind, **members):
    return canonical({"ext": {}, "kind": kind, "v": 1, **members})
