"""PyPI aiohttp: JSON, an event stream, a form with files, a body in chunks, a WebSocket."""

import aiohttp
from cases import BASE, digest, pattern, run


def session():
    # It reads proxy variables where it is told to.
    return aiohttp.ClientSession(trust_env=True)


async def told(answer):
    return [answer.status, await answer.json(), answer.headers.getall("X-Twice")]


async def json_body():
    async with session() as client:
        text = {"n": 9007199254740993, "text": "Z\u00fcrich"}
        async with client.post(f"{BASE}/echo", json=text) as answer:
            return await told(answer)


async def events():
    async with session() as client, client.get(f"{BASE}/events") as answer:
        return [line.decode() async for line in answer.content]


async def upload():
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", pattern(300_000), filename="donn\u00e9es.bin")
    async with session() as client, client.post(f"{BASE}/upload", data=form) as answer:
        return await answer.json()


async def chunks():
    async def pieces():
        for size in (1, 70_000, 9):
            yield pattern(size)
    async with session() as client, client.post(f"{BASE}/echo", data=pieces()) as answer:
        return await told(answer)


async def expecting():
    async with session() as client:
        async with client.post(f"{BASE}/echo", data=pattern(9000), expect100=True) as answer:
            return await told(answer)


async def audio():
    async with session() as client, client.get(f"{BASE}/audio") as answer:
        return digest(await answer.read())


async def zipped():
    async with session() as client, client.get(f"{BASE}/zipped") as answer:
        return await answer.json()


async def websocket():
    said = []
    async with session() as client, client.ws_connect(f"{BASE}/talk", compress=15) as socket:
        for text in ["hello", "Z\u00fcrich " * 500, ""]:
            await socket.send_str(text)
            said.append(digest((await socket.receive_str()).encode()))
        await socket.send_bytes(pattern(200_000))
        said.append(digest(await socket.receive_bytes()))
    return said


run(json_body, events, upload, chunks, expecting, audio, zipped, websocket)
