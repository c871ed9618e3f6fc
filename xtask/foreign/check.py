#!/usr/bin/env python3
"""Checks a sealtap log with tools that share no code with it.

    python check.py LOG KEY

LOG is a log directory; KEY a vkey, or a file whose first line is one, or a JSON file with a member
`vkey`. `openssl` checks the signature, metamorphic-log the checkpoint, aics-tlog (Python 3.12 or
later) every tile and entry. Each tool must also refuse a copy with one byte changed: one that
accepts everything would prove nothing. The last line counts as a test run's does.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

# DER of an Ed25519 SubjectPublicKeyInfo up to the key's 32 bytes (RFC 8410).
SPKI = bytes.fromhex("302a300506032b6570032100")


def read_vkey(given):
    path = pathlib.Path(given)
    if not path.is_file():
        return given
    text = path.read_text()
    return json.loads(text)["vkey"] if path.suffix == ".json" else text.split("\n", 1)[0].strip()


def openssl(log, vkey):
    """The signature over the checkpoint's text, with a public key as PEM."""
    key = base64.b64decode(vkey.split("+", 2)[2])[1:]
    text, lines = (log / "checkpoint").read_bytes().split(b"\n\n", 1)
    signature = base64.b64decode(lines.rsplit(b" ", 1)[1])[4:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pem = base64.b64encode(SPKI + key).decode()
        (folder / "key").write_text(
            f"-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n"
        )
        (folder / "text").write_bytes(text + b"\n")
        (folder / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin"]
        command += ["-in", "text", "-sigfile", "signature"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(done.stdout + done.stderr)


def metamorphic(log, vkey):
    """The checkpoint as a signed note."""
    import metamorphic_log

    head = metamorphic_log.checkpoint_verify((log / "checkpoint").read_text(), [vkey])
    if head.extensions:
        raise ValueError("the checkpoint has extension lines")


def aics(log, vkey):
    """The checkpoint, every tile and entry, and a proof for each end of the log, which
    metamorphic-log then checks."""
    import aics_tlog
    import metamorphic_log

    note = aics_tlog.parse_note((log / "checkpoint").read_bytes())
    result = aics_tlog.verify_checkpoint(note, aics_tlog.parse_vkey(vkey))
    if not result.ok:
        raise ValueError(f"checkpoint: {result.error}")
    size, root = result.size, result.root
    reader = aics_tlog.FileSystemTileReader(log)
    aics_tlog.audit_tiles(reader, size, root)
    verified = aics_tlog.VerifiedTileReader(reader, size, root)
    for index in {0, size // 2, size - 1}:
        proof = aics_tlog.inclusion_proof_from_tiles(verified, index, size)
        leaf = verified.leaf_hash(index)
        metamorphic_log.verify_inclusion(index, size, leaf, list(proof), root)


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def main():
    log, vkey = pathlib.Path(sys.argv[1]), read_vkey(sys.argv[2])
    checks = [openssl, metamorphic]
    if sys.version_info >= (3, 12):
        checks.append(aics)
    else:
        print("aics-tlog needs Python 3.12: every tile goes unchecked by others")
    passed = failed = 0

    def expect(what, good):
        nonlocal passed, failed
        print(f"{what} ... {'ok' if good else 'FAILED'}")
        passed, failed = passed + good, failed + (not good)

    for check in checks:
        name = check.__name__
        try:
            check(log, vkey)
            expect(f"{name} accepts the log", True)
        except Exception as error:
            # Its refusals would prove nothing now.
            expect(f"{name} accepts the log: {error!r}", False)
            continue
        # The root's last character before its padding; for tiles, a byte of the first entry.
        for file, place in [("checkpoint", "=\n\n"), ("entries", None)]:
            if file == "entries" and check is not aics:
                continue
            with tempfile.TemporaryDirectory() as folder:
                copy = pathlib.Path(folder) / "log"
                shutil.copytree(log, copy)
                if place:
                    path = copy / "checkpoint"
                    flip(path, path.read_text().index(place) - 2)
                else:
                    flip(sorted(p for p in (copy / "tile/entries").rglob("*") if p.is_file())[0], 9)
                refused = False
                try:
                    check(copy, vkey)
                except Exception:
                    refused = True
                expect(f"{name} refuses a changed byte in {file}", refused)
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {passed} passed; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
