"""PyPI requests: JSON, an event stream, a form with files, a body in chunks, and odd answers."""

import requests
from cases import BASE, digest, pattern, run

session = requests.Session()


def told(answer):
    return [answer.status_code, answer.json(), answer.headers.get("X-Twice")]


def json_body():
    return told(session.post(f"{BASE}/echo", json={"n": 9007199254740993, "text": "Z\u00fcrich"}))


def query():
    return told(session.get(f"{BASE}/echo", params={"q": "a b&c", "z": "\u00e9"}))


def raw_path():
    return told(session.get(f"{BASE}/echo?a=%7E%2f;b=1&a=&empty"))


def events():
    with session.get(f"{BASE}/events", stream=True) as answer:
        return [line.decode() for line in answer.iter_lines()]


def upload():
    files = [("file", ("donn\u00e9es.bin", pattern(300_000), "application/octet-stream")),
             ("file", ("b.txt", b"second", "text/plain"))]
    return session.post(f"{BASE}/upload", files=files, data={"purpose": "batch"}).json()


def chunks():
    return told(session.post(f"{BASE}/echo", data=(pattern(size) for size in (1, 70_000, 9))))


def large():
    return told(session.put(f"{BASE}/echo", data=pattern(3_000_000)))


def audio():
    return digest(session.get(f"{BASE}/audio").content)


def zipped():
    return session.get(f"{BASE}/zipped").json()


def bodiless():
    head, none = session.head(f"{BASE}/audio"), session.get(f"{BASE}/nothing")
    return [head.status_code, head.headers["Content-Length"], none.status_code, digest(none.content)]


def redirect():
    return told(session.post(f"{BASE}/elsewhere", data=b"again"))


run(json_body, query, raw_path, events, upload, chunks, large, audio, zipped, bodiless, redirect)
