#!/usr/bin/env python3
"""Checks the run record of a bundle with tools that share no code with it.

    python record.py BUNDLE VKEY SIGSTORE

BUNDLE is what `sealtap bundle` wrote; VKEY the run-record key, or a JSON file with a member `vkey`;
SIGSTORE a folder with @sigstore/bundle and @sigstore/verify. `tar` unpacks the bundle; `openssl` and
securesystemslib check the envelope, @sigstore/verify the envelope as part of a Sigstore bundle. Each
must also refuse a changed byte. The last line counts as a test run's does.
"""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SPKI = bytes.fromhex("302a300506032b6570032100")


def read_vkey(given):
    path = pathlib.Path(given)
    return json.loads(path.read_text())["vkey"] if path.suffix == ".json" else given


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(done.stdout + done.stderr)


def pae(envelope):
    kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"])
    return f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload


def openssl(envelope, public, folder):
    """The one signature over the pre-authentication encoding."""
    signature, = envelope["signatures"]
    pem = base64.b64encode(SPKI + public).decode()
    (folder / "key").write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n")
    (folder / "pae").write_bytes(pae(envelope))
    (folder / "signature").write_bytes(base64.b64decode(signature["sig"]))
    run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "pae",
        "-sigfile", "signature", cwd=folder)


def securesystemslib(envelope, public, folder):
    """The envelope as DSSE, under a key known by the envelope's key id."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    signature, = envelope["signatures"]
    key = SSlibKey(signature["keyid"], "ed25519", "ed25519", {"public": public.hex()})
    Envelope.from_dict(json.loads(json.dumps(envelope))).verify([key], 1)


def sigstore(envelope, public, folder):
    """The envelope inside a Sigstore bundle, checked by the npm client's own verifier."""
    (folder / "envelope.json").write_text(json.dumps(envelope))
    run("node", str(HERE / "record.js"), str(MODULES), "envelope.json", public.hex(), cwd=folder)


def changed(envelope, member):
    """The envelope with one byte changed behind its base64."""
    other = json.loads(json.dumps(envelope))
    place = other if member == "payload" else other["signatures"][0]
    data = bytearray(base64.b64decode(place[member]))
    data[len(data) // 2] ^= 1
    place[member] = base64.b64encode(bytes(data)).decode()
    return other


def main():
    global MODULES
    bundle, public = pathlib.Path(sys.argv[1]).resolve(), read_vkey(sys.argv[2])
    public = base64.b64decode(public.split("+", 2)[2])[1:]
    MODULES = pathlib.Path(sys.argv[3]).resolve()
    passed = failed = 0

    def expect(what, good):
        nonlocal passed, failed
        print(f"{what} ... {'ok' if good else 'FAILED'}")
        passed, failed = passed + good, failed + (not good)

    def holds(check, envelope):
        with tempfile.TemporaryDirectory() as folder:
            check(envelope, public, pathlib.Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        run("tar", "xf", str(bundle), cwd=folder)
        envelope = json.loads((pathlib.Path(folder) / "record.dsse.json").read_bytes())
    for check in [openssl, securesystemslib, sigstore]:
        try:
            holds(check, envelope)
            expect(f"{check.__name__} accepts the record", True)
        except Exception as error:
            # Its refusals would prove nothing now.
            expect(f"{check.__name__} accepts the record: {error!r}", False)
            continue
        for member in ["payload", "sig"]:
            refused = False
            try:
                holds(check, changed(envelope, member))
            except Exception:
                refused = True
            expect(f"{check.__name__} refuses a changed byte of {member}", refused)
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {passed} passed; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
