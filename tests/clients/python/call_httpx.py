"""PyPI httpx with HTTP/2: by ALPN over TLS, by prior knowledge in cleartext."""

import asyncio

import httpx
from cases import BASE, digest, pattern, run

TLS = BASE.startswith("https:")
client = httpx.Client(http2=True, http1=TLS, timeout=30)


def told(answer):
    return [answer.status_code, answer.json(), answer.headers.get_list("X-Twice")]


def version():
    return client.get(f"{BASE}/echo").http_version


def json_body():
    return told(client.post(f"{BASE}/echo", json={"n": 9007199254740993, "text": "Z\u00fcrich"}))


def query():
    return told(client.get(f"{BASE}/echo?a=%7E%2f;b=1&a=&empty"))


def events():
    with client.stream("GET", f"{BASE}/events") as answer:
        return list(answer.iter_lines())


def upload():
    files = [("file", ("donn\u00e9es.bin", pattern(300_000), "application/octet-stream")),
             ("file", ("b.txt", b"second", "text/plain"))]
    return client.post(f"{BASE}/upload", files=files, data={"purpose": "batch"}).json()


def unknown_length():
    pieces = (pattern(size) for size in (1, 70_000, 9))
    return told(client.post(f"{BASE}/echo", content=pieces))


def large():
    return told(client.put(f"{BASE}/echo", content=pattern(3_000_000)))


def audio():
    return digest(client.get(f"{BASE}/audio").content)


def zipped():
    return client.get(f"{BASE}/zipped").json()


def bodiless():
    head, none = client.head(f"{BASE}/audio"), client.get(f"{BASE}/nothing")
    return [head.status_code, head.headers["Content-Length"], none.status_code]


async def at_once():
    async with httpx.AsyncClient(http2=True, http1=TLS, timeout=30) as other:
        # Together less than the window of a connection: httpx trips over its own streams beyond it.
        calls = (other.post(f"{BASE}/echo", content=pattern(size * 99)) for size in range(20))
        return [told(answer) for answer in await asyncio.gather(*calls)]


# A proxy is asked in HTTP/1.1 for what is in cleartext.
run(*([version] if TLS else []), json_body, query, events, upload, unknown_length, large, audio, zipped, bodiless, at_once)
