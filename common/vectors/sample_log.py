"""A small log with a whole story: a boot that crashes, the one after it, a gap, a goodbye.

Everything is derived from counters, so the same log comes out each time.
"""

import ed25519
import run_format
import sealtap_format as form

ORIGIN = "sealtap.example/vectors"
SEED = bytes(range(32))
RECORD_SEED = bytes(range(32, 64))
START = 1_790_000_000_000_000


WITNESS_NAME, WITNESS_SEED = "witness.example/w", bytes(range(1, 33))


def witness_key(name, seed):
    """The id of a witness's key, and its vkey."""
    key = bytes([4]) + ed25519.public_key(seed)
    identity = form.sha256(name.encode() + b"\n" + key)[:4]
    return identity, f"{name}+{identity.hex()}+{form.b64(key)}"


def cosignature_line(text, name, seed, time):
    message = f"cosignature/v1\ntime {time}\n{text}"
    signature = time.to_bytes(8, "big") + ed25519.sign(seed, message.encode())
    return f"\u2014 {name} {form.b64(witness_key(name, seed)[0] + signature)}\n"


def key_change_message(role, old, new, size):
    """What both keys of a change sign."""
    name = ORIGIN if role == "log" else run_format.key_name(ORIGIN)
    vkeys = [form.vkey(name, ed25519.public_key(seed)) for seed in (old, new)]
    return f"sealtap/v1/key-change\n{role}\n{vkeys[0]}\n{vkeys[1]}\n{size}\n"


def random_bytes(label, length):
    """Not random at all: a stretch of SHA-256 under a label."""
    out = b""
    while len(out) < length:
        out += form.sha256(f"{label}/{len(out)}".encode())
    return out[:length]


def head(number):
    fields = [["host", "api.example"], ["authorization", {"secret": form.b64(form.sha256(b"tag"))}],
              ["content-type", "application/json"]]
    line = {"authority": None, "method": "POST", "scheme": None, "version": "1.1"}
    received = {**line, "fields": [["Host", "127.0.0.1:4141"], 1, 2],
                "target": [f"/example/v1/chat/{number}"]}
    return form.canonical({**line, "fields": fields, "received": received,
                           "target": [f"/v1/chat/{number}"]})


def response_head():
    line = {"reason": "OK", "status": 200, "version": "1.1"}
    fields = [["content-type", "text/event-stream"], ["x-name", form.isomorphic(b"caf\xe9")]]
    return form.canonical({**line, "fields": fields, "received": {**line, "fields": [0, 1]}})


def context(number):
    return form.canonical({
        "client": f"127.0.0.1:{40000 + number}", "ingress": "reverse",
        "run": {"by": "path", "name": f"run-{number % 3}"},
        "upstream": {"address": "192.0.2.7:443", "name": "example", "tls": "1.3",
                     "url": "https://api.example"}})


def trailers():
    fields = [["grpc-status", "0"], ["grpc-message", ""]]
    return form.canonical({"fields": fields, "received": {"fields": [["x-hop", "1"], 0, 1]}})


def interim():
    heads = [{"fields": [["link", "</a.css>; rel=preload"]], "reason": "Early Hints", "status": 103,
              "version": "1.1"}]
    return form.canonical({"heads": heads})


def session():
    """Both directions of a WebSocket session, and when their messages came."""
    request = bytes.fromhex("8182000000006869" "888000000000")
    response = bytes.fromhex("010168" "8900" "800169") + b"GET "
    return request, response, ([START + 100, START + 300], [START + 200, START + 200])


def messages():
    return form.message_index(*session())


class Log:
    """Collects leaves, giving each its time and each exchange its place in its run."""

    def __init__(self):
        self.entries, self.runs, self.now = [], {}, START
        self.names, self.parts = {}, {}

    def add(self, kind, **members):
        self.now += 1000
        self.entries.append(form.leaf(kind, sealed=self.now, **members))

    def boot(self, name, previous):
        self.id = random_bytes(f"boot {name}", 16).hex()
        self.names[self.id] = name
        clock = {"boottime": 5_000_000, "wall": self.now}
        self.add("restart", boot=self.id, clock=clock, policy="strict", previous=previous)

    def heartbeat(self, highest, open_ranges, closing=False, part=1, parts=1):
        self.add("heartbeat", boot=self.id, clock={"boottime": 6_000_000, "wall": START},
                 closing=closing, highest=highest, open=open_ranges, part=part, parts=parts)

    def progress(self, prefixes, unchanged=()):
        """`prefixes`: for each number the request's bytes so far, and the response's if it has any."""
        entries = []
        for number, (asked, answered) in prefixes.items():
            key = random_bytes(f"key {self.id} {number}", 32)
            entries.append({
                "exchange": random_bytes(f"exchange {self.id} {number}", 16).hex(),
                "number": number, "request": form.prefix(key, [], 0, asked),
                "response": answered and form.prefix(key, answered[:-1], 6, answered[-1])})
        self.add("progress", boot=self.id, entries=entries, unchanged=list(unchanged))

    def run(self, number, boot):
        name = self.names[boot]
        return random_bytes(f"run {'' if name == 'one' else name}{number % 3}", 16).hex()

    def exchange(self, number, boot=None, outcome="complete", websocket=False, run=None,
                 talk=None, connection=None):
        """One exchange; its outcome decides which parts it has. `talk` are its raw bodies, `connection`
        the id of the one that it came over, where the kernel led that here."""
        boot = boot or self.id
        key = random_bytes(f"key {boot} {number}", 32)
        run = run or self.run(number, boot)
        position, previous = self.runs.get(run, (0, None))
        kind = {"refused": "refused", "interrupted": "interrupted"}.get(outcome, "exchange")
        end = {"complete": "complete", "refused": "gateway_refused"}.get(outcome, outcome)
        question, answer = form.pieces(b"ask " * number), [b"data: a\n\n" * 3, b"data: b\n\n"]
        cut = (0, "bytes/1") if talk else (6, "event-stream/1")
        if talk:
            question, answer = form.pieces(talk[0]), form.pieces(talk[1])
        _, asked = form.body(key, question, 0, "bytes/1")
        _, answered = form.body(key, answer, *cut)
        response = None if outcome == "interrupted" else {
            "body": answered, "end": "trailers" if number % 2 else "complete",
            "head": form.unit(key, 2, response_head()),
            "interim": form.unit(key, 4, interim()) if number % 5 == 0 else None,
            "same": number % 7 > 0, "source": "gateway" if kind == "refused" else "upstream",
            "trailers": form.unit(key, 3, trailers()) if number % 2 else None}
        if outcome == "interrupted" and number % 2 == 0:
            # Interim answers had gone out, and no final head came.
            _, nothing = form.body(key, [], 0, "bytes/1")
            response = {"body": nothing, "end": "interrupted", "head": None,
                        "interim": form.unit(key, 4, interim()), "same": False,
                        "source": "upstream", "trailers": None}
        error = {"refused": "unknown_upstream", "upstream_failed": "upstream_closed"}.get(outcome)
        ext = {"websocket-messages": form.unit(key, 7, messages())["root"]} if websocket else {}
        if connection:
            tag = form.sha256(b"sealtap/v1/connection\0" + bytes.fromhex(connection))
            ext["connection"] = form.b64(tag)
        self.add(kind, boot=boot, ext=ext, context=form.unit(key, 5, context(number)), ended=self.now,
                 error=error, exchange=random_bytes(f"exchange {boot} {number}", 16).hex(),
                 number=number, outcome=outcome, policy="strict",
                 request={"body": asked, "end": end, "head": form.unit(key, 1, head(number)),
                          "same": True, "trailers": None},
                 response=response,
                 run={"id": run, "position": position + 1, "previous": previous},
                 started=self.now - 500)
        self.runs[run] = (position + 1, form.b64(form.leaf_hash(self.entries[-1])))
        self.parts[len(self.entries) - 1] = {
            "context": (key, [context(number)], 5), "request-head": (key, [head(number)], 1),
            "request-body": (key, question, 0), "response-head": (key, [response_head()], 2),
            "response-body": (key, answer, cut[0]),
            **({"interim": (key, [interim()], 4)} if number % 5 == 0 else {}),
            **({"response-trailers": (key, [trailers()], 3)} if number % 2 else {}),
            **({"websocket-messages": (key, [messages()], 7)} if websocket else {})}

    def close(self, run, reason, record=True):
        """Closes a run from its leaves alone."""
        own = [(index, form.parse(entry)) for index, entry in enumerate(self.entries)
               if b'"position":' in entry and f'"id":"{run}"'.encode() in entry]
        hashes = [form.leaf_hash(self.entries[index]) for index, _ in own]
        answered = [(index, leaf["response"]["body"]["root"]) for index, leaf in own
                    if leaf["response"] and leaf["response"]["source"] == "upstream"]
        self.add("run-closed", boot=self.id, by="path", count=len(own),
                 ended=max(leaf["ended"] for _, leaf in own), first=own[0][0],
                 inside=sum("connection" in leaf["ext"] for _, leaf in own),
                 isolation={"basis": "assumed", "level": "same_user"},
                 last={"hash": form.b64(hashes[-1]), "index": own[-1][0]},
                 output={"index": answered[-1][0], "root": answered[-1][1]} if answered else None,
                 policy="strict", reason=reason, root=form.b64(form.root(hashes)), run=run,
                 started=min(leaf["started"] for _, leaf in own))
        if record:
            signed = run_format.pae(self.payload(len(self.entries) - 1))
            self.add("run-record", boot=self.id, record=form.b64(form.sha256(signed)), run=run)

    def change_key(self, role, old, new):
        """One key takes the place of another, and both sign."""
        size = len(self.entries)
        message = key_change_message(role, old, new, size).encode()
        self.add("key-change", new=form.b64(ed25519.public_key(new)),
                 new_signature=form.b64(ed25519.sign(new, message)),
                 old=form.b64(ed25519.public_key(old)),
                 old_signature=form.b64(ed25519.sign(old, message)), role=role, size=size)

    def checkpoint(self, seed):
        """The tree as it is now, signed."""
        hashes = [form.leaf_hash(entry) for entry in self.entries]
        return form.sign_note(form.checkpoint(ORIGIN, len(hashes), form.root(hashes)), ORIGIN, seed)

    def payload(self, index):
        return run_format.payload(ORIGIN, index, form.parse(self.entries[index]))


def log():
    log = Log()
    log.boot("one", None)
    for number in [1, 2, 4, 3]:
        log.exchange(number)
    log.heartbeat(7, [[5, 7]])
    log.progress({5: (b"ask " * 5, [b""]), 7: (b"ask " * 2, None)})
    log.progress({5: (b"ask " * 5, [b"data: a\n\n" * 3, b"data: "])}, [[7, 7]])
    log.exchange(6, outcome="upstream_failed")
    log.heartbeat(8, [[5, 5]], part=1, parts=2)
    log.heartbeat(8, [[7, 8]], part=2, parts=2)
    log.exchange(5, outcome="refused")
    first = log.id
    log.boot("two", {"boot": first, "clean": False, "highest": 9, "open": [[8, 9]], "torn": 4096})
    log.exchange(7, boot=first, outcome="client_cancelled")
    log.exchange(8, boot=first, outcome="interrupted")
    log.exchange(9, boot=first, outcome="interrupted")
    log.add("adopted", boot=log.id, reason="lock_missing", size=11)
    log.add("gap", action="refused", began=log.now, boot=log.id, count=3, ended=log.now + 10,
            reason="disk_full")
    log.add("gap", action="passed", began=log.now, boot=log.id, count=1, ended=None,
            reason="journal_failed")
    for number in range(1, 31):
        log.exchange(number, websocket=number == 12)
    # A run is closed, and its name goes on in another.
    old, new = log.run(0, log.id), random_bytes("run later", 16).hex()
    log.close(old, "idle")
    previous = {"closed": form.b64(form.leaf_hash(log.entries[-2])), "run": old}
    log.add("run-opened", boot=log.id, previous=previous, run=new)
    log.exchange(31, run=new)
    # An idle night, so that the log reaches into a second tile.
    for _ in range(209):
        log.heartbeat(31, [])
    log.close(log.run(1, log.id), "stopped", record=False)
    log.close(log.run(2, log.id), "crowded")
    log.close(new, "stopped")
    log.heartbeat(31, [], closing=True)
    return log


def entries():
    return log().entries


def sample_bundle():
    """The run that took over a name, with some of it disclosed; and what its record is made of."""
    made = log()
    opened = next(index for index, entry in enumerate(made.entries) if b"run-opened" in entry)
    restart = max(index for index, entry in enumerate(made.entries) if b'"restart"' in entry)
    size = len(made.entries)
    closed, record, goodbye = size - 3, size - 2, size - 1
    hashes = [form.leaf_hash(entry) for entry in made.entries]
    note = form.sign_note(form.checkpoint(ORIGIN, size, form.root(hashes)), ORIGIN, SEED)
    signed = run_format.envelope(ORIGIN, made.payload(closed), RECORD_SEED)
    exchange = opened + 1
    leaves = {"all": made.entries,
              "picked": [restart, opened, exchange, closed, record, goodbye]}
    disclosed = {(exchange, "context"): "all", (exchange, "request-body"): "all",
                 (exchange, "response-body"): [1], (exchange, "response-trailers"): [0]}
    return made, closed, signed, run_format.bundle(note, leaves, signed, made.parts, disclosed)


def witnessed_bundle():
    """A run that all vouch for: witnessed and dated under a key that gave way to another since, with
    a WebSocket session in it of which everything is disclosed."""
    made, run = Log(), random_bytes("run witnessed", 16).hex()
    made.boot("three", None)
    made.exchange(1, run=run, websocket=True, talk=session())
    made.exchange(2, run=run)
    made.close(run, "stopped")
    dated = made.checkpoint(SEED)
    made.heartbeat(2, [], closing=True)
    cosigned = made.checkpoint(SEED)
    text = cosigned[:cosigned.index("\n\n") + 1]
    cosigned += cosignature_line(text, WITNESS_NAME, WITNESS_SEED, 1_790_000_100)
    made.change_key("run-record", RECORD_SEED, bytes(range(96, 128)))
    made.change_key("log", SEED, bytes(range(64, 96)))
    made.boot("four", {"boot": made.id, "clean": True, "highest": 2, "open": [], "torn": 0})
    note = made.checkpoint(bytes(range(64, 96)))
    hashes = [form.leaf_hash(entry) for entry in made.entries]
    token = run_format.reply(dated.encode(), b"20260921154640Z")
    signed = run_format.envelope(ORIGIN, made.payload(3), RECORD_SEED)
    leaves = {"all": made.entries, "picked": [0, 1, 2, 3, 4, 5, 6, 7]}
    disclosed = {**{(1, part): "all" for part in made.parts[1]}, (2, "response-body"): [0]}
    beside = run_format.beside(hashes, cosigned, dated, token)
    return run_format.bundle(note, leaves, signed, made.parts, disclosed, beside)


def files():
    """Every file of the log by its path."""
    leaves = entries()
    hashes = [form.leaf_hash(entry) for entry in leaves]
    text = form.checkpoint(ORIGIN, len(leaves), form.root(hashes))
    note = form.sign_note(text, ORIGIN, SEED).encode()
    return {**form.entry_bundles(leaves), **form.hash_tiles(hashes), "checkpoint": note}
