#!/usr/bin/env python3
"""A WebSocket server and client of another project (PyPI `websockets`), for tests/websocket_peers.rs.

    websocket.py serve COMPRESSION          prints its port, echoes each message until it is stopped
    websocket.py call URL COMPRESSION       sends messages of every kind, wants each back, prints
                                            the SHA-256 of each in order, one a line

COMPRESSION is `none`, `takeover` or `alone`.
"""

import asyncio
import hashlib
import sys

import websockets
from websockets.extensions import permessage_deflate as deflate

TEXTS = ["hello", "the same again " * 50, "the same again " * 50, "", "\u00e9\u4e16\U0001f600"]


def server_extensions(compression):
    alone = compression == "alone"
    return [] if compression == "none" else [deflate.ServerPerMessageDeflateFactory(
        server_no_context_takeover=alone, client_no_context_takeover=alone,
        server_max_window_bits=12, client_max_window_bits=11)]


def client_extensions(compression):
    return [] if compression == "none" else [
        deflate.ClientPerMessageDeflateFactory(client_max_window_bits=True)]


async def serve(compression):
    async def echo(connection):
        async for message in connection:
            await connection.ping()
            # Long ones go back in fragments.
            whole = len(message) < 1000
            await connection.send(message if whole else [message[:500], message[500:]])

    async with websockets.serve(echo, "127.0.0.1", 0, compression=None,
                                extensions=server_extensions(compression)) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def call(url, compression):
    messages = [*TEXTS, bytes(range(256)) * 300, b"", b"\0"]
    async with websockets.connect(url, compression=None, proxy=None,
                                  extensions=client_extensions(compression)) as connection:
        for number, message in enumerate(messages):
            async def parts():
                # A ping between the fragments of one message.
                yield message[:len(message) // 2]
                await connection.ping()
                yield message[len(message) // 2:]
            await connection.send(parts() if number % 2 else message)
            back = await connection.recv()
            assert back == message, (number, back)
            data = message.encode() if isinstance(message, str) else message
            print(len(data), hashlib.sha256(data).hexdigest())


def main():
    match sys.argv[1:]:
        case ["serve", compression]:
            asyncio.run(serve(compression))
        case ["call", url, compression]:
            asyncio.run(call(url, compression))
        case _:
            sys.exit(__doc__)


main()
