"""PyPI websockets: messages of every kind over its asyncio and its threaded client."""

import websockets
import websockets.sync.client
from cases import BASE, digest, pattern, run

URL = "ws" + BASE.removeprefix("http") + "/talk"
TEXTS = ["hello", "Z\u00fcrich " * 500, "", "\U0001f600"]


async def asynchronous():
    async with websockets.connect(URL) as socket:
        said = []
        for message in [*TEXTS, pattern(100_000), b""]:
            await socket.send(message)
            assert await socket.recv() == message
            said.append(digest(message if isinstance(message, bytes) else message.encode()))
        await (await socket.ping(b"are you there"))
        await socket.close(1000, "done")
        return [said, socket.close_code, socket.close_reason]


async def in_fragments():
    async def parts():
        for size in (10, 70_000, 5):
            yield pattern(size)
    async with websockets.connect(URL, compression=None) as socket:
        await socket.send(parts())
        return digest(await socket.recv())


def threaded():
    with websockets.sync.client.connect(URL) as socket:
        said = []
        for message in [*TEXTS, pattern(1000)]:
            socket.send(message)
            said.append(socket.recv() == message)
        return said


run(asynchronous, in_fragments, threaded)
